"""A target behind the protocols of prediction services, on this machine: to try a remote attack, and to test one.

It answers the Open Inference Protocol v2, ``:predict``, ``/invocations`` (JSON and CSV), Google Prediction v1.6 and
Amazon ML ``Predict``, one record or many a call, and can hide what services hide: the k best classes only, rounded
probabilities, labels only, and too frequent questions (429 with Retry-After).
"""

import contextlib
import http.server
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.remote.protocols import DATATYPES, dumps, loads
from mia_jax.types import InputError, Schema, Target

MAX_BODY = 64 * 2**20  # bytes


class Shown(NamedTuple):
    """What of an answer is shown."""

    top_k: int | None = None  # the k best classes; the others are zeros, or left out where a protocol names classes
    digits: int | None = None  # decimal places
    label_only: bool = False


class Refusal(Exception):
    """A request that gets an error status."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status, self.headers = status, headers or {}


@contextlib.contextmanager
def serve(
    target: Target,
    shape: tuple[int, ...],
    *,
    dtype: np.typing.DTypeLike = np.float32,
    name: str = "model",
    host: str = "127.0.0.1",
    port: int = 0,
    shown: Shown | None = None,
    rate: float | None = None,
    labels: Sequence[str] | None = None,
) -> Iterator[str]:
    """Answer requests in threads for as long as the block lasts.

    Args:
        target: asked once per request.
        shape: of one record; requests with records of another size get 400.
        dtype: that the target expects of records.
        name: of the model, in the paths.
        host: whoever can reach this address can ask: keep to the loopback address unless that is wanted.
        port: 0 takes a free one.
        shown: what of an answer is shown; everything by default.
        rate: requests a second; more get 429.
        labels: the classes' names, for the protocols that name them; "0", "1", ... by default.

    Yields:
        ``http://host:port``; ``paths(name)`` are the paths below it.

    Raises:
        InputError: the address cannot be had.
    """
    classes = target.answers.classes
    labels = [str(c) for c in range(classes)] if labels is None else list(labels)
    answer = _answering(target, shape, np.dtype(dtype), shown or Shown())
    limiter = _Limiter(rate)
    handler = type("Handler", (_Handler,), dict(answer=staticmethod(answer), name=name, labels=labels, limiter=limiter))
    try:
        server = _Server((host, port), handler)
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be served at ({error.strerror}): choose another port") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def paths(name: str = "model") -> dict[str, str]:
    """The path of the model in each protocol."""
    return {
        "oip": f"/v2/models/{name}/infer",
        "vertex": f"/v1/models/{name}:predict",
        "sagemaker": f"/endpoints/{name}/invocations",
        "mlflow": "/invocations",
        "google": f"/prediction/v1.6/projects/local/trainedmodels/{name}/predict",
        "amazon": f"/amazon/{name}",
    }


def dtype_of(schema: Schema) -> np.dtype:
    """What ``serve`` should give to a target that was trained on such records: bits and pixels are uint8."""
    natural = all(field.kind in ("binary", "pixel") for field in schema.fields)
    return np.dtype(np.uint8 if natural else np.float32)


# --- questions and answers -------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    p: np.ndarray  # [b, c], as far as it is shown; zero where it is not
    sent: np.ndarray  # bool [b, c]: the classes that are shown
    label: np.ndarray  # [b]
    label_only: bool


def _answering(target: Target, shape: tuple[int, ...], dtype: np.dtype, shown: Shown) -> Callable[[np.ndarray], Reply]:
    ask = jax.jit(target.ask) if target.traced else target.ask

    def answer(rows: np.ndarray) -> Reply:
        if rows.ndim < 1 or len(rows) == 0 or rows[0].size != math.prod(shape):
            raise Refusal(400, f"a record has shape {shape}, and the request has {rows.shape}")
        try:
            x = rows.reshape(len(rows), *shape).astype(dtype)
        except ValueError:
            raise Refusal(400, "the records are not numbers") from None
        if target.traced:  # few shapes to compile for
            padding = [(0, 2 ** math.ceil(math.log2(len(x))) - len(x)), *[(0, 0)] * len(shape)]
            x = np.pad(x, padding)
        p = np.exp(np.asarray(ask(x), np.float64))[: len(rows)]
        label = p.argmax(axis=1)
        rank = np.argsort(np.argsort(-p, axis=1, kind="stable"), axis=1)
        sent = rank < (p.shape[1] if shown.top_k is None else shown.top_k)
        p = np.where(sent, p if shown.digits is None else p.round(shown.digits), 0.0)
        return Reply(p, sent, label, shown.label_only)

    return answer


def parse(path: str, headers: Mapping[str, str], body: bytes) -> np.ndarray:
    """The records that a request asks about, [b, ...] with the shape that it gives them.

    Raises:
        Refusal: 400 for a request that is none.
    """
    try:
        if "csv" in headers.get("content-type", ""):
            return np.array([[float(cell) for cell in line.split(",")] for line in body.decode().splitlines()])
        value = loads(body)
        if "inputs" in value and path.endswith("/infer"):
            tensor = value["inputs"][0]
            return np.asarray(tensor["data"]).reshape(tensor["shape"])
        if "input" in value:
            return np.asarray([value["input"]["csvInstance"]], np.float64)
        if "Record" in value:
            return np.asarray([[float(value["Record"][f"f{j}"]) for j in range(len(value["Record"]))]])
        return np.asarray(value["instances"] if "instances" in value else value["inputs"])
    except (ValueError, KeyError, TypeError, IndexError):
        raise Refusal(400, "the request cannot be read") from None


def reply_body(path: str, headers: Mapping[str, str], name: str, labels: Sequence[str], reply: Reply) -> bytes:
    """The reply in the protocol of the request."""
    p, best = reply.p, reply.label
    scores = {labels[c]: p[0, c] for c in np.flatnonzero(reply.sent[0])} if not reply.label_only else {}
    if path.endswith("/infer"):
        return dumps({"model_name": name, "outputs": [_tensor(reply)]})
    if "/trainedmodels/" in path:
        many = [{"label": label, "score": repr(float(score))} for label, score in scores.items()]
        return dumps({"kind": "prediction#output", "outputLabel": labels[best[0]], "outputMulti": many})
    if "x-amz-target" in headers:
        return dumps({"Prediction": {"predictedLabel": labels[best[0]], "predictedScores": scores}})
    if "csv" in headers.get("content-type", ""):
        return b"\n".join(dumps(row)[1:-1] for row in (best[:, None] if reply.label_only else p)) + b"\n"
    return dumps({"predictions": best if reply.label_only else p})


def _tensor(reply: Reply) -> dict[str, Any]:
    name, values = ("predict", reply.label) if reply.label_only else ("predict_proba", reply.p)
    datatype = f"{DATATYPES[values.dtype.kind]}{8 * values.dtype.itemsize}"
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": values.reshape(-1)}


# --- HTTP ------------------------------------------------------------------------------------------------------------


class _Limiter:
    """Lets ``rate`` requests a second through, on average; as many at once."""

    def __init__(self, rate: float | None):
        self._rate, self._allowance, self._last = rate, rate, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> None:
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            room = max(1.0, self._rate)
            self._allowance = min(room, self._allowance + (now - self._last) * self._rate)
            self._last = now
            if self._allowance < 1:
                wait = math.ceil((1 - self._allowance) / self._rate)
                raise Refusal(429, "too many requests", {"retry-after": str(wait)})
            self._allowance -= 1


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A client that goes away is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    timeout = 60
    answer: Callable[[np.ndarray], Reply]
    name: str
    labels: Sequence[str]
    limiter: _Limiter

    def do_GET(self) -> None:
        ready = ("/v2/health/live", "/v2/health/ready", f"/v2/models/{self.name}/ready", f"/v1/models/{self.name}")
        if self.path in ready:
            self._send(200, dumps({"name": self.name, "ready": True}))
        elif self.path == f"/v2/models/{self.name}":
            self._send(200, dumps({"name": self.name, "platform": "mia_jax", "inputs": [], "outputs": []}))
        else:
            self._send(404, dumps({"error": f"nothing at {self.path}"}))

    def do_POST(self) -> None:
        try:
            size = int(self.headers.get("content-length", 0))
            if size > MAX_BODY:
                self.close_connection = True  # the body is not read
                raise Refusal(413, f"more than {MAX_BODY} bytes")
            body = self.rfile.read(size)
            path = re.sub(r"/v2/models/([^/]+)/versions/[^/]+/", r"/v2/models/\1/", self.path.split("?")[0])
            known = {*paths(self.name).values(), "/"}
            if path not in known:
                raise Refusal(404, f"nothing at {path}")
            self.limiter.take()
            headers = {key.lower(): value for key, value in self.headers.items()}
            reply = self.answer(parse(path, headers, body))
            kind = "text/csv" if "csv" in headers.get("content-type", "") else "application/json"
            self._send(200, reply_body(path, headers, self.name, self.labels, reply), kind)
        except Refusal as refusal:
            self._send(refusal.status, json.dumps({"error": str(refusal)}).encode(), **refusal.headers)
        except OSError:
            self.close_connection = True
        except Exception as error:  # whatever the target raises: its caller is told, and the server lives on
            self._send(500, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silent: standard error is for the user."""
