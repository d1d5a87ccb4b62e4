"""Replies without an end, or a byte now and then: cut off in a line, and within a gigabyte."""

import functools
import re
import subprocess
import sys
import time
import zlib

import pytest
import services
from services import reply
from test_remote_odd import told


def endless(body, number):
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    for _ in range(10_000):  # 640 MB
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


def endless_error(body, number):
    yield b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n"
    for _ in range(10_000):
        yield b"10000\r\n" + b"x" * 65536 + b"\r\n"


@functools.cache
def spaces():
    packed = zlib.compressobj(1, wbits=31)
    parts = [packed.compress(b" " * 1_000_000) for _ in range(500)]
    return reply(b"".join([*parts, packed.flush()]), content_encoding="gzip")


def bomb(body, number):
    return spaces()


@pytest.mark.parametrize(
    ("flood", "said"),
    [
        (endless, "longer than 16 MiB: .*rows_per_request"),
        (endless_error, "HTTP 400: xxx"),
        (bomb, "longer than 16 MiB"),
    ],
)
def test_a_flood_is_cut_off(flood, said):
    spaces()
    with services.raw(flood) as url:
        assert re.search(said, told(url))


def trickle(head):
    def respond(body, number):
        yield head
        for _ in range(100):
            time.sleep(0.05)
            yield b" "

    return respond


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nx: ", marks=pytest.mark.integration, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", id="body"),
        pytest.param(b"HTTP/1.1 400 No\r\nx: ", marks=pytest.mark.integration, id="error"),
    ],
)
def test_a_byte_now_and_then_ends_with_the_deadline(head):
    began = time.monotonic()
    with services.raw(trickle(head)) as url:
        assert "no whole answer within 0.8 s, 4 times in a row" in told(url)
    assert time.monotonic() - began < 60


MEASURED = """
import resource, sys
sys.path[:0] = ["tests", "tests/targets"]
import services, test_remote_floods as floods
from test_remote_odd import GOOD, told
with services.raw(lambda body, number: services.reply({"predictions": GOOD})) as url:
    told(url)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
floods.spaces()
respond = FLOOD
with services.raw(respond) as url:
    line = told(url)
print(line)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
FLOODS = {
    "endless": "floods.endless",
    "an endless error": "floods.endless_error",
    "a gigabyte of spaces": "floods.bomb",
    "empty objects": "lambda b, n: services.reply(b'[' + b'{},' * 5_000_000 + b'{}]')",
    "empty lists": "lambda b, n: services.reply(b'[' + b'[],' * 5_000_000 + b'[]]')",
    "one number many times": "lambda b, n: services.reply(b'[[' + b'0,' * 8_000_000 + b'0]]')",
    "long names": "lambda b, n, r=services.reply([{'label': 'a' * 900_000, 'score': 0.5}] * 16): r",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_less_than_a_gigabyte(name):
    command = [sys.executable, "-c", MEASURED.replace("FLOOD", FLOODS[name])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    line, grown = done.stdout.splitlines()
    print(f"{name}: {grown} MB; {line[:120]}")
    assert line and int(grown) < 1024
