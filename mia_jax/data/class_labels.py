"""Labels of every kind as classes 0, 1, ...: text, booleans, numbers from 1, with gaps or below 0, one-hot codes.

Whatever was not 0, 1, ... before is said in a sentence, and the names of the classes are kept, in their order.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.data import columns, files, spellings, tables
from mia_jax.data.columns import listed
from mia_jax.types import Array

RENUMBER = "number the classes 0, 1, ... without gaps, as np.unique(y, return_inverse=True)[1] does"
BIN = (
    'a regression is audited by its error, mia_jax.audit(..., signal="squared_error"), or in bins:'
    " np.digitize(y, np.quantile(y, [0.25, 0.5, 0.75])) makes four classes"
)
NAMES = frozenset(  # words for what is missing that a class may have as its name
    ("none", "null", "na", "n/a", "unknown", "undefined", "missing", "unlabeled", "unlabelled", "not labeled", "tbd")
)
SHOWN = 8  # classes of a sentence
LONE, BESIDE = 3, 10  # classes of one record, at most, and records of each other class, at least, that make these odd


class Countless(ValueError):
    """Labels that are rather measured numbers than classes."""


class Classes(NamedTuple):
    """Labels as numbers."""

    y: np.ndarray  # int32 [n], 0-based
    names: tuple[str, ...] = ()  # of classes 0, 1, ..., as they were written; none where they were numbers 0, 1, ...
    note: str = ""  # what was made of them, in a sentence


def lone(y: Array, names: Sequence[str] = ()) -> str:
    """That a few classes have one record each beside large ones, which are rather no records; a sentence, or "".

    Args:
        y: labels [n], numbers.
        names: of classes 0, 1, ..., if they have such.
    """
    present, counts = np.unique(y, return_counts=True)
    alone = present[counts == 1].tolist()
    if not 0 < len(alone) <= LONE or len(alone) == len(present) or counts[counts > 1].min() < BESIDE:
        return ""
    told = [
        f"{sanitize.quoted(names[k] if k < len(names) else str(k))} (record {int((y == k).argmax())})" for k in alone
    ]
    which = f"Class {told[0]} has one record" if len(told) == 1 else f"Classes {', '.join(told)} have one record each"
    if_so = "if it is a line of another kind" if len(told) == 1 else "if these are lines of another kind"
    return f"{which}: {if_so}, as of names, units or sums, leave it out."


def numbered(values: np.ndarray, *, names: Sequence[str] = (), whole: bool = True) -> Classes:
    """The classes of labels.

    Args:
        values: labels [n] of any type, or a one-hot code [n, c].
        names: of the classes in their order, where it is known.
        whole: every class has a record. Else numbers from 0 on stay as they are, for others may have the rest.

    Raises:
        ValueError: they are no classes; the record, and what to do.
    """
    found = _numbered(values, names, whole)
    said = lone(found.y, found.names) if whole else ""
    return found._replace(note=f"{found.note} {said}".strip()) if said else found


def _numbered(values: np.ndarray, names: Sequence[str], whole: bool) -> Classes:
    """``numbered``, without a note of classes that have one record."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "biuf":
        return _of_one_hot(values)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"its labels have shape {values.shape}; needed: one for each record, [n], n > 0")
    lacking = without(values, names)
    if lacking.any():
        others = f" and {int(lacking.sum()) - 1:,} others" if lacking.sum() > 1 else ""
        raise ValueError(f"there is no label of record {lacking.argmax()}{others}: leave such records out")
    numbers = columns.plain_numbers(values)
    if numbers is None and values.dtype.kind in "mM":
        raise ValueError(f"its labels are times ({values[0]}), which are no classes; make classes of them")
    if values.dtype.kind == "b" or (values.dtype == object and all(isinstance(v, bool | np.bool_) for v in values)):
        return _named(np.array(["true" if v else "false" for v in values], object), names)
    texts = columns.as_text(values)
    if numbers is None or (names and np.isin(texts.astype(str), names).all()):
        return _named(texts, names)
    return _of_numbers(numbers, whole)


