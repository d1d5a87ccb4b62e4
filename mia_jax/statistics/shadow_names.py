"""What messages call shadows: by their rows of what the user gave, or by the numbers of their models."""

import re
from collections.abc import Sequence

import numpy as np

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
