"""Members that an under-sampler inside fit drops from the larger classes are told by the answers of all models."""

import functools

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.checks.membership import dropped_members

N = 800
KINDS = {
    "forest": lambda seed: RandomForestClassifier(50, random_state=seed),
    "trees": lambda seed: ExtraTreesClassifier(30, random_state=seed),
    "neighbors": lambda seed: KNeighborsClassifier(3, weights="distance"),
}
OTHERS = {
    "weighed": lambda seed: RandomForestClassifier(50, class_weight="balanced", random_state=seed),
    "boosted": lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed),
    "network": lambda seed: MLPClassifier((64,), max_iter=80, random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "logistic": lambda seed: LogisticRegression(C=100, max_iter=300),
}


@functools.cache
def data(seed, classes=2):
    weights = [0.8] if classes == 2 else [0.55, 0.25, 0.12, 0.08]
    return make_classification(
        N, 20, n_informative=8, n_classes=classes, weights=weights, flip_y=0.1, random_state=seed
    )


def kept(y, rows, seed):
    """As many of each class as there are of the rarest."""
    rng = np.random.default_rng(seed)
    least = np.bincount(y[rows]).min()
    return np.concatenate([rng.choice(rows[y[rows] == c], least, replace=False) for c in np.unique(y[rows])])


def answers(kind, seed, classes=2, drop=True, models=9):
    """Labels [n], probabilities [K, n, c] and who was given to each fit, bool [K, n]."""
    x, y = data(seed, classes)
    rng, p = np.random.default_rng(seed), []
    member = np.array([rng.permutation(N) < N // 2 for _ in range(models)])
    for k, given in enumerate(member):
        rows = kept(y, np.flatnonzero(given), k) if drop else np.flatnonzero(given)
        p.append({**KINDS, **OTHERS}[kind](k).fit(x[rows], y[rows]).predict_proba(x))
    return y, np.stack(p), member


def said(kind, *args, **more):
    y, p, member = answers(kind, *args, **more)
    return dropped_members.notes(y, p[:, np.arange(N), y], member)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_under_samplers_are_named(kind, classes):
    (note,) = said(kind, 0, classes)
    assert "of the members of class 0" in note and f"those of class {classes - 1} are not: fit seems to drop" in note
    assert said(kind, 0, classes, drop=False) == ()


def test_an_audit_says_it():
    y, p, member = answers("forest", 1)
    x, _ = data(1)
    report = mia.audit(p[0], x, y, member[0], shadows=(p[1:], member[1:]), attacks="loss")
    assert [note for note in report.notes if "fit seems to drop records of larger classes" in note]


def test_few_records_and_one_class_say_nothing():
    y, p, member = answers("forest", 0)
    sure = p[:, np.arange(N), y]
    assert dropped_members.notes(np.zeros(N, int), sure, member) == ()
    assert dropped_members.notes(y[:60], sure[:, :60], member[:, :60]) == ()
    assert dropped_members.notes(y, sure, np.ones_like(member)) == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_honest_models_are_not_named(kind, classes):
    assert [said(kind, seed, classes, drop=False) for seed in range(10)] == [()] * 10
