"""Algorithm 1: the same records from many searches at once, whatever stops one."""

import functools
import gc
import math
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax import data, synthesis
from mia_jax.storage import artifacts
from mia_jax.synthesis import resume, step
from mia_jax.synthesis import search as algorithm
from mia_jax.targets import black_box
from mia_jax.types import Answers, Field, InputError, Records, Schema, Target

F, C = 10, 3
BITS = Schema("bits", "local", "0", C, (F,), (Field("bits", "binary", 0, F),))
MIXED = Schema(
    "mixed",
    "local",
    "0",
    C,
    (9,),
    (
        Field("age", "numeric", 0, 1, -2.0, 3.0),
        Field("job", "categorical", 1, 5),
        Field("flags", "binary", 5, 8),
        Field("shade", "pixel", 8, 9, 0.0, 7.0),
    ),
)
OPTIONS = dict(k_max=8, k_min=2, conf_min=0.6, rej_max=2, iter_max=60, give_up=1000)


def table(never=(), seed=0):
    """Log-probabilities of each of the 2^F records, float32: the same numbers whoever looks them up."""
    rng = np.random.default_rng(seed)
    x = (np.arange(2**F)[:, None] >> np.arange(F)) & 1
    z = (x - 0.5) @ rng.normal(0, 1.0, (F, C))
    z[:, list(never)] = -30
    return (z - np.log(np.exp(z).sum(axis=1, keepdims=True))).astype(np.float32)


@functools.cache
def traced(never=()):
    log_p = jnp.asarray(table(never))
    return Target(lambda x: log_p[jnp.asarray(x, jnp.int32) @ (1 << jnp.arange(F))], Answers(C))


class Host:
    """The same target, asked over the wire; remembers its questions."""

    def __init__(self, never=()):
        self.log_p, self.asked = table(never), []

    def target(self):
        def ask(x):
            assert isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.shape[1:] == (F,)
            self.asked.append(len(x))
            return self.log_p[x.astype(int) @ (1 << np.arange(F))]

        return Target(ask, Answers(C), traced=False)


@functools.cache
def mixed_target():
    w = np.random.default_rng(1).integers(-2, 3, (9, C)).astype(np.float32) / 4
    return Target(lambda x: jax.nn.log_softmax(jnp.asarray(x, jnp.float32) @ w), Answers(C))


def find(target, n=40, schema=BITS, seed=0, **options):
    options = {"searches": 8, **options}
    return algorithm.search(jax.random.key(seed), target, schema, n, **{**OPTIONS, **options})


@functools.cache
def plain():
    return find(traced())


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.integration
def test_narrowing_the_search_changes_nothing(monkeypatch):
    """Once most searches are idle, the last records are found by fewer of them."""
    expected, widths = find(traced(), searches=64), []
    monkeypatch.setattr(algorithm, "_WIDE", 32)
    found = find(traced(), searches=64, block=4, on_step=lambda s: widths.append(len(s.searches.slot)))
    assert_same(found, expected)
    assert set(widths) == {40, 5} and widths == sorted(widths, reverse=True)


def test_a_host_target_gives_the_same_records():
    host = Host()
    (records, story), (expected, told) = find(host.target()), plain()
    assert_same(records, expected)
    assert_same(story._replace(confidence=0), told._replace(confidence=0))
    np.testing.assert_allclose(story.confidence, told.confidence, rtol=1e-6)
    assert story.queries == sum(host.asked)
    assert story.queries_per_record == story.queries / 40


def test_where_a_search_ends_the_next_begins_at_once():
    """Every question is as long as there are searches, or as records are still missing."""
    host, done = Host(), [0]
    find(host.target(), on_step=lambda s: done.append(int(np.asarray(s.results.done).sum())))
    assert host.asked == [min(8, 40 - found) for found in done[:-1]] and done[-1] == 40
    assert host.asked.count(8) > 10


def test_records_are_what_was_asked_for():
    records, story = plain()
    p = np.exp(table()[records.x.astype(int) @ (1 << np.arange(F))])
    np.testing.assert_array_equal(p.argmax(axis=1), records.y)
    np.testing.assert_allclose(p.max(axis=1), story.confidence, rtol=1e-6)
    assert story.confidence.min() > OPTIONS["conf_min"]


def test_attributes_stay_valid():
    records, _ = find(mixed_target(), 40, MIXED, conf_min=0.4)
    age, job, flags, shade = records.x[:, 0], records.x[:, 1:5], records.x[:, 5:8], records.x[:, 8]
    assert records.x.dtype == np.float32 and len(records.x) == 40
    assert age.min() >= -2 and age.max() <= 3 and len(np.unique(age)) == 40
    assert set(np.unique(job)) == {0, 1} and (job.sum(axis=1) == 1).all()
    assert set(np.unique(flags)) == {0, 1}
    assert set(np.unique(shade)) <= set(range(8)) and len(np.unique(shade)) > 3


