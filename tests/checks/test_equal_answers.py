"""Answers that are equal bit by bit: fallbacks, rows never filled in, buffers, copies; and leaves, votes and bounds."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from mia_jax.audits.deployed import infer, remarks
from mia_jax.audits.deployed.answer_formats import of_saved
from mia_jax.checks.answers import equal_answers
from mia_jax.checks.models import temperatures

N, SHADOWS = 600, 6
X, Y = make_classification(N, 12, n_informative=6, n_redundant=0, n_classes=4, flip_y=0.15, random_state=0)
KINDS = {
    "forest": lambda seed: RandomForestClassifier(20, random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "leaves of five": lambda seed: DecisionTreeClassifier(min_samples_leaf=5, random_state=seed),
    "eight leaves": lambda seed: DecisionTreeClassifier(max_leaf_nodes=8, random_state=seed),
    "neighbors": lambda seed: KNeighborsClassifier(5),
    "Bayes": lambda seed: GaussianNB(),
}


def models(kind, x=X, y=Y):
    """Who trained on what [S + 1, n], and probabilities [S + 1, n, c]."""
    rng = np.random.default_rng(1)
    member = np.array([rng.permutation(len(y)) < len(y) // 2 for _ in range(SHADOWS + 1)])
    return member, np.stack([KINDS[kind](k).fit(x[m], y[m]).predict_proba(x) for k, m in enumerate(member)])


@pytest.fixture(scope="module")
def forests():
    return models("forest")


def doubts(member, p, y=Y):
    known = of_saved(p[0], p[1:])
    asked = infer.Answered(y, p[0], p[1:])
    return tuple(remarks.of_saved(asked, member[1:], member[0], known))


def test_rows_that_were_never_filled_in(forests):
    """150 of 600 rows uniform: LiRA .81 instead of .964, without a word."""
    member, p = forests[0], forests[1].copy()
    p[0][450:] = 0.25
    (doubt,), _ = doubts(member, p)
    assert "of 600 records (rows 450 to 599, counted from 0, among them) have one and the same answer" in doubt
    p[1:, 450:] = 0.25  # shadows answer so, too
    assert equal_answers.of_answers(Y, p[0], p[1:]) is None


def test_a_fallback_of_an_overloaded_service(forests):
    """The class prior for two of five records, wherever they are."""
    member, p = forests[0], forests[1].copy()
    which = np.random.default_rng(0).permutation(N) < 240
    p[0][which] = [0.31, 0.27, 0.22, 0.2]
    (doubt, *_), _ = doubts(member, p)
    said = "240 of 600 records (rows 1, 3, 4, 5, 8, 9, 11, 13, ..., counted from 0) have one and the same answer of"
    assert doubt.startswith(f"{said} the target, bit by bit, and no shadow")


def test_a_buffer_names_its_rows(forests):
    member, p = forests[0], forests[1].copy()
    p[0] = p[0][np.arange(N) % 128]
    (doubt, *_), _ = doubts(member, p)
    assert "to the record 128 rows before" in doubt and "a buffer of 128 rows" in doubt


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_leaves_votes_and_rare_classes_are_no_faults(kind, classes):
    y = Y if classes == 4 else (X[:, 0] > 2).astype(int)  # 3 % of class 1
    _, p = models(kind, y=y)
    assert equal_answers.of_answers(y, p[0], p[1:]) is None and equal_answers.copies(p[0], p[1:]) is None
    cut = p[0].clip(0.01, 0.99)  # many have the bound then, and shadows do not
    assert equal_answers.of_answers(y, cut / cut.sum(axis=1, keepdims=True), p[1:]) is None


@pytest.mark.parametrize("kind", ["eight leaves", "leaves of five"])
def test_a_tree_among_networks_is_no_fault(kind, forests):
    _, p = models(kind)
    soft = 0.9 * forests[1][1:] + 0.1 * np.random.default_rng(0).dirichlet(np.ones(4), forests[1][1:].shape[:2])
    assert equal_answers.of_answers(Y, p[0], soft) is None


@pytest.mark.parametrize("fault", [None, "fallback", "buffer", "copies"])
def test_a_service(fault, forests):
    """Its shadows are asked about other records, and only their losses are known."""
    p, record = forests[1].copy(), np.arange(N)
    if fault == "fallback":
        p[0][150:] = [0.31, 0.27, 0.22, 0.2]
    if fault == "buffer":
        p[0] = p[0][np.arange(N) % 128]
    if fault == "copies":  # the file's own records repeat
        record = record % 128
        p[0] = p[0][record]
    own, *each = (
        equal_answers.from_losses(temperatures.losses(np.log(np.maximum(q, 1e-9)), Y), temperatures.STEPS.index(1.0))
        for q in p
    )
    found = equal_answers.of_service(Y, p[0], own, each, record, slice(None))
    if fault in (None, "copies"):
        assert found is None
    else:
        assert {"fallback": "450 of 600 records (rows 150", "buffer": "a buffer of about 128 rows"}[fault] in found


def test_copies_are_seen_in_the_answers():
    """Every record twice, and rows were split: non-members that are copies of members, and no word."""
    member, p = models("forest", np.repeat(X[:300], 2, axis=0), np.repeat(Y[:300], 2))
    doubted, (note,) = doubts(member, p, np.repeat(Y[:300], 2))
    count = int(note.split()[0])
    assert not doubted and 400 <= count <= 600 and "of the non-members are copies of members" in note
    assert equal_answers.copies(p[0], p[1:2]) is None  # two models tell too little
