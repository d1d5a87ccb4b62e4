"""Classes whose members, or one side's rows, slipped in part: each is named, and honest files are not. Simulated."""

import re

import numpy as np
import pytest

from mia_jax.audits.deployed import answer_formats, remarks
from mia_jax.audits.deployed.given_answers import Answered

N, SHADOWS, CLASSES = 1000, 8, 5


def world(seed=0, hardness=1.0, memory=2.2):
    """Honest answers of softmaxes whose logits know the class, and the members better: y, who trained whom, answers."""
    drawn = np.random.default_rng(seed)
    y = drawn.integers(CLASSES, size=N)
    trained = np.array([drawn.permutation(N) < N // 2 for _ in range(SHADOWS + 1)])
    hard = hardness * drawn.normal(size=N)
    z = 1.2 * drawn.normal(size=(SHADOWS + 1, N, CLASSES)) + drawn.normal(size=(N, CLASSES))
    z += np.eye(CLASSES)[y] * (2.5 - hard + memory * trained)[..., None]
    p = np.exp(z)
    return y, trained, p / p.sum(axis=-1, keepdims=True)


Y, TRAINED, P = world()
BY_ONE = np.arange(N)
BY_ONE[400:600] = np.roll(BY_ONE[400:600], 1)
LAST = np.minimum(np.arange(N), 899)


def said(p=P, member=TRAINED[0], trained=TRAINED[1:], y=Y):
    p = np.asarray(p, np.float32)
    formats = answer_formats.of_saved(p[0], p[1:])
    return remarks.of_saved(Answered(y, p[0], p[1:]), trained, member, formats, copies=np.arange(N))


def changed(which, change):
    out = P.copy()
    for k in which:
        out[k] = change(P[k], k)
    return out


def side(of):
    def change(p, k):
        rows, out = np.flatnonzero(TRAINED[k] == of), p.copy()
        out[rows] = p[np.random.default_rng(k).permutation(rows)]
        return out

    return change


def twice(p, k):
    return np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)


ALL, HALF, EACH = range(SHADOWS + 1), range(1, 5), range(1, SHADOWS + 1)
DOUBTS = {
    "a block of member": (
        dict(member=TRAINED[0][BY_ONE]),
        "In rows [34].. to [56].. .* the target goes with member of the record after each",
    ),
    "a block of shadow_member": (
        dict(trained=TRAINED[1:, BY_ONE]),
        "In rows [34].. to [56].. .* the shadows go with .* record after each",
    ),
    "the target's members shuffled": (
        dict(p=changed([0], side(True))),
        "The target is right on 2.*% of its said members, no better than guessing.* order of its members' rows",
    ),
    "its others shuffled": (
        dict(p=changed([0], side(False))),
        "The target is right on 2.*% of its said non-members, no better than guessing, and on 9.*% of its members",
    ),
    "shadows' members shuffled": (
        dict(p=changed(EACH, side(True))),
        "Each shadow is right on 2.*% of its said members, .*the target knows such records",
    ),
    "member inverted": (dict(member=~TRAINED[0]), "member seems to be inverted"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_slipped_is_doubted(case):
    given, words = DOUBTS[case]
    [text] = said(**given).doubts
    assert re.search(words, text), text


NOTES = {
    "the last row repeated in all models": (
        dict(p=P[:, LAST]),
        "Target and shadows give 101 of 1,000 records .rows 899 to 999, .*though the records differ: padding",
    ),
    "the last row repeated in half of the shadows": (
        dict(p=changed(HALF, lambda p, k: p[LAST])),
        "Of shadows 0, 1, 2, 3 .* 101 of 1,000 records .rows 899 to 999",
    ),
    "a batch twice in half of the shadows": (
        dict(p=changed(HALF, lambda p, k: np.concatenate([p[:800], p[736:]])[:N])),
        "Of shadows 0, 1, 2, 3 .* 64 of 1,000 records .rows 800 to 863, .* rows 64 before",
    ),
    "labels for probabilities in the target": (
        dict(p=changed([0], lambda p, k: np.eye(CLASSES)[p.argmax(axis=1)])),
        "The target answers with labels alone .*, and the shadows do not: .*save these",
    ),
    "labels for probabilities in all models": (
        dict(p=changed(ALL, lambda p, k: np.eye(CLASSES)[p.argmax(axis=1)])),
        "Target and shadows answer with labels alone .*save these",
    ),
    "a softmax twice in one shadow": (
        dict(p=changed([2], twice)),
        r"The answers of shadow 1 \(counted from 0\) look like a softmax of prob.*z = np.log\(shadows\[1\]\)",
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_is_odd_is_noted(case):
    given, words = NOTES[case]
    found = said(**given)
    assert not found.doubts and re.search(words, found.notes[0]), found


def test_the_advice_on_a_softmax_of_probabilities_gives_probabilities():
    z = np.log(np.asarray(twice(P[2], 2), np.float32))
    back = np.clip(z + (1 - z.sum(-1, keepdims=True)) / CLASSES, 0, 1)
    assert back.min() >= 0 and np.abs(back - P[2]).max() < 1e-5
    assert said(changed([2], lambda p, k: back)) == said()


def test_honest_answers_are_not_accused():
    assert said() == remarks.Remarks((), ())


@pytest.mark.slow
def test_of_200_honest_files_none_is_doubted():
    found = {}
    for seed in range(200):
        y, trained, p = world(seed, hardness=(0.3, 1.0, 2.0)[seed % 3], memory=(0.0, 0.5, 2.2, 4.0)[seed % 4])
        for order in (np.arange(N), np.argsort(y, kind="stable"), np.argsort(p[0].max(axis=1))):
            if doubts := said(p[:, order], trained[0][order], trained[1:, order], y[order]).doubts:
                found[seed, int(order[0])] = doubts
    assert found == {}, found