def test_images_come_in_their_shape():
    schema = Schema("image", "local", "0", 2, (2, 2, 3), (Field("pixels", "pixel", 0, 12, 0.0, 255.0),))
    target = Target(lambda x: jax.nn.log_softmax(x[:, 0, 0, :2] / 50.0), Answers(2))
    records, _ = find(target, 8, schema, searches=4)
    assert records.x.shape == (8, 2, 2, 3) and records.x.dtype == np.uint8
    assert ((records.x[:, 0, 0, 1] > records.x[:, 0, 0, 0]) == records.y).all()


def test_argmax_takes_the_first_of_equals():
    log_p = np.log(np.array([[0.5, 0.5, 0], [0.2, 0.4, 0.4], [1, 0, 0]], np.float32) + 1e-9)
    for c in range(3):
        classes = np.full(3, c)
        got = step.is_argmax(jnp.asarray(log_p), jnp.asarray(log_p[:, c]), jnp.asarray(classes))
        np.testing.assert_array_equal(got, log_p.argmax(axis=1) == c)


# --- budgets, interruptions, classes that fail -----------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 5, 8, 131])
def test_the_budget_is_never_passed_and_what_was_found_is_kept(budget):
    short = dict(iter_max=16)  # so that the largest budget pays for the usual number of searches
    host, whole = Host(), find(traced(), **short)[0]
    for target, asked in ((host.target(), lambda: sum(host.asked)), (traced(), None)):
        records, story = find(target, max_queries=budget, **short)
        assert story.exhausted and story.queries == budget and (asked is None or asked() == budget)
        assert len(records.x) == story.accepted.sum() < 40
        for x, y in zip(*records, strict=True):
            assert ((whole.x == x).all(axis=1) & (whole.y == y)).any()
    assert (budget < 100) or len(records.x)


def test_a_budget_that_suffices_is_not_exhausted():
    records, story = plain()
    again, told = find(traced(), max_queries=story.queries)
    assert_same(again, records)
    assert not told.exhausted


def test_the_budget_of_the_target_itself_ends_the_search_cleanly():
    host = Host()
    budget = black_box.Budget(100)
    records, story = find(black_box.budgeted(host.target(), budget))
    assert story.exhausted and sum(host.asked) == budget.spent == story.queries <= 100 and 0 < len(records.x) < 40


