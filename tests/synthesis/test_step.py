"""One step of Algorithm 1: that of a Python loop over the paper's pseudocode."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_search import BITS, MIXED, OPTIONS, C, F, find, mixed_target, table, traced

from mia_jax.synthesis import attributes, step, subsets
from mia_jax.synthesis import search as algorithm
from mia_jax.synthesis.parameters import REDRAWS


def algorithm_1(f, c, random, k_max, k_min, conf_min, rej_max, iter_max, trace):
    """The paper's pseudocode, line by line.

    random(i, k, x_star): k features as a mask, a random record or what x_star may change to, a number of [0, 1).
    """
    x_star, best, rejections, k = None, 0.0, 0, k_max
    for i in range(iter_max):
        features, values, u = random(i, k, x_star)
        x = values if i == 0 else np.where(features, values, x_star)
        y = f(x)
        if y[c] >= best:
            if y[c] > conf_min and c == np.argmax(y) and u < y[c]:
                return x
            x_star, best, rejections = x, y[c], 0
        else:
            rejections += 1
            if rejections > rej_max:
                k, rejections = max(k_min, math.ceil(k / 2)), 0
        trace.append((i + 1, x_star, best, rejections, k))
    return None


def random_numbers(schema, key, slot, attempt, redraw="random"):
    """Those of one search of the library; with "flip", bits are flipped here."""
    root = step.as_key(np.asarray(jax.random.bits(key, (2,), np.uint32)))
    key = jax.random.fold_in(jax.random.fold_in(root, slot), attempt)
    bits = attributes.attributes(schema).bits

    def numbers(i, k, x_star):
        features, values, others, u = (
            np.array(part) for part in one_step(schema)(key, np.int32(i), np.int32(k), 0 if x_star is None else x_star)
        )
        if redraw == "flip" and i > 0:
            values = others
            values[bits] = 1 - x_star[bits]
        return features, values, u

    return numbers


@functools.cache
def one_step(schema):
    a = attributes.attributes(schema)

    @jax.jit
    def numbers(key, i, k, x_star):
        features, values, sample = jax.random.split(jax.random.fold_in(key, i), 3)
        x_star = jnp.broadcast_to(x_star, len(a.of)).astype(a.dtype)
        return (
            subsets.choose(features[None], k[None], a.count)[0][a.of],
            attributes.draw(a, values),
            attributes.draw(a, values, other_than=x_star),
            jax.random.uniform(sample),
        )

    return numbers


@pytest.mark.parametrize("redraw", REDRAWS)
@pytest.mark.parametrize(
    ("schema", "conf_min"),
    [pytest.param(BITS, 0.8, id="bits", marks=pytest.mark.integration), pytest.param(MIXED, 0.985, id="mixed")],
)
def test_every_step_is_that_of_a_python_loop(schema, conf_min, redraw):
    target = traced() if schema is BITS else mixed_target()
    paper = {name: OPTIONS[name] for name in ("k_max", "k_min", "conf_min", "rej_max", "iter_max")}
    paper["k_max"] = min(paper["k_max"], attributes.attributes(schema).count)
    paper |= {"conf_min": conf_min, "iter_max": 40}
    ask = jax.jit(target.ask)
    rounding = 0 if schema is BITS else 1e-6  # of the numbers of MIXED, which jit draws to other last bits
    found, ks = 0, set()
    for seed in range(6):
        states = []
        records, story = find(
            target,
            1,
            schema,
            seed,
            searches=1,
            block=1,
            **paper,
            redraw=redraw,
            max_queries=120,
            on_step=lambda s, states=states: states.append(jax.device_get(s)),
        )
        after, attempt, x = iter(states), 0, None
        while x is None and attempt < 3:  # 3 searches of 40 queries are the budget
            trace = []
            x = algorithm_1(
                lambda x: np.exp(np.asarray(ask(x[None]))[0]),
                0,
                random_numbers(schema, jax.random.key(seed), 0, attempt, redraw),
                **paper,
                trace=trace,
            )
            for i, x_star, best, rejections, k in trace:
                one = jax.tree.map(lambda leaf: leaf[0], next(after).searches)
                if i == paper["iter_max"]:  # failed: already the next search
                    assert (one.attempt, one.iteration) == (attempt + 1, 0)
                    continue
                assert (one.slot, one.attempt, one.c, one.iteration) == (0, attempt, 0, i)
                np.testing.assert_allclose(one.x_best, x_star, rtol=rounding)
                np.testing.assert_allclose(one.best, best, rtol=1e-6)
                assert (one.rejections, one.k) == (rejections, k)
                ks.add(k)
            attempt += 1
        assert len(records.x) == (x is not None)
        if x is not None:
            found += 1
            np.testing.assert_allclose(records.x[0], x, rtol=rounding)
            assert story.cost[0] == len(trace) + 1
            assert story.queries == (attempt - 1) * paper["iter_max"] + len(trace) + 1
    assert found >= 3 and len(ks) >= 3


def test_a_flip_changes_each_chosen_feature():
    """k bits of k that are flipped, and every category; of k that are redrawn about a half."""
    n, k = 2000, 6
    a = attributes.attributes(MIXED)
    keys = jax.jit(lambda: (jax.random.split(jax.random.key(5), n), jax.random.split(jax.random.key(6), n)))()
    x = np.asarray(jax.jit(jax.vmap(lambda key: attributes.draw(a, key)))(keys[0]))
    searches = step.Searches(
        *(np.arange(n, dtype=np.int32), np.zeros(n, np.int32)),
        *(jax.random.key_data(keys[1]), np.zeros(n, np.int32)),
        *(np.ones(n, np.int32), x, np.ones(n, np.float32), np.zeros(n, np.int32), np.full(n, k, np.int32)),
    )
    changed = {}
    for redraw in REDRAWS:
        propose = jax.jit(lambda searches, left, redraw=redraw: step.propose(a, searches, n, left, redraw))
        proposed = np.asarray(propose(searches, np.int32(n)).x)
        assert (proposed[:, 1:5].sum(axis=1) == 1).all()
        changed[redraw] = (proposed != x) @ np.array([1, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1])  # a one-hot code: two columns
    shade = 1 / 8  # a pixel of eight values is drawn anew; it is among the chosen k / count of the time
    np.testing.assert_allclose(changed["flip"].mean(), k - k / a.count * shade, atol=0.03)
    assert (changed["flip"] >= k - 1).all() and changed["random"].mean() < k - 1.5


@pytest.mark.integration
@pytest.mark.parametrize("options", [dict(searches=1), dict(searches=8), dict(searches=64)], ids=str)
def test_searches_side_by_side_find_what_each_finds_alone(options):
    n, paper = 40, {name: OPTIONS[name] for name in ("k_max", "k_min", "conf_min", "rej_max", "iter_max")}
    records, story = find(traced(), n, **options)
    assert records.x.dtype == np.uint8 and records.y.dtype == np.int32
    np.testing.assert_array_equal(records.y, algorithm.wanted_classes(np.ones(C) / C, n))
    queries = 0
    for slot in range(n):
        x, attempt = None, 0
        while x is None:
            trace = []
            random = random_numbers(BITS, jax.random.key(0), slot, attempt)
            f = lambda x: np.exp(table()[x.astype(int) @ (1 << np.arange(F))])  # noqa: E731
            x = algorithm_1(f, records.y[slot], random, **paper, trace=trace)
            queries += len(trace) + (x is not None)
            attempt += 1
        np.testing.assert_array_equal(records.x[slot], x)
        assert story.cost[slot] == len(trace) + 1
    assert story.queries == queries and not story.exhausted and story.given_up == ()