def beside(values: Any, *, names: Sequence[str] = (), classes: int | None = None, called: str = "labels") -> Classes:
    """The classes of labels beside answers, whose columns are the classes; some may have no record.

    Args:
        values: labels [n] of any type, or a one-hot code [n, c], of NumPy, pandas, a framework.
        names: of the columns in their order, where the model tells them.
        classes: c, where it is known.
        called: what the labels are called in what to do.

    Raises:
        ValueError: they are no classes, or none of these columns; the record, and what to do.
    """
    found = numbered(tables.plain(values), names=names or in_order(tables.categories(values)), whole=False)
    if found.names and not names:
        found = found._replace(note=f"{found.note} The answers' columns must be in this order.")
    if classes is not None:
        refuse_beyond(found, classes, called)
    return found


def refuse_beyond(found: Classes, classes: int, called: str) -> None:
    """Refuse labels that are none of the columns of answers.

    Args:
        found: the labels, numbered.
        classes: c, of the answers.
        called: what the labels are called in what to do.

    Raises:
        ValueError: what is wrong, and what to do.
    """
    said = lone(found.y, found.names)
    odd = f"; {said[0].lower()}{said[1:].rstrip('.')}" if said else ""
    if found.names and len(found.names) != classes:
        raise ValueError(
            f"they name {len(found.names):,} classes ({listed(found.names)}), and the answers have {classes:,} columns:"
            f" number the classes from 0, as the columns, or give pandas.Categorical({called}, categories) with a"
            f" category for each column, in their order{odd}"
        )
    most = int(found.y.max())
    if most >= classes:
        move = f"; they count from 1, so give {called} - 1" if found.y.min() == 1 and most == classes else ""
        move = move or ", and leave out records of classes that the model was not trained on"
        raise ValueError(
            f"the largest is {most}, and the answers have {classes:,} columns: number the classes from 0, as the"
            f" columns{move}{odd}"
        )


def in_order(categories: Sequence[Any]) -> tuple[str, ...]:
    """The names of categories in their own order; none where they are numbers in order, which number themselves."""
    values = np.empty(len(categories), object)
    values[:] = categories
    numbers = columns.plain_numbers(values)
    if numbers is not None and (np.diff(numbers) > 0).all():
        return ()
    return tuple(columns.as_text(values).tolist())


def present(categories: Sequence[Any], values: np.ndarray) -> tuple[str, ...]:
    """The names of those categories, in their own order, that labels [n] have; none where ``in_order`` has none."""
    there = {*columns.as_text(values).tolist()}
    return tuple(name for name in in_order(categories) if name in there)


