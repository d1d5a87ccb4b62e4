"""Columns and classes in another order are told, those of other places are not. scikit-learn's data sets are real."""

import numpy as np
import pytest
from sklearn import datasets
from test_other_units import halves, honest

from mia_jax.checks.records import other_order

SETS = {
    name: getattr(datasets, f"load_{name}")(return_X_y=True) for name in ("iris", "wine", "breast_cancer", "digits")
}
CALLED = ("mine.npz", "other.npz")


def columns(mine, other):
    return other_order.of_columns(mine, other, [f"column {k}" for k in range(mine.shape[1])], CALLED)


@pytest.mark.parametrize("name", ["iris", "wine"])
@pytest.mark.parametrize("order", ["backward", "shifted"])
def test_columns_in_another_order_are_named(name, order):
    mine, other = halves(SETS[name][0])
    moved = other[:, ::-1] if order == "backward" else np.roll(other, 1, axis=1)
    told = columns(mine, moved)
    assert told.startswith("The columns of other.npz seem to be in another order than in mine.npz: what is column 0 in")
    last = mine.shape[1] - 1 if order == "backward" else 1
    assert f"column 0 in mine.npz is in the place of column {last}" in told and columns(mine, other) is None


@pytest.mark.parametrize("name", SETS)
def test_classes_that_are_numbered_otherwise_are_named(name):
    x, y = SETS[name]
    classes = y.max() + 1
    order = np.random.default_rng(0).permutation(len(y))
    one, two = order[: len(y) // 2], order[len(y) // 2 :]
    told = other_order.of_classes((x[one], y[one]), (x[two], (y[two] + 1) % classes), CALLED)
    assert f"numbered otherwise than those of mine.npz: class 0 is as {classes - 1} there" in told
    assert other_order.of_classes((x[one], y[one]), (x[two], y[two]), CALLED) is None
    some = np.where(y == classes - 1, y, 0)  # no class but one is in both files
    assert other_order.of_classes((x[one], y[one]), (x[two], some[two]), CALLED) is None


@pytest.mark.parametrize("name", [*list(SETS)[:-1], pytest.param("digits", marks=pytest.mark.integration)])
def test_nothing_is_said_of_records_that_differ_as_two_places_do(name):
    rng, (x, y) = np.random.default_rng(1), SETS[name]
    tried = 0
    for a, b in honest(x, y, rng):
        for one, two in ((a, b), (b, a)):
            if min(len(one), len(two)) >= 20:
                assert columns(x[one], x[two]) is None
                assert other_order.of_classes((x[one], y[one]), (x[two], y[two]), CALLED) is None
                tried += 1
    assert tried > 20
