"""Records as a table of numbers, whatever holds them: what a model-free classifier reads (the blind baseline).

Columns of a table stay what they are, and text becomes the rank of its value among all values, and its length. Of
images there are the mean and the spread of each channel, how sharp the edges are, and a picture of 8 x 8 pixels; of
text its length, and how often words occur, by 128 hashed words.
"""

from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import tables
from mia_jax.types import Field, InputError

GRID = 8  # pixels on each side of the picture of an image
WORDS = 128
CHANNELS = (1, 2, 3, 4)


class Features(NamedTuple):
    """Numbers of each record."""

    x: np.ndarray  # float32 [n, k]; NaN: missing
    names: list[str]  # of the columns


def of_records(x: Any, fields: tuple[Field, ...] = ()) -> Features:
    """The numbers of records.

    Args:
        x: records [n, *f]: an array, a tensor, a data frame, or texts [n].
        fields: what columns of flattened records mean, where it is known.

    Raises:
        InputError: they are no numbers, texts or tables.
    """
    if tables.is_frame(x) and hasattr(x, "columns"):
        return _of_columns([np.asarray(x[name]) for name in x.columns], [str(name) for name in x.columns])
    array = tables.plain(x)
    if array.ndim == 1 and array.dtype.kind in "OUS":
        return _of_texts([str(text) for text in array])
    if array.ndim == 1:
        array = array[:, None]
    if array.dtype.kind not in "biufc":
        if array.ndim != 2:
            raise InputError(f"records of type {array.dtype} and shape {array.shape} are no table of numbers or texts")
        return _of_columns(list(array.T), [f"column {k}" for k in range(array.shape[1])])
    if array.ndim > 2 and array.shape[1] > 1 and array.size:
        return _of_images(array)
    flat = array.reshape(len(array), -1)
    return Features(_finite(flat), names(flat.shape[1], fields))


def names(columns: int, fields: tuple[Field, ...]) -> list[str]:
    """What so many columns of flattened records are called: by their fields, where these are known."""
    names = [f"column {k}" for k in range(columns)]
    for field in fields:
        for k in range(field.start, min(field.stop, columns)):
            several = field.stop - field.start > 1
            kind = field.categories[k - field.start] if field.categories else k - field.start
            names[k] = f"{field.name} {kind}" if several else field.name
    return names


def _finite(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    return np.where(np.isfinite(x), x, np.float32(np.nan))


def _of_columns(columns: list[np.ndarray], names: list[str]) -> Features:
    parts, called = [], []
    for values, name in zip(columns, names, strict=True):
        parts.append(_column(values))
        called.append(name)
        if (length := _characters(values)) is not None:
            parts.append(length)
            called.append(f"{name}, characters")
    return Features(np.column_stack(parts), called)


def _characters(values: np.ndarray) -> np.ndarray | None:
    """How long the texts of a column [n] are; None of other columns: "10115" and "10115.0" are one number."""
    if values.dtype.kind not in "OU" or not all(isinstance(value, str) for value in values.tolist()):
        return None
    length = np.array([len(value) for value in values.tolist()], np.float32)
    return length if np.ptp(length) else None


def _column(values: np.ndarray) -> np.ndarray:
    """Numbers of one column [n]: of dates the days, of text the rank of the value."""
    if values.dtype.kind in "biuf":
        return _finite(values)
    if values.dtype.kind in "mM":
        days = values.astype("datetime64[s]" if values.dtype.kind == "M" else "timedelta64[s]")
        return _finite(np.where(np.isnat(days), np.nan, days.astype(np.int64) / 86400.0))
    try:
        return _finite(values.astype(np.float64))
    except (TypeError, ValueError):
        return np.unique(values.astype(str), return_inverse=True)[1].reshape(-1).astype(np.float32)


def _of_images(x: np.ndarray) -> Features:
    """Of [n, h, w], [n, h, w, channels] or [n, channels, h, w]; what has more axes is flattened to [n, h, rest]."""
    if x.ndim == 4 and x.shape[1] in CHANNELS and x.shape[3] not in CHANNELS:
        x = np.moveaxis(x, 1, 3)
    if x.ndim == 3 or x.shape[-1] not in CHANNELS or x.ndim > 4:
        x = x.reshape(len(x), x.shape[1], -1, 1)
    n, height, width, channels = x.shape
    parts, names = [], []
    for c in range(channels):
        one = x[..., c].astype(np.float32)
        called = f"channel {c}: " if channels > 1 else ""
        edges = [np.abs(np.diff(one, axis=axis)).reshape(n, -1) for axis in (1, 2)]
        parts += [one.mean(axis=(1, 2)), one.std(axis=(1, 2))]
        parts += [edge.mean(axis=1) if edge.size else np.zeros(n, np.float32) for edge in edges]
        names += [called + what for what in ("mean", "spread", "vertical edges", "horizontal edges")]
    gray = x.mean(axis=3, dtype=np.float32)
    rows, columns = (np.linspace(0, size, min(GRID, size) + 1).astype(int) for size in (height, width))
    small = np.add.reduceat(np.add.reduceat(gray, rows[:-1], axis=1), columns[:-1], axis=2)
    parts += list(small.reshape(n, -1).T)
    names += [f"pixels around row {r}, column {c}" for r in rows[:-1] for c in columns[:-1]]
    return Features(_finite(np.column_stack(parts)), names)


def _of_texts(texts: list[str]) -> Features:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(n_features=WORDS, norm=None, alternate_sign=False, dtype=np.float32)
    words = hashed.transform(texts).toarray()
    length = np.array([[len(text), len(text.split()), sum(c.isdigit() for c in text)] for text in texts], np.float32)
    names = ["characters", "words", "digits", *(f"words of hash {k}" for k in range(WORDS))]
    return Features(np.column_stack([length, words]), names)
