"""Tables in files: .csv and .tsv by the standard library, .parquet by pyarrow.

A .csv says neither what separates its values, nor whether it has names, nor in which encoding it is: all three are
found out, and said where they are not commas, a line of names and UTF-8. Columns of numbers are read block by block, so
a large file takes the memory of its numbers.
"""

import contextlib
import csv
import importlib.util
import io
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.data import columns, decimal_marks, encodings, holders, limits, row_names
from mia_jax.data.holders import Table
from mia_jax.types import InputError

CSV = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
SUFFIXES = (*CSV, *PARQUET)
INSTEAD = {  # other files that tables come in -> how they become one of these
    (".xlsx", ".xls", ".ods"): "pandas.read_excel(path).to_csv('mine.csv', index=False)",
    (".feather", ".arrow"): "pandas.read_feather(path).to_parquet('mine.parquet')",
    (".json",): "pandas.read_json(path).to_csv('mine.csv', index=False), of lists x and y np.savez('mine.npz',"
    " **json.load(open(path)))",
    (".jsonl", ".ndjson"): "pandas.read_json(path, lines=True).to_csv('mine.csv', index=False)",
    (".pkl", ".pickle", ".joblib"): "pandas.read_pickle(path).to_csv('mine.csv', index=False), if you trust the file",
    (".gz", ".zip", ".bz2", ".xz", ".zst"): "unpack it first",
    (".npy",): "np.savez('mine.npz', x=np.load(path), y=y)",
    (".pt", ".pth"): "np.savez('mine.npz', x=x.numpy(), y=y.numpy())",
    (
        ".h5",
        ".hdf5",
        ".mat",
        ".arff",
        ".dta",
        ".sav",
        ".sas7bdat",
    ): "read it in Python, and give mia_jax.save or np.savez",
}
SEPARATORS = (",", ";", "\t", "|", " ")  # spaces last: of what np.savetxt and R write
_BLOCK = 8192  # rows
_LOOK = 50  # rows that tell what separates values
_ANY_CODE = re.compile(r"^\s*[+-]?0\d", re.MULTILINE)  # among values, a line each
_LONG = 1 << 20  # characters of a value


class _Form(NamedTuple):
    """How a .csv is written."""

    separator: str
    encoding: str
    names: list[str]
    first: int  # lines before the first record
    headless: bool
    index: bool  # each row begins with a value that has no name


def advice(suffix: str) -> str | None:
    """What to do with a file of another kind; None where nothing is known of it."""
    return next((move for kinds, move in INSTEAD.items() if suffix.lower() in kinds), None)


def read(path: pathlib.Path) -> Table:
    """The columns of a file.

    Raises:
        ValueError: it is none, or damaged; the line, and what to do.
        OSError: it cannot be opened.
    """
    limits.check(path.stat().st_size, None, "the file")
    return _parquet(path) if path.suffix.lower() in PARQUET else _csv(path)


def _parquet(path: pathlib.Path) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{path} needs pyarrow: pip install pyarrow, or write a .csv")
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except pyarrow.ArrowException as error:
        raise ValueError(f"it is no parquet file, or damaged ({sanitize.line(str(error), 80)})") from None
    index = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
    table = table.drop_columns(index)
    found = holders.held(table)
    assert isinstance(found, Table)
    found = found._replace(categories={**found.categories, **_categories_of_pandas(table, found)})
    return found._replace(notes=("Left out: the index of the data frame that was written.",) if index else ())


def _categories_of_pandas(table: Any, found: Table) -> dict[str, tuple[Any, ...]]:
    """Of columns that were categorical in pandas: a file keeps the order of text alone, and only says so of numbers."""
    try:
        about = (table.schema.pandas_metadata or {})["columns"]
        names = {column["name"] for column in about if column["pandas_type"] == "categorical"} & {*found.columns}
    except (KeyError, TypeError, ValueError):
        return {}
    categories = {}
    for name in names:
        column, values = table.column(name), found.columns[name]
        if hasattr(column.type, "ordered") and column.num_chunks:
            categories[name] = tuple(column.unify_dictionaries().chunk(0).dictionary.to_pylist())
        else:
            categories[name] = tuple(np.unique(values[~columns.missing(values)]).tolist())
    return categories


# --- .csv ------------------------------------------------------------------------------------------------------------


