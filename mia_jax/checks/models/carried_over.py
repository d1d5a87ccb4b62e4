"""Shadows whose weights went on from one to the next: each knows records that are new to it better than the last one.

A network that is made outside the loop, or outside ``fit``, is trained further and not anew. So it knows the records of
all earlier shadows, too, and attacks find less than there is. Models that are trained anew have no order. NumPy and
SciPy.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.types import Array

LEVEL, WORTH = 1e-4, 0.25  # of a rise that is a doubt: of chance; deviations of a record's number, from first to last
NOTED, MORE = 0.05, 0.3  # the same of one that is a note, of few shadows
LEAST = 4  # shadows that tell an order
SIZES = 0.05  # of the largest training set, by which others may differ: larger ones teach more
SAMPLE = 16384  # records that are looked at, of more


def doubts(sure: Array, trained: Array) -> tuple[str, ...]:
    """Why shadows may not have been trained anew each, in a sentence; () where their order tells nothing.

    Args:
        sure: float [S, n], larger where a model fits a record better (the probability of its class), in the order in
            which they were trained.
        trained: bool [S, n], who trained them.
    """
    rise = _rise(sure, trained, LEVEL, WORTH)
    if rise is None:
        return ()
    return (
        f"{rise}: their weights seem to go on, so that each knows the records of those before it. Make the network anew"
        " for each shadow, inside fit or inside the loop, with a seed of its own.",
    )


def notes(sure: Array, trained: Array) -> tuple[str, ...]:
    """The same where shadows are too few for a doubt, in a sentence.

    Args:
        sure: float [S, n], as of ``doubts``.
        trained: bool [S, n].
    """
    rise = _rise(sure, trained, NOTED, MORE)
    if rise is None:
        return ()
    return (
        f"{rise}. So it is where their weights go on from one to the next, and with so few it may be chance: see that"
        " the network is made anew for each shadow, inside fit or inside the loop, or train more shadows, which tell.",
    )


def _rise(sure: Array, trained: Array, level: float, worth: float) -> str | None:
    """How far what shadows know of new records rises from the first to the last, in a clause; None: by no more than so.

    Args:
        sure, trained: as of ``doubts``.
        level: of chance.
        worth: standard deviations of a record's number.
    """
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    numbers, new = np.asarray(sure, np.float64)[:, rows], ~np.asarray(trained, bool)[:, rows]
    sizes, count = (~new).sum(axis=1), new.sum(axis=1)
    if len(numbers) < LEAST or not count.all() or np.ptp(sizes) > SIZES * sizes.max():
        return None
    usual = np.where(new, numbers, 0).sum(axis=0) / np.maximum(new.sum(axis=0), 1)  # of a record that is new
    known = np.where(new, numbers - usual, 0).sum(axis=1) / count
    line = stats.linregress(np.arange(len(known)), known, alternative="greater")
    if not line.pvalue < level or line.slope * (len(known) - 1) < worth * numbers.std():
        return None
    first, last = (np.where(new[k], numbers[k], 0).sum() / count[k] for k in (0, -1))
    return (
        "Shadows know records that are new to them better from one to the next (a mean of"
        f" {first:.3g} for the first shadow, of {last:.3g} for the last)"
    )
