"""One number for each record of two classes: of class 1, of the record's own class, of the answer."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from mia_jax.checks.labels import own_class


def _answers(make, seed, balance=0.5, n=600):
    x, y = make_classification(n, 20, n_informative=8, flip_y=0.15, weights=[balance], random_state=seed)
    trained = np.random.default_rng(seed).random((5, n)) < 0.5
    p = np.stack([make(k).fit(x[mine], y[mine]).predict_proba(x) for k, mine in enumerate(trained)])
    return y, p, trained


def _said(y, of_class_1, trained):
    sure = np.where(y == 1, of_class_1, 1 - of_class_1)
    return own_class.doubts(y, sure, trained, 2)


def forest(seed):
    return RandomForestClassifier(20, min_samples_leaf=2, random_state=seed)


def network(seed):
    return MLPClassifier((32,), max_iter=150, random_state=seed)


def tree(seed):
    return DecisionTreeClassifier(max_depth=6, random_state=seed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [forest, tree])
def test_the_probability_of_the_own_class_is_named(make):
    """It was said that the labels are others than those of the training."""
    y, p, trained = _answers(make, 0)
    own = p[:, np.arange(len(y)), y]
    for given in (own, p.max(axis=2)) if make is forest else (own,):  # a tree is as sure of any answer
        [doubt] = _said(y, given, trained)
        assert "record's own class, or of the model's answer" in doubt
    assert _said(y, p[:, :, 1], trained) == ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("balance", "seed"),
    [
        *((0.5, 0), (0.1, 0), (0.9, 1)),  # the last one fails of linear models where APART is none
        *(pytest.param(*of, marks=pytest.mark.integration) for of in ((0.5, 1), (0.1, 1), (0.9, 0))),
    ],
)
@pytest.mark.parametrize("make", [forest, network, tree, lambda seed: LogisticRegression()])
def test_honest_models_are_not_doubted(make, balance, seed):
    """Models that hardly ever say a rare class are wrong on it, and yet surer of it where they trained on it."""
    y, p, trained = _answers(make, seed, balance)
    assert _said(y, p[:, :, 1], trained) == ()
    assert _said(y, p[:, :, 0], trained) == ()  # that is the other column: another check's


def test_models_that_only_know_one_class_are_not_doubted():
    """SIMULATED: all answers are class 1, a little less so for trained records of class 0."""
    rng = np.random.default_rng(0)
    y, trained = rng.integers(2, size=2000), rng.random((8, 2000)) < 0.5
    p = np.clip(0.8 + np.where(y == 1, 0.1, -0.1) * trained + 0.05 * rng.normal(size=trained.shape), 0.5, 1)
    assert _said(y, p, trained) == ()