def _csv(path: pathlib.Path) -> Table:
    try:
        form, notes = _form(path)
        found, thousands = _columns(path, form)
    except csv.Error as error:
        raise ValueError(f"it cannot be read as a table ({error})") from None
    names = form.names
    if form.index:
        with open(path, encoding=form.encoding, newline="") as f:
            place, what = row_names.left_out(found, names, "".join(itertools.islice(f, _LOOK)), form.separator)
        names = [*names, ""] if place else ["", *names]
    points = [name for k, name in enumerate(names) if k in thousands]
    notes += [f"A point separates thousands in {columns.listed(points)}: 1.100 is 1100."] if points else []
    if form.index:
        found, notes = (found[:-1] if place else found[1:]), [*notes, f"Left out: {what}."]
    table = dict(zip(form.names, found, strict=True))
    for name in [name for name in table if not name or re.fullmatch(r"Unnamed: \d+", name)]:
        empty, counts = columns.missing(table[name]).all(), _counts_rows(table[name])
        if empty or counts or _numbers_rows(table[name]):
            what = "a column without name or values" if empty else "the index of the table, which counts its rows"
            what += "" if empty or counts else ", in another order, as of a table that was shuffled"
            notes.append(f"Left out: {what}.")
            del table[name]
    if unnamed := [k for k, name in enumerate(table) if not name]:
        raise ValueError(f"column {unnamed[0]} has no name; give it one in the first line")
    commas = [] if form.separator == "," else [name for name in table if decimal_marks.has_commas(table[name])]
    if decimal_marks.has_points(table.values()) and (
        counts := [name for name in commas if not decimal_marks.is_sure(table[name])]
    ):
        notes.append(f"A comma separates thousands in {columns.listed(counts)}: 1,100 is 1100.")
        table |= {name: decimal_marks.as_marked(table[name], thousands=",") for name in counts}
        commas = [name for name in commas if name not in counts]
    sure = any(decimal_marks.is_sure(table[name]) for name in commas)
    table |= {name: decimal_marks.as_marked(table[name]) for name in commas}
    for name in [] if form.separator == "," else [name for name in table if name not in commas]:
        good = decimal_marks.among_words(table[name])  # a word among them is named where the column is read
        if good is not None and (sure or decimal_marks.is_sure(table[name][good])):
            table[name] = decimal_marks.plain_among(table[name], good)
            commas.append(name)
    if commas:
        notes.append(f"A comma is the decimal point in {columns.listed(commas)}.")
    return Table(table, tuple(notes), headless=form.headless)


def _columns(path: pathlib.Path, form: _Form) -> tuple[list[np.ndarray], set[int]]:
    """The columns; and those of them in which a point separates thousands, as numbers.

    Raises:
        ValueError: there are none, or a point may be either.
    """
    text: set[int] = set()  # columns that are no numbers
    while True:
        parts, turned, grouped, mixed = _blocks(path, form, text)
        if not turned:
            break
        text |= turned  # what was read as numbers before lost its writing: 007, 1.0
    if not parts[0]:
        raise ValueError("it has a line of names and no records")
    found = [np.concatenate(part) for part in parts]
    if not grouped:
        return found, set()
    pointed = decimal_marks.has_points(values for k, values in enumerate(found) if k not in grouped)
    comma = any(decimal_marks.has_commas(values) and decimal_marks.is_sure(values) for values in found)
    if (comma and not pointed) or any(found[k].dtype == object for k in grouped):  # 1.100.000
        parts, *_ = _blocks(path, form, text | grouped)
        for k in grouped:
            found[k] = decimal_marks.as_marked(np.concatenate(parts[k]))
        return found, grouped
    if (form.separator == ";" or mixed) and (comma or not pointed):
        last = form.index and columns.missing(found[-1]).all()  # a separator at the end of each line
        names = ["", *form.names] if form.index and not last else form.names
        raise ValueError(
            f"column {names[min(grouped)]} has numbers as 1.100, with three digits after the point, which may be 1.1 or"
            f" 1100: write plain ones, as pandas.read_csv(path, sep={form.separator!r}, thousands='.') reads 1100 and"
            f" pandas.read_csv(path, sep={form.separator!r}) 1.1, and to_csv('mine.csv', index=False) writes them"
        )
    return found, set()


