"""Tao, Shokri, "Information-Theoretic Membership Inference for Granular Quantification of Memorization", ICLR 2026
(arXiv 2510.05582, "(Token-Level) InfoRMIA"): RMIA without a share and without gamma.

How many nats the target knows of the record beyond other models, and how that compares with the population's:

    log [p_theta(x) / p(x)] + KL(p(z) || p_theta(z))
      = log [p_theta(x) / p(x)] - sum_z p(z) log [p_theta(z) / p(z)] / sum_z p(z)

with p(x) as in ``rmia``, online and offline. RMIA counts the population records that x beats, a step function with as
many steps as there are; this is continuous, and one population record is enough.

The second term is one number for a target. So the records of one target are ordered as log [p_theta(x) / p(x)] orders
them: as by BASE online, wherever as many shadows are IN as are OUT, and as by our RMIA, whose steps the same ratio
orders. What the term changes is how scores of different targets compare.

The paper's text and its authors' code could not be had; what is here agrees with two who had the text (looked for on
2026-11-27 and -28): a reader's notes of arXiv's version 1 copy the derivation line by line, whose divergence is
sum_z p(z) log [p(z) / p_theta(z)] over the population's records, and an independent re-implementation for classifiers
weights each by the same p(z), offline as in ``rmia``, and divides by their sum, as here (?: that division, which the
derivation leaves out, for over a whole vocabulary p(z) sums to 1). Privacy Meter and the first author's copy of it, of
April and March 2025, have no InfoRMIA. The paper's token-level attack is not here: records have one label.

Without a population the other records asked about stand in for it, as in ``rmia``.
"""

import numpy as np

from mia_jax.attacks import leave_one_out, rmia
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Steps
from mia_jax.attacks.rmia import Ratios
from mia_jax.types import Attack

OFFLINE_OPTIONS = python_only("a")


def informia(num_classes: int) -> Attack:
    """InfoRMIA online, by IN and OUT models."""
    del num_classes
    return leave_one_out.attack(steps())


def informia_offline(num_classes: int, *, a: float = 0.3) -> Attack:
    """InfoRMIA offline, by OUT models only; one is enough.

    Args:
        num_classes: not used.
        a: as of ``rmia.rmia_offline``.
    """
    del num_classes
    return leave_one_out.attack(steps(offline=True, a=a))


def steps(*, offline: bool = False, a: float = 0.3) -> Steps:
    """Both variants, as steps; arguments as of ``informia_offline``."""

    def score(ratios: Ratios, seen, population) -> np.ndarray:
        ratio = np.asarray(seen["log_p_y"], np.float64) - ratios.log_p
        if ratios.log_p_population is not None:
            weight = np.exp(ratios.log_p_population)
            others = np.asarray(population["log_p_y"], np.float64) - ratios.log_p_population
            return ratio - (weight * others).sum() / weight.sum()
        weight = np.exp(ratios.log_p)
        rest = np.maximum(weight.sum() - weight, np.finfo(np.float64).tiny)  # a record is not its own population
        return ratio - ((weight * ratio).sum() - weight * ratio) / rest

    return rmia.steps(offline=offline, a=a)._replace(score=score)
