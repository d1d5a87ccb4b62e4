"""Embeddings in place of answers; and honest files with classes that no record has."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from mia_jax.audits.deployed import infer, remarks
from mia_jax.audits.deployed.answer_formats import of_saved
from mia_jax.checks.labels import no_classes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = (part[:800] for part in load_digits(return_X_y=True))


def models(epochs, count=7):
    """Who trained on what; embeddings [K, n, 32] after softmax, and answers [K, n, 32], 22 columns of no class."""
    rng = np.random.default_rng(0)
    member = np.stack([rng.permutation(len(Y)) < len(Y) // 2 for _ in range(count)])
    inner, answers = [], []
    for k, own in enumerate(member):
        net = MLPClassifier((32,), activation="tanh", max_iter=epochs, random_state=k).fit(X[own] / 16, Y[own])
        e = np.exp(np.tanh(X / 16 @ net.coefs_[0] + net.intercepts_[0]))
        inner.append(e / e.sum(axis=1, keepdims=True))
        answers.append(np.pad(net.predict_proba(X / 16), ((0, 0), (0, 22))) * 0.99 + 0.01 / 32)
    return member, np.stack(inner), np.stack(answers)


@pytest.mark.parametrize("epochs", [30, 150])
def test_embeddings_are_named_and_answers_with_more_columns_are_not(epochs):
    """Two shadows' columns were said to be about other classes."""
    member, inner, answers = models(epochs)
    given = member[1:], member[0]
    (said,) = no_classes.of_answers(Y, inner[0], inner[1:], *given)
    assert "Answers have 32 columns, the labels are 0 to 9, and no column goes with any label" in said
    assert no_classes.of_answers(Y, answers[0], answers[1:], *given) == ()
    moved = answers[:, :, np.random.default_rng(1).permutation(32)]  # all in one other order
    assert no_classes.of_answers(Y, moved[0], moved[1:], *given) == ()
    doubts, _ = remarks.of_saved(infer.Answered(Y, inner[0], inner[1:]), *given, of_saved(inner[0], inner[1:]))
    assert doubts == (said,)
