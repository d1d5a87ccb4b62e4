"""Public functions and classes say what they are in one sentence, and functions of arrays the shapes of them."""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "mia_jax"
DONE = (  # rooms and modules that are whole; this list only grows
    "attacks",
    "audits",
    "checks",
    "commands",
    "data",
    "evidence",
    "models",
    "plans",
    "reports",
    "reproduction",
    "statistics",
    "storage",
    "synthesis",
    "targets",
    "training",
    "cli.py",
    "command_line.py",
    "progress.py",
    "sanitize.py",
    "calls.py",
    "signals.py",
    "types.py",
    "user_code.py",
)
EXPERIMENT = {"runs", "table", "figure", "finding"}  # of reproduction/: base.Experiment says what they are
ARRAYS = {"Array", "ndarray"}
SHAPE = re.compile(r"\[[^\[\]]*\]")  # [n, *f], [b, c], [S, ...], []
ABBREVIATIONS = re.compile(r"\b(al|e\.g|i\.e|etc|vs|no|cf|sec)\.", re.IGNORECASE)
FILES = sorted(
    file for place in DONE for file in ([PACKAGE / place] if place.endswith(".py") else (PACKAGE / place).rglob("*.py"))
)


def public(body, inside=""):
    """(name, node) of the public functions and classes in a module's body, and of the public methods of the latter."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
            yield inside + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def takes_arrays(node):
    """Whether a parameter of a function is an array, or may be one."""
    if isinstance(node, ast.ClassDef):
        return False
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = {
        n for a in every if a.annotation for n in re.findall(r"\w+", ast.unparse(a.annotation).split("Callable")[0])
    }
    return bool(ARRAYS & names)


def is_one_sentence(line):
    """Whether a line is a sentence that ends there, and no second one."""
    text = ABBREVIATIONS.sub("", re.sub(r"``[^`]*``", "x", line.strip()))
    return bool(re.search(r"[.?!:)]$", text)) and not re.search(r"[.?!] [A-Z]", text)


def faults(file):
    """What is missing in a file, a line each."""
    for name, node in public(ast.parse(file.read_text(encoding="utf-8")).body):
        if file.parent.name == "reproduction" and name in EXPERIMENT:
            continue
        text = ast.get_docstring(node)
        where = f"{file.relative_to(PACKAGE)}:{node.lineno} {name}"
        if text is None:
            yield f"{where}: no docstring"
        elif not is_one_sentence(text.splitlines()[0]):
            yield f"{where}: its first line is not one sentence: {text.splitlines()[0]}"
        elif takes_arrays(node) and not SHAPE.search(text):
            yield f"{where}: no shape of its arrays"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_public_functions_and_classes_are_documented(file):
    assert [*faults(file)] == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(): pass", "no docstring"),
        ("def f():\n    'A thing that'", "not one sentence"),
        ("def f():\n    'A thing. Another thing.'", "not one sentence"),
        ("def f(x: Array):\n    'A thing.'", "no shape"),
        ("class C:\n    'A thing.'\n    def f(self): pass", "no docstring"),
        ("def f(x: np.ndarray):\n    'A thing of x [n].'", None),
        ("def f():\n    'What Shokri et al. 2017 did.'", None),
        ("def _f(): pass", None),
    ],
)
def test_the_check_finds_what_is_missing(source, fault, tmp_path, monkeypatch):
    monkeypatch.setattr("test_docstrings.PACKAGE", tmp_path)
    (tmp_path / "module.py").write_text(source)
    found = [*faults(tmp_path / "module.py")]
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]
