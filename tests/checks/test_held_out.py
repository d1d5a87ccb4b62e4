"""Records that fit holds out, and that are marked as members, are told by answers, and by an estimator's settings."""

import functools

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.checks.membership import held_out

N, X, Y = 1000, *make_classification(1000, 20, n_informative=8, n_classes=4, flip_y=0.2, random_state=0)
MEMBER = np.array([np.random.default_rng(k).permutation(N) < N // 2 for k in range(9)])
KINDS = {
    "bags of three": lambda seed: BaggingClassifier(n_estimators=3, random_state=seed),
    "forests": lambda seed: RandomForestClassifier(20, random_state=seed),
    "many trees": lambda seed: RandomForestClassifier(60, min_samples_leaf=2, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(n_estimators=5, max_depth=5, random_state=seed),
    "trees": lambda seed: DecisionTreeClassifier(random_state=seed),
    "leaves of five": lambda seed: DecisionTreeClassifier(min_samples_leaf=5, max_features=4, random_state=seed),
    "neighbors": lambda seed: KNeighborsClassifier(5),
    "extra trees": lambda seed: ExtraTreesClassifier(50, random_state=seed),
    "neighbors by distance": lambda seed: KNeighborsClassifier(9, weights="distance"),
    "logistic": lambda seed: LogisticRegression(max_iter=500),
}


@functools.cache
def sure(kind):
    """Probabilities of the true class [K, n], of real models."""
    models = [KINDS[kind](k).fit(X[mine], Y[mine]) for k, mine in enumerate(MEMBER)]
    return np.stack([model.predict_proba(X)[np.arange(N), Y] for model in models])


def more(share):
    """Who is marked as a member, where so many of these are held out."""
    marked = MEMBER.copy()
    for k, mine in enumerate(MEMBER):
        extra = round(mine.sum() * share / (1 - share))
        marked[k, np.random.default_rng(k).choice(np.flatnonzero(~mine), extra, replace=False)] = True
    return marked


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_train_on_all_of_theirs(kind):
    assert held_out.notes(sure(kind), MEMBER) == ()


@pytest.mark.parametrize("share", [0.1, 0.25])
@pytest.mark.parametrize("kind", ["extra trees", "neighbors by distance"])
def test_records_that_are_marked_and_held_out(kind, share):
    """Attacks found less without a word: all models are alike in it."""
    (note,) = held_out.notes(sure(kind), more(share))
    assert note.startswith("About ") and "held out inside fit" in note
    assert 0.7 * share < float(note.split("%")[0].removeprefix("About ")) / 100 < 1.3 * share


def test_few_models_tell_nothing():
    assert held_out.notes(sure("extra trees")[:4], more(0.25)[:4]) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_records_that_trained_all_models(kind):
    """A core set that every training added to its rows lowered all numbers without a word."""
    core = np.random.default_rng(5).random(N) < 0.25
    models = [KINDS[kind](k).fit(X[mine | core], Y[mine | core]) for k, mine in enumerate(MEMBER)]
    said = held_out.unmoved(np.stack([m.predict_proba(X)[np.arange(N), Y] for m in models]), MEMBER)
    assert held_out.unmoved(sure(kind), MEMBER) == ()
    assert bool(said) == (kind in ("forests", "many trees"))  # others are sure of what they know, or remember little
    assert all("a core set that every training adds" in note for note in said)


SETTINGS = {
    "20%": HistGradientBoostingClassifier(early_stopping=True, validation_fraction=0.2),
    "10%": MLPClassifier(early_stopping=True),
    "25%": make_pipeline(StandardScaler(), MLPRegressor(early_stopping=True, validation_fraction=0.25)),
    "15%": GradientBoostingClassifier(n_iter_no_change=5, validation_fraction=0.15),
    "50": HistGradientBoostingClassifier(early_stopping=True, validation_fraction=50),
}


@pytest.mark.parametrize("share", SETTINGS)
def test_settings_of_estimators_say_it(share):
    (note,) = held_out.of_estimators(None, SETTINGS[share], None, 100)
    assert note.startswith(f"Each shadow holds out {share} of the records that are given to fit")
    (note,) = held_out.of_estimators(SETTINGS[share].fit, SETTINGS[share], np.arange(100) < 50, 100)
    assert note.startswith(f"The target and each shadow hold out {share} of")


def test_settings_that_hold_nothing_out():
    given = [MLPClassifier(), HistGradientBoostingClassifier(), GradientBoostingClassifier(), MLPClassifier, len, "nn"]
    assert all(held_out.of_estimators(one, one, None, 100) == () for one in given)
    assert held_out.of_estimators(None, HistGradientBoostingClassifier(), None, 30_000) != ()  # "auto"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_audit_says_it():
    trees = ExtraTreesClassifier(25, random_state=0).fit(X[MEMBER[0]], Y[MEMBER[0]])

    def fit(x, y, *, seed):
        kept = np.random.default_rng(seed).random(len(y)) < 0.75
        return ExtraTreesClassifier(25, random_state=seed).fit(x[kept], y[kept]).predict_proba

    found = mia.audit(trees.predict_proba, X, Y, more(0.25)[0], shadows=fit, num_shadows=10, attacks="loss")
    assert any("held out inside fit" in note for note in found.notes)
    stops = MLPClassifier((64,), max_iter=30, early_stopping=True).fit(X[MEMBER[0]], Y[MEMBER[0]])
    found = mia.audit(stops.predict_proba, X, Y, MEMBER[0], attacks="loss")
    assert any(note.startswith("The target holds out 10% of") for note in found.notes)
