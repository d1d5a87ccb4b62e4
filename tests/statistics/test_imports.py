"""What the room of statistics may import."""

import ast
import pathlib

import pytest

from mia_jax import statistics

MODULES = sorted(pathlib.Path(statistics.__file__).parent.glob("*.py"), key=lambda path: path.name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_statistics_are_numpy_and_scipy_and_never_import_jax(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    outside = {name.split(".")[0] for name in names if not name.startswith("mia_jax")}
    assert not outside & {"jax", "jaxlib", "flax", "optax"}
    assert {name for name in names if name.startswith("mia_jax.")} <= {"mia_jax.types", "mia_jax.rows"} | {
        f"mia_jax.statistics.{module.stem}" for module in MODULES
    } | {"mia_jax.statistics"}
