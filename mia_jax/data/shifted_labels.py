"""Labels that are a row or a few away from their records, in the whole set or a part of it: by nearest neighbors.

All models that train on such pairs remember them by heart, and an audit finds a worse leak than there is. Neighbors
tell: they have the label in common, and, where labels slipped, the label some rows away. NumPy and scikit-learn.
"""

from typing import Any

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Array

STEPS = (-3, -2, -1, 1, 2, 3)  # rows that labels may be away
PARTS, LEAST = 5, 60  # of the set, each looked at by itself; records of one
ASKED, AMONG = 1500, 6000  # records whose neighbor is looked for, and among how many
GAIN, ERRORS = 0.25, 6.0  # share of neighbors, more than at the own row, that agree; in standard errors, too
COLUMNS = 4096  # numbers of a record, beyond which some are looked at


def note(x: Any, y: Array) -> str | None:
    """A sentence on labels that fit the records some rows away far better than their own; None of others.

    Args:
        x: records [n, *f]; of what is no array of numbers nothing is said.
        y: int [n].
    """
    if x is None or tables.is_frame(x) or 0 in np.shape(x) or np.ndim(y) != 1:
        return None
    array, label = tables.plain(x), np.asarray(y)
    if len(array) != len(label) or len(label) < LEAST or array.dtype.kind not in "biuf":
        return None
    if label.dtype.kind not in "biu" or len(np.unique(label)) < 2:
        return None
    apart = _apart(array, label)
    for by in STEPS:
        parts = [k for k in range(PARTS) if apart[by][k]]
        if parts:
            edges = np.linspace(0, len(label), PARTS + 1).astype(int)
            first, last = int(edges[parts[0]]), int(edges[parts[-1] + 1]) - 1
            where = "" if len(parts) == PARTS else f" in rows {first} to {last} (counted from 0)"
            return (
                f"Records that are alike{where} have the label in common that is {abs(by)} row{'s' * (abs(by) > 1)}"
                f" {'further down' if by > 0 else 'further up'}, and not their own: labels seem to be paired with other"
                " records' rows, as where a line was lost or one column was sorted. Models learn such pairs by heart,"
                " and leak more."
            )
    return None


def _apart(array: np.ndarray, label: np.ndarray) -> dict[int, list[bool]]:
    """By how many rows -> for each part of the set, whether labels so far away fit neighbors far better."""
    from sklearn.neighbors import NearestNeighbors  # not before it is needed: importing mia_jax is cheap

    n, rng = len(label), np.random.default_rng(0)
    flat = array.reshape(n, -1)
    flat = flat[:, np.linspace(0, flat.shape[1] - 1, min(flat.shape[1], COLUMNS)).astype(int)]
    among = np.sort(rng.permutation(n)[:AMONG])
    values = np.nan_to_num(flat[among].astype(np.float64))
    spread = values.std(axis=0)
    values = values[:, spread > 0] / spread[spread > 0]
    if not values.shape[1]:
        return {by: [False] * PARTS for by in STEPS}
    some = np.sort(rng.permutation(len(among))[:ASKED])
    found = NearestNeighbors(n_neighbors=2).fit(values).kneighbors(values[some])[1]
    other = np.where(found[:, 0] == some, found[:, 1], found[:, 0])
    own, near = among[some], among[other]
    part = own * PARTS // n
    inside = (np.minimum(own, near) + STEPS[0] >= 0) & (np.maximum(own, near) + STEPS[-1] < n)

    def agrees(by: int) -> np.ndarray:
        a, b = (np.clip(rows + by, 0, n - 1) for rows in (own, near))
        return label[a] == label[b]

    here, out = agrees(0), {}
    for by in STEPS:
        gain = agrees(by).astype(float) - here
        out[by] = []
        for k in range(PARTS):
            terms = gain[inside & (part == k)]
            error = np.sqrt((terms**2).sum())
            out[by].append(len(terms) >= LEAST // PARTS and terms.mean() >= GAIN and terms.sum() > ERRORS * error)
    return out
