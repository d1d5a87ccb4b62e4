"""The client against our own server, through a proxy that does what services and networks do."""

import collections
import contextlib
import email.utils
import http.client
import http.server
import json
import logging
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.targets import answer_format, answer_store, black_box, server
from mia_jax.targets.remote import PROTOCOLS, Options, connect, pace, protocols, replies, urls
from mia_jax.targets.remote.earlier import RECHECKED
from mia_jax.targets.remote.service import PROBE_ROWS
from mia_jax.targets.server import Shown
from mia_jax.types import Answers, InputError, Model, Records

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

CLASSES, FEATURES = 5, 6
WEIGHTS = np.random.default_rng(1).normal(size=(FEATURES, CLASSES)).astype(np.float32)
NETWORK = Model(init=lambda key, x: WEIGHTS, apply=lambda params, x, *, key=None: x.astype(jnp.float32) @ params)
TARGET = black_box.as_target(NETWORK, jnp.asarray(WEIGHTS), CLASSES)
FAST = Options(rows_per_request=8, in_flight=4, timeout=5.0, backoff=0.01, repeat=False)  # each question is counted
PROBES = PROBE_ROWS // FAST.rows_per_request  # questions until connected


def records(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def service():
    with server.serve(TARGET, (FEATURES,)) as url:
        yield url


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    monkeypatch.delenv("MIA_JAX_TOKEN", raising=False)
    monkeypatch.delenv("MIA_JAX_HEADERS", raising=False)


# --- a proxy that injects faults -------------------------------------------------------------------------------------


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


# --- each protocol ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_brings_back_what_was_answered(service, protocol):
    x = records(40)
    url = service + server.paths()[protocol]
    target = connect(url, x, protocol=protocol, options=FAST)
    assert target.answers == Answers(CLASSES) and not target.traced
    np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    if protocol != "amazon":  # its URL does not tell
        automatic = connect(url, x, options=FAST)
        np.testing.assert_allclose(automatic.ask(x[:20]), TARGET.ask(x[:20]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shown", [Shown(top_k=2), Shown(digits=3), Shown(label_only=True), Shown(top_k=1)])
def test_each_protocol_tells_what_is_hidden(protocol, shown):
    x = records(24)
    with server.serve(TARGET, (FEATURES,), shown=shown) as url:
        target = connect(
            url + server.paths()[protocol], x, protocol=protocol, num_classes=CLASSES, options=FAST._replace(timeout=20)
        )
        log_p = target.ask(x)
    want = np.asarray(TARGET.ask(x))
    kind = "labels" if shown.label_only else "top_k" if shown.top_k else "probabilities"
    assert target.answers == Answers(CLASSES, kind, shown.digits, shown.top_k)
    if not shown.digits:  # rounding makes ties
        np.testing.assert_array_equal(log_p.argmax(1), want.argmax(1))
    told = log_p > np.log(np.finfo(np.float32).tiny) + 1
    assert (told.sum(1) == (1 if shown.label_only else shown.top_k or CLASSES)).all()
    if shown.label_only:
        np.testing.assert_allclose(log_p[told], 0, atol=1e-6)
    elif shown.digits:
        p = np.exp(want.astype(np.float64)).round(3)
        np.testing.assert_allclose(log_p, np.log(np.maximum(p, 0.0005)), rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_allclose(log_p[told], want[told], rtol=1e-5, atol=1e-5)


def test_classes_have_names_in_some_services():
    names = ["setosa", "versicolor", "virginica", "a", "b"]
    x = records(20)
    with server.serve(TARGET, (FEATURES,), labels=names) as url:
        for protocol in ("google", "amazon"):
            place = url + server.paths()[protocol]
            with pytest.raises(InputError, match=r"called 'setosa'.*\(class_names\).*num_classes"):
                connect(place, x, protocol=protocol, options=FAST)
            target = connect(place, x, protocol=protocol, class_names=names, options=FAST)
            np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)


def test_labels_need_the_number_of_classes():
    with (
        server.serve(TARGET, (FEATURES,), shown=Shown(label_only=True)) as url,
        pytest.raises(InputError, match=r"number of classes \(num_classes\), .*\(class_names\)"),
    ):
        connect(url + server.paths()["vertex"], records(20), options=FAST)


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b'{"predictions": [[0.25, 0.75], [0.5, 0.5]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b"[[0.25, 0.75], [0.5, 0.5]]", [[0.25, 0.75], [0.5, 0.5]]),
        (b"0.25,0.75\n0.5,0.5\n", [[0.25, 0.75], [0.5, 0.5]]),
        (b"0.75,0.5", [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [0.75, 0.5]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [{"score": 0.75, "predicted_label": 1}, {"score": 0.5}]}', [[0.25, 0.75], [0.5, 0.5]]),
        (
            b'{"predictions": [{"probabilities": [0.25, 0.75]}, {"probabilities": [0.5, 0.5]}]}',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (
            b'[{"classes": ["1", "0"], "scores": [0.75, 0.25]}, {"classes": ["0", "1"], "scores": [0.5, 0.5]}]',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (  # Vertex AutoML, of images and of tables
            b'{"predictions": [{"ids": ["7", "9"], "displayNames": ["0", "1"], "confidences": [0.25, 0.75]},'
            b' {"ids": ["9", "7"], "displayNames": ["1", "0"], "confidences": [0.5, 0.5]}], "deployedModelId": "4"}',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (  # Hugging Face, all classes
            b'[[{"label": "LABEL_1", "score": 0.75}, {"label": "LABEL_0", "score": 0.25}],'
            b' [{"label": "LABEL_0", "score": 0.5}, {"label": "LABEL_1", "score": 0.5}]]',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (b'{"predictions": [[[0.25, 0.75]], [[0.5, 0.5]]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [[[0.25, 0.75], [0.5, 0.5]]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [[0.75], [0.5]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": ["0.75", "0.5"]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [["0.25", "0.75"], ["0.5", "0.5"]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [{"0": 0.25, "1": 0.75}, {"0": 0.5, "1": 0.5}]}', [[0.25, 0.75], [0.5, 0.5]]),
        # SageMaker's linear learner: the score is that of class 1, whatever the label
        (
            b'{"predictions": [{"score": 0.25, "predicted_label": 0}, {"score": 0.75, "predicted_label": 1}]}',
            [[0.75, 0.25], [0.25, 0.75]],
        ),
        # and of others, whose best label has its own
        (
            b'{"predictions": [{"score": 0.75, "predicted_label": 0}, {"score": 0.75, "predicted_label": 1}]}',
            [[0.75, 0.25], [0.25, 0.75]],
        ),
    ],
)
def test_forms_of_answers_that_services_are_known_for(body, want):
    reply = protocols.INSTANCES.decode(body, 2)
    reading = replies.learn(reply)
    np.testing.assert_array_equal(replies.read(reply, 2, reading), want)


def test_null_is_no_probability():
    reading = replies.Reading("vectors", Answers(2), None)
    v1 = protocols.INSTANCES.decode(b'{"predictions": [[0.5, 0.5], [null, 1.0]]}', 2)
    tensor = {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [0.5, 0.5, None, 1.0]}
    v2 = protocols.oip().decode(json.dumps({"outputs": [tensor]}).encode(), 2)
    for reply in (v1, v2):
        assert answer_format.faults(replies.read(reply, 2, reading), Answers(2)).keys() == {1}


@pytest.mark.parametrize(
    ("datatype", "data", "names", "want"),
    [
        ("INT64", [2, 0], None, [2, 0]),
        ("FP32", [2.0, 0.0], None, [2, 0]),
        ("BYTES", ["b", "a"], ["a", "b", "c"], [1, 0]),
    ],
)
def test_labels_come_as_numbers_or_names(datatype, data, names, want):
    tensor = {"name": "predict", "shape": [2, 1], "datatype": datatype, "data": data}
    reply = protocols.oip().decode(json.dumps({"outputs": [tensor]}).encode(), 2)
    reading = replies.learn(reply, classes=3, names=names)
    assert reading.answers == Answers(3, "labels")
    assert replies.read(reply, 2, reading).argmax(1).tolist() == want
    with pytest.raises(black_box.TargetError, match="class"):
        replies.read([data[0], 7 if names is None else "z"], 2, reading)


def test_an_open_inference_server_says_what_the_model_is_called():
    metadata = {"inputs": [{"name": "pixels", "datatype": "FP32"}], "outputs": [{"name": "id"}, {"name": "probs"}]}
    codec = protocols.dialects("oip", "http://h/v2/models/m/infer", metadata)[0]
    sent = json.loads(codec.encode(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)))
    assert sent["inputs"] == [{"name": "pixels", "shape": [1, 2, 3], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}]
    assert sent["outputs"] == [{"name": "probs"}]


@pytest.mark.parametrize("orjson", [True, False])
def test_integers_go_as_integers_and_floats_whole(monkeypatch, orjson):
    if orjson:
        pytest.importorskip("orjson")
    else:
        monkeypatch.setattr(protocols, "orjson", None)
    bits = np.array([[0, 1, 1], [1, 0, 255]], np.uint8)
    assert protocols.INSTANCES.encode(bits) == b'{"instances":[[0,1,1],[1,0,255]]}'
    assert protocols.COMMAS.encode(bits) == b"0,1,1\n1,0,255\n"
    assert protocols.COMMAS.encode(bits.astype(bool)) == b"0,1,1\n1,0,1\n"
    assert json.loads(protocols.oip().encode(bits))["inputs"][0]["datatype"] == "UINT8"
    assert json.loads(protocols.oip().encode(bits > 0))["inputs"][0]["data"] == [False, True, True, True, False, True]
    assert json.loads(protocols.GOOGLE.encode(bits[:1])) == {"input": {"csvInstance": [0, 1, 1]}}
    assert json.loads(protocols.amazon("m", "e").encode(bits[:1]))["Record"] == {"f0": "0", "f1": "1", "f2": "1"}
    x = np.random.default_rng(0).normal(size=(3, 4))
    for dtype in (np.float32, np.float64):
        sent = np.array(json.loads(protocols.INSTANCES.encode(x.astype(dtype)))["instances"])
        np.testing.assert_array_equal(sent.astype(dtype), x.astype(dtype))


def test_urls_tell_their_protocol_and_show_no_secret():
    for path, want in {
        "/v2/models/m": ("/v2/models/m/infer", "oip"),
        "/v2/models/m/versions/3/infer": ("/v2/models/m/versions/3/infer", "oip"),
        "/v1/models/m": ("/v1/models/m:predict", "vertex"),
        "/v1/projects/p/locations/l/endpoints/7:predict": ("/v1/projects/p/locations/l/endpoints/7:predict", "vertex"),
        "/endpoints/e": ("/endpoints/e/invocations", "sagemaker"),
        "/invocations": ("/invocations", "mlflow"),
        "/prediction/v1.6/projects/p/trainedmodels/m": (
            "/prediction/v1.6/projects/p/trainedmodels/m/predict",
            "google",
        ),
    }.items():
        assert urls.resolve(f"https://h:1{path}") == (f"https://h:1{want[0]}", want[1])
    assert urls.resolve("http://h/v2/models/m?a=1")[0] == "http://h/v2/models/m/infer?a=1"
    assert urls.public("https://u:pw@h:1/x?key=s#f") == "https://h:1/x"
    versions = {urls.identity(f"https://h/x{end}") for end in ("", "?version=1", "?version=2")}
    assert len(versions) == 3 and not any("version" in name for name in versions)
    unusable = ("ftp://h/x", "http://h:x/v2/models/m", "http://[h/v2/models/m", "h/v2/models/m")
    for url in (*unusable, "https://u:pw@h/v2/models/m", "https://h/what"):
        with pytest.raises(InputError) as error:
            urls.resolve(url)
        assert "pw" not in str(error.value)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_faults_that_pass_change_nothing_and_no_record_is_asked_again_once_answered(service, tmp_path):
    x = records(400)
    faults = [("429", "0.05"), 503, "reset", "truncated", "nan", "missing", "cut", 500, "page", 504, 502]
    others, slow = every(2, faults), ("slow", FAST.timeout + 1)
    # Once: a busy machine takes its time over good answers, too, and the timeout must be well above that.
    proxy = Proxy(service, lambda number: slow if number == 13 else others(number))
    with proxy() as url:
        # And by bad luck every try of one question is a second one.
        target = connect(url, x, cache=tmp_path, options=FAST._replace(retries=40))
        log_p = target.ask(x)
    np.testing.assert_allclose(log_p, TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert all(proxy.faults[fault] for fault in (*faults, slow))
    assert proxy.repeated == 0 and len(proxy.asked) == 400


def test_an_impossible_answer_costs_one_question_more_not_one_for_its_neighbors(service):
    x = records(100)
    proxy = Proxy(service, lambda number: "nan" if number == 4 else None)
    with proxy() as url:
        connect(url, x, options=FAST).ask(x)
    assert sorted(collections.Counter(proxy.asked.values()).items()) == [(1, 99), (2, 1)]


def test_retry_after_is_honored_by_everybody(service):
    x = records(100)
    proxy = Proxy(service, lambda number: ("429", "1") if number == 4 else None)
    with proxy() as url:
        connect(url, x, options=FAST._replace(in_flight=2)).ask(x)
    refused = next(at for at, fault in proxy.times if fault)
    after = sorted(at - refused for at, fault in proxy.times if at > refused)
    assert not any(0.4 < late < 0.9 for late in after)  # before, there may be those that were on their way


def test_a_service_that_limits_its_rate_is_asked_until_it_has_answered():
    x = records(60)
    with server.serve(TARGET, (FEATURES,), rate=20) as url:
        began = time.monotonic()
        target = connect(
            url + server.paths()["vertex"], x, options=FAST._replace(rows_per_request=1, retries=2, in_flight=8)
        )
        np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert time.monotonic() - began > 0.8  # 45 questions, 20 of them at once, then 20 a second


def test_our_own_rate_is_kept():
    clock, stop, began = pace.Pace(50), threading.Event(), time.monotonic()
    threads = [threading.Thread(target=clock.wait, args=(stop,)) for _ in range(11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.2


def test_retry_after_is_seconds_or_a_date():
    assert pace.retry_after("7") == 7 and pace.retry_after(None) == pace.retry_after("soon") == 0
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 57 < pace.retry_after(in_a_minute) <= 60
    assert pace.retry_after(email.utils.formatdate(0, usegmt=True)) == 0


def test_a_service_that_wants_to_be_left_alone_is(service, tmp_path):
    x = records(60)
    proxy = Proxy(service, lambda number: ("429", "4000") if number > PROBES + 2 else None)
    with proxy() as url:
        target = connect(url, x, cache=tmp_path, options=FAST._replace(in_flight=1))
        with pytest.raises(black_box.TargetError, match=r"asks to wait 4,000 s; .*32 answers are kept in"):
            target.ask(x)
    assert proxy.number == PROBES + 3


@pytest.mark.parametrize("fault", [503, "reset", "truncated", "missing", "cut"])
def test_a_fault_that_stays_is_one_line_and_everything_is_kept(service, tmp_path, fault):
    x = records(200)
    proxy = Proxy(service, lambda number: fault if number > 7 else None)
    with proxy() as url:
        target = connect(url, x, cache=tmp_path, options=FAST._replace(retries=2))
        with pytest.raises(black_box.TargetError, match="answers are kept in") as error:
            target.ask(x)
        assert "\n" not in str(error.value) and error.value.exit_code == 2
        kept = len(proxy.answered)
        assert PROBE_ROWS <= kept <= PROBE_ROWS + (7 - PROBES) * 8
        assert len(answer_store.AnswerStore(Answers(CLASSES), tmp_path, f"vertex {url}")) == kept
        proxy.plan = lambda number: None
        np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert proxy.repeated == 0


def test_a_record_whose_answer_is_always_impossible_is_named(service):
    x = records(60)
    bad = json.dumps([float(v) for v in json.loads(protocols.INSTANCES.encode(x[44:45]))["instances"][0]])
    proxy = Proxy(service, lambda number: ("nan", bad))
    with proxy() as url:
        target = connect(url, x, options=FAST._replace(retries=2))
        with pytest.raises(black_box.WrongAnswer, match=r"record 44 .*class 2 is not finite .*3 times") as error:
            target.ask(x)
    assert error.value.record == 44
    assert proxy.repeated == 0 and proxy.asked[bad] == 3


def test_a_refused_request_is_not_repeated(service):
    x = records(60)
    for status, match in ((401, "MIA_JAX_TOKEN"), (404, "HTTP 404"), (422, "HTTP 422"), (301, "moved")):
        proxy = Proxy(service, lambda number, status=status: status if number > PROBES else None)
        with proxy() as url:
            target = connect(url, x, options=FAST._replace(in_flight=1))
            with pytest.raises(black_box.TargetError, match=match):
                target.ask(x)
        assert proxy.number == PROBES + 1


def test_what_is_too_large_is_asked_in_halves(service):
    x = records(200)
    proxy = Proxy(service)
    proxy.plan = lambda number: 413 if number > PROBES and number % 3 == 0 else None
    with proxy() as url:
        log_p = connect(url, x, options=FAST._replace(rows_per_request=64)).ask(x)
    np.testing.assert_allclose(log_p, TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert proxy.repeated == 0 and proxy.faults[413] > 0


def test_a_probe_that_is_too_large_says_what_to_lower(service):
    proxy = Proxy(service, lambda number: 413)
    with (
        proxy() as url,
        pytest.raises(black_box.TargetError, match=r"HTTP 413 for 8 records .*rows_per_request"),
    ):
        connect(url, records(60), options=FAST)


def test_requests_are_split_by_bytes(service):
    x = records(100)
    proxy = Proxy(service)
    with proxy() as url:
        connect(url, x, options=FAST._replace(rows_per_request=1000, max_bytes=600)).ask(x)
    sizes = [int(headers["content-length"]) for headers in proxy.headers]
    assert max(sizes) <= 600 and len(sizes) >= 100 * FEATURES * 5 / 600


def test_the_attack_scores_through_faults_as_it_does_in_process(service):
    from mia_jax.attacks import ATTACKS

    mine, shadow = (
        Records(records(120, seed), np.asarray(TARGET.ask(records(120, seed))).argmax(1)) for seed in (5, 6)
    )
    attack, member = ATTACKS["confidence"](CLASSES), np.arange(120)[None] % 2 == 0
    seen = attack.observe(jax.random.key(0), TARGET, shadow)
    state = attack.fit(jax.random.key(0), jax.tree.map(lambda leaf: np.asarray(leaf)[None], seen), member, None)
    proxy = Proxy(service, every(3, [503, "reset", "nan", "missing", "truncated"]))
    with proxy() as url:
        target = connect(url, mine.x, options=FAST)
        there, here = (attack.score(state, attack.observe(jax.random.key(0), t, mine)) for t in (target, TARGET))
    np.testing.assert_allclose(there, here, atol=1e-5)
    assert proxy.repeated == 0 and np.ptp(here) > 0.3


@pytest.mark.parametrize(
    "wrong", [dict(rows_per_request=0), dict(in_flight=0), dict(timeout=0.0), dict(rate=0.0), dict(retries=-1)]
)
def test_options_out_of_range_are_refused(service, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        connect(service + server.paths()["oip"], records(3), options=Options(**wrong))


def test_nothing_listens_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    said = r"connection failed \(ConnectError\), 4 times in a row: is it running\? The same again goes on"
    with pytest.raises(black_box.TargetError, match=said):
        connect(f"http://127.0.0.1:{port}/v2/models/m", records(3), options=FAST)


def test_a_wrong_width_is_told_in_the_services_own_words(service):
    with pytest.raises(black_box.TargetError, match=r"HTTP 400: .*a record has shape"):
        connect(service + server.paths()["oip"], records(20)[:, :4], options=FAST)


def test_records_that_json_cannot_carry_are_refused(service):
    x = records(20)
    x[13, 2] = np.nan
    with pytest.raises(InputError, match="record 13"):
        connect(service + server.paths()["oip"], x, options=FAST)


def test_a_record_that_occurs_twice_is_asked_once(service):
    x = np.concatenate([records(10), records(10), records(60)])
    proxy = Proxy(service)
    with proxy() as url:
        log_p = connect(url, x, options=FAST).ask(x)
    np.testing.assert_allclose(log_p, TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert set(proxy.asked.values()) == {1} and len(proxy.asked) == 60


# --- the budget, the cache, credentials ------------------------------------------------------------------------------


def test_the_budget_holds_whatever_happens(service, tmp_path):
    x = records(120)
    proxy = Proxy(service, every(3, ["truncated", 503, "reset"]))
    with proxy() as url:
        budget = black_box.Budget(125)
        target = connect(url, x, cache=tmp_path, budget=budget, options=FAST)
        with pytest.raises(black_box.BudgetSpent):
            target.ask(x)
        assert sum(proxy.asked.values()) == budget.spent <= 125  # what was refused had reached the service, too
        more = connect(url, x, cache=tmp_path, options=FAST)
        np.testing.assert_allclose(more.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert proxy.repeated <= RECHECKED


def test_a_question_beyond_the_budget_is_not_begun(service):
    x = records(100)
    proxy = Proxy(service)
    with proxy() as url:
        target = connect(url, x[:50], budget=50, options=FAST)
        with pytest.raises(black_box.BudgetSpent, match="84 more records"):
            target.ask(x)
        assert proxy.number == PROBES
        target.ask(x[:50])
        with pytest.raises(black_box.BudgetSpent):
            target.ask(x[50:51])
    assert sum(proxy.asked.values()) == 50


@pytest.mark.integration
def test_answers_outlive_the_process_that_was_killed(service, tmp_path):
    program = """
import pathlib, sys, numpy as np
from mia_jax.targets import black_box, remote
x = np.load(sys.argv[1])
given = dict(budget=black_box.Budget(10_000, path=pathlib.Path(sys.argv[5])), cache=sys.argv[3])
target = remote.connect(sys.argv[2], x, **given, options=remote.Options(rows_per_request=8, backoff=0.01, repeat=False))
np.save(sys.argv[4], target.ask(x))
"""
    x = records(200)
    np.save(tmp_path / "x.npy", x)
    proxy = Proxy(service, lambda number: "stall" if number > 10 else None)
    with proxy() as url:
        arguments = [tmp_path / "x.npy", url, tmp_path / "cache", tmp_path / "log_p.npy", tmp_path / "asked"]
        command = [sys.executable, "-c", program, *map(str, arguments)]
        first = subprocess.Popen(command, env=os.environ)
        path = answer_store.store_path(tmp_path / "cache", f"vertex {url}")
        want = PROBE_ROWS + (10 - PROBES) * 8
        end = time.monotonic() + 40
        while (
            not path.exists()
            or len(answer_store.AnswerStore(Answers(CLASSES), tmp_path / "cache", f"vertex {url}")) < want
        ):
            assert time.monotonic() < end and first.poll() is None
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
        proxy.plan = lambda number: None
        subprocess.run(command, env=os.environ, timeout=40, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "log_p.npy"), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert proxy.repeated == RECHECKED
    sent = sum(proxy.asked.values())  # counted before it is sent: what was about to be, too
    assert sent <= black_box.Budget(path=tmp_path / "asked").spent <= sent + FAST.in_flight * FAST.rows_per_request
    # Everything is known now: for who trusts it, the service need not even be there.
    target = connect(url, x, cache=tmp_path / "cache", recheck=0, options=FAST)
    np.testing.assert_array_equal(target.ask(x), np.load(tmp_path / "log_p.npy"))


def test_an_interrupted_question_keeps_what_arrived(service, tmp_path):
    x = records(200)
    proxy = Proxy(service, lambda number: ("slow", 0.3) if number > 5 else None)

    @contextlib.contextmanager
    def interrupting(title, total):
        def advance(steps):
            if len(proxy.answered) >= PROBE_ROWS + 16:
                raise KeyboardInterrupt

        yield advance

    with proxy() as url:
        target = connect(url, x, cache=tmp_path, options=FAST, progress=interrupting)
        with pytest.raises(KeyboardInterrupt):
            target.ask(x)
        assert proxy.number < 15
        proxy.plan = lambda number: None
        again = connect(url, x, cache=tmp_path, options=FAST)
        np.testing.assert_allclose(again.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    assert proxy.repeated <= RECHECKED


def test_another_number_of_classes_needs_another_cache(service, tmp_path):
    x = records(20)
    url = service + server.paths()["vertex"]
    connect(url, x, cache=tmp_path, options=FAST)
    with pytest.raises(InputError, match="another cache"):
        connect(url, x, cache=tmp_path, num_classes=7, options=FAST)


SECRETS = ("tok-3141592653", "key-2718281828")


@pytest.mark.parametrize("fault", [None, ("echo", "authorization"), ("echo", "x-api-key"), 401, 503, "reset", "page"])
def test_credentials_are_sent_and_nowhere_else_to_be_found(service, tmp_path, monkeypatch, caplog, fault):
    monkeypatch.setenv("MIA_JAX_TOKEN", SECRETS[0] + "\n")
    monkeypatch.setenv("MIA_JAX_HEADERS", json.dumps({"X-Api-Key": SECRETS[1]}))
    caplog.set_level(logging.DEBUG)
    x, text = records(60), ""
    proxy = Proxy(service, lambda number: fault if number > PROBES else None)
    with proxy() as url:
        target = connect(url, x, cache=tmp_path, options=FAST._replace(retries=1))
        try:
            target.ask(x)
        except black_box.TargetError as error:
            text = f"{error} {error!r} {error.__cause__!r} {error.__suppress_context__}"
        text += repr(target) + repr(target.ask) + repr(vars(target.ask))
    assert (fault is None) == ("HTTP" not in text and "connection" not in text and "read" not in text)
    text += caplog.text + "".join(p.read_bytes().decode("latin1") + p.name for p in pathlib.Path(tmp_path).iterdir())
    for secret in SECRETS:
        assert secret not in text
    assert (proxy.headers[0]["authorization"], proxy.headers[0]["x-api-key"]) == (f"Bearer {SECRETS[0]}", SECRETS[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("MIA_JAX_HEADERS", "secret-1"), ("MIA_JAX_HEADERS", '["secret-1"]'), ("MIA_JAX_TOKEN", "secret-1\x01é")],
)
def test_unusable_credentials_are_refused_unseen(service, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="MIA_JAX_HEADERS") as error:
        connect(service + server.paths()["oip"], records(3), options=FAST)
    assert "secret" not in str(error.value)


def test_credentials_in_clear_text_are_warned_of(monkeypatch):
    monkeypatch.setenv("MIA_JAX_TOKEN", SECRETS[0])
    with pytest.warns(UserWarning, match="clear text"), pytest.raises(black_box.TargetError):
        connect("http://model.invalid/v2/models/m", records(3), options=FAST)


# --- the server ------------------------------------------------------------------------------------------------------


def test_the_server_says_what_is_wrong_and_lives_on(service):
    import httpx

    with httpx.Client(base_url=service) as client:
        for path, body, status in (
            ("/v1/models/model:predict", b"{", 400),
            ("/v1/models/model:predict", b'{"instances": [["a"]]}', 400),
            ("/v1/models/model:predict", b'{"instances": []}', 400),
            ("/v2/models/model/infer", b'{"inputs": []}', 400),
            ("/v1/models/other:predict", b"{}", 404),
        ):
            reply = client.post(path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code == status and reply.json()["error"]
        assert client.get("/v2/models/model").json()["name"] == "model"
        assert client.get("/v2/health/ready").status_code == 200


def test_records_reach_the_target_in_their_shape_and_type():
    seen = []

    def predict(x):
        seen.append((x.shape, x.dtype))
        return np.full((len(x), 2), 0.5)

    x = np.arange(48, dtype=np.uint8).reshape(4, 2, 3, 2)
    with server.serve(black_box.from_callable(predict, 2), (2, 3, 2), dtype=np.uint8) as url:
        for path in server.paths().values():
            if "amazon" not in path:
                connect(url + path, x, options=FAST)
    assert {(shape[1:], dtype) for shape, dtype in seen} == {((2, 3, 2), np.dtype(np.uint8))}


def test_a_taken_port_is_told(service):
    with (
        pytest.raises(InputError, match="another port"),
        server.serve(TARGET, (FEATURES,), port=int(service.rsplit(":")[-1])),
    ):
        pass
