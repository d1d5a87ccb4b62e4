"""Records that have, bit by bit, the answer of another record that is near: a cache of similar queries in a service.

Such a cache answers a record as an earlier one that is nearer than some distance. So equal answers are many small
groups, and one distance parts all: below it are the records of a group, above it the first ones of the groups. Leaves,
votes and columns that a model ignores make equal answers, too, and no such distance parts them. NumPy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming, samples
from mia_jax.checks.answers.equal_answers import BESIDE, LEAST, SHARE, Answered, answered
from mia_jax.types import Array

GROUP = 0.1  # of all records: a larger group of equal answers is none of a cache's
VARIOUS = 0.4  # of the telling answers differ, at least
PARTED = 0.97  # records on their side of the distance, of those of groups and of the first ones
CHANCE = 0.15  # of equal answers, at most, may be such as shadows have, too
GAP = 0.5  # of the distance: so near it are records of groups; copies with noise are all much nearer
ROWS = 512  # of each sort that are measured
FIRST = 8192  # first ones that they are measured from


class Repeated(NamedTuple):
    """Records with the answer of an earlier record."""

    first: np.ndarray  # int [k], the first record of each answer
    later: np.ndarray  # int [r], the records that have an earlier one's
    of: np.ndarray  # int [r], whose


def of_service(
    x: Array, target: Array, own: Answered, shadows: Sequence[Answered], record: np.ndarray, known: slice
) -> str | None:
    """The doubt about a service that answers records as others near them, where no shadow does so; None without.

    Args:
        x: [n, *f], as the service is asked, in this order.
        target: its answers about them, probabilities [n, c].
        own: ``equal_answers.from_losses`` of its answers about some of the records.
        shadows: the same of each shadow, about records of its own.
        record: int [n], the same number for records that are copies of each other.
        known: the records that ``own`` is about.
    """
    x, exact, once = np.asarray(x), answered(target), np.zeros(len(record), bool)
    once[np.unique(record, return_index=True)[1]] = True  # copies have equal answers of any model
    exact, own = exact._replace(telling=exact.telling & once), own._replace(telling=own.telling & once[known])
    n, found = len(x), _repeated(exact)
    telling = int(exact.telling.sum())
    _, sizes = np.unique(exact.key[exact.telling], return_counts=True)
    few = len(found.later) < max(LEAST, SHARE * n) or sizes.max() > max(2, GROUP * n)
    if few or len(found.first) < VARIOUS * telling:
        return None
    mine, usual = _share(own), max((_share(one) for one in shadows), default=0.0)
    if mine < max(BESIDE * usual, SHARE / 2):
        return None
    inside = PARTED - min(CHANCE, usual / mine)  # some have an equal answer by chance, of a record anywhere
    if not any(_parted(rows, found, inside) for rows in _scales(x.reshape(n, -1))):
        return None
    return (
        f"{len(found.later):,} of {n:,} records ({naming.some_rows(np.sort(found.later))}) have, bit by bit, answers of"
        " other records that are near (a cache of similar queries), and no shadow answers so often alike: such answers"
        " are not the model's about these records, and attacks find less. Switch the cache off, or ask the model"
        " behind it, and ask again (`fresh`)."
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _repeated(one: Answered) -> Repeated:
    rows = np.flatnonzero(one.telling)
    _, first, group = np.unique(one.key[rows], return_index=True, return_inverse=True)
    is_later = np.ones(len(rows), bool)
    is_later[first] = False
    return Repeated(rows[first], rows[is_later], rows[first[group.reshape(-1)[is_later]]])


def _share(one: Answered) -> float:
    """Of the records, those that have the answer of another one, the first of each left out."""
    return (int(one.telling.sum()) - len(np.unique(one.key[one.telling]))) / max(len(one.key), 1)


def _scales(x: np.ndarray) -> list[np.ndarray]:
    """The records as they may be compared: as they are, and of length 1 (the cosine)."""
    x = x.astype(np.float64)
    length = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return [x, x / np.maximum(length, 1e-12)] if x.shape[1] > 1 else [x]


def _parted(x: np.ndarray, found: Repeated, share: float) -> bool:
    """Whether one distance parts a share of the records of groups from first ones: x [n, d]."""
    later, of = (rows[samples.every(len(rows), ROWS)] for rows in (found.later, found.of))
    some = found.first[samples.every(len(found.first), FIRST)]
    alone = some[samples.every(len(some), ROWS)]
    inside = np.sqrt(((x[later] - x[of]) ** 2).sum(axis=1))
    square = (x[alone] ** 2).sum(axis=1)[:, None] + (x[some] ** 2).sum(axis=1) - 2 * x[alone] @ x[some].T
    square[alone[:, None] == some] = np.inf
    outside = np.sqrt(np.maximum(square.min(axis=1), 0.0))
    bound = float(np.quantile(inside, share))
    return bool((outside > bound).mean() >= PARTED and bound > GAP * np.quantile(outside, 0.02) > 0)
