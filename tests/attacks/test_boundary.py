"""The distance to the boundary, by labels alone: that of brute force, or of a plane."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_attacks_more import BITS, KEY, F, schema_of

from mia_jax.attacks.boundary import boundary
from mia_jax.types import Answers, Field, Records, Target


def linear_target(w, b, *, scale=1.0):
    """Two classes; class 1 where w . x > b."""

    def ask(x):
        z = (jnp.asarray(x, jnp.float32).reshape(len(x), -1) * scale) @ jnp.asarray(w, jnp.float32) - b
        return jax.nn.log_softmax(jnp.stack([jnp.zeros_like(z), z], axis=-1))

    return Target(ask, Answers(2))


def test_distance_in_bits_is_that_of_brute_force():
    """Given questions enough; with fewer it is an upper bound."""
    f, rng = 8, np.random.default_rng(0)
    w = rng.normal(size=f)
    every = np.array(list(itertools.product((0, 1), repeat=f)), np.uint8)
    target = linear_target(w, 0.3)
    label = np.asarray(every @ w > 0.3).astype(np.int32)
    y = np.where(np.arange(256) % 8 == 0, 1 - label, label).astype(np.int32)  # some are misclassified
    attack = boundary(2, schema=schema_of(Field("bits", "binary", 0, f)), rounds=200, proposals=16)
    got = np.asarray(jax.jit(lambda x, y: attack.observe(KEY, target, Records(x, y)))(every, y)["distance"])
    apart = (every[:, None] != every[None]).sum(axis=2)
    want = np.array([apart[i][label != y[i]].min() for i in range(256)])
    np.testing.assert_array_equal(got, want)


def test_distance_in_attributes_counts_a_category_once():
    """The class is the category: one attribute changed, two columns."""
    schema = schema_of(Field("bits", "binary", 0, 9), Field("job", "categorical", 9, 12, categories=tuple("abc")))
    x = np.concatenate([np.random.default_rng(0).integers(0, 2, (20, 9)), np.eye(3)[np.arange(20) % 3]], 1)
    target = linear_target(np.eye(12)[9], 0.5)
    records = Records(x.astype(np.uint8), x[:, 9].astype(np.int32))
    attack = boundary(2, schema=schema)
    distance = jax.jit(lambda x, y: attack.observe(KEY, target, Records(x, y))["distance"])(*records)
    np.testing.assert_array_equal(distance, np.ones(20))


@pytest.mark.integration
def test_a_class_without_a_boundary_is_as_far_as_can_be():
    records = Records(np.zeros((3, F), np.uint8), np.array([0, 0, 1], np.int32))
    target = linear_target(np.zeros(F), 1.0)  # always class 0
    attack = boundary(2, schema=BITS, rounds=3, proposals=4)
    distance = jax.jit(lambda x, y: attack.observe(KEY, target, Records(x, y))["distance"])(*records)
    np.testing.assert_array_equal(distance, [F, F, 0])


@pytest.mark.parametrize("kind", ["numeric", pytest.param("pixel", marks=pytest.mark.integration)])
def test_distance_in_numbers_is_that_of_a_plane(kind):
    """Columns have ranges of their own; distances are those of columns scaled to [0, 1]."""
    f, rng = 10, np.random.default_rng(1)
    if kind == "pixel":
        schema, high = schema_of(Field("pixels", "pixel", 0, f, 0.0, 255.0)), np.full(f, 255.0)
    else:
        high = np.arange(1.0, f + 1)
        schema = schema_of(*(Field(f"x{i}", "numeric", i, i + 1, 0.0, h) for i, h in enumerate(high)))
    u = rng.uniform(0.35, 0.65, (60, f))
    x = (u * high).round().astype(np.uint8) if kind == "pixel" else (u * high).astype(np.float32)
    w = rng.normal(size=f)
    b = w.sum() / 2 + 0.15 * np.linalg.norm(w)
    target = linear_target(w / high, b)
    margin = (x / high) @ w - b
    y = (margin > 0).astype(np.int32)
    attack = boundary(2, schema=schema, rounds=36, proposals=24)
    got = np.asarray(jax.jit(lambda x, y: attack.observe(KEY, target, Records(x, y)))(x, y)["distance"])
    want = np.abs(margin) / np.linalg.norm(w)
    assert (got > want - 1e-3).all()
    close = 0.02 + (np.sqrt(f) / 2 / 255 if kind == "pixel" else 0)  # whole pixels do not meet the plane exactly
    assert (got < 1.1 * want + close).mean() > 0.9, np.sort(got / want)
