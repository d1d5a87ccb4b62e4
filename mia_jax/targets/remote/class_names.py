"""Whether a service calls its classes as the labels beside the records are called."""

from collections.abc import Iterable, Sequence
from typing import Any


def are_called(reply: Iterable[Any], names: Sequence[str]) -> bool:
    """Whether a service calls its classes by these names: each of the scores of a record, or the labels it answers."""
    if not names:
        return False
    if all(isinstance(row, dict) for row in reply):
        return all(set(map(str, row)) == set(names) for row in reply)
    return all(isinstance(value, str) and value in names for value in reply)
