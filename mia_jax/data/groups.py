"""Groups of records by one column, for measures by group: values as they are, numbers in quarters."""

from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Field, InputError, Schema

FEW = 10  # distinct numbers that are groups of their own; more are cut into quarters
MOST = 50  # groups; further values are together in one
MISSING, OTHER = "missing", "all others"


class Grouping(NamedTuple):
    """Which group each record is in."""

    by: str  # the column
    of: np.ndarray  # int [n], from 0
    names: list[str]  # of the groups
    note: str = ""  # what was made of the column, in a sentence


def by_values(values: Any, by: str) -> Grouping:
    """Groups by values [n]: numbers, text, booleans; what is missing is a group.

    Args:
        values: one for each record.
        by: what the column is called.

    Raises:
        InputError: they are not one value for each record.
    """
    array = tables.plain(values)
    if array.ndim != 1:
        raise InputError(f"group: {by} has shape {array.shape}; needed: one value for each record, [n]")
    numbers = _numbers(array)
    if numbers is not None and len(np.unique(numbers[np.isfinite(numbers)])) > FEW:
        return _quarters(numbers, by)
    if numbers is None:
        there = np.array([value is not None and value == value for value in array.tolist()], bool)
        text = np.array([str(value) for value in array.tolist()])
    else:
        there, text = np.isfinite(numbers), np.array([f"{value:g}" for value in numbers])
    names, counts = np.unique(text[there], return_counts=True)
    if len(names) > MOST:
        names = np.sort(names[np.argsort(-counts, kind="stable")[: MOST - 1]])
    kept = [str(name) for name in names]
    place = {name: k for k, name in enumerate(kept)}
    more = [*([OTHER] if len(counts) > MOST else []), *([] if there.all() else [MISSING])]
    of = [place.get(t, len(kept)) if known else len(kept) + len(more) - 1 for t, known in zip(text, there, strict=True)]
    note = f"Of {len(counts):,} values of {by} the {len(kept)} most frequent are groups." if len(counts) > MOST else ""
    return Grouping(by, np.array(of, np.int64), kept + more, note)


def by_field(x: Any, schema: Schema, name: str) -> Grouping:
    """Groups by a column of records x [n, *f] that the schema knows by name, in any case.

    Raises:
        InputError: there is no such column.
    """
    fields = {field.name.lower(): field for field in schema.fields if _is_one(field)}
    if name.lower() not in fields:
        known = ", ".join(list(fields)[:20]) or "none with a name"
        raise InputError(f"`group={name}`: the records have no such column; there are {known}")
    field = fields[name.lower()]
    columns = np.asarray(x).reshape(len(x), -1)[:, field.start : field.stop]
    if field.kind != "categorical":
        return by_values(columns[:, 0], field.name)
    names = np.array(field.categories or [str(k) for k in range(field.stop - field.start)])
    return by_values(names[columns.argmax(axis=1)], field.name)


def _is_one(field: Field) -> bool:
    """Whether a field is one attribute."""
    return field.kind == "categorical" or field.stop - field.start == 1


def _numbers(array: np.ndarray) -> np.ndarray | None:
    """The values as float64, or None where they are no numbers."""
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind != "O":
        return None
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        return None


def _quarters(numbers: np.ndarray, by: str) -> Grouping:
    there = np.isfinite(numbers)
    inner = np.unique(np.quantile(numbers[there], (0.25, 0.5, 0.75)))
    of = np.searchsorted(inner, numbers, side="left")
    each = [numbers[there & (of == k)] for k in range(len(inner) + 1)]
    of = np.searchsorted([k for k, some in enumerate(each) if len(some)], of)  # a quarter may be empty, among ties
    names = [f"{some.min():.4g} to {some.max():.4g}" for some in each if len(some)]
    of = np.where(there, of, len(names))
    note = f"{by} has numbers: its groups are quarters of the records, as near as equal values allow."
    return Grouping(by, of.astype(np.int64), names + ([] if there.all() else [MISSING]), note)
