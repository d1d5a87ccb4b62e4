"""How much better than by chance a model's answers go with the labels: the numerator of Cohen's kappa. NumPy."""

from typing import NamedTuple

import numpy as np

MARGIN = 3.0  # standard errors above chance that a model must be right on
KNOWS, FEW = 8.0, 10.0  # standard errors, and records, above chance of a model that knows the classes
TELLING = 12.0  # standard errors above chance that a model could be; with fewer, one that guesses says nothing


class Beyond(NamedTuple):
    """How a model's answers go with the labels, whatever the shares of the classes."""

    gain: float  # records answered rightly, less those by chance
    z: float  # the same in standard errors
    most: float  # the largest z of answers with these shares
    error: float  # one standard error
    kappa: float  # Cohen's: the gain as a share of what could be gained

    @property
    def knows(self) -> bool:
        """Whether the model knows the classes."""
        return self.z > KNOWS and self.gain >= FEW


def beyond_chance(labels: np.ndarray, answered: np.ndarray, classes: int) -> Beyond:
    """How a model's answers go with the labels; the standard error is that of answers in random order.

    A model of balanced weights may well be right less often than the most frequent class is there.

    Args:
        labels, answered: int [n].
        classes: their number.
    """
    n = len(labels)
    a, b = (np.bincount(x, minlength=classes).astype(np.float64) for x in (labels, answered))
    variance = ((a * b * (n - a) * (n - b)).sum() + (a @ b) ** 2 - ((a * b) ** 2).sum()) / (n**2 * max(n - 1, 1))
    error, due, right = np.sqrt(max(variance, 1e-9)), a @ b / n, int((answered == labels).sum())
    gain = right - due
    most = (np.minimum(a, b).sum() - due) / error
    return Beyond(float(gain), float(gain / error), float(most), float(error), float(gain / max(n - due, 1e-9)))
