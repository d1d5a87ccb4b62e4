"""In which units a user's columns are: networks learn from numbers near one, and a table may hold pixels or incomes.

A numeric column whose values are far from those of standardized or unit data is marked (``Field.zero``, ``Field.one``),
and our networks see it scaled to [0, 1]. The records themselves are left as they are: a service is asked about what is
in the file.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.types import Field

STANDARD = 3.0  # root mean square, at most, of a column that is left alone: standardized ones have 1
POSITIVE = 10.0  # the largest value, at most, of one without negative ones: rare and large is not standardized
ALIKE = 2 / 3  # share of the columns that span the range of all where all have one unit: MNIST .86, digits .75
NEAR = 0.1  # of that range: how near its ends they must come
_ROWS = 8192


class Statistics(NamedTuple):
    """Of each column, missing values aside; zeros for one without a value."""

    low: np.ndarray
    high: np.ndarray
    square: np.ndarray  # the mean


def numeric_fields(x: np.ndarray) -> tuple[Field, ...]:
    """One numeric field per column of records x [n, *f], with the range of its values, missing ones (NaN) aside."""
    statistics = _statistics(x.reshape(len(x), -1))
    ranges = enumerate(zip(statistics.low.tolist(), statistics.high.tolist(), strict=True))
    return _marked(tuple(Field(f"x{i}", "numeric", i, i + 1, low, high) for i, (low, high) in ranges), statistics)


def marked(fields: tuple[Field, ...], x: np.ndarray) -> tuple[Field, ...]:
    """The fields of records x [n, *f], the numeric ones in a unit near one; as they are where some have a unit."""
    if scaled(fields) or not any(field.kind == "numeric" for field in fields):
        return fields
    return _marked(fields, _statistics(x.reshape(len(x), -1)))


def _marked(fields: tuple[Field, ...], statistics: Statistics) -> tuple[Field, ...]:
    """Columns in one unit, such as pixels, are scaled alike: by the range of all, which most of them span. Others are
    scaled each by its own."""
    which = [k for k, field in enumerate(fields) if field.kind == "numeric"]
    columns = [slice(fields[k].start, fields[k].stop) for k in which]
    low = np.array([min(fields[k].low, statistics.low[c].min()) for k, c in zip(which, columns, strict=True)])
    high = np.array([max(fields[k].high, statistics.high[c].max()) for k, c in zip(which, columns, strict=True)])
    square = np.array([statistics.square[c].max() for c in columns])
    unit = (low >= -1) & (high <= 1)
    wide = ~unit & ((square > STANDARD**2) | ((low >= 0) & (high > POSITIVE)))
    zero, one = np.zeros_like(low), np.ones_like(low)
    zero[wide], one[wide] = low[wide], np.where(high > low, high, low + 1)[wide]
    varied = high > low
    if (wide & varied).any():
        lowest, highest = low[varied].min(), high[varied].max()
        near = NEAR * (highest - lowest)
        spanning = varied & (low <= lowest + near) & (high >= highest - near)
        if spanning.sum() >= ALIKE * varied.sum():
            alike = varied & ~unit
            zero[alike], one[alike] = lowest, highest
    out = list(fields)
    for k, a, b in zip(which, zero.tolist(), one.tolist(), strict=True):
        out[k] = fields[k]._replace(zero=a, one=b)
    return tuple(out)


def _statistics(flat: np.ndarray) -> Statistics:
    low, high = (np.nan_to_num(f.reduce(flat, axis=0).astype(np.float64)) for f in (np.fmin, np.fmax))
    total, count = np.zeros(flat.shape[1]), np.zeros(flat.shape[1])
    for start in range(0, len(flat), _ROWS):
        block = flat[start : start + _ROWS].astype(np.float64)
        there = ~np.isnan(block)
        total += np.square(np.where(there, block, 0.0)).sum(axis=0)
        count += there.sum(axis=0)
    return Statistics(low, high, total / np.maximum(count, 1))


def scaled(fields: Sequence[Field]) -> list[Field]:
    """The fields that our networks see in another unit than that of the file."""
    return [field for field in fields if (field.zero, field.one) != (0.0, 1.0)]


def notes(fields: Sequence[Field]) -> list[str]:
    """What is scaled, in a sentence; none where nothing is."""
    some = scaled(fields)
    if not some:
        return []
    ranges = {(field.zero, field.one) for field in some}
    columns = sum(field.stop - field.start for field in some)
    which = f"{columns:,} of {fields[-1].stop:,} columns"
    if len(ranges) == 1:
        ((zero, one),) = ranges
        return [f"For our networks {which} are scaled from [{zero:g}, {one:g}] to [0, 1]."]
    first = some[0]
    example = f"{first.name} from [{first.zero:g}, {first.one:g}]"
    return [f"For our networks {which} are scaled to [0, 1], each from its own range ({example})."]
