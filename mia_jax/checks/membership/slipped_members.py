"""Rows of a part of a file in which models do not go with who is said to have trained them, and do elsewhere.

A block of ``member`` or ``shadow_member`` that slipped by one row, or whose answers are of the other sign, moves every
score and stops nothing. It shows where a model in the target's place is told by the membership of the row before or
after, or the other way round. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import slipped_rows
from mia_jax.checks.models.unlike_shadows import SAMPLE, Beside
from mia_jax.types import Array

LEAST = 100  # rows of a run
NEAR = 3  # rows: every slip up to here is tried
SLIPPED, DROP = 4.7, 3.5  # standard errors of what fits the row beside, and of what its own should and does not
SURE = 7.0  # standard errors of all shadows together
THIRD = 1 / 3  # of what should be, below which it is lost
WHOLE = 0.95  # of the rows, that are all of them


class _Told(NamedTuple):
    """Models in the target's place, and who is said to have trained them: rows of mean 0 and variance 1."""

    score: np.ndarray  # float [1 + S', n], 0 where there is none
    member: np.ndarray  # float [1 + S', n]

    def fits(self, run: slice, by: int = 0) -> np.ndarray:
        """float [1 + S']: correlations within a run, with the membership of the row ``by`` rows on."""
        a = self.score[:, run]
        b = np.roll(self.member, -by, axis=1)[:, run]
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        length = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        return (a * b).sum(axis=1) / np.maximum(length, 1e-9)


