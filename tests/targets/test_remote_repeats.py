"""Services whose answers are not what they seem: noisy, of two models, of other rows, of some of the rows only."""

import json
import re
import threading

import numpy as np
import pytest
import services

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.reports import answer_words
from mia_jax.targets import black_box, other_numbers
from mia_jax.targets.remote import Options, answers_one_number, ask_oldest_again, connect, unsteady, warnings
from mia_jax.types import InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

FAST = Options(timeout=5.0, backoff=0.001, retries=2, in_flight=2)
N, F, C = 300, 6, 5
X = np.random.default_rng(0).normal(size=(N, F))
WEIGHTS = np.random.default_rng(1).normal(size=(2, F, C))


def softmax(z):
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


class Service:
    """A linear model; ``spoil(p, x, number of the request)`` makes of its answers what is sent."""

    def __init__(self, spoil=lambda p, x, number: p):
        self.spoil, self.sizes, self._lock = spoil, [], threading.Lock()

    def __call__(self, x):
        with self._lock:
            self.sizes.append(len(x))
            told = self.spoil(softmax(x @ WEIGHTS[0]), x, len(self.sizes))
        return told if isinstance(told, list) else told.tolist()


RNG = np.random.default_rng(7)


def noisy(p, x, number):
    return softmax(np.log(p) + RNG.normal(scale=2, size=p.shape))


def two_models(p, x, number):
    return p if number % 2 else softmax(x @ WEIGHTS[1])


def shuffled(p, x, number):
    return p if len(p) <= 8 else p[RNG.permutation(len(p))]


def first_for_all(p, x, number):
    return np.repeat(p[:1], len(p), axis=0)


def by_batch(p, x, number):
    """As of batch normalization that was left in training mode."""
    return p if len(p) == 1 else softmax(x @ WEIGHTS[0] - (x @ WEIGHTS[0]).mean(axis=0))


def by_scaler(p, x, number):
    """As of a scaler that is fitted to each request, by which a row alone becomes zeros."""
    return softmax((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-3) @ WEIGHTS[0])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (noisy, "differently"),
        (two_models, "differently"),
        (by_batch, "ask about one at a time .*ask how the service preprocesses"),
        (by_scaler, "alone 3 different records get one and the same answer, so `rows_per_request=1` would not help"),
    ],
)
def test_a_service_that_answers_differently_is_said_to(spoil, said):
    service, heard, budget = Service(spoil), [], black_box.Budget(N + 8)
    with services.answering(service) as url:
        target = connect(url, X, options=FAST, notify=heard.append, budget=budget)
        assert service.sizes == [16, 1, 1, 1, 1, 1, 1, 2] and budget.spent == 24
        assert len(heard) == 1 and heard[0].startswith("warning: http") and re.search(said, heard[0])
        assert 0.01 < unsteady(target) <= 1
        assert target.ask(X).shape == (N, C) and budget.spent == N + 8


def test_a_steady_service_is_asked_no_more_than_the_repeat_and_scores_stay():
    heard, asked = [], {}
    for repeat in (True, False):
        service = Service()
        with services.answering(service) as url:
            target = connect(url, X, options=FAST._replace(repeat=repeat), notify=heard.append)
            asked[repeat] = target.ask(X)
        assert sum(service.sizes) == N + (8 + 8) * repeat and unsteady(target) is None and not heard
    np.testing.assert_array_equal(asked[True], asked[False])
    tight = Service()
    with services.answering(tight) as url:  # no room in the budget
        connect(url, X, options=FAST, budget=N + 7).ask(X)
    assert sum(tight.sizes) == N


@pytest.mark.parametrize(
    ("spoil", "said"), [(shuffled, "does not keep the order"), (first_for_all, "about one record of a request")]
)
def test_answers_of_other_rows_are_refused_before_all_are_asked(tmp_path, spoil, said):
    service = Service(spoil)
    with services.answering(service) as url:
        with pytest.raises(black_box.TargetError, match=rf"{said}.*rows_per_request=1") as error:
            connect(url, X, cache=tmp_path, options=FAST)
        assert error.value.exit_code == 2 and "\n" not in str(error.value) and sum(service.sizes) == 24
        log_p = connect(url, X, cache=tmp_path, options=FAST._replace(rows_per_request=1)).ask(
            X
        )  # nothing wrong was kept
    np.testing.assert_allclose(log_p, np.log(softmax(X @ WEIGHTS[0])), atol=1e-5)


