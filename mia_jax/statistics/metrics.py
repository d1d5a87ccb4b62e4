"""How well an attack tells members from non-members, and how sure that is. Never imports jax.

NumPy and SciPy in float64. Letters: m members and n non-members with a score each, k distinct score values. A record is
**called a member when its score is above 0**; a score of exactly 0 is on the boundary and is not called one. Ties are
one straight piece of the ROC, whatever order they come in. Every interval is at 95 % and none has zero width: a record
that was never seen may still come.

References:
    DeLong, DeLong and Clarke-Pearson 1988 (AUC), in the fast form of Sun and Xu 2014: midranks instead of pairs.
    Newcombe 2006, method 5 (AUC near 0 or 1). Clopper and Pearson 1934 (proportions).
    Zou and Donner 2008 (the sum of two proportions from the limits of each, "MOVER").
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

from mia_jax.statistics import low_fpr
from mia_jax.types import InputError

TAIL, Z = low_fpr.TAIL, low_fpr.Z
RATES = (0.1, 0.01, 0.001, 0.0001)  # false-positive rates of a report, the last where it is resolvable
PRIORS = (0.5, 0.1, 0.01)  # shares of members among the records that an adversary asks about
RESOLVABLE = 10  # false alarms that a rate must stand on before it is a number


class Measure(NamedTuple):
    """A number with its interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    read: str | None = None  # how, where there are several ways

    def __str__(self) -> str:
        """As a table has it: ``0.968 [0.960, 0.975]``, or the reason."""
        if self.value is None:
            return self.reason or "none"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends}"

    def json(self) -> dict[str, Any]:
        """As results.json has it: {"value", "low", "high"} or {"value": null, "reason"}; "read" where it is told."""
        return {key: v for key, v in self._asdict().items() if key == "value" or v is not None}


class Roc(NamedTuple):
    """Rates of calling ``score > threshold`` a member, from nobody (0, 0) to everybody (1, 1)."""

    fpr: np.ndarray  # [k + 1]
    tpr: np.ndarray  # [k + 1]
    threshold: np.ndarray  # [k + 1], falling: the distinct scores, then -inf


class Tally(NamedTuple):
    """Scores as counts, which is all that a ROC depends on."""

    value: np.ndarray  # [k] distinct scores, falling
    members: np.ndarray  # [k] int64
    non_members: np.ndarray  # [k] int64


def tally(score: np.ndarray, member: np.ndarray) -> Tally:
    """Count members and non-members at each distinct score.

    Args:
        score: [n]; infinities are scores, NaN is refused.
        member: [n] bool or 0/1.

    Raises:
        InputError: lengths differ, a score is NaN, or one of the two sides is empty.
    """
    score, member = np.asarray(score, np.float64), np.asarray(member)
    if score.ndim != 1 or score.shape != member.shape:
        raise InputError(f"scores {score.shape} and membership {member.shape}: give one of each per record, [n]")
    if np.isnan(score).any():
        raise InputError(
            f"{np.isnan(score).sum()} of {len(score)} scores are NaN: leave these records out, and count them"
        )
    member = member.astype(bool)
    if member.all() or not member.any():
        raise InputError(f"{member.sum()} members and {(~member).sum()} non-members: an evaluation needs both")
    value, where = np.unique(score, return_inverse=True)
    members = np.bincount(where[member], minlength=len(value))
    non_members = np.bincount(where[~member], minlength=len(value))
    return Tally(value[::-1], members[::-1], non_members[::-1])


# --- curves ----------------------------------------------------------------------------------------------------------


def roc(score: np.ndarray, member: np.ndarray) -> Roc:
    """The ROC over the distinct scores: tied records are called together or not at all.

    Args:
        score: [n], larger = more likely a member.
        member: bool [n].

    Raises:
        InputError: as ``tally``.
    """
    t = tally(score, member)
    fpr, tpr = (np.concatenate([[0], np.cumsum(side)]) / side.sum() for side in (t.non_members, t.members))
    return Roc(fpr, tpr, np.append(t.value, -np.inf))


