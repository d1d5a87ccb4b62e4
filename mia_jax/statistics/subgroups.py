"""How an attack does on groups of records: members found with the group's own threshold, and with the common one.

A rate over all records hides whom it hits ("Membership Inference Attacks as Privacy Tools: Reliability, Disparity and
Ensemble", CCS 2025, arXiv 2506.13972). With a **common** threshold, the one for all records at a false-positive rate,
a group's TPR and FPR say who is found, and who is wrongly accused, by an attacker who makes no difference. With its
**own** threshold, for the same rate among the group's non-members, its TPR says what one finds who does.

The FPR is that of **the threshold that was used**, among people of the group who were not seen yet; its interval is
Clopper and Pearson's (one target), which covers 95 % at least, and more where false alarms are few. The threshold was
read from the same non-members, and still the group's share scatters as a binomial one about what this threshold does
(simulated: tests/statistics/test_subgroups.py). About the rate that was asked for it would scatter by less.

Whether a group's members are found more or less often than all others', with the common threshold: Fisher's exact test
for one target; for several, whose records are the same, a score test whose variance is clustered by record. The
p-values are Holm's (1979), for there are as many tests as groups. NumPy and SciPy; never imports jax.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from mia_jax.statistics import low_fpr, metrics, over_targets
from mia_jax.statistics.metrics import Measure
from mia_jax.types import Array

RATES = (0.01, 0.1)  # of the common threshold: the first that can be resolved
LEAST = 20  # members of a group, and others, in each target
LEVEL = 0.05  # at which a group differs from the rest, all groups together


class Group(NamedTuple):
    """An attack on one group."""

    name: str
    members: int  # over all targets
    non_members: int
    auc: Measure  # members against others of the group
    tpr_at_fpr: dict[str, Measure]  # with the group's own threshold
    common_tpr: Measure
    common_fpr: Measure  # of the threshold that was used, and not of one that has the rate exactly
    p: float | None = None  # Holm's, of no difference from the rest; None: not tested
    reason: str = ""  # why there are no numbers

    def json(self) -> dict[str, Any]:
        """As results.json has it."""
        sizes = {"group": self.name, "members": self.members, "non_members": self.non_members}
        if self.reason:
            return {**sizes, "reason": self.reason}
        return {
            **sizes,
            "auc": self.auc.json(),
            "tpr_at_fpr": {rate: measure.json() for rate, measure in self.tpr_at_fpr.items()},
            "common_tpr": self.common_tpr.json(),
            "common_fpr": self.common_fpr.json(),
            "p": 1.0 if self.p is None else self.p,
            "differs": self.p is not None and self.p <= LEVEL,
        }


def compare(score: Array, member: Array, group: Array, names: Sequence[str], rate: float) -> list[Group]:
    """An attack on every group, the group first whose members are found most often with the common threshold.

    Args:
        score: [n] or [T, n], larger = more likely a member; NaN where a record was not judged.
        member: bool, as ``score``.
        group: int [n], from 0.
        names: of the groups.
        rate: the false-positive rate of the common threshold.
    """
    score, member = np.atleast_2d(np.asarray(score, np.float64)), np.atleast_2d(np.asarray(member, bool))
    group = np.asarray(group)
    judged = ~np.isnan(score)
    called = _called(score, member, rate)
    found, small = [], []
    for k, name in enumerate(names):
        mine = judged & (group == k)
        inside, outside = (mine & member).sum(axis=1), (mine & ~member).sum(axis=1)
        sizes = name, int(inside.sum()), int(outside.sum())
        if min(inside.min(), outside.min()) < LEAST:
            nothing = Measure(None, reason="too small")
            reason = f"too small: fewer than {LEAST} members, or others, in a target"
            small.append(Group(*sizes, nothing, {}, nothing, nothing, reason=reason))
            continue
        found.append((_one(score, member, mine, called, rate, sizes), _differs(called, member, judged, mine)))
    adjusted = holm([p for _, p in found])
    tested = [one._replace(p=p) for (one, _), p in zip(found, adjusted, strict=True)]
    return sorted(tested, key=lambda one: -(one.common_tpr.value or 0.0)) + small


def _one(
    score: np.ndarray,
    member: np.ndarray,
    mine: np.ndarray,
    called: np.ndarray,
    rate: float,
    sizes: tuple[str, int, int],
) -> Group:
    own = np.where(mine, score, np.nan)
    against_all = np.where(mine | ~member, score, np.nan)  # the group's members, and all others
    areas = over_targets.auc(own, member)
    rates = {f"{r:g}": over_targets.tpr_at_fpr(own, member, r) for r in metrics.RATES}
    return Group(*sizes, areas, rates, over_targets.tpr_at_fpr(against_all, member, rate), _fpr(called, mine & ~member))


def _called(score: np.ndarray, member: np.ndarray, rate: float) -> np.ndarray:
    """Calls [T, n] at the common threshold, each target's own where it has 10 false alarms; a share where tied."""
    judged = ~np.isnan(score)
    counts = (judged & ~member).sum(axis=1)
    if not metrics.resolvable(counts.min(), rate) and len(score) > 1:
        t = metrics.tally(score[judged], member[judged])
        return low_fpr.read(score, member, rate, low_fpr.above(t.members, t.non_members)).called
    out = []
    for s, m, j in zip(score, member, judged, strict=True):
        t = metrics.tally(s[j], m[j])
        out.append(low_fpr.read(s, m, rate, low_fpr.above(t.members, t.non_members)).called)
    return np.stack(out)


