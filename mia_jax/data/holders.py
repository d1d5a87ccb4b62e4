"""What holds records in memory, as named columns or as arrays: frames of pandas, polars and pyarrow, data sets of
PyTorch and Hugging Face, dicts, structured arrays. None of these libraries is imported here: objects say what they are.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.data import read_again, tables
from mia_jax.data.columns import listed
from mia_jax.types import InputError, Records


class Table(NamedTuple):
    """Named columns."""

    columns: dict[str, np.ndarray]  # name -> [n] of any type, or [n, ...] of numbers
    notes: tuple[str, ...] = ()  # of what was made of them, in sentences
    class_names: Mapping[str, tuple[str, ...]] = {}  # of columns of integers that are classes with names
    headless: bool = False  # no line of names: columns are called by their number
    categories: Mapping[str, tuple[Any, ...]] = {}  # of columns whose type says that they are some, in their order


class Arrays(NamedTuple):
    """Records and their labels."""

    x: np.ndarray  # [n, *f]
    y: np.ndarray  # [n], or a one-hot code [n, c]
    names: tuple[str, ...] = ()  # of the classes, where they are known
    categories: tuple[Any, ...] = ()  # of labels whose type says that they are some, in their order
    notes: tuple[str, ...] = ()  # of what was made of them, in sentences


def held(data: Any, y: Any = None) -> Table | Arrays:
    """Whatever holds records, as columns with names or as arrays.

    Args:
        data: a data frame, a data set, a dict of columns, an array.
        y: labels [n], where ``data`` has none: of an array always.

    Raises:
        InputError: it is none of these, or no labels are there.
    """
    _refuse_others(data)
    if isinstance(data, tuple) and len(data) == 2 and y is None:
        data, y = data
    if _is_bunch(data) and y is None:
        return _of_bunch(data)
    tables.refuse_unaligned(data, y)
    table = _table(data)
    if table is not None:
        return table if y is None else _with_labels(table, y)
    if y is not None:
        return Arrays(tables.plain(data), tables.plain(y), categories=tables.categories(y))
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not hasattr(data, "dtype"):
        return _of_items(data)
    raise InputError(
        f"{type(data).__name__} holds records without labels, as far as can be told: give mia_jax.records(x, y)"
        + (", the number of a column of labels, as label=-1" if getattr(data, "ndim", 0) == 2 else "")
        + ", or a data frame, a dict of columns, a data set of PyTorch or Hugging Face"
    )


def labels_apart(x: np.ndarray, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """The columns of an array [n, f] that are features, and that, or those of a one-hot code, of the labels.

    Args:
        x: the array.
        label: the number of the column, or its text; several of a one-hot code.

    Raises:
        InputError: there is no such column.
    """
    wanted = [label] if isinstance(label, str) or not isinstance(label, Sequence) else [*label]
    numbers = []
    for each in wanted:
        is_number = isinstance(each, int | np.integer) and not isinstance(each, bool)
        if not is_number and not re.fullmatch(r"-?\d+", str(each)):
            raise InputError(f"label={each} is no column of an array: give its number, 0 to {x.shape[1] - 1}")
        if not -x.shape[1] <= int(each) < x.shape[1]:
            raise InputError(f"label={each} is no column of an array of shape {x.shape}")
        numbers.append(int(each))
    return np.delete(x, numbers, axis=1), x[:, numbers[0] if len(numbers) == 1 else numbers]


TARGET = "target"  # what labels are called that scikit-learn gives
LABELS = "label"  # what labels are called that were given beside a table


def _with_labels(table: Table, y: Any) -> Table:
    if LABELS in table.columns:
        raise InputError(f"the table has a column {LABELS} and y was given, too: leave one of them out")
    labels = tables.plain(y)
    rows = len(next(iter(table.columns.values()), labels))
    if rows != len(labels):
        raise InputError(f"the table has {rows:,} records and y {len(labels):,} labels: give one label for each record")
    known = tables.categories(y)
    categories = {**table.categories, LABELS: known} if known else table.categories
    return table._replace(columns={**table.columns, LABELS: labels}, categories=categories)


def _refuse_others(data: Any) -> None:
    kind = type(data).__name__
    if hasattr(data, "toarray"):
        raise InputError("a sparse matrix is no table of numbers: give its toarray()")
    if hasattr(data, "collect") and hasattr(data, "lazy"):
        raise InputError(f"{kind} has not been computed yet: give its collect()")
    if hasattr(data, "features") and hasattr(data, "column_names") and not hasattr(data, "__len__"):
        raise InputError(f"{kind} gives records one by one: give datasets.Dataset.from_list(list(data))")
    if hasattr(data, "batch_sampler") or (hasattr(data, "dataset") and hasattr(data, "collate_fn")):
        raise InputError(f"{kind} gives batches, in an order of its own: give its .dataset")
    if isinstance(data, Mapping) and data and all(hasattr(part, "column_names") for part in data.values()):
        raise InputError(f"{kind} has several splits ({listed(data)}): give one of them, as data['{next(iter(data))}']")
    if isinstance(data, str | bytes):
        raise InputError(f"{sanitize.quoted(data)} is text: mia_jax.load(path) reads a file")


def refuse_together(x: Any) -> None:
    """Refuse what is no array, tensor or data frame of records, but as a rule holds their labels, too.

    Raises:
        InputError: with what takes them apart.
    """
    if apart := _apart(x):
        raise InputError(
            f"x is {type(x).__name__}, and an array, a tensor or a data frame of records is needed: {apart}"
        )


def _apart(x: Any) -> str:
    """How such a thing is taken apart; "" where it is none."""
    read = "records, schema = mia_jax.records({}) takes it apart: give records.x and records.y"
    if isinstance(x, str | bytes):
        return "np.load(path) reads an .npy, pandas.read_csv(path) a .csv"
    if isinstance(x, Records):
        return "give its .x and .y"
    if isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], Records):
        return "records, schema = mia_jax.records(...); give records.x and records.y"
    if isinstance(getattr(x, "tensors", None), tuple):  # TensorDataset
        return "x, y = dataset.tensors takes it apart"
    if hasattr(x, "batch_sampler") or hasattr(x, "collate_fn"):
        return read.format("loader.dataset")
    if isinstance(x, Mapping) and any(hasattr(part, "column_names") for part in x.values()):
        return f"x = data['{next(iter(x))}'].to_pandas() is one of its splits; y = x.pop('label') its labels"
    if hasattr(x, "column_names") and hasattr(x, "to_pandas"):  # of Hugging Face, pyarrow
        return "x = data.to_pandas() is one, and y = x.pop('label') its labels"
    if isinstance(x, Mapping):
        return "x = pandas.DataFrame(data) is one, and y = x.pop('label') its labels"
    if hasattr(x, "shape") or hasattr(x, "dtype") or not (hasattr(x, "__getitem__") and hasattr(x, "__len__")):
        return ""
    pairs = len(x) and isinstance(x[0], tuple) and len(x[0]) == 2 and hasattr(x[0][0], "shape")
    items = not isinstance(x, Sequence) and len(x) and isinstance(x[0], tuple | list | dict)  # of PyTorch's kind
    return read.format("dataset") if pairs or items else ""


def _table(data: Any) -> Table | None:
    """The columns of what has some; None of others."""
    if tables.is_frame(data) and getattr(data, "ndim", 2) == 2:
        names = [*map(_name, data.columns)]
        each = [data.iloc[:, k] for k in range(len(names))] if hasattr(data, "iloc") else data.get_columns()
        return _of_columns(names, each, lambda column: column.to_numpy())
    if hasattr(data, "features") and hasattr(data, "column_names"):
        return _of_hugging_face(data)
    if hasattr(data, "column_names") and hasattr(data, "to_pydict"):  # pyarrow
        return _of_columns([*map(str, data.column_names)], data.columns, _of_arrow)
    if isinstance(data, Mapping):
        return _of_columns([*map(str, data)], [*data.values()], _values)
    if isinstance(data, np.ndarray) and data.dtype.names:
        return Table(_named(data.dtype.names, (data[name] for name in data.dtype.names)))
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        return Table(_named(map(str, names), (_values([row.get(name) for row in data]) for name in names)))
    return None


def _of_columns(names: Sequence[str], columns: Sequence[Any], values: Callable[[Any], np.ndarray]) -> Table:
    """Columns of pandas, polars, pyarrow, a dict; some may say themselves that they hold categories."""
    known = {name: tables.categories(column) for name, column in zip(names, columns, strict=True)}
    return Table(_named(names, map(values, columns)), categories={name: some for name, some in known.items() if some})


def _is_bunch(data: Any) -> bool:
    """Whether it is what scikit-learn's load_iris and its kind give."""
    return isinstance(data, Mapping) and all(hasattr(data, name) and name in data for name in ("data", "target"))