def auc(score: np.ndarray, member: np.ndarray) -> Measure:
    """Area under the ROC = P(a member's score > a non-member's) + P(tie) / 2, with DeLong's interval of its logit.

    DeLong sees only the spread that the sample shows. Where fewer than 10 records of the smaller side would be ranked
    wrongly, the interval is widened to Newcombe's, whose variance follows from the area: DeLong's alone covered the
    truth in .66 to .98 of such simulated audits, this one in .95 to 1. Where all pairs compare alike (perfect
    separation, a constant score) there is no spread at all: of min(m, n) disjoint pairs none compared otherwise, so a
    share of at most e = 1 - .025^(1 / min(m, n)) would.

    Args:
        score: [n], larger = more likely a member; no NaN.
        member: bool [n].

    Returns:
        The area, in [0, 1]; 1/2 tells nothing.

    Raises:
        InputError: as ``tally``.

    >>> import numpy as np, mia_jax as mia
    >>> member = np.arange(200) < 100
    >>> print(mia.auc(np.where(member, 1.0, -1.0), member))  # perfect separation, of 100 members and 100 others
    1.000 [0.964, 1.000]
    """
    t = tally(score, member)
    m, n, beats, loses = _placements(t)
    area = float(t.members @ beats) / m
    if min(m, n) < 2:
        return Measure(area, 0.0, 1.0)
    variance = float(
        t.members @ (beats - area) ** 2 / (m * (m - 1)) + t.non_members @ (loses - area) ** 2 / (n * (n - 1))
    )
    if variance < 1e-18:
        e = 1 - TAIL ** (1 / min(m, n))
        return Measure(area, area * (1 - e), area * (1 - e) + e)
    half = Z * math.sqrt(variance) / (area * (1 - area))
    low, high = (float(end) for end in special.expit(special.logit(area) + np.array([-half, half])))
    if min(area, 1 - area) * min(m, n) < RESOLVABLE:
        widest = _newcombe(area, m, n)
        low, high = min(low, widest[0]), max(high, widest[1])
    return Measure(area, low, high)


