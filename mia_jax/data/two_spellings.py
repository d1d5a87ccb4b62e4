"""Values of a column that are written in one way in members and in another in the others: 10115 and "10115.0".

As where the two came from two files: one with gaps, of which pandas made floats, one from which a spreadsheet took the
zeros in front. The model saw members' way alone, and a classifier that knows no value twice cannot tell the sides.
"""

import re
from collections import defaultdict
from typing import Any

import numpy as np

from mia_jax.data import columns, spellings, tables
from mia_jax.types import Array

LONGEST = 40  # characters of a value that are shown
CHANCE = -14.0  # natural logarithm, below which chance does not put the two ways on two sides: 1 in a million
_WHOLE = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")


def notes(x: Any, member: Array | None) -> list[str]:
    """What is to be said of records, in sentences.

    Args:
        x: records [n, *f] of any kind; of data frames each column that may hold texts is looked at.
        member: bool [n], who trained the target; None: nothing is told.
    """
    if member is None:
        return []
    mine = np.asarray(member, bool)
    for column, values in tables.of_words(x):
        if column and (found := _parted(values, mine)):
            one, other = (text[:LONGEST] for text in found[0])
            more = f" ({len(found) - 1} more such values)" if len(found) > 1 else ""
            return [
                f"In {column} members' values are written in one way and the others' in another: {one!r} and"
                f" {other!r}{more}. To a model these are two values, and members are told by the writing alone: write"
                " all as those that the models were trained on."
            ]
    return []


def _parted(values: np.ndarray, mine: np.ndarray) -> list[tuple[str, str]]:
    """Members' and others' way of each value that has two, if all are so and chance is not why; else none."""
    there = np.flatnonzero(~columns.missing(values)) if values.dtype.kind == "O" else np.arange(len(values))
    ways: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for row, value in zip(there.tolist(), values[there].tolist(), strict=True):
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        count = ways[_bare(text)].setdefault(text, [0, 0])
        count[not mine[row]] += 1
    share, found, chance = float(mine.mean()), [], 0.0
    for way in (way for way in ways.values() if len(way) > 1):
        if len(way) > 2 or any(all(count) for count in way.values()):
            return []
        (one, (first, outside)), (other, (second, beyond)) = way.items()
        if bool(first) != bool(second):  # else both are of one side
            chance += (first + second) * np.log(share) + (outside + beyond) * np.log(1 - share)
            found.append((one, other) if first else (other, one))
    return found if chance < CHANCE else []


def _bare(text: str) -> str:
    """A value without what two files write otherwise: zeros in front, ".0" behind, case, spaces."""
    number = _WHOLE.fullmatch(text.strip())
    return f"{number[1].strip('+')}{number[2]}" if number else spellings.bare(text)
