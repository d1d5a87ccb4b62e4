"""Records that occur more than once: which they are, and what that does to an audit. Values decide, labels do not."""

import hashlib

import numpy as np

from mia_jax.types import Array


def groups(x: Array) -> np.ndarray:
    """int [n]: the same number for records [n, *f] whose values are the same, counted as they appear."""
    x = np.asarray(x)
    numbers: dict[bytes, int] = {}
    out = np.empty(len(x), np.int64)
    for i, row in enumerate(x):
        if row.dtype.kind == "f":
            row = row + 0.0  # -0 is 0
        key = hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()
        out[i] = numbers.setdefault(key, len(numbers))
    return out


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
    text = f"{copied:,} of the {len(group):,} records have an exact copy among them{seen_by}."
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
