"""Records whose answers are equal bit by bit though the records differ: fallbacks, rows never filled in, buffers.

Labels, votes of few trees and rounded answers are often equal, and so is what a model is entirely sure of: answers are
compared with the shadows' in the same format, and those that are 1 for one class are left out. NumPy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming, samples
from mia_jax.types import Array

SHARE, LEAST = 0.03, 10  # of the records that have one answer, and how many they are, at least
SURE = 1e-6  # from 1: answers of this class are equal in any model that is sure enough
BESIDE = 2.0  # times as many as in any shadow
CUT = 0.9  # a service's answer this sure may be a bound at which it cuts
NEAR = 8  # rows: of equal answers no nearer than that is a distance told
SHADOWS = 16  # that are compared, at most
VARIOUS = 0.8  # of a model's answers differ, where equal ones are no leaves or votes
MODELS = 3  # that tell copies of a record, at least


class Answered(NamedTuple):
    """The answers of one model, as numbers that are equal where answers are."""

    key: np.ndarray  # uint64 [n]
    telling: np.ndarray  # bool [n]: not 1 for one class


def numbers(p: Array) -> np.ndarray:
    """uint64 [n]: the same number for rows of p [n, c] that are equal bit by bit."""
    bits = (np.ascontiguousarray(p, np.float64) + 0.0).view(np.uint64)
    odd = np.random.default_rng(0).integers(0, 2**63, bits.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (bits ^ (bits >> np.uint64(29))) * odd
    return (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)


def answered(p: Array) -> Answered:
    """Of probabilities [n, c]."""
    return Answered(numbers(p), np.max(p, axis=1) < 1 - SURE)


def from_losses(loss: Array, at_one: int) -> Answered:
    """The answers of a service's shadows, of which losses are all that is known.

    Answers that differ only in the order of the classes may count as equal.

    Args:
        loss: nats [n, g], at g temperatures.
        at_one: the column of the temperature 1: the answers as they are.
    """
    own = np.asarray(loss)[:, at_one]
    return Answered(numbers(np.round(loss, 4)), (own > 1e-5) & (own < -np.log(SURE)))


def of_answers(labels: Array, target: Array, shadows: Array | Sequence[Array], digits: int | None = None) -> str | None:
    """The doubt about a target that gives differing records equal answers and shadows that do not; None without.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        digits: that the target's answers are rounded to.
    """
    few = samples.every(len(shadows), SHADOWS)
    each = [answered(p if digits is None else np.round(p, digits)) for p in shadows[few]]
    own = answered(target)
    which, bound = _filled(own, each, target, shadows[few])
    if which.any():
        return None if bound else _one_note(which)
    earlier, later = _pairs(np.asarray(labels), own, np.ones(len(labels), bool))
    if not len(later) or max(_alike(one, earlier, later) for one in each) > 0.5:
        return None
    return _distance_note(earlier, later, len(labels))


def of_service(
    labels: Array, target: Array, own: Answered, shadows: Sequence[Answered], record: Array, known: slice
) -> str | None:
    """As ``of_answers``, where shadows were asked about other records.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        own: ``from_losses`` of the target's answers about some of the records.
        shadows: ``from_losses`` of each shadow, about records of its own.
        record: int [n], the same number for records that are copies of each other.
        known: the records that ``own`` is about.
    """
    first = np.zeros(len(labels), bool)
    first[np.unique(record, return_index=True)[1]] = True  # copies have equal answers of any model
    one = answered(target)
    one = one._replace(telling=one.telling & first)
    which = _one(one, own._replace(telling=own.telling & first[known]), shadows)
    if which.any():  # a sure answer may be the bound at which probabilities are cut
        return _one_note(which) if np.asarray(target)[which].max() < CUT else None
    earlier, later = _pairs(np.asarray(labels), one, first)
    return _distance_note(earlier, later, len(labels), "about ") if len(later) else None  # some were asked before


def variety(one: Answered) -> float:
    """How many of the telling answers differ, as a share; 0 where there are none."""
    return _largest(one, one.telling)[3] / max(int(one.telling.sum()), 1)


def copies(target: Array, shadows: Array | Sequence[Array]) -> np.ndarray | None:
    """int [n]: the same number for records that target and all shadows answer alike, bit by bit; None without such.

    Two records that a tree's leaf or a model's certainty makes equal are no copies: in half of the models that are not
    sure of them, and in three at least, nobody else has that answer.
    """
    models = [answered(p) for p in (target, *shadows)]
    if len(models) < MODELS:
        return None
    whole = _joined([one.key for one in models])
    size = _sizes(whole)
    telling = sum(one.telling.astype(np.int64) for one in models)
    alone = sum((one.telling & (_sizes(one.key) == size)).astype(np.int64) for one in models)
    copied = (size > 1) & (alone >= np.maximum(MODELS, telling / 2))
    if not copied.any():
        return None
    _, group = np.unique(whole, return_inverse=True)
    return np.where(copied, group, len(whole) + np.arange(len(whole)))


def padding(target: Array, shadows: Array | Sequence[Array], group: np.ndarray) -> np.ndarray:
    """bool [n]: records that differ and have one answer of each model, bit by bit, where all other answers differ.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        group: int [n], the same number for records that are copies of each other, by their values.
    """
    none, alike = np.zeros(len(group), bool), copies(target, shadows)
    if alike is None:
        return none
    values, count = np.unique(alike, return_counts=True)
    which = alike == values[count.argmax()]
    many = which.sum() >= max(LEAST, SHARE * len(group)) and len(np.unique(group[which])) > which.sum() / 2
    if not many:
        return none
    for p in (target, *shadows):
        rest = answered(np.asarray(p)[~which])
        if rest.telling.sum() and variety(rest) < VARIOUS:  # leaves, votes, rounded answers
            return none
    return which


# --- pieces ----------------------------------------------------------------------------------------------------------


def _joined(keys: Sequence[np.ndarray]) -> np.ndarray:
    whole = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        whole = (whole ^ key) * np.uint64(0x9E3779B97F4A7C15)
        whole ^= whole >> np.uint64(31)
    return whole


def _sizes(key: np.ndarray) -> np.ndarray:
    """int [n]: how many have the same number, with itself."""
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    return count[inverse]


def _largest(one: Answered, among: np.ndarray) -> tuple[np.uint64, int, int, int]:
    """Of the telling answers ``among`` records: the most frequent, its count, the next one's, how many differ."""
    values, count = np.unique(one.key[one.telling & among], return_counts=True)
    if not len(values):
        return np.uint64(0), 0, 0, 0
    first = int(count.argmax())
    return values[first], int(count[first]), int(np.delete(count, first).max(initial=0)), len(values)