def _of_bunch(data: Any) -> Table | Arrays:
    """The records of a ``sklearn.utils.Bunch``: its data and target."""
    x, y = data["data"], data["target"]
    _refuse_others(x)
    if isinstance(x, Sequence) and not isinstance(x, str | bytes) and len(x) and isinstance(x[0], str):
        raise InputError(f"its data are text ({sanitize.quoted(x[0])}): give the numbers that a model takes")
    if getattr(y, "ndim", 1) != 1:
        raise InputError(f"its target has {y.shape[1]} columns: give mia_jax.records(data.data, y) with one of them")
    table = _table(x)
    x = x if table else tables.plain(x)
    y = tables.plain(y)
    named = [str(name) for name in data.get("target_names", ())]
    names = tuple(named) if y.dtype.kind in "iu" and len(y) and 1 < len(named) > y.max() and y.min() >= 0 else ()
    if table is None and x.ndim != 2:
        return Arrays(x, y, names)
    if table is None:
        called = [f"x{k}" for k in range(x.shape[1])] if data.get("feature_names") is None else data["feature_names"]
        table = Table(_named(map(str, called), x.T))
    if TARGET in table.columns:
        raise InputError(f"its data have a column {TARGET}, beside its target: rename it")
    return table._replace(columns={**table.columns, TARGET: y}, class_names={TARGET: names} if names else {})


