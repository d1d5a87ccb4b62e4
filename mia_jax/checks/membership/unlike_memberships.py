"""Rows of a part of a file that no model goes with, the target as little as any shadow: all answers in another order.

Answers and labels of all models that were joined, shuffled or cut together go with each other, and not with the
memberships. It shows in each record's numbers over models beside who trained on it: nothing in a run of rows, and much
elsewhere; or as much with the memberships k rows on. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import fft, stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import slipped_rows
from mia_jax.types import Array

LEAST, PART = 32, 0.85  # rows of a run, and the share of all that it may be where no k explains it
COMPARED, FEWEST = 24, 5  # shadows that are looked at, and models without which nothing is said
BY, LOST = 7.0, 1 / 3  # standard errors of the memberships k rows on, and the share of them that the own ones have
SURE, NOTHING, TENTH = 7.0, 3.5, 0.12  # standard errors of what is missing, and of what is left; and its share
SPREAD = 0.75  # of models elsewhere, that they must have in the run, too: records that all know are alike to all
MIDDLE, WIDE = 0.5, 0.9  # quantiles of it, over records
VARIOUS = 0.5  # of a run's records that models answer otherwise than any other there
FLOOR = 0.01  # of probabilities, for forests give 0
AT_END = 0.03  # of the rows, within which a run is at an end of them, as a validation split is
SAMPLE = 1 << 18  # rows that are looked at, of more


def doubts(models: Array, trained: Array, member: Array | None, rows: Array | None = None) -> tuple[str, ...]:
    """Why the answers of all models may be in another order than the memberships in a part, in a sentence; or ().

    Args:
        models: float [1 + S, n], of target and shadows, larger where a model fits the record better.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target; None: only shadows are looked at.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    some = samples.rows(np.shape(models)[1], SAMPLE)
    few = samples.models(len(trained), COMPARED, target=member is not None)
    if len(few) < FEWEST or len(some) < 2 * LEAST:
        return ()
    numbers = np.asarray(models, np.float64)[np.ix_(few, some)]
    mine = np.zeros(np.shape(models)[1]) if member is None else member
    who = np.vstack([mine, trained])[np.ix_(few, some)].astype(np.float64)
    called = some if rows is None else np.asarray(rows)[some]
    score, drawn = samples.over_models(stats.rankdata(numbers, axis=0)), samples.over_models(who)
    score -= score.mean(axis=1, keepdims=True)
    own = _fit(score, drawn)
    untold = slipped_rows.largest_run(0.5 * own.mean() - own)
    whole = called[-1] - called[0] == len(called) - 1  # not a sample, in which the record k beside is not
    for run in (slice(0, len(own)), untold) if whole else ():
        if run.stop - run.start >= LEAST and (found := _moved(score, drawn, own, run)):
            part, by = found
            many = naming.so_many_rows(by)
            return (
                f"In {naming.rows(called[part.start], called[part.stop - 1])} the numbers of all models go with who is"
                f" said to have trained the record {many} {'after' if by > 0 else 'before'} each, and not with their"
                f" own: member and shadow_member, or all answers and labels, are off by {many} there. {_NEXT}",
            )
    if not LEAST <= untold.stop - untold.start <= PART * len(own) or not _nothing(numbers, own, untold):
        return ()
    near = len(own) * AT_END
    held_out = " or, at an end of the file, held out inside fit" * (
        untold.start < near or untold.stop > len(own) - near
    )
    return (
        f"In {naming.rows(called[untold.start], called[untold.stop - 1])} no model goes with who is said to have"
        " trained it, the target as little as the shadows, and elsewhere they do, though models differ there as much:"
        " member and shadow_member, or all answers and labels, seem to be in another order in these rows"
        f"{held_out} (or these records tell nothing; then audit them apart). {_NEXT}",
    )


def of_answers(sure: Array, trained: Array, member: Array | None) -> tuple[str, ...]:
    """The same of probabilities of the true class, float [1 + S, n]: of their logarithms.

    Args:
        sure: of target and shadows.
        trained, member: as of ``doubts``: bool [S, n], bool [n] or None.
    """
    return doubts(np.log(np.asarray(sure, np.float64) + FLOOR), trained, member)


_NEXT = "Save row numbers with both, and put them in one order."


def _fit(score: np.ndarray, drawn: np.ndarray, by: int = 0) -> np.ndarray:
    """float [n]: how well each record's scores go with the memberships ``by`` rows on, of variance 1 by chance."""
    return (score * np.roll(drawn, -by, axis=1)).sum(axis=0) * np.sqrt(len(score) - 1)


def _within(score: np.ndarray, drawn: np.ndarray, rows: np.ndarray, by: int) -> float:
    """The sum of ``_fit`` over rows int [k], less what models' means in these rows make of it.

    A model whose numbers are smaller than the others' goes with any block that it did not train on.
    """
    a, b = score[:, rows], drawn[:, (rows + by) % drawn.shape[1]]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return float((a * b).sum() * np.sqrt(len(score) - 1))


def _moved(score: np.ndarray, drawn: np.ndarray, own: np.ndarray, run: slice) -> tuple[slice, int] | None:
    """The rows, and k, where scores go with the memberships k rows on; that of a run's rows, beside those of all."""
    n, inside = len(own), np.zeros_like(score)
    inside[:, run] = score[:, run]
    by_step = fft.irfft((np.conj(fft.rfft(inside, axis=1)) * fft.rfft(drawn, axis=1)).sum(axis=0), n)
    by_step[0] = -np.inf
    by = int(np.argmax(by_step))
    known = (np.abs(drawn).sum(axis=0) > 0) & (np.abs(score).sum(axis=0) > 0)  # others have no fit of their own
    there = np.where(known, _fit(score, drawn, by), 0.0)
    found = slipped_rows.largest_run(there - own)
    found = slipped_rows.largest_run(there - own - 0.5 * np.mean((there - own)[found]))  # no longer than it is so
    inner = np.arange(len(own))[found][known[found]]
    if len(inner) < LEAST / 2:
        return None
    beside, itself = _within(score, drawn, inner, by), _within(score, drawn, inner, 0)
    if beside < BY * np.sqrt(len(inner)) or itself > LOST * beside:
        return None
    return found, by if by <= n // 2 else by - n


def _nothing(numbers: np.ndarray, own: np.ndarray, run: slice) -> bool:
    """Whether records of a run tell nothing of memberships, others do, and models differ on them as much."""
    inside = np.zeros(len(own), bool)
    inside[run] = True
    known = own != 0
    here, rest = own[inside & known], own[~inside & known]
    if min(len(here), len(rest)) < LEAST:
        return False
    if len(np.unique(numbers[:, inside], axis=1).T) < VARIOUS * inside.sum():  # padding, which others name
        return False
    if here.mean() > max(TENTH * rest.mean(), 0.0) or abs(here.mean()) * np.sqrt(len(here)) > NOTHING:
        return False
    if (rest.mean() - max(here.mean(), 0.0)) / np.sqrt(1 / len(here) + 1 / len(rest)) < SURE:
        return False
    spread = numbers.std(axis=0)
    within, beyond = (np.quantile(spread[part], [MIDDLE, WIDE]) for part in (inside, ~inside))
    return bool(np.all(within >= SPREAD * beyond))
