"""Shadows that know their own data and not the records in question."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from mia_jax.checks.records import unlike_records

X, Y = load_digits(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
ASKED, OTHER = ORDER[:900], ORDER[900:]
MEMBER = np.arange(900) < 450


def _found(change=lambda x, y: (x, y), asked=ASKED):
    target = RandomForestClassifier(20, random_state=0).fit(X[ASKED[MEMBER]], Y[ASKED[MEMBER]])
    x, y = change(X[OTHER], Y[OTHER])
    half, rest = np.arange(len(y)) % 2 == 0, np.arange(len(y)) % 2 == 1
    shadows = [RandomForestClassifier(20, random_state=k).fit(x[half], y[half]) for k in range(4)]
    own = np.mean([one.score(x[rest], y[rest]) for one in shadows])
    right = np.stack([one.predict(X[asked]) == Y[asked] for one in shadows])
    return unlike_records.found(Y[asked], target.predict(X[asked]) == Y[asked], right, float(own))


def test_shadow_data_of_the_same_kind_are_passed_over():
    assert _found() is None
    assert _found(lambda x, y: (x, np.where(np.arange(len(y)) % 5 == 0, (y + 1) % 10, y))) is None  # noisy labels


@pytest.mark.parametrize(
    "change, gross",
    [
        (lambda x, y: (x, np.array([1, 0, *range(2, 10)])[y]), False),  # nothing was said
        (lambda x, y: (x, np.array([3, 1, 2, 0, 4, 5, 9, 7, 8, 6])[y]), False),
        (lambda x, y: (x, (y + 1) % 10), True),
        (lambda x, y: (x[:, ::-1], y), True),
    ],
    ids=["two classes", "four classes", "all classes", "columns reversed"],
)
def test_classes_and_columns_of_another_order_are_told(change, gross):
    found = _found(change)
    assert found is not None and "classes numbered otherwise" in found.text and found.gross == gross


def test_records_of_another_kind_that_shadows_know_well_enough_are_passed_over():
    """Asked about the harder half: shadows are right less often, and not gravely so."""
    hard = ASKED[np.argsort(RandomForestClassifier(5, random_state=1).fit(X, Y).predict_proba(X[ASKED]).max(axis=1))]
    assert _found(asked=hard[:450]) is None
