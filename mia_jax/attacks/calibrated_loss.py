"""Watson, Guo, Cormode, Sablayrolles, "On the Importance of Difficulty Calibration in Membership Inference Attacks",
ICLR 2022: a loss that is low for everybody is no sign of membership."""

import numpy as np

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import log_likelihood
from mia_jax.attacks.leave_one_out import Evidence, Steps
from mia_jax.types import Attack


def calibrated_loss(num_classes: int) -> Attack:
    """Mean loss over OUT models, minus the target's; one OUT model is enough.

    A record that every shadow trained on is given its IN mean plus the mean difference of the sides over all records.
    """
    del num_classes
    return leave_one_out.attack(steps())


def steps() -> Steps:
    """The attack as steps."""

    def aggregate(seen, member, population) -> Evidence:
        del population
        return leave_one_out.aggregate(seen["log_p_y"], member, squares=False)

    def fit(evidence: Evidence, models) -> np.ndarray:
        inside, outside = leave_one_out.without(evidence, models)
        return leave_one_out.filled(outside.mean, inside.mean)

    def score(out_mean: np.ndarray, seen, population) -> np.ndarray:
        del population
        return np.asarray(seen["log_p_y"], np.float64) - out_mean

    return Steps(log_likelihood, aggregate, fit, score, frozenset({"out"}))