def _one(exact: Answered, own: Answered, shadows: Sequence[Answered]) -> np.ndarray:
    """bool [n]: the records that have one and the same answer, which is no leaf of a tree.

    Args:
        exact: the target's answers [n].
        own: the same, as they are compared with the shadows'.
        shadows: each shadow's.
    """
    none = np.zeros(len(exact.key), bool)
    answer, count, second, _ = _largest(exact, ~none)
    if count < max(LEAST, SHARE * len(none), BESIDE * second):
        return none
    which = exact.telling & (exact.key == answer)
    _, mine, _, mine_differ = _largest(own, np.ones(len(own.key), bool))
    theirs = [_largest(one, np.ones(len(one.key), bool)) for one in shadows]
    most = max(most / len(one.key) for (_, most, _, _), one in zip(theirs, shadows, strict=True))
    if mine / len(own.key) < BESIDE * most:
        return none
    rest = own.telling.sum() - mine  # a tree among networks has few answers in all: the others must be as various
    variety = [differ / one.telling.sum() for (_, _, _, differ), one in zip(theirs, shadows, strict=True) if differ]
    if rest < LEAST or (mine_differ - 1) / rest < 0.5 * (np.median(variety) if variety else 1.0):
        return none
    return which


def is_bound(answer: np.ndarray, which: np.ndarray, sure: np.ndarray) -> bool:
    """Whether records have one answer because probabilities are cut at it: others are surest of the same records.

    Args:
        answer: probabilities [c].
        which: bool [n], the records that have it.
        sure: float [n], how likely shadows think its class.
    """
    rank = np.searchsorted(np.sort(sure), sure, side="left") + np.searchsorted(np.sort(sure), sure, side="right")
    inside, outside = int(which.sum()), int((~which).sum())
    area = (rank[which].sum() / 2 - inside**2 / 2) / (inside * outside)
    return bool(answer.max() >= 0.5 and area > 0.5 + max(0.1, 4 * np.sqrt((len(which) + 1) / (12 * inside * outside))))


