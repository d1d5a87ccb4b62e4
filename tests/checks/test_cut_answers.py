"""Answers that all models cut at one value are noted; those of usual models are not."""

import numpy as np
import pytest
from scipy import special
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from mia_jax.checks.answers import cut_answers

X, Y = load_digits(return_X_y=True)
MEMBER = [np.random.default_rng(k).random(len(Y)) < 0.5 for k in range(3)]


def _answers(make):
    return np.stack([make(k).fit(X[mine], Y[mine]).predict_proba(X) for k, mine in enumerate(MEMBER)])


@pytest.fixture(scope="module")
def networks():
    return _answers(lambda k: MLPClassifier((32,), max_iter=60, tol=1e9, n_iter_no_change=40, random_state=k))


HONEST = {
    "forest": lambda k: RandomForestClassifier(20, random_state=k),
    "boosting": lambda k: GradientBoostingClassifier(n_estimators=5, max_depth=2, subsample=0.5, random_state=k),
    "logistic": lambda k: LogisticRegression(C=0.01, max_iter=300),
    "naive Bayes": lambda k: GaussianNB(),
    "neighbors": lambda k: KNeighborsClassifier(5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HONEST)
def test_usual_models_have_no_limit(kind):
    p = _answers(HONEST[kind])
    assert cut_answers.notes(p[0], p[1:]) == ()


@pytest.mark.parametrize("cut", [1e-2, 1e-3, 1e-4])
def test_cut_and_smoothed_answers_are_noted(networks, cut):
    """Clipped at .01 in all models, LiRA told far less than is right, and nothing said so."""
    assert cut_answers.notes(networks[0], networks[1:]) == ()
    clipped = np.clip(networks, cut, 1 - cut)
    for p in (clipped, clipped / clipped.sum(axis=2, keepdims=True), (1 - 10 * cut) * networks + cut):
        (said,) = cut_answers.notes(p[0], p[1:])
        assert "cut or smoothed at this value" in said


def test_what_knows_little_has_no_limit():
    p = special.softmax(0.02 * np.random.default_rng(0).normal(size=(3, 500, 10)), axis=2)
    assert cut_answers.notes(p[0], p[1:]) == ()