def test_what_came_of_asking_again_is_said(tmp_path):
    for spoil, said in ((Service().spoil, "8 of them were asked again: the same answers"), (noisy, "differs by up to")):
        cache = tmp_path / said[0]
        with services.answering(Service(spoil)) as url:
            connect(url, X, cache=cache, options=FAST).ask(X)
            heard = []
            target = connect(url, X, cache=cache, options=FAST, notify=heard.append)
            target.ask(X)
        assert len(heard) == 1 and said in heard[0] and (unsteady(target) is None) == (spoil is not noisy)


def test_the_report_says_that_answers_differ():
    told = {"records": 5, "oldest": "2026-01-01", "newest": "2026-01-01", "rechecked": True}
    text = answer_words.earlier({"answers_of_earlier_runs": told, "unsteady": 0.43})
    assert "had not changed" not in text
    assert "alone or among others, and a probability differed by up to 0.43" in answer_words.unsteady(
        {"unsteady": 0.43}
    )
    assert "had not changed" in answer_words.earlier({"answers_of_earlier_runs": told})


def test_a_service_that_answers_some_of_a_large_request_is_asked_about_fewer():
    heard, service = [], Service(lambda p, x, number: p[:100])
    with services.answering(service) as url:
        log_p = connect(url, X, options=FAST._replace(in_flight=1), notify=heard.append).ask(X)
    np.testing.assert_allclose(log_p, np.log(softmax(X @ WEIGHTS[0])), atol=1e-5)
    assert len(heard) == 1 and "256 records were asked about and 100 answered" in heard[0]
    assert "(`rows_per_request=100` " in heard[0]
    assert service.sizes[8:] == [256, 256, 128, 128, 64, 64, 64, 64, 8, 28]


def test_a_service_that_answers_none_is_one_line():
    service = Service(lambda p, x, number: p if number == 1 else p[:0])
    with (
        services.answering(service) as url,
        pytest.raises(black_box.TargetError, match=r"0 answers to a request of one record, twice.*rows per request"),
    ):
        connect(url, X, options=FAST._replace(repeat=False)).ask(X)


def test_percentages_may_be_whole_numbers():
    whole = np.round(100 * softmax(X @ WEIGHTS[0])).astype(int)
    with (
        services.answering(Service(lambda p, x, number: np.round(100 * p).astype(int))) as url,
        pytest.raises(black_box.TargetError, match="look like percentages"),
    ):
        connect(url, X, options=FAST)
    assert len(set(whole.sum(axis=1))) > 1  # rounding makes 99 and 101 of them
    assert other_numbers.mistaken_for(np.full((3, 5), 30) * [[1], [2], [3]]) == "logits"


def test_one_number_for_each_record_is_known_as_such():
    for spoil in (lambda p, x, n: p.max(axis=1), lambda p, x, n: p.max(axis=1, keepdims=True)):
        with services.answering(Service(spoil)) as url:
            assert answers_one_number(connect(url, X, options=FAST))
            with pytest.raises(InputError, match="one number for each record"):
                connect(url, X, num_classes=C, options=FAST)


