"""Rows of one model that have, bit by bit, one answer or the answers of earlier rows, and have not in other models.

A last batch that was filled up, a buffer that is read again, records that nobody answered: the answers of other models
about the same records differ. NumPy; never imports jax.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.statistics import equal_answers, naming
from mia_jax.types import Array

LEAST, TOLD = 8, 5  # rows, side by side, that repeat others, and those of them that tell it
FEW, SHARE, TIMES = 6, 0.005, 5  # rows of one answer, their share, and times as many as of the next one
VARIOUS, REST = 0.9, 30  # of the other answers differ from each other, and how many these are
ALIKE = 0.2  # of the same rows that other models, at most, answer alike
LAGS = 4  # distances at which most rows recur, that are tried
MIXED = 0.7  # of the rows that are sure of one class wrongly, that may be of one class: else it was never learned


class _Model(NamedTuple):
    """What one model says, as numbers that are equal where answers are."""

    key: np.ndarray  # uint64 [n]
    told: np.ndarray  # bool [n]: an answer that would be no other row's by chance


class _Padded(NamedTuple):
    rows: np.ndarray  # int, of them
    by: int  # rows before, whose answers these are; 0: all have one


def of_answers(labels: Array, target: Array, shadows: Array | Sequence[Array]) -> tuple[str, ...]:
    """What is to be said of rows of the target, or of some shadows, that were filled up, in a sentence; or ().

    Args:
        labels: int [n].
        target: probabilities [n, c], not rounded.
        shadows: probabilities [S, n, c], not rounded.
    """
    few = np.r_[0, 1 + equal_answers.compared(len(shadows))]
    labels = np.asarray(labels)
    models = [np.asarray(target if k == 0 else shadows[k - 1]) for k in few]
    each = [_Model(*equal_answers.answered(p)) for p in models]
    found = _found(each)
    if not found:
        found = _constant_and_wrong(labels, models, each)
    if not found:
        found = {k: rows for k, rows in _recurring(each).items() if not _is_bound(models, k, rows.rows)}
    if not found:
        return ()
    return (_said(found, few, len(labels), "answer"),)


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
    few = np.r_[0, 1 + equal_answers.compared(len(numbers) - 1)]
    each = []
    for k in few:
        row = numbers[k]
        new = np.zeros(len(row), bool) if member is None else ~np.asarray(trained[k - 1] if k else member, bool)
        each.append(_Model(row.view(np.uint64), new | ((row > row.min()) & (row < row.max()))))
    found = _found(each)
    if not found:
        return ()
    return (_said(found, few, numbers.shape[1], "number", rows),)


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
    """The most rows side by side that repeat the rows so many before, where no other rows are equal."""
    order = np.argsort(one.key, kind="stable")
    equal = one.key[order[1:]] == one.key[order[:-1]]
    if equal.sum() < LEAST - 1:
        return None
    count = np.bincount((order[1:] - order[:-1])[equal])
    best = np.zeros(0, int), 0
    for by in np.argsort(count, kind="stable")[::-1][:LAGS]:
        if count[by] == 0:
            break
        ends = np.flatnonzero(np.diff(np.r_[False, one.key[by:] == one.key[:-by], False]))
        lengths = ends[1::2] - ends[::2]
        at = int(lengths.argmax())
        rows = np.arange(ends[2 * at] + by - (by == 1), ends[2 * at + 1] + by)  # of one answer, with the first
        if one.told[rows].sum() > one.told[best[0]].sum():
            best = rows, int(by)
    rows, by = best
    rest = one.told.copy()
    rest[rows] = False
    if len(rows) < LEAST or one.told[rows].sum() < TOLD or not _various(one.key[rest]):
        return None
    return _Padded(rows, 0 if by == 1 else by)


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


def _recurring(models: Sequence[_Model]) -> dict[int, _Padded]:
    """The models of which one answer recurs, wherever it is, and no other does."""
    found = {}
    for k, one in enumerate(models):
        values, counts = np.unique(one.key[one.told], return_counts=True)
        if len(counts) < 2:
            continue
        at = int(counts.argmax())
        second = np.delete(counts, at).max()
        which = one.told & (one.key == values[at])
        if counts[at] >= max(FEW, SHARE * len(which), TIMES * second) and _various(one.key[one.told & ~which]):
            found[k] = _Padded(np.flatnonzero(which), 0)
    plain = [one for k, one in enumerate(models) if k not in found]

    def usual(rows: np.ndarray) -> int:
        return max(int(np.unique(one.key[rows], return_counts=True)[1].max()) for one in plain)

    return {k: one for k, one in found.items() if plain and usual(one.rows) <= max(1, ALIKE * len(one.rows))}


def _is_bound(p: Sequence[np.ndarray], k: int, rows: np.ndarray) -> bool:
    """Whether one answer of model k is a bound at which its probabilities are cut."""
    which = np.zeros(len(p[k]), bool)
    which[rows] = True
    answer = p[k][rows[0]]
    sure = np.mean([one[:, answer.argmax()] for j, one in enumerate(p) if j != k], axis=0)
    return equal_answers.is_bound(answer, which, sure)


def _said(found: dict[int, _Padded], few: np.ndarray, n: int, what: str, rows: Array | None = None) -> str:
    first = next(iter(found.values()))
    called = (np.arange(n) if rows is None else np.asarray(rows))[first.rows]
    whose = naming.models(few[list(found)])
    recurs = f"the {what}s of the rows {first.by} before" if first.by else f"one and the same {what}"
    return (
        f"Of {whose}, {len(called):,} of {n:,} records ({naming.some_rows(called)}) have, bit by bit, {recurs}, and"
        f" other models' {what}s about them differ: padding, a buffer that is read again, or rows that were never"
        " filled in. Ask again, or leave such records out."
    )
