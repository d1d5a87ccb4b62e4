"""Records and their schema from whatever holds them: ``mia_jax.records``.

A table's columns are read one by one (``columns``), its label column is found or named, labels become classes
(``class_labels``), and what was inferred is said, a line each, and kept among the schema's notes.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import class_labels, columns, holders, local, oddities, tables, telling, units
from mia_jax.data.columns import Column, listed
from mia_jax.data.holders import Arrays, Table
from mia_jax.storage import artifacts
from mia_jax.types import Field, InputError, Records, Schema

LABELS = ("label", "target", "class", "y")  # what a label column is called, in any case
MEMBER = "member"
APART = "The column member is no feature, and left out: as a rule it says who trained a model, for mia_jax.audit."
Label = str | int | Sequence[str] | None
_WORD = {"numeric": "number", "categorical": "category", "binary": "binary"}


class Own(NamedTuple):
    """A user's records."""

    records: Records
    schema: Schema
    member: np.ndarray | None = None  # of any type [n], where there is such a column
    sent: np.ndarray | None = None  # x in the type of the file, where models are trained on rounded numbers


class How(NamedTuple):
    """How a table is read."""

    label: Label = None  # the column of the labels; None: the one that is called so
    kinds: Any = None  # what columns are, where the user says it
    whole: bool = True  # to train on: every class has a record
    like: Schema | None = None  # of other records, whose columns, categories and classes are the ones that there are
    class_names: Sequence[str] = ()  # in their order, where it is known


def records(
    data: Any,
    y: Any = None,
    *,
    label: Label = None,
    kinds: Mapping[str, str] | str | None = None,
    name: str = "your records",
    notify: Callable[[str], None] = print,
) -> tuple[Records, Schema]:
    """Records and their schema from what holds them in memory.

    Text and categories become a column for each category, a missing one is a category of its own; numbers that are
    missing stay so (NaN); labels are numbered from 0. Whatever is inferred is said, and stands in ``schema.notes``.

    Args:
        data: a data frame of pandas or polars, a table of pyarrow, a dict of columns, a list of dicts, a data set of
            PyTorch (items (x, y)) or Hugging Face, what scikit-learn's ``load_iris`` and its kind give; or an array or
            tensor [n, *f], with ``y``.
        y: labels [n], or one-hot [n, c], where ``data`` has none: text, booleans, whole numbers.
        label: the column of the labels (several, where they are one-hot); None: the one called label, target, class or
            y. Of an array without ``y``, the number of a column, or its text.
        kinds: what columns are, where they are not what they look like: column -> "number", "category", "binary" or
            "drop", or text as "zip:category,id:drop". The columns of an array are called x0, x1, ...
        name: of the records, in messages and reports.
        notify: told a line for each inference.

    Returns:
        Records, x [n, *f] uint8 (bits, pixels) or float32 and y [n] int32, 0-based; and the schema: print it.

    Raises:
        InputError: naming the column or the record, what is wrong and what to do.

    >>> import mia_jax as mia
    >>> town, buys = ["Ulm", "Bonn", None, "Ulm"], ["no", "yes", "yes", "no"]
    >>> records, schema = mia.records({"age": [31, 45, 27, 60], "town": town, "class": buys}, notify=lambda line: None)
    >>> records.x.shape, schema.class_names, schema.fields[1].categories
    ((4, 4), ('no', 'yes'), ('Bonn', 'Ulm', '(missing)'))
    """
    if isinstance(data, tuple) and len(data) == 2 and y is None:
        data, y = data
    if label is not None and y is not None:
        raise InputError("y was given, and `label` names a column of labels: leave one of them out")
    if label is not None and getattr(data, "ndim", 0) == 2 and not hasattr(data, "columns"):
        data, y = holders.labels_apart(tables.plain(data), label)
        label = None
    found = holders.held(data, y)
    if isinstance(found, Table) and y is not None:
        label = holders.LABELS
    try:
        if isinstance(found, Arrays):
            if label is not None:
                raise InputError(f"{type(data).__name__} gives a label with each record: leave `label` out")
            own = of_arrays(found, name, kinds)
        else:
            own = of_table(found, name, How(label, kinds))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} cannot be used: {error}") from None
    schema = own.schema
    if own.member is not None:
        schema = schema._replace(notes=(*schema.notes, APART))
    for note in schema.notes:
        notify(note)
    return own.records, schema


