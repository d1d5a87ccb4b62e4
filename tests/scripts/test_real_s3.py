"""A real server that speaks S3 (moto's), and s3fs: whole runs, killed and gone on with elsewhere; what it refuses.

Needs `pip install s3fs 'moto[server]'`; skipped where they are not installed.
"""

import http.server
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from lock_workers import check_that_one_is_at_work
from small_runs import arguments, artifact_files, environment, python, scores

from mia_jax.storage import artifacts, locks, objects, places
from mia_jax.types import InputError

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pytestmark = pytest.mark.integration

URL = "s3://bucket/folder/run"
KEYS = dict(AWS_ACCESS_KEY_ID="someone", AWS_SECRET_ACCESS_KEY="classified", AWS_DEFAULT_REGION="us-east-1")


class Server:
    """moto's, as a process; it forgets all when it is killed."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.05)
        self.files().mkdir("bucket")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def files(self):
        keys = dict(key="someone", secret="classified")
        return s3fs.S3FileSystem(endpoint_url=self.url, use_listings_cache=False, skip_instance_cache=True, **keys)

    def names(self):
        return sorted(name.removeprefix("bucket/folder/run/") for name in self.files().find(URL))

    def read(self, name):
        return self.files().cat_file(f"{URL}/{name}")


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name, value in dict(KEYS, MIA_JAX_CACHE_DIR=str(tmp_path / "one")).items():
        monkeypatch.setenv(name, value)
    running = Server()
    monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
    s3fs.S3FileSystem.clear_instance_cache()
    yield running
    running.kill()
    s3fs.S3FileSystem.clear_instance_cache()


def train(shared, *argv):
    return python(shared, "scripts/train.py", *argv)


def started(shared, *argv):
    given = dict(env=environment(shared), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, "scripts/train.py", *argv], **given)


def wait_for_models(server, count, process):
    while sum(name.startswith("models/") for name in server.names()) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def cached_models(machine: pathlib.Path):
    [workdir] = (machine / "workdirs").iterdir()
    return artifact_files(workdir, "models")


def test_shards_a_run_that_is_killed_and_another_machine(server, shared, own, tmp_path, monkeypatch):
    argv = arguments(dataset=own, num_shadows=4, num_epochs=30, chunk=1)
    done = train(shared, *argv, f"--workdir={tmp_path / 'local'}")
    assert done.returncode == 0, done.stderr
    killed = started(shared, *argv, f"--workdir={URL}")
    wait_for_models(server, 2, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for i in range(2):  # each with an empty cache
        monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / f"machine-{i}"))
        done = train(shared, *argv, f"--workdir={URL}", f"--shard={i}/2")
        assert done.returncode == 0, done.stderr
    assert "all 4 are there" in done.stderr
    before = server.names()
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "two"))
    done = train(shared, *argv, f"--workdir={URL}", "--csv")
    assert done.returncode == 0, done.stderr
    assert f"Report: {URL}/report.html" in done.stdout and f"Scores as text: {URL}/scores.csv" in done.stdout
    assert {name for name in before if name.startswith("models/")} == {
        name for name in server.names() if name.startswith("models/")
    }
    assert server.read("scores.npz") == scores(tmp_path / "local")
    assert {*artifact_files(tmp_path / "local")} <= {*server.names()}
    assert not [name for name in server.names() if name.startswith(("locks/", "."))]
    for text in (done.stdout, done.stderr, server.read("results.json").decode(), server.read("report.html").decode()):
        assert "classified" not in text
    done = python(shared, "-m", "mia_jax", "report", f"--workdir={URL}")
    assert done.returncode == 0 and f"Report: {URL}/report.html" in done.stdout, done.stderr


def test_the_server_goes_away_in_the_middle(server, shared, own, tmp_path):
    argv = [*arguments(dataset=own, num_shadows=6, num_epochs=60, chunk=1), f"--workdir={URL}"]
    running = started(shared, *argv)
    wait_for_models(server, 2, running)
    server.kill()
    _, said = running.communicate(timeout=300)
    assert running.returncode == 2, said
    [line] = [line for line in said.splitlines() if line.startswith("error:")]
    assert re.search(
        rf"{URL}/.* the store does not answer .*; what was made is kept in .* uploads it and goes on", line
    )
    assert "Traceback" not in said
    made = cached_models(tmp_path / "one")
    server.start()  # it has forgotten everything
    done = train(shared, *argv)
    assert done.returncode == 0, done.stderr
    after = cached_models(tmp_path / "one")
    assert len(made) >= 2 and made.items() <= after.items()  # none of them was trained again
    assert {*after} == {name for name in server.names() if name.startswith("models/")}
    done = train(shared, *argv[:-1], f"--workdir={tmp_path / 'local'}")
    assert server.read("scores.npz") == scores(tmp_path / "local")


def opened(url=URL):
    s3fs.S3FileSystem.clear_instance_cache()
    with artifacts.open_workdir(url, {"seed": 0}, shared=True):
        pass


def test_no_bucket(server):
    with pytest.raises(InputError, match=r"s3://nobody/run cannot be written: there is no bucket nobody \(.*\); make"):
        opened("s3://nobody/run")


def test_no_credentials(server, tmp_path, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"no credentials are found \(.*\); give AWS_ACCESS_KEY_ID and"):
        opened()


def test_a_bucket_without_rights(server, monkeypatch):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_PUT = do_HEAD = do_GET

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{refusing.server_port}")
        with pytest.raises(InputError, match=r"the store refuses it \(Access Denied\); get the rights to read, write"):
            opened()
        refusing.shutdown()


def test_of_many_who_create_at_once_one_is_told_so(server):
    """Conditional creation, over HTTP, and a lock for each of two stores that ask as two processes do."""
    store = objects.open_store(places.place(URL))
    store.try_out(".try")
    assert store.exact and store.names() == []
    told, ready = [], threading.Barrier(8)

    def create(k):
        ready.wait()
        told.append(store.create("one", str(k).encode()))

    threads = [threading.Thread(target=create, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(told) == 1
    assert locks.Locks(locks.Objects(store)).take("a") is None
    assert locks.Locks(locks.Objects(store)).take("a").pid == os.getpid()
    assert abs(store.age("one")) < 60 and store.age("nothing") is None


def test_many_processes_that_die(server, tmp_path):
    """And no lock is left."""
    check_that_one_is_at_work(tmp_path, URL, numbers=12, at_once=4, most=60, deaths=0.2, seconds=0.02)
    with artifacts.open_workdir(URL, {"seed": 0}, shared=True):
        pass
    assert server.names() == []


def test_a_large_artifact(server, tmp_path):
    """More than one request's worth, as s3fs uploads it; with the bytes of the file."""
    arrays = {"a": np.random.default_rng(0).random(15_000_000)}  # 120 MB
    with artifacts.open_workdir(URL, {"seed": 0}, shared=True) as workdir:
        workdir.save("models", {"k": 1}, arrays)
        [local] = (workdir.path / "models").iterdir()
        content = local.read_bytes()
        shutil.rmtree(workdir.path / "models")
        assert workdir.load("models", {"k": 1}).arrays["a"].tobytes() == arrays["a"].tobytes()
        assert local.read_bytes() == content
