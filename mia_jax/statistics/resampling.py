"""Rates of samples drawn anew, for questions that no closed form answers. NumPy in float64; never imports jax."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.statistics import low_fpr, metrics


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
    of their own, and read both as it is done here: ties are averaged. A sample is its counts, and nothing is sorted
    twice.

    Args:
        score: [n], larger = more likely a member.
        member: bool [n].
        rates: FPRs.
        resamples: how many samples are drawn.
        seed: of the draws.

    Raises:
        InputError: as ``metrics.tally``.
    """
    one = _arranged(score, member, rates)
    rng = np.random.Generator(np.random.SFC64(seed))
    area, tpr = np.empty(resamples), np.empty((resamples, len(rates)))
    for k in range(resamples):
        area[k], tpr[k] = _of_counts(one, *_drawn(rng, len(one.members), len(one.non_members)))
    return Resamples(area, tpr)


def paired(
    scores: Sequence[np.ndarray],
    member: np.ndarray,
    rates: Sequence[float] = metrics.RATES,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Resamples]:
    """``bootstrap`` of several scores of the same records, each time of the same sample: for their differences.

    Args:
        scores: of each model, or attack, [n].
        member, rates, resamples, seed: as of ``bootstrap``.

    Raises:
        InputError: as ``metrics.tally``.
    """
    arranged = [_arranged(score, member, rates) for score in scores]
    inside, outside = (
        [np.argsort(-np.asarray(score)[side], kind="stable") for score in scores] for side in (member, ~member)
    )
    m, n = len(arranged[0].members), len(arranged[0].non_members)
    rng = np.random.Generator(np.random.SFC64(seed))
    area, tpr = np.empty((len(scores), resamples)), np.empty((len(scores), resamples, len(rates)))
    for k in range(resamples):
        of_members, of_others = _drawn(rng, m, n)
        for j, one in enumerate(arranged):
            area[j, k], tpr[j, k] = _of_counts(one, of_members[inside[j]], of_others[outside[j]])
    return [Resamples(*each) for each in zip(area, tpr, strict=True)]


class _Arranged(NamedTuple):
    """Scores, sorted once: the best first, members and non-members apart."""

    members: np.ndarray  # int [m], which of the distinct scores each has
    non_members: np.ndarray  # int [n]
    distinct: int
    rates: Sequence[float]


def _arranged(score: np.ndarray, member: np.ndarray, rates: Sequence[float]) -> _Arranged:
    t = metrics.tally(score, member)
    distinct = np.arange(len(t.value))
    return _Arranged(np.repeat(distinct, t.members), np.repeat(distinct, t.non_members), len(distinct), rates)


def _drawn(rng: np.random.Generator, m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of m members and n non-members is in a sample of as many of either."""
    of_members, of_others = (np.bincount(rng.integers(0, size, size, np.int32), minlength=size) for size in (m, n))
    return of_members, of_others


def _of_counts(one: _Arranged, of_members: np.ndarray, of_others: np.ndarray) -> tuple[float, list[float]]:
    """AUC and TPRs [rates] of a sample, by how often each member [m] and non-member [n] is in it, the best first."""
    members, others = (
        np.bincount(at, count, minlength=one.distinct).astype(int)
        for at, count in ((one.members, of_members), (one.non_members, of_others))
    )
    above = np.cumsum(members)
    won = 2 * above - members  # whole numbers: a product of floating-point ones this long starts threads
    area = float(others @ won / (2 * above[-1] * len(of_others)))
    if not one.rates:
        return area, []
    below = np.cumsum(others)
    return area, [low_fpr.at_rank(members, others, above, below, rate * (below[-1] + 1)) for rate in one.rates]