@pytest.mark.integration
@pytest.mark.parametrize("make", [traced, lambda: Host().target()], ids=["traced", "host"])
def test_a_search_goes_on_from_any_state(make):
    states = []
    expected = find(make(), block=5, on_step=lambda s: states.append(jax.device_get(s)))
    assert len(states) > 4
    for state in states[:: max(1, len(states) // 4)] + states[-1:]:
        assert_same(find(make(), block=3, state=state), expected)


def test_an_exhausted_search_goes_on_with_a_larger_budget():
    states = []
    find(traced(), max_queries=100, on_step=lambda s: states.append(jax.device_get(s)))
    (records, story), (expected, told) = find(traced(), state=states[-1]), plain()
    assert_same(records, expected)
    assert story.queries == told.queries


@pytest.mark.parametrize("make", [traced, lambda never: Host(never).target()], ids=["traced", "host"])
def test_a_class_that_fails_repeatedly_gives_its_records_to_others(make):
    records, story = find(make((1,)), give_up=3)
    assert story.given_up == (1,) and story.failed[1] >= 3 and not story.exhausted
    assert len(records.x) == 40 and story.accepted.tolist()[1] == 0
    assert story.accepted[[0, 2]].min() >= 17  # evenly
    assert story.queries > story.cost.sum()  # failures cost


def test_where_every_class_fails_nothing_is_found():
    target = Target(lambda x: np.full((len(x), C), -math.log(C), np.float32), Answers(C), traced=False)
    records, story = find(target, give_up=2)
    assert len(records.x) == 0 and records.x.shape == (0, F) and story.given_up == (0, 1, 2)
    assert story.queries_per_record == math.inf and not story.exhausted


def test_classes_without_a_share_are_not_searched_for():
    _, story = find(traced(), class_prior=np.array([3.0, 0, 1]))
    assert story.accepted.tolist() == [30, 0, 10] and story.given_up == ()


def test_wanted_classes_have_the_shares_asked_for_all_along():
    prior = np.array([0.5, 0.2, 0.0, 0.3])
    y = algorithm.wanted_classes(prior, 1000)
    assert np.bincount(y, minlength=4).tolist() == [500, 200, 0, 300]
    for part in np.split(y, 10):
        np.testing.assert_allclose(np.bincount(part, minlength=4), 100 * prior, atol=1)
    assert sorted(np.bincount(algorithm.wanted_classes(np.ones(3) / 3, 11))) == [3, 4, 4]


def test_the_prior_follows_the_answers():
    p = np.exp(table(never=(2,)).astype(np.float64)).mean(axis=0)
    host = Host((2,))
    for target in (host.target(), traced((2,))):
        np.testing.assert_allclose(algorithm.answered(jax.random.key(0), target, BITS, 3000, batch=512), p, atol=0.03)
    assert sum(host.asked) == 3000
    sample = synthesis.sampler("search", Host((2,)).target(), BITS, class_prior="target", searches=8, **OPTIONS)
    _, story = sample(jax.random.key(1), 40)
    np.testing.assert_allclose(story.accepted / 40, p, atol=0.07)


@pytest.mark.parametrize(
    "options",
    [
        dict(n=0),
        dict(k_min=9),
        dict(k_min=0),
        dict(conf_min=1.0),
        dict(conf_min=-0.1),
        dict(rej_max=-1),
        dict(iter_max=0),
        dict(give_up=0),
        dict(redraw="flop"),
        dict(searches=0),
        dict(max_queries=-1),
        dict(class_prior=np.ones(C + 1)),
        dict(class_prior=np.zeros(C)),
        dict(class_prior=np.array([1, np.nan, 1])),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_the_first_query(options):
    host = Host()
    with pytest.raises(InputError):
        find(host.target(), **options)
    assert host.asked == []


def test_a_state_of_another_search_is_refused():
    states = []
    find(traced(), on_step=lambda s: states.append(jax.device_get(s)))
    for options in (dict(n=41), dict(seed=1), dict(schema=MIXED)):
        with pytest.raises(InputError, match="another"):
            find(traced(), state=states[0], **options)


# --- in a workdir ----------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_an_interrupted_stage_goes_on(tmp_path):
    key, expected = jax.random.key(0), plain()
    host, calls = Host(), []

    def failing(x):
        calls.append(1)
        if len(calls) in (9, 30):
            raise black_box.TargetError("the service is down")
        return host.target().ask(x)

    target = Target(failing, Answers(C), traced=False)
    with artifacts.open_workdir(tmp_path / "run", {}) as workdir:
        run = lambda every, n=40, **more: resume.search(  # noqa: E731
            workdir, {"target": "probe"}, key, target, BITS, n, every=every, searches=8, **OPTIONS, **more
        )
        for every in (0.0, math.inf):
            with pytest.raises(black_box.TargetError, match="down"):
                run(every)
        records, _ = run(0.0, max_queries=250)
        assert len(records.x) < 40
        records, story = run(0.0)
        assert_same(records, expected[0])
        assert sum(host.asked) == story.queries == expected[1].queries  # nothing was asked twice
        assert_same(run(0.0), (records, story))
        assert sum(host.asked) == story.queries
        fewer, _ = run(0.0, n=39)  # another stage
        assert len(fewer.x) == 39 and sum(host.asked) > story.queries
        before = sum(host.asked)
        flipped, told = run(0.0, redraw="flip")  # and another
        assert sum(host.asked) == before + told.queries and not np.array_equal(flipped.x, records.x)


# --- an adversary without data ---------------------------------------------------------------------------------------


def test_no_method_touches_the_training_data_of_the_target(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (300, F), dtype=np.uint8)
    pool = Records(x, x[:, :C].argmax(axis=1).astype(np.int32))
    own = Records(*(np.array(leaf[200:]) for leaf in pool))
    weights = np.linalg.lstsq(x[:200] - 0.5, np.eye(C)[pool.y[:200]], rcond=None)[0].astype(np.float32)
    target = Target(lambda x: jax.nn.log_softmax(4 * (jnp.asarray(x, jnp.float32) - 0.5) @ weights), Answers(C))
    gone = [weakref.ref(x), weakref.ref(pool.y)]
    del x, pool
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    for name, records, options in (
        ("noisy", own, {}),
        ("marginal", own, {"batch": 64}),
        ("search", None, {"searches": 8}),
    ):
        found, _ = synthesis.sampler(name, target, BITS, records, **options)(jax.random.key(1), 40)
        assert found.x.shape == (40, F) and set(np.unique(found.x)) <= {0, 1} and len(np.unique(found.y)) > 1
        data.save(tmp_path / f"{name}.npz", found, BITS)  # a data set synthesized is a data set
        loaded, schema = data.load(tmp_path / f"{name}.npz")
        assert_same(loaded, found)
        assert schema.fields == BITS.fields and schema.num_classes == C and schema.source == "local"


def test_samplers_say_what_they_lack():
    for name, words in (("noisy", "real"), ("marginal", "table"), ("serach", "noisy, marginal, search")):
        with pytest.raises(InputError, match=words):
            synthesis.sampler(name, traced(), BITS)
    with pytest.raises(InputError, match="balanced"):
        synthesis.sampler("search", traced(), BITS, class_prior="real")
