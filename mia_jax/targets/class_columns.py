"""Answers in data frames whose columns are named: in the order of the classes, by one rule at all entrances.

Columns may be called as the classes, by their numbers (0, 1, ... or 1, 2, ...), or so behind one prefix (``p_cat``,
``column_0``). Where classes have no names, as labels that are numbers, the first model's columns tell the order.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from mia_jax import sanitize
from mia_jax.data import class_labels, tables
from mia_jax.data.columns import listed
from mia_jax.types import InputError


def in_order(given: Any, names: Sequence[str], called: str = "p") -> Any:
    """Answers of one model; of a data frame its columns, in the order of the classes.

    Args:
        given: what a model answered: a data frame, or anything else, which stays as it is.
        names: of the classes in their order; () where they have none.
        called: what the answers are called in messages.

    Raises:
        InputError: columns are called otherwise; one that is not of the last of two classes stands alone; or answers
            are dicts, or some are missing. With the next move.
    """
    _refuse_dicts(given, names, called)
    columns = _columns(given)
    if len(columns) < 2:
        if len(names) == 2 and columns == [names[0]] and tables.plain(given).dtype.kind == "f":
            raise InputError(
                f"{called} is the column {columns[0]} alone, the probability of class 0, and one column is read as that"
                f" of class 1 ({names[1]}): give 1 - p, or both columns"
            )
        return given
    order = order_of(columns, names)
    if order is not None:
        return given[[given.columns[k] for k in order]]
    if not names:
        return given
    move = "call them as the classes, or give .to_numpy() where their order is that of the classes"
    if {*names} < {*columns}:
        move = f"leave the others out, p[{[*names]}]" if len(names) < 9 else "leave the others out"
    elif {*columns} < {*names}:
        lacking = next(name for name in names if name not in columns)
        move = f"the model does not know {lacking}: p[{lacking!r}] = 0.0 gives it a column, and so for each"
    raise InputError(f"{called} has the columns {listed(columns)}, and the classes are {listed([*names])}: {move}")


def of_models(given: Any, names: Sequence[str], called: str = "shadows") -> Any:
    """Answers of several models; where they are a list, each ``in_order``.

    Args:
        given: an array [S, n, c], a list of what ``in_order`` takes, or anything else, which stays as it is.
        names: of the classes; where they have none the first model's columns tell the order.
        called: what the answers are called in messages.

    Raises:
        InputError: as ``in_order``.
    """
    if not isinstance(given, list | tuple):
        return given
    names = names or own_names(given)
    return [in_order(each, names, f"{called}[{k}]") for k, each in enumerate(given)]


def of_plan(answers: Any, labels: Any, target: Any) -> tuple[Any, Any]:
    """What models of a plan answered and what the target did, where these are data frames: ``in_order``.

    Args:
        answers: model -> its answers [n, c]; anything else, as the paths of files, stays as it is.
        labels: of any kind [n], or None.
        target: its answers, or anything else.

    Raises:
        InputError: as ``in_order``; or nothing tells the order of the classes.
    """
    given = {**answers, "target": target} if isinstance(answers, Mapping) else {"target": target}
    names = names_of(labels, next((p for p in given.values() if own_names(p)), None))
    if labels is None and [*names] != sorted(names):
        raise InputError(
            f"answers are data frames of the columns {listed(names)}, and nothing tells which class is 0: give labels,"
            " text as the columns are called, or answers as .to_numpy(), columns in the order of the classes"
        )
    ordered = {k: in_order(p, names, "target" if k == "target" else f"model {k}") for k, p in given.items()}
    target = ordered.pop("target")
    return (ordered if isinstance(answers, Mapping) else answers), target


def names_of(labels: Any, first: Any) -> tuple[str, ...]:
    """What classes are called by labels [n] of any kind; where these have no names, by the columns of a data frame."""
    try:
        names = () if labels is None else class_labels.beside(labels).names
    except ValueError:  # of which whoever reads labels says more
        return ()
    return names or own_names(first)


def own_names(given: Any) -> tuple[str, ...]:
    """The columns of a data frame, or of the first in a list, that no rule orders, and that order others'; else ()."""
    given = given[0] if isinstance(given, list | tuple) and given else given
    columns = _columns(given)
    return () if len(columns) < 2 or order_of(columns, ()) is not None else tuple(columns)


def order_of(columns: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """The places of the classes among columns, by name or by number, behind one prefix or none; None: not told."""
    for known in (names, range(len(columns)), range(1, len(columns) + 1)):
        classes = [str(name) for name in known]
        for prefix in {columns[0].removesuffix(name) for name in classes if columns[0].endswith(name)}:
            if sorted(prefix + name for name in classes) == sorted(columns):
                return [columns.index(prefix + name) for name in classes]
    return None


def _columns(given: Any) -> list[str]:
    """The names of a data frame's columns, or of a series; [] of anything else. True and False as classes are."""
    if not tables.is_frame(given):
        return []
    columns = given.columns if hasattr(given, "columns") else [] if given.name is None else [given.name]
    return [str(name).lower() if isinstance(name, bool | np.bool_) else str(name) for name in columns]


# --- answers of transformers.pipeline, and none ----------------------------------------------------------------------


def refuse_missing(records: Sequence[int], called: str) -> NoReturn:
    """Refuse answers of which some are missing.

    Args:
        records: the numbers of records without one.
        called: what the answers are called in messages.

    Raises:
        InputError: naming the first record.
    """
    others = f" and {len(records) - 1:,} others" if len(records) > 1 else ""
    raise InputError(
        f"{called}, record {records[0]}{others}: there is no answer; leave such records out of all arrays, or ask again"
    )


def _refuse_dicts(given: Any, names: Sequence[str], called: str) -> None:
    """Refuse what ``transformers.pipeline`` gives, dicts of label and score, and records without an answer."""
    given = given.tolist() if isinstance(given, np.ndarray) and given.dtype == object else given
    if not isinstance(given, list) or not given:
        return
    if lacking := [k for k, each in enumerate(given) if each is None]:
        refuse_missing(lacking, called)
    rows = [each if isinstance(each, list) else [each] for each in given]
    if not all(isinstance(one, Mapping) and {"label", "score"} <= one.keys() for row in rows for one in row):
        return
    labels = sorted({str(one["label"]) for row in rows for one in row})
    if all(len(row) == 1 for row in rows) and len(labels) > 1:
        numbered = all(re.search(r"\d$", label) for label in labels) and not {*labels} <= {*names}
        each = 'int(r["label"].split("_")[-1])' if numbered else 'r["label"]'
        of_each = "r" if isinstance(given[0], Mapping) else "[r]"
        raise InputError(
            f"{called} has dicts of the best label and its score: ask the pipeline with top_k=None, which tells the"
            f" scores of all classes; of the labels alone give [{each} for {of_each} in p]"
        )
    order = order_of(labels, names)
    told = "classes" if len(labels) > 8 else str([labels[k] for k in order] if order else labels)
    raise InputError(
        f"{called} has dicts of label and score, as transformers.pipeline gives: give"
        f' pandas.DataFrame([{{d["label"]: d["score"] for d in r}} for r in p])[{sanitize.line(told, 400)}].to_numpy(),'
        " whose columns are the classes in their order"
    )
