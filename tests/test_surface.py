"""What somebody sees who asks Python what the library is."""

import ast
import importlib
import inspect
import operator
import os
import pathlib
import pydoc
import re
import subprocess
import sys

import numpy as np
import pytest

import mia_jax
from mia_jax.training import many

ROOMS = [name for name in mia_jax.__all__ if name in mia_jax._ROOMS]
SHORT = [name for name in mia_jax.__all__ if name not in mia_jax._ROOMS]
IN_ROOMS = "plans.shokri plans.balanced plans.membership_matrix models.mlp models.cnn models.logistic models.from_flax"
FUNCTIONS = [name for name in SHORT if inspect.isfunction(getattr(mia_jax, name))]


def test_help_begins_with_every_name():
    text = pydoc.plain(pydoc.render_doc(mia_jax))
    beginning = text[: text.index("PACKAGE CONTENTS")]
    for name in FUNCTIONS:
        assert re.search(rf"\b{name}\b", beginning), name


def test_help_lists_what_is_imported_lazily():
    text = pydoc.plain(pydoc.render_doc(mia_jax))
    listed = text[text.index("PACKAGE CONTENTS") :]
    for name in SHORT:
        assert re.search(rf"^    (class )?{name}\b", listed, re.MULTILINE), name


@pytest.mark.parametrize("name", mia_jax.__all__)
def test_names_are_what_their_home_has(name):
    found = getattr(mia_jax, name)
    if name in ROOMS:
        assert found is importlib.import_module(f"mia_jax.{name}")
    else:
        assert found is getattr(importlib.import_module(f"mia_jax.{mia_jax._MODULE_OF[name]}"), name)
    assert inspect.getdoc(found)


def test_type_checkers_are_told_what_python_does():
    tree = ast.parse(pathlib.Path(mia_jax.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {name.name: node.module for node in block.body for name in node.names}
    does = {name: f"mia_jax.{module}" for name, module in mia_jax._MODULE_OF.items()}
    assert told == does | dict.fromkeys(mia_jax._ROOMS, "mia_jax")
    assert sorted(told) == sorted(mia_jax.__all__)


def test_everything_is_listed_before_it_is_imported():
    code = "import sys, mia_jax; print(*dir(mia_jax)); print(*sys.modules)"
    listed, loaded = (line.split() for line in _python(code).splitlines())
    assert {*mia_jax.__all__} <= {*listed}
    assert not {"jax", "numpy", "flax", "optax", "matplotlib", "sklearn", "scipy"} & {*loaded}


@pytest.mark.integration
def test_reading_measures_imports_no_network():
    loaded = _python("import sys, mia_jax as mia; mia.auc([1, 0], [True, False]); mia.draw_roc; print(*sys.modules)")
    assert not {"flax", "optax", "matplotlib", "sklearn"} & {*loaded.split()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mia_jax.nothing


@pytest.mark.parametrize("name", [*FUNCTIONS, *IN_ROOMS.split()])
def test_functions_say_what_they_take_and_give_and_show_it(name):
    function = operator.attrgetter(name)(mia_jax)
    text = inspect.getdoc(function)
    arguments = [p for p in inspect.signature(function).parameters if p not in ("args", "kwargs")]
    documented = re.findall(r"^ {4}\*{0,2}([\w, *]+):", text, re.MULTILINE)
    named = {each.strip(" *") for line in documented for each in line.split(",")}
    assert {*arguments} <= named
    assert "Returns:" in text or text.split()[0] in ("A", "An", "One", "Any")  # or the summary says what is returned
    assert ">>> " in text
    examples = [line for line in text.splitlines() if line.lstrip().startswith(">>> ")]
    runs = any("SKIP" not in line and f"{name}(" in line for line in examples)
    assert runs or name in ("connect", "write_report")  # which need a service, and a finished run: see ``run``


def test_fit_many_takes_what_fit_chunks_takes():
    all_at_once, in_chunks = (inspect.signature(f).parameters for f in (many.fit_many, many.fit_chunks))
    assert all_at_once == in_chunks
    assert all(f"{name}:" in many.fit_many.__doc__ for name in all_at_once)


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "types"])
def test_rooms_name_what_is_public(room):
    module = getattr(mia_jax, room)
    assert inspect.getdoc(module)
    for name in module.__all__:
        assert hasattr(module, name), name
    assert {*module.__all__} <= {*dir(module)}


def test_imports_only_go_down():
    """In the order of the rooms in docs/design.md, which names them all."""
    package = pathlib.Path(mia_jax.__file__).parent
    page = (package.parent / "docs" / "design.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {*order} == rooms - {"__init__", "__main__"}
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            above = {*order[: order.index(room) + 1]}
            assert _rooms_imported(path) <= above, path


def _rooms_imported(path: pathlib.Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("mia_jax.")} - {"__version__"}


@pytest.mark.integration
@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_the_example_runs_as_it_stands(page, tmp_path):
    """It prints something, and a figure that it saves is there."""
    root = pathlib.Path(mia_jax.__file__).parents[1]
    blocks = re.findall(r"```python\n(.*?)```", (root / page).read_text(encoding="utf-8"), re.DOTALL)
    examples = [block for block in blocks if re.search(r"mia_jax", block)]
    assert examples
    for block in examples:
        environment = {**os.environ, "PYTHONPATH": str(root), "MPLBACKEND": "agg"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        for name in re.findall(r'savefig\("(.*?)"', block):
            assert (tmp_path / name).stat().st_size
        if "mia.auc(" in block:
            assert re.search(r"AUC 0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]", done.stdout)


@pytest.mark.integration
@pytest.mark.parametrize("kept_as", ["tensors", "arrays"])
def test_the_readme_s_lines_for_pytorch_run(kept_as, tmp_path, monkeypatch):
    """With a user's model, records and training loop; of two attacks and four shadows only."""
    torch = pytest.importorskip("torch")
    page = (pathlib.Path(mia_jax.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "torch" in block)
    few = block.replace("shadows=fit", 'shadows=fit, num_shadows=4, attacks="loss,lira"')
    assert few != block

    def train(x, y, seed):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
        adam = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(torch.as_tensor(x)), torch.as_tensor(y)).backward()
            adam.step()
        return model

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 10)).astype(np.float32), rng.integers(0, 3, 200)
    if kept_as == "tensors":
        X, y = torch.as_tensor(X), torch.as_tensor(y)
    member = np.arange(200) < 100
    names = dict(torch=torch, mia=mia_jax, train=train, X=X, y=y, member=member, target=train(X[member], y[member], 0))
    monkeypatch.chdir(tmp_path)
    exec(few, names)
    assert names["result"]["lira"].auc.value > 0.7 and (tmp_path / "report" / "report.html").stat().st_size


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
