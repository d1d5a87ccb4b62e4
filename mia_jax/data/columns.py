"""A column of a table as numbers: what kind it is, its categories, its missing values; whatever is inferred is said.

Kinds are those of ``Field``. A user's word for a kind wins (``KINDS``). Reasons of refusals name the column and the
record, counted from 0, and say what to do.
"""

import datetime
import decimal
import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.data import numbers_in_text, spellings
from mia_jax.types import Field

KINDS = {  # a user's word -> the kind of the field; "" is none
    "number": "numeric",
    "numeric": "numeric",
    "category": "categorical",
    "categorical": "categorical",
    "binary": "binary",
    "boolean": "binary",
    "drop": "",
}
MISSING_WORDS = frozenset(
    ("", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a", "<na>", "nat", r"\n")
)  # the last as databases write it
MISSING = "(missing)"  # the category of records that have none
WORDS = {"true": 1, "yes": 1, "t": 1, "y": 1, "false": 0, "no": 0, "f": 0, "n": 0}  # of booleans
TRUTHS = {**WORDS, "1": 1, "0": 0}  # beside such words
MOST = 1000  # categories, unless the user says that they are some
FEW = 10  # different texts that are categories in the smallest table
_CODE = re.compile(r"[+-]?0\d+")  # a number that loses its zeros: a ZIP code
_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}( .*)?|\d{4}/\d{1,2}/\d{1,2}( .*)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[aApP][mM])?"
    r"|\d{1,2}[-. ]+(?i:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])\w*[-., ]+(\d{4}|\d{2})( .*)?"
)
_RANGE = re.compile(r"[+-]?\d[\d.]*\s*[-\u2013]\s*\d[\d.]*")  # 18-25


class Column(NamedTuple):
    """A column, read."""

    name: str
    kind: Literal["numeric", "binary", "categorical"]
    values: np.ndarray  # float64 [n], NaN where one is missing; of categories text [n], MISSING there
    notes: tuple[str, ...] = ()


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names for a message, shortened."""
    names = [sanitize.line(str(name), 40) for name in names]
    return ", ".join(names[:most]) + (f", ... ({len(names):,})" if len(names) > most else "")


# --- values ----------------------------------------------------------------------------------------------------------


def missing(values: np.ndarray) -> np.ndarray:
    """Which of the values [n] are missing: NaN, None, NaT, pandas' NA, or a word for it in text."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind not in "OUS":
        return np.zeros(len(values), bool)
    return np.array([_is_missing(value) for value in values.tolist()], bool)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode("utf-8", "replace")
        return text.strip().lower() in MISSING_WORDS
    return isinstance(value, float | decimal.Decimal) and value != value


def as_text(values: np.ndarray) -> np.ndarray:
    """The values [n] as text: whole numbers without a point, and no space around."""
    values = values.astype(str) if values.dtype.kind in "mM" else values  # whose list would be one of integers
    return np.array([_text(value) for value in values.tolist()], object)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip().rstrip("\0")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value).strip().rstrip("\0")  # which text of NumPy loses


