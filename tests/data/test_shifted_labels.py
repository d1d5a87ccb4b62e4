"""Labels some rows away from their records are noted, and honest sets are not."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.data import shifted_labels

X, Y = datasets.load_digits(return_X_y=True)
RNG = np.random.default_rng(0)
ORDER = RNG.permutation(len(Y))
X, Y = X[ORDER], Y[ORDER]
IRIS, WINE, CANCER = (
    load(return_X_y=True) for load in (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer)
)
SORTED = np.argsort(Y, kind="stable")
HONEST = {
    "digits": (X, Y),
    "images": (X.reshape(-1, 8, 8), Y),
    "sorted by class": (X[SORTED], Y[SORTED]),
    "classes in turn": (
        X[np.argsort(np.arange(len(Y)) % 180, kind="stable")],
        Y[np.argsort(np.arange(len(Y)) % 180, kind="stable")],
    ),
    "iris": IRIS,
    "wine": WINE,
    "cancer": CANCER,
    "nothing to learn": (RNG.normal(size=(800, 5)), RNG.integers(0, 3, 800)),
    "in turn, nothing to learn": (RNG.normal(size=(800, 5)), np.arange(800) % 3),
    "noise": (X, np.where(RNG.random(len(Y)) < 0.4, RNG.integers(0, 10, len(Y)), Y)),
    "a walk": (np.cumsum(RNG.normal(size=(900, 4)), axis=0), np.arange(900) // 30 % 4),
    "few": (X[:70], Y[:70]),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_sets_are_passed_over(name):
    assert shifted_labels.note(*HONEST[name]) is None


@pytest.mark.parametrize("by", [1, -1, 2, 3])
def test_labels_that_slipped_are_noted(by):
    """All models learned the pairs by heart: RMIA's AUC was .998 where .944 is right, and nothing said so."""
    said = shifted_labels.note(X, np.roll(Y, by))
    assert (
        said is not None and f"{abs(by)} row" in said and ("down" if by > 0 else "up") in said and "in rows" not in said
    )
    lost = np.concatenate([Y[:900], np.roll(Y[900:], -1)])  # a label was lost in the middle
    assert "in rows 1078 to 1796" in shifted_labels.note(X, lost)
    assert shifted_labels.note(X[:500], np.roll(Y[:500], by)) is not None


def test_what_cannot_be_told_is_passed_over():
    for x, y in ((None, Y), (np.zeros((len(Y), 0)), Y), (np.ones_like(X), Y), (X, Y / 10), (X, np.zeros(len(Y), int))):
        assert shifted_labels.note(x, y) is None
