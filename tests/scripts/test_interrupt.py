"""Real processes, killed at each stage: the same command goes on, and ends with the bytes of a run left alone."""

import itertools
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from small_runs import SHADOWS, arguments, artifact_files, config, environment, scores

from mia_jax.audits import config as configs
from mia_jax.storage import artifacts

pytestmark = pytest.mark.integration

# scripts/train.py as it is, in processes that kill themselves (SIGKILL: nothing is tidied up), each at the place that
# the next line of standard input names. They are forked from one that has imported everything and done nothing.
KILLED = """
import contextlib, errno, io, os, runpy, signal, sys
import numpy as np
from mia_jax import data, progress
from mia_jax.audits import pipeline
from mia_jax.reports import figures
from mia_jax.storage import artifacts
from mia_jax.training import many

sys.argv[0] = "scripts/train.py"


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def in_stage(stage, epochs):
    shown = progress.shown

    @contextlib.contextmanager
    def progress_until(title, total):
        done = 0

        def advance(steps, note=""):
            nonlocal done
            done += steps
            if title == stage and done >= epochs:
                die()

        with shown(title, total):
            yield advance

    progress.shown = progress_until


def half_an_artifact():
    def savez(file, **arrays):
        whole = io.BytesIO()
        np_savez(whole, **arrays)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        die()

    np_savez, np.savez = np.savez, savez


def full_disk():
    def savez(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    np.savez = savez


def before_file(name):
    write = artifacts.write_json
    artifacts.write_json = lambda path, value: die() if path.name == name else write(path, value)


def run(place):
    match place:
        case "data":
            data.by_path.load = die
        case "target":
            in_stage("target model", 2)
        case "shadows":
            in_stage("shadow models", 4)  # epochs of networks: 3 make the first chunk
        case "full disk":
            full_disk()
        case "artifact":
            half_an_artifact()
        case "attack":
            many.fit_many = die
        case "its second half":
            in_stage("attack networks", 2)
        case "results":
            before_file("results.json")
        case "report":
            figures.draw = die
    runpy.run_path("scripts/train.py", run_name="__main__")


for line in sys.stdin:
    child = os.fork()
    if not child:
        run(line.strip())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def run_until(shared, own, tmp_path):
    """(place) -> the exit code of a process that runs the command until it gets there."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, *arguments(dataset=own, workdir=tmp_path / "w", chunk=1)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with subprocess.Popen(command, env=environment(shared), text=True, bufsize=1, **pipes) as process:

        def run_until(place):
            process.stdin.write(f"{place}\n")
            while not re.fullmatch(r"-?\d+\n", line := process.stdout.readline()):
                assert line, "the process that forks has ended"
            return int(line)

        yield run_until
        process.stdin.close()
        assert process.wait(100) == 0


def test_killed_at_every_stage(finished, run_until, tmp_path):
    """One run, killed eight times. What was finished before is there after, and is never made again."""
    assert run_until("full disk") == 2  # bad input, in one line: a traceback would be 1
    assert not artifact_files(tmp_path / "w") and not list((tmp_path / "w").rglob("*.partial"))
    made = {}  # place -> artifacts that lie there afterwards
    for place in ("data", "target", "shadows", "artifact", "attack", "its second half", "results", "report"):
        before = artifact_files(tmp_path / "w")
        assert run_until(place) == -signal.SIGKILL, place
        after = artifact_files(tmp_path / "w")
        assert before.items() <= after.items(), place
        made[place] = len(after)
        left = list((tmp_path / "w").rglob("*.partial"))
        assert len(left) == (place == "artifact"), (place, left)
    # The target; the shadows one by one, of which the second was cut short twice; the attack's two parts; the scores.
    models = 1 + SHADOWS
    assert list(made.values()) == [0, 0, 2, 2, models, models + 2, models + 3, models + 3]
    assert not (tmp_path / "w" / "report.html").exists()
    assert run_until("the end") == 0
    assert artifact_files(tmp_path / "w") == after
    assert scores(tmp_path / "w") == scores(finished[0])
    assert (tmp_path / "w" / "report.html").exists() and not list((tmp_path / "w").rglob("*.partial"))


