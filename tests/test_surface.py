"""What somebody sees who asks Python what the library is."""

import ast
import importlib
import inspect
import pathlib
import pydoc
import re
import subprocess
import sys

import pytest

import mia_jax
from mia_jax.training import many

ROOMS = [name for name in mia_jax.__all__ if name in mia_jax._ROOMS]
SHORT = [name for name in mia_jax.__all__ if name not in mia_jax._ROOMS]
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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_what_they_take_and_give_and_show_it(name):
    function = getattr(mia_jax, name)
    text = inspect.getdoc(function)
    arguments = [p for p in inspect.signature(function).parameters if p not in ("args", "kwargs")]
    documented = re.findall(r"^ {4}\*{0,2}([\w, *]+):", text, re.MULTILINE)
    named = {each.strip(" *") for line in documented for each in line.split(",")}
    assert {*arguments} <= named
    assert "Returns:" in text or "->" in text or text.split()[0] in ("A", "An", "One", "Any")
    assert ">>> " in text
    examples = [line for line in text.splitlines() if line.lstrip().startswith(">>> ")]
    runs = any("SKIP" not in line and f"{name}(" in line for line in examples)
    assert runs or name in ("connect", "write_report")  # which need a service, and a finished run: see ``run``


def test_fit_many_takes_what_fit_chunks_takes():
    all_at_once, in_chunks = (inspect.signature(f).parameters for f in (many.fit_many, many.fit_chunks))
    assert all_at_once == in_chunks
    assert all(f"{name}:" in many.fit_many.__doc__ for name in all_at_once)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