def of_arrays(found: Arrays, name: str, kinds: Any = None) -> Own:
    """Records of arrays x [n, *f] of numbers and labels of any kind.

    Args:
        found: the arrays.
        name: of the records.
        kinds: what columns are, as of ``records``; the first is called x0.

    Raises:
        ValueError: what is wrong and what to do.
    """
    x = found.x
    if kinds and x.ndim != 2:
        raise ValueError(f"`kinds` says what columns are, and records of shape {x.shape[1:]} have none: leave it out")
    if x.ndim == 2 and (x.dtype.hasobject or kinds):
        tables.refuse_unpaired(x, len(found.y))
        values = holders._of_values if x.dtype.hasobject else np.asarray
        table = Table({f"x{k}": values(x[:, k].tolist()) for k in range(x.shape[1])} | {"y": found.y}, found.notes)
        return of_table(table, name, How("y", kinds))
    tables.refuse_unpaired(x, len(found.y))
    labels = class_labels.numbered(found.y, names=class_labels.present(found.categories, found.y))
    if found.names and not labels.names and labels.y.max() < len(found.names):
        labels = labels._replace(names=found.names)
    read, schema = local.read({"x": x, "y": labels.y}, name)
    notes = (*found.notes, *schema.notes, *filter(None, [labels.note]))
    return Own(read, schema._replace(class_names=labels.names, notes=notes))


def of_table(table: Table, name: str, how: How) -> Own:
    """Records of a table's columns.

    Raises:
        ValueError: the column, the record, what is wrong and what to do.
    """
    names = [*table.columns]
    label = _label(table, how)
    kinds = columns.parse_kinds(how.kinds, names)
    features = [column for column in names if column not in label]
    member, notes = None, [*table.notes]
    if how.label is None and how.whole:
        notes.append(f"Labels are the column {listed(label)}; `label=COLUMN` takes another.")
    for column in features:
        if column.strip().lower() == MEMBER and column not in kinds:
            member = table.columns[column]
            features = [other for other in features if other != column]
            break
    if len(features) == 1 and table.columns[features[0]].ndim > 2 and how.like is None:  # images keep their shape
        images = Arrays(table.columns[features[0]], *_labels_of(table, label))
        own = of_arrays(images._replace(notes=table.notes), name)
        return own._replace(member=member)
    labels = _classes(table, label, how, kinds)
    written, fields, said = _encoded(table, features, kinds, how.like)
    x, fields, more = _in_units(written, fields)
    notes += [*said, *more, *filter(None, [labels.note])]
    if how.whole and (labels.y == labels.y[0]).all():
        raise ValueError(f"the column {listed(label)} has a single class; give records of two classes at least")
    names = [field.name for field in fields for _ in range(field.start, field.stop)]
    kept = {*names}
    texts = {
        column: columns.as_text(values)
        for column, values in table.columns.items()
        if column in kept and values.ndim == 1 and values.dtype == object
    }
    twins = oddities.names_of_labels(texts, labels.y)
    numbers = {field.name: written[:, field.start] for field in fields if field.kind == "numeric"}  # float32 rounds
    single = {} if x.size > telling.ENTRIES else {k: v for k, v in (numbers | texts).items() if k not in twins}
    notes += [
        *oddities.notes(x.reshape(len(x), -1), labels.y, names, twins, label[0] * (len(label) == 1)),
        *twins.values(),
        *telling.notes(single, labels.y, {column: f"`kinds={column}:drop`" for column in single}),
    ]
    classes = max(int(labels.y.max()) + 1, len(labels.names))
    digest = artifacts.array_digest(x, labels.y)
    schema = Schema(name, "local", digest, classes, x.shape[1:], fields, tuple(notes), labels.names)
    rounded = not how.whole and x.dtype == np.float32 and not np.array_equal(x, written, equal_nan=True)
    return Own(Records(x, labels.y), schema, member, written if rounded else None)


def of_frames(frames: Sequence[Any], y: np.ndarray, name: str) -> tuple[Records, Schema]:
    """The records of several data frames with the same columns, which have no labels among them.

    Args:
        frames: of pandas or polars.
        y: int [n], classes of all of them; some may lack.
        name: of the records.

    Raises:
        ValueError: as ``of_table``.
    """
    tables = [table for table in map(holders.held, frames) if isinstance(table, Table)]
    parts = {column: [table.columns[column] for table in tables] for column in tables[0].columns}
    label = next(free for free in (holders.LABELS, "the label") if free not in parts)
    columns = {column: np.concatenate(part) for column, part in parts.items()} | {label: y}
    whole = Table(columns, categories=tables[0].categories)
    own = of_table(whole, name, How(label, whole=False))
    return own.records, own.schema


# --- labels ----------------------------------------------------------------------------------------------------------


