"""A file is one idea, a function can be read at once, and only one file knows how flags are written."""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "mia_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
FLAG = re.compile(r"(?<![\w-])--[a-z{]")
SHOW_COMMANDS = ("reports", "reproduction", "cli.py", "commands")  # what they print, and commands to be repeated
NAMES = [file.relative_to(PACKAGE).as_posix() for file in FILES]


def functions(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines(function):
    """Lines of a function but for its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_files_and_functions_are_short(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
    assert [f"{f.name}: {lines(f)} lines" for f in functions(file) if lines(f) > 60] == []
    assert [f.name for f in functions(file) if len(f.args.posonlyargs) + len(f.args.args) >= 10] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.split("/")[0] not in SHOW_COMMANDS])
def test_only_audits_flags_names_flags(name):
    """In what is shown to a user; a docstring may have a command line, of other programs, too."""
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documented]
    texts = [node.value for node in constants if isinstance(node.value, str)]
    named = [text for text in texts if FLAG.search(text) or text.endswith("--")]
    assert (named == []) == (name != "audits/flags.py")
