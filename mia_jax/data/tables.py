"""Rows of whatever holds records: arrays, tensors, data frames; they are handed on as the type that they came in."""

import functools
import importlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mia_jax.storage import artifacts
from mia_jax.types import InputError


def is_frame(x: Any) -> bool:
    """Whether x is a data frame or series of pandas or polars."""
    return hasattr(x, "iloc") or (hasattr(x, "get_columns") and hasattr(x, "columns"))


def take(x: Any, rows: np.ndarray) -> Any:
    """The rows [m] of records x [n, *f], of the same type."""
    return x.iloc[rows] if hasattr(x, "iloc") else x[rows]


def categories(values: Any) -> tuple[Any, ...]:
    """The categories that a column or labels [n] of pandas, polars or pyarrow are said to have; none of other types.

    Where nobody put them in an order (``Categorical`` of polars, a dictionary of pyarrow) they are sorted.
    """
    kind = getattr(values, "dtype", None)
    if hasattr(kind, "categories") and hasattr(kind, "ordered"):  # of pandas
        return tuple(kind.categories)
    if hasattr(kind, "categories") and hasattr(values, "to_list"):  # Enum of polars
        return tuple(kind.categories) if str(kind).startswith("Enum") else tuple(sorted({*values.drop_nulls()}))
    if hasattr(values, "combine_chunks") and hasattr(values.type, "ordered"):  # a dictionary of pyarrow
        known = values.unify_dictionaries().chunk(0).dictionary.to_pylist() if values.num_chunks else []
        return tuple(known if values.type.ordered else sorted(known))
    return ()


def plain(x: Any) -> np.ndarray:
    """Records x [n, *f] as a NumPy array: of a tensor its values, wherever it lies; NaN where a mask lies on numbers.

    Raises:
        InputError: rows of different lengths.
    """
    if hasattr(x, "detach"):  # a PyTorch tensor, which may need a gradient or lie on a GPU
        x = x.detach().cpu()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x) and x.dtype.kind in "biuf":
        x = x.astype(np.float64).filled(np.nan)
    try:
        array = np.asarray(x)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array  # which NumPy takes for no number
    except ValueError as error:  # NumPy's own words name its parts, as "inhomogeneous"
        raise InputError(
            f"rows of different lengths are no array ({error}): give each as many numbers, and of several outputs one"
        ) from None


def turned(name: str, shape: Sequence[int], expected: Sequence[int | None]) -> str:
    """What makes an array one of the expected shape, where its axes are in another order, or some have length 1.

    Args:
        name: of the array, in what to do.
        shape: that it has.
        expected: lengths of axes; None: any.

    Returns:
        A clause with a semicolon before it; "" where neither is so.
    """
    fits = functools.partial(_fits, expected)
    if fits(shape):
        return ""
    orders = itertools.permutations(range(len(shape))) if len(shape) <= 4 else ()
    if fitting := [order for order in orders if fits([shape[k] for k in order])]:
        move = f"{name}.T" if len(shape) == 2 else f"np.transpose({name}, {' or '.join(map(str, fitting))})"
        return f"; its axes seem to be in another order: give {move}"
    return f"; give {name}.squeeze()" if fits([size for size in shape if size > 1]) else ""


def turned_answers(name: str, shape: Sequence[int], expected: Sequence[int | None]) -> str:
    """The same of answers: several for each record, of which one is needed, or of models one below the other.

    Args:
        name, shape, expected: as of ``turned``; the number of records is known, first or behind that of models.
    """
    if said := turned(name, shape, expected):
        return said
    fits = functools.partial(_fits, expected)
    if len(shape) == len(expected) + 1:
        several = [k for k in range(1, len(shape)) if fits([*shape[:k], *shape[k + 1 :]])]
        if several:
            ways = [f"{name}[{', '.join([':'] * k + ['0'])}] where axis {k} is theirs" for k in several]
            return f"; of several answers for each record, as of augmentations, give one: {', or '.join(ways)}"
    if len(expected) == len(shape) + 1 > 1 and (records := expected[1]):
        count, rest = divmod(shape[0], records)
        if count and not rest and fits((count, records, *shape[1:])):
            return f"; of one model below the other give {name}.reshape({count}, {records}, *{name}.shape[1:])"
    return ""


