"""Ye, Maddi, Murakonda, Bindschaedler, Shokri, "Enhanced Membership Inference Attacks against Machine Learning Models",
CCS 2022: Attack-R, a p-value of the target's loss among the losses of models that never saw the record.

The share of OUT models with loss_k(x) >= loss_theta(x) has few steps, so it is smoothed by a Gaussian. We smooth on the
scale of the scaled logit phi, a monotone function of the loss: the share is the same, and the losses of members, which
differ in orders of magnitude near zero, stay apart.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Evidence, Steps
from mia_jax.types import Attack

OPTIONS = python_only("bandwidth")
TINY = 1e-300


class Kernels(NamedTuple):
    """The OUT models' scaled logits, and the width of the Gaussian at each of them."""

    evidence: Evidence  # of all models
    kept: np.ndarray  # [S'], those that count
    width: np.ndarray  # [n]; 0: the plain share
    alone: np.ndarray  # [n]: the center for a record that no model is OUT of


def attack_r(num_classes: int, *, bandwidth: float = 1.06) -> Attack:
    """The log-odds of the share of OUT models whose loss is no smaller, less a boundary.

    Args:
        num_classes: not used.
        bandwidth: of the Gaussian, times the pooled standard deviation of phi over OUT models, times (number of OUT
            models)^(-1/5), which is Silverman's rule with 1.06. 0: the plain share, with half a model on either side.
    """
    del num_classes
    return leave_one_out.attack(steps(bandwidth=bandwidth))


def steps(*, bandwidth: float = 1.06) -> Steps:
    """The attack as steps; ``bandwidth`` as of ``attack_r``."""

    def aggregate(seen, member, population) -> Evidence:
        del population
        return leave_one_out.aggregate(seen["phi"], member)

    def fit(evidence: Evidence, models) -> Kernels:
        inside, outside = leave_one_out.without(evidence, models)
        kept = np.setdiff1d(np.arange(len(evidence.values)), models)
        freedom = np.maximum(outside.count - 1, 0).sum()
        if freedom == 0:  # one model each: whoever is left out, all of them say how much models differ
            whole = leave_one_out.without(evidence, ())[1]
            freedom, outside = np.maximum(whole.count - 1, 0).sum(), outside._replace(scatter=whole.scatter)
        deviation = np.sqrt(outside.scatter.sum() / freedom) if freedom else 1.0
        width = bandwidth * (deviation or 1.0) * np.maximum(outside.count, 1) ** -0.2
        alone = leave_one_out.filled(outside.mean, inside.mean)
        return Kernels(evidence, kept, width, alone)

    def score(kernels: Kernels, seen, population) -> np.ndarray:
        del population
        phi = np.asarray(seen["phi"], np.float64)
        below, above = np.zeros((2, len(phi)))  # of Phi and of 1 - Phi: both tails keep their digits
        for k in kernels.kept:
            values, member = kernels.evidence.values[k], kernels.evidence.member[k]
            _add(below, above, phi - values, kernels.width, ~member)
        count = below + above
        _add(below, above, phi - kernels.alone, kernels.width, count < 0.5)
        if bandwidth == 0:
            below, above = below + 0.5, above + 0.5
        return np.log(np.maximum(below, TINY)) - np.log(np.maximum(above, TINY))

    return Steps(scaled_logit, aggregate, fit, score, frozenset({"out"}))


def _add(below: np.ndarray, above: np.ndarray, beyond: np.ndarray, width: np.ndarray, weight: np.ndarray) -> None:
    small = ndtr(-np.abs(beyond) / width) if width.any() else np.zeros(len(beyond))
    large = 1 - small
    below += np.where(beyond >= 0, large, small) * weight
    above += np.where(beyond >= 0, small, large) * weight
