"""Which of several keys of a JSON answer is read: probabilities of all classes before labels, and what is left is said.

Services tell a label and the probabilities side by side: as lists of all records, or in an object for each record.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from mia_jax import sanitize
from mia_jax.targets import class_columns
from mia_jax.types import InputError

LABELS = (
    *("classes", "labels", "displayNames", "label", "displayName", "class", "predicted_label", "prediction"),
    *("predicted_class", "predicted", "pred"),
)
ENVELOPES = ("predictions", "outputs", "output", "results", "result", "instances", "data", "response", "prediction")
OFF = 0.02  # from 1, of the sum of probabilities that are rounded
SAME = 1e-6  # so near, two keys hold the same numbers

_LOGARITHMS = re.compile(r"logit|log[ _-]?(prob|softmax|likelihood)", re.IGNORECASE)  # up to a constant of each record
_NAMED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"prob|softmax|likelihood|posterior",
        r"scor|confid",
        r"^(predictions?|outputs?|results?)$",
    )
)


class Picked(NamedTuple):
    """The answers under one key.

    Attributes:
        rows: one for each record.
        said: which key was read and which was left; "" where nothing was left.
    """

    rows: list[Any]
    said: str


class Noted(list):
    """A reply, one element per record, with what is to be said of it.

    Attributes:
        said: a line.
    """

    def __init__(self, rows: Iterable[Any], said: str):
        super().__init__(rows)
        self.said = said


def pick(value: Any, b: int) -> Picked | None:
    """What is read of an answer about b records; None where it leaves no choice.

    Args:
        value: JSON: ``{"predictions": [...], "probabilities": [[...], ...]}``, also under a name of its own, or a list
            of objects.

    Raises:
        InputError: several keys hold probabilities of all classes, and they differ.
    """
    if isinstance(value, dict):
        if picked := _of_columns(_lists_of(value, b)):
            return picked
        inside = [value[name] for name in ENVELOPES if isinstance(value.get(name), (dict, list))]
        if len(inside) != 1:
            return None
        value = inside[0]
        if isinstance(value, dict):
            return _of_columns(_lists_of(value, b), alone=True)
    return _of_records(value, b)


def _lists_of(value: Mapping[str, Any], b: int) -> dict[str, list[Any]]:
    """What an object holds for each of b records, by key."""
    return {str(key): rows for key, rows in value.items() if isinstance(rows, list) and len(rows) == b}


def _of_records(value: Any, b: int) -> Picked | None:
    """The same of a list of objects, one for each record (null where the service abstains)."""
    if not isinstance(value, list) or len(value) != b:
        return None
    told = [one for one in value if one is not None]
    if not told or not isinstance(told[0], dict) or len(told[0]) < 2:
        return None
    if not all(isinstance(one, dict) and one.keys() == told[0].keys() for one in told):
        return None
    if any(isinstance(told[0][key], list) for key in LABELS if key in told[0]):
        return None  # classes beside their scores, which belong together
    columns = {str(key): [None if one is None else one[key] for one in value] for key in told[0]}
    return _of_columns(columns, zipped=False) or _of_classes(columns)


def _of_classes(columns: Mapping[str, list[Any]]) -> Picked | None:
    """Probabilities of which each has a key of its own, p0, p1, ..., perhaps beside a label, as H2O answers."""
    labels = [name for name in columns if name in (*LABELS, "predict")]
    names = [name for name in columns if name not in labels]
    rows = [None if None in row else list(row) for row in zip(*(columns[name] for name in names), strict=True)]
    if len(labels) > 1 or len(names) < 2 or _distributions(rows) is None:
        return None
    order = class_columns.order_of(names, ())
    if order is not None and not all(name.isdigit() for name in names):
        first = f"{_listed([names[k] for k in order[:4]])}{', ...' * (len(order) > 4)}"
        read = f"{first} of its answers are read in this order, as the classes"
        left = f", and {sanitize.quoted(labels[0])} beside them is left" if labels else ""
        return Picked([None if row is None else [row[k] for k in order] for row in rows], read + left)
    if not labels:
        return None
    kept = [None if row is None else dict(zip(names, row, strict=True)) for row in rows]
    return Picked(kept, f"of its answers {sanitize.quoted(labels[0])} is left beside probabilities of classes")


def _of_columns(columns: Mapping[str, list[Any]], *, alone: bool = False, zipped: bool = True) -> Picked | None:
    """What is read of answers by key; None where no key is known to hold probabilities.

    Args:
        alone: the only key is read, too.
        zipped: labels, and their scores under another key, become an object for each record.
    """
    found = [name for name in sorted(columns, key=rank) if rank(name) < OTHER and _are_of_all(columns[name])]
    labels = [name for name in LABELS if name in columns]
    if not found:
        return (zipped and _zipped(columns, labels)) or _without(columns) or _only(columns, alone)
    read = one(found, columns)
    if zipped and (names := next((name for name in labels if name != read and _lists(columns[name])), None)):
        pairs = zip(columns[names], columns[read], strict=True)
        return Picked([{"labels": some, "scores": scores} for some, scores in pairs], "")  # the k best
    rows, how = columns[read], ""
    if are_logarithms(read) and all(isinstance(row, list) for row in rows if row is not None):
        rows = [None if row is None else softmax(np.asarray(row, np.float64)).tolist() for row in rows]
        how = AS_LOGITS
    left = [name for name in columns if name != read and (name in labels or rank(name) < OTHER)]
    return Picked(rows, said(read, left, how))


def said(read: str, left: Sequence[str], how: str = "") -> str:
    """Which key was read, ``how``, and which were left; "" where nothing is to be said."""
    if not (left or how):
        return ""
    beside = f", and {_listed(left)} beside it {'is' if len(left) == 1 else 'are'} left" if left else ""
    return f"of its answers {sanitize.quoted(read)} is read{how}{beside}"


def are_logarithms(name: str) -> bool:
    """Whether a name is that of logits, or of logarithms of probabilities."""
    return _LOGARITHMS.search(name) is not None


OTHER = 9  # the rank of a key that says nothing of probabilities
AS_LOGITS = ", as logits by a softmax"


def rank(name: str) -> int:
    """How a key's name speaks for probabilities of all classes: 0 most, OTHER not at all."""
    if are_logarithms(name):
        return len(_NAMED)
    return next((rank for rank, pattern in enumerate(_NAMED) if pattern.search(name)), OTHER)