def _counts_rows(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _numbers_rows(values: np.ndarray) -> bool:
    """Whether a column holds each row's number once, from 0 or 1 on, in any order."""
    ordered = np.sort(values) if values.dtype.kind == "f" else values[:0]
    return len(ordered) > 9 and ordered[0] in (0, 1) and _counts_rows(ordered)


def _form(path: pathlib.Path) -> tuple[_Form, list[str]]:
    """How the file is written, and what is to be said of it."""
    notes: list[str] = []
    encoding = _encoding(path)
    if encoding != "utf-8-sig":
        notes.append(f"The file is not UTF-8, and is read as {encoding}.")
    with open(path, encoding=encoding, newline="") as f:
        beginning = "".join(itertools.islice(f, _LOOK))
    told = re.match(r"sep=(.)[\r\n]+", beginning)  # a line of Excel's
    beginning = beginning[told.end() :] if told else beginning
    separator = told[1] if told else _separator(beginning)
    if separator != ",":
        what = {"\t": "tabs", " ": "spaces"}.get(separator, sanitize.quoted(separator))
        notes.append(f"Values are separated by {what}.")
    rows = [row for row in _rows(io.StringIO(beginning, newline=""), separator) if row]
    if not rows:
        raise ValueError("it is empty")
    first = [value.strip() for value in rows[0]]
    if first[0].startswith("# "):  # of np.savetxt
        first[0] = first[0][2:].strip()
    headless = _is_headless(first)
    names = [str(k) for k in range(len(first))] if headless else first
    if headless:
        notes.append("It has no line of names: columns are called by their number, from 0.")
    twice = [name for k, name in enumerate(names) if name and name in names[:k]]
    if twice:
        raise ValueError(f"two columns are called {twice[0]}: rename one of them in the first line")
    usual = sorted(map(len, rows))[len(rows) // 2]
    titled = len(first) == 1 or rows[0][0].startswith("#")
    if len(first) + (not titled) < usual:
        split = "" if len(first) == 1 else '; or values hold the separator, and want quotes (") around them'
        raise ValueError(
            f"its first line ({sanitize.quoted(separator.join(rows[0]))}) has {len(first)} values, and others"
            f" {usual}, as a comment or a title has: leave out what is above the names{split}"
        )
    index = not headless and len(rows) > 1 and all(len(row) == len(names) + 1 for row in rows[1:-1] or rows[1:])
    if not headless:
        _refuse_units(rows)
    return _Form(separator, encoding, names, (not headless) + bool(told), headless, index), notes


def _refuse_units(rows: list[list[str]]) -> None:
    """Refuse a row below the names that is no record: units, or a second line of names."""
    second, others = rows[1] if len(rows) > 1 else [], rows[2:]
    there = [not columns._is_missing(value) for value in second]
    if len(others) < 3 or any(map(_is_number, second)):
        return
    for value in itertools.compress(range(len(second)), there):
        below = [row[value] for row in others if len(row) > value and not columns._is_missing(row[value])]
        if len(below) > 2 and all(map(_is_number, below)):
            raise ValueError(
                f"its second line ({sanitize.quoted(', '.join(second))}) has no number, and the lines below have, as a"
                " row of units under the names has: leave it out, or mend it"
            )


def _is_number(text: str) -> bool:
    """Whether text is a number, with a comma for the decimal point or not."""
    return columns._number(text) is not None or bool(decimal_marks.COMMA.fullmatch(text.strip()))


def _is_headless(first: list[str]) -> bool:
    """Whether the first row has values: numbers, but for names 0, 1, ... of pandas."""
    if first == [str(k) for k in range(len(first))]:
        return False
    numeric = [value for value in first if value and columns._number(value) is not None]
    return bool(numeric) and numeric != [str(k) for k in range(len(numeric))]


def _encoding(path: pathlib.Path) -> str:
    with open(path, "rb") as f:
        beginning = f.read(4)
    if beginning[:4] == b"PK\x03\x04":
        raise ValueError(f"it is a zip, as a workbook of Excel is; {INSTEAD[('.xlsx', '.xls', '.ods')]} writes a table")
    if beginning[:4] == b"PAR1":
        raise ValueError("it is a parquet file: call it .parquet")
    return encodings.of_text(path)


def _separator(beginning: str) -> str:
    """What separates values: whatever gives the first rows the most columns, all of them as many, and names for them.

    A comma may be the decimal point, which lines of names have none of.
    """
    best, most = ",", (False, 1)
    for separator in SEPARATORS:
        widths = [len(row) for row in _rows(io.StringIO(beginning, newline=""), separator) if row][: _LOOK - 1]
        usual = max(set(widths), key=widths.count) if widths else 1
        steady = widths.count(usual) >= (1 if separator == " " else 0.8) * (len(widths) - (separator == " "))
        named = usual > 1 and widths[0] > 1 and widths[0] in (usual, usual - 1)  # or each row begins with its own name
        fits = (steady or separator == ",") and not (separator == " " and most[1] > 1)
        if usual > 1 and fits and (named, usual) > most:
            best, most = separator, (named, usual)
    return best


def _rows(f: Any, separator: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONG)
    return csv.reader(f, delimiter=separator, skipinitialspace=True, strict=False)


def _blocks(path: pathlib.Path, form: _Form, text: set[int]) -> tuple[list[list[np.ndarray]], set[int], set[int], bool]:
    """The columns in blocks of rows, numbers where they are some; those that turned out to be none later; those that
    could be whole numbers whose thousands a point separates; and whether one of these has numbers below 1,000, too."""
    width = len(form.names) + form.index
    parts: list[list[np.ndarray]] = [[] for _ in range(width)]
    turned: set[int] = set()
    text = set(text)
    plain = set(range(width))  # columns of 1.100 and 57 alone
    points = np.zeros((width, 2), int)  # numbers with a point, and without
    # What is not decoded now was looked at: the file has changed since.
    with open(path, encoding=form.encoding, newline="", errors="replace") as f:
        reader = _rows(f, form.separator)
        rows = _whole(reader, width, form)
        while block := list(itertools.islice(rows, _BLOCK)):
            for k, values in enumerate(zip(*block, strict=True)):
                numbers = None if k in text else _as_numbers(values)
                if numbers is None and k not in text:
                    text.add(k)
                    turned |= {k} if parts[k] else set()
                parts[k].append(_as_text(values) if numbers is None else numbers)
                if k in plain:
                    counts = decimal_marks.in_groups(values, numbers)
                    plain -= {k} if counts is None else set()
                    points[k] += (0, 0) if counts is None else counts
            if turned:
                break
    grouped = {k for k in plain if points[k, 0]}
    return parts, turned, grouped, any((points[k] >= decimal_marks.BOTH).all() for k in grouped)


def line_of(path: pathlib.Path, record: int) -> int | None:
    """The line, counted from 1, in which a record of a .csv that was read ends; None of other files."""
    if path.suffix.lower() not in CSV:
        return None
    form = _form(path)[0]
    with open(path, encoding=form.encoding, newline="", errors="replace") as f:
        reader: Any = _rows(f, form.separator)
        rows = _whole(reader, len(form.names) + form.index, form)
        return reader.line_num if next(itertools.islice(rows, record, None), None) else None


def _whole(reader: Any, width: int, form: _Form) -> Iterator[list[str]]:
    """The records, each of as many values as there are names. Raises ValueError for another."""
    skip = form.first
    try:
        for row in reader:
            if not row or (len(row) == 1 and width > 1 and not row[0].strip()):
                continue
            if skip:
                skip -= 1
                continue
            names = [value.strip() for value in row] if row[-1].strip() == form.names[-1] else []
            if names[-len(form.names) :] == form.names and not form.headless:
                raise ValueError(
                    f"line {reader.line_num} is the line of names again, as where files were joined: delete such lines"
                )
            if len(row) != width:
                more = " (a value that contains the separator needs quotes)" if len(row) > width else ""
                other = "the first line" if form.headless else "the line of names"
                raise ValueError(
                    f"line {reader.line_num} has {len(row)} values, and {other} {width}{more}; mend that line, or leave"
                    " it out"
                )
            yield row
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} cannot be read ({error}); mend it, or leave it out") from None


def _as_numbers(values: tuple[str, ...]) -> np.ndarray | None:
    """Values as float64, NaN where one is missing; None where they are not all numbers, or would lose zeros."""
    together = "\n".join(values)
    if "_" not in together and not _ANY_CODE.search(together):
        with contextlib.suppress(ValueError):
            return np.array([*map(float, values)])
    filled = [value.strip() for value in values]
    filled = ["nan" if value.lower() in columns.MISSING_WORDS else value for value in filled]
    if any("_" in value or (len(value) > 1 and columns._CODE.fullmatch(value)) for value in filled):
        return None
    try:
        return np.array([*map(float, filled)])
    except ValueError:
        return None


def _as_text(values: tuple[str, ...]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = [value.strip() for value in values]
    return out
