"""Whether the records beside saved answers are those that the models answered about: by what they say of the labels.

Records are used where the target is not asked: by the blind baseline and for groups. In another order than the answers,
as those of the file before it was split, they tell nothing of anybody, and a gate on the baseline passes. NumPy and
scikit-learn.
"""

from collections.abc import Iterable

import numpy as np

from mia_jax.checks import samples
from mia_jax.checks.chance import MARGIN, TELLING, beyond_chance
from mia_jax.checks.naming import percent
from mia_jax.types import Array

LEAST, SAMPLE, TREES = 200, 2000, 60  # records, those that are looked at, and trees
KNOWN = 0.5  # kappa of models on records new to them, above which records of that kind do say something of the class


def notes(features: Array, labels: Array, answers: Iterable[Array], member: Iterable[Array | None]) -> list[str]:
    """What is to be said of records that say nothing of labels which models know, in a sentence.

    Args:
        features: float [n, k], of the records; NaN: missing.
        labels: int [n].
        answers: of each model, probabilities [n, c].
        member: of each model, bool [n], who trained it; None where that is not known.
    """
    from sklearn.ensemble import RandomForestClassifier  # not before it is needed: importing mia_jax is cheap

    labels = np.asarray(labels)
    known = [found for p, mine in zip(answers, member, strict=True) if (found := _kappa(labels, p, mine)) is not None]
    if len(labels) < LEAST or not known or np.median(known) < KNOWN:
        return []
    rows = samples.rows(len(labels), SAMPLE)
    x, y = np.asarray(features)[rows], labels[rows]
    forest = RandomForestClassifier(TREES, bootstrap=True, oob_score=True, random_state=0).fit(x, y)
    answer = forest.classes_[np.argmax(forest.oob_decision_function_, axis=1)]  # of trees that did not see the record
    beyond = beyond_chance(y, answer, int(labels.max()) + 1)
    if beyond.most < TELLING or beyond.z > MARGIN:
        return []
    return [
        f"The records in x say nothing of the labels (a forest is right on {percent((answer == y).mean())}, as by"
        " guessing), which models know of records that are new to them: x seems to be in another order than labels and"
        " answers, or holds other columns than the models saw. What is read of x, the blind baseline and groups, then"
        " says nothing of these members."
    ]


def _kappa(labels: np.ndarray, p: Array, mine: Array | None) -> float | None:
    """Cohen's kappa of a model on records that did not train it."""
    if mine is None or np.all(mine):
        return None
    new, answer = ~np.asarray(mine, bool), np.argmax(np.asarray(p), axis=1)
    return beyond_chance(labels[new], answer[new], np.shape(p)[1]).kappa
