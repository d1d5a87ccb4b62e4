"""Noisy records: so many attributes changed and no more, labels kept."""

import jax
import numpy as np
import pytest
import schemas
import scipy.stats

from mia_jax.synthesis import noisy
from mia_jax.types import Field, InputError, Records, Schema

F = 45
BITS = Schema("bits", "local", "0", 4, (F,), (Field("bits", "binary", 0, F),))
MIXED = schemas.mixed(2)


def bits(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return Records(rng.integers(0, 2, (n, F), dtype=np.uint8), rng.integers(0, 4, n).astype(np.int32))


def mixed(n=600, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.uniform(-2, 3, (n, 1)), np.eye(4)[rng.integers(0, 4, n)], rng.integers(0, 2, (n, 4))
    parts += np.eye(2)[rng.integers(0, 2, n)], rng.integers(0, 256, (n, 1))
    return Records(np.concatenate(parts, axis=1).astype(np.float32), rng.integers(0, 2, n).astype(np.int32))


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("records", "schema"), [(bits(), BITS), (mixed(), MIXED)], ids=["bits", "mixed"])
def test_no_noise_is_the_identity(records, schema):
    found, story = noisy.noisy(jax.random.key(0), records, schema, 0)
    assert_same(found, records)
    assert found.x is not records.x and story == (0.0, 0.0)
    np.testing.assert_array_equal(noisy.flip(jax.random.key(0), records.x, schema, 0.0), records.x)


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.5, 1.0])
def test_the_fraction_is_realized_in_every_record(noise):
    records = bits()
    found, story = noisy.noisy(jax.random.key(1), records, BITS, noise)
    flipped = (found.x != records.x).sum(axis=1)
    assert set(flipped) <= {int(noise * F), int(np.ceil(noise * F))}
    assert story.changed == flipped.sum() / (400 * F)
    assert abs(story.changed - noise) < 4 * 0.5 / F / np.sqrt(400)
    np.testing.assert_array_equal(found.y, records.y)
    assert found.x.dtype == np.uint8 and set(np.unique(found.x)) <= {0, 1}


def test_every_feature_is_as_likely_to_be_wrong():
    records = bits(4000)
    found, _ = noisy.noisy(jax.random.key(2), records, BITS, 0.2)
    counts = (found.x != records.x).sum(axis=0)
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_mixed_attributes_change_as_they_may():
    records = mixed()
    found, story = noisy.noisy(jax.random.key(3), records, MIXED, 1.0)
    x, before = found.x, records.x
    np.testing.assert_array_equal(x[:, 5:9], 1 - before[:, 5:9])
    np.testing.assert_array_equal(x[:, 9:11], 1 - before[:, 9:11])
    assert (x[:, 1:5].sum(axis=1) == 1).all() and not (x[:, 1:5] * before[:, 1:5]).any()  # another category
    shift = (x[:, 1:5].argmax(axis=1) - before[:, 1:5].argmax(axis=1)) % 4
    assert scipy.stats.chisquare(np.bincount(shift)[1:]).pvalue > 1e-4
    assert scipy.stats.kstest(x[:, 0], "uniform", (-2, 5)).pvalue > 1e-4
    assert (x[:, 11] == np.floor(x[:, 11])).all() and 0 <= x[:, 11].min() < 20 and 235 < x[:, 11].max() <= 255
    assert 0.98 < story.changed <= 1


def test_some_of_the_mixed_attributes():
    found, story = noisy.noisy(jax.random.key(4), mixed(), MIXED, 0.25)  # of 8 attributes, 2
    assert 0.23 < story.changed <= 0.25
    assert (found.x[:, 1:5].sum(axis=1) == 1).all() and (found.x[:, 9:11].sum(axis=1) == 1).all()


@pytest.mark.parametrize("batch", [1, 7, 400, 4096])
def test_batches_change_nothing(batch):
    records = Records(*(leaf[:30] for leaf in bits()))
    expected = noisy.flip(jax.random.key(5), records.x, BITS, 0.1)
    found, _ = noisy.noisy(jax.random.key(5), records, BITS, 0.1, batch=batch)
    np.testing.assert_array_equal(found.x, expected)
    np.testing.assert_array_equal(
        jax.jit(lambda key, x: noisy.flip(key, x, BITS, 0.1))(jax.random.key(5), records.x), expected
    )


def test_what_happens_to_a_record_does_not_depend_on_the_others():
    x = bits().x[:20]
    whole = noisy.flip(jax.random.key(6), x, BITS, 0.3)
    part = noisy.flip(jax.random.key(6), x[:5], BITS, 0.3)
    np.testing.assert_array_equal(whole[:5], part)
    assert (noisy.flip(jax.random.key(7), x, BITS, 0.3) != whole).any()


def test_the_sampler_draws_distinct_records():
    pool = Records(
        np.unpackbits(np.arange(64, dtype=">u2").view(np.uint8).reshape(64, 2), axis=1), np.arange(64, dtype=np.int32)
    )
    schema = Schema("codes", "local", "0", 64, (16,), (Field("bits", "binary", 0, 16),))
    found, _ = noisy.sampler(pool, schema, 0.0)(jax.random.key(0), 40)
    assert len(set(found.y.tolist())) == 40
    np.testing.assert_array_equal(found.x, pool.x[found.y])
    everyone, story = noisy.sampler(pool, schema, 0.25)(jax.random.key(1), 64)
    assert sorted(everyone.y) == list(range(64)) and story.changed == 0.25
    other, _ = noisy.sampler(pool, schema, 0.0)(jax.random.key(2), 40)
    assert (other.y != found.y).any()
    for n in (0, 65):
        with pytest.raises(InputError, match="1 to 64"):
            noisy.sampler(pool, schema, 0.1)(jax.random.key(0), n)


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_is_a_fraction(noise):
    with pytest.raises(InputError, match="fraction"):
        noisy.sampler(bits(), BITS, noise)


def test_records_of_another_schema_are_refused():
    with pytest.raises(InputError, match="shape"):
        noisy.noisy(jax.random.key(0), bits(), MIXED, 0.1)
