"""Labels that are not those of the training are noted; honest files are not accused. Most data is simulated."""

import re

import numpy as np
import pytest
import test_exchanged_columns
import test_slipped_rows
from scipy import special
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from test_slipped_members import CLASSES, TRAINED, N, P, Y, said, world

from mia_jax.checks.labels import other_labels
from mia_jax.plans import membership

DRAWN = np.random.default_rng(2).random(N)


def test_some_labels_of_another_version_are_noted():
    """LiRA's AUC fell from .745 to .732 and RMIA's from .819 to .707, without a word."""
    [note] = said(y=np.where(DRAWN < 0.15, (Y + 1) % CLASSES, Y)).notes
    assert re.search(r"trained on \d+ of 1,000 records \(rows .* not those of the training .noise", note), note


def test_labels_that_are_in_part_the_answers_of_the_target_are_noted():
    [note] = said(y=np.where(DRAWN < 0.2, P[0].argmax(axis=1), Y)).notes
    assert re.search(r"trained on \d\d of 1,000 records \(rows .* its own answers", note), note


def test_labels_that_are_the_answers_of_a_shadow_are_doubted():
    """RMIA's AUC on a file of three classes fell from .723 to .528, without a word."""
    [doubt] = said(y=P[4].argmax(axis=1)).doubts
    assert re.search(r"Shadow 3 .counted from 0. is right on all 500 .* labels are its own answers", doubt), doubt


def test_noise_that_models_learned_is_none():
    """Labels that were wrong before the training are those of the training."""
    drawn = np.random.default_rng(3)
    wrong = np.where(DRAWN < 0.15, (Y + 1) % CLASSES, Y)
    z = 1.2 * drawn.normal(size=P.shape) + np.eye(CLASSES)[Y] * 2.5
    z += np.eye(CLASSES)[wrong] * (3.0 * TRAINED)[..., None]
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    assert other_labels.notes(wrong, p[0], p[1:], TRAINED[1:], TRAINED[0], membership.related(TRAINED)) == ()


def notes(y, p, trained):
    return other_labels.notes(y, p[0], p[1:], trained[1:], trained[0], membership.related(trained))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("seed", [1, 2])
def test_labels_that_were_cleaned_after_a_short_training_are_noted(seed):
    """Real digits: few records are contradicted, and only all of them together tell it."""
    rng, n, models = np.random.default_rng(seed), 500, 13
    x, y = load_digits(return_X_y=True)
    rows = rng.permutation(len(y))[:n]
    x, clean = x[rows] / 16, y[rows]
    noisy = np.where(rng.random(n) < 0.1, rng.integers(10, size=n), clean)
    trained = np.array([rng.permutation(n) < n // 2 for _ in range(models)])
    p = []
    for k, mine in enumerate(trained):
        network = MLPClassifier((128,), batch_size=n // 2, learning_rate_init=5e-3, max_iter=60, random_state=k)
        p.append(network.fit(x[mine], noisy[mine]).predict_proba(x))
    (said,) = notes(clean, np.stack(p), trained)
    assert "they are not those of the training (noise that came later" in said
    assert notes(noisy, np.stack(p), trained) == ()


@pytest.mark.slow
def test_honest_files_are_not_accused():
    looked, found = 0, {}
    for name, make in test_slipped_rows.HONEST.items():
        for seed in range(20):
            told = make(seed)
            looked += 1
            p, trained = (
                np.stack([told["target"], *told["shadows"]]),
                np.vstack([told["member"], told["shadow_member"]]),
            )
            if text := notes(told["labels"], p, trained):
                found[name, seed] = text
    for seed in range(300):
        y, trained, p = world(seed, hardness=(0.3, 1.0, 2.0)[seed % 3], memory=(0.0, 0.5, 2.2, 4.0)[seed % 4])
        looked += 1
        if text := notes(y, p, trained):
            found["world", seed] = text
    assert looked > 900 and found == {}, found


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize(("rate", "epochs"), [(0.02, 2), (0.1, 3), (0.1, 30), (0.3, 60)])
def test_nor_are_networks_that_learned_real_digits(rate, epochs, noise):
    """Some of whose labels were wrong before the training."""
    for seed in range(0, 300, 100):
        drawn = np.random.default_rng(seed)
        right = test_exchanged_columns.DIGITS
        y = np.where(drawn.random(len(right)) < noise, drawn.integers(10, size=len(right)), right)
        made = [test_exchanged_columns.trained(seed + k, rate, epochs, y) for k in range(9)]
        p, trained = (np.stack(each) for each in zip(*made, strict=True))
        assert notes(y, p, trained) == ()


def test_labels_that_were_cleaned_are_told_where_many_records_are_hard():
    """SIMULATED: new models contradict 40 % of the labels, and 10 % are not those of the training."""
    rng, (n, models, classes) = np.random.default_rng(0), (1000, 13, 4)
    y, hard = rng.integers(0, classes, n), rng.random(n) < 0.45
    learned = np.where(rng.random(n) < 0.1, (y + rng.integers(1, classes, n)) % classes, y)
    who = np.array([rng.permutation(n) < n // 2 for _ in range(models)])
    logits = rng.normal(0, 3.0, (models, n, classes))
    logits[:, np.arange(n), y] += np.where(hard, -1.5, 3.0)  # of which records tell, whatever is learned
    logits[:, np.arange(n), learned] += 5.0 * who
    p = special.softmax(logits, axis=2)
    related = np.eye(models, dtype=bool)
    assert other_labels.notes(learned, p[0], p[1:], who[1:], who[0], related) == ()
    (said,) = other_labels.notes(y, p[0], p[1:], who[1:], who[0], related)
    told = int(said.split(" of 1,000 records")[0].split()[-1])
    assert abs(told - (learned != y).sum()) < 25
