"""Rates of samples drawn anew, for questions that no closed form answers. NumPy in float64; never imports jax."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.statistics import metrics


class Resamples(NamedTuple):
    """What ``resamples`` bootstrap samples gave."""

    auc: np.ndarray  # [resamples]
    tpr: np.ndarray  # [resamples, rates]


def bootstrap(
    score: np.ndarray,
    member: np.ndarray,
    rates: Sequence[float] = metrics.RATES,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Resamples:
    """AUC and TPR at FPR of samples drawn anew from these members and, apart, from these non-members (stratified).

    For joint questions, such as the difference of two rates; ``metrics.auc`` and ``metrics.tpr_at_fpr`` have intervals
    of their own. TPRs are at rank r (n + 1) of the non-members, members tied with one of them are not found. A sample
    is its counts, and nothing is sorted twice.

    Args:
        score: [n], larger = more likely a member.
        member: bool [n].
        rates: FPRs.
        resamples: how many samples are drawn.
        seed: of the draws.

    Raises:
        InputError: as ``metrics.tally``.
    """
    t = metrics.tally(score, member)
    m, n = int(t.members.sum()), int(t.non_members.sum())
    distinct = np.arange(len(t.value))
    at_member, at_non_member = np.repeat(distinct, t.members), np.repeat(distinct, t.non_members)  # best scores first
    before, until = (
        np.searchsorted(at_member, at_non_member, side) for side in ("left", "right")
    )  # members above, or tied
    tied = bool((before != until).any())
    ranks = np.array([rate * (n + 1) for rate in rates]) - 1  # of non-members, from 0
    first = np.floor(ranks)
    rng = np.random.Generator(np.random.SFC64(seed))
    area, tpr, above = np.empty(resamples), np.empty((resamples, len(ranks))), np.zeros(m + 1, np.int64)
    for k in range(resamples):
        np.cumsum(np.bincount(rng.integers(0, m, m, np.int32), minlength=m), out=above[1:])
        count = np.bincount(rng.integers(0, n, n, np.int32), minlength=n)
        won = above[before]
        area[k] = count @ won + (count @ above[until] if tied else count @ won)
        seen = np.cumsum(count)
        places = (np.minimum(np.searchsorted(seen, r, "right"), n - 1) for r in (first, first + 1))
        one, two = (np.where(r < 0, 0, won[place]) for r, place in zip((first, first + 1), places, strict=True))
        tpr[k] = one + (ranks - first) * (two - one)
    return Resamples(area / (2 * m * n), tpr / m)
