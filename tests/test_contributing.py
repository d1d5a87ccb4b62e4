"""CONTRIBUTING.md, followed: its files and patches in a copy of the tree, its commands; files named in documents."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import mia_jax

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = ["README.md", "BUILD_NOTES.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
FILES = [*ROOT.glob("*.md")]
FILES += [
    path for folder in ("mia_jax", "scripts", "tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*.*")
]
ADDED = re.findall(r"`([\w/]+\.py)`[^\n]*\n\n```python\n(.*?)```", PAGE, re.DOTALL)  # files, and what is in them
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])


@pytest.mark.integration
@pytest.mark.parametrize("title", [title for title in SECTIONS if title.startswith("Add ")])
def test_what_is_to_be_added_can_be(title, tmp_path):
    """Each by itself, in a tree without the others."""
    tree = tmp_path / "tree"
    for part in ("mia_jax", "scripts", "tests"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    text = SECTIONS[title]
    written = [(name, source) for name, source in ADDED if source in text]
    assert len(written) == text.count("```python")
    for name, source in written:
        assert not (tree / name).exists(), name
        (tree / name).write_text(source, encoding="utf-8")
    for patch in blocks(text, "diff"):
        _run(["git", "apply", "-"], tree, input=patch)
    python = [sys.executable, "-m", "ruff"]
    _run([*python, "check", "-q", "."], tree)
    _run([*python, "format", "-q", "--check", "."], tree)
    commands = [line for block in blocks(text, "sh") for line in block.splitlines()]
    assert commands
    for line in commands:
        assert line.startswith(".venv/bin/python ")
        _run(["sh", "-c", line.replace(".venv/bin/python", sys.executable)], tree)


def test_patches_are_of_the_tree_as_it_is():
    """In the default run, which is the one that whoever changes these lines has made."""
    patches = blocks(PAGE, "diff")
    assert len(patches) >= 4
    for patch in patches:
        _run(["git", "apply", "--check", "-"], ROOT, input=patch)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_documents_name_are_there(page):
    prose = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = {*re.findall(r"\]\((?!https?:)([\w./-]+)\)", prose)}
    assert not [name for name in links if not ((ROOT / page).parent / name).exists()]
    assert {*re.findall(r"`(?:mia|mia_jax)\.(\w+)", prose)} <= {*mia_jax.__all__}  # no import but of mia_jax is needed
    named = {*re.findall(r"(?<![\w./-])([\w-]+(?:/[\w.-]+)*\.(?:py|md))\b", prose)} - {name for name, _ in ADDED}
    assert not [name for name in named if not any(path.as_posix().endswith(f"/{name}") for path in FILES)]


def blocks(text: str, kind: str) -> list[str]:
    """What stands in the fences of one kind."""
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def _run(command: list[str], tree: pathlib.Path, **options) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
