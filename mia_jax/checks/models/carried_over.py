"""Shadows whose weights went on from one to the next: each knows records that are new to it better than the last one.

A network that is made outside the loop, or outside ``fit``, is trained further and not anew. So it knows the records of
all earlier shadows, too, and attacks find less than there is. Models that are trained anew have no order. NumPy and
SciPy.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.types import Array

LEAST = 6  # shadows that tell an order
LEVEL = 1e-4  # of a rise that has no reason
WORTH = 0.25  # standard deviations of a record's number, from the first shadow to the last
SIZES = 0.05  # of the largest training set, by which others may differ: larger ones teach more
SAMPLE = 16384  # records that are looked at, of more


def doubts(sure: Array, trained: Array) -> tuple[str, ...]:
    """Why shadows may not have been trained anew each, in a sentence; () where their order tells nothing.

    Args:
        sure: float [S, n], larger where a model fits the record better (the probability of its class), in the order in
            which they were trained.
        trained: bool [S, n], who trained them.
    """
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    numbers, new = np.asarray(sure, np.float64)[:, rows], ~np.asarray(trained, bool)[:, rows]
    sizes, count = (~new).sum(axis=1), new.sum(axis=1)
    if len(numbers) < LEAST or not count.all() or np.ptp(sizes) > SIZES * sizes.max():
        return ()
    usual = np.where(new, numbers, 0).sum(axis=0) / np.maximum(new.sum(axis=0), 1)  # of a record that is new
    level = np.where(new, numbers - usual, 0).sum(axis=1) / count
    line = stats.linregress(np.arange(len(level)), level, alternative="greater")
    rise = line.slope * (len(level) - 1)
    if not line.pvalue < LEVEL or rise < WORTH * numbers.std():
        return ()
    first, last = (np.where(new[k], numbers[k], 0).sum() / count[k] for k in (0, -1))
    return (
        f"Shadows know records that are new to them better from one to the next (a mean of {first:.3g} for the first"
        f" shadow, of {last:.3g} for the last): their weights seem to go on, so that each knows the records of those"
        " before it. Make the network anew for each shadow, inside fit or inside the loop, with a seed of its own.",
    )
