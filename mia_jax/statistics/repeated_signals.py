"""Numbers that recur in runs of rows of one length: a batch's mean that was saved for each of its records.

A number per record differs from record to record; equal ones that stand side by side, as many each time and at the same
places, are no accident. NumPy; never imports jax.
"""

import numpy as np

from mia_jax.statistics import naming
from mia_jax.types import Array

SHORT = 3  # equal numbers side by side, at least
RUNS, SHARE = 4, 0.05  # runs of one length, and the rows that are in such, at least
ONE_LENGTH = 0.8  # of all runs (the last batch is a shorter one)
VARIOUS = 0.9  # of the runs differ from each other, and so do the other numbers


def doubts(models: Array) -> tuple[str, ...]:
    """Why numbers may be batches' means, in a sentence; () where they seem to be each record's own.

    Args:
        models: float [1 + S, n], of target and shadows.
    """
    found = {k: length for k, row in enumerate(np.asarray(models)) if (length := _length(row))}
    if not found:
        return ()
    whose = "the target and the shadows" if len(found) == len(models) else naming.models(list(found))
    length = next(iter(found.values()))
    return (
        f"The numbers of {whose} recur {length} times, row after row: they seem to be the mean of a batch, saved for"
        f" each of its records, or of {length} copies of each record. Save one number for each record"
        " (reduction='none', or batches of one record).",
    )


def _length(row: np.ndarray) -> int:
    """How many equal numbers stand side by side, in runs of one length; 0 where none do."""
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    lengths = np.diff(np.r_[starts, len(row)])
    long = lengths >= SHORT
    if long.sum() < RUNS:
        return 0
    length = int(np.bincount(lengths[long]).argmax())
    of_it = lengths == length
    values = row[starts]
    various = len(np.unique(values)) >= VARIOUS * len(values)
    at = np.bincount(starts[of_it] % length).max()  # batches begin at multiples of their size, after one place
    enough = of_it.sum() >= RUNS and length * of_it.sum() >= SHARE * len(row)
    return length if enough and various and min(at, of_it.sum()) >= ONE_LENGTH * long.sum() else 0