def _label(table: Table, how: How) -> list[str]:
    """The columns of the labels: one, or several of a one-hot code."""
    names = [*table.columns]
    if how.label is None:
        found = [name for name in names if name.strip().lower() in LABELS]
        if len(found) == 1:
            return found
        which = f"several of its columns are called so: {listed(found)}" if found else (
            "it has no line of names, so columns are called by their numbers" if table.headless
            else f"none of its columns is called {', '.join(LABELS[:-1])} or {LABELS[-1]}"
        )  # fmt: skip
        raise ValueError(f"which column has the labels? {which}; give `label=COLUMN`, one of {listed(names, 40)}")
    if isinstance(how.label, tuple) and " ".join(map(str, how.label)) in names:  # of a frame whose names are tuples
        return [" ".join(map(str, how.label))]
    wanted = [how.label] if isinstance(how.label, str | int) else [*how.label]
    if isinstance(how.label, str) and how.label not in names and {*how.label.split(",")} <= {*names}:
        wanted = [*how.label.split(",")]
    return [_column(table, each) for each in wanted]


def _column(table: Table, wanted: str | int) -> str:
    names = [*table.columns]
    if wanted in table.columns:
        return str(wanted)
    by_case = [name for name in names if name.strip().lower() == str(wanted).strip().lower()]
    if len(by_case) == 1:
        return by_case[0]
    if table.headless and str(wanted).lstrip("-").isdigit() and -len(names) <= int(wanted) < len(names):
        return names[int(wanted)]
    from_the_end = str(wanted).startswith("-") and str(wanted)[1:].isdigit() and 0 < -int(wanted) <= len(names)
    near = [names[int(wanted)]] if from_the_end else difflib.get_close_matches(str(wanted), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"`label={wanted}` is none of its columns, {listed(names, 40)}{hint}")


