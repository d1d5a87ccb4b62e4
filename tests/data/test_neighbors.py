"""Near copies, and labels some rows away from their records, are noted, and honest sets are not."""

import numpy as np
import pytest
from sklearn import datasets

from mia_jax.data import neighbors

X, Y = datasets.load_digits(return_X_y=True)
RNG = np.random.default_rng(0)
ORDER = RNG.permutation(len(Y))
X, Y = X[ORDER], Y[ORDER]
IRIS, WINE, CANCER = (
    load(return_X_y=True) for load in (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer)
)
SORTED = np.argsort(Y, kind="stable")
HONEST = {
    "digits": (X, Y),
    "images": (X.reshape(-1, 8, 8), Y),
    "sorted by class": (X[SORTED], Y[SORTED]),
    "classes in turn": (
        X[np.argsort(np.arange(len(Y)) % 180, kind="stable")],
        Y[np.argsort(np.arange(len(Y)) % 180, kind="stable")],
    ),
    "iris": IRIS,
    "wine": WINE,
    "cancer": CANCER,
    "nothing to learn": (RNG.normal(size=(800, 5)), RNG.integers(0, 3, 800)),
    "in turn, nothing to learn": (RNG.normal(size=(800, 5)), np.arange(800) % 3),
    "noise": (X, np.where(RNG.random(len(Y)) < 0.4, RNG.integers(0, 10, len(Y)), Y)),
    "a walk": (np.cumsum(RNG.normal(size=(900, 4)), axis=0), np.arange(900) // 30 % 4),
    "few": (X[:70], Y[:70]),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_sets_are_passed_over(name):
    assert neighbors.notes(*HONEST[name]) == []


@pytest.mark.parametrize("by", [1, -1, 2, 3])
def test_labels_that_slipped_are_noted(by):
    """All models learned the pairs by heart, attacks told nearly all members, and nothing said so."""
    (said,) = neighbors.notes(X, np.roll(Y, by))
    assert (
        said is not None and f"{abs(by)} row" in said and ("down" if by > 0 else "up") in said and "in rows" not in said
    )
    lost = np.concatenate([Y[:900], np.roll(Y[900:], -1)])  # a label was lost in the middle
    assert "in rows 1078 to 1796" in neighbors.notes(X, lost)[0]
    assert neighbors.notes(X[:500], np.roll(Y[:500], by))


def test_what_cannot_be_told_is_passed_over():
    for x, y in ((None, Y), (np.zeros((len(Y), 0)), Y), (np.ones_like(X), Y), (X, Y / 10), (X, np.zeros(len(Y), int))):
        assert neighbors.notes(x, y) == []


# --- near copies -----------------------------------------------------------------------------------------------------

DIGITS = datasets.load_digits().data
SETS = {
    "digits": DIGITS,
    "iris": datasets.load_iris().data,
    "wine": datasets.load_wine().data,
    "cancer": datasets.load_breast_cancer().data,
    "diabetes": datasets.load_diabetes().data,
    "blobs": datasets.make_blobs(800, 6, centers=5, cluster_std=0.1, random_state=0)[0],
    "a curve in space": datasets.make_swiss_roll(800, noise=0.0, random_state=0)[0] @ RNG.normal(size=(3, 5)),
    "one number": np.linspace(0, 1, 900)[:, None] * np.arange(1, 6) + 1e-9,
    "heavy tails": RNG.standard_t(1.1, size=(900, 8)),
    "bits": (RNG.random((900, 40)) < 0.2).astype(np.uint8),
    "codes": RNG.integers(0, 3, (900, 5)),
    "images": RNG.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8),
    "exact copies": np.concatenate([DIGITS[:400], DIGITS[:400]]),
    "missing": np.where(RNG.random((900, 6)) < 0.2, np.nan, RNG.normal(size=(900, 6))),
}


@pytest.mark.parametrize("name", SETS)
def test_honest_sets_have_no_near_copies(name):
    assert neighbors.notes(SETS[name]) == []


@pytest.mark.parametrize("noise", [1e-6, 1e-4, 1e-3])
@pytest.mark.parametrize("times", [2, 5])
def test_augmented_copies_are_said(noise, times):
    """Of records that are there twice, with a little noise, attacks tell less than is right, and nothing said so."""
    some = DIGITS[:400]
    x = np.concatenate([some, *(some + RNG.normal(0, noise, some.shape) for _ in range(times - 1))])
    (said,) = neighbors.notes(x, member=RNG.random(len(x)) < 0.5)
    assert (
        said is not None
        and said.startswith("At least ")
        and int(said.removeprefix("At least ").partition("%")[0]) > 80
        and "saw both" in said
    )
    x = np.concatenate([DIGITS, DIGITS[:300] + RNG.normal(0, noise, (300, 64))]).reshape(-1, 8, 8)
    assert neighbors.notes(x)


def test_what_is_no_array_of_numbers_is_passed_over():
    for x in (None, np.zeros((100, 0)), np.array([["a", "b"]] * 100), DIGITS[:20]):
        assert neighbors.notes(x) == []


def test_windows_that_overlap_and_are_drawn_one_by_one_are_noted():
    """Nearly each non-member had a near twin among the members, and attacks found less without a word. SIMULATED."""
    series = np.random.default_rng(0).normal(size=(30, 40 * 4 + 64))
    x = np.array([[np.abs(np.fft.rfft(one[4 * k : 4 * k + 64]))[:24] for k in range(40)] for one in series])
    x, recording = x.reshape(-1, 24), np.repeat(np.arange(30), 40)
    each, whole = RNG.random(1200) < 0.5, np.isin(recording, RNG.permutation(30)[:15])
    (said,) = neighbors.notes(x, member=each)
    assert "one of the two before or after it in the file" in said and "Draw members by the recording" in said
    assert neighbors.notes(x, member=whole) == neighbors.notes(x) == []
    for name, (other, y) in HONEST.items():
        member = np.random.default_rng(1).random(len(y)) < 0.5
        assert neighbors.notes(other, y, member) == [] or name == "a walk"
