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
    public: Seen | None  # of the target
    boundary: float


def attack_p(num_classes: int) -> Attack:
    """The share of the population on which the target's loss is no smaller than on x.

    For one target it orders records as the loss does; the share makes targets comparable, and is a false positive rate
    that needs no shadow: they set the boundary only. The population is ``public``, or the other records asked about.
    """
    del num_classes

    def rate(seen, public) -> np.ndarray:
        return share_below(seen["log_p_y"], None if public is None else public["log_p_y"])

    def fit(key: Key, seen, member: Array, public=None) -> State:
        del key
        member = np.asarray(member, bool)
        mine, theirs = leave_one_out.split_public(public)
        players = leave_one_out.players(*member.shape)
        scores = [rate(leave_one_out.row(seen, k), leave_one_out.row(theirs, k)) for k in players]
        return State(mine, best_threshold(np.concatenate(scores), member[players].reshape(-1)))

    def score(state: State, seen) -> np.ndarray:
        return beyond(rate(seen, state.public), state.boundary)

    return from_answers(log_likelihood, fit, score, needs=frozenset({"in", "out"}))