def of_shadows(found: Beside, member: Array, shadow_member: Array, rows: Array | None = None) -> tuple[str, ...]:
    """Why a part of ``shadow_member`` may not be that of the rows, in a sentence; or ().

    Args:
        found: of ``unlike_shadows.beside``.
        member: bool [n], of the target.
        shadow_member: bool [S, n], of all shadows that were given there.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    told, steps, called = _told(found, member, shadow_member, rows)
    return _of_shadows(told, steps, called) if len(called) >= 2 * LEAST else ()


def of_target(found: Beside, member: Array, shadow_member: Array, rows: Array | None = None) -> tuple[str, ...]:
    """Why a part of ``member`` may not be that of the rows, in a sentence; or ().

    Args:
        found: of ``unlike_shadows.beside``.
        member, shadow_member, rows: as of ``of_shadows``: bool [n], bool [S, n], int [n].
    """
    told, steps, called = _told(found, member, shadow_member, rows)
    return _of_target(told, steps, called) if len(called) >= 2 * LEAST else ()


def _told(
    found: Beside, member: Array, shadow_member: Array, rows: Array | None
) -> tuple[_Told, list[int], np.ndarray]:
    """The models, the slips that are tried, and what rows are called."""
    n = len(member)
    some = samples.rows(n, SAMPLE)
    who = np.vstack([member, np.asarray(shadow_member)[list(found.numbers)]])[:, some].astype(np.float64)
    told = _Told(np.stack([_ranks(one.score) for one in (found.target, *found.shadows)]), _scaled(who))
    steps = samples.slips(NEAR) if n <= SAMPLE else []
    return told, steps, some if rows is None else np.asarray(rows)[some]


def _ranks(score: np.ndarray) -> np.ndarray:
    known = ~np.isnan(score)
    out = np.zeros(len(score))
    out[known] = _scaled(stats.rankdata(score[known])[None])[0] if known.sum() > 1 else 0.0
    return out


def _scaled(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(rows.std(axis=1, keepdims=True), 1e-9)


def _rest(run: slice, n: int) -> list[slice]:
    return [one for one in (slice(0, run.start), slice(run.stop, n)) if one.stop - one.start >= LEAST]


def _elsewhere(told: _Told, run: slice) -> np.ndarray | None:
    """float [1 + S']: what models fit outside of a run; None where that is nothing."""
    parts = _rest(run, told.score.shape[1])
    if not parts:
        return None
    return np.average([told.fits(one) for one in parts], axis=0, weights=[one.stop - one.start for one in parts])


def _where(run: slice, called: np.ndarray) -> str:
    if run.stop - run.start > WHOLE * len(called):
        return ""
    return f"In {naming.rows(called[run.start], called[run.stop - 1])} "


# --- all shadows -----------------------------------------------------------------------------------------------------


def _of_shadows(told: _Told, steps: list[int], called: np.ndarray) -> tuple[str, ...]:
    """A part in which the shadows together fit the membership of the row beside, or fit theirs the wrong way round."""
    shadows = _Told(told.score[1:], told.member[1:])
    weight = 1 / np.sqrt(2 * len(shadows.score))  # of complementary halves two are one
    own = (shadows.score * shadows.member).sum(axis=0)
    best: tuple[float, slice, int] | None = None
    for by in (0, *steps):
        beside = (shadows.score * np.roll(shadows.member, -by, axis=1)).sum(axis=0)
        run = slipped_rows.largest_run(beside - own if by else -own)
        if run.stop - run.start < LEAST / 2:
            continue
        root = np.sqrt(run.stop - run.start)
        here, other = (shadows.fits(run, step).sum() * weight * root for step in (0, by))
        z = other if by else -here
        enough = z > SURE and (here < THIRD * z)
        if by == 0 and enough:  # the whole is another's to say
            rest = _elsewhere(shadows, run)
            enough = rest is not None and rest.sum() > 0
        if enough and z > (best[0] if best else 0.0):
            best = z, run, by
    if best is None:
        return ()
    _, run, by = best
    root = np.sqrt(run.stop - run.start)
    target = (told.fits(run, by)[0] if by else -told.fits(run)[0]) * root
    whose = "all models" if target > 3 else "the shadows"
    where = _where(run, called)
    if by == 0:
        return (
            f"{where}{whose} are less sure of the records that are said to have trained them than of others, and surer"
            " elsewhere: answers have another sign there, or who trained whom is inverted.",
        )
    arrays = "member and shadow_member" if target > 3 else "shadow_member"
    beside = f"the record {naming.beside(by)} each"
    many = naming.so_many_rows(by)
    text = f"{where}{whose} go with who is said to have trained {beside}, and not with their own"
    return (f"{text[0].upper()}{text[1:]}: {arrays} or the answers seem to be off by {many}{' there' * bool(where)}.",)


# --- the target ------------------------------------------------------------------------------------------------------


def _of_target(told: _Told, steps: list[int], called: np.ndarray) -> tuple[str, ...]:
    """A part in which the target does not go with ``member``, as it does elsewhere and shadows do there with theirs."""
    best: tuple[float, slice, int] | None = None
    for by in steps:
        run = slipped_rows.largest_run(told.score[0] * (np.roll(told.member[0], -by) - told.member[0]))
        if run.stop - run.start < LEAST / 2:
            continue
        z = told.fits(run, by)[0] * np.sqrt(run.stop - run.start)
        if z > max(SLIPPED, best[0] if best else 0.0) and _lost(told, run) > DROP:
            best = z, run, by
    if best:
        _, run, by = best
        return (
            f"{_where(run, called)}the target goes with member of the record {naming.beside(by)} each, and not with its"
            f" own, as the shadows go with theirs: member, or the target's answers, seem to be off by"
            f" {naming.so_many_rows(by)} there.",
        )
    return ()


def _lost(told: _Told, run: slice) -> float:
    """How much less the target goes with ``member`` in a run than it should, in standard errors; 0: enough."""
    rest = _elsewhere(told, run)
    here, root, count = told.fits(run), np.sqrt(run.stop - run.start), len(told.score) - 1
    if rest is None or (usual := float(np.median(rest[1:]))) <= 0 or rest[0] <= 0:
        return 0.0
    share = min(1.0, float(rest[0]) / usual)
    due = share * float(np.mean(here[1:]))
    if here[0] > THIRD * due or here[0] * root > 3:
        return 0.0
    spread = max(float(here[1:].std(ddof=1)), 1 / root)
    error = np.sqrt(spread**2 * (1 + share**2 / count) + (1 / (len(told.score[0]) - root**2) if share < 1 else 0.0))
    return float((due - here[0]) / error)
