"""Zarifzadeh, Liu, Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024: RMIA.

The share of the population z that record x beats: [p_theta(x) / p(x)] / [p_theta(z) / p(z)] >= gamma. p(x) is what
other models answer on average:

    online:   (mean over IN + mean over OUT) / 2
    offline:  ((1 + a) mean over OUT + 1 - a) / 2

The population are records that trained no model, or where none are given, the other records asked about. Its ratios are
sorted once, O((n + m) log m); for one target the share is a step function of x's ratio, so within a step the ratio
itself orders the records (``population.share_below``).

Privacy Meter's variant is ``gamma=1, strict=True``. A record without IN (or OUT) models is given the other side's mean
times the mean (geometric) ratio of the two sides over all records.
"""

from typing import NamedTuple

import numpy as np

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import log_likelihood
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Evidence, Steps
from mia_jax.attacks.population import share_below
from mia_jax.types import Attack

OPTIONS = python_only("gamma", "strict")
OFFLINE_OPTIONS = (*OPTIONS, *python_only("a"))


class Aggregated(NamedTuple):
    """The probabilities that shadows give the records, and those that they give the population."""

    records: Evidence
    population: Evidence | None


class Ratios(NamedTuple):
    """The denominators p(x) and p(z) of the likelihood ratios."""

    log_p: np.ndarray  # [n], log p(x)
    log_p_population: np.ndarray | None  # [m]


def rmia(num_classes: int, *, gamma: float = 2.0, strict: bool = False) -> Attack:
    """RMIA online, by IN and OUT models.

    Args:
        num_classes: not used.
        gamma: by how much x must beat z.
        strict: > gamma, not >=.
    """
    del num_classes
    return leave_one_out.attack(steps(gamma=gamma, strict=strict))


def rmia_offline(num_classes: int, *, gamma: float = 2.0, a: float = 0.3, strict: bool = False) -> Attack:
    """RMIA offline, by OUT models only; one is enough.

    Args:
        num_classes: not used.
        gamma, strict: as online.
        a: how the mean over IN is guessed from that over OUT, a + ... : IN = a OUT + 1 - a.
    """
    del num_classes
    return leave_one_out.attack(steps(gamma=gamma, strict=strict, offline=True, a=a))


def steps(*, gamma: float = 2.0, strict: bool = False, offline: bool = False, a: float = 0.3) -> Steps:
    """Both variants, as steps; arguments as of ``rmia`` and ``rmia_offline``."""

    def aggregate(seen, member, population) -> Aggregated:
        background = None
        if population is not None:
            log_z = population["log_p_y"]
            nobody = np.broadcast_to(np.False_, log_z.shape)
            background = leave_one_out.aggregate(log_z, nobody, of=np.exp, origin=0.0, squares=False)
        return Aggregated(
            leave_one_out.aggregate(seen["log_p_y"], member, of=np.exp, origin=0.0, squares=False), background
        )

    def average(log_in: np.ndarray, log_out: np.ndarray) -> np.ndarray:
        """log p(x), of the mean probabilities over IN and over OUT."""
        if offline:
            return np.log(((1 + a) * np.exp(leave_one_out.filled(log_out, log_in)) + 1 - a) / 2)
        return np.logaddexp(leave_one_out.filled(log_in, log_out), leave_one_out.filled(log_out, log_in)) - np.log(2)

    def fit(known: Aggregated, models) -> Ratios:
        log_p = average(*(log_mean(side.mean) for side in leave_one_out.without(known.records, models)))
        if known.population is None:
            return Ratios(log_p, None)
        log_out = log_mean(leave_one_out.without(known.population, models)[1].mean)
        return Ratios(log_p, average(log_out, log_out))

    def score(ratios: Ratios, seen, population) -> np.ndarray:
        ratio = np.asarray(seen["log_p_y"], np.float64) - ratios.log_p
        others = None
        if ratios.log_p_population is not None:
            others = np.asarray(population["log_p_y"], np.float64) - ratios.log_p_population
        return share_below(ratio, others, by=float(np.log(gamma)), strict=strict)

    return Steps(log_likelihood, aggregate, fit, score, frozenset({"out"} if offline else {"in", "out"}))


def log_mean(mean: np.ndarray) -> np.ndarray:
    """Logs of mean probabilities [n], floored where targets are; NaN stays NaN."""
    return np.log(np.maximum(mean, np.finfo(np.float32).tiny))
