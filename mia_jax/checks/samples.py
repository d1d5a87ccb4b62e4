"""Which of many rows and models are looked at, where all would take too long; and how numbers go together. NumPy
and SciPy.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


def rows(n: int, most: int) -> np.ndarray:
    """int [k]: ``most`` of n rows, from the first to the last, or all."""
    return np.linspace(0, n - 1, min(n, most)).astype(int)


def every(count: int, most: int) -> slice:
    """Which of so many models: ``most`` at most, evenly spaced, from the first on."""
    return slice(None, None, -(-max(count, 1) // most))


def models(shadows: int, most: int, target: bool = True) -> np.ndarray:
    """int [k]: which of the target, 0, and the shadows, from 1 on: ``most`` of these, and the target if it is known."""
    return np.r_[0, 1 + np.arange(shadows)[every(shadows, most)]][not target :]


def slips(near: int) -> list[int]:
    """1, -1, 2, -2, ...: by how many rows a part of a file may have slipped, up to ``near``."""
    return [by for k in range(1, near + 1) for by in (k, -k)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of numbers [n]; 0 where one does not vary."""
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0


def over_models(numbers: np.ndarray) -> np.ndarray:
    """float [K, n]: each record's numbers with mean 0 and length 1 over models; 0 where they are all one."""
    centered = numbers - numbers.mean(axis=0)
    length = np.sqrt((centered**2).sum(axis=0))
    return np.where(length > 1e-9, centered / np.maximum(length, 1e-9), 0.0)


def halves(related: np.ndarray) -> list[np.ndarray] | None:
    """Two groups of models, int [k] each, whose training sets tell nothing of each other; None where there are none.

    Of bool [K, K], which models are related.
    """
    count, group = csgraph.connected_components(sparse.csr_matrix(related), directed=False)
    both: list[list[int]] = [[], []]
    for one in np.argsort(-np.bincount(group, minlength=count), kind="stable"):
        min(both, key=len).extend(np.flatnonzero(group == one).tolist())
    return None if min(map(len, both)) < 2 else [np.array(half) for half in both]


def means(of: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [n] over the models of float [S, n] that are used, bool [S, n], and over how many; 0 over none."""
    count = used.sum(axis=0)
    return np.where(used, of, 0).sum(axis=0) / np.maximum(count, 1), count
