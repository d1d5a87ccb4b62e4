"""What a service calls its classes: as the labels beside the records, or once, in a list, for all columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LISTS = ("classes", "class_names", "classes_", "labels", "label_names", "target_names", "categories", "columns")


def are_called(reply: Iterable[Any], names: Sequence[str]) -> bool:
    """Whether a service calls its classes by these names: each of the scores of a record, or the labels it answers."""
    if not names:
        return False
    if all(isinstance(row, dict) for row in reply):
        return all(set(map(str, row)) == set(names) for row in reply)
    return all(isinstance(value, str) and value in names for value in reply)


def of_columns(value: Mapping[str, Any], rows: Sequence[Any] | np.ndarray) -> list[str] | None:
    """What an answer calls its columns, as ``{"classes": ["cat", "dog"], "probabilities": [[...], ...]}`` does.

    Args:
        value: the answer.
        rows: what is read of it, one element per record.

    Returns:
        The names, one for each column; None where there are none, or they are 0, 1, ... in order.
    """
    told = [row for row in rows if row is not None]
    width = len(told[0]) if told and isinstance(told[0], (list, np.ndarray)) else 0
    if width < 2 or any(not isinstance(row, (list, np.ndarray)) or len(row) != width for row in told):
        return None
    inside = [one for one in value.values() if isinstance(one, Mapping)]  # an envelope
    for names in (one.get(key) for one in (value, *inside) for key in LISTS):
        if not isinstance(names, list) or len(names) != width or not all(isinstance(one, (str, int)) for one in names):
            continue
        called = [str(one) for one in names]
        if len(set(called)) < width or called == [str(k) for k in range(width)]:
            continue
        best = [int(np.argmax(np.asarray(row, np.float64))) for row in told]
        labels = len(rows) == width and len(set(best)) == width  # of as many records as classes, each its own best
        return None if labels and (called == [str(k) for k in best] or not called[0].isdigit()) else called
    return None
