"""A real Ray of two nodes on this machine, one of which is killed in the middle.

Ray has many dependencies: it may be in an environment of its own, beside this library, that MIA_JAX_RAY_PYTHON names.
"""

import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from small_runs import arguments, environment, scores, write_data

PYTHON = os.environ.get("MIA_JAX_RAY_PYTHON") or (sys.executable if importlib.util.find_spec("ray") else "")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.integration,
    pytest.mark.skipif(not PYTHON, reason="needs Ray: pip install ray, or set MIA_JAX_RAY_PYTHON to a python with it"),
]

# Each line of standard input ends a node, with all that it has started; the last one ends the cluster.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, *(node.all_processes["raylet"][0].process.pid for node in nodes), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def descendants(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(each for child in below for each in descendants(child))]


def test_a_node_is_killed(shared, tmp_path):
    own = write_data(tmp_path / "own.npz")
    argv = ["scripts/train.py", *arguments(dataset=own, num_shadows=3, num_epochs=100)]
    plain = environment(shared) | {"RAY_raylet_start_wait_time_s": "300"}  # busy machines
    subprocess.run([PYTHON, *argv, f"--workdir={tmp_path / 'one'}"], env=plain, check=True, capture_output=True)
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen([PYTHON, "-c", CLUSTER], env=plain, **pipes) as cluster:
        address, *raylets = cluster.stdout.readline().split()
        flags = [f"--workdir={tmp_path / 'w'}", "--engine=ray", "--shards=2", f"--ray=address={address},num_cpus=1"]
        with subprocess.Popen([PYTHON, *argv, *flags], env=plain, stderr=subprocess.PIPE, text=True) as process:
            while not list((tmp_path / "w").glob("locks/models-*")):
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
            killed = descendants(int(raylets[0]))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            said = process.stderr.read()
            assert process.wait(600) == 0, said
        cluster.stdin.close()
    assert len(killed) > 1
    assert scores(tmp_path / "w") == scores(tmp_path / "one")
    assert not (tmp_path / "w" / "locks").exists()


def test_no_cluster(shared, tmp_path):
    own = write_data(tmp_path / "own.npz")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        flags = ["--engine=ray", f"--ray=address=127.0.0.1:{probe.getsockname()[1]}", f"--workdir={tmp_path / 'w'}"]
        argv = ["scripts/train.py", *arguments(dataset=own), *flags]
        done = subprocess.run([PYTHON, *argv], env=environment(shared), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("error: --ray: ") == 1, done.stderr