def _are_of_all(rows: Sequence[Any]) -> bool:
    """Whether each record has several numbers, or several classes with theirs."""
    told = [row for row in rows if row is not None]
    if not told or not all(isinstance(row, (list, dict)) and len(row) > 1 for row in told):
        return False
    if isinstance(told[0], dict) and any(name in told[0] for name in LABELS):
        return False
    first = list(told[0].values()) if isinstance(told[0], dict) else told[0]
    return all(isinstance(one, dict) for one in first) or _numbers(first) is not None


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError):
        return None


def _lists(rows: Sequence[Any]) -> bool:
    return any(isinstance(row, list) and len(row) > 1 for row in rows)


def one(found: Sequence[str], columns: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """Which of several keys is read: the best named of those that hold probabilities.

    Args:
        found: the keys, the best named first.
        columns: what they hold, a row for each record [b, ...].

    Raises:
        InputError: several hold probabilities, and they differ.
    """
    if len(found) == 1:
        return found[0]
    tables = {name: p for name in found if (p := _distributions(columns[name])) is not None}
    soft = [name for name, p in tables.items() if not _one_hot(p)] or list(tables)
    if not soft:
        return found[0]
    first = tables[soft[0]]
    others = [name for name in soft[1:] if not _alike(first, tables[name])]
    if others:
        raise InputError(
            f"{_listed([soft[0], *others])} of its answers all hold probabilities, other ones each, and which the"
            " attack is on cannot be told: serve one of them, or ask the service yourself and give what it answered"
            " (`mia_jax.audit(p, x, y, member)`)"
        )
    return soft[0]


def _distributions(rows: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    """The numbers [b, c] where each row (but those without an answer) is a distribution; else None."""
    told = [list(row.values()) if isinstance(row, dict) else row for row in rows if row is not None]
    p = _numbers(told)
    if p is None or p.ndim != 2 or not len(p := p[np.isfinite(p).all(axis=1)]):
        return None
    return p if ((p >= 0) & (p <= 1 + SAME)).all() and (np.abs(p.sum(axis=1) - 1) <= OFF).all() else None


def _one_hot(p: np.ndarray) -> bool:
    return bool(((p == 0) | (p == 1)).all())


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((np.abs(a - b) <= SAME).all())


def softmax(z: np.ndarray) -> np.ndarray:
    """Probabilities [..., c] from logits; NaN, and what is infinite, stays to be found out later, without a warning."""
    with np.errstate(invalid="ignore"):
        return special.softmax(z, axis=-1)


def _zipped(columns: Mapping[str, list[Any]], labels: Sequence[str]) -> Picked | None:
    """A label and its one score for each record, where they stand under two keys."""
    names = [*labels, *(["predictions"] if "predictions" in columns else [])]
    scores = [name for name in columns if rank(name) < 2 and _are_scores(columns[name])]
    if len(names) != 1 or len(scores) != 1 or any(isinstance(one, (list, dict)) for one in columns[names[0]]):
        return None
    key = "predicted_label" if names[0] == "predicted_label" else "label"
    pairs = zip(columns[names[0]], columns[scores[0]], strict=True)
    rows = [None if label is None else {key: label, "score": score} for label, score in pairs]
    return Picked(rows, f"of its answers {sanitize.quoted(names[0])} is read with {sanitize.quoted(scores[0])} beside")


def _are_scores(rows: Sequence[Any]) -> bool:
    if any(isinstance(row, (list, dict, str)) for row in rows) or (p := _numbers(rows)) is None:
        return False
    return bool(((p >= 0) & (p <= 1)).any() and not (p[np.isfinite(p)] > 1).any() and (p % 1 != 0).any())


def _without(columns: Mapping[str, list[Any]]) -> Picked | None:
    """Labels, where what stands beside them is not called probabilities, and might be some."""
    left = [name for name, rows in columns.items() if name not in ENVELOPES and _distributions(rows) is not None]
    if not left or "predictions" not in columns:
        return None
    return Picked(columns["predictions"], said("predictions", left) + ": where it is probabilities, name it so")


def _only(columns: Mapping[str, list[Any]], alone: bool) -> Picked | None:
    known = [name for name in columns if name in LABELS or rank(name) < OTHER]
    return Picked(columns[known[0]], "") if alone and len(known) == 1 else None


def _listed(names: Sequence[str]) -> str:
    *some, last = map(sanitize.quoted, names)
    return f"{', '.join(some)} and {last}" if some else last
