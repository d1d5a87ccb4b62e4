"""Models that know their own records and guess on all others are told; models that learned anything are not."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

import mia_jax as mia
from mia_jax.checks.labels import by_heart


def trained(x, y, kind=RandomForestClassifier, models=5, seed=0):
    """What real models answer [K, n, c], and who trained them bool [K, n]."""
    member = np.array([np.random.default_rng(seed + k).permutation(len(y)) < len(y) // 2 for k in range(models)])
    make = {"random_state": 0, "n_estimators": 20} if kind is RandomForestClassifier else {"n_neighbors": 1}
    p = np.stack([kind(**make).fit(x[one], y[one]).predict_proba(x) for one in member])
    return p, member


@pytest.mark.parametrize("kind", [RandomForestClassifier, KNeighborsClassifier])
@pytest.mark.parametrize("how", ["shuffled", "sorted"])
def test_labels_that_are_not_beside_their_records(kind, how):
    """Numbers came as if nothing was wrong: each model knows its records, whatever their labels are."""
    x, y = load_digits(return_X_y=True)
    some = np.random.default_rng(1).permutation(len(y))[:800]  # digits come writer by writer
    x, y = x[some], y[some]
    assert by_heart.notes(y, *trained(x, y, kind)) == ()
    other = np.random.default_rng(0).permutation(y) if how == "shuffled" else np.sort(y)
    (said,) = by_heart.notes(other, *trained(x, other, kind))
    assert "no better than guessing" in said and "shuffled or sorted without the other" in said


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(k, marks=pytest.mark.integration) for k in range(3, 20))])
def test_tasks_that_are_hard_but_no_guesses(seed):
    """SIMULATED: some of the labels are noise, of few records and several numbers of classes."""
    classes = (2, 3, 10)[seed % 3]
    x, y = make_classification(
        600, 20, n_informative=8, n_classes=classes, n_clusters_per_class=1, flip_y=0.5, random_state=seed
    )
    assert by_heart.notes(y, *trained(x, y, seed=seed)) == ()


def test_too_few_records_tell_nothing():
    """SIMULATED: what is new of thirty records of ten classes is guessed by any model, or nearly."""
    rng = np.random.default_rng(0)
    y, member = rng.integers(10, size=30), rng.random((5, 30)) < 0.5
    guessed = np.eye(10)[np.where(member, y, rng.integers(10, size=(5, 30)))]
    assert by_heart.notes(y, guessed, member) == ()
    assert by_heart.notes(np.tile(y, 20), np.tile(guessed, (20, 1)), np.tile(member, 20)) != ()


def test_audit_says_it():
    x, y = load_digits(return_X_y=True)
    x, y = x[:600], np.random.default_rng(0).permutation(y[:600])
    p, member = trained(x, y, models=9)
    shadows = {"shadows": p[1:], "shadow_member": member[1:]}
    found = mia.audit(p[0], x, y, member[0], shadows=shadows, attacks="loss")
    assert sum("no better than guessing" in note for note in found.notes) == 1
