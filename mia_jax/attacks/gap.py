"""Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", CSF
2018: the gap attack, which calls a member whatever the target classifies correctly. It needs the label only."""

import jax.numpy as jnp
import numpy as np

from mia_jax.attacks.common import from_answers
from mia_jax.types import Array, Attack, Key


def gap(num_classes: int) -> Attack:
    """The score 1[yhat = y] - 1/2.

    Nothing is learned: its advantage over a guess is the gap between training and test accuracy.
    """
    del num_classes

    def read(log_p, y):
        return {"correct": jnp.argmax(log_p, axis=-1) == jnp.asarray(y)}

    def fit(key: Key, seen, member: Array, population=None) -> None:
        del key, seen, member, population

    def score(state: None, seen) -> np.ndarray:
        del state
        return np.asarray(seen["correct"], np.float64) - 0.5

    return from_answers(read, fit, score)
