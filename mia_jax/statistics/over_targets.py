"""What several targets say together. NumPy and SciPy in float64; never imports jax.

The targets of one audit are models over the same records, and each other's shadows: their numbers are not independent.
A record that leaks does so in every target that it trained; where every model is a target, every record was left out by
exactly half of them. So the variance of a mean has two parts: what the targets' values show, and what the records'
influences on different targets have in common (variance clustered both ways). With it the intervals cover other models
**and** other records of the same population; Student's t over targets alone covered .53 of such means where records
leak unequally (tests/statistics/test_over_targets.py).

References:
    Cameron, Gelbach and Miller 2011 ("Robust inference with multiway clustering"), equation 2.11.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mia_jax.statistics import low_fpr, metrics
from mia_jax.statistics.metrics import Measure

VARIANCE_FLOOR = 0.2  # share of the variance of independent records; below it two estimates nearly cancel
EACH = "each target at its own threshold"
POOLED = "one threshold for all targets"


def mean(
    values: Sequence[float], influence: np.ndarray | None = None, *, within: tuple[float, float] = (0.0, 1.0)
) -> Measure:
    """Mean over targets with Student's t interval.

    The interval is cut to ``within``, the values that there are: rates of a few targets may spread so far that t would
    go below 0.

    Args:
        values: [T].
        influence: [T, n], how much each record moves the value of each target; 0 where it was not judged. Without it
            the targets are taken to be independent.
        within: the smallest and the largest value that there is.
    """
    each = np.asarray(values, np.float64)
    middle, targets = float(each.mean()), len(each)
    if targets < 2:
        return Measure(middle, reason="one target: no interval over targets")
    spread = float(each.var(ddof=1)) / targets
    if spread == 0:
        return Measure(middle, reason=f"all {targets} targets gave the same value: no spread to tell an interval from")
    variance = spread if influence is None else _both_ways(spread, influence / targets)
    half = _t(targets) * math.sqrt(variance)
    return Measure(middle, max(middle - half, within[0]), min(middle + half, within[1]))


def _both_ways(spread: float, influence: np.ndarray) -> float:
    """The variance of a mean over targets that ``spread`` tells, to which record i of target t adds influence[t, i]."""
    alone = float((influence**2).sum())
    shared = float((influence.sum(axis=0) ** 2).sum()) - alone
    return max(spread + shared, VARIANCE_FLOOR * alone)


def _t(targets: int) -> float:
    return float(stats.t.ppf(1 - metrics.TAIL, targets - 1))


def tpr_at_fpr(score: np.ndarray, member: np.ndarray, rate: float) -> Measure:
    """The TPR at a false-positive rate, over targets.

    Where every target's non-members make 10 false alarms, it is the mean of the targets' TPRs, each at its own
    threshold, which is what papers report. Where they do not, a target's TPR would be read off one or two false alarms,
    and be too high or too low whatever the rule; then all targets' scores share **one threshold**, at which the mean
    FPR over targets is ``rate``. That is what an attacker can do who fixes a threshold for all models. It is the same
    number where scores mean the same in every target, as log-likelihood ratios do, and may be a little larger or
    smaller where they do not.

    Args:
        score: [T, n]; NaN where a record was not judged.
        member: bool [T, n].
        rate: the false-positive rate, in (0, 1).

    Returns:
        ``read`` says which of the two it is; or a reason, if all targets together make fewer than 10 false alarms.

    Raises:
        InputError: as ``metrics.tally``, of any target.
    """
    judged = ~np.isnan(score)
    if len(score) == 1:
        return metrics.tpr_at_fpr(score[0][judged[0]], member[0][judged[0]], rate)
    counts = (judged & ~member).sum(axis=1)
    if metrics.resolvable(counts.min(), rate):
        readings = []
        for s, m, j in zip(score, member, judged, strict=True):
            t = metrics.tally(s[j], m[j])
            readings.append(low_fpr.read(s, m, rate, low_fpr.above(t.members, t.non_members)))
        return mean([r.tpr for r in readings], np.stack([r.influence for r in readings]))._replace(read=EACH)
    total = int(counts.sum())
    if not metrics.resolvable(total, rate):
        who = f"{total:,} non-members of {len(score)} targets"
        return Measure(None, reason=metrics.unresolved(who, total * rate, rate))
    t = metrics.tally(score[judged], member[judged])
    pooled = low_fpr.read(score, member, rate, low_fpr.above(t.members, t.non_members))
    targets = len(score)
    alarms = np.where(judged & ~member, pooled.called, 0).sum(axis=1)
    if _incomparable(alarms, counts):
        reason = (
            f"not resolvable: at {rate:g} a target alone has {counts.min() * rate:.2g} false alarms, and the targets'"
            f" scores do not compare ({alarms.max():.0f} of {alarms.sum():.0f} false alarms would be of one of them)"
        )
        return Measure(None, reason=reason)
    spread = targets / (targets - 1) * float((pooled.influence.sum(axis=1) ** 2).sum())
    low, high = low_fpr.interval(pooled, rate, int(t.members.sum()), _both_ways(spread, pooled.influence))
    wider = _t(targets) / metrics.Z
    low, high = pooled.tpr - wider * (pooled.tpr - low), pooled.tpr + wider * (high - pooled.tpr)
    return Measure(pooled.tpr, max(low, 0.0), min(high, 1.0), read=POOLED)


def _incomparable(alarms: np.ndarray, counts: np.ndarray) -> bool:
    """Whether one threshold suits few of the targets: their FPRs spread by more than their mean, beyond chance.

    Args:
        alarms: [T], false alarms of each target at the common threshold.
        counts: [T], non-members of each target.
    """
    expected = alarms.sum() * counts / counts.sum()
    excess = float(((alarms - expected) ** 2 / expected).sum())  # chi-square with T - 1 degrees of freedom
    spread = (excess / (len(alarms) - 1) - 1) / expected.mean()  # the rates' variance over their squared mean
    return bool(spread > 1 and stats.chi2.sf(excess, len(alarms) - 1) < 1e-5)


def auc(score: np.ndarray, member: np.ndarray) -> Measure:
    """The mean area under the ROC; of one target, as ``tpr_at_fpr``, with the interval over its records.

    Args:
        score: [T, n]; NaN where a record was not judged.
        member: bool [T, n].

    Raises:
        InputError: as ``metrics.tally``, of any target.
    """
    if len(score) == 1:
        judged = ~np.isnan(score[0])
        return metrics.auc(score[0][judged], member[0][judged])
    values, influence = [], np.zeros(score.shape)
    for row, (s, m) in enumerate(zip(score, member, strict=True)):
        judged = ~np.isnan(s)
        values.append(metrics.auc(s[judged], m[judged]).value)
        influence[row, judged] = metrics.auc_influence(s[judged], m[judged])
    return mean(values, influence)


def realized(score: np.ndarray, member: np.ndarray, thresholds: Sequence[float], rate: float) -> dict[str, Measure]:
    """The mean "fpr" and "tpr" of thresholds that were set on shadows (``thresholds.threshold_at_fpr``).

    Args:
        score: [T, n]; NaN where a record was not judged.
        member: bool [T, n].
        thresholds: [T]; ``score > threshold`` is called a member.
        rate: that they were set for; where the shadows had too few non-members there is a reason and no value.
    """
    non_members = int((~np.isnan(score) & ~member).sum(axis=1).min())  # as many as its shadow's
    if rate * (non_members + 1) < 1:
        reason = (
            f"not resolvable: {non_members:,} non-members of a shadow are too few to set a threshold for {rate:g} on"
        )
        return dict.fromkeys(("fpr", "tpr"), Measure(None, reason=reason))
    c = Calls.of(score, member, np.asarray(thresholds))
    return {"fpr": mean(c.fpr, c.moves_fpr), "tpr": mean(c.tpr, c.moves_tpr)}


class Calls:
    """Rates of calls over targets [T], and the records' influence on them [T, n]."""

    def __init__(self, called: np.ndarray, inside: np.ndarray, outside: np.ndarray):
        self.m, self.n = (side.sum(axis=1, keepdims=True) for side in (inside, outside))
        self.tp, self.fp = ((called & side).sum(axis=1, keepdims=True) for side in (inside, outside))
        tpr, fpr = self.tp / np.maximum(self.m, 1), self.fp / np.maximum(self.n, 1)
        self.moves_tpr = np.where(inside, called - tpr, 0.0) / np.maximum(self.m, 1)
        self.moves_fpr = np.where(outside, called - fpr, 0.0) / np.maximum(self.n, 1)
        self.tpr, self.fpr = tpr[:, 0], fpr[:, 0]

    @classmethod
    def of(cls, score: np.ndarray, member: np.ndarray, threshold: float | np.ndarray = 0.0) -> "Calls":
        """Counts by target of ``score`` [T, n] above the threshold, [] or [T]; NaN is not judged. ``member``: bool."""
        judged, member = ~np.isnan(score), np.asarray(member, bool)
        threshold = np.broadcast_to(threshold, len(score))[:, None]
        return cls(judged & (score > threshold), judged & member, judged & ~member)

    def influence(self, measure: str, prior: float = 0.5) -> np.ndarray:
        """[T, n], of a measure of ``metrics.evaluate`` by its key; where it has a value in every target."""
        match measure:
            case "accuracy":
                return (self.m * self.moves_tpr - self.n * self.moves_fpr) / (self.m + self.n)
            case "balanced_accuracy":
                return (self.moves_tpr - self.moves_fpr) / 2
            case "recall":
                return self.moves_tpr
            case "precision":
                right, wrong = self.m, self.n  # weights of the two rates
            case "ppv":
                right, wrong = prior, 1 - prior
        a, b = right * self.tp / np.maximum(self.m, 1), wrong * self.fp / np.maximum(self.n, 1)
        return (b * right * self.moves_tpr - a * wrong * self.moves_fpr) / (a + b) ** 2


