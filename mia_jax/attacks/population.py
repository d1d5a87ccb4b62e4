"""Where a record stands among the population, for RMIA and Attack-P."""

import numpy as np

from mia_jax.types import Array


def share_below(value: Array, population: Array | None = None, *, by: float = 0.0, strict: bool = False) -> np.ndarray:
    """The share of the population that ``value`` passes by ``by`` at least: ``z + by <= value`` (or <); ties broken.

    The share is a step function of the value. Within a step, the value itself orders: less than one step is added, so
    nothing else changes.

    Args:
        value: [n].
        population: [m]; None: the other records, of ``value`` itself.
        strict: count ``z + by < value``.

    Returns:
        float64 [n], within [0, 1 + 1/m).
    """
    value = np.asarray(value, np.float64)
    order = np.argsort(value)
    ranked = value[order]
    population = ranked if (alone := population is None) else np.sort(np.asarray(population, np.float64))
    # Sorted questions are answered from the cache.
    count = np.empty(len(value))
    count[order] = np.searchsorted(population, ranked - by, side="left" if strict else "right")
    size = len(population)
    if alone:
        count -= (by < 0) if strict else (value <= value - by)  # itself
        size -= 1
    size = max(size, 1)
    return (count + 0.5 + 0.5 * value / (1 + np.abs(value))) / size
