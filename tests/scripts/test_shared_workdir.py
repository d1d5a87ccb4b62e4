"""Eight processes on one workdir, killed at random: the bytes of one process, and nothing is made twice at once."""

import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import arguments, artifact_files, environment, scores, script, write_data

from mia_jax.storage import processes

pytestmark = pytest.mark.integration

SHADOWS, EPOCHS = 15, 60

# scripts/train.py in processes that are forked from one which has imported everything and done nothing. Each marks the
# networks that it trains while it does so, and tells when another one that is alive has marked the same.
FORKS = """
import os, pathlib, runpy, signal, sys, time
import numpy as np
from mia_jax.audits import pipeline, shared_runs, train_networks
from mia_jax.storage import processes

marks, started = pathlib.Path(sys.argv[1]), sys.argv[2:]
some = train_networks._Training.some


def marked(self, which, advance):
    for k in which:
        mark = marks / f"{self.job.title}-{k}"
        while True:
            try:
                with open(mark, "x") as f:
                    f.write(f"{os.getpid()} {processes.started(os.getpid())}")
                break
            except FileExistsError:
                pid, _, ticks = mark.read_text().partition(" ")
                if pid and processes.started(int(pid)) == ticks:
                    (marks / "twice").write_text(f"{mark.name}: {pid} and {os.getpid()}")
                mark.unlink()
    made = some(self, which, advance)
    for k in which:
        (marks / f"{self.job.title}-{k}").unlink()
    return made


train_networks._Training.some = marked
for line in sys.stdin:
    child = os.fork()
    if not child:
        number, *flags = line.split()
        sys.argv = ["scripts/train.py", *started, *flags]
        sys.stderr = open(marks / f"said-{number}", "w", buffering=1)
        sys.stdout = open(os.devnull, "w")  # ours tells process numbers
        code = 1
        try:
            runpy.run_path("scripts/train.py", run_name="__main__")
        except SystemExit as end:
            code = end.code
        finally:
            (marks / f"code-{number}").write_text(str(code))
            os._exit(0)
    print(child, flush=True)
"""


class Pool:
    """Starts processes, kills them, and knows how the others ended."""

    def __init__(self, shared, marks, *argv):
        command = [sys.executable, "-c", FORKS, str(marks), *argv]
        self.server = subprocess.Popen(
            command, env=environment(shared), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.marks, self.alive, self.count = marks, {}, 0

    def start(self, *flags):
        print(self.count, *flags, file=self.server.stdin, flush=True)
        self.alive[self.count] = int(self.server.stdout.readline())
        self.count += 1

    def ended(self):
        """Those that ended by themselves are forgotten; how many there were."""
        gone = [number for number, pid in self.alive.items() if processes.started(pid) is None]
        for number in gone:
            said = (self.marks / f"said-{number}").read_text()
            assert (self.marks / f"code-{number}").read_text() == "0", said
            del self.alive[number]
        return len(gone)

    def kill(self, number):
        os.kill(self.alive.pop(number), signal.SIGKILL)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_processes_that_are_killed(shared, tmp_path, kills):
    own = write_data(tmp_path / "own.npz")
    argv = arguments(dataset=own, num_shadows=SHADOWS, num_epochs=EPOCHS)
    done = script(shared, *argv, f"--workdir={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr
    marks, rng, killed = tmp_path / "marks", random.Random(kills), 0
    marks.mkdir()
    pool = Pool(shared, marks, *argv, f"--workdir={tmp_path / 'w'}")
    try:
        while killed < kills or pool.alive:
            while killed < kills and len(pool.alive) < 8:  # one in eight wants all
                share = pool.count % 8
                pool.start(f"--shard={share}/8" if share else "--shard=off")
            time.sleep(rng.random())
            pool.ended()
            if killed < kills and pool.alive and rng.random() < 0.5:
                pool.kill(rng.choice(list(pool.alive)))
                killed += 1
    finally:
        for number in list(pool.alive):
            pool.kill(number)
        pool.server.stdin.close()
        pool.server.wait()
        pool.server.stdout.close()
    done = script(shared, *argv, f"--workdir={tmp_path / 'w'}")  # no lock is left that stops it
    assert done.returncode == 0, done.stderr
    assert not (marks / "twice").exists(), (marks / "twice").read_text()
    assert scores(tmp_path / "w") == scores(tmp_path / "one")
    assert artifact_files(tmp_path / "w").keys() == artifact_files(tmp_path / "one").keys()
    assert not (tmp_path / "w" / "locks").exists() and not list((tmp_path / "w").rglob("*.partial"))


def same_models(one: pathlib.Path, other: pathlib.Path) -> bool:
    def parameters(workdir):
        for path in sorted(workdir.glob("models/*.npz")):
            with np.load(path) as f:
                yield path.name, {name: f[name].tobytes() for name in f.files if name != "__meta__"}

    return dict(parameters(one)) == dict(parameters(other))


def test_processes_of_jax_distributed(shared, tmp_path):
    """Each trains its share on its own devices; they meet, and the first goes on."""
    own = write_data(tmp_path / "own.npz")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = arguments(dataset=own, num_shadows=4)
    given = [*argv, f"--workdir={tmp_path / 'w'}", f"--coordinator=127.0.0.1:{port}"]
    running = [
        subprocess.Popen(
            [sys.executable, "scripts/train.py", *given, f"--shard={i}/2"],
            env=environment(shared),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended
    assert "Shard 0/2 is done: 2 of 2 shadow models made here" in ended[0][1] and "Report:" in ended[0][0]
    assert "Shard 1/2 is done: 2 of 2 shadow models made here" in ended[1][1] and "Report:" not in ended[1][0]
    done = script(shared, *argv, f"--workdir={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr
    assert scores(tmp_path / "w") == scores(tmp_path / "one") and same_models(tmp_path / "w", tmp_path / "one")


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--shard=8/8"], "error: --shard=8/8 is no shard of 8: they are 0/8 to 7/8"),
        (["--coordinator=127.0.0.1:9"], "error: --coordinator=127.0.0.1:9 needs --shard=i/n"),
        (["--coordinator=auto"], "error: --coordinator=auto: .*; give host:port and --shard=i/n"),
        (["--slurm=time=5"], "error: --slurm has no meaning without --engine=slurm: leave it out"),
        (["--engine=ray", "--shard=0/2"], "error: --shard has no meaning with --engine"),
        (["--engine=slurm", "--slurm=time"], "error: --slurm=time: time has no value; give key=value"),
        (["--engine=slurm"], "error: (--engine=slurm needs submitit|there is no SLURM|--slurm needs the time)"),
        (["--engine=nowhere"], "error: .*--engine.*local|slurm|ray"),
    ],
)
def test_one_line(shared, tmp_path, flags, line):
    own = write_data(tmp_path / "own.npz")
    done = script(shared, *arguments(dataset=own, workdir=tmp_path / "w"), *flags)
    assert done.returncode == 2 and re.match(line, done.stderr) and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "w").exists()