def _name(name: Any) -> str:
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _named(names: Any, values: Any) -> dict[str, np.ndarray]:
    """Columns of one length, each name once. Raises InputError."""
    columns: dict[str, np.ndarray] = {}
    for name, column in zip(names, values, strict=True):
        if name in columns:
            raise InputError(f"two columns are called {name}: rename one of them")
        columns[name] = column
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(column):,}" for name, column in columns.items())
        raise InputError(f"columns have different lengths ({sanitize.line(told)}): give each a value for each record")
    if not columns or not max(lengths):
        raise InputError("there are no records in it")
    return columns


def _values(column: Any) -> np.ndarray:
    """A column of a dict: an array, a list, a tensor, a series."""
    if hasattr(column, "to_numpy"):
        return column.to_numpy()
    if hasattr(column, "dtype") or hasattr(column, "detach"):
        return tables.plain(column)
    column = list(column)
    return _stacked(column) if column and _is_array(column[0]) else _of_values(column)


def _is_array(value: Any) -> bool:
    return isinstance(value, list | tuple) or (hasattr(value, "shape") and len(value.shape) > 0) or _is_image(value)


def _is_image(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "size")  # Pillow's


def _of_values(column: Sequence[Any]) -> np.ndarray:
    """Plain values as an array of the type that they have in common, or of objects."""
    column = [value.item() if hasattr(value, "item") and not isinstance(value, str) else value for value in column]
    kinds = {type(value) for value in column if value is not None}
    if kinds <= {bool} and None not in column:
        return np.array(column)
    if kinds <= {int, float} and kinds:
        return (
            np.array([np.nan if value is None else value for value in column]) if None in column else np.array(column)
        )
    out = np.empty(len(column), object)
    out[:] = column
    return out


def _stacked(rows: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(row) if _is_image(row) else tables.plain(row) for row in rows]
    shape = arrays[0].shape
    for k, array in enumerate(arrays):
        if array.shape != shape:
            raise InputError(
                f"record {k} has shape {array.shape}, and record 0 {shape}: give all records one shape, as by padding"
                " or cropping"
            )
    return np.stack(arrays)


def _of_arrow(column: Any) -> np.ndarray:
    """A column of pyarrow."""
    kind = str(column.type)
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "timestamp", "date", "time", "duration")):
        return column.to_numpy()
    return _values(column.to_pylist())


def _of_hugging_face(data: Any) -> Table:
    features = data.features or {}
    names = {}
    for name, feature in features.items():
        if getattr(feature, "names", None) and hasattr(feature, "int2str"):
            names[name] = tuple(feature.names)
    columns = _named(data.column_names, (_values(data[:][name]) for name in data.column_names))
    for name, categories in names.items():  # a feature of named classes is the category, not its number
        numbers = columns[name]
        if len(numbers) and numbers.dtype.kind in "iu" and (numbers.min() < 0 or numbers.max() >= len(categories)):
            row = int(((numbers < 0) | (numbers >= len(categories))).argmax())
            raise InputError(
                f"record {row} has {numbers[row]} in the column {name}, which stands for no class of"
                f" {listed(categories)}: leave such records out"
            )
    return Table(columns, read_again.notes(data), names)


def _of_items(data: Any) -> Arrays | Table:
    """The records of a data set of PyTorch's kind, item by item: (x, y), or dicts."""
    kind = type(data).__name__
    if not len(data):
        raise InputError(f"there are no records in {kind}")
    items = [data[k] for k in range(len(data))]
    first, notes = items[0], () if isinstance(data, Sequence) else read_again.notes(data)
    if isinstance(first, Mapping):
        return Table(_named(map(str, first), (_values([item[name] for item in items]) for name in first)), notes)
    if not isinstance(first, tuple | list) or len(first) != 2:
        raise InputError(
            f"{kind} gives {type(first).__name__} for a record{_of_length(first)}, and (x, y) is needed: give"
            " mia_jax.records(x, y)"
        )
    if np.ndim(first[0]) == 0 and _is_array(first[1]) and not _is_one_hot(first[1]):
        raise InputError(
            f"{kind} gives (label, x) for a record, and (x, label) is needed: give [(x, label) for label, x in dataset]"
        )
    x = [item[0] for item in items]
    labels = [item[1] for item in items]
    names = getattr(data, "classes", None)
    known = tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()
    y = _stacked(labels) if _is_array(labels[0]) else _of_values(labels)
    if isinstance(x[0], str):
        raise InputError(f"records of {kind} are text ({sanitize.quoted(x[0])}): give the numbers that a model takes")
    return Arrays(_stacked(x) if _is_array(x[0]) else _of_values(x), y, known, notes=notes)


def _is_one_hot(value: Any) -> bool:
    array = np.asarray(value) if _is_image(value) else tables.plain(value)
    return array.ndim == 1 and array.dtype.kind in "biuf" and sorted({*array.tolist()}) == [0, 1] and array.sum() == 1


def _of_length(value: Any) -> str:
    return f" of {len(value)} parts" if isinstance(value, tuple | list) else ""
