"""Columns of a user's records that say too much: the label, or whose records several are.

A score of an earlier model, or what came of a case, tells the label by itself: models lean on it and remember little
else. A number of a person or thing, with several records of each, is learned by heart where another of these trains.
NumPy only.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.data import tables

SOME, CHANGES = 2048, 50  # records that are looked at; changes of the label along them, in random order, at least
LEFT = 0.05  # of these, along the column
FEW = 2  # such columns, at most: where many tell the label, it is easy
VALUES, SEVERAL, MOST = 20, 50, 50  # values; records beyond the first of each, in all; of one, on average
ENTRIES = 1e7  # of a table, at most: columns are sorted one by one
CHANCE = 1e-6  # that records with one value have one label each
_WHOSE = re.compile(
    r"(?i)(^|.*[_ .-])(customer|user|patient|person|subject|client|account|session|household|speaker|author)"
    r"[_ .-]?(id|no|nr|number|key|name)|(customer|user|patient|person|subject|client|household|speaker|author)"
)


def of_records(x: Any, y: np.ndarray) -> list[str]:
    """The same of records [n, f], an array or a data frame; nothing of others, nor of more than take a few seconds."""
    if len(getattr(x, "shape", ())) != 2 or np.prod(x.shape, dtype=float) > ENTRIES:
        return []
    if tables.is_frame(x):
        leave_out = {str(name): f"x.drop(columns={name!r})" for name in x.columns}
        columns = {str(name): np.asarray(x[name]) for name in x.columns}
        return notes({name: one for name, one in columns.items() if one.shape == (len(y),)}, y, leave_out)
    array = tables.plain(x)
    places = range(array.shape[1])
    return notes({k: array[:, k] for k in places}, y, {k: f"np.delete(x, {k}, axis=1)" for k in places})


def notes(columns: Mapping[Any, np.ndarray], y: np.ndarray, leave_out: Mapping[Any, str]) -> list[str]:
    """What is to be said of it, in sentences.

    Args:
        columns: of each, by its name or place, values [n], numbers or text.
        y: int [n], classes.
        leave_out: what leaves a column out, in words.
    """
    if len(y) < 2 * CHANGES:
        return []
    called = {name: f"Column {name}" if isinstance(name, str) else f"Column {name} of x" for name in columns}
    order = np.random.default_rng(0).permutation(len(y))[:SOME]
    told = [name for name, values in columns.items() if _tells(values[order], y[order]) and not _in_order(values)]
    said = []
    if told and len(told) <= FEW:
        said.append(
            f"{called[told[0]]} nearly tells the label: sorted by it, records of a class stand together. Is it known"
            " only after the label (a score of an earlier model, an outcome), or a place whose records have one label?"
            f" Models lean on it, remember little else, and attacks find little; {leave_out[told[0]]} leaves it out."
        )
    for name, values in columns.items():
        if name not in told and (one := _whose(name, values, y)):
            said.append(
                f"{called[name]} has {one[0]:,} values with {len(y) / one[0]:.1f} records each{one[1]}, as the number"
                " of a person or thing has: models learn it by heart, and of records drawn one by one they as good as"
                f" saw the others of the same; {leave_out[name]} leaves it out. Whether a person was in the training is"
                " another question: draw members, and shadows', by it, and give both to mia.audit."
            )
            break
    return said


def _tells(values: np.ndarray, y: np.ndarray) -> bool:
    """Whether the classes, in random order [m], stand together once they are sorted by a column of numbers."""
    classes, count = np.unique(y, return_counts=True)
    if values.dtype.kind not in "iuf" or len(np.unique(values)) <= max(len(classes), 2):
        return False
    by_chance = (1 - ((count / len(y)) ** 2).sum()) * (len(y) - 1)
    changes = (np.diff(y[np.argsort(values, kind="stable")]) != 0).sum()  # stable: equal ones stay in random order
    return bool(by_chance >= CHANGES and changes - (len(classes) - 1) <= LEFT * by_chance)


def _in_order(values: np.ndarray) -> bool:
    """Whether numbers only rise, or only fall, along the file, as of rows or times, which may be sorted by class."""
    return bool((values[1:] >= values[:-1]).all() or (values[1:] <= values[:-1]).all())


def _whose(name: Any, values: np.ndarray, y: np.ndarray) -> tuple[int, str] | None:
    """How many values a column has that are shared by a few records each, and what is said of their labels; or None."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values % 1 != 0).any():
            return None
    elif values.dtype.kind not in "iuOUS":
        return None
    if len(_numbered(values[:SOME])[0]) < min(len(y), SOME) / MOST:
        return None
    known, of = _numbered(values)
    several = len(y) - len(known)
    if len(known) < VALUES or several < SEVERAL or not 2 <= len(y) / len(known) <= MOST:
        return None
    one_label = len(np.unique(of * (int(y.max()) + 1) + y)) == len(known)
    shares = np.bincount(y) / len(y)
    if one_label and several * np.log((shares**2).sum()) < np.log(CHANCE):
        return len(known), ", and one label for each value"
    return (len(known), "") if isinstance(name, str) and _WHOSE.fullmatch(name) else None


def _numbered(values: np.ndarray) -> tuple[Any, np.ndarray]:
    """The values of a column [n], and for each record which of them it has, int [n]."""
    if values.dtype.kind in "iuf":
        return np.unique(values, return_inverse=True)
    known: dict[str, int] = {}
    return known, np.array([known.setdefault(str(one), len(known)) for one in values.tolist()])
