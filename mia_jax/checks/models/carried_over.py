"""Shadows whose weights went on from one to the next: each knows records that are new to it better than the last one.

A network that is made outside the loop, or outside ``fit``, is trained further and not anew. So it knows the records of
all earlier shadows, too, and attacks find less than there is. Models that are trained anew have no order, unless
somebody saved them in that of a setting. NumPy and SciPy.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.types import Array

LEAST, FEW = 4, 8  # shadows that tell an order; fewer than the second tell it less surely
RECORDS = 100  # of fewer, what few shadows know of new ones is chance
LEVEL, WORTH = 1e-4, 0.25  # of a rise: of chance; deviations of a record's number, from the first to the last
FEW_LEVEL, FEW_WORTH = 0.05, 0.3  # the same of few shadows
SIZES = 0.05  # of the largest training set, by which others may differ: larger ones teach more
SAMPLE = 16384  # records that are looked at, of more
START = "Shadows know records that are new to them better from one to the next"
ANEW = "Make the network anew for each shadow, inside fit or inside the loop, with a seed of its own."


def doubts(sure: Array, trained: Array) -> tuple[str, ...]:
    """Why shadows that were trained one after the other may not have been trained anew each, in a sentence; or ().

    Args:
        sure: float [S, n], larger where a model fits a record better (the probability of its class), in the order in
            which they were trained.
        trained: bool [S, n], who trained them.
    """
    rise = _rise(sure, trained) if len(sure) >= FEW else None
    return () if rise is None else (f"{rise}: their weights seem to go on from one to the next. {ANEW}",)


def notes(sure: Array, trained: Array) -> tuple[str, ...]:
    """The same of few shadows, and of those of which nobody knows in which order they were trained, in a sentence.

    Args:
        sure: float [S, n], as of ``doubts``.
        trained: bool [S, n].
    """
    if len(sure) >= FEW:
        rise, chance = _rise(sure, trained), ""
    else:
        rise = _rise(sure, trained, FEW_LEVEL, FEW_WORTH) if np.shape(sure)[1] >= RECORDS else None
        chance = ", or, with so few, by chance"
    if rise is None:
        return ()
    return (
        f"{rise}. So it is where their weights went on from one to the next, where they are in the order of a setting"
        f" (epochs, C, depth){chance}. {ANEW}",
    )


def _rise(sure: Array, trained: Array, level: float = LEVEL, worth: float = WORTH) -> str | None:
    """How far what shadows know of new records rises from the first to the last, in a clause; None: by no more than so.

    Args:
        sure, trained: as of ``doubts``.
        level: of chance.
        worth: standard deviations of a record's number.
    """
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    numbers, new = np.asarray(sure, np.float64)[:, rows], ~np.asarray(trained, bool)[:, rows]
    sizes, count = (~new).sum(axis=1), new.sum(axis=1)
    if len(numbers) < LEAST or not count.all() or not np.isfinite(numbers).all():
        return None
    usual = np.where(new, numbers, 0).sum(axis=0) / np.maximum(new.sum(axis=0), 1)  # of a record that is new
    known, order = np.where(new, numbers - usual, 0).sum(axis=1) / count, np.arange(len(numbers))
    uneven = np.ptp(sizes) > SIZES * sizes.max() and stats.spearmanr(sizes, order).pvalue < 0.05
    if uneven or not known.std() > 0:
        return None
    line = stats.linregress(order, known, alternative="greater")
    if not line.pvalue < level or line.slope * order[-1] < worth * numbers.std():
        return None
    first, last = (np.where(new[k], numbers[k], 0).sum() / count[k] for k in (0, -1))
    return f"{START} (a mean of {first:.3g} for the first shadow, of {last:.3g} for the last)"
