"""A model in this process is asked about a few records again, in another order and batch than before.

What answers by a record alone says the same. One call of 16 records for each model that is looked at.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import tables
from mia_jax.types import MiaError

REPEATED = 16  # records


class Again(NamedTuple):
    """Answers about the same records."""

    first: np.ndarray  # [r, ...]
    now: np.ndarray  # [r, ...]


def ask(answer: Callable[[Any], np.ndarray], x: Any, first: np.ndarray) -> Again | None:
    """Ask again about some of the records; about all, in their order, where few cannot be asked about.

    Args:
        answer: (records [r, *f]) -> answers [r, ...].
        x: the records [n, *f].
        first: what was answered about them [n, ...].

    Returns:
        What was answered then and now; None where neither can be asked.
    """
    for rows in (chosen(first), np.arange(len(first))):
        try:
            now = np.asarray(answer(tables.take(x, rows)))
        except MiaError:  # a batch of a fixed size, or answers about a file that stand whatever is asked
            continue
        if now.shape == first[rows].shape:
            return Again(first[rows], now)
    return None


def chosen(first: np.ndarray) -> np.ndarray:
    """int [r]: records whose answers [n, ...] are far from each other, in another order than that of the file."""
    values = np.asarray(first, np.float64).reshape(len(first), -1)
    order = np.argsort(values[:, int(np.argmax(values.std(axis=0)))], kind="stable")
    some = np.unique(np.linspace(0, len(first) - 1, REPEATED).astype(int))
    return np.random.default_rng(0).permutation(order[some])