def area(score: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """The AUC of scores [n] alone, and its standard error if they told nothing of who is a ``member``, bool [n]."""
    t = tally(score, member)
    m, n, beats, _ = _placements(t)
    return float(t.members @ beats) / m, float(np.sqrt((1 / m + 1 / n) / 12))


def _placements(t: Tally) -> tuple[int, int, np.ndarray, np.ndarray]:
    """m, n, and at each distinct score the share of the non-members below it and of the members above it; ties half."""
    m, n = int(t.members.sum()), int(t.non_members.sum())
    return m, n, (n - np.cumsum(t.non_members) + t.non_members / 2) / n, (np.cumsum(t.members) - t.members / 2) / m


def auc_influence(score: np.ndarray, member: np.ndarray) -> np.ndarray:
    """How much each record moves the area under the ROC, [n]: DeLong's terms, which sum to 0.

    Args:
        score: [n], larger = more likely a member.
        member: bool [n].

    Raises:
        InputError: as ``tally``.
    """
    t = tally(score, member)
    m, n, beats, loses = _placements(t)
    area = float(t.members @ beats) / m
    where = np.searchsorted(-t.value, -np.asarray(score, np.float64))
    return np.where(np.asarray(member, bool), (beats[where] - area) / m, (loses[where] - area) / n)


def _newcombe(area: float, m: int, n: int) -> tuple[float, float]:
    """The areas a that are Z standard errors from ``area``, with the error that exponential scores of area a have."""
    size = (m + n) / 2

    def excess(a, sign):
        variance = a * (1 - a) * (1 + (size - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
        return sign * (area - a) - Z * math.sqrt(variance)

    low = optimize.brentq(excess, 0.0, area, args=(1,)) if excess(0.0, 1) > 0 else 0.0
    high = optimize.brentq(excess, area, 1.0, args=(-1,)) if excess(1.0, -1) > 0 else 1.0
    return low, high


def tpr_at_fpr(score: np.ndarray, member: np.ndarray, rate: float) -> Measure:
    """The TPR at a false-positive rate, which false alarms not yet seen have in expectation (``low_fpr``).

    Args:
        score: [n], larger = more likely a member; no NaN.
        member: bool [n].
        rate: the false-positive rate, in (0, 1).

    Returns:
        The TPR and its interval, or a reason if fewer than 10 false alarms are expected.

    Raises:
        InputError: as ``tally``.

    >>> import numpy as np, mia_jax as mia
    >>> member = np.arange(200) < 100
    >>> print(mia.tpr_at_fpr(np.where(member, 1.0, -1.0), member, 0.01))
    not resolvable: 100 non-members x 0.01 = 1 false alarms, fewer than 10
    """
    t = tally(score, member)
    m, n = int(t.members.sum()), int(t.non_members.sum())
    if not resolvable(n, rate):
        return Measure(None, reason=unresolved(f"{n:,} non-members", n * rate, rate))
    score, member = np.asarray(score, np.float64), np.asarray(member, bool)
    found = low_fpr.read(score, member, rate, low_fpr.above(t.members, t.non_members), low_fpr.plain)
    return Measure(found.tpr, *low_fpr.interval(found, rate, m, float((found.influence**2).sum())))


def resolvable(non_members: int, rate: float) -> bool:
    """Whether so many non-members make ten false alarms at a rate."""
    return non_members * rate >= RESOLVABLE * (1 - 1e-9)


def unresolved(who: str, expected: float, rate: float) -> str:
    """The reason why there is no TPR at this rate."""
    return f"not resolvable: {who} x {rate:g} = {expected:.3g} false alarms, fewer than {RESOLVABLE}"


# --- at a threshold --------------------------------------------------------------------------------------------------


def proportion(successes: int, trials: int, reason: str = "no trials") -> Measure:
    """successes / trials with Clopper and Pearson's interval, which covers at least 95 %."""
    if trials == 0:
        return Measure(None, reason=reason)
    return Measure(successes / trials, *limits(successes, trials, TAIL))


def limits(successes: int, trials: int, tail: float) -> tuple[float, float]:
    """Exact limits of a proportion; each is exceeded with a probability of at most ``tail``."""
    low = special.betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)


class Called(NamedTuple):
    """How many were called members at a threshold."""

    tp: int
    fp: int
    members: int
    non_members: int


def call(score: np.ndarray, member: np.ndarray, threshold: float = 0.0) -> Called:
    """Call ``score > threshold`` a member, and count; ``score`` [n], ``member`` bool [n]."""
    member = np.asarray(member, bool)
    called = np.asarray(score, np.float64) > threshold
    return Called(int((called & member).sum()), int((called & ~member).sum()), int(member.sum()), int((~member).sum()))


def balanced_accuracy(c: Called) -> Measure:
    """(TPR + TNR) / 2; its limits from the two Clopper-Pearson intervals (MOVER)."""
    if not c.members or not c.non_members:
        return Measure(None, reason="no members or no others")
    tpr, tnr = c.tp / c.members, (c.non_members - c.fp) / c.non_members
    tpr_low, tpr_high = limits(c.tp, c.members, TAIL)
    tnr_low, tnr_high = limits(c.non_members - c.fp, c.non_members, TAIL)
    value = (tpr + tnr) / 2
    low = value - math.hypot(tpr - tpr_low, tnr - tnr_low) / 2
    high = value + math.hypot(tpr_high - tpr, tnr_high - tnr) / 2
    return Measure(value, max(low, 0.0), min(high, 1.0))


def ppv(c: Called, prior: float) -> Measure:
    """Precision where a share ``prior`` of the records are members: TPR prior / (TPR prior + FPR (1 - prior)).

    Limits: TPR and FPR at their Clopper-Pearson limits of 97.5 % each, so that both hold at 95 %.
    """
    if not c.members or not c.non_members:
        return Measure(None, reason="no members or no others")
    if c.tp + c.fp == 0:
        return Measure(None, reason="no record was called a member")
    tail = TAIL / 2

    def precision(tpr, fpr):
        right, wrong = tpr * prior, fpr * (1 - prior)
        return right / (right + wrong) if right + wrong else 0.0

    tpr_low, tpr_high = limits(c.tp, c.members, tail)
    fpr_low, fpr_high = limits(c.fp, c.non_members, tail)
    value = precision(c.tp / c.members, c.fp / c.non_members)
    return Measure(value, precision(tpr_low, fpr_high), precision(tpr_high, fpr_low))


def per_class(score: np.ndarray, member: np.ndarray, label: np.ndarray, num_classes: int) -> list[dict[str, Any]]:
    """Precision and recall of each class with its support, as results.json has them; all classes, in order.

    Args:
        score: [n]; above 0: called a member.
        member: bool [n].
        label: int [n], the records' classes, below ``num_classes``.
        num_classes: c.
    """
    score, member, label = np.asarray(score, np.float64), np.asarray(member, bool), np.asarray(label)
    if len(label) and (label.min() < 0 or label.max() >= num_classes):
        raise InputError(f"labels from {label.min()} to {label.max()}, but {num_classes} classes: labels are 0-based")
    called = score > 0
    members, non_members, tp, fp = (
        np.bincount(label[rows], minlength=num_classes) for rows in (member, ~member, called & member, called & ~member)
    )
    rows = []
    for c in range(num_classes):
        precision = proportion(int(tp[c]), int(tp[c] + fp[c]), "no record was called a member")
        recall = proportion(int(tp[c]), int(members[c]), "no member judged")
        rows.append(
            {
                "class": c,
                "members": int(members[c]),
                "non_members": int(non_members[c]),
                "precision": precision.json(),
                "recall": recall.json(),
            }
        )
    return rows


# --- all together --------------------------------------------------------------------------------------------------


def evaluate(
    score: np.ndarray,
    member: np.ndarray,
    label: np.ndarray | None = None,
    num_classes: int | None = None,
    *,
    rates: Sequence[float] = RATES,
) -> Mapping[str, Any]:
    """All measures of one attack with their intervals: its block of results.json.

    Args:
        score: [n], no NaN.
        member: [n].
        label: [n] true classes, 0-based; None: nothing is told by class.
        num_classes: c, beside labels.
        rates: false-positive rates.

    Returns:
        accuracy, balanced_accuracy, precision, recall, auc, tpr_at_fpr {rate: I}, ppv_at_prior {prior: I},
        median_precision (over the classes that have one) and per_class, as plain JSON values; I = {"value", "low",
        "high"} or {"value": null, "reason"}.

    Raises:
        InputError: lengths differ, a score is NaN, a label is out of range.

    >>> import mia_jax as mia
    >>> measures = mia.evaluate([2.0, 1.0, -1.0, 0.5, -2.0, -3.0], [True, True, True, False, False, False])
    >>> round(measures["auc"]["value"], 3), measures["tpr_at_fpr"]["0.01"]["reason"]
    (0.889, 'not resolvable: 3 non-members x 0.01 = 0.03 false alarms, fewer than 10')
    """
    score, member = np.asarray(score, np.float64), np.asarray(member, bool)
    if label is not None and num_classes is None:
        raise InputError("labels are given without the number of classes: give num_classes, too")
    if score.shape != member.shape or (label is not None and np.shape(label) != score.shape):
        labels = "" if label is None else f", labels {np.shape(label)}"
        raise InputError(f"scores {score.shape}, membership {member.shape}{labels}: give one of each, [n]")
    both = 0 < member.sum() < len(member)
    if both:
        ranked = {"auc": auc(score, member).json()}
        at = {f"{rate:g}": tpr_at_fpr(score, member, rate).json() for rate in rates}
    else:
        absent = Measure(None, reason=f"{member.sum()} members and {(~member).sum()} others were judged").json()
        ranked, at = {"auc": absent}, {f"{rate:g}": absent for rate in rates}
    c = call(score, member)
    right = c.tp + c.non_members - c.fp
    by_class = {} if label is None or num_classes is None else _by_class(score, member, label, num_classes)
    return {
        "accuracy": proportion(right, len(score), "no record judged").json(),
        "balanced_accuracy": balanced_accuracy(c).json(),
        "precision": proportion(c.tp, c.tp + c.fp, "no record was called a member").json(),
        "recall": proportion(c.tp, c.members, "no member judged").json(),
        **ranked,
        "tpr_at_fpr": at,
        "ppv_at_prior": {f"{prior:g}": ppv(c, prior).json() for prior in PRIORS},
        **by_class,
    }


def _by_class(score: np.ndarray, member: np.ndarray, label: np.ndarray, num_classes: int) -> dict[str, Any]:
    classes = per_class(score, member, label, num_classes)
    precisions = [row["precision"]["value"] for row in classes if row["precision"]["value"] is not None]
    return {"median_precision": float(np.median(precisions)) if precisions else None, "per_class": classes}
