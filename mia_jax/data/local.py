"""Anybody's own arrays ``x`` and ``y``, and perhaps ``schema``, JSON that says what columns mean: read, and written."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import sanitize
from mia_jax.data import files, npz, oddities, tables, telling, units
from mia_jax.data.class_labels import BIN, RENUMBER, countless, of_matrix
from mia_jax.storage import artifacts
from mia_jax.types import Field, InputError, Records, Schema

SOME = 1000  # records that are looked at for values that become the same
EXACT, LARGEST = 2.0**53, 2.0**64  # up to where float64 has every whole number; where integers of 64 bits end
ROUNDED = "Models are trained on float32"  # how a note begins
NOT_USED = (
    "The file's member is not used: which model trains on which record is drawn here. It is for records that a"
    " deployed model is asked about. A feature of that name is kept once it is renamed (the column, or the array)."
)
ANEW = "leave that array out, or write it anew with mia_jax.data.save"


def save(path: str | os.PathLike, records: Records, schema: Schema, **more: np.ndarray) -> None:
    """Write records and their schema as an .npz that ``data.load`` takes by its path; whole or not at all.

    The digest is that of the records, whatever ``schema`` says. Loaded again, a simulated or synthesized set stays what
    it is and every other one is local.

    Args:
        path: of the .npz.
        records: [n].
        schema: of the records.
        more: further arrays, such as ``member`` [n] for an audit.

    Returns:
        None; the file is there, whole.

    Raises:
        InputError: the path cannot be written.

    >>> import pathlib, tempfile, numpy as np, mia_jax as mia
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.npz"
    >>> schema = mia.Schema("mine", "local", "", 2, (3,), (mia.data.Field("bits", "binary", 0, 3),))
    >>> mia.save(path, mia.Records(np.eye(3, dtype=np.uint8), np.array([0, 1, 1])), schema)
    >>> mia.load(path)[1].fields[0].kind
    'binary'
    """
    x, y = np.asarray(records.x), np.asarray(records.y)
    if y.dtype.kind not in "biuf":
        raise InputError("y holds no numbers: records, schema = mia_jax.records(x, y) numbers its classes from 0")
    y = y.astype(np.int32)
    described = {
        **schema._asdict(),
        "digest": artifacts.array_digest(x, y),
        "fields": [field._asdict() for field in schema.fields],
    }
    arrays = {"x": x, "y": y, "schema": np.array(json.dumps(described)), **more}
    try:
        artifacts.write_npz(pathlib.Path(path), arrays)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another path") from None


def read(arrays: Mapping[str, np.ndarray], name: str, *, to_train_on: bool = True) -> tuple[Records, Schema]:
    """The records in arrays x [n, *f], y [n] and, perhaps, schema.

    Without a schema, the largest label says how many classes there are; the features are binary where all values are 0
    or 1, pixels where they are uint8 with several axes per record, and else numeric, float32, with the range that is
    there. Numeric columns whose unit is far from one are marked: our networks see them scaled (``units``).

    Args:
        arrays: as ``np.load`` gives them.
        name: of the data set, where no schema gives one.
        to_train_on: each class needs a record, and features may be missing (NaN), for models that take such. Records
            to ask a model about may lack classes: the model says how many there are.

    Raises:
        ValueError: the reason, in words, and what to do.
    """
    if missing := [key for key in ("x", "y") if key not in arrays]:
        raise ValueError(f"it has no array {missing[0]!r}; write x [n, ...] and y [n] with np.savez(path, x=x, y=y)")
    x, y = npz.numbers(arrays["x"], "x"), arrays["y"]
    if x.ndim < 2 or 0 in x.shape:
        column = "; x[:, None] makes records of single numbers" if x.ndim == 1 else ""
        raise ValueError(f"x has shape {x.shape} and type {x.dtype}; needed: numbers [n, ...], n > 0{column}")
    if y.ndim == 0 or len(x) != len(y):
        hint = tables.turned("x", x.shape, (len(y), None)) if x.ndim == 2 and y.ndim else ""
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; needed: a label for each record, y [{len(x)}]{hint}")
    _check_finite(x, missing_too=to_train_on)
    if "schema" in arrays:
        return _described(x, y, arrays["schema"])
    return _inferred(x, y, name, to_train_on)


def _described(x: np.ndarray, y: np.ndarray, text: np.ndarray) -> tuple[Records, Schema]:
    try:
        schema = _schema(sanitize.harmless_values(json.loads(str(text))))
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError, RecursionError):
        raise ValueError(f"its array schema is damaged; {ANEW}") from None
    edges = [0, *(f.stop for f in schema.fields)]
    if [f.start for f in schema.fields] != edges[:-1] or edges[-1] != int(np.prod(x.shape[1:])):
        raise ValueError(f"the fields of its schema do not cover the record; {ANEW}")
    if schema.shape != x.shape[1:]:
        raise ValueError(f"its records have shape {x.shape[1:]} and its schema says {schema.shape}; {ANEW}")
    if x.dtype == bool:
        x = x.astype(np.uint8)
    rounded: list[str] = []
    if x.dtype not in (np.uint8, np.float32):
        x, rounded = float32(x)
    _check_fields(x.reshape(len(x), -1), schema)
    y = _labels(y, schema.num_classes)
    source = schema.source if schema.source in ("simulated", "synthesised") else "local"
    fields = units.marked(schema.fields, x)
    notes = [note for note in (*_missing_note(x), *rounded, *units.notes(fields)) if note not in schema.notes]
    digest = artifacts.array_digest(x, y)
    return Records(x, y), schema._replace(source=source, digest=digest, fields=fields, notes=(*schema.notes, *notes))


def _schema(described: dict[str, Any]) -> Schema:
    """A schema from JSON, of which nothing is believed; raises one of many errors where it is none."""

    def field(described: dict[str, Any]) -> Field:
        categories: dict[str, Any] = {"categories": tuple(described["categories"])}
        return Field(**(described | categories))

    fields = tuple(map(field, described["fields"]))
    tuples: dict[str, Any] = {name: tuple(described[name]) for name in ("shape", "notes")}
    tuples |= {"fields": fields, "class_names": tuple(described.get("class_names", ()))}
    schema = Schema(**(described | tuples))
    _demand(
        all(
            isinstance(text, str)
            for text in (schema.name, schema.source, schema.digest, *schema.notes, *schema.class_names)
        )
    )
    _demand(len(schema.class_names) in (0, schema.num_classes))
    _demand(all(type(size) is int and 0 < size < 2**31 for size in (schema.num_classes, *schema.shape)))
    _demand(bool(schema.shape) and bool(fields))
    for f in fields:
        _demand(all(isinstance(text, str) for text in (f.name, f.kind, *f.categories)))
        _demand(type(f.start) is int and type(f.stop) is int and f.start < f.stop)
        _demand(all(type(end) in (int, float) and abs(end) < 3e38 for end in (f.low, f.high, f.zero, f.one)))
        _demand(f.kind in ("binary", "categorical", "numeric", "pixel") and f.low <= f.high and f.zero != f.one)
        _demand(f.kind != "categorical" or len(f.categories) in (0, f.stop - f.start))
    return schema


def _demand(holds: bool) -> None:
    if not holds:
        raise ValueError("it is no schema")


def _check_fields(flat: np.ndarray, schema: Schema) -> None:
    """Refuse records [n, f] with values that their fields cannot have. Numbers may leave the range that was told."""
    for f in schema.fields:
        columns = flat[:, f.start : f.stop]
        if f.kind in ("binary", "categorical") and not np.isin(columns, (0, 1)).all():
            raise ValueError(f"its schema says that {f.name} is {f.kind}, and it has other values than 0 and 1; {ANEW}")
        if f.kind == "categorical" and (columns.sum(axis=1) != 1).any():
            row = int((columns.sum(axis=1) != 1).argmax())
            raise ValueError(f"its schema says that {f.name} is one of its categories, and record {row} is not; {ANEW}")


def _inferred(x: np.ndarray, y: np.ndarray, name: str, to_train_on: bool) -> tuple[Records, Schema]:
    y = _labels(y)
    if (y == y[0]).all():
        raise ValueError(f"y has a single class, {y[0]}; give records of two classes at least")
    classes = int(y.max()) + 1
    if to_train_on:
        _check_classes(y, classes)
    width = int(np.prod(x.shape[1:]))
    notes = (*oddities.notes(x, y), *telling.of_records(x, y))
    if ((x == 0) | (x == 1)).all():
        x = x.astype(np.uint8)
        fields = (Field("bits", "binary", 0, width),)
    elif x.dtype == np.uint8 and x.ndim > 2:
        fields = (Field("pixels", "pixel", 0, width, 0.0, 255.0),)
    else:
        x, rounded = float32(x)
        fields = units.numeric_fields(x)
        notes = (*notes, *_missing_note(x), *rounded, *units.notes(fields))
    schema = Schema(name, "local", artifacts.array_digest(x, y), classes, x.shape[1:], fields, notes)
    return Records(x, y), schema


def float32(x: np.ndarray, names: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """Numbers as models are trained on them, and where distinct or whole ones are rounded, as times and ids are.

    Args:
        x: [n, *f].
        names: of the columns, where they have some.

    Raises:
        ValueError: values beyond float32.
    """
    with np.errstate(over="ignore"):
        kept = x.astype(np.float32)
    if np.isinf(kept).any():
        which = f"column {names[int(np.argwhere(np.isinf(kept))[0][1])]}" if names else "x"
        raise ValueError(f"{which} has values beyond 3e38, where float32 ends; scale them")
    if note := _beyond_exact(x, names):
        return kept, [note]
    rows = np.linspace(0, len(x) - 1, min(len(x), SOME)).astype(int)
    whole, near = (a[rows].reshape(len(rows), -1) for a in (x, kept))
    some, rounded = np.sort(whole, axis=0), np.sort(near, axis=0)
    distinct, left = (1 + (a[1:] != a[:-1]).sum(axis=0) for a in (some, rounded))
    if (lost := left < 0.9 * distinct).any():
        column = int(lost.argmax())
        which = f"column {names[column]}" if names else f"column {column} of x"
        return kept, [
            f"{ROUNDED}, which makes {left[column]:,} of {distinct[column]:,} distinct values of"
            f" {which} ({lost.sum():,} such columns): subtract the column's smallest value, or scale it."
        ]
    by = np.where(np.trunc(whole) == whole, np.abs(near.astype(np.float64) - whole.astype(np.float64)), 0.0)
    by = np.nan_to_num(by).max(axis=0, initial=0.0)
    if (off := by > 0).any():
        column = int(by.argmax())
        which = f"column {names[column]}" if names else f"column {column} of x"
        return kept, [
            f"{ROUNDED}, which rounds whole numbers beyond 2^24 = 16,777,216, such as times and"
            f" identifiers: {which} by up to {by[column]:,.0f} ({off.sum():,} such columns). Subtract the column's"
            " smallest value; an identifier is left out."
        ]
    return kept, []


def _beyond_exact(x: np.ndarray, names: Sequence[str]) -> str:
    """That a column of x [n, *f] holds nothing but integers of 64 bits that no float holds, in a sentence; or ""."""
    flat = x.reshape(len(x), -1)
    low, high = np.fmin.reduce(flat, axis=0), np.fmax.reduce(flat, axis=0)
    long = (low >= EXACT) & (high <= LARGEST)
    if not long.any():
        return ""
    column = int(long.argmax())
    which, move = f"column {column} of x", f"np.delete(x, {column}, axis=1)"
    if names:
        which, move = f"column {names[column]}", f"`kinds={names[column]}:drop`"
    return (
        f"{ROUNDED}, and all numbers of {which} are beyond 2^53 ({low[column]:.6g}, ...), where floats tell neighbors"
        f" apart no more, as identifiers are: {move} leaves it out."
    )


def _missing_note(x: np.ndarray) -> list[str]:
    if x.dtype.kind != "f":
        return []
    wrong = np.isnan(x.reshape(len(x), -1))
    if not wrong.any():
        return []
    rows, columns = wrong.any(axis=1).sum(), wrong.any(axis=0).sum()
    return [f"{wrong.sum():,} values are missing (NaN), in {rows:,} of {len(x):,} records and {columns:,} columns."]


def _check_classes(y: np.ndarray, classes: int) -> None:
    """Every class needs a record, and one class a second."""
    many = len(np.unique(y))
    if many == len(y) > 3:
        raise ValueError(f"every record has a label of its own, as identifiers and targets of a regression have; {BIN}")
    try:
        files.check_classes(y, classes)
    except ValueError as error:
        doubt = f"; its {many:,} different labels look like the target of a regression: {BIN}" if countless(y) else ""
        raise ValueError(f"{error}; {RENUMBER}{doubt}") from None


def _labels(y: np.ndarray, classes: int | None = None) -> np.ndarray:
    if y.dtype.kind in "US":
        first = ", ".join(map(sanitize.quoted, np.unique(y)[:3].tolist()))
        raise ValueError(
            f"its labels are text ({first}, ...); needed: integers [n]: number them, as"
            " names, y = np.unique(y, return_inverse=True) does, or as the target does"
        )
    y = npz.numbers(y, "y")
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(f"its labels have shape {y.shape}; needed: integers [n]; {of_matrix(y)}")
    if y.dtype.kind == "f" and np.isnan(y).any():
        row = int(np.isnan(y).reshape(len(y), -1).any(axis=1).argmax())
        raise ValueError(f"record {row} has no label (nan), not a whole number; leave such records out")
    if y.dtype.kind == "f" and not np.array_equal(y, np.trunc(y)) and (countless(y) or len(np.unique(y)) == len(y)):
        raise ValueError(
            f"its labels are not whole numbers but the target of a regression, which has no classes; {BIN}"
        )
    try:
        return files.labels(y, classes)
    except files.Unlabeled:
        raise
    except ValueError as error:
        raise ValueError(f"{error}; {RENUMBER}") from None


def _check_finite(x: np.ndarray, missing_too: bool) -> None:
    if x.dtype.kind != "f":
        return
    wrong = np.isinf(x) if missing_too else ~np.isfinite(x)
    if wrong.any():
        where = np.unravel_index(wrong.argmax(), x.shape)
        raise ValueError(f"record {where[0]} has a feature that is {x[where]}; fill it in, or leave the record out")
