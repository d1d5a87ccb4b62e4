"""Copies that were rounded, or are in another unit, are found, and records that are merely alike are not."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.data import near_copies

SETS = {
    name: np.unique(getattr(datasets, f"load_{name}")(return_X_y=True)[0], axis=0)
    for name in ("wine", "breast_cancer", "digits", "diabetes")
}
COPIES = 20


def six_digits(x):
    return np.array([[float(f"{v:.6g}") for v in row] for row in x])


ROUNDED = {
    "float32": lambda x: x.astype(np.float32),
    "six digits": six_digits,
    "four decimals": lambda x: x.round(4),
    "two decimals": lambda x: x.round(2),
}


def standardized(name):
    x = np.random.default_rng(0).permutation(SETS[name]).astype(float)
    sd = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(sd > 0, sd, 1)


@pytest.mark.parametrize("rounded", ROUNDED)
@pytest.mark.parametrize("name", SETS)
def test_copies_are_found_whichever_file_was_rounded(name, rounded):
    x = standardized(name)
    half = len(x) // 2
    other = np.concatenate([x[half - COPIES : half], x[half:]])
    copies = np.arange(len(other)) < COPIES
    for known, given in ((x[:half], ROUNDED[rounded](other)), (ROUNDED[rounded](x[:half]), other)):
        found = near_copies.found(given.astype(np.float32), known.astype(np.float32))
        np.testing.assert_array_equal(found, copies)
        assert not near_copies.found(given[COPIES:].astype(np.float32), known.astype(np.float32)).any()


def test_a_unit_is_undone_with_its_rounding():
    x = SETS["digits"].astype(np.float32)
    half = len(x) // 2
    other = (x[half - COPIES :] / 16).round(3).astype(np.float32)
    found = near_copies.found(other, x[:half], np.full(64, 16.0))
    np.testing.assert_array_equal(found, np.arange(len(other)) < COPIES)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 64)) * (np.arange(64) < 40)
    pixels[:, 30:40] *= np.random.default_rng(1).random((300, 10)) < 0.02  # seldom used: windows were as wide as all
    found = near_copies.found((pixels[100:] / 255).astype(np.float32), pixels[:200], np.full(64, 255.0))
    np.testing.assert_array_equal(found, np.arange(200) < 100)
    signed = (x[half - COPIES :] / 8 - 1).astype(np.float32)
    found = near_copies.found(signed.reshape(-1, 8, 8), x[:half].reshape(-1, 8, 8), np.full(64, 8.0), 8.0)
    np.testing.assert_array_equal(found, np.arange(len(other)) < COPIES)


def test_whole_numbers_are_copies_only_where_they_are_equal():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (200, 4))
    assert not near_copies.found(x[100:], x[:100]).any()  # exact ones are told elsewhere
    x = rng.integers(0, 10**6, (200, 4)) + 0.0
    assert not near_copies.found(x + 1, x).any()


def test_where_many_records_are_alike_nothing_is_called_a_copy():
    """Two columns of one decimal: a third of them are equal to others, once the others are rounded. SIMULATED."""
    x = np.random.default_rng(0).normal(size=(4000, 2))
    assert not near_copies.found(x[2000:].round(1), x[:2000]).any()
    assert not near_copies.found(x[2000:].round(2), x[:2000]).any()


def test_missing_numbers_are_no_copies_and_constant_columns_no_hindrance():
    x = np.random.default_rng(0).normal(size=(60, 5))
    x[:, 2], x[:, 3] = 7.25, 0
    other = x[40:].round(4)
    other[0, 1] = np.nan
    np.testing.assert_array_equal(near_copies.found(other, x), np.arange(20) > 0)


def test_the_largest_number_of_a_column_does_not_tell_its_digits():
    """Scaled to [0, 1], a column has a single number from 1 on: it was taken for rounded to whole ones."""
    x = np.unique(datasets.load_iris().data, axis=0)
    x = ((x - x.min(axis=0)) / np.ptp(x, axis=0)).astype(np.float32)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(x))
        assert not near_copies.found(x[order[75:]], x[order[:75]]).any()


def test_a_column_of_one_number_does_not_tell_its_digits():
    x = standardized("wine")
    other, known = x[:40].round(4), x[:40].copy()
    other[:, 0], known[:, 0] = 1.0, 0.7
    assert not near_copies.found(other, known).any()
    known[:, 0] = 1.00004
    assert near_copies.found(other, known).all()
