"""The client against our own server, through a proxy that does what services and networks do."""

import collections
import email.utils
import json
import socket
import threading
import time

import jax
import numpy as np
import pytest
from faulty_proxy import CLASSES, FAST, FEATURES, PROBES, TARGET, Proxy, every, records

from mia_jax.targets import answer_store, black_box, server
from mia_jax.targets.remote import Options, connect, pace, protocols
from mia_jax.targets.remote.service import PROBE_ROWS
from mia_jax.types import Answers, InputError, Records

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")


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


@pytest.mark.integration
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
