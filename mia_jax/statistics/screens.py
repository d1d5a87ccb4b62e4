"""What a target alone tells of its risk, without a shadow model: two screens for a build server. Never imports jax.

**Tail TNR** (Dodd, Krčo, Shilov, de Montjoye, "The Tail Tells All: Estimating Model-Level Membership Inference
Vulnerability Without Reference Models", 2025, arXiv 2510.19773, equation 4). Losses have a long tail, and training
takes members out of it: so many non-members lie beyond nearly all members. The true-negative rate of the loss attack at
a low false-negative rate counts them, and is proposed as a predictor of LiRA's TPR at a low FPR, for a whole model. Its
equation and the rates of its figures could not be read, only what reviewers say of them (?): all rates that can be
resolved are told.

**LT-IQR** (Pollock, Shilov, Dodd, de Montjoye, "Free Record-Level Privacy Risk Evaluation Through Artifact-Based
Methods", 2024, arXiv 2411.05743): the interquartile range of a record's loss over the epochs of the
target's own training. It orders the **members** by how much they are at risk, and is no membership attack: losses of
non-members that rise while the target overfits have a range, too. The traces come from the training
(``training.traces``); quartiles are numpy's, by linear interpolation, as in copies of the authors' code (?).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.statistics import metrics, over_targets
from mia_jax.statistics.metrics import Measure


def tail_tnr(loss: np.ndarray, member: np.ndarray, rate: float) -> Measure:
    """The share of non-members whose loss is above that of all but a share of the members.

    A target that tells nothing has ``rate``.

    Args:
        loss: of each record, [n], or [T, n] of several targets: a mean over them; NaN where a record was not judged.
        member: bool, as ``loss``.
        rate: the false-negative rate, in (0, 1): the share of the members beyond the threshold.

    Returns:
        The true-negative rate and its interval, or a reason where fewer than 10 members are expected beyond it.

    >>> import numpy as np
    >>> loss = np.random.default_rng(0).exponential(np.where(np.arange(4000) < 2000, 0.1, 1.0))  # members' are small
    >>> print(tail_tnr(loss, np.arange(4000) < 2000, 0.01))  # doctest: +ELLIPSIS
    0.6... [0.5..., 0.6...]
    """
    loss, member = np.atleast_2d(np.asarray(loss, np.float64)), np.atleast_2d(np.asarray(member, bool))
    members = int((member & ~np.isnan(loss)).sum())
    if not metrics.resolvable(members, rate):
        return Measure(None, reason=f"not resolvable: {members:,} members x {rate:g} are fewer than 10")
    found = over_targets.tpr_at_fpr(loss, ~member, rate)  # the same question, with members and others exchanged
    if found.value is None:
        return Measure(None, reason=f"not resolvable: the targets' losses do not compare at {rate:g} of the members")
    return found


def trace_iqr(losses: np.ndarray) -> np.ndarray:
    """LT-IQR: the range of the middle half of a record's losses over epochs, [n]; larger = more at risk.

    Args:
        losses: [epochs, n], after each epoch of the target's training.
    """
    low, high = np.percentile(np.asarray(losses, np.float64), (25, 75), axis=0)
    return high - low


def block(scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What results.json says of screens: {"tail_tnr": {rate: measure}}; empty where losses or members are not known.

    Args:
        scores: columns of scores.npz, [n] or [T, n]; "score_loss" is minus the loss, up to a constant.
    """
    loss, member = scores.get("score_loss"), scores.get("member")
    if loss is None or member is None or not member.any() or member.all():
        return {}
    return {
        "tail_tnr": {f"{rate:g}": tail_tnr(-loss.astype(np.float64), member, rate).json() for rate in metrics.RATES}
    }
