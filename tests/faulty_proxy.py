"""A network behind our own server, and a proxy that does what services and networks do."""

import collections
import contextlib
import http.client
import http.server
import json
import socket
import struct
import threading
import time
import urllib.parse

import jax.numpy as jnp
import numpy as np

from mia_jax.targets import black_box
from mia_jax.targets.remote import Options
from mia_jax.targets.remote.service import PROBE_ROWS
from mia_jax.types import Model

CLASSES, FEATURES = 5, 6
WEIGHTS = np.random.default_rng(1).normal(size=(FEATURES, CLASSES)).astype(np.float32)
NETWORK = Model(init=lambda key, x: WEIGHTS, apply=lambda params, x, *, key=None: x.astype(jnp.float32) @ params)
TARGET = black_box.as_target(NETWORK, jnp.asarray(WEIGHTS), CLASSES)
FAST = Options(rows_per_request=8, in_flight=4, timeout=5.0, backoff=0.01, repeat=False)  # each question is counted
PROBES = PROBE_ROWS // FAST.rows_per_request  # questions until connected


def records(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, FEATURES)).astype(np.float32)


class Proxy:
    """Forwards ``:predict`` questions, and spoils what ``plan(number of the question)`` says.

    It keeps the books: ``asked`` counts how often each record was sent, ``repeated`` how often after its answer had
    gone out whole.
    """

    def __init__(self, upstream, plan=lambda number: None):
        self.upstream, self.plan = urllib.parse.urlsplit(upstream).netloc, plan
        self.lock, self.release = threading.Lock(), threading.Event()
        self.number, self.times, self.headers, self.faults = 0, [], [], collections.Counter()
        self.asked, self.repeated, self.answered = collections.Counter(), 0, set()

    def open(self):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 20

            def do_POST(self):
                with contextlib.suppress(OSError):  # the client may have gone
                    proxy.forward(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, *_):
                pass

        return Handler

    @contextlib.contextmanager
    def __call__(self):
        running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.open())
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/v1/models/model:predict"
        finally:
            self.release.set()
            running.shutdown()
            running.server_close()
            thread.join()

    def forward(self, handler, body):
        rows = [json.dumps(row) for row in json.loads(body)["instances"]]
        with self.lock:
            self.number += 1
            fault = self.plan(self.number)
            self.faults[fault] += 1
            self.times.append((time.monotonic(), fault))
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.asked.update(rows)
            self.repeated += len(self.answered.intersection(rows))
        connection = http.client.HTTPConnection(self.upstream, timeout=20)
        connection.request("POST", handler.path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        status, content, headers, sent = reply.status, reply.read(), {}, set(rows)
        connection.close()
        length = None
        match fault:
            case None:
                pass
            case ("429", wait):
                status, content, headers, sent = 429, b'{"error": "slow down"}', {"Retry-After": wait}, set()
            case int():
                status, content, sent = fault, b"<html>sorry</html>", set()
            case "reset":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.connection.shutdown(socket.SHUT_RD)
                handler.connection.close()
                handler.close_connection = True
                return
            case "truncated":
                length, content, sent = len(content), content[: len(content) // 2], set()
                handler.close_connection = True
            case "cut":
                content, sent = content[: len(content) // 2], set()
            case "page":
                content, sent = b"<html>please log in</html>", set()
            case "missing":
                predictions = json.loads(content)["predictions"]
                content, sent = json.dumps({"predictions": predictions[:-1]}).encode(), set()
            case "nan" | ("nan", _):
                predictions = json.loads(content)["predictions"]
                bad = rows.index(fault[1]) if isinstance(fault, tuple) and fault[1] in rows else 0
                if fault == "nan" or fault[1] in rows:
                    predictions[bad][2] = float("nan")
                    sent.discard(rows[bad])
                content = json.dumps({"predictions": predictions}).encode()
            case ("slow", seconds):
                self.release.wait(seconds)
                sent = set()  # nobody waits for it any more
            case "stall":
                self.release.wait(30)
                return
            case ("echo", name):
                status, content, sent = 400, f"bad header {handler.headers[name]}".encode(), set()
        handler.send_response(status)
        for name, value in {"content-length": str(length or len(content)), **headers}.items():
            handler.send_header(name, value)
        with self.lock:
            self.answered |= sent
        handler.end_headers()
        handler.wfile.write(content)


def every(period, faults):
    """Each fault in turn, at every so many questions."""
    return lambda number: faults[number // period % len(faults)] if number % period == 0 else None
