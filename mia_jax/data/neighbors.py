"""What nearest neighbors tell of a set of records: near copies of each other, and labels that stand some rows away.

A member's near copy among the non-members was as good as seen, as an exact copy was, and no equality shows it. Records
that are alike have the label in common; where labels slipped, the label some rows away: models that train on such pairs
remember them by heart, and an audit finds a worse leak than there is. NumPy and scikit-learn.
"""

from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Array

LEAST, DIMENSIONS = 60, 4  # records of a set; columns that vary, of fewer of which neighbors are near by chance
ASKED, NEIGHBORS = 2048, 4  # records whose neighbors are looked for, and how many of each
COLUMNS, BLOCK = 64, 4096  # columns, of more of which random sums are compared; records that are converted at once
NEAR = 0.001  # of a column's spread, that near copies are apart at most, and not equal, in half of the columns
SHARE, COPIES = 0.05, 10  # of the records, and how many of them, that have a near copy, to be worth a word
BESIDE, NEXT, NEXT_OF = 2, 0.5, 100  # rows that are side by side; share whose nearest is, of so many records at least
PARTED = 0.5  # of the pairs that a draw one by one would part
MIDDLE = 0.01  # of the standard deviation, that the quartiles are apart at least, to be a column's spread
STEPS = (-3, -2, -1, 1, 2, 3)  # rows that labels may be away
PARTS = 5  # of the set, in each of which labels are looked at by themselves
GAIN, ERRORS = 0.25, 6.0  # share of neighbors, more than at the own row, that agree; in standard errors, too


class _Found(NamedTuple):
    """Neighbors of some records."""

    asked: np.ndarray  # int [k], rows, in their order
    near: np.ndarray  # int [k, NEIGHBORS], rows of the nearest, without the records themselves
    flat: np.ndarray  # [n, f], the columns that vary
    spread: np.ndarray  # [f], their standard deviations
    middle: np.ndarray  # [f], how far their quartiles are apart

    def scaled(self, rows: Any) -> np.ndarray:
        """Records in standard deviations, float64 [r, f]; what is missing is 0."""
        return np.nan_to_num(self.flat[rows].astype(np.float64) / self.spread)


def notes(x: Any, y: Array | None = None, member: Array | None = None) -> list[str]:
    """What is to be said, in sentences; nothing of what is no array of numbers.

    Args:
        x: records [n, *f].
        y: int [n], labels, where there are any: of numbers nothing is told.
        member: bool [n], who trained the target, where that is known.
    """
    if x is None or tables.is_frame(x) or 0 in np.shape(x) or len(array := tables.plain(x)) < LEAST:
        return []
    if array.dtype.kind not in "biuf" or (found := _search(array.reshape(len(array), -1))) is None:
        return []
    said = [] if array.dtype.kind == "b" else _copies(found, member)
    said += _side_by_side(found, member)
    label = None if y is None else np.asarray(y)
    if label is not None and label.shape == (len(array),) and label.dtype.kind in "biu" and np.ptp(label.astype(int)):
        said += _labels(found, label)
    return said


def _search(flat: np.ndarray) -> _Found | None:
    """The neighbors of some of the records [n, f]; None where too few columns vary."""
    from sklearn.neighbors import NearestNeighbors  # not before it is needed: importing mia_jax is cheap

    rng = np.random.default_rng(0)
    asked = np.sort(rng.permutation(len(flat))[:ASKED])
    some = flat[asked].astype(np.float64)
    middle, spread = np.diff(np.nanquantile(some, [0.25, 0.75], axis=0), axis=0)[0], np.nanstd(some, axis=0)
    varied = np.flatnonzero(spread > 0)
    if len(varied) < DIMENSIONS:
        return None
    found = _Found(asked, asked[:, None], flat[:, varied], spread[varied], middle[varied])
    sums = np.eye(len(varied)) if len(varied) <= COLUMNS else rng.normal(size=(len(varied), COLUMNS)) / np.sqrt(COLUMNS)
    values = np.concatenate([found.scaled(slice(k, k + BLOCK)) @ sums for k in range(0, len(flat), BLOCK)])
    near = NearestNeighbors(n_neighbors=NEIGHBORS + 1).fit(values).kneighbors(values[asked])[1]
    others = np.argsort(near == asked[:, None], axis=1, kind="stable")[:, :NEIGHBORS]  # itself last, if it is there
    return found._replace(near=np.take_along_axis(near, others, axis=1))


