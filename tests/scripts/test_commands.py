"""``mia-jax``, ``python -m mia_jax`` and ``scripts/``: the same commands, which name each other as they were called."""

import contextlib
import json
import os
import pathlib
import re
import site
import subprocess
import sys

import numpy as np
import pytest
from small_runs import arguments, environment, write_data

from mia_jax import cli, command_line, commands

ROOT = pathlib.Path(commands.__file__).parents[2]


def called(*argv):
    return subprocess.run([sys.executable, "-m", "mia_jax", *argv], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_a_line_for_each_command(argv):
    done = called(*argv)
    assert done.returncode == 0 and done.stderr == ""
    listed = re.findall(r"^  (\w+) +\S.*\.$", done.stdout, re.MULTILINE)
    assert tuple(listed) == command_line.COMMANDS
    assert {*listed} == {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert done.stdout.startswith("python -m mia_jax NAME")


def test_the_list_imports_nothing_heavy():
    code = "import sys; from mia_jax import commands; commands.list_commands()"
    code += "; assert not {'jax', 'absl'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ("audits",),
            "error: there is no command 'audits'; did you mean audit? A command comes first, then its flags.\n",
        ),
        (("--dataset=location",), "error: there is no command '--dataset=location'; there are train, audit, plan, "),
    ],
)
def test_an_unknown_command_is_one_line(argv, line):
    done = called(*argv)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def test_a_flag_that_is_given_twice_is_said():
    """absl takes the last value and says nothing."""
    assert cli.repeated(["audit", "--label=cat", "--seed=1", "--seed=1", "--label=dog,eel"]) == [
        "note: --label is given 2 times, and the last counts: --label=dog,eel; several values of one flag are written"
        " with commas between them"
    ]


@pytest.mark.integration
def test_the_command_says_that_a_flag_is_given_twice():
    done = called("report", "--workdir=a", "--workdir=b")
    assert "--workdir is given 2 times" in done.stderr and done.returncode == 2


CALLED = [
    (["scripts/train.py", "--seed=1"], "python scripts/audit.py", "python scripts/train.py --seed=1"),
    (["../x/scripts/train.py"], "python ../x/scripts/audit.py", "python ../x/scripts/train.py"),
    (["/venv/bin/mia-jax", "train", "--seed=1"], "mia-jax audit", "mia-jax train --seed=1"),
    (["/lib/mia_jax/__main__.py", "train"], "python -m mia_jax audit", "python -m mia_jax train"),
]


@pytest.mark.parametrize(("argv", "audit", "here"), CALLED)
def test_commands_are_named_as_they_are_called(monkeypatch, argv, audit, here):
    monkeypatch.setattr(sys, "argv", argv)
    assert " ".join(command_line.program("audit")) == audit
    assert command_line.here() == here
    assert command_line.another("audit", here) == audit  # of a page, which knows the command alone
    assert (
        command_line.as_called("run mia-jax audit again, and mia-jax as such")
        == f"run {audit} again, and mia-jax as such"
    )


def test_texts_name_commands_that_there_are():
    files = [*(ROOT / "mia_jax").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = [(file.name, name) for file in files for name in re.findall(r"mia-jax ([a-z]\w+)", file.read_text("utf-8"))]
    assert len(named) > 10
    assert [(file, name) for file, name in named if name not in (*command_line.COMMANDS, "as")] == []
    scripts = re.compile(r"scripts/[a-z]+\.py")
    quoted = {"command_line.py", "recipes.py", "mitigations.py"}  # of another project, and commands that were run
    for file in (ROOT / "mia_jax").rglob("*.py"):
        assert not scripts.search(file.read_text("utf-8")) or file.name in quoted or file.parent.name == "reproduction"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the programs of a fresh environment, into which a wheel of this checkout was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = [programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", "-q", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = (folder / "venv").glob("[Ll]ib/**/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))  # but not what these are told to add
    return programs


@pytest.mark.integration
def test_an_installed_wheel_runs_the_main_job_and_an_audit(installed, shared, tmp_path):
    """From a folder that knows nothing of the checkout."""
    pytest.importorskip("hatchling", reason="needs the extra `dev`")

    def run(program, *argv):
        clean = {name: value for name, value in environment(shared).items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [installed / program, *argv], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-c", "import mia_jax; print(mia_jax.__file__)")
    assert where.startswith(str(installed.parent))
    write_data(tmp_path / "own.npz")
    assert "AUC" in run("mia-jax", "train", *arguments(dataset="own.npz", workdir="w", num_shadows=1, num_epochs=1))
    results = json.loads((tmp_path / "w" / "results.json").read_text())
    assert results["command"].startswith("mia-jax train --num_shadows=1 ")
    page = (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"mia-jax</span> <span>train", page) and "mia-jax audit" in page and "scripts/train" not in page

    rng = np.random.default_rng(0)
    y, trained = rng.integers(3, size=60), rng.random((5, 60)) < 0.5
    logits = rng.normal(size=(5, 60, 3)) + 2 * np.eye(3)[y] * (1 + trained[..., None])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    arrays = dict(labels=y, target=p[0], shadows=p[1:], shadow_member=trained[1:], member=trained[0])
    np.savez(tmp_path / "preds.npz", **arrays)
    run("python", "-m", "mia_jax", "audit", "--predictions=preds.npz", "--attacks=loss,rmia", "--workdir=a")
    (tmp_path / "a" / "report.html").unlink()
    assert "rmia" in run("mia-jax", "report", "--workdir=a", "--csv")
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    told = " ".join(re.sub("<[^>]*>", "", page).split())
    assert "python -m mia_jax audit --predictions=preds.npz" in told and (tmp_path / "a" / "scores.csv").exists()


def test_help_whose_reader_stops_ends_quietly():
    """`mia-jax audit --help | head` was a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out, contextlib.redirect_stdout(out):
        cli.show_help("flags " * 100_000)
        assert os.path.samestat(os.fstat(out.fileno()), os.stat(os.devnull))
