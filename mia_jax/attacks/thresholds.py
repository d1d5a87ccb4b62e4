"""One signal, one threshold learned on the shadows (Yeom et al. 2018; Song & Mittal 2021), and the majority guess.

The threshold maximizes the balanced accuracy of "in" against "out" over the shadows' rows.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mia_jax import signals
from mia_jax.attacks import common
from mia_jax.attacks.entries import python_only
from mia_jax.types import Array, Attack, Key

OPTIONS = python_only("per_class")


def best_threshold(values: np.ndarray, member: np.ndarray) -> float:
    """The tau that maximizes TPR - FPR of ``values > tau``: midway between the two values around it.

    ``values`` [k] and ``member`` bool [k] are of the shadows' rows. Ties form one step, as in a ROC. With no value of
    use, everything or nothing is called a member. With one side empty there is no boundary, NaN: any would do, and none
    would mean anything (``beyond``).
    """
    values, member = np.asarray(values, np.float64), np.asarray(member, bool)
    if member.all() or not member.any():
        return np.nan
    order = np.argsort(-values)  # need not be stable: ties form one step
    values, member = values[order], member[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # the last row of each distinct value
    tpr = np.cumsum(member)[ends] / max(1, member.sum())
    fpr = np.cumsum(~member)[ends] / max(1, (~member).sum())
    gain = np.append(0.0, tpr - fpr)  # 0: nothing is called a member
    best = int(np.argmax(gain))
    distinct = values[ends]
    if best == 0:
        return np.nextafter(distinct[0], np.inf)
    if best == len(distinct):
        return np.nextafter(distinct[-1], -np.inf)
    return float((distinct[best - 1] + distinct[best]) / 2)


def beyond(score: np.ndarray, boundary: float | np.ndarray) -> np.ndarray:
    """``score`` [n] less its boundary ([] or [n]); as it is where there is none (NaN)."""
    return score - np.nan_to_num(boundary)


class State(NamedTuple):
    """The threshold tau of the signal."""

    threshold: np.ndarray  # [] or, per class, [c]


def threshold(read, leaf: str, *, sign: float, num_classes: int, per_class: bool = False) -> Attack:
    """Score = sign * signal - tau; tau global, or one per class (Song & Mittal 2021, section 4).

    Args:
        read: (log_p [n, c], y [n]) -> {leaf: signal [n]}.
        leaf: its name.
        sign: +1 if members have the larger signal, -1 if the smaller.
        num_classes: c.
        per_class: learn one tau for each class. A class without members or without others among the shadows' rows keeps
            the global one.
    """

    def read_with_class(log_p, y):
        return read(log_p, y) | {"y": y}

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del key, population
        value, member = sign * np.asarray(seen[leaf], np.float64).reshape(-1), np.asarray(member, bool).reshape(-1)
        overall = best_threshold(value, member)
        if not per_class:
            return State(np.asarray(overall))
        y = np.asarray(seen["y"]).reshape(-1)
        own = np.array([best_threshold(value[y == c], member[y == c]) for c in range(num_classes)])
        return State(np.where(np.isnan(own), overall, own))

    def score(state: State, seen) -> np.ndarray:
        tau = state.threshold[np.asarray(seen["y"])] if per_class else state.threshold
        return beyond(sign * np.asarray(seen[leaf], np.float64), tau)

    return common.from_answers(read_with_class if per_class else read, fit, score, needs=frozenset({"in", "out"}))


def _confidence(log_p, y):
    return {"confidence": signals.confidence(log_p, y)}


def _entropy(log_p, y):
    return {"entropy": signals.entropy(log_p, y)}


def _modified_entropy(log_p, y):
    return {"modified_entropy": jnp.minimum(signals.modified_entropy(log_p, y), common.LIMIT)}


def loss(num_classes: int, *, per_class: bool = False) -> Attack:
    """tau - loss (Yeom et al. 2018, whose tau is the mean training loss; here the best one on the shadows)."""
    return threshold(common.log_likelihood, "log_p_y", sign=1.0, num_classes=num_classes, per_class=per_class)


def confidence(num_classes: int, *, per_class: bool = False) -> Attack:
    """p_y - tau: the probability of the true class against a threshold."""
    return threshold(_confidence, "confidence", sign=1.0, num_classes=num_classes, per_class=per_class)


def entropy(num_classes: int, *, per_class: bool = False) -> Attack:
    """tau - entropy of the answer: members get the surer answer, right or wrong."""
    return threshold(_entropy, "entropy", sign=-1.0, num_classes=num_classes, per_class=per_class)


def modified_entropy(num_classes: int, *, per_class: bool = True) -> Attack:
    """tau - modified entropy (Song & Mittal 2021, section 4.2), which counts a sure wrong answer as unsure.

    Args:
        per_class: as they propose it.
    """
    return threshold(_modified_entropy, "modified_entropy", sign=-1.0, num_classes=num_classes, per_class=per_class)


def majority(num_classes: int) -> Attack:
    """The baseline that calls everybody the same.

    That is the more frequent of "in" and "out" among the shadows' rows, "in" if neither is.
    """
    del num_classes

    def read(log_p, y):
        del log_p
        return {"y": y}

    def fit(key: Key, seen, member: Array, population=None) -> np.ndarray:
        del key, seen, population
        return np.asarray(1.0 if np.mean(member) >= 0.5 else -1.0)

    def score(state: np.ndarray, seen) -> np.ndarray:
        return np.full(np.shape(seen["y"]), state)

    return common.from_answers(read, fit, score)
