"""Rows at the border between members and others that are marked wrongly are named; honest files are not."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.membership import run_ends
from mia_jax.checks.models.unlike_shadows import logits
from mia_jax.checks.signals import unlike_signals

X, Y = (each[np.random.default_rng(0).permutation(1797)[:600]] for each in load_digits(return_X_y=True))
N, HALF, SHADOWS = len(Y), 300, 8
KINDS = {
    "forest": lambda seed: RandomForestClassifier(40, random_state=seed),
    "trees": lambda seed: ExtraTreesClassifier(30, random_state=seed),
}


def answered(kind, trained, x=X, y=Y, seed=0):
    """Probabilities [n, 10] of a model that was trained on some of the records."""
    return KINDS[kind](seed).fit(x[trained], y[trained]).predict_proba(x)


@pytest.fixture(scope="module", params=KINDS)
def models(request):
    """Answers [1 + S, n, 10] and who trained them, bool [1 + S, n]: the target by the first half of the rows."""
    trained = np.array([np.random.default_rng(k).permutation(N) < HALF for k in range(1 + SHADOWS)])
    trained[0] = np.arange(N) < HALF
    return np.stack([answered(request.param, mine, seed=k) for k, mine in enumerate(trained)]), trained


def said(models, member, order=slice(None)):
    p, trained = models
    sure = logits(p[:, np.arange(N), Y])[:, order]
    return run_ends.doubts(sure[0], sure[1:], trained[1:, order], member[order])


@pytest.mark.parametrize("more", [30, 60])
def test_a_count_that_is_too_large_or_too_small_is_named(models, more):
    (doubt,) = said(models, np.arange(N) < HALF + more)
    assert "are answered by the target as records that are new to it" in doubt and f"to {HALF + more - 1})" in doubt
    (doubt,) = said(models, np.arange(N) < HALF - more)
    assert f"(rows {HALF - more} to " in doubt and "are answered by the target as its members are" in doubt
    assert "n_train was counted" in said(models, np.arange(N) < HALF + more, slice(None, None, -1))[0]  # others first


def test_honest_files_are_not(models):
    member = models[1][0]
    orders = {
        "as they came": np.arange(N),
        "by class": np.lexsort([Y, ~member]),
        "by hardness": np.lexsort([models[0][1:, np.arange(N), Y].mean(axis=0), ~member]),
        "drawn one by one": np.random.default_rng(0).permutation(N),
    }
    assert {name: said(models, member, order) for name, order in orders.items()} == dict.fromkeys(orders, ())


def test_an_audit_says_it_and_of_numbers_too():
    trained = np.array([np.random.default_rng(k).permutation(N) < HALF for k in range(1 + SHADOWS)])
    trained[0] = np.arange(N) < HALF
    p = np.stack([answered("forest", mine, seed=k) for k, mine in enumerate(trained)])
    member = np.arange(N) < HALF + 45  # 45 rows were dropped after they were counted
    place = r"the last 4\d of 345 rows \((rows 30\d to 344)\)"
    with pytest.warns(AnswersWarning, match=place):
        mia.audit(p[0], X, Y, member, shadows=(p[1:], trained[1:]), attacks="loss")
    (note,) = [note for note in mia.audit(p[0], X, Y, member, attacks="loss").notes if re.search(place, note)]
    assert note.endswith("Or these are harder records than the others.")
    sure = p[:, np.arange(N), Y]
    assert re.search(place, unlike_signals.doubts(sure[0], sure[1:], trained[1:], member)[0])
