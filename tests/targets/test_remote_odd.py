"""Replies that no good service would give: an answer, or one line; no traceback, no hang, no flood, no secret."""

import email.utils
import gzip
import itertools
import json
import re
import socket
import time
import zlib

import numpy as np
import pytest
import services
from services import reply

from mia_jax import sanitize
from mia_jax.targets import black_box
from mia_jax.targets.remote import Options, connect, credentials, pace, protocols, service
from mia_jax.types import InputError, MiaError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

FAST = Options(16, in_flight=2, timeout=0.4, deadline=0.8, backoff=0.001, retries=0, patience=2.0, repeat=False)
X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
GOOD = [[0.25, 0.75]] * 16


def told(url, **given):
    """What connecting and asking come to: a line, or "" where they are answered."""
    try:
        log_p = connect(url, X, options=FAST, **given).ask(X)
    except MiaError as error:
        text = str(error)
        assert "\n" not in text and sanitize.harmless(text) == text and len(text) < 900
        return text
    assert log_p.shape[0] == 16 and np.isfinite(log_p).all()
    return ""


# --- 130 of them -----------------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000
ODD_BODIES = [
    b"",
    b"null",
    b"true",
    b"1",
    b'""',
    b"{}",
    b"[]",
    b"[[]]",
    b"[{}]",
    b"\xff\xfe\x00",
    b"\x00" * 100,
    b"NaN",
    b"Infinity",
    b"1" + b"0" * 400,
    b"1" + b"0" * 10_000,
    b"1e400",
    DEEP,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"predictions":' + DEEP + b"}",
    b'{"predictions": ' + json.dumps(GOOD).encode(),
    b'{"predictions": "abc"}',
    b'{"predictions": 5}',
    b'{"predictions": null}',
    b'{"predictions": {}}',
    b'{"predictions": [null]}',
    b"<html>log in</html>",
    b"<?xml version='1.0'?><a/>",
    b"Service temporarily overloaded",
    b"a,b\n1,2,3\n",
    b",,,\n" * 16,
    b"\n" * 100,
    "\u202eevil\x1b]0;title\x07".encode(),
    b'{"predictions": "\\ud800"}',
    b'{"predictions": [' + b",".join([b"1" + b"0" * 400] * 16) + b"]}",
    b'{"predictions": [' + b",".join([b"[1e400, 0]"] * 16) + b"]}",
    b'{"predictions": [' + b",".join([b"[NaN, 1]"] * 16) + b"]}",
    b'{"predictions": [' + b",".join([b"[1" + b"0" * 400 + b", 0]"] * 16) + b"]}",
    b'{"predictions": [' + b",".join([b'[Infinity, "-Infinity"]'] * 16) + b"]}",
]
ODD_ELEMENTS = [
    None,
    True,
    "",
    "x",
    "\x1b[31mred",
    "\u202egpj.exe",
    "1e999",
    "nan",
    "0x10",
    "1_000",
    -1,
    3,
    2**70,
    1e300,
    -0.5,
    [],
    [[]],
    [None, None],
    ["a", "b"],
    [0.5, "b"],
    [0.5, None],
    [0.5, [0.5]],
    [0.5, {"a": 1}],
    [True, False],
    [[0.5, 0.5], [0.5, 0.5]],
    [0.5] * 1000,
    {},
    {"error": "no"},
    {"label": None, "score": 0.9},
    {"label": "a", "score": None},
    {"label": "a", "score": "x"},
    {"label": "0", "score": "nan"},
    {"label": 10**30, "score": 0.9},
    {"label": 1e308, "score": 0.9},
    {"label": [], "score": 0.9},
    {"label": {"a": 1}, "score": 0.9},
    {"label": "0", "score": {"a": 1}},
    {"label": "0", "score": 1e400},
    {"labels": ["0", "0"], "scores": [0.5, 0.5]},
    {"labels": ["0"], "scores": [0.5, 0.5]},
    {"labels": "0", "scores": [0.5, 0.5]},
    {"scores": [[0.5, 0.5]]},
    {"scores": "0.5"},
    {"0": None, "1": None},
    {"0": "x", "1": 0.5},
    {"0": [0.5], "1": 0.5},
    {"LABEL_9999999999": 0.5, "LABEL_1": 0.5},
    {"probabilities": {"0": 0.5, "1": float("inf")}},
    {"predicted_label": 1, "score": -3.2},
    [{"label": "0", "score": 0.5}, {"label": "0", "score": 0.5}],
    [{"label": "0", "score": 0.5}, 7],
]
TENSOR = {"name": "predict_proba", "shape": [16, 2], "datatype": "FP32", "data": [0.5] * 32}
ODD_TENSORS = [
    None,
    [],
    {},
    {"outputs": None},
    {"outputs": []},
    {"outputs": [None]},
    {"outputs": [{}]},
    {"outputs": {"a": 1}},
    *(
        {"outputs": [TENSOR | changed]}
        for changed in (
            {"name": None},
            {"datatype": None},
            {"datatype": 5},
            {"data": None},
            {"data": "abc"},
            {"data": {"a": 1}},
            {"data": [[0.5], 0.5]},
            {"data": [1e400] * 32},
            {"shape": None},
            {"shape": [-1, 2]},
            {"shape": [16, 2.5]},
            {"shape": ["16", "2"]},
            {"shape": [2**62, 2**62]},
            {"shape": [0, 2]},
            {"shape": []},
            {"shape": [1] * 100},
            {"datatype": "BYTES", "data": [[], {}] * 16},
        )
    ),
]
ODD_HTTP = {
    "nothing": b"",
    "no http": b"hello\r\n\r\n",
    "other version": b"HTTP/9.9 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "status 999": reply(b"{}", "999 Odd"),
    "status 600": reply(b"{}", "600 Odd"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}",
    "length of letters": b"HTTP/1.1 200 OK\r\ncontent-length: abc\r\n\r\n{}",
    "longer than told": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + b"x" * 1000,
    "shorter than told": b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{}",
    "odd chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "negative chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    "unknown transfer": b"HTTP/1.1 200 OK\r\ntransfer-encoding: snail\r\n\r\n{}",
    "long header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000 + b"\r\n\r\n{}",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n{}",
    "header without name": b"HTTP/1.1 200 OK\r\n: y\r\n\r\n{}",
    "no such encoding": reply(b"{}", content_encoding="br"),
    "packed twice": reply(gzip.compress(gzip.compress(b"{}")), content_encoding="gzip, gzip"),
    "not packed": reply(json.dumps({"predictions": GOOD}).encode(), content_encoding="gzip"),
    "cut in the packing": reply(gzip.compress(b" " * 100_000)[:50], content_encoding="gzip"),
    "raw deflate": reply(zlib.compress(b"{}")[2:-4], content_encoding="deflate"),
    "wrong type": reply(b"\x89PNG\r\n", content_type="image/png"),
    "moved nowhere": reply(b"", "302 Found"),
    "moved to no url": reply(b"", "302 Found", location="http://[::1"),
    "moved oddly": reply(b"", "301 Moved", location="javascript:alert(1)\x1b[2J"),
    "moved in a circle": reply(b"", "307 Again", location="/v1/models/m:predict"),
    "wait for a word": reply(b"", "429 No", retry_after="soon"),
    "wait for nothing": reply(b"", "429 No", retry_after="-5"),
    "wait for ever": reply(b"", "429 No", retry_after="1e400"),
    "wait for no number": reply(b"", "503 No", retry_after="nan"),
    "wait until 99999": reply(b"", "503 No", retry_after="Fri, 31 Dec 99999 23:59:59 GMT"),
    "wait until 1": reply(b"", "503 No", retry_after="Mon, 01 Jan 0001 00:00:00 GMT"),
    "an error that is no text": reply(b"\xff\xfe\x1b[2J\x07" * 50, "400 Bad"),
    "an error of a page": reply(b"<html>\n" * 5000, "500 Oh"),
    "an error packed": reply(gzip.compress(b"no " * 100), "400 Bad", content_encoding="gzip"),
    "an error packed oddly": reply(b"no", "400 Bad", content_encoding="gzip"),
}