@pytest.fixture
def long_run(own, tmp_path):
    """A run that takes for ever, and is past reading the data. It shares no cache: it may be stopped writing to it."""
    command = [sys.executable, "scripts/train.py", *arguments(dataset=own, workdir=tmp_path / "w", num_epochs=10**7)]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if line.startswith("The target and"):
                    break
            else:
                pytest.fail("the run ended before it trained anything")
            yield process
        finally:
            process.kill()


def test_a_second_process_and_ctrl_c(own, long_run, tmp_path):
    """The second says whom it waits for; Ctrl-C is one line, says what to do, and stops nobody."""
    command = [sys.executable, "scripts/train.py", *arguments(dataset=own, workdir=tmp_path / "w", num_epochs=10**7)]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as second:
        waits = f"process {long_run.pid} on {os.uname()[1]} works in the same workdir: what it makes is not made twice"
        assert any(line.startswith(waits) for line in second.stderr)
        second.kill()
    assert long_run.poll() is None
    long_run.send_signal(signal.SIGINT)
    assert long_run.wait(100) == 130
    told = [line for line in long_run.stderr.read().splitlines() if line and not line.startswith("target model: ")]
    assert told == ["Interrupted. Nothing that was finished is lost: the same command goes on from here."]
    given = config(own, tmp_path / "w", num_epochs=10**7)
    with artifacts.open_workdir(
        tmp_path / "w", configs.workdir_identity(configs.resolve(given)), shared=True
    ) as workdir:
        assert [path.name[:7] for path in (tmp_path / "w" / "locks").iterdir()] == ["models-"]
        workdir.close()  # what processes left that have ended is swept
        assert not (tmp_path / "w" / "locks").exists()


@pytest.mark.parametrize("name", ["audit", "reproduce", "serve", "synthesize", "train"])
def test_ctrl_c_while_jax_is_imported(name):
    """The first seconds of every script: it ends by the signal, which shells call 130, and says nothing."""
    command = [sys.executable, "-X", "importtime", f"scripts/{name}.py", "--help"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(command, env=os.environ, **pipes) as process:
        for line in process.stderr:  # a line for each module that has been imported
            if line.split()[-1] == "absl.flags":
                break
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read() and process.stdout.read() == ""
        assert process.wait(100) == -signal.SIGINT


DURING_COLLECTION = """
import gc, os, signal, sys
from mia_jax import cli, progress

def main():
    with progress.shown("waiting", 10):
        gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))
        gc.collect()
        raise SystemExit("it was not heard")

cli.start(lambda argv: main)
"""


def test_ctrl_c_is_heard_during_garbage_collection(shared):
    """Python ignores what is raised there; jax has a callback there, so one Ctrl-C in many was lost. On a terminal the
    cursor, which the progress bar hides, comes back."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-c", DURING_COLLECTION]
    done = subprocess.run(command, env=environment(shared) | {"TERM": "xterm"}, stderr=end, timeout=600, check=False)
    os.close(end)
    told = os.read(terminal, 4096).decode()  # all of it: a bar, a line
    os.close(terminal)
    assert done.returncode == 130 and "Traceback" not in told
    assert (
        told.split("\r\n")[-2] == "Interrupted. Nothing that was finished is lost: the same command goes on from here."
    )
    assert told.rindex("\033[?25h") > told.rindex("\033[?25l")


@pytest.mark.slow
def test_killed_at_any_moment(finished, own, tmp_path):
    """Nobody chooses the moment: the machine's load does."""
    argv = [sys.executable, "scripts/train.py", *arguments(dataset=own, workdir=tmp_path / "w", chunk=1)]
    kills = 0
    for delay in itertools.count(1.0, 0.7):
        with subprocess.Popen(
            argv, env=environment(tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as run:
            try:
                assert run.wait(delay) == 0
                break
            except subprocess.TimeoutExpired:
                run.kill()
                kills += 1
    assert kills > 3
    assert scores(tmp_path / "w") == scores(finished[0])
