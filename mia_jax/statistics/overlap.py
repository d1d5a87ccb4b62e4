"""Whether attacks find the same members: what any, most or all of them call at one low FPR. Never imports jax.

"Membership Inference Attacks as Privacy Tools: Reliability, Disparity and Ensemble", CCS 2025 (arXiv 2506.13972):
attacks of the same strength find different members, and so does one attack whose shadows are trained anew. Its
**coverage** is what any of several attacks, or of several runs of one, finds, its **stability** what all of them find;
each is cut at its own threshold for the same FPR first, as in its authors' code (github.com/RPI-DSPlab/mia-disparity).
"Most" is more than half of them.

Whoever accuses all whom any attack calls raises more false alarms than one attack at that rate does. So each set has
its own FPR here, and the TPR of the best single attack at that same FPR beside it: an ensemble is more powerful only
if it finds more than that. The best one is picked after the fact, which flatters it a little.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.statistics import metrics, over_targets
from mia_jax.statistics.over_targets import Calls

RATES = (0.01, 0.1)  # the first that can be resolved, and at which an attack calls a member
COMBINATIONS = 12  # of attacks, of those that share the most members
CONSTANT = "score_majority"


def calls(score: np.ndarray, member: np.ndarray, rate: float) -> np.ndarray:
    """Whom a score calls a member when at most a share of the non-members is called: bool, as ``score``.

    Args:
        score: [n] or [T, n]; each target has a threshold of its own. Tied scores are called together, or not.
        member: bool, as ``score``.
        rate: the false-positive rate, in (0, 1).
    """
    scores, members = np.atleast_2d(np.asarray(score, np.float64)), np.atleast_2d(np.asarray(member, bool))
    called = []
    for s, m in zip(scores, members, strict=True):
        non_members = np.sort(s[~m])[::-1]
        allowed = int(rate * len(non_members) * (1 + 1e-12))
        called.append(s > (non_members[allowed] if allowed < len(non_members) else -np.inf))
    return np.stack(called).reshape(np.shape(score))


def compare(scores: Mapping[str, np.ndarray], member: np.ndarray, rate: float) -> dict[str, Any]:
    """What several attacks find, or one attack with several seeds, as JSON values.

    Args:
        scores: name -> [n] or [T, n], of the same records; larger = more likely a member; no NaN.
        member: bool [n] or [T, n].
        rate: the false-positive rate of each.

    Returns:
        "rate"; "attacks": of each, "tpr" of its calls and the share of members that it "only" finds; "any", "most" and
        "all": "tpr" and "fpr" of their calls, and "best_alone", the TPR of the best one at that FPR; "jaccard": of
        every two, the members that both find over those that either finds; "combinations": the sets of attacks that
        most members are found by exactly, with their share of all members.

    >>> import numpy as np
    >>> rng, member = np.random.default_rng(0), np.arange(2000) < 1000
    >>> risk = 2 * member * (rng.random((3, 2000)) < 0.3)  # three runs, each finds other members
    >>> found = compare({f"seed {k}": risk[k] + rng.normal(size=2000) for k in range(3)}, member, 0.01)
    >>> [round(found[name]["tpr"]["value"], 2) for name in ("any", "most", "all")]
    [0.3, 0.04, 0.0]
    """
    called = {name: np.atleast_2d(calls(score, member, rate)) for name, score in scores.items()}
    each, truth = np.stack([*called.values()]), np.atleast_2d(np.asarray(member, bool))
    count = each.sum(axis=0)
    alone = {name: {"tpr": _rate(c, truth), "only": _rate(c & (count == 1), truth)} for name, c in called.items()}
    sets = {"any": count > 0, "most": 2 * count > len(each), "all": count == len(each)}
    return {
        "rate": rate,
        "attacks": alone,
        **{name: _ensemble(chosen, scores, truth) for name, chosen in sets.items()},
        "jaccard": _jaccard(each[:, truth]),
        "combinations": _combinations([*called], each, truth),
    }


def block(scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``compare`` of all attacks of a run that judged every record; empty with fewer than two, or unknown members.

    Answers of few digits tie many scores: where more non-members than the rate allows share the highest score of each
    attack, nobody is called, and a higher rate is taken; empty if there is none.

    Args:
        scores: columns of scores.npz, [n] or [T, n].
    """
    member = scores.get("member")
    if member is None or not member.any() or member.all():
        return {}
    columns = {name: s for name, s in scores.items() if name == "score" or name.startswith("score_")}
    columns.pop(CONSTANT, None)
    judged = {name.removeprefix("score_") if name != "score" else "shokri": s for name, s in columns.items()}
    complete = {name: s for name, s in judged.items() if s.shape == member.shape and not np.isnan(s).any()}
    non_members = int((~np.atleast_2d(member)).sum(axis=1).min())
    for rate in RATES if len(complete) > 1 else ():
        if metrics.resolvable(non_members, rate):
            found = compare(complete, member, rate)
            if found["any"]["tpr"]["value"]:
                return found | {"left_out": [name for name in judged if name not in complete]}
    return {}


def _rate(called: np.ndarray, truth: np.ndarray, members: bool = True) -> dict[str, Any]:
    """The TPR of calls bool [T, n], or their FPR, as results.json has it."""
    c = Calls(called, truth, ~truth)
    if len(called) > 1:
        return over_targets.mean(*((c.tpr, c.moves_tpr) if members else (c.fpr, c.moves_fpr))).json()
    hits, of = (c.tp, c.m) if members else (c.fp, c.n)
    return metrics.proportion(int(hits[0, 0]), int(of[0, 0])).json()


def _ensemble(called: np.ndarray, scores: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, Any]:
    """The calls of a set of attacks, [T, n], beside the TPR of the best attack with as many false alarms."""
    alarms = [int(c[~t].sum()) for c, t in zip(called, truth, strict=True)]
    alone = [
        np.mean([_found(s, t, k) for s, t, k in zip(np.atleast_2d(score), truth, alarms, strict=True)])
        for score in scores.values()
    ]
    return {
        "tpr": _rate(called, truth),
        "fpr": _rate(called, truth, members=False),
        "best_alone": float(max(alone)),
    }


def _found(score: np.ndarray, member: np.ndarray, alarms: int) -> float:
    """The share of the members above all but ``alarms`` of the non-members, of one target's [n]."""
    non_members = score[~member]
    if alarms >= len(non_members):
        return 1.0
    return float((score[member] > np.partition(non_members, -1 - alarms)[-1 - alarms]).mean())


def _jaccard(found: np.ndarray) -> list[list[float | None]]:
    """Of members found, bool [A, members], |both| / |either| for every two attacks; None where neither finds any."""
    both = np.array([[(a & b).sum() for a in found] for b in found], np.float64)
    either = np.diag(both)[:, None] + np.diag(both)[None] - both
    return [
        [float(b / e) if e else None for b, e in zip(*rows, strict=True)] for rows in zip(both, either, strict=True)
    ]


def _combinations(names: Sequence[str], called: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Sets of attacks that find members together and no other attack does; the largest first."""
    packed, count = np.unique(np.packbits(called[:, truth], axis=0).T, axis=0, return_counts=True)
    sets = np.unpackbits(packed, axis=1, count=len(names)).astype(bool)
    order = [k for k in np.argsort(-count, kind="stable") if sets[k].any()][:COMBINATIONS]
    return [
        {
            "attacks": [name for name, one in zip(names, sets[k], strict=True) if one],
            "members": float(count[k] / truth.sum()),
        }
        for k in order
    ]
