"""Rows of one model that have, bit by bit, one answer or the answers of earlier rows, and have not in other models.

A last batch that was filled up, a buffer that is read again, records that nobody answered: the answers of other models
about the same records differ. NumPy; never imports jax.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming
from mia_jax.checks.answers import equal_answers
from mia_jax.types import Array

LEAST, TOLD = 8, 5  # rows, side by side, that repeat others, and those of them that tell it
FEW, SHARE, TIMES = 6, 0.005, 5  # rows of one answer, their share, and times as many as of the next one
VARIOUS, REST = 0.9, 30  # of the other answers differ from each other, and how many these are
ALIKE = 0.2  # of the same rows that other models, at most, answer alike
CHANCE, LONGER = 1e-9, 3  # of such a run by accident; times as long as any other at this distance
LAGS = 4  # distances at which most rows recur, that are tried
ROUNDED = 0.35  # of a vote of 30 trees, by which two decimals change it
NEARLY = 0.99  # probability of a class that a model is nearly sure of
FLAT = 1e-6  # between the largest and the smallest probability of an answer that says nothing
MIXED = 0.7  # of the rows that are sure of one class wrongly, that may be of one class: else it was never learned


class _Model(NamedTuple):
    """What one model says, as numbers that are equal where answers are."""

    key: np.ndarray  # uint64 [n]
    told: np.ndarray  # bool [n]: an answer that would be no other row's by chance


class _Padded(NamedTuple):
    rows: np.ndarray  # int, of them
    by: int  # rows before, whose answers these are; 0: all have one
    answers: int = 1  # or one of so many; 0: each is sure of a class


def of_answers(
    labels: Array, target: Array, shadows: Array | Sequence[Array], who: np.ndarray | None = None
) -> tuple[str, ...]:
    """What is to be said of rows of the target, or of some shadows, that were filled up, in a sentence; or ().

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        who: bool [1 + S, n], who trained target and shadows, where it is known: they may be sure of these.
    """
    labels = np.asarray(labels)
    models = [np.asarray(p) for p in (target, *shadows)]
    each = [_Model(*equal_answers.answered(p)) for p in models]
    found = _found(each) or _constant_and_wrong(labels, models, each) or _flat(models, each)
    found = found or ({} if who is None else _sure(models, each, ~who))
    if not found:
        some = _recurring(each, models[0].shape[1])
        found = {
            k: one for k, one in some.items() if not any(_is_bound(models, k, rows) for rows in _apart(each[k], one))
        }
    if not found:
        return ()
    return (_said(found, len(labels), "answer"),)


def of_target(target: Array) -> tuple[str, ...]:
    """The same of a target's probabilities [n, c] where there are no other models: of rows side by side alone."""
    run = _run(_Model(*equal_answers.answered(np.asarray(target))))
    if run is None:
        return ()
    recurs = f"the answers of the rows {run.by} before" if run.by else "one and the same answer"
    return (
        f"Of the target, {len(run.rows):,} of {len(target):,} records ({naming.some_rows(run.rows)}) have, bit by bit,"
        f" {recurs}, as hardly any others do: {_FILLED}",
    )


