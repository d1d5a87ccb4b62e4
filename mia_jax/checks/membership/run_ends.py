"""Members beside the first row that is none, which the target does not know; or others there that it knows.

Who counts the training rows before some of them are dropped, or after others came, marks the rows at this border
wrongly: ``member = arange(n) < n_train``. There the target goes with shadows that did not train on these records, and
elsewhere with those that did. NumPy and SciPy.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.types import Array

SAMPLE = 262_144  # rows that are looked at, of an audit
MOST = 4  # changes between members and others along the file: of more, records were drawn one by one
LEAST, MODELS, SHADOWS = 10, 2, 8  # rows at the border, shadows with a record and without it, and shadows in all
TOLD = 0.1  # mean ranks from 0 to 1 by which members of a class stand above others, of a target alone
PLAIN = 0.5  # how much of what training does to shadows shows in the target's members more than in others
LEVEL = 1e-3  # of what shadows differ by in the same rows
HARDER = 0.8  # standard deviations, by which rows at the border may be harder than the others of their run
ORDERS, BEYOND = 50, 4.0  # random orders of a run, and times what the best of them gives
SURE = 7.0  # standard errors between the rows at the border and the rest of their side


class _Part(NamedTuple):
    """Rows from a border on that are as the other side."""

    part: np.ndarray  # int, from the border on
    run: np.ndarray  # int, the run that they begin
    apart: float  # the difference of their share from that of the other rows of their side


class _Memory(NamedTuple):
    """How much of what training on a record does to shadows shows in the target: 0 as without, 1 as with it."""

    share: float
    error: float


def doubts(target: Array, shadows: Array, trained: Array, member: Array, rows: Array | None = None) -> tuple[str, ...]:
    """Why ``member`` may be wrong at the border between members and others, in a sentence; or ().

    Args:
        target: float [n], larger where it fits a record better, as logits of the true class's probability.
        shadows: float [S, n], the same of shadows.
        trained: bool [S, n], who trained each shadow.
        member: bool [n], who is said to have trained the target.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    member, trained = np.asarray(member, bool), np.asarray(trained, bool)
    borders = np.flatnonzero(np.diff(member)) + 1
    if not 0 < len(borders) <= MOST or len(trained) < SHADOWS:
        return ()
    ranks = stats.rankdata(target), stats.rankdata(shadows, axis=1)  # which tell of forests, and logits of others
    for one, others in (ranks, (np.asarray(target, np.float64), np.asarray(shadows, np.float64))):
        found = _found(*_beside(one, others, trained), member, borders)
        if found is not None and found.apart > _usual(others, trained, found.part) and _as_hard(others, trained, found):
            return (_said(found, member, rows),)
    return ()


def notes(labels: Array, sure: Array, member: Array, rows: Array | None = None) -> tuple[str, ...]:
    """The same of a target alone, in a sentence: such rows may be harder, or easier, than the others of their classes.

    Args:
        labels: int [n].
        sure: float [n], the probability of the label.
        member: bool [n].
        rows: int [n], what rows are called; None: as they are numbered.
    """
    labels, member, sure = np.asarray(labels), np.asarray(member, bool), np.asarray(sure, np.float64)
    borders = np.flatnonzero(np.diff(member)) + 1
    if not 0 < len(borders) <= MOST:
        return ()
    rank = np.zeros(len(sure))
    for c in np.unique(labels):
        of = labels == c
        rank[of] = stats.rankdata(sure[of]) / (of.sum() + 1)
    inside, outside = rank[member].mean(), rank[~member].mean()
    if inside - outside < TOLD:
        return ()
    found = _found(np.ones(len(sure)), (rank - outside) / (inside - outside), member, borders)
    if found is None:
        return ()
    hard = "harder" if member[found.part[0]] else "easier"
    return (f"{_said(found, member, rows)} Or these are {hard} records than the others.",)


