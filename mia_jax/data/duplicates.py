"""Records that occur more than once: which they are, and what that does to an audit. Values decide, labels do not."""

import hashlib
from typing import Any

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Array


def groups(x: Any) -> np.ndarray:
    """int [n]: the same number for records whose values are the same, counted as they appear.

    Args:
        x: records [n, *f], as an array, a tensor or a data frame.
    """
    if tables.is_frame(x):
        return _of_frame(x)
    x = tables.plain(x)
    if x.dtype.hasobject:
        return _numbered([repr(row) for row in x.tolist()])
    numbers: dict[bytes, int] = {}
    out = np.empty(len(x), np.int64)
    for i, row in enumerate(x):
        if row.dtype.kind == "f":
            row = row + 0.0  # -0 is 0
        key = hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()
        out[i] = numbers.setdefault(key, len(numbers))
    return out


def _of_frame(x: Any) -> np.ndarray:
    """The same of a data frame: a column's values are compared as they are, missing ones are the same."""
    if hasattr(x, "iloc"):
        columns = [x] if x.ndim == 1 else [x.iloc[:, k] for k in range(x.shape[1])]
    else:
        columns = x.get_columns() if hasattr(x, "get_columns") else [x]
    codes = np.zeros((len(x), len(columns)), np.int64)
    for k, column in enumerate(columns):
        values = tables.plain(column)
        values = values if values.dtype.kind in "biuf" else np.array([str(value) for value in values.tolist()], str)
        codes[:, k] = np.unique(values, return_inverse=True)[1]
    return _numbered([row.tobytes() for row in codes])


def _numbered(keys: list[Any]) -> np.ndarray:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def of_records(x: Any) -> np.ndarray | None:
    """int [n]: ``groups`` of records [n, *f]; None where nothing of them is known."""
    return None if x is None or 0 in np.shape(x) else groups(x)


def note(group: np.ndarray, member: Array | None = None, seen_by: str = "") -> str | None:
    """A sentence about the exact copies in a set; None without any.

    Args:
        group: of ``groups``.
        member: bool [n], who trained the target, where that is known.
        seen_by: what shows it where the records themselves are not there, in words.
    """
    copied = int((np.bincount(group)[group] > 1).sum())
    if not copied:
        return None
    different = int((np.bincount(group) > 1).sum())
    text = f"{copied:,} of the {len(group):,} records have an exact copy among them ({different:,} different){seen_by}."
    if member is None:
        return (
            f"{text} Where one copy trained a model and another did not, the latter counts as a non-member, though the"
            " model saw it: attacks do better than their numbers say."
        )
    member = np.asarray(member, bool)
    seen = int(np.isin(group[~member], group[member]).sum())
    if seen:
        text += (
            f" {seen:,} of the non-members are copies of members: the model saw them, and whoever calls them members"
            " counts as wrong. Leave them out of the file, or, if they are records and no padding, say that they are"
            " members."
        )
    return f"{text} Each copy counts as a record, so that intervals are narrower than they should be."
