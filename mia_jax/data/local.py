"""Anybody's own data: an .npz with arrays ``x`` and ``y``, and perhaps ``schema``, JSON that says what columns mean."""

import json
import os
import pathlib
import warnings
from collections.abc import Mapping

import numpy as np

from mia_jax import artifacts, plain
from mia_jax.data import files
from mia_jax.types import Field, InputError, Records, Schema

RENUMBER = "number the classes 0, 1, ... without gaps, as np.unique(y, return_inverse=True)[1] does"
SOME = 1000  # records that are looked at for values that become the same
ANEW = "leave that array out, or write it anew with mia_jax.data.save"


def save(path: str | os.PathLike, records: Records, schema: Schema, **more: np.ndarray) -> None:
    """Write records and their schema as an .npz that ``load`` takes by its path; whole or not at all.

    The digest is that of the records, whatever ``schema`` says. Loaded again, a simulated or synthesised set stays what
    it is and every other one is local.

    Args:
        more: further arrays, such as ``member`` [n] for an audit.

    Raises:
        InputError: the path cannot be written.
    """
    x, y = np.asarray(records.x), np.asarray(records.y, np.int32)
    schema = schema._replace(digest=artifacts.array_digest(x, y), fields=tuple(f._asdict() for f in schema.fields))
    arrays = {"x": x, "y": y, "schema": np.array(json.dumps(schema._asdict())), **more}
    try:
        artifacts.write_npz(pathlib.Path(path), arrays)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another path") from None


def load(path: pathlib.Path) -> tuple[Records, Schema]:
    """Read what ``save`` or anybody's ``np.savez(path, x=x, y=y)`` wrote: ``read`` of the arrays in a file.

    Raises:
        InputError: naming the file, what is wrong and what to do.
    """
    arrays = files.read_own(path, ("x", "y", "schema"), "np.savez(path, x=x, y=y)")
    try:
        return read(arrays, path.stem)
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def read(arrays: Mapping[str, np.ndarray], name: str, *, every_class: bool = True) -> tuple[Records, Schema]:
    """The records in arrays x [n, *f], y [n] and, perhaps, schema.

    Without a schema, the largest label says how many classes there are; the features are binary where all values are 0
    or 1, pixels where they are uint8 with several axes per record, and else numeric, float32, with the range that is
    there.

    Args:
        arrays: as ``np.load`` gives them.
        name: of the data set, where no schema gives one.
        every_class: each class needs a record, as in a set to train on. Records to ask a model about may lack some:
            the model says how many classes there are.

    Raises:
        ValueError: the reason, in words, and what to do.
    """
    if missing := [key for key in ("x", "y") if key not in arrays]:
        raise ValueError(f"it has no array {missing[0]!r}; write x [n, ...] and y [n] with np.savez(path, x=x, y=y)")
    x, y = arrays["x"], arrays["y"]
    if x.ndim < 2 or x.dtype.kind not in "biuf" or 0 in x.shape:
        column = "; x[:, None] makes records of single numbers" if x.ndim == 1 and x.dtype.kind in "biuf" else ""
        raise ValueError(f"x has shape {x.shape} and type {x.dtype}; needed: numbers [n, ...], n > 0{column}")
    if y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; needed: a label for each record, y [{len(x)}]")
    if "schema" in arrays:
        return _described(x, y, str(arrays["schema"]))
    return _inferred(x, y, name, every_class)


def _described(x: np.ndarray, y: np.ndarray, text: str) -> tuple[Records, Schema]:
    try:
        held = plain.harmless_values(json.loads(text))
        fields = tuple(Field(**{**f, "categories": tuple(f["categories"])}) for f in held["fields"])
        schema = Schema(**{**held, "shape": tuple(held["shape"]), "fields": fields, "notes": tuple(held["notes"])})
    except (TypeError, KeyError, ValueError, RecursionError):
        raise ValueError(f"its array schema is damaged; {ANEW}") from None
    edges = [0, *(f.stop for f in fields)]
    if [f.start for f in fields] != edges[:-1] or edges[-1] != int(np.prod(x.shape[1:])):
        raise ValueError(f"the fields of its schema do not cover the record; {ANEW}")
    if schema.shape != x.shape[1:]:
        raise ValueError(f"its records have shape {x.shape[1:]} and its schema says {schema.shape}; {ANEW}")
    _check_finite(x)
    if x.dtype not in (np.uint8, np.bool_, np.float32):
        x = _float32(x)
    y = _labels(y, schema.num_classes)
    source = schema.source if schema.source in ("simulated", "synthesised") else "local"
    return Records(x, y), schema._replace(source=source, digest=artifacts.array_digest(x, y))


def _inferred(x: np.ndarray, y: np.ndarray, name: str, every_class: bool) -> tuple[Records, Schema]:
    _check_finite(x)
    y = _labels(y)
    if (y == y[0]).all():
        raise ValueError(f"y has a single class, {y[0]}; give records of two classes at least")
    classes = int(y.max()) + 1
    if every_class:
        try:
            files.check_classes(y, classes)
        except ValueError as error:
            raise ValueError(f"{error}; {RENUMBER}") from None
    width = int(np.prod(x.shape[1:]))
    if ((x == 0) | (x == 1)).all():
        x = x.astype(np.uint8)
        fields = (Field("bits", "binary", 0, width),)
    elif x.dtype == np.uint8 and x.ndim > 2:
        fields = (Field("pixels", "pixel", 0, width, 0.0, 255.0),)
    else:
        x = _float32(x)
        flat = x.reshape(len(x), -1)
        ranges = zip(flat.min(axis=0), flat.max(axis=0), strict=True)
        fields = tuple(
            Field(f"x{i}", "numeric", i, i + 1, float(low), float(high)) for i, (low, high) in enumerate(ranges)
        )
    schema = Schema(name, "local", artifacts.array_digest(x, y), classes, x.shape[1:], fields)
    return Records(x, y), schema


def _float32(x: np.ndarray) -> np.ndarray:
    """Numbers as models are trained on them; says where distinct ones become the same, as times and ids do."""
    with np.errstate(over="ignore"):
        kept = x.astype(np.float32)
    if not np.isfinite(kept).all():
        raise ValueError("x has values beyond 3e38, where float32 ends; scale them")
    some, rounded = (np.sort(a[:SOME].reshape(len(a[:SOME]), -1), axis=0) for a in (x, kept))
    distinct, left = (1 + (a[1:] != a[:-1]).sum(axis=0) for a in (some, rounded))
    if (lost := left < 0.9 * distinct).any():
        column = int(lost.argmax())
        warnings.warn(
            f"models are trained on float32, which makes {left[column]:,} of {distinct[column]:,} distinct values of"
            f" column {column} of x ({lost.sum():,} such columns): subtract the column's smallest value, or scale it",
            stacklevel=2,
        )
    return kept


def _labels(y: np.ndarray, classes: int | None = None) -> np.ndarray:
    try:
        return files.labels(y, classes)
    except ValueError as error:
        move = "y.argmax(axis=1) makes them of a one-hot code" if y.ndim == 2 else RENUMBER
        raise ValueError(f"{error}; {move}") from None


def _check_finite(x: np.ndarray) -> None:
    wrong = ~np.isfinite(x)
    if wrong.any():
        where = np.unravel_index(wrong.argmax(), x.shape)
        raise ValueError(f"record {where[0]} has a feature that is {x[where]}; fill it in, or leave the record out")
