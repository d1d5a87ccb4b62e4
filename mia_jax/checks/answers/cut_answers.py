"""Probabilities that all models cut, or smooth, at one small value: what lies there tells no more how sure they are.

A clip before the logarithm, label smoothing in the answers and an API's floor look the same. Forests, whose 0 is an
answer, have none. NumPy.
"""

import numpy as np

from mia_jax.checks import samples
from mia_jax.types import Array

WIDE = 1.12  # times the smallest, up to which a probability lies at it: a clip is divided by the row's sum
SHARE = 0.3  # of all probabilities, that lie there
SMALLEST, LARGEST = 1e-5, 0.25  # of the limit: nothing is lost below; beyond, in shares of 1/c, models know little
MODELS, SAMPLE = 16, 4096  # that are looked at


def notes(target: Array, shadows: Array) -> tuple[str, ...]:
    """What is to be said of such a limit, in a sentence.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
    """
    rows = samples.rows(len(target), SAMPLE)
    models = [np.asarray(target)[rows], *(np.asarray(p)[rows] for p in shadows[samples.every(len(shadows), MODELS)])]
    least = [float(p.min()) for p in models]
    limit, classes = min(least), np.shape(target)[1]
    if not SMALLEST <= limit <= LARGEST / classes or max(least) > WIDE * limit:
        return ()
    share = float(np.mean([(p <= WIDE * limit).mean() for p in models]))
    if share < SHARE:
        return ()
    return (
        f"No model gives a class less than {limit:.2g}, and {share:.0%} of all probabilities lie there: answers seem to"
        " be cut or smoothed at this value (a clip, label smoothing, a floor), or to be made of votes between pairs of"
        " classes, as the decision_function of an SVC. How sure a model is beyond it is lost,"
        " which lira and loss feel most: save logits, or probabilities that nothing has changed, if they can be had.",
    )
