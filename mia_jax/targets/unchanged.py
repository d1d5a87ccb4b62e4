"""Records are given to a user's function as a copy: one that works in place, as ``x /= 255`` does, changes nobody's.

A copy costs as much memory as the records while the question lasts, and up to two seconds for a gigabyte. Of more
records than a gigabyte none is made, and a function that changed them is refused.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax import user_code
from mia_jax.data import tables
from mia_jax.types import InputError

COPIED = 2**30  # bytes of records; of more no copy is made
LOOKED_AT = 1024  # records that are compared before and after


class Given(NamedTuple):
    """What a function gave, asked about records."""

    answer: Any
    in_place: bool  # it changed the records, of which it had a copy


def ask(function: Callable[[Any], Any], x: Any, called: str) -> Given:
    """Ask a user's function about records.

    Args:
        function: of records.
        x: the records [n, *f], in whatever type the function takes.
        called: what it is called in messages.

    Raises:
        InputError: it raises; or it changed records that are too many to be copied.
    """
    given, before = _copy(x), some(x)
    try:
        with user_code.guarded(f"{called}, asked with records as they were given ({_kind(x)}),"):
            answer = function(given)
    except InputError as error:
        if getattr(x, "dtype", None) != np.float64 or not _of_two_types(str(error.__cause__)):
            raise
        raise InputError(f'{error}; give x.astype("float32"), or let model and records be of one type') from error
    changed = not same(before, some(given))
    if changed and given is x:
        raise InputError(
            f"{called} changed the records in place, as x /= 255 does, and others are asked about them, too: let it"
            " work on a copy (x = x / 255), and load the records anew"
        )
    return Given(answer, changed)


def some(x: Any) -> Any:
    """A copy of some of the records x [n, *f], spread over them; None of what has no rows to take."""
    try:
        return tables.take(x, np.unique(np.linspace(0, len(x) - 1, LOOKED_AT).astype(int))) if len(x) else None
    except TypeError:
        return None


def same(before: Any, after: Any) -> bool:
    """Whether copies of ``some`` records of before and after are the same, bit by bit."""
    if before is None or after is None:
        return before is after
    if tables.is_frame(before):
        return bool(before.equals(after))
    before, after = tables.plain(before), tables.plain(after)
    return before.shape == after.shape and before.dtype == after.dtype and before.tobytes() == after.tobytes()


def _copy(x: Any) -> Any:
    """A copy of records; themselves where they are too many, or of a type whose values cannot change."""
    if hasattr(x, "iloc"):
        return x.copy() if np.sum(x.memory_usage()) <= COPIED else x
    if isinstance(x, np.ndarray):
        return x.copy(order="K") if x.nbytes <= COPIED else x  # K: another layout has other last bits in a product
    if hasattr(x, "clone"):  # tensors, and data frames of polars
        size = x.element_size() * x.nelement() if hasattr(x, "element_size") else 0
        return x.clone() if size <= COPIED else x
    return x


def _of_two_types(message: str) -> bool:
    """Whether an error speaks of float64 beside float32, by any of their names, as those of PyTorch do."""
    named = set(re.findall("float64|float32|float16|bfloat16|float|double", message.lower()))
    return bool(named & {"float64", "double"} and named & {"float32", "float"})


def _kind(x: Any) -> str:
    """What records are, for a message: "numpy.ndarray float32 [200, 30]"."""
    shape = ", ".join(map(str, getattr(x, "shape", ())))
    return f"{type(x).__module__.partition('.')[0]}.{type(x).__name__} {getattr(x, 'dtype', '')} [{shape}]"
