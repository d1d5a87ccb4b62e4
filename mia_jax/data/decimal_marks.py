"""Numbers in text whose decimal point is a comma, or whose thousands a mark separates."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from mia_jax.data import columns, numbers_in_text

COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})*|0)")  # 1.100 is 1100 where a comma is the decimal point

BOTH = 5  # numbers with a point, and without, of a column of thousands where a comma separates no decimals


def has_commas(values: np.ndarray) -> bool:
    """Whether values [n] are text of numbers, some with a comma."""
    if values.dtype != object:
        return False
    there = [text for text in values.tolist() if not columns._is_missing(text)]
    return bool(there) and any("," in text for text in there) and all(map(COMMA.fullmatch, there))


def among_words(values: np.ndarray) -> np.ndarray | None:
    """Which of text [n] are numbers, some with a comma, bool [n]: nearly all, or all but words for none; else None."""
    if values.dtype != object:
        return None
    there = ~columns.missing(values)
    good = np.array([bool(COMMA.fullmatch(text)) for text in values.tolist()], bool) & there
    words = {text.lower() for text in values[there & ~good].tolist()}
    least = numbers_in_text.SOME if words <= numbers_in_text.NONE_WORDS else numbers_in_text.NEARLY
    few = not good.any() or good.sum() < least * there.sum()
    return None if few or not any("," in text for text in values[good].tolist()) else good


def plain_among(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Text [n] whose numbers, where ``good``, are written with a decimal point and no other mark."""
    values = values.copy()
    values[good] = [text.replace(".", "").replace(",", ".") for text in values[good].tolist()]
    return values


def has_points(found: Iterable[np.ndarray]) -> bool:
    """Whether a column [n] of numbers has some with a decimal point."""
    return any((part[np.isfinite(part)] % 1 != 0).any() for part in found if part.dtype.kind == "f")


def in_groups(values: Sequence[str], numbers: np.ndarray | None) -> tuple[int, int] | None:
    """How many values [n] are as 1.100, with three digits after each point, and how many as 57; None: others are there.

    No program writes decimals so: 1.100 is 1.1, and beside it 57 is 57.0.

    Args:
        values: as they are written.
        numbers: float64 [n], the same; None: they are no numbers.
    """
    if numbers is not None and "." not in "".join(values):
        known = numbers[np.isfinite(numbers)]
        return (0, len(known)) if ((known % 1 == 0) & (np.abs(known) < 1000)).all() else None
    there = [value.strip() for value in values if not columns._is_missing(value)]
    pointed = sum("." in value for value in there)
    return (pointed, len(there) - pointed) if all(map(THOUSANDS.fullmatch, there)) else None


def is_sure(values: np.ndarray) -> bool:
    """Whether a comma can be but the decimal point: in text [n] that has it not before three digits alone."""
    there = [text for text in values.tolist() if not columns._is_missing(text)]
    return any("." in text or not THOUSANDS.fullmatch(text.replace(",", ".")) for text in there)


def as_marked(values: np.ndarray, thousands: str = ".") -> np.ndarray:
    """Text [n] as numbers [n], with a mark that separates thousands; a comma that is not it is the decimal point."""
    plain = [text.replace(thousands, "").replace(",", ".") for text in values.tolist()]
    return np.array([np.nan if columns._is_missing(text) else float(text) for text in plain])
