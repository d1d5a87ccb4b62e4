"""k-means (Lloyd 1982) of records of bits: the classes of Purchase, whose original classes were clusters, too.

Centers are rounded to multiples of a power of two, so that every sum that compares a record with a center is exact in
float32, in whatever order it is added up. So the clusters are the same on every machine, BLAS and number of threads.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy import sparse

from mia_jax.types import InputError

_BLOCK = 4096  # rows that are float32 at once
_SAMPLE = 20_000  # records that the centers are first found on
_ROUNDS = 5  # of Lloyd, after each splitting and on all records


def kmeans(x: np.ndarray, classes: int, *, seed: int) -> np.ndarray:
    """Clusters of records.

    Clusters are split in two, from a single one on, until there are enough (Linde, Buzo & Gray 1980), with Lloyd's
    algorithm after each doubling: on a sample, and at the end on all records. Starting from single records, as
    k-means++ does, leaves clusters of one record behind, because bits are noisy: a record is far from all others, and
    a mean is not. A class needs records to be trained on.

    Args:
        x: [n, f] uint8, bits.
        classes: c, how many clusters; none of them is empty.
        seed: of the sample and the splits.

    Returns:
        y [n] int32, the cluster of each record.

    Raises:
        InputError: there are fewer records than clusters.
    """
    if len(x) < classes:
        raise InputError(f"{len(x)} records do not make {classes} classes; use more records")
    rng = np.random.default_rng([seed, classes])
    some = x[np.sort(rng.choice(len(x), min(len(x), max(_SAMPLE, classes)), replace=False))]
    centers, y = some.mean(axis=0, keepdims=True), np.zeros(len(some), np.int32)
    while len(centers) < classes:
        centers, y = lloyd(some, _split(rng, some, centers, y, classes), _ROUNDS)
    return lloyd(x, centers, _ROUNDS)[1]


def _split(rng: np.random.Generator, x: np.ndarray, centers: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Centers, at most ``classes``: those of the largest clusters give way to the means of two random halves each."""
    by_size = np.argsort(-np.bincount(y, minlength=len(centers)), kind="stable")
    split, kept = np.split(by_size, [classes - len(centers)])
    halves = [half for k in split for half in np.array_split(rng.permutation(np.flatnonzero(y == k)), 2)]
    return np.concatenate([centers[kept], [x[half].mean(axis=0) if len(half) else centers[0] for half in halves]])


def lloyd(x: np.ndarray, centers: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm: each record goes to the nearest center (of equals, the first), each center to the mean.

    A cluster that lost all its records takes the one that is farthest from its center.

    Args:
        x: [n, f] uint8, bits.
        centers: [c, f] to start from.
        rounds: at most; it ends earlier when no record moves.

    Returns:
        (centers [c, f] float32, y [n] int32): the means of the clusters, rounded, and the clusters.
    """
    y = np.full(len(x), -1, np.int32)
    for _ in range(rounds):
        before, y, sums = y, *_assign(x, centers)
        if np.array_equal(before, y):
            break
        centers = sums / np.bincount(y, minlength=len(centers))[:, None]
    return rounded_to_exact_sums(centers, x.shape[1]), y


def rounded_to_exact_sums(values: np.ndarray, f: int) -> np.ndarray:
    """float32, rounded so that sums of up to f numbers of [0, 1] that were rounded like this are exact."""
    unit = 2.0 ** (24 - math.ceil(math.log2(max(2, f))))
    return (np.round(np.asarray(values, np.float64) * unit) / unit).astype(np.float32)


def _blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    buffer = np.empty((_BLOCK, x.shape[1]), np.float32)  # one for all: fresh memory costs more than the matmul
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        block = buffer[: rows.stop - start]
        np.copyto(block, x[rows])
        yield rows, block


def _assign(x: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest center of each record, y [n], no cluster empty; and the sums [c, f] float64 over the clusters."""
    c, f = centers.shape
    centers = rounded_to_exact_sums(centers, f)
    half = rounded_to_exact_sums((centers.astype(np.float64) ** 2).sum(axis=1) / 2, f)
    y, best = np.empty(len(x), np.int32), np.empty(len(x), np.float32)
    sums = np.zeros(centers.shape)
    for rows, block in _blocks(x):
        near = block @ centers.T - half  # (|x|^2 - |x - center|^2) / 2
        y[rows] = near.argmax(axis=1)
        best[rows] = np.take_along_axis(near, y[rows, None], axis=1)[:, 0]
        shape = (len(block), c)
        one_hot = sparse.csr_array((np.ones(len(block), np.float32), y[rows], np.arange(len(block) + 1)), shape)
        sums += one_hot.T @ block
    counts = np.bincount(y, minlength=c)
    if (counts == 0).any():
        far = np.argsort(2 * best - x.sum(axis=1, dtype=np.int32), kind="stable")
        for empty in np.flatnonzero(counts == 0):
            at = next(i for i in far if counts[y[i]] > 1)
            counts[y[at]] -= 1
            counts[empty] += 1
            sums[y[at]] -= x[at]
            sums[empty] += x[at]
            y[at] = empty
    return y, sums
