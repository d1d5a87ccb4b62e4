"""Whether a record's number depends on the other records: a signal function that mixes them.

Predictions [n, 1] less y [n] are [n, n], and a mean over either axis gives n numbers again, each of all records. NumPy;
never imports jax.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mia_jax.types import InputError

FEW = (8, 5)  # records that are asked about alone
APART = 1e-2  # of the numbers' standard deviation, beyond another unit and level
SAME = 1e-6  # of it: numbers that do not change
MIXES = (
    "signal gives a record another number where it is asked about a few records alone: it depends on the other records"
    " (or on chance), and attacks compare no record with itself. Give a number of each record's own prediction and y."
)


def mixes(
    of: Callable[[np.ndarray, np.ndarray], Any], prediction: np.ndarray, y: np.ndarray, numbers: np.ndarray
) -> bool:
    """Whether numbers of a few records alone are others than beside all, in more than their unit and level.

    A number that is divided by the standard deviation of all y is no mistake: all models' are.

    Args:
        of: (prediction [r, ...], y [r, ...]) -> [r].
        prediction, y: of all records [n, ...].
        numbers: float [n], what was computed of them.

    Raises:
        InputError: it has nothing of a record's own prediction, or of its own y.
    """
    n, wide = len(y), float(np.std(numbers))
    if len(np.shape(prediction)) == 0 or len(prediction) != n or n <= 2 * FEW[0] or not wide > 0:
        return False
    order = np.argsort(numbers, kind="stable")
    for few in FEW:
        rows = order[np.linspace(0, n - 1, few).astype(int)]
        alone = _asked(of, prediction[rows], y[rows])
        if alone is None or alone.shape != (few,) or not np.isfinite(alone).all():
            return False  # it takes no few
        if not _apart(alone, numbers[rows], wide):
            return False
    moved = np.roll(np.arange(n), n // 3 + 1)
    unmoved = [
        name
        for name, (p, q) in {"prediction": (prediction[moved], y), "y": (prediction, y[moved])}.items()
        if (now := _asked(of, p, q)) is not None
        and now.shape == numbers.shape
        and np.abs(now - numbers).max() <= SAME * max(wide, float(np.abs(numbers).max()))
    ]
    if not unmoved:
        return True
    shapes = unlike_shapes(prediction, y) or (
        f"here prediction is {list(prediction.shape)} and y {list(y.shape)}; let it subtract arrays of one shape,"
        " prediction.reshape(y.shape) - y, and take no mean over records"
    )
    raise InputError(
        "signal gives each record a number that depends on the other records, and not on its own"
        f" {unmoved[0]}, as a mean over [n, n] does: {shapes}"
    )


def unlike_shapes(prediction: np.ndarray, y: np.ndarray) -> str:
    """What is to be said of predictions [n, 1] beside y [n], or such; "" where shapes are one, or sizes differ."""
    if prediction.shape == y.shape or prediction.size != y.size:
        return ""
    return (
        f"prediction {list(prediction.shape)} beside y {list(y.shape)} gives {list(_beside(prediction, y))}, every"
        " record with every other; let signal use prediction.reshape(y.shape)"
    )


def _beside(prediction: np.ndarray, y: np.ndarray) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(prediction.shape, y.shape)
    except ValueError:
        return prediction.shape


def _asked(of: Callable[[np.ndarray, np.ndarray], Any], prediction: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    try:
        return np.asarray(of(prediction, y), np.float64)
    except Exception:  # a function of the user's that was asked once already, and answered
        return None


def _apart(alone: np.ndarray, beside: np.ndarray, wide: float) -> bool:
    """Whether numbers [r] differ by more than a factor and a constant."""
    if np.abs(alone - beside).max() <= APART * wide:
        return False
    spread = float(np.std(beside))
    if not spread > 0:
        return True
    factor = float(np.cov(alone, beside, bias=True)[0, 1] / spread**2)
    rest = alone - alone.mean() - factor * (beside - beside.mean())
    return not factor > 0 or float(np.abs(rest).max()) > APART * factor * spread
