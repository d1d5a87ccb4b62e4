"""Which of the tensors of an Open Inference reply are the answers, and what is said of those in another layout.

The protocol wants data row by row and leaves open what the outputs are: one of probabilities, one of labels, a label
beside its score, one for each class.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import sanitize
from mia_jax.targets.remote import answer_keys
from mia_jax.targets.remote.replies import Reply, Scored, Unknown

OFF = 0.05  # from 1, of the sum of probabilities that are rounded


def answers(outputs: Sequence[Mapping[str, Any]], b: int) -> Reply:
    """The reply to b records from a reply's ``outputs``.

    Raises:
        Unknown: its layout is another one than the protocol's, or the classes cannot be told.
        ValueError, KeyError, TypeError: it is none.
    """
    likely = [o for o in outputs if "prob" in o["name"].lower()] or [o for o in outputs if _is_float(o)]
    tensor = _of_all(outputs, b) or (likely or outputs)[0]
    values = _values(tensor)
    if values.dtype != object:
        _refuse_transposed(values, b)
    if values.size != len(values):
        return _noted(tensor, values, outputs)
    column = values.reshape(-1)
    if len(outputs) > 1 and _is_float(tensor) and len(column) == b:
        if (by_class := _by_class(outputs, b)) is not None:
            return by_class
        if (labels := _labels_beside(outputs, b)) is not None:
            own = bool((labels > 1).any())  # of two classes it may be the second one's
            return [Scored(label, score, own) for label, score in zip(labels.tolist(), column.tolist(), strict=True)]
    return column.tolist()


def _of_all(outputs: Sequence[Mapping[str, Any]], b: int) -> Mapping[str, Any] | None:
    """Which of several outputs of more than one number for each record is read; None where there are no several.

    Raises:
        InputError: several hold probabilities, and they differ.
    """
    wide = {o["name"]: o for o in outputs if _is_float(o) and len(o["shape"]) == 2 and o["shape"][0] == b < _size(o)}
    named = [name for name in wide if answer_keys.rank(name) < answer_keys.OTHER] or [*wide]
    if len(wide) < 2:
        return None
    named = sorted(named, key=answer_keys.rank)
    return wide[answer_keys.one(named, {name: _values(wide[name]) for name in named})]


def _noted(tensor: Mapping[str, Any], values: np.ndarray, outputs: Sequence[Mapping[str, Any]]) -> Reply:
    """The reply with what is to be said: which output was read, and which were left."""
    name, how = tensor["name"], ""
    if answer_keys.are_logarithms(name) and values.dtype != object:
        values, how = answer_keys.softmax(values), answer_keys.AS_LOGITS
    left = [o["name"] for o in outputs if o["name"] != name]
    said = answer_keys.said(name, left, how)
    return answer_keys.Noted([*values], said) if said else values


def _is_float(tensor: Mapping[str, Any]) -> bool:
    return tensor["datatype"][:2] == "FP"


def _values(tensor: Mapping[str, Any]) -> np.ndarray:
    kind = object if tensor["datatype"] == "BYTES" else np.float64  # null becomes NaN, and is found out later
    return np.asarray(tensor["data"], kind).reshape(tensor["shape"])


def _refuse_transposed(values: np.ndarray, b: int) -> None:
    """Refuse probabilities of which only the other reading is one distribution for each record."""
    if b < 2 or values.ndim != 2 or 1 in values.shape or _are_distributions(values):
        return
    n, c = values.shape
    if n != b == c and _are_distributions(values.T):
        raise Unknown(
            f"its outputs are [classes, records], {n} x {c} for {b} records: transpose them, a row for each record"
        )
    if n == b and _are_distributions(values.reshape(-1).reshape(c, n).T):
        raise Unknown(
            "the numbers of its output stand column by column (so read, each record's sum to 1): send them row by row,"
            " as the protocol wants it (of an array p in NumPy: p.ravel().tolist(), and the shape of p)"
        )


def _are_distributions(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= OFF).all())


def _by_class(outputs: Sequence[Mapping[str, Any]], b: int) -> np.ndarray | None:
    """Probabilities [b, c] from an output for each class, in the order of the numbers that end their names.

    Raises:
        Unknown: the names do not end in the numbers 0, 1, ...
    """
    single = [o for o in outputs if _is_float(o) and _size(o) == b]
    p = np.stack([_values(o).reshape(-1) for o in single], axis=1)
    if len(single) < 2 or not _are_distributions(p):
        return None
    names = [o["name"] for o in single]
    number = [int(end[0]) if (end := re.search(r"\d{1,6}$", name)) else -1 for name in names]
    if sorted(number) == [*range(len(number))]:
        return p[:, np.argsort(number)]
    called = ", ".join(map(sanitize.quoted, names[:4])) + ", ..." * (len(names) > 4)
    raise Unknown(
        f"it has {len(single)} outputs of one number for each record ({called}), a class each, and which is which"
        " cannot be told: serve one output, [records, classes], or let their names end in the numbers of the classes"
    )


def _labels_beside(outputs: Sequence[Mapping[str, Any]], b: int) -> np.ndarray | None:
    """Labels int [b] of one output beside one of scores; None where there is anything else."""
    others = [o for o in outputs if not _is_float(o)]
    if len(outputs) != 2 or len(others) != 1 or "INT" not in others[0]["datatype"] or _size(others[0]) != b:
        return None
    return _values(others[0]).reshape(-1).astype(np.int64)


def _size(tensor: Mapping[str, Any]) -> int:
    return int(np.prod(tensor["shape"], dtype=np.float64))
