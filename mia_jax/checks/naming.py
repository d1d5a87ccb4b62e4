"""What messages call models and rows: as the user has them. NumPy."""

import re
from collections.abc import Sequence

import numpy as np

from mia_jax.types import few_of

_NAMED = re.compile(r"\b([Ss]hadows? \(?)(\d+(?:(?:, | and )\d+)*)(?=[ ',)])|\b(fit row )(\d+)\b")


def with_numbers(text: str, numbers: Sequence[int] | np.ndarray) -> str:
    """A message that names shadows by their place among those that were looked at, with their own numbers instead.

    Args:
        text: of it, as "Shadows 0, 3 (counted from 0) ..." and "shadow 1's answers fit row 2".
        numbers: int [S], of the shadows that were looked at: their rows of what the user gave, or their models'.
    """

    def named(found: re.Match[str]) -> str:
        before, places = (found[1], found[2]) if found[1] else (found[3], found[4])
        return before + re.sub(r"\d+", lambda place: str(numbers[int(place[0])]), places)

    return _NAMED.sub(named, text)


def shadows(which: Sequence[int] | np.ndarray) -> str:
    """``shadow 2 (counted from 0)``, or ``shadows 2, 5``, of shadows' places int [k]."""
    return f"shadow{'s' * (len(which) > 1)} {few_of(which)} (counted from 0)"


def models(which: Sequence[int] | np.ndarray, between: str = " and ") -> str:
    """``the target and shadows 2, 5 (counted from 0)``, of models int [k]: 0 is the target, 1 + k shadow k."""
    of_shadows = [int(k) - 1 for k in which if k]
    return between.join((["the target"] if 0 in which else []) + ([shadows(of_shadows)] if of_shadows else []))


def rows(first: int, last: int) -> str:
    """``rows 3 to 9 (counted from 0)``."""
    return f"rows {first} to {last} (counted from 0)"


def some_rows(which: np.ndarray) -> str:
    """``rows 3 to 9, counted from 0``, or the first of rows int [k] that are not side by side; for parentheses."""
    if which[-1] - which[0] == len(which) - 1:
        return f"rows {which[0]} to {which[-1]}, counted from 0"
    return f"rows {few_of(which)}, counted from 0"


def so_many_rows(by: int) -> str:
    """``one row``, or ``2 rows``: how far something slipped."""
    return "one row" if abs(by) == 1 else f"{abs(by):,} rows"


def beside(by: int) -> str:
    """``after``, or ``2 before``: how far the record ``by`` rows on is."""
    return f"{'' if abs(by) == 1 else f'{abs(by)} '}{'after' if by > 0 else 'before'}"


def ranges(column: str, mine: tuple[float, float], other: tuple[float, float], called: tuple[str, str]) -> str:
    """From where to where a column's numbers are in the second of two files, and in the first."""
    return (
        f"{column} from {other[0]:.4g} to {other[1]:.4g} in {called[1]}, and from {mine[0]:.4g} to {mine[1]:.4g} in"
        f" {called[0]}"
    )


def percent(share: float) -> str:
    """A share as a percentage with three digits: 97.3%."""
    return f"{100 * share:.3g}%"
