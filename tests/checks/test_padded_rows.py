"""Rows of one model that are filled up or asked twice are named; honest files are not accused. All is simulated."""

import re

import numpy as np
import pytest
import test_slipped_members
import test_slipped_rows
import test_unlike_signals
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from test_slipped_members import CLASSES, N, P, Y, said

from mia_jax.audits.deployed import numbers
from mia_jax.checks.answers import padded_rows
from mia_jax.checks.signals import filled_signals

ONE = np.full(CLASSES, 1 / CLASSES)
HOLES = np.random.default_rng(0).random(N) < 0.02


def tail(share, how):
    def change(p, k=0):
        out, count = p.copy(), int(share * len(p))
        out[-count:] = {
            "last": lambda: p[-count - 1],
            "first": lambda: p[0],
            "before": lambda: p[-2 * count : -count],
            "start": lambda: p[:count],
            "one": lambda: np.eye(CLASSES)[0],
            "zero": lambda: 0 * p[0],
            "smallest": lambda: p.min(),
        }[how]()
        return out

    return change


PADDED = {
    "holes": (
        lambda p, k: np.where(HOLES[:, None], ONE, p),
        r"24 of 1,000 records \(rows 3, 11, 92, .*one and the same",
    ),
    "each class's mean": (
        lambda p, k: np.where(HOLES[:, None], np.stack([p[c == Y].mean(axis=0) for c in range(2)])[Y % 2], p),
        r"24 of 1,000 records \(rows 3, 11, 92, .*one of 2 answers",
    ),
    "each label": (
        lambda p, k: np.where(HOLES[:, None], np.eye(CLASSES)[Y], np.clip(p, 0.005, 0.98)),
        "of 1,000 records .*1 for one class and 0 for the others",
    ),
    "the last answer": (tail(0.02, "last"), r"21 of 1,000 records \(rows 979 to 999, .*one and the same answer"),
    "the first answer": (tail(0.01, "first"), r"10 of 1,000 records \(rows 990 to 999, .*one and the same answer"),
    "zeros": (tail(0.01, "zero"), r"rows 990 to 999, .*one and the same answer"),
    "sure of class 0": (tail(0.05, "one"), r"rows 950 to 999, .*one and the same answer"),
    "the batch before": (tail(0.02, "before"), r"rows 980 to 999, .*the answers of the rows 20 before"),
    "from the start": (tail(0.02, "start"), r"rows 980 to 999, .*the answers of the rows 980 before"),
}


@pytest.mark.parametrize("case", PADDED)
@pytest.mark.parametrize(("model", "whose"), [(0, "the target"), (4, r"shadow 3 \(counted from 0\)")])
def test_rows_of_one_model_that_are_filled_up_are_noted(case, model, whose):
    """Below 3 % of the records nothing was said."""
    change, words = PADDED[case]
    p = P.astype(np.float32)
    p[model] = change(p[model], model)
    found = said(p)
    assert not found.doubts
    [note] = found.notes
    assert re.search(f"Of {whose}, .*{words}.* Ask again", note), note


@pytest.mark.parametrize("how", ["before", "start", "smallest", "zero", "last"])
@pytest.mark.parametrize(("model", "whose"), [(0, "the target"), (4, r"shadow 3 \(counted from 0\)")])
def test_so_are_numbers(how, model, whose):
    """Numbers that repeat an earlier batch's were silent however many they were."""
    models, trained = test_unlike_signals.SQUARED.copy(), test_unlike_signals.TRAINED
    models[model] = tail(0.03, how)(models[model])
    [doubt] = numbers.remarks(models[0], models[1:], trained[1:], trained[0]).doubts
    assert re.search(f"Of {whose}, 2[45] of 800 records .rows 77[56] to 799, ", doubt), doubt


def test_few_numbers_that_are_filled_in_are_doubted():
    """Of 2 % of the records half are members: those that were new to the model were too few."""
    models, trained = test_unlike_signals.SQUARED.copy(), test_unlike_signals.TRAINED
    models[0] = np.where(np.random.default_rng(0).random(models.shape[1]) < 0.02, models[0].mean(), models[0])
    [doubt] = numbers.remarks(models[0], models[1:], trained[1:], trained[0]).doubts
    assert "recurs among the numbers of the target" in doubt


def orders(y, member, hard):
    rows = np.arange(len(y))
    return rows, np.argsort(~member, kind="stable"), np.argsort(y, kind="stable"), np.argsort(hard, kind="stable")


def test_sure_answers_in_a_file_in_order_are_no_padding():
    p = P.copy()
    p[0] = np.where(P[0].max(axis=1, keepdims=True) > 0.8, np.eye(CLASSES)[P[0].argmax(axis=1)], P[0])
    y = Y
    for order in orders(y, test_slipped_members.TRAINED[0], P[1:].mean(axis=0).max(axis=1)):
        assert padded_rows.of_answers(y[order], p[0, order], p[1:, order]) == ()


@pytest.mark.slow
def test_honest_files_are_not_accused():
    looked, found = 0, {}
    for name, make in test_slipped_rows.HONEST.items():
        for seed in range(10):
            told = make(seed)
            y, p = told["labels"], np.stack([told["target"], *told["shadows"]])
            hard = p[:, np.arange(len(y)), y].mean(axis=0)
            for k, order in enumerate(orders(y, told["member"], hard)):
                looked += 1
                who = np.vstack([told["member"], told["shadow_member"]])[:, order]
                if text := padded_rows.of_answers(y[order], p[0, order], p[1:, order], who):
                    found[name, seed, k] = text
    for make, first in ((test_unlike_signals.varied, 0), (test_unlike_signals.world, 20_000)):
        for seed in range(first, first + 300):
            models, trained = make(seed)
            for k, order in enumerate(orders(models[0], trained[0], models[1:].mean(axis=0))):
                for member in (trained[0][order], None):
                    given = models[:, order], trained[1:, order], member
                    looked += 1
                    if text := padded_rows.of_numbers(*given) or filled_signals.doubts(*given):
                        found[make.__name__, seed, k] = text
    assert looked > 5000 and found == {}, found


def test_votes_of_real_forests_are_no_padding_beside_a_calibrated_one():
    x, y = (each[:800] for each in load_digits(return_X_y=True))
    member = np.array([np.random.default_rng(k).random(800) < 0.5 for k in range(7)])
    votes = [RandomForestClassifier(30, random_state=k).fit(x[m], y[m]).predict_proba(x) for k, m in enumerate(member)]
    smooth = 0.9 * votes[0] + 0.01 + 1e-4 * np.random.default_rng(0).random((800, 10))
    for rounded in (*(np.round(votes, digits) for digits in (2, 3, 9)), np.float16(votes)):
        assert padded_rows.of_answers(y, smooth, rounded[1:], member) == ()
    sure = np.where(np.arange(800)[:, None] % 10 == 0, np.eye(10)[y], smooth)  # and these are no votes
    assert "1 for one class and 0" in padded_rows.of_answers(y, smooth, [sure], member[:2])[0]
