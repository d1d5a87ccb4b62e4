"""A target behind the protocols of prediction services, on this machine: to try a remote attack, and to test one.

``answering`` says what is answered; this is HTTP, by Starlette and uvicorn. What a request may cost is bounded: bytes
of a body, bytes of all bodies in memory together, seconds until a body is there, connections. On a loopback address
only requests that name it are answered, and no form that a web page elsewhere can send without leave (DNS rebinding).
"""

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import json
import math
import os
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Sequence

import numpy as np

from mia_jax.targets.remote.protocols import dumps
from mia_jax.targets.server_replies import Refusal, Reply, Shown, answering, parse, reply_body
from mia_jax.types import InputError, Schema, Target

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError:
    uvicorn = None

__all__ = ["Refusal", "Shown", "dtype_of", "parse", "paths", "reply_body", "serve"]

MAX_BODY = 16 * 2**20  # bytes of a request
IN_MEMORY = 32 * 2**20  # bytes of all requests that are read or answered at a time
BODY_SECONDS = 60.0  # until a body must be there, and until there is room for it
BACKLOG = 2048  # connections that wait to be accepted
CONNECTIONS = 1024
TYPES = ("application/json", "application/x-amz-json-1.1", "text/csv")  # none that a page may send across origins
LOOPBACK = ("localhost", "127.0.0.1", "::1")


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
) -> Generator[str]:
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
        InputError: the address cannot be had, or Starlette and uvicorn are missing.
    """
    if uvicorn is None:
        raise InputError("serving needs Starlette and uvicorn: pip install 'mia-jax[serve]'")
    classes = target.answers.classes
    labels = [str(c) for c in range(classes)] if labels is None else list(labels)
    answer = answering(target, shape, np.dtype(dtype), shown or Shown())
    listening = _listening(host, port)
    with concurrent.futures.ThreadPoolExecutor(max(4, os.cpu_count() or 1), "mia-jax-answer") as pool, listening:
        app = _App(answer, name, labels, _Limiter(rate), _is_loopback(host), pool)
        with _running(app.routes(), listening, pool):
            shown_host = f"[{host}]" if ":" in host else host
            yield f"http://{shown_host}:{listening.getsockname()[1]}"


@contextlib.contextmanager
def _running(app: "Starlette", listening: socket.socket, pool: concurrent.futures.Executor) -> Generator[None]:
    """The application, served in a thread for as long as the block lasts; the pool, in which it answers, ends there."""
    assert uvicorn is not None, "serve looks whether it is there"
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        pool.shutdown(wait=False, cancel_futures=True)
        thread.join()


def paths(name: str = "model") -> dict[str, str]:
    """The path of the model in each protocol."""
    return {
        "oip": f"/v2/models/{name}/infer",
        "vertex": f"/v1/models/{name}:predict",
        "sagemaker": f"/endpoints/{name}/invocations",
        "mlflow": "/invocations",
        "json": "/predict",
        "google": f"/prediction/v1.6/projects/local/trainedmodels/{name}/predict",
        "amazon": f"/amazon/{name}",
    }


def dtype_of(schema: Schema) -> np.dtype:
    """What ``serve`` should give to a target that was trained on such records: bits and pixels are uint8."""
    natural = all(field.kind in ("binary", "pixel") for field in schema.fields)
    return np.dtype(np.uint8 if natural else np.float32)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: else asyncio leaves Nagle's algorithm on, and each reply waits 40 ms for its second part.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(f"{host}:{port} cannot be served at ({error.strerror}): choose another port") from None
    return listening


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


# --- limits ----------------------------------------------------------------------------------------------------------


class _Limiter:
    """Lets ``rate`` requests a second through, on average; as many at once."""

    def __init__(self, rate: float | None):
        self._rate, self._allowance, self._last = rate, rate or 0.0, time.monotonic()
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


class _Room:
    """Bytes of memory that requests share: each waits until there is room for its own."""

    def __init__(self, size: int):
        self._left, self._freed = size, asyncio.Condition()

    @contextlib.asynccontextmanager
    async def __call__(self, size: int):
        try:
            async with asyncio.timeout(BODY_SECONDS), self._freed:
                await self._freed.wait_for(lambda: self._left >= size)
                self._left -= size
        except TimeoutError:
            raise Refusal(503, "too many large requests at once", {"retry-after": "5"}) from None
        try:
            yield
        finally:
            async with self._freed:
                self._left += size
                self._freed.notify_all()


# --- HTTP ------------------------------------------------------------------------------------------------------------


class _App:
    """What is said at which path."""

    def __init__(
        self,
        answer: Callable[[np.ndarray], Reply],
        name: str,
        labels: Sequence[str],
        limiter: _Limiter,
        loopback: bool,
        pool: concurrent.futures.Executor,
    ):
        self._answer, self._name, self._labels, self._limiter = answer, name, labels, limiter
        self._loopback, self._pool, self._room = loopback, pool, _Room(IN_MEMORY)

    def routes(self) -> "Starlette":
        return Starlette(
            routes=[
                Route("/{path:path}", self._get, methods=["GET"]),
                Route("/{path:path}", self._post, methods=["POST"]),
            ]
        )

    async def _get(self, request: "Request") -> "Response":
        path, name = request.url.path, self._name
        try:
            self._check_host(request)
        except Refusal as refusal:
            return _refused(refusal)
        if path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{name}/ready", f"/v1/models/{name}"):
            return _json(200, dumps({"name": name, "ready": True}))
        if path == f"/v2/models/{name}":
            return _json(200, dumps({"name": name, "platform": "mia_jax", "inputs": [], "outputs": []}))
        return _json(404, json.dumps({"error": f"nothing at {path}"}).encode())

    async def _post(self, request: "Request") -> "Response":
        try:
            self._check_host(request)
            if (kind := request.headers.get("content-type", "").partition(";")[0].strip().lower()) not in TYPES:
                raise Refusal(415, f"the content type is {kind or 'not given'}; it must be one of {', '.join(TYPES)}")
            path = re.sub(r"/v2/models/([^/]+)/versions/[^/]+/", r"/v2/models/\1/", request.url.path)
            if path not in {*paths(self._name).values(), "/"}:
                raise Refusal(404, f"nothing at {path}")
            self._limiter.take()
            length = request.headers.get("content-length")
            if length is not None and int(length) > MAX_BODY:  # that it is a number is h11's to see
                raise Refusal(413, f"more than {MAX_BODY} bytes", {"connection": "close"})
            async with self._room(MAX_BODY if length is None else int(length)):
                body = await _body(request)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._pool, self._reply, path, dict(request.headers), body)
        except Refusal as refusal:
            return _refused(refusal)
        except ClientDisconnect:
            return Response()

    def _check_host(self, request: "Request") -> None:
        """Refuse a request under another name than this machine's own, as a page elsewhere makes a browser send it."""
        try:
            host = urllib.parse.urlsplit("//" + request.headers.get("host", "")).hostname or ""
        except ValueError:
            host = ""
        if self._loopback and host not in LOOPBACK and not _is_loopback(host):
            raise Refusal(421, f"this is {LOOPBACK[0]}, and the request is for another host")

    def _reply(self, path: str, headers: dict[str, str], body: bytes) -> "Response":
        try:
            reply = self._answer(parse(path, headers, body))
            kind = "text/csv" if "csv" in headers.get("content-type", "") else "application/json"
            return Response(reply_body(path, headers, self._name, self._labels, reply), 200, media_type=kind)
        except Refusal as refusal:
            return _refused(refusal)
        except Exception as error:  # whatever the target raises: its caller is told, and the server lives on
            return _json(500, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


async def _body(request: "Request") -> bytes:
    """A request's body, as far as it keeps to the limit. Raises Refusal."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                parts.append(part)
                if (size := size + len(part)) > MAX_BODY:
                    raise Refusal(413, f"more than {MAX_BODY} bytes", {"connection": "close"})
    except TimeoutError:
        raise Refusal(408, f"no whole request within {BODY_SECONDS:g} s", {"connection": "close"}) from None
    return b"".join(parts)


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> "Response":
    return Response(body, status, headers, media_type="application/json")


def _refused(refusal: Refusal) -> "Response":
    return _json(refusal.status, json.dumps({"error": str(refusal)}).encode(), dict(refusal.headers))
