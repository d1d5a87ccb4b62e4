"""Thresholds that an adversary could have chosen: set on a shadow, and judged on the target. Never imports jax."""

import math
from typing import Any

import numpy as np

from mia_jax.statistics.metrics import call, proportion, tally


def threshold_at_fpr(score: np.ndarray, member: np.ndarray, rate: float) -> float:
    """The threshold that raises a share ``rate`` of false alarms in expectation, set on a shadow that plays the target.

    It lies at rank r (n + 1) of the shadow's n non-members, between two of them on a straight line (which between the
    first and the second raises up to a tenth less); tied scores fall together, on the side of fewer false alarms. Use
    it on the target's scores with ``realized``: what a threshold was set for, and what it does there, differ.

    Args:
        score: [n], of the shadow's records.
        member: bool [n], which of them trained it.
        rate: r, a false-positive rate.

    Returns:
        ``score > threshold`` is called a member. Infinity, which calls nobody, where r (n + 1) is below 1: a threshold
        at the largest of so few non-members would raise more than that.

    Raises:
        InputError: as ``tally``.
    """
    tally(score, member)
    non_members = np.sort(np.asarray(score, np.float64)[~np.asarray(member, bool)])[::-1]
    rank = rate * (len(non_members) + 1) * (1 + 1e-12)
    if rank < 1:
        return math.inf
    k = math.floor(rank)
    upper, lower = float(non_members[k - 1]), float(non_members[min(k, len(non_members) - 1)])
    return upper + (rank - k) * (lower - upper) if math.isfinite(upper) and math.isfinite(lower) else upper


def realized(threshold: float, score: np.ndarray, member: np.ndarray) -> dict[str, dict[str, Any]]:
    """The FPR and TPR of ``score > threshold`` with their intervals, as results.json has them.

    Args:
        threshold: of ``threshold_at_fpr``.
        score: [n], of the target's records.
        member: bool [n].
    """
    c = call(score, member, threshold)
    return {
        "fpr": proportion(c.fp, c.non_members, "no non-member judged").json(),
        "tpr": proportion(c.tp, c.members, "no member judged").json(),
    }