def _filled(
    own: Answered, others: Sequence[Answered], p: Array, others_p: Array | Sequence[Array]
) -> tuple[np.ndarray, bool]:
    """The records that have one answer of one model and not of others; and whether it is a bound.

    Args:
        own, others: the answers of the model and of others.
        p, others_p: the same as probabilities [n, c].
    """
    which = _one(own, own, others)
    if not which.any() or max(_largest(one, which)[1] for one in others) >= which.sum() / 2:
        return np.zeros(len(own.key), bool), False
    answer = np.asarray(p)[which][0]
    sure = np.mean([np.asarray(one)[:, answer.argmax()] for one in others_p], axis=0)
    return which, is_bound(answer, which, sure)


def _pairs(labels: np.ndarray, one: Answered, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows [k], [k] of equal answers at the distance at which most of such are; empty where there is none."""
    rows = np.flatnonzero(one.telling & among)
    order = rows[np.argsort(one.key[rows], kind="stable")]
    equal = one.key[order[1:]] == one.key[order[:-1]]
    earlier, later = order[:-1][equal], order[1:][equal]
    if not len(later):
        return earlier, later
    gap = later - earlier
    distance = int(np.bincount(gap).argmax())
    at = gap == distance
    periodic = (labels[earlier[at]] == labels[later[at]]).mean() > 0.9  # labels in turn, of a model that has learned
    if distance < NEAR or at.sum() < max(LEAST, SHARE * len(labels)) or at.mean() < 0.5 or periodic:
        return earlier[:0], later[:0]
    return earlier[at], later[at]


def _alike(one: Answered, earlier: np.ndarray, later: np.ndarray) -> float:
    return float(np.mean((one.key[earlier] == one.key[later]) & one.telling[later]))


def place(which: np.ndarray) -> str:
    """Where the records bool [n] are, in parentheses: most of them side by side, or the first of them."""
    ends = np.flatnonzero(np.diff(np.r_[False, which, False]))
    first, last = max(zip(ends[::2], ends[1::2] - 1, strict=True), key=lambda run: run[1] - run[0])
    if last - first >= which.sum() / 2:
        return f" (rows {first} to {last}, counted from 0, among them)"
    return f" ({naming.some_rows(np.flatnonzero(which))})"


def _one_note(which: np.ndarray) -> str:
    return (
        f"{int(which.sum()):,} of {len(which):,} records{place(which)} have one and the same answer of the target, bit"
        " by bit, and no shadow answers so: a fallback, or rows that were never filled in. Ask again, or leave such"
        " records out."
    )


def _distance_note(earlier: np.ndarray, later: np.ndarray, n: int, about: str = "") -> str:
    distance = int(later[0] - earlier[0])
    return (
        f"{len(later):,} of {n:,} records ({naming.some_rows(np.sort(later))}) have, bit by bit, the answer that the"
        f" target gives to the record {distance} rows before, though the records differ and no shadow answers so: a"
        f" buffer of {about}{distance} rows, perhaps, that is read again. Ask again."
    )
