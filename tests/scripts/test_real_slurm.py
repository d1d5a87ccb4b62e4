"""A real SLURM of two nodes on this machine, one of which is killed in the middle: tests/real_slurm.sh sets it up."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest
from small_runs import arguments, environment, scores, script, write_data

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.integration,
    pytest.mark.skipif(
        not os.environ.get("SLURM_CONF") or not shutil.which("sbatch"),
        reason="needs a SLURM: set SLURM_CONF to what tests/real_slurm.sh FOLDER start has made",
    ),
]

SETUP = pathlib.Path(__file__).parents[1] / "real_slurm.sh"


def node(what: str, name: str) -> None:
    folder = pathlib.Path(os.environ["SLURM_CONF"]).parent
    subprocess.run([SETUP, folder, what, name], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def nodes() -> list[str]:
    asked = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %T"], capture_output=True, text=True, check=True)
    return asked.stdout.split("\n")


def test_a_node_is_killed(shared, tmp_path):
    """What ran there is submitted again, and the bytes are those of one process."""
    own = write_data(tmp_path / "own.npz")
    argv = arguments(dataset=own, num_shadows=11, num_epochs=200)
    done = script(shared, *argv, f"--workdir={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr
    argv += [f"--workdir={tmp_path / 'w'}", "--engine=slurm", "--shards=5", "--slurm=partition=all,time=10"]
    with subprocess.Popen(
        [sys.executable, "scripts/train.py", *argv], env=environment(shared), stderr=subprocess.PIPE, text=True
    ) as process:
        said, killed = [], False
        for line in process.stderr:
            said.append(line)
            if "has 5 tasks" in line and not killed:
                while not list((tmp_path / "w").glob("locks/models-*")):  # training
                    time.sleep(0.1)
                killed = True
                node("kill", "n1")
                node("node", "n1")
        assert process.wait(600) == 0, said
    text = "".join(said)
    assert "This stands for: sbatch --array=0-4 --partition=all --time=10 --wrap 'python scripts/train.py" in text
    assert re.search(r"Shard \d/5 failed .*: again", text), text
    assert scores(tmp_path / "w") == scores(tmp_path / "one")
    assert not (tmp_path / "w" / "locks").exists()


def test_a_job_that_is_refused(shared, tmp_path):
    own = write_data(tmp_path / "own.npz")
    flags = [f"--workdir={tmp_path / 'w'}", "--engine=slurm", "--slurm=partition=nowhere,time=10"]
    done = script(shared, *arguments(dataset=own), *flags)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "invalid partition specified: nowhere" in told[0] and "Traceback" not in done.stderr


def test_an_error_of_a_task_is_the_runs(shared, tmp_path):
    """What the user must mend is not tried again."""
    flags = [f"--workdir={tmp_path / 'w'}", "--engine=slurm", "--shards=2", "--slurm=time=10"]
    done = script(shared, *arguments(dataset=tmp_path / "nothing.npz"), *flags)
    assert done.returncode == 2
    assert re.search(r"error: shard ./2 failed: .*nothing.npz", done.stderr), done.stderr