def _labels_of(table: Table, label: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of a table that need no more than a column, and the names of the classes."""
    if len(label) > 1:
        raise ValueError(f"name one column of labels, not {listed(label)}")
    return table.columns[label[0]], tuple(table.class_names.get(label[0], ()))


def _classes(table: Table, label: list[str], how: How, kinds: Mapping[str, str]) -> class_labels.Classes:
    parts = [table.columns[name] for name in label]
    values = parts[0]
    if len(parts) > 1:
        try:
            read = [columns.read(name, part, "binary") for name, part in zip(label, parts, strict=True)]
            hot = np.stack([np.zeros(len(values)) if part is None else part.values for part in read], axis=1)
            return class_labels.numbered(hot)._replace(names=tuple(label))
        except ValueError as error:
            raise ValueError(f"the columns {listed(label)} are no one-hot code of the label: {error}") from None
    known = table.class_names.get(label[0], ())
    if known and values.dtype.kind in "iu":
        return class_labels.Classes(values.astype(np.int32), known, f"Classes are {listed(known)}, in this order.")
    names = how.class_names or (how.like.class_names if how.like is not None else ())
    names = names or class_labels.present(table.categories.get(label[0], ()), values)
    if columns.KINDS.get(kinds.get(label[0], "")) == "categorical" and not names:
        no_names = columns.MISSING_WORDS - class_labels.NAMES
        called = [text for text in columns.in_order(columns.as_text(values)) if text.lower() not in no_names]
        names = called if not class_labels.without(values, called).any() else ()
    try:
        return class_labels.numbered(values, names=names, whole=how.whole)
    except class_labels.Countless as error:
        raise ValueError(
            f"{str(error).removesuffix(f'; {class_labels.RENUMBER}')}; `kinds={label[0]}:category` says that they are"
            " classes"
        ) from None
    except ValueError as error:
        raise ValueError(f"{error} (the column {label[0]})") from None


# --- features --------------------------------------------------------------------------------------------------------


def _encoded(
    table: Table, features: list[str], kinds: Mapping[str, str], like: Schema | None
) -> tuple[np.ndarray, tuple[Field, ...], list[str]]:
    """The features as numbers [n, f], their fields, and what is to be said."""
    known = {} if like is None else {field.name: field for field in like.fields}
    if known and (lacking := [name for name in known if name not in features]):
        raise ValueError(f"it has no column {lacking[0]}, which the other records have; it has {listed(features)}")
    blocks: list[np.ndarray] = []
    fields: list[Field] = []
    read: list[Column] = []
    said: list[str] = []
    left = [name for name in features if known and name not in known]
    for name in [name for name in (known or features) if kinds.get(name) != "drop"]:
        values = table.columns[name]
        if values.ndim > 1:
            values, fields_of = _wide(name, values, fields[-1].stop if fields else 0)
            blocks.append(values)
            fields += fields_of
            continue
        if name in table.class_names and values.dtype.kind in "iu":
            values = np.array(table.class_names[name], object)[values]
        kind = kinds.get(name) or (_WORD[known[name].kind] if name in known else None)
        try:
            column = columns.read(name, values, kind, name in table.categories or name in table.class_names)
        except columns.Texts as error:
            others = [other for other in features if other != name and kinds.get(other) != "drop"]
            if any(_is_read(other, table.columns[other], kinds) for other in others):
                raise
            raise ValueError(
                f"{str(error).partition(': leave it out')[0]}, and no other column is left: texts are audited with the"
                f" model that reads them, mia_jax.audit(model, frame[{name!r}], y, member, ...); or make numbers of"
                " them, as scikit-learn's TfidfVectorizer does, for mia_jax.records(x, y)"
            ) from None
        if column is None:
            left.append(name)
            continue
        block, field = columns.encoded(column, fields[-1].stop if fields else 0, known.get(name))
        blocks.append(block)
        fields.append(field)
        read.append(column)
        said += column.notes
    if not fields:
        raise ValueError(f"no column is left to learn from, beside the labels; it has {listed(table.columns)}")
    dropped = [name for name in features if kinds.get(name) == "drop"]
    said = [_what_they_are(read, fields), *_missing(read), *said]
    said += [f"Left out, as you said: {listed(dropped)}."] if dropped else []
    said += (
        [f"Left out: {listed(left)}, {'not among the other columns' if known else 'without a value'}."] if left else []
    )
    return np.concatenate([block.astype(np.float64) for block in blocks], axis=1), tuple(fields), said


def _is_read(name: str, values: np.ndarray, kinds: Mapping[str, str]) -> bool:
    """Whether another column can be learned from."""
    try:
        return values.ndim > 1 or columns.read(name, values, kinds.get(name)) is not None
    except columns.Texts:
        return False
    except ValueError:  # which is said where it is read
        return True


def _wide(name: str, values: np.ndarray, start: int) -> tuple[np.ndarray, list[Field]]:
    """A column of arrays [n, ...]: a number each."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"column {name} holds arrays of {values.dtype}; needed: numbers")
    flat = values.reshape(len(values), -1).astype(np.float64)
    low, high = np.fmin.reduce(flat, axis=0), np.fmax.reduce(flat, axis=0)
    return flat, [
        Field(f"{name}[{k}]", "numeric", start + k, start + k + 1, float(low[k]), float(high[k]))
        for k in range(flat.shape[1])
    ]


def _what_they_are(read: list[Column], fields: Sequence[Field]) -> str:
    by_kind = {kind: [column.name for column in read if column.kind == kind] for kind in _WORD}
    counts = {field.name: field.stop - field.start for field in fields}
    parts = [
        f"{len(names)} {word} ({listed([f'{n}: {counts[n]}' if kind == 'categorical' else n for n in names])})"
        for kind, word in (("numeric", "numeric"), ("binary", "binary"), ("categorical", "categories"))
        if (names := by_kind[kind])
    ]
    wide = len(fields) - len(read)
    parts += [f"{wide} in arrays"] if wide else []
    count = f"They are {fields[-1].stop:,} numbers" if fields[-1].stop > 1 else "It is one number"
    return f"Columns: {'; '.join(parts)}. {count} for each record."


def _missing(read: list[Column]) -> list[str]:
    """What is missing, in sentences."""
    gaps = [(column.name, int(np.isnan(column.values).sum())) for column in read if column.kind != "categorical"]
    own = [(c.name, int((c.values == columns.MISSING).sum())) for c in read if c.kind == "categorical"]
    said = []
    if some := [(name, count) for name, count in gaps if count]:
        said.append(f"Missing numbers (NaN): {listed(f'{n} {c:,}' for n, c in some)}.")
    if some := [(name, count) for name, count in own if count]:
        said.append(f"Missing categories are a category, {columns.MISSING}: {listed(f'{n} {c:,}' for n, c in some)}.")
    return said


def _in_units(x: np.ndarray, fields: tuple[Field, ...]) -> tuple[np.ndarray, tuple[Field, ...], list[str]]:
    """Records [n, f] as models are trained on them: bits, or float32 in units near one."""
    wrong = np.isinf(x)
    if wrong.any():
        row, column = (int(k) for k in np.argwhere(wrong)[0])
        name = next(field.name for field in fields if field.start <= column < field.stop)
        raise ValueError(f"column {name} is {x[row, column]} in record {row}; fill it in, or leave the record out")
    if all(field.kind != "numeric" for field in fields):
        return x.astype(np.uint8), fields, []
    names = [field.name for field in fields for _ in range(field.start, field.stop)]
    x, rounded = local.float32(x, names)
    fields = units.marked(fields, x)
    return x, fields, [*rounded, *units.notes(fields)]
