"""Records that are nearly others of the same set: augmented copies, or a little noise. NumPy and scikit-learn.

A member's near copy among the non-members was as good as seen, as an exact copy was, and no equality shows it.
"""

from typing import Any

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Array

NEAR = 0.001  # of a column's spread, that its numbers are apart at most, and not equal, in half of the columns
SHARE, LEAST = 0.05, 10  # of the records that are so near to another, to be worth a word
MIDDLE = 0.01  # of the standard deviation, that the quartiles are apart at least, to be a column's spread
NEIGHBORS = 4  # of each record, that are looked at
DIMENSIONS = 4  # columns that vary, at least: of fewer, neighbors are near by chance
SAMPLE, COLUMNS = 2048, 64  # records whose neighbors are looked for; columns, of more of which random sums are compared
BLOCK = 4096  # records that are converted at once


def note(x: Any, member: Array | None = None) -> str | None:
    """A sentence on records that have a near copy, not an exact one, among them; None without many.

    Args:
        x: records [n, *f]; of what is no array of numbers nothing is said.
        member: bool [n], who trained the target, where that is known.
    """
    if x is None or tables.is_frame(x) or 0 in np.shape(x):
        return None
    if len(array := tables.plain(x)) < 16 * NEIGHBORS or array.dtype.kind not in "iuf":
        return None
    if (close := _near(array.reshape(len(array), -1))) is None:
        return None
    seen = "" if member is None else " Where one is a member and the other is not, the model as good as saw both."
    return (
        f"At least {close:.0%} of the records are nearly another one (apart by less than a thousandth of a column's"
        f" spread): augmented copies, or a little noise?{seen} Such pairs make attacks look worse than they are: keep"
        " one of each."
    )


def _near(flat: np.ndarray) -> float | None:
    """The share of records [n, f] that have a near copy and no exact one, if it is worth a word."""
    from sklearn.neighbors import NearestNeighbors  # not before it is needed: importing mia_jax is cheap

    rng = np.random.default_rng(0)
    some = flat[np.sort(rng.permutation(len(flat))[:SAMPLE])].astype(np.float64)
    middle, spread = np.diff(np.nanquantile(some, [0.25, 0.75], axis=0), axis=0)[0], np.nanstd(some, axis=0)
    varied = np.flatnonzero(spread > 0)
    if len(varied) < DIMENSIONS:
        return None
    sums = np.eye(len(varied)) if len(varied) <= COLUMNS else rng.normal(size=(len(varied), COLUMNS)) / np.sqrt(COLUMNS)

    def scaled(rows: Any) -> np.ndarray:
        return np.nan_to_num(flat[rows][:, varied].astype(np.float64) / spread[varied])

    values = np.concatenate([scaled(slice(k, k + BLOCK)) @ sums for k in range(0, len(flat), BLOCK)])
    asked = rng.permutation(len(flat))[:SAMPLE]
    which = NearestNeighbors(n_neighbors=NEIGHBORS + 1).fit(values).kneighbors(values[asked])[1]
    quartiles = np.fmin(middle[varied] / spread[varied], 1.0)  # of heavy tails a small part of the deviation
    near = NEAR * np.where(quartiles > MIDDLE, quartiles, 1.0)
    own, close = scaled(asked), np.zeros(len(asked), bool)
    for others in which.T:
        apart = np.abs(own - scaled(others))
        close |= ((apart > 0) & (apart < near)).mean(axis=1) >= 0.5
    return float(close.mean()) if close.mean() >= SHARE and close.sum() >= LEAST else None
