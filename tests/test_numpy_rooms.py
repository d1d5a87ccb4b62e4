"""What the rooms of statistics and of checks may import."""

import ast
import pathlib

import pytest

import mia_jax

PACKAGE = pathlib.Path(mia_jax.__file__).parent
MODULES = sorted([*PACKAGE.glob("statistics/*.py"), *PACKAGE.glob("checks/**/*.py")])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_they_are_numpy_and_scipy_and_never_import_jax(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    outside = {name.split(".")[0] for name in names if not name.startswith("mia_jax")}
    assert not outside & {"jax", "jaxlib", "flax", "optax"}
    below = {"types", "rows", "statistics", path.relative_to(PACKAGE).parts[0]}  # imports only go down: test_surface
    assert {name.split(".")[1] for name in names if name.startswith("mia_jax.")} <= below