def plain_numbers(values: np.ndarray) -> np.ndarray | None:
    """The values [n] as float64, NaN where one is missing; None where not all others are numbers, or text of such."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "OUS":
        return None
    out = np.full(len(values), np.nan)
    for row, value in enumerate(values.tolist()):
        if _is_missing(value):
            continue
        number = _number(value)
        if number is None:
            return None
        out[row] = number
    return out


def _number(value: Any) -> float | None:
    if isinstance(value, str | bytes):
        text = _text(value)
        if _CODE.fullmatch(text) or "_" in text:
            return None
        try:
            return float(text)
        except ValueError:
            return None
    if isinstance(value, numbers.Real | decimal.Decimal):
        return float(value)
    return None


class Texts(ValueError):
    """A column of text that is neither numbers nor categories."""


# --- a column --------------------------------------------------------------------------------------------------------


def read(name: str, values: np.ndarray, kind: str | None = None, declared: bool = False) -> Column | None:
    """A column as numbers or categories; None where it is left out.

    Args:
        name: of the column.
        values: [n], of any type.
        kind: what the user says that it is, one of ``KINDS``; None: it is inferred.
        declared: its type says that it holds categories, as pandas' does.

    Raises:
        ValueError: it cannot be read; which record, and what to do.
    """
    if kind == "drop":
        return None
    there = ~missing(values)
    if not there.any():
        return None
    match KINDS.get(kind or "", kind):
        case "numeric":
            return _numeric(name, values)
        case "categorical":
            return _categorical(name, values, there)
        case "binary":
            return _binary(name, values, there)
    _refuse_times(name, values, there, declared)
    if declared or _is_interval(values[there.argmax()]):
        return _of_categories(name, values, there)
    if values.dtype.kind == "c":
        raise ValueError(f"column {name} holds complex numbers; give their real and imaginary parts as two columns")
    found = plain_numbers(values)
    if found is not None and not _all_booleans(values, there):
        told = ()
        if values.dtype.kind in "OUS" and any(isinstance(value, str | bytes) for value in values.tolist()):
            told = (f"Column {name}: numbers that were written as text.",)
        two = there.all() and bool(np.isin(found, (0, 1)).all())
        return Column(name, "binary" if two else "numeric", found, told)
    return _of_words(name, values, there)


def _of_categories(name: str, values: np.ndarray, there: np.ndarray) -> Column:
    """A column of categories, whatever they are: numbers, intervals, text."""
    found = plain_numbers(values)
    if found is None or _all_booleans(values, there):
        return _of_words(name, values, there, declared=True)
    if there.all() and np.isin(found, (0, 1)).all():
        return Column(name, "binary", found)
    column = _of_words(name, values, there, declared=True)
    told = f"Column {name}: its type says that its numbers are categories; `kinds={name}:number` reads them as numbers."
    return column._replace(notes=(*column.notes, told))


def _is_interval(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("left", "right", "closed"))  # of pandas, as pd.cut makes them


def _of_words(name: str, values: np.ndarray, there: np.ndarray, declared: bool = False) -> Column:
    """A column of booleans, words or text, inferred; or one whose type says that it holds categories."""
    texts = as_text(values)
    found = {*texts[there].tolist()}
    if _are_booleans(found):
        several = len({text.lower() for text in found}) < len(found)
        return _binary(name, values, there) if there.all() else _categorical(name, values, there, several)
    rows = np.flatnonzero(there)
    if not declared:
        good = [_number(text) is not None or bool(_CODE.fullmatch(text)) for text in texts[rows].tolist()]
        numbers_in_text.refuse(name, texts[rows], rows, np.array(good, bool), len(texts))
    different = len(found)
    if different > max(FEW, len(rows) // 2) or different > MOST:
        numbers_in_text.refuse_units(name, texts[rows], rows)
        raise Texts(
            f"column {name} has {different:,} different texts in {len(values):,} records"
            f" ({sanitize.quoted(str(texts[there.argmax()]))}, ...), as names, identifiers and sentences are: leave it"
            f" out with `kinds={name}:drop`, or say that they are categories with `kinds={name}:category`"
        )
    column = _categorical(name, values, there)
    told = () if declared else _begin_with_numbers(name, texts[there])
    return column._replace(notes=(*column.notes, *told))


def _are_booleans(different: set[str]) -> bool:
    """Whether texts are words for true and false, in any case: two, or more among which are whole ones."""
    words = {text.lower() for text in different}
    plain = len(words) == 2 or not words.isdisjoint(("true", "false", "yes", "no"))
    return plain and words <= TRUTHS.keys() and len({TRUTHS[word] for word in words}) == 2


def _begin_with_numbers(name: str, texts: np.ndarray) -> tuple[str, ...]:
    """That categories [n] are rather numbers ("47 years", "0x1f", "120/80"), in a sentence; nothing of others."""
    each = texts.tolist()
    like = [t.lstrip("+-")[:1].isdigit() and not _CODE.fullmatch(t) and not _RANGE.fullmatch(t) for t in each]
    example = next((text for text, one in zip(each, like, strict=True) if one and _number(text) is None), None)
    if example is None or sum(like) <= numbers_in_text.MOSTLY * len(each):
        return ()
    return (
        f"Column {name}: most of its values begin with a number ({sanitize.quoted(example)}), and each is a category of"
        f" its own: if they are measured, write plain numbers; else `kinds={name}:category` says that they are such.",
    )


def _all_booleans(values: np.ndarray, there: np.ndarray) -> bool:
    return values.dtype.kind == "b" or (
        values.dtype == object and all(isinstance(value, bool | np.bool_) for value in values[there])
    )


def _refuse_times(name: str, values: np.ndarray, there: np.ndarray, declared: bool) -> None:
    wrong = values[there.argmax()]
    dated = values.dtype.kind in "mM" or isinstance(wrong, datetime.date | datetime.time | datetime.timedelta)
    dated |= type(wrong).__name__ == "Period"  # of pandas
    if not dated and not declared and values.dtype.kind in "OUS":
        some = as_text(values[there][:100])
        dated = all(_DATE.fullmatch(text) for text in some.tolist())
    if dated:
        raise ValueError(
            f"column {name} holds dates or times ({wrong!s:.19}), and models take numbers: leave it out with"
            f" `kinds={name}:drop`, or make a number of it, as the year or the days since a day; few different ones may"
            f" be categories, `kinds={name}:category`"
        )
    plain = str | bytes | bool | np.bool_ | numbers.Real | decimal.Decimal
    if values.dtype == object and not isinstance(wrong, plain) and not _is_interval(wrong):
        raise ValueError(
            f"column {name} holds {type(wrong).__name__} (record {there.argmax()}), and models take numbers: give a"
            f" column for each number, or leave it out with `kinds={name}:drop`"
        )


def _numeric(name: str, values: np.ndarray) -> Column:
    found = plain_numbers(values)
    if found is None:
        wrong = [k for k, value in enumerate(values.tolist()) if not _is_missing(value) and _number(value) is None]
        row = wrong[0] if wrong else 0
        raise ValueError(
            f"column {name} is said to hold numbers, and {sanitize.quoted(str(values[row]))} in record {row} is none:"
            " mend it, or leave it empty"
        )
    return Column(name, "numeric", found)


def _categorical(name: str, values: np.ndarray, there: np.ndarray, fold: bool = False) -> Column:
    """A column of categories; ``fold``: upper and lower case are one."""
    texts = as_text(values)
    words = sorted({*filter(None, texts[[not ok and isinstance(v, str) for v, ok in zip(values, there, strict=True)]])})
    texts[~there] = MISSING
    told = f"Column {name}: {listed(map(sanitize.quoted, words))} {'is' if len(words) == 1 else 'are'} read as missing."
    notes = [told] if words else []
    if fold:
        notes += [f"Column {name}: words for true and false are read in any case."]
        texts = np.array([text if text == MISSING else text.lower() for text in texts.tolist()], object)
    elif doubt := spellings.doubt(sorted({*texts[there].tolist()}), "categories"):
        notes += [f"Column {name}: {doubt}"]
    return Column(name, "categorical", texts, tuple(notes))


def _binary(name: str, values: np.ndarray, there: np.ndarray) -> Column:
    texts = as_text(values)
    different = sorted({*texts[there].tolist()})
    if not there.all():
        raise ValueError(
            f"column {name} is said to be binary, and record {np.argmin(there)} lacks a value; `kinds={name}:category`"
            " makes that a category of its own"
        )
    lower = [text.lower() for text in different]
    known = all(text in TRUTHS for text in lower) and len({TRUTHS[text] for text in lower}) == min(2, len(different))
    if len(different) > 2 and not known:
        raise ValueError(f"column {name} is said to be binary, and has {len(different):,} values: {listed(different)}")
    one = [bool(TRUTHS[text]) for text in lower] if known else [text != different[0] for text in different]
    if all(_number(text) in (0, 1) for text in different):
        one = [_number(text) == 1 for text in different]
    codes = dict(zip(different, map(float, one), strict=True))
    told = (
        ()
        if values.dtype.kind in "biuf"
        else (f"Column {name}: " + ", ".join(f"{t} is {c:g}" for t, c in codes.items()) + ".",)
    )
    return Column(name, "binary", np.array([codes[text] for text in texts.tolist()]), told)


# --- as numbers ------------------------------------------------------------------------------------------------------


def encoded(column: Column, start: int, like: Field | None = None) -> tuple[np.ndarray, Field]:
    """A column as numbers [n, k] of a record, and the field that they are, from column ``start`` of the record on.

    Args:
        column: read.
        start: where its numbers begin.
        like: the field of the same column in other records, whose categories are the ones that there are.

    Raises:
        ValueError: a category that is not among these, or a value that is missing.
    """
    if column.kind != "categorical":
        values = column.values[:, None]
        if column.kind == "binary":
            return values, Field(column.name, "binary", start, start + 1)
        low, high = (float(f(column.values)) for f in (np.nanmin, np.nanmax))
        return values, Field(column.name, "numeric", start, start + 1, low, high)
    categories = in_order(column.values) if like is None else like.categories
    place = {category: k for k, category in enumerate(categories)}
    place |= {
        word: place[word.lower()]
        for word in {*column.values.tolist()} - {*place}
        if word.lower() in WORDS.keys() & place.keys()
    }
    codes = np.array([place.get(text, -1) for text in column.values.tolist()])
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        raise ValueError(
            f"column {column.name} has {sanitize.quoted(str(column.values[row]))} in record {row}, which is not among"
            f" the categories of the other records: {listed(categories)}; leave such records out"
        )
    block = codes[:, None] == np.arange(len(categories))
    return block, Field(column.name, "categorical", start, start + len(categories), categories=tuple(categories))


def in_order(texts: np.ndarray) -> list[str]:
    """The categories among texts [n] in order: numbers by value, what is missing last."""
    different = {*texts.tolist()} - {MISSING}
    by_value = all(_number(text) is not None for text in different)
    ordered = sorted(different, key=float) if by_value else sorted(different)
    return [*ordered, *([MISSING] if MISSING in texts else [])]


def parse_kinds(kinds: Any, names: Sequence[str]) -> dict[str, str]:
    """What the user says that columns are: a dict, or text as ``zip:category,id:drop``.

    Raises:
        ValueError: a kind or a column that there is not.
    """
    pairs = dict(kinds) if kinds and not isinstance(kinds, str) else _parsed(kinds or "")
    for name, kind in pairs.items():
        if kind not in KINDS:
            raise ValueError(f"`kinds` says {name}:{kind}, and the kinds are number, category, binary and drop")
        if name not in names:
            raise ValueError(f"`kinds` names the column {name}, and there are {listed(names)}")
    return pairs


def _parsed(text: str) -> dict[str, str]:
    pairs, name = {}, ""
    for part in filter(None, text.split(",")):
        name += part
        before, colon, kind = name.rpartition(":")
        if colon and kind.strip() in KINDS:
            pairs[before.strip()], name = kind.strip(), ""
        elif colon and "," not in part and not kind.strip().isidentifier():
            raise ValueError(f"`kinds={text}` must be columns and kinds, as in zip:category,id:drop")
        else:
            name += ","
    if name:
        raise ValueError(f"`kinds={text}` must be columns and kinds (number, category, binary, drop), as zip:category")
    return pairs
