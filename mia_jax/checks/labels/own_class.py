"""Two classes, and the probability of each record's own class, or of the best one, given as that of class 1. NumPy."""

import numpy as np

from mia_jax.checks import samples
from mia_jax.checks.naming import percent
from mia_jax.statistics import metrics
from mia_jax.types import Array

RIGHT = 0.7  # of its members of class 1 that a model is right on, at least, and as often wrong on those of class 0
APART = 5.0  # standard errors by which training makes models surer of class 1, and less sure of class 0
SIDE = 30  # members, and others, of each class
SAMPLE = 32768  # records that are looked at, of more


def doubts(labels: Array, sure: Array, trained: Array, classes: int) -> tuple[str, ...]:
    """Why one number for each record may be no probability of class 1, in a sentence.

    A model that knows nothing of class 0 is wrong there, too; but it is never less sure of it for having trained on it.

    Args:
        labels: int [n].
        sure: float [K, n], models' probability of the true class, as read.
        trained: bool [K, n], who trained them.
        classes: how many there are.
    """
    if classes != 2:
        return ()
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    labels, sure, trained = np.asarray(labels)[rows], np.asarray(sure)[:, rows], np.asarray(trained, bool)[:, rows]
    zero, one = (_of_class(sure[:, labels == c], trained[:, labels == c]) for c in (0, 1))
    if zero is None or one is None or zero[0] > 1 - RIGHT or one[0] < RIGHT or zero[1] > -APART or one[1] < APART:
        return ()
    return (
        f"Models are right on {percent(one[0])} of their members of class 1 and on {percent(zero[0])} of those of class"
        " 0, and training makes them surer of the first and less sure of the second: the numbers seem to be the"
        " probability of each record's own class, or of the model's answer, and are read as that of class 1. Give the"
        " probabilities of both classes [n, 2], or that of class 1 for every record.",
    )


def _of_class(sure: np.ndarray, trained: np.ndarray) -> tuple[float, float] | None:
    """How often models [K, n] are right on members of a class, and how training moves them, in standard errors."""
    enough = np.minimum(trained.sum(axis=1), (~trained).sum(axis=1)) >= SIDE
    if not enough.any():
        return None
    areas, errors = np.transpose([metrics.area(p, mine) for p, mine in zip(sure[enough], trained[enough], strict=True)])
    weight = 1 / np.square(errors)
    moved = np.average(areas, weights=weight) - 0.5
    return float((sure[enough] > 0.5)[trained[enough]].mean()), float(moved * np.sqrt(weight.sum()))