def test_an_audit_of_one_number_for_each_record_says_what_to_do(tmp_path):
    spoil, said = lambda p, x, n: p.max(axis=1), "one number for each record, .* no distribution over the 5 classes"
    np.savez(tmp_path / "mine.npz", x=X, y=np.arange(N) % C, member=np.arange(N) >= 150)
    with services.answering(Service(spoil)) as url, pytest.raises((InputError, black_box.TargetError), match=said):
        audits.run(DeployedConfig(target=url, data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run")))


@pytest.mark.parametrize("abstains", [None, [0.0] * C])
@pytest.mark.parametrize("row", [0, 3, 200])  # of the probe's or not
def test_an_abstention_is_of_a_record(abstains, row):
    bad = json.dumps(X[row].tolist())

    def spoil(p, x, number):
        return [abstains if json.dumps(one.tolist()) == bad else q.tolist() for one, q in zip(x, p, strict=True)]

    with services.answering(Service(spoil)) as url, pytest.raises(black_box.WrongAnswer) as error:
        connect(url, X, options=FAST).ask(X)
    assert error.value.record == row and ("it is null, or NaN" in str(error.value)) == (abstains is None)
    assert abstains is None or "all 0, as of a model that abstains" in str(error.value)


def last(p, k):
    p[k:] = p[k - 1]


def first(p, k):
    p[k:] = p[0]


def prior(p, k):
    p[k:] = p.mean(axis=0)


def uniform(p, k):
    p[k:] = 1 / C


def around(p, k):
    p[k:] = p[np.arange(k, len(p)) % k]


@pytest.mark.parametrize("digits", [16, 2, "labels"])
@pytest.mark.parametrize("k", [20, 100, 200])
@pytest.mark.parametrize("spoil", [last, first, prior, uniform, around])
def test_rows_of_a_large_request_that_get_no_answers_of_their_own_are_refused(tmp_path, spoil, k, digits):
    def told(p):
        return p.argmax(axis=1) if digits == "labels" else np.round(p, digits)

    def cut(p, x, number):
        if len(p) > k:
            spoil(p, k)
        return told(p)

    service, given = Service(cut), dict(cache=tmp_path, num_classes=C)
    with services.answering(service) as url:
        with pytest.raises(black_box.TargetError, match=r"answers to .* of a request are repeated") as error:
            connect(url, X, options=FAST, **given).ask(X)
        assert error.value.exit_code == 2 and sum(service.sizes) <= 24 + 256 + 16
        rows = int(re.search(r"`rows_per_request=(\d+)`", str(error.value))[1])
        assert k - 8 <= rows <= k and re.search(f"rows past number {rows} ", str(error.value))
        log_p = connect(url, X, options=FAST._replace(rows_per_request=rows), **given).ask(X)  # nothing wrong was kept
    right = softmax(X @ WEIGHTS[0])
    if digits == "labels":
        np.testing.assert_array_equal(log_p.argmax(axis=1), right.argmax(axis=1))
    else:
        np.testing.assert_allclose(np.exp(log_p), right, atol=0.03)


@pytest.mark.parametrize("digits", [16, 2, 1, "labels"])
def test_equal_answers_that_are_right_are_not_refused(digits):
    step, heard = np.repeat(np.random.default_rng(3).dirichlet(np.ones(C), 4), N // 4, axis=0), []
    rows = {json.dumps(one.tolist()): i for i, one in enumerate(X)}

    def tree(p, x, number):  # four leaves, and the records in their order
        told = np.stack([step[rows[json.dumps(one.tolist())]] for one in x])
        return told.argmax(axis=1) if digits == "labels" else np.round(told, digits)

    for spoil in (tree, lambda p, x, n: p.argmax(axis=1) if digits == "labels" else np.round(p, digits)):
        service = Service(spoil)
        with services.answering(service) as url:
            connect(url, X, num_classes=C, options=FAST, notify=heard.append).ask(X)
        assert not heard and sum(service.sizes) == N + 8 + 8


def test_batches_that_move_answers_of_large_requests_only_are_told():
    def moved(p, x, number):
        return p if len(p) <= 16 else softmax(np.log(p) + 0.5 * x[:, :C] / len(p) ** 0.1)

    heard = []
    with services.answering(Service(moved)) as url:
        target = connect(url, X, options=FAST, notify=heard.append)
        target.ask(X)
    assert len(heard) == 1 and "in a request of 256 than in one of 8" in heard[0] and "rows_per_request=16" in heard[0]
    assert "a cache of similar queries" in heard[0]
    (kept,) = warnings(target)
    assert kept.startswith("Records get other answers in a request of 256") and kept.endswith("not the model.")


@pytest.mark.parametrize(("room", "reserved", "asked"), [(15, 0, 0), (16, 0, 8), (16, 1, 0), (17, 1, 8)])
def test_late_rows_are_looked_at_where_the_budget_has_room_beside_what_is_reserved(room, reserved, asked):
    service, budget = Service(), black_box.Budget(N + 8 + room)
    with services.answering(service) as url:
        target = connect(url, X, options=FAST, budget=budget)
        budget.reserved = reserved
        target.ask(X)
    assert sum(service.sizes) == N + 8 + asked == budget.spent


# --- a model that is replaced under the questions ---------------------------------------------------------------------

SMALL = FAST._replace(rows_per_request=32, in_flight=1)


def replaced_at(at, told=lambda p: p, back=10**9):
    return Service(lambda p, x, number: told(p if number < at or number >= back else softmax(x @ WEIGHTS[1])))


def settled(url, heard=(), **given):
    """As an audit asks."""
    target = connect(url, X, num_classes=C, notify=getattr(heard, "append", str), **({"options": SMALL} | given))
    black_box.with_recognized_format(target, X)
    ask_oldest_again(target, X)
    return target


TOLD = {"exact": lambda p: p, "2 digits": lambda p: p.round(2), "labels": lambda p: p.argmax(axis=1)}


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("at", [11, 14, 19])  # of 10 + 9 requests
def test_a_model_that_is_replaced_in_between_is_refused(tmp_path, at, told):
    service = replaced_at(at, TOLD[told])
    with services.answering(service) as url:
        with pytest.raises(black_box.TargetError, match=r"asked again after all others, \d+ of the first") as error:
            settled(url, cache=tmp_path)
        assert "fresh forgets" in str(error.value) and error.value.exit_code == 2
        with pytest.raises(black_box.TargetError, match="replaced since"):  # nothing is trusted later, either
            settled(url, cache=tmp_path)


@pytest.mark.parametrize(("told", "more"), [("exact", 37), ("2 digits", 37), ("labels", 37)])
def test_a_model_that_stays_is_asked_a_little_more(told, more):
    service, heard = replaced_at(10**9, TOLD[told]), []
    with services.answering(service) as url:
        settled(url, heard)
        assert sum(service.sizes) == N + 8 + 8 + more and not heard
        settled(url, options=SMALL._replace(repeat=False))
        assert sum(service.sizes) == 2 * N + 8 + 8 + more


@pytest.mark.parametrize(("room", "asked"), [(31, 8), (32, 8 + 16), (40, 8 + 24), (99, 8 + 37)])
def test_a_budget_without_room_asks_no_oldest_again(room, asked):
    service = replaced_at(10**9)
    with services.answering(service) as url:
        target = connect(url, X, options=SMALL, budget=N + 8 + room - 8)
        target.ask(X)
        ask_oldest_again(target, X)
    assert sum(service.sizes) == N + 8 + asked


def test_few_questions_answers_of_earlier_runs_and_noise_that_is_known_cost_no_more(tmp_path):
    service, few = replaced_at(10**9), X[:127]
    with services.answering(service) as url:
        for x, cost in ((few, 127 + 8 + 8), (few, 8), (X, 173 + 8 + 21)):  # 8: of the late rows, or the recheck's
            before = sum(service.sizes)
            target = connect(url, x, cache=tmp_path, options=SMALL)
            target.ask(x)
            ask_oldest_again(target, x)
            assert sum(service.sizes) - before == cost + (8 if len(x) == N else 0)
    noise = Service(noisy)
    with services.answering(noise) as url:
        assert unsteady(settled(url)) > 0.01 and sum(noise.sizes) == N + 8


@pytest.mark.parametrize("turn", [(13,), (12, 15), (18,)])  # of 10 requests of the question, from 11 on
def test_a_second_model_that_answers_few_requests_is_told(turn):
    """A canary rollout was met in half of the audits: the oldest answers are those of one request."""
    service = Service(lambda p, x, number: softmax(x @ WEIGHTS[1]) if number in turn else p)
    with services.answering(service) as url:
        target = settled(url, heard := [])
    assert len(heard) == 1 and re.search(r" \d of 21 records have other answers than before, by up to 0\.", heard[0])
    assert "two models behind one URL (a canary rollout" in heard[0] and unsteady(target) > 0.1
    assert warnings(target)[0].startswith("Asked again after all,")


def test_answers_that_differ_now_and_then_are_noise_and_no_second_model():
    service = Service(lambda p, x, number: p if number < 20 else noisy(p, x, number))
    with services.answering(service) as url:
        target = settled(url, heard := [])
    assert unsteady(target) > 0.01 and len(heard) == 1 and "answers differently each time" in heard[0]


def test_noise_that_begins_late_is_no_other_model_and_a_service_that_is_gone_no_error():
    service, heard = Service(lambda p, x, number: p if number < 12 else noisy(p, x, number)), []
    with services.answering(service) as url:
        target = settled(url, heard)
    assert len(heard) == 1 and "answers differently each time" in heard[0] and unsteady(target) > 0.01
    with services.answering(replaced_at(10**9)) as url:
        target = connect(url, X, options=SMALL)
        target.ask(X)
    ask_oldest_again(target, X)
    assert unsteady(target) is None


def test_an_audit_of_a_model_that_is_replaced_in_between_ends(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=np.arange(N) % C, member=np.arange(N) >= 150)
    small = dict(num_shadows=2, num_epochs=1, hidden=4, attacks="loss", rows_per_request=32, in_flight=1)
    with services.answering(replaced_at(14)) as url, pytest.raises(black_box.TargetError, match="replaced in between"):
        audits.run(DeployedConfig(target=url, data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run"), **small))
