"""Real prediction servers on the loopback address, each in a virtual environment of its own (``real_servers.sh``)."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

HOW = "run `tests/real_servers.sh FOLDER` once and set {0} to the python that it prints"


def python_of(server, *, skip):
    """The python of a server's virtual environment; ``skip(reason)`` where there is none."""
    name = f"MIA_JAX_{server.upper()}_PYTHON"
    python = os.environ.get(name)
    if not python or not pathlib.Path(python).exists():
        skip(f"needs a real {server}: " + HOW.format(name))
    return pathlib.Path(python)


@contextlib.contextmanager
def mlserver(python, model, folder):
    """MLServer's own scikit-learn runtime for a joblib file; yields the model's URL (Open Inference Protocol v2)."""
    folder = pathlib.Path(folder, "mlserver")
    folder.mkdir()
    http, grpc, metrics = free_ports(3)
    settings = dict(host="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics, parallel_workers=0)
    (folder / "settings.json").write_text(json.dumps(settings | {"debug": False}))
    runtime = dict(name="m", implementation="mlserver_sklearn.SKLearnModel", parameters={"uri": "./model.joblib"})
    (folder / "model-settings.json").write_text(json.dumps(runtime))
    shutil.copy(model, folder / "model.joblib")
    url = f"http://127.0.0.1:{http}/v2/models/m"
    with _running([python.parent / "mlserver", "start", "."], folder, f"{url}/ready"):
        yield url


KSERVE = """
import sys, joblib, kserve, numpy, uvicorn

class Forest(kserve.Model):
    def load(self):
        self.model, self.ready = joblib.load(sys.argv[1]), True
        return True

    def predict(self, payload, headers=None):
        return {"predictions": self.model.predict_proba(numpy.asarray(payload["instances"])).tolist()}

configure = uvicorn.Config.__init__
uvicorn.Config.__init__ = lambda *a, **k: configure(*a, **{**k, "host": "127.0.0.1"})  # it would bind every interface
model = Forest("m")
model.load()
kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([model])
"""


@contextlib.contextmanager
def kserve(python, model, folder):
    """KServe with a model class of a dozen lines; yields the model's URL (V1)."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/v1/models/m"
    with _running([python, "-c", KSERVE, model, str(port)], folder, url):
        yield url


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextlib.contextmanager
def _running(command, folder, url, *, patience=60):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    log = pathlib.Path(folder, "server.log")
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        end = time.monotonic() + patience
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False
