"""Lassila et al., "BASE" (2025), as arXiv 2603.11799 restates it: the Bayes-optimal ratio when a member's likelihood is
known up to a factor.

    online:   log p_theta(x) - log mean over all shadows of p_k(x)
    offline:  log p_theta(x) - c log mean over OUT shadows of p_k(x)

For one target, RMIA online orders records in the same way, wherever as many shadows are IN as are OUT.
"""

from typing import NamedTuple

import numpy as np

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import log_likelihood
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Evidence, Steps
from mia_jax.attacks.rmia import log_mean
from mia_jax.types import Attack

OFFLINE_OPTIONS = python_only("c")


def base(num_classes: int) -> Attack:
    """BASE online: all shadows, whatever they trained on."""
    del num_classes
    return leave_one_out.attack(steps())


def base_offline(num_classes: int, *, c: float = 0.33) -> Attack:
    """BASE offline: by OUT shadows, whose answer says how hard a record is; a third of it predicts the IN answer best.

    Args:
        num_classes: not used.
        c: the weight of the OUT mean.
    """
    del num_classes
    return leave_one_out.attack(steps(c=c))


class Fitted(NamedTuple):
    """What is taken from a record's log-likelihood: how likely other models find it."""

    offset: np.ndarray  # [n]


def steps(*, c: float | None = None) -> Steps:
    """Both variants, as steps: online with c None, otherwise offline with this weight."""

    def aggregate(seen, member, population) -> Evidence:
        del population
        return leave_one_out.aggregate(seen["log_p_y"], member, of=np.exp, origin=0.0, squares=False)

    def fit(evidence: Evidence, models) -> Fitted:
        inside, outside = leave_one_out.without(evidence, models)
        if c is None:
            total = np.nan_to_num(inside.mean) * inside.count + np.nan_to_num(outside.mean) * outside.count
            return Fitted(log_mean(total / (inside.count + outside.count)))
        return Fitted(c * leave_one_out.filled(log_mean(outside.mean), log_mean(inside.mean)))

    def score(fitted: Fitted, seen, population) -> np.ndarray:
        del population
        return np.asarray(seen["log_p_y"], np.float64) - fitted.offset

    return Steps(log_likelihood, aggregate, fit, score, frozenset() if c is None else frozenset({"out"}))
