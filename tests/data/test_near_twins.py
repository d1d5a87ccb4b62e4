"""Records of another file that are those in question, a little changed, are told; those of one population are not."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.data import near_twins

SETS = [datasets.load_digits, datasets.load_breast_cancer, datasets.load_wine, datasets.load_diabetes]
BITING = [5, 11, 17, 22]  # seeds that see it where the share is told without its corrections or thresholds


def halves(x, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order[: len(x) // 2]], x[order[len(x) // 2 :]]


@pytest.mark.parametrize("seeds", [[0], pytest.param(range(1, 5), marks=pytest.mark.integration)], ids=["one", "more"])
@pytest.mark.parametrize("load", SETS)
def test_real_records_and_the_same_a_little_changed(load, seeds):
    x = load().data
    for seed in seeds:
        other, known = halves(x, seed)
        assert near_twins.share(other, known) == near_twins.share(known, other) == 0
        noise = 0.2 * known.std(axis=0) * np.random.default_rng(seed).normal(size=known.shape)
        assert near_twins.share(known + noise, known) > 0.3
    said = near_twins.note(known + noise, known, ("other.npz", "the records"), "Leave them out.")
    assert said.startswith("About ") and "of the records seem to be in other.npz, a little changed" in said


def test_noise_of_one_size_in_columns_that_hardly_vary():
    """Corners of images: divided by their own spread they are all that counts."""
    other, known = halves(datasets.load_digits().data / 16, 0)
    noise = 0.04 * np.random.default_rng(0).normal(size=known.shape)
    assert near_twins.share(known + noise, known) > 0.8
    half = np.arange(len(known)) % 2 == 0
    assert 0.3 < near_twins.share(np.r_[(known + noise)[half], other], known) < 0.55


def population(kind, rng, columns, count):
    """SIMULATED: independent records, or groups of records that are alike, or such as lie on a line."""
    if kind == "groups":
        center = np.random.default_rng(0).normal(size=(100, columns)) * 3
        return center[rng.integers(100, size=count)] + 0.1 * rng.normal(size=(count, columns))
    if kind == "on a line":
        return rng.normal(size=(count, 2)) @ np.ones((2, columns)) + 0.01 * rng.normal(size=(count, columns))
    if kind == "few values":
        return rng.integers(3, size=(count, columns))
    return np.exp(2 * rng.normal(size=(count, columns)))


@pytest.mark.parametrize("seeds", [BITING, pytest.param(range(24), marks=pytest.mark.integration)], ids=["few", "all"])
@pytest.mark.parametrize("kind", ["groups", "on a line", "few values", "heavy tails"])
def test_samples_of_one_population_are_not_told(kind, seeds):
    """Of many records in question beside few others groups had one record there, and several here."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        columns, n, other = (int(rng.choice(of)) for of in ((1, 3, 5, 40), (80, 300, 1000), (80, 300, 3000)))
        known, x = population(kind, rng, columns, n), population(kind, rng, columns, other)
        if seed % 3 == 0:
            x = np.repeat(x[: len(x) // 2], 2, axis=0)
        assert near_twins.share(x, known) == 0


def test_few_records_and_columns_that_do_not_vary_tell_nothing():
    x = np.random.default_rng(0).normal(size=(50, 5))
    assert near_twins.share(x + 0.01, x) == 0
    assert near_twins.share(np.ones((100, 5)), np.ones((100, 5))) == 0
