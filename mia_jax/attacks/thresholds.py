"""One signal, one threshold learned on the shadows (Yeom et al. 2018; Song & Mittal 2021), and the majority guess.

The threshold maximises the balanced accuracy of "in" against "out" over the shadows' rows.
"""

from typing import NamedTuple

import numpy as np

from mia_jax import signals
from mia_jax.attacks.base import from_answers
from mia_jax.types import Array, Attack, Key


def best_threshold(values: np.ndarray, member: np.ndarray) -> float:
    """The tau that maximises TPR - FPR of ``values > tau``: midway between the two values around it.

    Ties form one step, as in a ROC. With one side empty, or no value of use, everything or nothing is called a member.
    """
    order = np.argsort(-values, kind="stable")
    values, member = np.asarray(values, np.float64)[order], np.asarray(member, bool)[order]
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


class State(NamedTuple):
    threshold: np.ndarray  # [] or, per class, [c]


def threshold(signal, *, sign: float, num_classes: int, per_class: bool = False) -> Attack:
    """Score = sign * signal - tau; tau global, or one per class (Song & Mittal 2021, section 4).

    Args:
        signal: one of ``mia_jax.signals``: (log_p [n, c], y [n]) -> [n].
        sign: +1 if members have the larger signal, -1 if the smaller.
        num_classes: c.
        per_class: learn one tau for each class. A class that no shadow row has keeps the global one.
    """

    def read(log_p, y):
        return {"value": sign * signal(log_p, y), "y": y}

    def fit(key: Key, seen, member: Array, public=None) -> State:
        del key, public
        value, y, member = (np.asarray(a).reshape(-1) for a in (seen["value"], seen["y"], member))
        overall = best_threshold(value, member)
        if not per_class:
            return State(np.asarray(overall))
        rows = [y == c for c in range(num_classes)]
        return State(np.array([best_threshold(value[r], member[r]) if r.any() else overall for r in rows]))

    def score(state: State, seen) -> np.ndarray:
        y = np.asarray(seen["y"])
        return np.asarray(seen["value"], np.float64) - (state.threshold[y] if per_class else state.threshold)

    return from_answers(read, fit, score, needs=frozenset({"in", "out"}))


def confidence(num_classes: int, *, per_class: bool = False) -> Attack:
    """p_y - tau: the probability of the true class against a threshold."""
    return threshold(signals.confidence, sign=1.0, num_classes=num_classes, per_class=per_class)


def majority(num_classes: int) -> Attack:
    """Everybody the same answer: the more frequent of "in" and "out" among the shadows' rows, "in" if neither is."""
    del num_classes

    def read(log_p, y):
        del log_p
        return {"y": y}

    def fit(key: Key, seen, member: Array, public=None) -> np.ndarray:
        del key, seen, public
        return np.asarray(1.0 if np.mean(member) >= 0.5 else -1.0)

    def score(state: np.ndarray, seen) -> np.ndarray:
        return np.full(np.shape(seen["y"]), state)

    return from_answers(read, fit, score)
