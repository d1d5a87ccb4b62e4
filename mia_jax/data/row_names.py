"""Files whose lines have one value more than there are names: row names, as R writes them, a comma at the end of each
line, or values that a comma has split. The first two are left out; the last is refused, for every column is shifted.
"""

import csv
import io
import re
from collections.abc import Sequence

import numpy as np

from mia_jax import sanitize
from mia_jax.data import columns

ROW_NAMES = "the first value of each line, which has no name"
LAST = "the last value of each line, which is empty and has no name"
_QUOTES = ("'", '"', "\u2018", "\u201c")  # that a value begins with
_DIGITS = re.compile(r"\d{1,6}")


def left_out(found: Sequence[np.ndarray], names: Sequence[str], beginning: str, separator: str) -> tuple[int, str]:
    """Which value of each line has no name, where lines have one more than there are names.

    Args:
        found: the columns [n], one more than ``names``.
        names: of the line of names.
        beginning: the first lines of the file, that of names among them.
        separator: of values.

    Returns:
        The place of the column without a name, 0 or -1, and what it is, in words.

    Raises:
        ValueError: neither is without one: values are split. The line, and what to do.
    """
    text = io.StringIO(beginning, newline="")
    rows = [*csv.reader(text, delimiter=separator, skipinitialspace=separator == " ")]
    records = [row for row in rows if len(row) == len(names) + 1]
    ends_empty = all(not row[-1].strip() for row in records) and bool(columns.missing(found[-1]).all())
    if ends_empty and not _counts(found[0]):
        return -1, LAST
    doubt = _doubt(found[0], records, beginning, separator)
    if not doubt:
        return 0, ROW_NAMES
    line = next((k for k, row in enumerate(rows, start=1) if len(row) == len(names) + 1), 2)
    example = f" ({sanitize.quoted(separator.join(records[0]))})" if records else ""
    mark = "comma" if separator == "," else sanitize.quoted(separator)
    move = f'put quotes (") around values that have a {mark} inside'
    move += ", write decimal points for decimal commas" if separator == "," else ""
    raise ValueError(
        f"line {line} has {len(names) + 1} values{example} and the line of names {len(names)}, and the first values are"
        f" no names of rows: {doubt}; {move}, or give each column a name"
    )


def _counts(values: np.ndarray) -> bool:
    """Whether a column numbers the rows, as row names do that nobody gave."""
    return values.dtype.kind == "f" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _doubt(first: np.ndarray, records: list[list[str]], beginning: str, separator: str) -> str:
    """Why the first values [n] are no row names, in words; "" where they can be some."""
    if columns.missing(first).any():
        return "one is missing"
    texts, counts = np.unique(columns.as_text(first).astype(str), return_counts=True)
    if counts.max() > 1:
        return f"they repeat ({sanitize.quoted(str(texts[counts.argmax()]))} {counts.max():,} times)"
    if _counts(first) or not records:
        return ""
    quoted = all(line.startswith('"') for line in beginning.splitlines()[1:] if line.strip())
    broken = [sum(row[k].strip().startswith(_QUOTES) and not _closed(row[k]) for row in records) for k in (0, 1)]
    if max(broken) > len(records) / 2:
        return "they begin with a quotation mark that ends in another value"
    spaced = [sum(row[k].startswith(" ") for row in records) for k in range(1, len(records[0]))]
    if separator != " " and len(records) in spaced and 0 in spaced:
        return "a space follows one of the separators and not the others, as within a sentence"
    decimal = separator == "," and first.dtype.kind == "f" and not quoted
    if decimal and ((first < 0).any() or all(_DIGITS.fullmatch(row[1]) for row in records)):
        return "they and the second ones may be numbers with a decimal comma"
    return ""


def _closed(value: str) -> bool:
    """Whether a value that begins with a quotation mark ends with one."""
    value = value.strip()
    return len(value) > 1 and value[-1] in "'\"\u2019\u201d"