def _fpr(called: np.ndarray, outside: np.ndarray) -> Measure:
    """The share of these non-members [T, n] that is called."""
    counts = outside.sum(axis=1)
    alarms = np.where(outside, called, 0.0).sum(axis=1)
    if len(called) == 1:
        return metrics.proportion(round(float(alarms[0])), int(counts[0]))
    rates = alarms / counts
    return over_targets.mean(list(rates), np.where(outside, called - rates[:, None], 0.0) / counts[:, None])


def _differs(called: np.ndarray, member: np.ndarray, judged: np.ndarray, mine: np.ndarray) -> float:
    """The p-value of no difference between the group's members and the rest, at the common threshold."""
    inside, rest = judged & member & mine, judged & member & ~mine
    m, r = inside.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    if r.min() == 0:
        return 1.0
    if len(called) == 1:
        tp, fp = (round(float(called[side].sum())) for side in (inside, rest))
        return float(stats.fisher_exact([[tp, int(m[0, 0]) - tp], [fp, int(r[0, 0]) - fp]]).pvalue)
    targets = len(called)
    share = np.where(judged & member, called, 0.0).sum(axis=1, keepdims=True) / (m + r)
    each = np.where(inside, (called - share) / m, 0.0) - np.where(rest, (called - share) / r, 0.0)
    by_record = each.sum(axis=0) / targets
    spread = np.sqrt((by_record**2).sum())
    return float(2 * stats.norm.sf(abs(by_record.sum()) / spread)) if spread else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's p-values (1979): of k tests together, the smallest times k, the next times k - 1, and so on.

    >>> holm([0.01, 0.4, 0.02])
    [0.03, 0.4, 0.04]
    """
    order, out, least = np.argsort(p, kind="stable"), [1.0] * len(p), 0.0
    for place, k in enumerate(order):
        least = max(least, min(1.0, float(p[k]) * (len(p) - place)))
        out[k] = least
    return out


def block(
    scores: Mapping[str, np.ndarray],
    attacks: Mapping[str, Mapping[str, Any]],
    groupings: Sequence[tuple[str, np.ndarray, Sequence[str], str]],
) -> list[dict[str, Any]]:
    """What results.json says, "subgroups": of the attack that finds most, by each column; empty without measures.

    Args:
        scores: columns of scores.npz.
        attacks: their blocks of results.json.
        groupings: of each column its name, the records' groups int [n], these groups' names, and a note.
    """
    member = scores.get("member")
    if member is None:
        return []
    columns = {name: scores.get("score" if name == "shokri" else f"score_{name}") for name in attacks}
    complete = {name: s for name, s in columns.items() if s is not None and s.shape == member.shape}
    counts = {
        name: int((~np.atleast_2d(member) & ~np.isnan(np.atleast_2d(s))).sum(axis=1).min())
        for name, s in complete.items()
    }
    for rate in RATES:
        found = {}
        for name, s in complete.items():
            value = attacks[name].get("tpr_at_fpr", {}).get(f"{rate:g}", {}).get("value")
            if value is not None and metrics.resolvable(counts[name], rate) and np.isfinite(s).all():
                found[name] = value
        if found:
            best = max(found, key=found.__getitem__)
            return [_column(complete[best], member, best, rate, *grouping) for grouping in groupings]
    return []


def _column(
    score: np.ndarray, member: np.ndarray, attack: str, rate: float, by: str, group: Any, names: Any, note: str
) -> dict[str, Any]:
    groups = compare(score, member, group, names, rate)
    told = {"note": note} if note else {}
    return {"by": by, "attack": attack, "rate": rate, **told, "groups": [one.json() for one in groups]}
