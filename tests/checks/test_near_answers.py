"""Answers of other records that are near, of a cache of similar queries; and honest equal answers."""

import functools

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from mia_jax.checks.answers import equal_answers, near_answers
from mia_jax.checks.models import temperatures
from mia_jax.data import duplicates

KINDS = {
    "network": lambda k: MLPClassifier((32,), max_iter=20, random_state=k),
    "forest": lambda k: RandomForestClassifier(
        60, min_samples_leaf=2, bootstrap=False, max_features=0.2, random_state=k
    ),
    "ten trees": lambda k: RandomForestClassifier(10, random_state=k),
    "leaves": lambda k: DecisionTreeClassifier(min_samples_leaf=5, random_state=k),
    "neighbors": lambda k: KNeighborsClassifier(5),
    "linear": lambda k: LogisticRegression(max_iter=100),
}


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@functools.cache
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:900] / 16, y[:900]


def classes(count=4, near=0.0):
    x, y = make_classification(900, 12, n_informative=6, n_redundant=0, n_classes=count, flip_y=0.15, random_state=0)
    if near:  # each record twice, with a little noise
        x, y = np.repeat(x[:450], 2, 0) + near * np.random.default_rng(0).normal(size=x.shape), np.repeat(y[:450], 2)
    return x, y


def table():
    """Whole numbers and flags, many of which are near each other."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.integers(17, 80, 900), rng.integers(0, 7, 900), rng.integers(0, 2, (900, 4))].astype(float)
    return x, ((x[:, 0] > 45) + (x[:, 1] > 3) * 1).astype(int)


DATA = {
    "digits": digits,
    "numbers": classes,
    "two classes": lambda: classes(2),
    "near copies": lambda: classes(near=1e-4),
    "copies": lambda: tuple(np.concatenate([part[:450]] * 2) for part in classes()),
    "table": table,
}


@functools.cache
def answers(kind, data, count=3):
    (x, y), rng = DATA[data](), np.random.default_rng(1)
    rows = [rng.permutation(len(y))[: len(y) // 2] for _ in range(count)]
    return [KINDS[kind](k).fit(x[some], y[some]).predict_proba(x) for k, some in enumerate(rows)]


def cached(x, p, share=0.35, cosine=False):
    """Answers of a service that answers a record as the nearest earlier one, where that is near."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if cosine else x
    distance = cdist(x, x) + np.diag(np.full(len(x), np.inf))
    least, first, out = np.quantile(distance.min(axis=1), share), [], p.copy()
    for row in range(len(x)):
        nearest = min(first, key=lambda k: distance[row, k], default=None)
        if nearest is not None and distance[row, nearest] < least:
            out[row] = p[nearest]
        else:
            first.append(row)
    return out


def found(x, y, target, shadows):
    own, *each = (
        equal_answers.from_losses(temperatures.losses(np.log(np.maximum(p, 1e-9)), y), temperatures.STEPS.index(1.0))
        for p in (target, *shadows)
    )
    return near_answers.of_service(x, target, own, each, duplicates.groups(x), slice(None))


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("kind", ["linear", "network"])
def test_a_cache_of_similar_queries_is_named(kind, cosine):
    """Nothing was said, or that few should be asked about at a time, which does not help."""
    x, y = digits()
    target, *shadows = answers(kind, "digits")
    assert found(x, y, target, shadows) is None
    said = found(x, y, cached(x, target, cosine=cosine), shadows)
    assert "answers of other records that are near (a cache of similar queries)" in said
    assert "Switch the cache off, or ask the model behind it" in said


def test_shadows_that_answer_alike_as_often_are_no_sign():
    x, y = digits()
    target, *shadows = answers("network", "digits")
    assert found(x, y, cached(x, target), [cached(x, p) for p in shadows]) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", DATA)
def test_honest_services_are_not_accused(data, kind):
    """Also rounded, and beside shadows of another kind: 8 cases for each of 36."""
    x, y = DATA[data]()
    target, *shadows = answers(kind, data)
    others = answers("network" if kind != "network" else "linear", data)[:2]
    for beside in (shadows, others):
        for places in (16, 3, 2, 1):
            assert found(x, y, np.round(target, places), [np.round(p, places) for p in beside]) is None