def without(values: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """Which of the labels [n] are missing: None and NA are classes where others are text, or a class is called so."""
    lacking = columns.missing(values)
    called = np.array([isinstance(v, str | bytes) and _is_name(v, names) for v in values[lacking].tolist()], bool)
    if lacking.any() and not names and _signs(values, lacking):
        return np.zeros(len(values), bool)
    if called.any() and (names or columns.plain_numbers(values[~lacking]) is None):
        lacking[np.flatnonzero(lacking)[called]] = False
    return lacking


def _signs(values: np.ndarray, lacking: np.ndarray) -> bool:
    """Whether labels are + and -, of which the latter stands for nothing elsewhere."""
    texts = [{str(text) for text in columns.as_text(values[of]).tolist()} for of in (lacking, ~lacking)]
    return texts == [{"-"}, {"+"}]


def _is_name(value: str | bytes, names: Sequence[str]) -> bool:
    text = str(columns.as_text(np.array([value], object))[0])
    return text in names if names else text.lower() in NAMES


def _of_one_hot(y: np.ndarray) -> Classes:
    if np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        return Classes(
            y.argmax(axis=1).astype(np.int32), (), f"Labels are one-hot: column k of {y.shape[1]} is class k."
        )
    raise ValueError(f"its labels have shape {y.shape}; needed: one for each record, [n]; {of_matrix(y)}")


def of_matrix(y: np.ndarray) -> str:
    """What to do with a matrix of labels [n, k]."""
    if np.isin(y, (0, 1)).all():
        ones = y.sum(axis=1)
        if (ones == 1).all():
            return "y.argmax(axis=1) makes them of a one-hot code"
        if ones.max() == 1:
            such = f"record {int(ones.argmin())} has no label (0 in each column; {int((ones == 0).sum()):,} such)"
            return f"{such}: leave it out, by keep = y.sum(axis=1) == 1"
        row = int((ones > 1).argmax())
        return f"record {row} has {ones[row]:g} labels at once: audit one label at a time, with y[:, 0] and so on"
    if y.dtype.kind == "f" and (y >= 0).all() and (np.abs(y.sum(axis=1) - 1) < 1e-3).all():
        return "y.argmax(axis=1) makes them of probabilities"
    return "give one column of it, as y[:, 0]"


def countless(y: np.ndarray) -> bool:
    """Whether labels [n] are rather measured numbers than classes."""
    return len(np.unique(y)) > max(10, len(y) // 10)


def _named(texts: np.ndarray, names: Sequence[str]) -> Classes:
    """Classes that have names [n], in the order of ``names`` or else of the alphabet."""
    present = np.unique(texts.astype(str))
    if not names:
        if len(present) > max(10, len(texts) // 2):
            raise ValueError(
                f"its labels are {len(present):,} different texts ({sanitize.quoted(str(texts[0]))}, ...) for"
                f" {len(texts):,} records, as identifiers are; give the column of the classes"
            )
        names = tuple(present.tolist())
        doubt = spellings.doubt(names, "classes")
        doubt = f" {doubt}" if doubt else ""
        words = [name for name in names if name.lower() in NAMES]
        if words:
            doubt += f" {listed(words)} is a class as any other: leave such records out if they have no label."
        note = f"Classes are numbered in the order of their names: {_mapping(names)}.{doubt}"
    else:
        unknown = ~np.isin(texts.astype(str), names)
        if unknown.any():
            row = int(unknown.argmax())
            text = str(texts[row])
            near = [name for name in names if spellings.bare(name) == spellings.bare(text)]
            hint = f"; it seems to be {sanitize.quoted(near[0])} in another spelling: write it so" if near else ""
            raise ValueError(
                f"record {row} has the label {sanitize.quoted(text)}, which is not among the classes"
                f" {listed(names)}{hint}"
            )
        note = f"Classes are numbered so: {_mapping(names)}. {spellings.doubt(names, 'classes')}".rstrip()
    code = {name: k for k, name in enumerate(names)}
    return Classes(np.array([code[str(text)] for text in texts], np.int32), tuple(names), note)


def _of_numbers(y: np.ndarray, whole: bool) -> Classes:
    """Classes that are numbers [n], not missing."""
    if not np.array_equal(y, np.trunc(y)):
        if countless(y) or len(np.unique(y)) == len(y):
            raise ValueError(
                f"its labels are not whole numbers but the target of a regression, which has no classes; {BIN}"
            )
        raise ValueError(f"its labels are not whole numbers; {RENUMBER}")
    present = np.unique(y)
    if len(present) == 2 and present.tolist() == [-1, 1]:
        return Classes((y > 0).astype(np.int32), ("-1", "1"), "Labels are -1 and 1: -1 is class 0, 1 is class 1.")
    if present[0] in files.IGNORED:
        files.labels(y)  # raises: it stands for none
    if not whole and present[0] >= 0 and present[-1] <= np.iinfo(np.int32).max:
        return Classes(y.astype(np.int32))
    many = len(present)
    if many == len(y) > 3:
        raise ValueError(f"every record has a label of its own, as identifiers and targets of a regression have; {BIN}")
    if np.array_equal(present, np.arange(many)):
        return Classes(y.astype(np.int32))
    if countless(y):
        raise Countless(f"its {many:,} different labels look like the target of a regression: {BIN}; {RENUMBER}")
    names = tuple(f"{int(value)}" for value in present.tolist())
    note = f"Labels {names[0]} to {names[-1]} are classes 0 to {many - 1}."
    if present[0] != 1 or present[-1] != many:
        note = f"Labels have gaps, and are numbered anew in their order: {_mapping(names)}."
    return Classes(np.searchsorted(present, y).astype(np.int32), names, note)


def _mapping(names: Sequence[str]) -> str:
    some = [f"{sanitize.line(name, 40)} is {k}" for k, name in enumerate(names[:SHOWN])]
    return ", ".join([*some, *([f"... ({len(names)} classes)"] if len(names) > SHOWN else [])])
