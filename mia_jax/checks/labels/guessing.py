"""Whether one of several models is no such model as the others: it guesses, or other records are hard for it.

Models that were trained for a short time differ much, and one that guesses may be one of them. NumPy and SciPy.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mia_jax.types import Array

LEVEL = 1e-3  # that some model of many like it, trained for a short time, guesses where the others do not
MARGIN = 3.0  # standard errors above chance that agreement must be
COMPARED = 16  # shadows whose agreement with the others is compared with the target's


def apart(gains: np.ndarray, guesses: np.ndarray, error: float) -> np.ndarray:
    """bool [K]: which of the models that guess are no such models as the others: beyond Student's prediction interval.

    Args:
        gains: float [K], ``Beyond.gain`` of each.
        guesses: bool [K].
        error: one standard error of a gain.
    """
    rest = gains[~guesses]
    if len(rest) < 2:
        return np.zeros(len(gains), bool)
    spread = max(float(rest.std(ddof=1)), error) * np.sqrt(1 + 1 / len(rest))
    return guesses & (gains < rest.mean() - stats.t.isf(LEVEL / len(gains), len(rest) - 1) * spread)


def out_of_step(labels: np.ndarray, target: Array, shadows: Array | Sequence[Array]) -> bool:
    """Whether shadows agree with each other on what is hard, within classes, and the target does not with them.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
    """
    own = np.asarray(target)[np.arange(len(labels)), labels]
    if len(shadows) < 2 or len(np.unique(own)) < len(labels) / 10:  # a few leaves of a tree say little of a record
        return False

    def hard(p: Array) -> np.ndarray:
        rank = stats.rankdata(np.asarray(p)[np.arange(len(labels)), labels])
        rank -= (np.bincount(labels, rank) / np.maximum(np.bincount(labels), 1))[labels]
        length = np.sqrt(rank @ rank)
        return rank / length if length > 0 else rank

    each = np.stack([hard(p) for p in shadows[:COMPARED]])
    whole = each.sum(axis=0)

    def agreement(rank: np.ndarray, rest: np.ndarray) -> float:
        length = np.sqrt(rest @ rest)
        return float(rank @ rest / length) if length > 0 else 0.0

    agreed = np.sort([agreement(rank, whole - rank) for rank in each])
    common = min(np.median(agreed), 2 * max(agreed[min(1, len(agreed) - 1)], 0))  # of short trainings some agree little
    sure = np.sqrt(len(labels))
    own = agreement(hard(target), whole)
    return bool(common * sure > 3 * MARGIN and own * sure < MARGIN and own < common / 3)