def _fits(expected: Sequence[int | None], sizes: Sequence[int]) -> bool:
    """Whether these are the lengths of axes that are expected; None: any."""
    return len(sizes) == len(expected) and all(e in (None, s) for s, e in zip(sizes, expected, strict=True))


def refuse_unpaired(x: Any, labels: int, whose: str = "") -> None:
    """Refuse records and labels of which there are not as many.

    Args:
        x: records [n, *f].
        labels: how many there are.
        whose: in words, for the message.

    Raises:
        InputError: they differ.
    """
    is_model = callable(getattr(x, "predict", None))  # a forest has a length, and NumPy makes an array of its trees
    if is_model or np.ndim(x) == 0:
        held = x if is_model else np.asarray(x).item()
        move = (
            "the model comes first, then the records"
            if is_model or callable(held)
            else "give what it was made of, as an array"
        )
        raise InputError(f"{whose}x is a {type(held).__name__} and no records: {move}")
    if len(x) != labels:
        hint = turned("x", np.shape(x), (labels, None)) if np.ndim(x) == 2 else ""
        raise InputError(
            f"{whose}x has {len(x):,} records and y {labels:,} labels: give one label for each record{hint}"
        )


def refuse_unaligned(x: Any, y: Any, called: str = "y", first: str = "x") -> None:
    """Refuse records and labels of pandas whose indexes pair them otherwise than their order does.

    Args:
        x: records, or what else has one for each.
        y: labels, or what else has one for each.
        called, first: what ``y`` and ``x`` are called.

    Raises:
        InputError: the indexes differ, and share labels.
    """
    if not (hasattr(x, "iloc") and hasattr(y, "iloc")) or len(x) != len(y) or x.index.equals(y.index):
        return
    if not x.index.isin(y.index).any():
        return
    same = x.index.isin(y.index).all() and x.index.is_unique and y.index.is_unique
    at = next((k for k, (a, b) in enumerate(zip(x.index, y.index, strict=True)) if str(a) != str(b)), 0)
    numbered = f"; where {called} is in {first}'s order, {called}.set_axis({first}.index) says so"
    raise InputError(
        f"{first} and {called} are paired by their order, and their indexes have the same labels in another order:"
        f" {called}.loc[{first}.index] aligns them{numbered if type(y.index).__name__ == 'RangeIndex' else ''}"
        if same
        else f"{first} and {called} are paired by their order, and their indexes share labels but differ"
        f" ({called}.index[{at}] is {y.index[at]!s:.40}, {first}.index[{at}] {x.index[at]!s:.40}): where the order is"
        f" right, give {called}.set_axis({first}.index), else align them with pandas' join"
    )


def digest(x: Any) -> str:
    """SHA-256 of records x [n, *f], lower-case hex: of a data frame, of its names and types, too."""
    if hasattr(x, "iloc"):
        util: Any = importlib.import_module("pandas.util")
        names = [] if x.ndim == 1 else [*map(str, x.columns), *map(str, x.dtypes)]
        values = util.hash_pandas_object(x, index=False).to_numpy()
        return artifacts.digest({"names": names, "values": artifacts.array_digest(values)})
    if is_frame(x):  # polars
        about = {"names": x.columns, "types": [*map(str, x.dtypes)]}
        return artifacts.digest({**about, "values": [digest(column.to_numpy()) for column in x.get_columns()]})
    array = plain(x)
    if array.dtype.hasobject:
        return artifacts.digest({"shape": list(array.shape), "values": [repr(value) for value in array.flat]})
    return artifacts.array_digest(array)