def _copies(found: _Found, member: Array | None) -> list[str]:
    quartiles = np.fmin(found.middle / found.spread, 1.0)  # of heavy tails a small part of the deviation
    near = NEAR * np.where(quartiles > MIDDLE, quartiles, 1.0)
    own, close = found.scaled(found.asked), np.zeros(len(found.asked), bool)
    for others in found.near.T:
        apart = np.abs(own - found.scaled(others))
        close |= ((apart > 0) & (apart < near)).mean(axis=1) >= 0.5
    if close.mean() < SHARE or close.sum() < COPIES:
        return []
    seen = "" if member is None else " Where one is a member and the other is not, the model as good as saw both."
    return [
        f"At least {close.mean():.0%} of the records are nearly another one (apart by less than a thousandth of a"
        f" column's spread): augmented copies, or a little noise?{seen} Such pairs make attacks look worse than they"
        " are: keep one of each."
    ]


def _side_by_side(found: _Found, member: Array | None) -> list[str]:
    """Whether the nearest record is as a rule the one beside it in the file, and members are drawn one by one."""
    if member is None:
        return []
    n, own, other = len(found.flat), found.asked, found.near[:, 0]
    beside = np.abs(own - other) <= BESIDE
    mine = np.asarray(member, bool)
    if beside.mean() < NEXT or beside.sum() < COPIES or n < NEXT_OF:
        return []
    parted = float((mine[own] != mine[other])[beside].mean())
    if parted < PARTED * 2 * mine.mean() * (1 - mine.mean()):
        return []  # drawn by the recording: few neighbors are parted
    return [
        f"The nearest record of {beside.mean():.0%} is one of the two before or after it in the file, and of"
        f" {parted:.0%} of such pairs one is a member and the other is not: overlapping windows, frames or visits,"
        " drawn one by one? The model as good as saw both, and attacks find less. Draw members by the recording, person"
        " or day."
    ]


def _labels(found: _Found, label: np.ndarray) -> list[str]:
    n, own, other = len(label), found.asked, found.near[:, 0]
    part = own * PARTS // n
    inside = (np.minimum(own, other) + STEPS[0] >= 0) & (np.maximum(own, other) + STEPS[-1] < n)

    def agrees(by: int) -> np.ndarray:
        one, two = (np.clip(rows + by, 0, n - 1) for rows in (own, other))
        return (label[one] == label[two]).astype(float)

    for by in STEPS:
        gain = agrees(by) - agrees(0)
        each = [gain[inside & (part == k)] for k in range(PARTS)]
        parts = [k for k, terms in enumerate(each) if len(terms) and _surely(terms)]
        if not parts:
            continue
        edges = np.linspace(0, n, PARTS + 1).astype(int)
        first, last = int(edges[parts[0]]), int(edges[parts[-1] + 1]) - 1
        where = "" if len(parts) == PARTS else f" in rows {first} to {last} (counted from 0)"
        return [
            f"Records that are alike{where} have the label in common that is {abs(by)} row{'s' * (abs(by) > 1)}"
            f" {'further down' if by > 0 else 'further up'}, and not their own: labels seem to be paired with other"
            " records' rows, as where a line was lost or one column was sorted. Models learn such pairs by heart,"
            " and leak more."
        ]
    return []


def _surely(gain: np.ndarray) -> bool:
    return bool(gain.mean() >= GAIN and gain.sum() > ERRORS * np.sqrt((gain**2).sum()))
