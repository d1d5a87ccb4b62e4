"""A target behind whose address two models answer is told by the numbers of their answers."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.answers import two_models

X, Y = (each[:900] for each in load_digits(return_X_y=True))
X = X / 16
TRAINED = np.array([np.random.default_rng(k).permutation(900) < 450 for k in range(9)])
OWN = np.arange(900)


def forest(trees, depth=None):
    """Probabilities [K, n, 10]."""
    models = (RandomForestClassifier(trees, max_depth=depth, random_state=k) for k in range(9))
    return np.stack([model.fit(X[rows], Y[rows]).predict_proba(X) for model, rows in zip(models, TRAINED, strict=True)])


@pytest.fixture(scope="module")
def votes():
    return {trees: forest(trees) for trees in (100, 256)}


def fallback(p, share):
    old = LogisticRegression(C=0.01, max_iter=500).fit(X[::7], Y[::7]).predict_proba(X)
    return np.where((np.random.default_rng(0).random(900) < share)[:, None], old, p)


@pytest.mark.parametrize("trees", [100, 256])
@pytest.mark.parametrize("share", [0.25, 0.6])
def test_a_fallback_among_votes_is_named(votes, trees, share):
    """Attacks found less, and shadows were said to be unlike the target."""
    p = votes[trees]
    target = fallback(p[0], share)
    (note,) = two_models.notes(target[OWN, Y], p[1:, OWN, Y])
    assert "two models seem to answer (a fallback, an older version, an experiment)" in note
    assert two_models.notes(np.float32(target[OWN, Y]), p[1:, OWN, Y]) == (note,)
    assert two_models.notes(p[0, OWN, Y], p[1:, OWN, Y]) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswersWarning)  # where many answers are the other's
        report = mia.audit(target, X, Y, TRAINED[0], shadows=(p[1:], TRAINED[1:]), attacks="loss")
    assert note in (*report.results.get("doubts", ()), *report.notes)


def test_leaves_that_are_mixed_and_few_answers_are_no_second_model(votes):
    shallow = forest(100, 10)
    assert 0.1 < two_models._coarse(shallow[0, OWN, Y], 1000) < 0.9
    assert two_models.notes(shallow[0, OWN, Y], shallow[1:, OWN, Y]) == ()
    p = votes[100]
    target = fallback(p[0], 0.4)
    assert two_models.notes(target[:40, 0], p[1:, :40, 0]) == ()
    assert two_models.notes(target[OWN, Y], p[1:, OWN, Y][:0]) == ()
    smooth = np.stack(
        [LogisticRegression(C=0.01, max_iter=500).fit(X[rows], Y[rows]).predict_proba(X) for rows in TRAINED]
    )
    assert two_models.notes(smooth[0, OWN, Y], smooth[1:, OWN, Y]) == ()
    assert two_models.notes(np.round(smooth[0, OWN, Y], 4), smooth[1:, OWN, Y]) == ()  # a tenth end with 0
