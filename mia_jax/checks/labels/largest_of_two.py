"""Two classes, and the larger of the two probabilities given as that of class 1: no number is below a half. NumPy."""

from collections.abc import Sequence

import numpy as np

from mia_jax.checks.naming import percent
from mia_jax.statistics import metrics
from mia_jax.types import Array, InputError

LEAST, SHARE = 10, 0.05  # records of each class, and their share
VARIOUS = 10  # different numbers: a model that always answers the same guesses
MORE = 0.1  # by which the mean number is above the share of class 1, which it is near where it is a probability of it
KNOWS = 0.6  # AUC of the numbers beside the labels: a model that knows them is surer of class 1 where it is the label


def told(labels: Array, models: Array | Sequence[Array], whose: str = "target and shadows") -> str | None:
    """Why numbers seem to be the larger probability of two, which was read as that of class 1; None: they do not.

    An honest model that never answers class 0 either tells the classes apart, or says how many of each there are.

    Args:
        labels: int [n].
        models: of each probabilities [n, 2], as they were read.
        whose: models, in words.
    """
    labels = np.asarray(labels)
    zero, one = int((labels == 0).sum()), int((labels == 1).sum())
    if not len(models) or np.shape(models[0])[1:] != (2,) or min(zero, one) < max(LEAST, SHARE * len(labels)):
        return None
    second = [np.asarray(p, np.float64)[:, 1] for p in models]
    if any(np.isnan(p).any() or p.min() < 0.5 - 1e-6 or len(np.unique(p)) < VARIOUS for p in second):
        return None
    areas = [metrics.area(p, labels == 1)[0] for p in second]  # one of many may be surer of a class by chance
    if np.median([p.mean() for p in second]) < (labels == 1).mean() + MORE or np.median(areas) > KNOWS:
        return None
    return (
        f"answers of {whose} are all .5 or more, and {percent(zero / len(labels))} of the labels are class 0: they seem"
        " to be the larger of the two probabilities (a confidence), and are read as the probability of class 1. Give"
        " that of class 1 for every record, or both columns [n, 2]"
    )


def refuse(labels: Array, models: Array | Sequence[Array], whose: str = "target and shadows") -> None:
    """Refuse what ``told`` tells of labels int [n] and probabilities [n, 2] of each model.

    Raises:
        InputError: no model has a number below a half, though many records are of class 0.
    """
    if said := told(labels, models, whose):
        raise InputError(said)
