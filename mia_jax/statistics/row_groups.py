"""Rows that were drawn together, as all visits of a patient: how many independent draws a membership matrix holds.

Chance is counted in draws. Where rows come in groups, what two models have in common by chance is that of so many
groups, and of rows it would be none. NumPy and SciPy.
"""

import numpy as np

from mia_jax.types import Array

FEW = 6  # models that tell groups by their runs alone
WORTH = 1.5  # rows of a group, on average, from which groups are told
SURE = 6.0  # standard errors by which neighbours are more often equal than by chance


def size(rows: Array) -> float:
    """How many rows go together, on average over rows; 1 where each was drawn for itself.

    Of rows in groups more pairs of columns are equal than chance makes of the models' shares: that gives the sum of the
    groups' squared sizes, wherever their rows are. Columns that are the same in all models do not count: records that
    no model trained on are no draw. Of few models all columns are there, and only groups of neighbours are told.

    Args:
        rows: bool [S, n], who trained which model.
    """
    rows = np.asarray(rows, bool)
    models, n = rows.shape
    drawn = independent(rows)
    if len(drawn) <= FEW or n < 2:
        return in_runs(rows) if models else 1.0
    count, share = rows.sum(axis=0), drawn.mean(axis=1)
    _, column, times = np.unique(_numbered(rows), return_index=True, return_counts=True)
    various = (count[column] > 0) & (count[column] < models)
    equal = float(np.prod(share**2 + (1 - share) ** 2))  # the chance that two independent columns are
    paired = len(_distinct(rows)) > len(drawn)  # so no column is the same in all models
    none, every = (0.0, 0.0) if paired else (float(np.prod(1 - share)), float(np.prod(share)))
    squares = equal - none**2 - every**2  # the sum of squared chances of the various columns
    spread = 1 - none - every - squares
    pairs = float((times[various].astype(np.float64) ** 2).sum())
    found = (pairs - n**2 * squares) / (spread * n) if spread > 0 else 1.0
    return max(found, in_runs(rows), 1.0)


def independent(rows: Array) -> np.ndarray:
    """One of each complementary pair of models, bool [D, n], which were one draw; of equal ones, too.

    Args:
        rows: bool [S, n], who trained which model.
    """
    rows = np.asarray(rows, bool)
    return rows[_distinct(rows ^ rows[:, :1])] if rows.size else rows


def told(rows: Array) -> np.ndarray | None:
    """Which rows were drawn together, int [n], the same for those of a group, as bool [S, n] tells it; None: none."""
    rows = np.asarray(rows, bool)
    if len(independent(rows)) <= FEW or size(rows) < WORTH:
        return None
    return np.unique(_numbered(rows), return_inverse=True)[1]


def in_runs(rows: Array) -> float:
    """How many rows side by side go together, on average over rows; 1 where there are no more than by chance.

    Args:
        rows: bool [S, n].
    """
    rows = np.asarray(rows, bool)
    if len(rows) > 1:
        rows = rows[:, rows.any(axis=0) & ~rows.all(axis=0)]
    n = rows.shape[1]
    if n < 2:
        return 1.0
    key = _numbered(rows)
    times = np.unique(key, return_counts=True)[1].astype(np.float64)
    equal = float((times * (times - 1)).sum() / (n * (n - 1)))  # the share of neighbours, in random order
    ends = np.flatnonzero(key[1:] != key[:-1])
    if equal > 1 - 1e-9 or len(ends) > (n - 1) * (1 - equal) - SURE * np.sqrt((n - 1) * equal * (1 - equal)) - SURE:
        return 1.0
    length = np.diff(ends, prepend=-1, append=n - 1).astype(np.float64)
    by_chance = (1 + equal) / (1 - equal)  # mean length of the runs that chance makes of these, over rows
    return float(max(1.0, (length**2).sum() / n / by_chance))


def _distinct(rows: np.ndarray) -> list[int]:
    """The first of each kind of row of bool [S, n] (``numpy.unique`` would sort them, which takes its time)."""
    first: dict[bytes, int] = {}
    for k, row in enumerate(np.packbits(rows, axis=1)):
        first.setdefault(row.tobytes(), k)
    return [*first.values()]


def _numbered(rows: np.ndarray) -> np.ndarray:
    """A number for each column of bool [S, n], uint64 [n]: equal ones have the same."""
    key = np.zeros(rows.shape[1], np.uint64)
    numbers = np.random.default_rng(0).integers(1 << 63, size=len(rows), dtype=np.uint64)
    for row, number in zip(rows, numbers, strict=True):
        key += row * number
    return key
