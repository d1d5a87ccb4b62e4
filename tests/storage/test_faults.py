"""Fault injection: every call to the file system that a small run makes, failed once, in each plan.

Whatever fails: one line or none at all, never a traceback; scores are right or not written; and the same run without
the fault ends with the bytes of one that nothing happened to.
"""

import builtins
import collections
import contextlib
import errno
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
from small_runs import C, F, M, arguments, artifact_files, environment, records, scores, write_data

from mia_jax import audits, data
from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig
from mia_jax.reports import figures
from mia_jax.targets import black_box, server
from mia_jax.types import MiaError

CALLS = {  # what fails -> with what
    "open": (errno.EACCES, errno.EMFILE),
    "create": (errno.ENOSPC, errno.EACCES),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EFBIG, errno.EIO),
    "fsync": (errno.EIO,),
    "replace": (errno.EACCES,),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "unlink": (errno.EACCES,),
    "truncate": (errno.EIO,),
}


class FileSystem:
    """The calls about files below a folder, by kind and place; the chosen one fails, once.

    Files are real; what stands between is a raw file whose writes and reads may fail, under Python's own buffers.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self.calls, self.fails = folder, [], None
        self.open, self.os = (
            io.open,
            {name: getattr(os, name) for name in ("open", "fsync", "replace", "mkdir", "unlink")},
        )
        self.write = os.write

    def about(self, kind: str, path) -> None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = pathlib.Path(os.fspath(path))
        if not path.is_absolute() or not path.is_relative_to(self.folder):
            return
        place = re.sub(
            r"[0-9a-f]{16,64}",
            "#",
            re.sub(r"\.\d+-[0-9a-f]{8}\.partial", ".partial", str(path.relative_to(self.folder))),
        )
        call = (kind, place)
        self.calls.append(call)
        if self.fails is not None and self.fails[0] == (call, self.calls.count(call)):
            number, self.fails = self.fails[1], None
            raise OSError(number, os.strerror(number), str(path))

    @contextlib.contextmanager
    def watched(self, call=None, number: int = 0):
        """``call``: ((kind, place), the how manieth of them) that fails with the error of this number."""
        self.calls, self.fails = [], None if call is None else (call, number)
        patch = pytest.MonkeyPatch()
        for module in (builtins, io):
            patch.setattr(module, "open", self._open)
        for name, real in self.os.items():
            patch.setattr(os, name, self._calling(name, real))
        patch.setattr(os, "write", self._calling("write", self.write))
        try:
            yield
        finally:
            patch.undo()

    def _calling(self, name, real):
        def call(first, *args, **kwargs):
            kind = "create" if name == "open" and args and args[0] & os.O_CREAT else name
            self.about(kind, args[0] if name == "replace" else first)
            return real(first, *args, **kwargs)

        return call

    def _open(self, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        plain = dict(encoding=encoding, errors=errors, newline=newline, closefd=closefd, opener=opener)
        if isinstance(file, int):
            inside = pathlib.Path(os.readlink(f"/proc/self/fd/{file}")).is_relative_to(self.folder)
        else:
            inside = pathlib.Path(os.fspath(file)).absolute().is_relative_to(self.folder)
            if inside:
                self.about("open" if set(mode) <= set("rbt") else "create", file)
        if not inside:
            return self.open(file, mode, buffering, **plain)
        told = self

        class Raw(io.FileIO):
            def readinto(self, buffer):
                told.about("read", self.fileno())
                return super().readinto(buffer)

            def readall(self):
                told.about("read", self.fileno())
                return super().readall()

            def write(self, content):
                told.about("write", self.fileno())
                return super().write(content)

            def truncate(self, size=None):
                told.about("truncate", self.fileno())
                return super().truncate(size)

        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd=closefd, opener=opener)
        buffer = {"r": io.BufferedReader, "w": io.BufferedWriter, "a": io.BufferedWriter, "x": io.BufferedWriter}[
            mode[0]
        ]
        buffered = (io.BufferedRandom if "+" in mode else buffer)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)


# --- the plans -------------------------------------------------------------------------------------------------------

QUICK = dict(num_epochs=2, hidden=4, attack_steps=20)


def train(folder):
    return audits.run(Config(dataset=str(folder / "own.npz"), workdir=str(folder / "w"), num_shadows=2, **QUICK))


def balance(folder):
    small = dict(num_models=4, num_targets=2, population=40, num_records=80, attacks="loss,lira,shokri")
    return audits.run(BalancedConfig(dataset=str(folder / "own.npz"), workdir=str(folder / "w"), **small, **QUICK))


def forest(folder):
    small = dict(num_models=4, num_targets=2, population=40, num_records=80, attacks="loss,lira")
    kind = "sklearn:sklearn.naive_bayes.BernoulliNB"
    return audits.run(
        BalancedConfig(dataset=str(folder / "own.npz"), workdir=str(folder / "w"), target_kind=kind, **small)
    )


def canary(folder):
    small = dict(canaries=60, train_size=100, num_epochs=2, hidden=4)
    return audits.run(CanaryConfig(dataset=str(folder / "own.npz"), workdir=str(folder / "w"), **small))


def predictions(folder):
    return audits.run(
        DeployedConfig(predictions=str(folder / "preds.npz"), workdir=str(folder / "w"), attacks="loss,lira_offline")
    )


PORT: dict[str, int] = {}


def deployed(folder):
    pull = np.random.default_rng(0).normal(size=(F, C))

    def ask(rows):
        z = np.asarray(rows, np.float64) @ pull
        return (z - np.log(np.exp(z).sum(axis=1, keepdims=True))).astype(np.float32)

    with server.serve(black_box.Target(ask, black_box.Answers(C), traced=False), (F,), port=PORT.get("", 0)) as url:
        PORT[""] = int(re.search(r":(\d+)", url)[1])  # the same in all runs, for it is part of what a run is
        config = DeployedConfig(
            target=url + server.paths()["oip"],
            data=str(folder / "mine.npz"),
            workdir=str(folder / "w"),
            num_shadows=2,
            attacks="loss,lira_offline",
            num_epochs=2,
            hidden=4,
        )
        return audits.run(config)


PLANS = {run.__name__: run for run in (train, balance, forest, canary, predictions, deployed)}


def prepare(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    write_data(folder / "own.npz")
    write_data(folder / "mine.npz", x=records(80)["x"], y=records(80)["y"], member=np.arange(80) < 20)
    x, y = records(60)["x"], records(60)["y"]
    p = np.random.default_rng(1).dirichlet(np.ones(C), (5, len(x)))
    member = np.random.default_rng(2).random((5, len(x))) < 0.5
    np.savez(
        folder / "preds.npz",
        labels=y,
        target=p[0],
        shadows=p[1:],
        shadow_member=member[1:],
        member=member[0],
    )
    return folder


@pytest.fixture
def pictures(monkeypatch):
    """Figures take a second and no file: two of them stand in for all, one that there is and one that there is not."""
    drawn = [
        figures.Rendered(name, "t", "c", "a", *([b"<svg/>", b"png"] if name == "a" else [None] * 2)) for name in "ab"
    ]
    monkeypatch.setattr(figures, "draw", lambda results, scores, plots: drawn)


def outcome(run, folder, watch) -> str | None:
    """What the run says where it ends early; anything but a MiaError is raised."""
    with watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(folder)
        except MiaError as error:
            return str(error)
    return None


def places_of(run, tmp_path) -> list[tuple[str, str]]:
    """The calls of a run, each place once, and its scores."""
    folder = prepare(tmp_path / "plain")
    system = FileSystem(folder)
    assert outcome(run, folder, system.watched()) is None
    return list(dict.fromkeys(system.calls)), scores(folder / "w")


def fail(run, tmp_path, call, number, expected, nth=1) -> str | None:
    """Let one call fail; then again without."""
    folder = prepare(tmp_path / "faulty")
    system = FileSystem(folder)
    told = outcome(run, folder, system.watched((call, nth), number))
    name = f"{call} {errno.errorcode[number]}: {told}"
    assert system.fails is None, f"{name}: it was never called"
    if told is None:
        assert scores(folder / "w") == expected, name
    else:
        assert "\n" not in told and len(told) > 20, name
    kept = artifact_files(folder / "w")
    assert outcome(run, folder, system.watched()) is None, name
    assert scores(folder / "w") == expected, name
    again = artifact_files(folder / "w")
    assert kept.items() <= again.items(), f"{name}: what was finished is made again"
    for path in (folder, folder / "w"):
        assert not list(path.rglob("*.partial")), name
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    jax.clear_caches()  # each run compiles anew, and a process may have 65,530 maps of memory: then the compiler dies
    return told


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.usefixtures("pictures")
def test_every_call_failed_once(plan, tmp_path, monkeypatch):
    """Each kind of call, at each kind of place, with each error that it may give."""
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "cache"))
    calls, expected = places_of(PLANS[plan], tmp_path)
    told = collections.Counter()
    for call in calls:
        for number in CALLS[call[0]]:
            ended = fail(PLANS[plan], tmp_path, call, number, expected)
            told["survived" if ended is None else "one line"] += 1
    print(f"\n{plan}: {len(calls)} places, {sum(told.values())} faults: {dict(told)}")
    assert len(calls) > 15


@pytest.mark.integration
@pytest.mark.usefixtures("pictures")
def test_some_calls_failed_once(tmp_path):
    """A few, in the plan that costs least."""
    calls, expected = places_of(forest, tmp_path)
    some = {
        ("write", "w/.report.html.partial"): errno.EFBIG,
        ("write", "w/answers/.#.npz.partial"): errno.ENOSPC,
        ("replace", "w/scores/#.npz"): errno.EACCES,
        ("mkdir", "w/answers"): errno.EACCES,
    }
    assert {*some} <= {*calls}
    for call, number in some.items():
        fail(forest, tmp_path, call, number, expected)


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
sys.argv[0] = "scripts/train.py"
runpy.run_path("scripts/train.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_limit_on_the_size_of_files(shared, finished, own, tmp_path):
    """The page is the largest file of a small run: the limit is met when everything else is written."""
    shutil.copytree(finished[0], tmp_path / "w")
    (tmp_path / "w" / "report.html").unlink()
    limit = max(p.stat().st_size for p in (tmp_path / "w").rglob("*") if p.is_file()) + 1
    command = [sys.executable, "-c", LIMITED, str(limit), *arguments(dataset=own, workdir=tmp_path / "w")]
    done = subprocess.run(command, env=environment(shared), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(
        r"error: .*: File too large; raise the limit on the size of files \(ulimit -f\) and run the same command again:"
        r" what was finished is kept",
        done.stderr.splitlines()[-1],
    )
    assert "Traceback" not in done.stderr and scores(tmp_path / "w") == scores(finished[0])


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
@pytest.mark.parametrize("script", ["audit", pytest.param("train", marks=pytest.mark.slow)])
def test_a_name_that_is_no_text(script, tmp_path, shared):
    """Files of an old archive, their names in Latin-1, through a whole run and onto its page."""
    folder = prepare(pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    mine = folder / os.fsdecode(b"donn\xe9es.npz")
    (folder / ("preds.npz" if script == "audit" else "own.npz")).rename(mine)
    flags = [f"--predictions={mine}", "--attacks=loss"]
    if script == "train":
        flags = arguments(dataset=mine, num_epochs=1, num_shadows=1)
    command = [sys.executable, f"scripts/{script}.py", f"--workdir={folder / 'w'}", *flags]
    done = subprocess.run(command, env=environment(shared), capture_output=True, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert rb"donn\udce9es" in done.stdout and rb"caf\udce9/w/report.html" in done.stdout
    assert r"donn\udce9es" in (folder / "w" / "report.html").read_text(encoding="utf-8")
    if script == "train":
        assert data.load(os.fspath(mine))[0].x.shape == (4 * M, F)
