"""The budget of queries, answers that are kept, and credentials, through a proxy with faults."""

import contextlib
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from faulty_proxy import CLASSES, FAST, PROBES, TARGET, Proxy, every, records

from mia_jax.targets import answer_store, black_box, server
from mia_jax.targets.remote import connect
from mia_jax.targets.remote.earlier import RECHECKED
from mia_jax.targets.remote.service import PROBE_ROWS
from mia_jax.types import Answers, InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")


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
