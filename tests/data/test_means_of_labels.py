"""A column that holds the mean label of each of its values was encoded by all labels, non-members' too; it is told."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.data import oddities

SETS = [datasets.load_breast_cancer, datasets.load_wine, datasets.load_iris, datasets.load_digits]


def encoded(category, y):
    """The mean of y over the records of the same category, float32 [n]."""
    return (np.bincount(category, y) / np.maximum(np.bincount(category), 1))[category].astype(np.float32)


@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_told(classes):
    """Attacks found less without a word, for the labels of non-members were among x."""
    rng = np.random.default_rng(0)
    x, y, town = (
        rng.normal(size=(600, 4)).astype(np.float32),
        rng.integers(classes, size=600),
        rng.integers(80, size=600),
    )
    for of in (y, y == classes - 1):
        (said,) = oddities.notes(np.c_[x, encoded(town, of)], y, ["a", "b", "c", "d", "town_encoded"])
        assert said.startswith("Column town_encoded is, for each of its values, the mean of y")
        half = rng.random(600) < 0.5  # encoded by a half of the labels
        other = (np.bincount(town[half], of[half], 80) / np.maximum(np.bincount(town[half], minlength=80), 1))[town]
        assert oddities.notes(np.c_[x, other], y) == ()


@pytest.mark.parametrize("load", SETS)
def test_real_columns_are_not(load):
    x, y = load(return_X_y=True)
    for values in (x, np.round(x, 1), x / 16, (x - x.mean(0)) / np.maximum(x.std(0), 1)):
        assert not any("the mean of y" in said for said in oddities.notes(values.astype(np.float32), y))
