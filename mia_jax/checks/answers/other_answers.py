"""Whether a model in this process answers about a record as it did before: in another order, in another batch.

Dropout that was left on, statistics of the batch and augmentation make answers noisy, which hides what a model
remembers; a loader that shuffles gives each record another one's answer. NumPy; never imports jax.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mia_jax.types import Array

NOISE, RELATIVE = 1e-3, 0.1  # of a probability, and of its logarithm: more than another batch size changes
LEAST = 1e-6  # probabilities below it are not told apart
LOST = 0.5  # of the mean difference between records: answers so far from the first ones are about others
MOVES = "model.eval(), no shuffle in the loader, no augmentation, no encoder or scaler that is fitted in predict"


class Apart(NamedTuple):
    """How far answers are from those to the same question before."""

    most: float  # the largest difference of a probability; of numbers, in their standard deviations
    share: float  # the mean difference, as a share of that between records


class Remarks(NamedTuple):
    """What is said, in sentences."""

    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of_probabilities(first: Array, now: Array) -> Apart | None:
    """How far probabilities [r, c] are from those of before; None where rounding, or another batch size, can be why."""
    first, now = np.asarray(first, np.float64), np.asarray(now, np.float64)
    apart = np.abs(now - first)
    of_logarithms = np.abs(np.log(np.maximum(now, LEAST)) - np.log(np.maximum(first, LEAST)))
    return _apart(first, now) if (apart > NOISE).any() or (of_logarithms > RELATIVE).any() else None


def of_numbers(first: Array, now: Array, spread: float) -> Apart | None:
    """The same of predictions [r, ...], in their standard deviation over all records."""
    first, now = (np.asarray(a, np.float64).reshape(len(np.asarray(a)), -1) / (spread or 1.0) for a in (first, now))
    return _apart(first, now) if (np.abs(now - first) > NOISE * (1 + np.abs(first))).any() else None


def _apart(first: np.ndarray, now: np.ndarray) -> Apart:
    apart, r = np.abs(now - first), len(first)
    between = np.abs(first[:, None] - first[None]).sum(axis=2).sum() / max(r * (r - 1), 1)
    return Apart(float(apart.max()), float(apart.sum(axis=1).mean() / max(between, 1e-12)))


def remarks(
    target: Apart | None,
    shadows: Apart | None = None,
    *,
    unit: str = "in a probability",
    in_place: frozenset[str] = frozenset(),
) -> Remarks:
    """What is to be said of a target, and of shadows, that answer otherwise when they are asked again.

    Args:
        target, shadows: how far their answers are apart; None: they say the same.
        unit: of the largest difference, in words.
        in_place: of "target", "shadows" and "fit", who changed the records.
    """
    found = {"the target": target, "the shadows": shadows}
    lost = {name: one for name, one in found.items() if one is not None and one.share >= LOST}
    noisy = {name: one for name, one in found.items() if one is not None and name not in lost}
    doubts, notes = [], _in_place(in_place)
    if lost:
        doubts.append(
            f"{_again(lost)} as far from the first time as about other records: predict seems to answer in another"
            " order than it is asked (a loader that shuffles), or by chance, or by the rest of the batch. Use"
            f" {MOVES}."
        )
    if noisy:
        notes.insert(
            0,
            f"{_again(noisy)} otherwise, by up to {max(one.most for one in noisy.values()):.2g} {unit}: by chance"
            " (dropout, augmentation, a randomized defense), or by the rest of the batch (batch statistics, a loader"
            f" that shuffles). Scores are noisy by that, and attacks find less. Use {MOVES}.",
        )
    return Remarks(tuple(doubts), tuple(notes))


def _again(found: Mapping[str, Apart]) -> str:
    """The beginning of a sentence on these models."""
    verb = "answers" if list(found) == ["the target"] else "answer"
    return f"Asked again about some of the records, in another order, {' and '.join(found)} {verb}"


def _in_place(who: frozenset[str]) -> list[str]:
    """What is to be said of functions that change the records that they are given."""
    said = []
    if asked := [f"the {name}" for name in ("target", "shadows") if name in who]:
        said.append(
            f"predict of {' and '.join(asked)} changed the records in place, as x /= 255 does. It was given a copy, so"
            " that these are as they were; elsewhere it would change yours at each call: let it work on a copy,"
            " x = x / 255."
        )
    if "fit" in who:
        said.append(
            "fit changed the records in place that it was given, as x -= x.mean(0) does, and predict is asked about"
            " records as they were: let fit work on a copy, and see that predict does the same to its records."
        )
    return said
