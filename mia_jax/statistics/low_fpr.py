"""The ROC at a low false-positive rate, from the ranks of non-members. NumPy and SciPy in float64; never imports jax.

Whoever calls all above the k-th largest of n non-members a member raises, of non-members not yet seen, a share of
k / (n + 1) false alarms in expectation. So the TPR at FPR r is read at **rank r (n + 1)**, between two non-members by
interpolation. (The largest TPR of which the sample's own FPR is at most r is another number: its expected FPR is up to
1 / (n + 1) larger, which at one or two false alarms is as much again.) Where a ROC bends that is too low on average, by
.005 at 10 false alarms in simulated worlds: nothing beside one target's standard error, and much beside that of a mean
over a hundred. There it is estimated by what halves of the non-members give, and taken off (the jackknife), which
leaves .001 at most.

**Ties** are broken as by a coin, averaged exactly: a tied group is a straight piece of the ROC, as it is for the area
under it, and a score that tells nothing finds a share r of the members.

References:
    Quenouille 1956 (the jackknife); Jeffreys 1946, Clopper and Pearson 1934 (proportions).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special, stats

TAIL = 0.025  # at each end of an interval
Z = float(stats.norm.ppf(1 - TAIL))
GRID = 200  # places of the threshold that an interval is a mixture over
FEW = 5  # members found, or missed, below which the interval is Clopper and Pearson's: Jeffreys' may cover too little
LEAST = 0.01  # of the variance of independent records, that the scores leave: no interval has zero width


class Reading(NamedTuple):
    """What scores say at a false-positive rate."""

    tpr: float
    curve: np.ndarray  # [n + 1], as ``above``
    called: np.ndarray  # as the scores; 1 above the threshold, 0 below, a share of 1 at it
    influence: np.ndarray  # as the scores; how much a record moves ``tpr``: they sum to 0
    independent: float  # the variance of ``tpr`` if all records were independent and none tied


def above(members: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """Share of the members above the k-th largest non-member, k = 0 .. n: float64 [n + 1], ties averaged.

    Args:
        members: [k] how many have each distinct score, largest score first.
        non_members: [k], as ``members``.
    """
    before = np.cumsum(members) - members
    group = np.repeat(np.arange(len(non_members)), non_members)
    place = np.arange(1, len(group) + 1) - (np.cumsum(non_members) - non_members)[group]
    found = before[group] + members[group] * place / (non_members[group] + 1)
    return np.concatenate([[0.0], found]) / members.sum()


def at_rank(
    members: np.ndarray, non_members: np.ndarray, members_so_far: np.ndarray, so_far: np.ndarray, rank: float
) -> float:
    """The curve of ``above`` at one rank, as ``at`` reads it, without the whole curve: a float.

    Args:
        members, non_members: as of ``above``.
        members_so_far, so_far: their cumulative sums, [k].
        rank: in [0, n + 1].
    """
    first = min(int(rank), int(so_far[-1]))
    ranks = np.array([first, min(first + 1, int(so_far[-1]))])
    group = np.searchsorted(so_far, ranks)  # of the k-th largest non-member
    place = ranks - (so_far[group] - non_members[group])
    found = members_so_far[group] - members[group] + members[group] * place / (non_members[group] + 1)
    found = np.where(ranks > 0, found, 0.0) / members_so_far[-1]
    return float(np.interp(rank, [first, first + 1], found))


def at(curve: np.ndarray, rank: float | np.ndarray) -> np.ndarray:
    """The curve [n + 1] between ranks, by interpolation; ranks beyond its ends are its ends."""
    return np.interp(rank, np.arange(len(curve)), curve)


def plain(curve: np.ndarray, rate: float) -> float:
    """The TPR at FPR ``rate``, read at rank r (n + 1) of the curve [n + 1]."""
    return float(at(curve, rate * len(curve)))


def jackknifed(curve: np.ndarray, rate: float) -> float:
    """``plain`` less what its bias is in halves of the non-members, in [0, 1]: for means over targets."""
    n = len(curve) - 1
    whole, half = plain(curve, rate), n // 2
    if half < 1:
        return whole
    return min(1.0, max(0.0, (n * whole - half * _of_halves(curve, half, rate)) / (n - half)))


def _of_halves(curve: np.ndarray, half: int, rate: float) -> float:
    """The mean over all choices of ``half`` of the non-members of what each gives at rank r (half + 1).

    The k-th largest of a choice is the x-th of all with probability C(x - 1, k - 1) C(n - x, half - k) / C(n, half).
    """
    n, rank = len(curve) - 1, rate * (half + 1)
    total = 0.0
    for k, weight in ((math.floor(rank), 1 - rank % 1), (math.floor(rank) + 1, rank % 1)):
        if k < 1 or weight == 0:  # above the largest there is nobody
            continue
        k = min(k, half)
        middle = k * (n + 1) / (half + 1)
        spread = 10 * math.sqrt(k * (n + 1) * (half + 1 - k) * (n - half) / (half + 2)) / (half + 1) + 10
        x = np.arange(max(k, math.floor(middle - spread)), min(n - half + k, math.ceil(middle + spread)) + 1)
        log_p = _log_choose(x - 1, k - 1) + _log_choose(n - x, half - k) - _log_choose(n, half)
        total += weight * float(np.exp(log_p) @ curve[x])
    return total


def _log_choose(n, k):
    return special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)


def read(
    score: np.ndarray,
    member: np.ndarray,
    rate: float,
    curve: np.ndarray,
    estimate: Callable[[np.ndarray, float], float] = jackknifed,
) -> Reading:
    """The TPR of ``score`` at FPR ``rate``, and what it depends on.

    Args:
        score: [n] or [T, n], no NaN where it is judged; NaN is not judged and has no influence.
        member: bool, as ``score``.
        rate: the false-positive rate.
        curve: ``above`` of these scores.
        estimate: ``jackknifed`` or ``plain``.
    """
    judged = ~np.isnan(score)
    inside, outside = member & judged, ~member & judged
    m, n = int(inside.sum()), int(outside.sum())
    rank = rate * (n + 1)
    k = min(max(math.ceil(rank), 1), n)
    threshold = np.partition(score[outside], n - k)[n - k]
    beyond, tied = int((score[outside] > threshold).sum()), int((score[outside] == threshold).sum())
    share = min(1.0, max(0.0, (rank - beyond) / (tied + 1)))
    called = np.where(score > threshold, 1.0, np.where(score == threshold, share, 0.0))
    width = max(1.0, math.sqrt(rank))
    low, high = max(rank - width, 0.0), min(rank + width, float(n))
    slope = float(at(curve, high) - at(curve, low)) * (n + 1) / (high - low)
    tpr, fpr = called[inside].mean(), called[outside].mean()
    influence = np.where(inside, (called - tpr) / m, 0.0) - np.where(outside, slope * (called - fpr) / n, 0.0)
    value = estimate(curve, rate)
    return Reading(value, curve, called, influence, value * (1 - value) / m + slope**2 * rate * (1 - rate) / n)


def interval(reading: Reading, rate: float, members: int, variance: float) -> tuple[float, float]:
    """Both uncertainties of a TPR at an FPR: where the threshold lies, and how many members are above it.

    The share of non-members above the true threshold is Beta(n r + 1/2, n (1 - r) + 1/2) in the sample, and of the
    members a share p above that the TPR is Beta(m p + 1/2, m (1 - p) + 1/2). That is the stratified bootstrap over
    members and non-members, without its noise, and with Jeffreys' halves. Where fewer than 5 members are found, or
    missed, the limits are Clopper and Pearson's, Beta(m p, m (1 - p) + 1) and Beta(m p + 1, m (1 - p)).

    Records that depend on each other, or are tied, count as more or fewer than they are: m and n are divided by
    ``variance`` / ``reading.independent``.

    Args:
        reading: of ``read``.
        rate: r.
        members: m.
        variance: of the TPR, as the records' influence tells it.
    """
    n, value = len(reading.curve) - 1, reading.tpr
    effect = max(variance / reading.independent, LEAST) if reading.independent > 0 else 1.0
    n_eff, m_eff = n / effect, members / effect
    places = (np.arange(GRID) + 0.5) / GRID
    found = at(reading.curve, (n + 1) * special.betaincinv(n_eff * rate + 0.5, n_eff * (1 - rate) + 0.5, places))
    lower, upper = (0, 1) if min(value, 1 - value) * m_eff < FEW else (0.5, 0.5)

    def quantile(p: float, extra: float) -> float:
        a = np.maximum(m_eff * found + extra, 1e-9)  # 0 of m and m of m: the limit
        b = np.maximum(m_eff * (1 - found) + 1 - extra, 1e-9)
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if special.betainc(a, b, middle).mean() < p else (low, middle)
        return (low + high) / 2

    low = 0.0 if value == 0 else min(quantile(TAIL, lower), value)
    high = 1.0 if value == 1 else max(quantile(1 - TAIL, upper), value)
    return low, high
