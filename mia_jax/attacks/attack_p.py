"""Ye, Maddi, Murakonda, Bindschaedler, Shokri, "Enhanced Membership Inference Attacks against Machine Learning Models",
CCS 2022: Attack-P, a p-value of the target's loss among its losses on the population."""

from typing import NamedTuple

import numpy as np

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import from_answers, log_likelihood
from mia_jax.attacks.population import share_below
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.types import Array, Attack, Key, Seen


class State(NamedTuple):
    """The target's losses on the population, and the boundary."""

    population: Seen | None  # of the target
    boundary: float


def attack_p(num_classes: int) -> Attack:
    """The share of the population on which the target's loss is no smaller than on x.

    For one target it orders records as the loss does; the share makes targets comparable, and is a false positive rate
    that needs no shadow: they set the boundary only. Without a population, the other records asked about.
    """
    del num_classes

    def among(seen, population) -> np.ndarray:
        return share_below(seen["log_p_y"], None if population is None else population["log_p_y"])

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del key
        member = np.asarray(member, bool)
        of_target, of_shadows = leave_one_out.split_population(population)
        models = leave_one_out.boundary_models(*member.shape)
        scores = [among(leave_one_out.row(seen, k), leave_one_out.row(of_shadows, k)) for k in models]
        return State(of_target, best_threshold(np.concatenate(scores), member[models].reshape(-1)))

    def score(state: State, seen) -> np.ndarray:
        return beyond(among(seen, state.population), state.boundary)

    return from_answers(log_likelihood, fit, score, needs=frozenset({"in", "out"}))