def block(
    blocks: Sequence[Mapping[str, Any]], score: np.ndarray, member: np.ndarray, label: np.ndarray
) -> dict[str, Any]:
    """The block of all targets together.

    Args:
        blocks: ``metrics.evaluate`` of each target.
        score: [T, n]; NaN where a record was not judged.
        member: bool [T, n].
        label: [n].

    Returns:
        As ``metrics.evaluate``; no value where a target has none. TPRs as ``tpr_at_fpr`` reads them.
    """

    def of(measures: list[Any], calls: Calls, name: str, prior: float = 0.5) -> dict[str, Any]:
        values = [m["value"] for m in measures]
        if None in values:
            return next(m for m in measures if m["value"] is None)
        return mean(values, calls.influence(name, prior)).json()

    calls = Calls.of(score, member)
    out: dict[str, Any] = {
        key: of([b[key] for b in blocks], calls, key)
        for key in ("accuracy", "balanced_accuracy", "precision", "recall")
    }
    absent = [b for b in blocks if b["auc"]["value"] is None]  # members or non-members only
    out["auc"] = absent[0]["auc"] if absent else auc(score, member).json()
    out["tpr_at_fpr"] = {
        at: absent[0]["tpr_at_fpr"][at] if absent else tpr_at_fpr(score, member, float(at)).json()
        for at in blocks[0]["tpr_at_fpr"]
    }
    out["ppv_at_prior"] = {
        at: of([b["ppv_at_prior"][at] for b in blocks], calls, "ppv", float(at)) for at in blocks[0]["ppv_at_prior"]
    }
    medians = [b["median_precision"] for b in blocks if b["median_precision"] is not None]
    out["median_precision"] = float(np.mean(medians)) if medians else None
    out["per_class"] = []
    for rows in zip(*(b["per_class"] for b in blocks), strict=True):
        mine = label == rows[0]["class"]
        calls = Calls.of(score[:, mine], member[:, mine])
        out["per_class"].append(
            {
                "class": rows[0]["class"],
                "members": sum(r["members"] for r in rows),
                "non_members": sum(r["non_members"] for r in rows),
                **{key: of([r[key] for r in rows], calls, key) for key in ("precision", "recall")},
            }
        )
    return out
