"""Whether a data set gives the same records when it is read again; with a random transform it does not."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.data import tables

FEW = 8  # records that are read twice more; a transform that moves half of them is missed once in 256


def notes(data: Any) -> tuple[str, ...]:
    """The note on a data set whose records are others each time, in a sentence; () where they are the same.

    A data set that cannot be read again says nothing of it here.

    Args:
        data: with ``len(data)`` and ``data[k]``, that was read.
    """
    rows = np.unique(np.linspace(0, len(data) - 1, FEW).astype(int)).tolist()
    try:
        row = next((k for k in rows if _differ(data[k], data[k])), None)
    except Exception:  # of an iterator in disguise, or a file that was closed: whatever a user's own code raises
        return ()
    if row is None:
        return ()
    return (
        f"Record {row} of {type(data).__name__} is another one each time it is read, as with a random transform"
        " (augmentation), and these are its records of one reading. An audit asks about records as a model gets them in"
        " evaluation: give the data set with the transform of evaluation, or none.",
    )


def _differ(one: Any, other: Any) -> bool:
    """Whether two readings of a record are not the same, in any of their parts."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() != other.keys() or any(_differ(one[name], other[name]) for name in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) != len(other) or any(map(_differ, one, other))
    a, b = (np.asarray(value if hasattr(value, "getbands") else tables.plain(value)) for value in (one, other))
    if a.dtype.kind in "fc" and b.dtype.kind in "fc":
        return not np.array_equal(a, b, equal_nan=True)
    return "O" not in (a.dtype.kind, b.dtype.kind) and not np.array_equal(a, b)  # objects may be equal, and not say so