@pytest.mark.parametrize("place", range(len(ODD_BODIES)))
def test_odd_bodies_are_one_line(place):
    with services.raw(lambda body, number: reply(ODD_BODIES[place])) as url:
        assert told(url) and told(url, num_classes=2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_another_encoding_is_read(encoding):
    with services.raw(lambda body, number: reply(json.dumps({"predictions": GOOD}).encode(encoding))) as url:
        assert told(url) == ""


def test_odd_elements_are_one_line():
    for element in ODD_ELEMENTS:
        body = reply(json.dumps({"predictions": [element] * 16}).encode())
        with services.raw(lambda _, number, body=body: body) as url:
            for given in ({}, {"num_classes": 2}, {"class_names": ["a", "b"]}):
                told(url, **given)


@pytest.mark.parametrize("hangs_up", [None, [b"HTTP/1.1 2"]], ids=["reset", "half a line"])
def test_whoever_hangs_up_on_a_dialect_is_asked_in_the_next(hangs_up):
    """Of a server that knows one body and drops the connection on any other."""

    def only(key, answer):
        return lambda body, number: answer(len(json.loads(body)[key])) if key in json.loads(body) else hangs_up

    with services.raw(only("data", lambda n: reply({"predictions": GOOD[:n]})), path="/predict") as url:
        assert told(url) == ""
    with services.raw(only("instances", lambda n: reply({"pong": 1})), path="/predict") as url:
        said = told(url)
    assert "pong" in said and "is it running" not in said, said
    with services.raw(lambda body, number: hangs_up, path="/predict") as url:
        said = told(url)
    assert "closed before a whole answer came" in said and "its log may say why" in said, said


def test_odd_tensors_are_one_line():
    for tensor in ODD_TENSORS:
        with services.raw(lambda _, number, tensor=tensor: reply(tensor), "/v2/models/m/infer") as url:
            assert told(url) or tensor


@pytest.mark.parametrize("name", ODD_HTTP)
def test_odd_http_is_one_line(name):
    with services.raw(lambda body, number: ODD_HTTP[name]) as url:
        assert told(url)


def test_odd_metadata_are_left_alone():
    for odd in (
        None,
        [],
        {"inputs": 5},
        {"inputs": [None]},
        {"inputs": [{"name": 5}]},
        {"inputs": [{"name": "a", "datatype": []}], "outputs": [{"name": None}, {}, "x"]},
        {"inputs": {"a": 1}, "outputs": "x"},
    ):
        assert protocols.dialects("oip", "http://h/v2/models/m/infer", odd)


@pytest.mark.parametrize(
    "url",
    [
        "http://h\x1b[2J/v2/models/m",
        "http://h/v2/models/m\x00",
        "http://a b/v2/models/m",
        "http://" + "a" * 300 + "/v2/models/m",
        "http://\u202e/v2/models/m",
        "http://h:99999/v2/models/m",
        "http://[::1/v2/models/m",
    ],
)
def test_a_url_that_is_none_is_one_line(url):
    assert told(url)


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"": "c"}, {"x": "a\tb"}, {"a:b": "c"}])
def test_a_header_that_is_none_is_one_line(monkeypatch, headers):
    monkeypatch.setenv("MIA_JAX_HEADERS", json.dumps(headers))
    with services.raw(lambda body, number: reply({"predictions": GOOD})) as url:
        assert "MIA_JAX_HEADERS" in told(url)


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_whoever_waits_is_told_for_what_and_not_for_ever():
    heard = []
    with services.raw(lambda body, number: reply(b"slow down", "429 No", retry_after="2")) as url:
        options = FAST._replace(retries=8, patience=3.0)
        with pytest.raises(black_box.TargetError, match="asks to wait 2 s; run the same again then"):
            connect(url, X, options=options, notify=heard.append)
    assert len(heard) == 1 and re.search(r"HTTP 429: slow down; waiting 2 s, as it asks for, then try 2 of 4", heard[0])


