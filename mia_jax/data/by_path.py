"""A user's own file by its path: .npz as ``local`` reads it, .csv, .tsv and .parquet as ``records`` reads tables."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mia_jax.data import asked_records, class_labels, local, npz, records, table_files
from mia_jax.data.records import How, Own
from mia_jax.data.table import DATASETS
from mia_jax.types import InputError, Schema

SUFFIXES = (".npz", *table_files.SUFFIXES)
WRITE = "np.savez(path, x=x, y=y), or pandas' to_csv(path, index=False)"


def is_table(name: Any) -> bool:
    """Whether a path is that of a table."""
    return pathlib.Path(name or "").suffix.lower() in table_files.SUFFIXES


def is_file(name: Any) -> bool:
    """Whether a name is rather a path than that of a data set."""
    return pathlib.Path(name or "").suffix.lower() in SUFFIXES


def load(
    path: pathlib.Path,
    *,
    label: records.Label = None,
    kinds: Any = None,
    to_train_on: bool = True,
    like: Schema | None = None,
    class_names: Sequence[str] = (),
) -> tuple[Own, np.ndarray]:
    """The records in a file, and their features in the type of the file [n, *f].

    Args:
        path: of the file.
        label, kinds: of a table: see ``records.records``.
        to_train_on: each class needs a record, and features may be missing.
        like: of other records, whose columns, categories and classes a table must have.
        class_names: in their order, where it is known.

    Raises:
        InputError: naming the file, what is wrong and what to do.
    """
    if path.suffix.lower() in table_files.SUFFIXES:
        return _of_table(path, How(label, kinds, to_train_on, like, class_names))
    if (move := table_files.advice(path.suffix)) and path.exists():
        raise InputError(f"{path} is of a kind that is not read: {move}")
    if label is not None or kinds is not None:
        raise InputError(f"{path} is no table: its labels are the array y; leave `label` and `kinds` out")
    arrays = npz.read_own(path, ("x", "y", "schema", "member"), "np.savez(path, x=x, y=y)", needed=("x", "y"))
    name = path.name if path.stem in DATASETS else path.stem  # none is one of the table's
    try:
        found, schema = local.read(arrays, name, to_train_on=to_train_on)
        if to_train_on and (said := class_labels.lone(found.y, schema.class_names)):
            schema = schema._replace(notes=(*schema.notes, said))
        sent = found.x if found.x.dtype == np.uint8 else npz.numbers(arrays["x"], "x")
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    return Own(found, schema, arrays.get("member")), np.asarray(sent)


def _of_table(path: pathlib.Path, how: How) -> tuple[Own, np.ndarray]:
    try:
        with npz.of_user(path, "pandas' to_csv(path, index=False)"):
            try:
                table = table_files.read(path)
            except ValueError as error:
                raise npz.Unusable(str(error)) from None
        own = records.of_table(table, path.name if path.stem in DATASETS else path.stem, how)
        if not how.whole:
            asked_records.refuse_missing(own)
            asked_records.refuse_unkept(own)
        notes = tuple(_with_lines(path, note) for note in own.schema.notes)
        own = own._replace(schema=own.schema._replace(notes=notes))
        if own.member is not None:
            own = own._replace(member=asked_records.truth(own.member))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}{_line(path, str(error))}") from None
    return own, np.asarray(own.records.x if own.sent is None else own.sent)


def _with_lines(path: pathlib.Path, note: str) -> str:
    """A note; where it names a record in brackets, with its line in the file."""

    def told(record: re.Match[str]) -> str:
        line = table_files.line_of(path, int(record[1]))
        return f"(record {record[1]}, line {line})" if line else record[0]

    return re.sub(r"\(record (\d+)\)", told, note)


def _line(path: pathlib.Path, reason: str) -> str:
    """The line of the record that a reason names, which editors count otherwise, in brackets; "" of others."""
    named = re.search(r"\brecord (\d+)", reason)
    line = table_files.line_of(path, int(named[1])) if named else None
    return f" (record {named[1]} is in line {line} of the file)" if named and line else ""
