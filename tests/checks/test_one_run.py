"""Checkpoints of one run, given for several runs, are doubted; runs are not, in whatever order."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import mia_jax as mia
from mia_jax.checks import one_run

X, Y = load_digits(return_X_y=True)
X = X / 16
KEPT, ASKED = slice(0, 400), slice(400, 500)


def network(seed, epochs):
    """What a real network answers [8, n, c] after each of its last eight epochs."""
    model, answers = MLPClassifier((32,), random_state=seed, learning_rate_init=0.01), []
    for _ in range(epochs):
        answers = [*answers[-7:], model.partial_fit(X[KEPT], Y[KEPT], classes=np.arange(10)).predict_proba(X[ASKED])]
    return np.stack(answers)


RUNS = np.stack([network(seed, 30)[-1] for seed in range(16)])
ONE = network(100, 30)
HALF = np.array([np.random.default_rng(k).random(100) < 0.5 for k in range(4)])
FORGOTTEN = np.stack([HALF, ~HALF], axis=1).reshape(8, 100)


def test_retrained_checkpoints_are_doubted():
    """Models that unlearned perfectly were told from them, for they are more alike than runs are, without a word."""
    assert mia.unlearning(RUNS[:8], RUNS[8:], Y[ASKED], forgotten=FORGOTTEN).doubts == ()
    (doubt,) = mia.unlearning(RUNS[:8], ONE, Y[ASKED], forgotten=FORGOTTEN).doubts
    assert doubt.startswith("Each of the retrained models is most like the next") and "checkpoints of one run" in doubt
    (doubt,) = mia.unlearning(ONE, RUNS[8:], Y[ASKED]).doubts
    assert doubt.startswith("Each of the unlearned models is most like the next")


@pytest.mark.parametrize("models", [6, 8, 16])
def test_runs_are_not(models):
    for seed in range(100):  # SIMULATED: models that differ in all, and runs of which some are of another kind
        rng = np.random.default_rng(seed)
        signals = rng.normal(size=100) * 3 + rng.normal(size=(models, 100)) + rng.normal(size=(models, 1))
        assert one_run.doubts(signals, "retrained") == ()
        odd = rng.normal(size=100) * (rng.random((models, 1)) < 0.3)
        assert one_run.doubts(signals + 2 * odd, "retrained") == ()


def test_few_models_tell_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one_run.doubts(np.cumsum(np.ones((5, 100)), axis=0), "retrained") == ()
        assert one_run.doubts(np.ones((8, 100)), "retrained") == ()
