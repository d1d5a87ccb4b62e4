"""Shadows that know their own records and not those in question: other numbers of classes, other columns or units.

Shadows of a service train on other records than those it is asked about. What they learned shows in how often they are
right on records new to them: of their own data, and of those in question, which none of them trained on. NumPy.
"""

from typing import NamedTuple

import numpy as np

from mia_jax.checks.naming import percent
from mia_jax.types import Array, few_of

FEW = 10  # records of a class, at least
LOST, KNOWN = 0.1, 0.5  # shares of a class that shadows are right on at most, and the target at least
APART, ERRORS = 0.3, 5.0  # share of what shadows know of their own data that is lost; standard errors
GROSS = 0.5  # share that is lost, or records of lost classes: a doubt


class Unlike(NamedTuple):
    """What is to be said of such shadows."""

    text: str
    gross: bool  # a doubt, and no note


def found(labels: Array, target_right: Array, shadow_right: Array, own: float) -> Unlike | None:
    """What is to be said of shadows that do not know the records in question; None of others.

    Args:
        labels: int [n], of the records in question.
        target_right: bool [n], which of them the target answers rightly.
        shadow_right: bool [S, n], which of them each shadow does.
        own: the shadows' accuracy on records of their own data that are new to them.
    """
    labels, known, right = np.asarray(labels), np.asarray(target_right, float), np.asarray(shadow_right, float).mean(0)
    count = np.bincount(labels)
    of_target, of_shadows = (np.bincount(labels, each) / np.maximum(count, 1) for each in (known, right))
    lost = np.flatnonzero((count >= FEW) & (of_target >= KNOWN) & (of_shadows <= LOST))
    lost = lost if own >= KNOWN else lost[:0]
    error = max(float(right.std() / np.sqrt(max(len(right), 1))), 1e-9)
    asked = float(right.mean())
    less = own - asked > max(APART * own, ERRORS * error)
    if not less and not len(lost):
        return None
    where = f" (on none or hardly any of class {few_of(lost)}, of which the target knows most)" if len(lost) else ""
    text = (
        f"Shadows are right on {percent(asked)} of the records in question{where}, and on {percent(own)} of those of"
        " their own data that are new to them: their data seem to be of another kind, as with classes numbered"
        " otherwise, columns in another order or another unit. Such shadows imitate the target badly."
    )
    gross = own - asked > GROSS * own or count[lost].sum() > GROSS * len(labels)
    return Unlike(text, bool(gross))