def test_dates_that_no_calendar_has_are_none():
    for text in ("Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -2359", "x" * 10_000, "٣", "--1"):
        assert pace.retry_after(text) >= 0
    assert pace.retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) > 50


def test_a_server_that_is_down_costs_nothing(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
        budget = black_box.Budget(20, path=tmp_path / "asked")
        with pytest.raises(black_box.TargetError, match=r"connection failed \(ConnectError\), 4 times in a row"):
            connect(f"http://{host}/v1/models/m:predict", X, budget=budget, options=FAST)
        assert budget.spent == 0 == black_box.Budget(path=tmp_path / "asked").spent


@pytest.mark.parametrize("status", ["429 No", "500 Oh", "503 Busy", "400 Bad", "413 Large"])
def test_what_a_server_refuses_is_counted(status):
    asked, budget = [], black_box.Budget(10_000)

    def respond(body, number):
        asked.append(len(json.loads(body)["instances"]))
        return reply(b"no", status)

    with services.raw(respond) as url, pytest.raises(black_box.TargetError, match="HTTP"):
        connect(url, X, budget=budget, options=FAST)
    assert budget.spent == sum(asked) > 0


# --- secrets and escapes ---------------------------------------------------------------------------------------------

TOKEN, KEY, QUERY = "tok-3141592653", "key-2718281828", "sig%2Bn/141421"
ECHOES = [
    lambda s: reply(f"bad {s}".encode(), "400 Bad"),
    lambda s: reply(f"bad {s}".encode(), "500 Oh"),
    lambda s: reply(b"", "302 Found", location=f"http://elsewhere/{s}/v1?{s}"),
    lambda s: reply({"predictions": [{"label": s, "score": 0.9}] * 16}),
    lambda s: reply({"predictions": [{s: 0.1, "b": 0.9}] * 16}),
    lambda s: reply({"predictions": [s] * 16}),
    lambda s: reply({s: s}),
    lambda s: reply(f"<html>{s}".encode()),
    lambda s: reply(b"{}", content_encoding=s),
    lambda s: reply(b"", "503 Busy", retry_after=s),
]


def test_secrets_that_a_server_repeats_are_hidden(monkeypatch):
    monkeypatch.setenv("MIA_JAX_TOKEN", TOKEN)
    monkeypatch.setenv("MIA_JAX_HEADERS", json.dumps({"x-api-key": KEY}))
    secrets = (TOKEN, f"Bearer {TOKEN}", KEY, QUERY, "sig+n/141421", f"key={QUERY}", "sig%2Bn%2F141421")
    for echo, secret in itertools.product(ECHOES, secrets):
        with services.raw(lambda body, number, e=echo, s=secret: e(s), f"/v1/models/m:predict?key={QUERY}") as url:
            for given in ({}, {"class_names": ["a", "b"]}):
                text, heard = told(url, **given, notify=(lines := []).append), "".join(lines)
                for part in ("3141592653", "2718281828", "141421"):
                    assert part not in text + heard, text


def test_short_words_are_no_secrets():
    assert credentials.hide("a 12 b", credentials.secrets({"x": "12"}, "http://h/v?version=3")) == "a 12 b"


ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\u202e\u2066\x9b31m\x00\ud800"


def test_escapes_become_harmless():
    text = sanitize.harmless("a\tb\n" + ESCAPES)
    assert text.startswith("a\tb\n\\x1b[2J") and text.isascii() and text[4:].isprintable()
    text.encode()


def test_nothing_that_a_terminal_acts_upon_is_printed(capsys):
    from mia_jax import cli

    cli.say("from a file: " + ESCAPES)
    with pytest.raises(SystemExit):
        cli.fail(InputError("from a server: " + ESCAPES))
    printed = capsys.readouterr().err
    assert "\\x1b[2J" in printed and not set("\x1b\x07\r\u202e\u2066\x9b\x00") & set(printed)


def test_pages_have_no_control_characters():
    from mia_jax.reports import render

    text = render.environment().from_string("{{ text }}{{ text|prose }}").render(text="<b>" + ESCAPES)
    assert text.startswith("&lt;b&gt;\\x1b[2J") and text.isascii()


def test_the_probe_is_small():
    assert service.PROBE_ROWS == 16 == len(X)
