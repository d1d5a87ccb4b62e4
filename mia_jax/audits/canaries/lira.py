"""Canaries by LiRA: each compared with itself in models that trained on it, and in models that did not.

Aerni, Zhang and Tramer 2024 (arXiv 2404.17399) judge a way of training by its most vulnerable records: models
that share all records but the canaries, each of which is in half of them, and the TPR at a low FPR on canaries alone.
"""

from typing import Any

import numpy as np

from mia_jax.attacks import leave_one_out, lira
from mia_jax.statistics import metrics, over_targets


def scores(phi: np.ndarray, member: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """LiRA's scores of the canaries, float64 [T, m]: each target's shadows are the other models, less its partner.

    Args:
        phi: scaled logits of the canaries' labels [K, m].
        member: bool [K, m].
        targets: int [T], models.
    """
    steps = lira.steps(fixed=len(phi) < lira.FIXED_BELOW)
    return leave_one_out.shadow_scores(steps, {"phi": phi}, member, models=targets)[targets]


def measures(score: np.ndarray, member: np.ndarray) -> dict[str, Any]:
    """AUC and TPRs of some canaries, with intervals over targets (of one target: over canaries).

    Args:
        score: [T, m].
        member: bool [T, m].
    """
    rates = {f"{rate:g}": over_targets.tpr_at_fpr(score, member, rate).json() for rate in metrics.RATES}
    return {"auc": over_targets.auc(score, member).json(), "tpr_at_fpr": rates}


def by_kind(score: np.ndarray, member: np.ndarray, kind: np.ndarray, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """``measures`` of each kind, and how many canaries there are of it.

    Args:
        score: [T, m].
        member: bool [T, m].
        kind: int [m], places in ``kinds``.
        kinds: names.
    """
    out = []
    for place, name in enumerate(kinds):
        mine = kind == place
        out.append({"kind": name, "count": int(mine.sum()), **measures(score[:, mine], member[:, mine])})
    return out