def _found(gain: np.ndarray, over: np.ndarray, member: np.ndarray, borders: np.ndarray) -> _Part | None:
    """The rows from a border on that are as the other side; None where there are none."""
    known, new = _memory(gain[member], over[member]), _memory(gain[~member], over[~member])
    if known.share - new.share < PLAIN:
        return None
    like_other = np.where(member, -1, 1) * gain * (over - (known.share + new.share) / 2 * gain)
    edges = [0, *borders, len(member)]
    for k, border in enumerate(borders):
        for run in (np.arange(edges[k], border)[::-1], np.arange(border, edges[k + 2])):
            sums = np.cumsum(like_other[run])
            size = 1 + int(sums.argmax())
            if size < LEAST or sums.max() < BEYOND * _by_chance(like_other[run]):  # of a whole run it is no more
                continue
            mine = member[run[0]]
            rest = member == mine
            rest[run[:size]] = False
            here, there = _memory(gain[run[:size]], over[run[:size]]), _memory(gain[rest], over[rest])
            apart = (there.share - here.share) * (1 if mine else -1)
            if apart > max(PLAIN, SURE * np.hypot(here.error, there.error)):
                return _Part(run[:size], run, apart)
    return None


def _by_chance(values: np.ndarray) -> float:
    """The largest sum that a beginning of these values has in a random order."""
    rng = np.random.default_rng(0)
    return max(float(np.cumsum(rng.permutation(values)).max()) for _ in range(ORDERS))


def _usual(shadows: np.ndarray, trained: np.ndarray, part: np.ndarray) -> float:
    """By how much the share of these rows may differ: models know one class or source more than another."""
    each = []
    for k, mine in enumerate(trained):
        others = np.arange(len(trained)) != k
        gain, over = _beside(shadows[k], shadows[others], trained[others])
        expected = np.where(mine, _memory(gain[mine], over[mine]).share, _memory(gain[~mine], over[~mine]).share)
        each.append(_memory(gain[part], (over - expected * gain)[part]).share)
    spread = np.sqrt(np.mean(np.square(each)) * (1 + 1 / len(each)))
    return float(stats.t.isf(LEVEL / 2, len(each)) * spread)


def _as_hard(shadows: np.ndarray, trained: np.ndarray, found: _Part) -> bool:
    """Whether these rows are no harder and no easier to models without them than the others of their run are."""
    level = samples.means(shadows, ~trained)[0]
    rest = np.setdiff1d(found.run, found.part)
    return bool(abs(level[found.part].mean() - level[rest].mean()) < HARDER * level[found.run].std())


def _beside(target: np.ndarray, shadows: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float [n], both: how much higher shadows stand with a record than without it, and the target than those."""
    (inside, with_it), (outside, without) = samples.means(shadows, trained), samples.means(shadows, ~trained)
    enough = np.minimum(with_it, without) >= MODELS
    return np.where(enough, inside - outside, 0.0), np.where(enough, target - outside, 0.0)


def _memory(gain: np.ndarray, over: np.ndarray) -> _Memory:
    """The slope of a line through 0, by records, and its standard error."""
    square = max(float((gain**2).sum()), 1e-12)
    share = float((gain * over).sum()) / square
    return _Memory(share, float(np.sqrt((gain**2 * (over - share * gain) ** 2).sum())) / square)


def _said(found: _Part, member: np.ndarray, rows: Array | None) -> str:
    part, run = (each if rows is None else np.asarray(rows)[each] for each in (found.part, found.run))
    count, of = (int(each.max() - each.min()) + 1 for each in (part, run))  # of a sample, with the rows between
    end = "last" if found.part[0] > found.part[-1] else "first"
    where, place = f"the {end} {count:,} of {of:,} rows", f"rows {part.min():,} to {part.max():,}"
    if member[found.part[0]]:
        return (
            f"Of the members side by side, {where} ({place}) are answered by the target as records that are new to it,"
            " and the others are not: member seems to go on too far (n_train was counted before rows were dropped), or"
            " these were held out inside fit, as a validation set. Mark what trained the target."
        )
    return (
        f"Of the records side by side that are no members, {where} ({place}) are answered by the target as its members"
        " are, and the others are not: member seems to end too early. Mark all that trained the target."
    )
