"""By which columns an audit tells its measures: classes, and a column of the user's (``group``)."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mia_jax.audits.types import Summary
from mia_jax.data import groups, npz
from mia_jax.data.groups import Grouping
from mia_jax.types import InputError, Schema

CLASSES = 100  # at most, that are told apart


def of_run(summary: Summary) -> list[tuple[str, np.ndarray, Sequence[str], str]]:
    """The columns of a finished audit as ``subgroups.block`` takes them."""
    found = []
    data, label = summary.blocks["dataset"], summary.scores.get("label")
    if label is not None and 2 <= data["classes"] <= CLASSES and "score_canaries" not in summary.scores:
        names = data.get("class_names", [str(k) for k in range(data["classes"])])
        found.append(Grouping("class", np.asarray(label), list(names)))
    if summary.group is not None:
        found.append(summary.group)
    return [(one.by, one.of, one.names, one.note) for one in found]


def of_records(name: str | None, x: Any, schema: Schema) -> Grouping | None:
    """The groups of records x [n, *f] by a column that their schema names; None where none was asked for.

    Raises:
        InputError: there is no such column.
    """
    return None if name is None else groups.by_field(x, schema, name)


def of_file(name: str | None, path: str, records: int) -> Grouping | None:
    """The groups of the records of an .npz by an array of it, [n]; None where none was asked for.

    Raises:
        InputError: there is no such array, or it has another length.
    """
    if name is None:
        return None
    write = f"np.savez(path, labels=y, target=p, {name}=values)"
    place = pathlib.Path(path).expanduser()
    arrays = npz.read_own(place, (name,), write, needed=(name,)) if not place.is_dir() else {}
    if name not in arrays:
        raise InputError(f"`group={name}`: {path} is a folder, which holds answers alone: give an .npz with {name} [n]")
    return of_values(arrays[name], name, records)


def of_values(values: Any, name: str, records: int) -> Grouping:
    """The groups by values [n] of the user's.

    Raises:
        InputError: there is not one for each record.
    """
    found = groups.by_values(values, name)
    if len(found.of) != records:
        raise InputError(f"group: {name} has {len(found.of):,} values, and there are {records:,} records: one for each")
    return found
