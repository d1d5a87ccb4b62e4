"""Services on the loopback address for tests: one that answers by a function, one that says any bytes at all."""

import contextlib
import json
import socket
import struct
import threading

import numpy as np

HEAD = "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"


def reply(body=b"", status="200 OK", **headers):
    """A whole HTTP reply; headers with ``_`` for ``-``."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return HEAD.format(status=status, more=more, length=len(body)).encode("latin1") + body


@contextlib.contextmanager
def raw(respond, path="/v1/models/m:predict", port=0):
    """Yields a URL; ``respond(body, number)`` is what is sent for each request's body: bytes, or pieces of them.

    None resets the connection.
    """
    number, lock, connections = 0, threading.Lock(), []

    def serve(connection):
        nonlocal number
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as f:
            while line := f.readline():
                length = 0
                while (header := f.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                body = f.read(length)
                if line.startswith(b"GET"):
                    connection.sendall(reply({}, "404 Not Found"))
                    continue
                with lock:
                    number += 1
                said = respond(body, number)
                if said is None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                whole = isinstance(said, bytes)
                for piece in [said] if whole else said:
                    connection.sendall(piece)
                if not whole or b"content-length" not in said.partition(b"\r\n\r\n")[0].lower():
                    return

    listening = socket.create_server(("127.0.0.1", port), backlog=64)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connections.append(listening.accept()[0])
                threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}{path}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def answering(predict, path="/v1/models/m:predict"):
    """Yields the URL of a ``:predict`` service: ``predict(x)`` gives a JSON value for each record."""

    def respond(body, number):
        del number
        return reply({"predictions": predict(np.array(json.loads(body)["instances"]))})

    with raw(respond, path) as url:
        yield url
