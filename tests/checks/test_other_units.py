"""Two files in different units are told, and files that merely differ are not. scikit-learn's data sets are real."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.checks.records import other_units

SETS = {
    name: getattr(datasets, f"load_{name}")(return_X_y=True) for name in ("iris", "wine", "breast_cancer", "digits")
}


def halves(x, seed=0):
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order[: len(x) // 2]].astype(float), x[order[len(x) // 2 :]].astype(float)


def found(mine, other):
    width = int(np.prod(mine.shape[1:]))
    return other_units.found(mine, other, [f"column {k}" for k in range(width)], ("mine.npz", "other.npz"))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("times", [10.0, 0.01, 1000.0])
def test_a_factor_of_all_columns_is_named(name, times):
    mine, other = halves(SETS[name][0])
    told = found(mine, other * times)
    words = f"about {times:g} times as large as" if times > 1 else f"about 1/{1 / times:g} of"
    move = f"Give it x {'/' if times > 1 else '*'} {max(times, 1 / times):g}:"
    assert f"The numbers of other.npz are {words} those of mine.npz" in told.note
    assert move in told.note
    np.testing.assert_allclose(told.scale, 1 / times)


def test_digits_of_0_to_1_beside_0_to_16_and_back():
    mine, other = halves(SETS["digits"][0].reshape(-1, 8, 8))
    smaller, larger = found(mine, other / 16), found(mine / 16, other)
    assert "about 1/16 of" in smaller.note and "x * 16" in smaller.note and set(smaller.scale) == {16}
    assert "from 0 to 1 in other.npz, and from 0 to 16 in mine.npz" in smaller.note
    assert "about 16 times as large" in larger.note and set(larger.scale) == {1 / 16}
    signed = found(mine, other / 8 - 1)
    assert "other.npz seems to be scaled to [-1, 1], and mine.npz not" in signed.note
    np.testing.assert_allclose(
        (other / 8 - 1).reshape(len(other), -1) * signed.scale + signed.offset, other.reshape(-1, 64)
    )


@pytest.mark.parametrize("name", SETS)
def test_standardized_numbers_beside_raw_ones_either_way(name):
    mine, other = halves(SETS[name][0])
    for who in (0, 1):
        both = [mine, other]
        sd = both[who].std(axis=0)
        both[who] = (both[who] - both[who].mean(axis=0)) / np.where(sd > 0, sd, 1)
        told = found(*both)
        names = ("mine.npz", "other.npz")
        assert told.note.startswith(f"{names[who]} seems to be standardized, and {names[1 - who]} not")
        assert "Scale the numbers of other.npz as those of mine.npz are" in told.note and told.scale is None


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_numbers_of_0_to_1_beside_raw_ones(name):
    x = SETS[name][0]
    mine, other = halves(x)
    told = found(mine, (other - x.min(axis=0)) / np.ptp(x, axis=0))
    assert "other.npz seems to be scaled to [0, 1], and mine.npz not" in told.note


def test_a_column_in_thousands_is_named_with_both_ranges():
    mine, other = halves(SETS["wine"][0])
    other[:, 12] /= 1000
    told = found(mine, other)
    assert told.note.startswith("A column of other.npz may be in another unit than in mine.npz: column 12 from 0.3")
    assert "about 1/1000 of it" in told.note and "in mine.npz" in told.note
    np.testing.assert_array_equal(told.scale, [1] * 12 + [1000])
    other[:, 4] *= 100
    assert "2 columns of other.npz" in found(mine, other).note


def honest(x, y, rng):
    """Pairs of records of one population, and of places that differ in a class or in a column."""
    for _ in range(3):
        yield np.split(rng.permutation(len(x)), 2) if len(x) % 2 == 0 else np.split(rng.permutation(len(x))[1:], 2)
        yield np.split(rng.permutation(len(x)), [25])
    for label in np.unique(y):
        yield np.flatnonzero(y == label), np.flatnonzero(y != label)
    for column in rng.permutation(x.shape[1])[:12]:
        low, high = np.quantile(x[:, column], (0.3, 0.7))
        yield np.flatnonzero(x[:, column] <= low), np.flatnonzero(x[:, column] > high)


def forms(x):
    """As they are, and as one scaler made both files."""
    sd, width = x.std(axis=0), np.ptp(x, axis=0)
    yield x
    yield (x - x.mean(axis=0)) / np.where(sd > 0, sd, 1)
    yield (x - x.min(axis=0)) / np.where(width > 0, width, 1)
    yield 2 * (x - x.min(axis=0)) / np.where(width > 0, width, 1) - 1


def simulated(name, rng, n=2000):
    """Heavy tails, counts, one-hot codes and constants: all SIMULATED."""
    if name == "heavy tails":
        return np.c_[rng.lognormal(2, 3, (n, 4)), rng.pareto(1, (n, 4))], rng.integers(0, 3, n)
    if name == "sparse counts":
        return rng.poisson(np.exp(rng.normal(-2, 1.5, (1, 60))) * rng.gamma(1, 1, (n, 1))), rng.integers(0, 3, n)
    if name == "bits":
        return (rng.random((n, 40)) < rng.beta(0.5, 3, (1, 40))).astype(np.uint8), rng.integers(0, 3, n)
    code = rng.integers(0, 12, n)
    return np.c_[np.eye(12)[code], np.ones(n), np.full(n, 7.5), np.zeros(n)], code % 3


@pytest.mark.parametrize(
    "name",
    [
        *list(SETS)[:-1],
        pytest.param("digits", marks=pytest.mark.integration),
        "heavy tails",
        "sparse counts",
        "bits",
        "one-hot and constants",
    ],
)
def test_nothing_is_said_of_records_that_differ_as_two_places_do(name):
    rng = np.random.default_rng(1)
    x, y = SETS[name] if name in SETS else simulated(name, rng)
    tried = 0
    for form in forms(np.asarray(x, float)):
        for a, b in honest(form, y, rng):
            for one, two in ((a, b), (b, a)):
                if min(len(one), len(two)) >= 20:
                    assert found(form[one], form[two]) is None
                    tried += 1
    assert tried > 50


def test_missing_numbers_empty_columns_and_few_records_are_let_pass():
    mine, other = halves(SETS["wine"][0])
    other[:, 0] = mine[:, 1] = np.nan
    other[::2, 3] = np.nan
    assert found(mine, other) is None
    assert found(mine[:19], 1000 * other) is None and found(mine, 1000 * other).note