def of_numbers(
    numbers: Array, trained: Array, member: Array | None = None, rows: Array | None = None
) -> tuple[str, ...]:
    """Why some numbers may be filled up, in a sentence; () where they seem not to be.

    What a model knows by heart may be at the bound of its numbers: that tells nothing of records that trained it.

    Args:
        numbers: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    numbers = np.asarray(numbers, np.float64) + 0.0
    each = []
    for k, row in enumerate(numbers):
        new = np.zeros(len(row), bool) if member is None else ~np.asarray(trained[k - 1] if k else member, bool)
        each.append(_Model(row.view(np.uint64), new | ((row > row.min()) & (row < row.max()))))
    found = _found(each)
    if not found:
        return ()
    return (_said(found, numbers.shape[1], "number", rows),)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _found(models: Sequence[_Model]) -> dict[int, _Padded]:
    """The models of which rows side by side repeat others, and these rows."""
    found = {k: run for k, one in enumerate(models) if (run := _run(one)) is not None}
    plain = [one for k, one in enumerate(models) if k not in found]

    def usual(run: _Padded) -> float:
        by = run.by or 1
        rows = run.rows[run.rows >= by]
        return max(float((one.key[rows] == one.key[rows - by]).mean()) for one in plain)

    return {k: run for k, run in found.items() if plain and usual(run) <= ALIKE}


def _run(one: _Model) -> _Padded | None:
    """The most rows side by side that repeat the rows so many before, and do so by no accident.

    Of few leaves, votes or rounded numbers many are equal: as often, and as many side by side, as in the whole file.
    """
    order = np.argsort(one.key, kind="stable")
    equal = one.key[order[1:]] == one.key[order[:-1]]
    if equal.sum() < LEAST - 1:
        return None
    count = np.bincount((order[1:] - order[:-1])[equal])
    best: _Padded | None = None
    for by in np.argsort(count, kind="stable")[::-1][:LAGS]:
        if count[by] == 0:
            break
        found = _longest(one, int(by))
        if found is not None and (best is None or len(found.rows) > len(best.rows)):
            best = found
    return best


def _longest(one: _Model, by: int) -> _Padded | None:
    """The longest run of rows that repeat the rows ``by`` before; None where such are no rare thing."""
    alike = one.key[by:] == one.key[:-by]
    ends = np.flatnonzero(np.diff(np.r_[False, alike, False]))
    lengths = ends[1::2] - ends[::2]
    at = int(lengths.argmax())
    run = np.arange(ends[2 * at], ends[2 * at + 1]) + by
    rest = one.told.copy()
    rest[run] = False
    beside = rest[by:] & alike, rest[1:] & (one.key[1:] == one.key[:-1])  # files are in some order
    usual = (1 + max(int(same.sum()) for same in beside)) / (2 + rest.sum())
    rows = run if by > 1 else np.r_[run[0] - 1, run]  # of one answer, with the first
    told, others = int(one.told[rows].sum()), np.delete(lengths, at).max(initial=0)
    enough = len(rows) >= max(LEAST, LONGER * others) and told >= TOLD and rest.sum() >= REST
    if not enough or told * np.log(usual) + np.log(len(alike)) > np.log(CHANCE):
        return None
    return _Padded(rows, by if by > 1 else 0)


def _various(key: np.ndarray) -> bool:
    return len(key) >= REST and len(np.unique(key)) >= VARIOUS * len(key)


def _constant_and_wrong(labels: np.ndarray, p: Sequence[np.ndarray], models: Sequence[_Model]) -> dict[int, _Padded]:
    """The same of a model that is entirely sure of one class in rows side by side, which are of several others."""
    best = [one.argmax(axis=1) for one in p]
    sure = [
        _Model(one.key, one.told | (~one.told & (answer != labels))) for one, answer in zip(models, best, strict=True)
    ]
    found = {}
    for k, run in _found(sure).items():
        classes = np.bincount(labels[run.rows])
        if run.by == 0 and max(classes.max(), (best[k][run.rows] == labels[run.rows]).sum()) <= MIXED * len(run.rows):
            found[k] = run
    return found


def _recurring(models: Sequence[_Model], most: int) -> dict[int, _Padded]:
    """The models of which one answer recurs, or up to ``most`` do (a mean of each class), and no other does."""
    found, usual = {}, {}
    for k, one in enumerate(models):
        values, counts = np.unique(one.key[one.told], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        falling = np.r_[counts[order], 0]
        for few in range(min(most, len(counts) - 1), 0, -1):
            least = falling[few - 1]
            if least < max(FEW, SHARE * len(one.key), TIMES * falling[few]):
                continue
            which = one.told & np.isin(one.key, values[order[:few]])
            if _various(one.key[one.told & ~which]):
                found[k], usual[k] = _Padded(np.flatnonzero(which), 0, few), max(1, ALIKE * least)
            break
    plain = [one for k, one in enumerate(models) if k not in found]

    def largest(rows: np.ndarray) -> int:
        return max(int(np.unique(one.key[rows], return_counts=True)[1].max()) for one in plain)

    return {k: one for k, one in found.items() if plain and largest(one.rows) <= usual[k]}


def _apart(one: _Model, found: _Padded) -> list[np.ndarray]:
    """The rows of each of the answers that recur."""
    return [found.rows[one.key[found.rows] == value] for value in np.unique(one.key[found.rows])]


def _sure(p: Sequence[np.ndarray], models: Sequence[_Model], new: np.ndarray) -> dict[int, _Padded]:
    """The models that are entirely sure of some records new to them, bool [1 + S, n], nearly sure of hardly any, and
    others are of none: labels.
    """
    best = [one.max(axis=1) for one in p]
    count = np.array([int((~one.told & rows).sum()) for one, rows in zip(models, new, strict=True)])
    near = np.array([_nearly(sure[one.told & rows]) for one, rows, sure in zip(models, new, best, strict=True)])
    many = (count >= np.maximum(FEW, SHARE * new.sum(axis=1))) & (near <= count / 10)
    many &= [_various(one.key[one.told]) for one in models]
    if many.all() or not many.any() or count[~many].max() > ALIKE * count[many].min():
        return {}
    usual = np.mean([sure for sure, filled in zip(best, many, strict=True) if not filled], axis=0)
    filled = {int(k): ~models[k].told & new[k] for k in np.flatnonzero(many)}
    return {
        k: _Padded(np.flatnonzero(which), 0, 0)
        for k, which in filled.items()
        if not equal_answers.is_bound(np.ones(1), which, usual)  # others are sure of these, too
    }


def _nearly(sure: np.ndarray) -> int:
    """How many answers are nearly certain, or lack one vote of as many as there are.

    Args:
        sure: the largest probabilities [m] of answers that are not certain.
    """
    below, highest = np.unique(np.r_[0, 0, sure])[-2:] if sure.any() else (0, 0)
    votes = np.isclose(1 - highest, highest - below, rtol=ROUNDED)
    return int(max((sure > NEARLY).sum(), (sure == highest).sum() if votes else 0))


def _flat(p: Sequence[np.ndarray], models: Sequence[_Model]) -> dict[int, _Padded]:
    """The models of which many answers prefer no class, more than are equal otherwise, and of the others few do."""
    flat = [np.ptp(one, axis=1) < FLAT for one in p]
    count = np.array([which.sum() for which in flat])
    others = [
        np.unique(one.key[one.told & ~which], return_counts=True)[1].max(initial=0)
        for one, which in zip(models, flat, strict=True)
    ]
    many = count >= np.maximum(max(FEW, SHARE * len(flat[0])), 2 * np.array(others))
    if many.all() or not many.any() or count[~many].max() > ALIKE * count[many].min():
        return {}
    return {int(k): _Padded(np.flatnonzero(flat[k]), 0) for k in np.flatnonzero(many)}


def _is_bound(p: Sequence[np.ndarray], k: int, rows: np.ndarray) -> bool:
    """Whether one answer of model k is a bound at which its probabilities are cut."""
    which = np.zeros(len(p[k]), bool)
    which[rows] = True
    answer = p[k][rows[0]]
    sure = np.mean([one[:, answer.argmax()] for j, one in enumerate(p) if j != k], axis=0)
    return equal_answers.is_bound(answer, which, sure)


def _said(found: dict[int, _Padded], n: int, what: str, rows: Array | None = None) -> str:
    first = next(iter(found.values()))
    called = (np.arange(n) if rows is None else np.asarray(rows))[first.rows]
    whose = naming.models(list(found))
    if first.by:
        recurs = f", bit by bit, the {what}s of the rows {first.by} before"
    elif first.answers == 1:
        recurs = f", bit by bit, one and the same {what}"
    elif first.answers:
        recurs = f", bit by bit, one of {first.answers} {what}s"
    else:
        recurs = " 1 for one class and 0 for the others, and none of the rest is nearly so"
    return (
        f"Of {whose}, {len(called):,} of {n:,} records ({naming.some_rows(called)}) have{recurs}, and"
        f" other models' {what}s about them differ: {_FILLED}"
    )


_FILLED = (
    "padding, a buffer that is read again, or rows that were never filled in. Ask again, or leave such records out."
)
