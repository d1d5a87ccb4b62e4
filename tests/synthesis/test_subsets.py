"""k distinct attributes of a: exactly k, every subset as likely as any other."""

import itertools

import jax
import jax.extend
import numpy as np
import pytest
import scipy.stats

from mia_jax.synthesis import subsets

choose = jax.jit(subsets.choose, static_argnums=2)


def chosen(r, k, a, seed=0):
    keys = jax.random.split(jax.random.key(seed), r)
    return np.asarray(choose(keys, np.broadcast_to(np.asarray(k, np.int32), (r,)), a))


@pytest.mark.parametrize("a", [1, 32, 33, 600, *(pytest.param(a, marks=pytest.mark.integration) for a in (2, 31, 64))])
def test_exactly_k_are_chosen(a):
    k = np.arange(a + 1, dtype=np.int32) if a < 100 else np.array([0, 1, 4, 128, 300, 599, 600], np.int32)
    found = chosen(len(k), k, a)
    assert found.shape == (len(k), a) and found.dtype == bool
    np.testing.assert_array_equal(found.sum(axis=1), k)


@pytest.mark.parametrize(("a", "k"), [(5, 2), (6, 3), (4, 1), (5, 4)])
def test_every_subset_is_equally_likely(a, k):
    found = chosen(20_000, k, a)
    code = found @ (1 << np.arange(a))
    expected = sorted(sum(1 << j for j in subset) for subset in itertools.combinations(range(a), k))
    seen, counts = np.unique(code, return_counts=True)
    assert seen.tolist() == expected
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("a", "k"), [(40, 7), (70, 35)])
def test_attributes_of_several_words_are_equally_likely_alone_and_in_pairs(a, k):
    r = 20_000
    found = chosen(r, k, a, seed=1).astype(float)
    share = k / a
    z = (found.sum(axis=0) - r * share) / np.sqrt(r * share * (1 - share))
    assert np.abs(z).max() < 5
    pairs = (found.T @ found)[np.triu_indices(a, 1)]
    share = share * (k - 1) / (a - 1)
    assert np.abs((pairs - r * share) / np.sqrt(r * share * (1 - share))).max() < 5.5


def test_what_is_chosen_depends_on_the_own_key_and_k_alone():
    k = np.array([3, 9, 20, 1], np.int32)
    keys = jax.random.split(jax.random.key(2), 4)
    together = np.asarray(choose(keys, k, 37))
    for row in range(4):
        np.testing.assert_array_equal(np.asarray(choose(keys[row : row + 1], k[row : row + 1], 37))[0], together[row])


def test_words_are_threefry():
    key = jax.random.key_data(jax.random.key(7))
    counters = np.concatenate([np.arange(5), np.full(5, 3)]).astype(np.uint32)
    expected = jax.extend.random.threefry_2x32(key, counters)
    np.testing.assert_array_equal(np.asarray(subsets.words(key[:, None], 3, 10))[:, 0], expected)


def test_unpack_is_little_endian_within_a_word():
    packed = np.array([[5, 1 << 31], [0, 3]], np.uint32)
    expected = np.zeros((2, 40), bool)
    expected[0, [0, 2]] = expected[1, [32, 33]] = True
    np.testing.assert_array_equal(np.asarray(subsets.unpack(packed, 40)), expected)
