"""What numbers somebody gives as answers: probabilities, logits, log-probabilities, one number for each record.

All entrances ask here: models in this process, saved answers, files of a plan. What is not probabilities is turned
into them and said; whoever has several arrays (target and shadows) refuses those of different kinds. Other numbers that
can be told (percentages, counts, logarithms to other bases) are refused with what makes probabilities of them.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from mia_jax.targets import answer_format
from mia_jax.targets.frameworks.heads import softmax

Kind = Literal["probabilities", "logits", "log-probabilities", "probabilities of class 1", "logits of class 1"]
SURE_OF_CLASS_1: Kind = "probabilities of class 1"
OF_CLASS_1: Kind = "logits of class 1"
READ = {  # a kind -> how it is read, in words
    "probabilities": "",
    "logits": "logits, of which softmax makes probabilities",
    "log-probabilities": "log-probabilities, of which exp makes probabilities",
    "probabilities of class 1": "one number for each record, read as the probability of class 1 of two",
    "logits of class 1": "one number for each record, beyond [0, 1]: read as the logit of class 1 of two (sigmoid)",
}

MANY = 20  # records of which some are above 0, where their numbers are logits


class Faulty(ValueError):
    """Numbers of no kind.

    Args:
        reason: what they look like, with what to do; or what is wrong with a row.
        row: that row.
        kinds: of several arrays that are of several kinds.
    """

    def __init__(self, reason: str, row: int | None = None, kinds: tuple[Kind, ...] | None = None):
        super().__init__(reason)
        self.reason, self.row, self.kinds = reason, row, kinds


class Read(NamedTuple):
    """Answers, read."""

    p: np.ndarray  # probabilities [..., c]
    kind: Kind

    @property
    def note(self) -> str:
        """How they were read, in words; nothing where they were probabilities."""
        return READ[self.kind]


def kind_of(values: np.ndarray, name: str = "p") -> Kind:
    """What kind of answers these are.

    Args:
        values: numbers [b, c]; [b] or [b, 1] of two classes.
        name: of the array, in what to do.

    Raises:
        Faulty: they are of no kind; all of them, or a row.
    """
    if values.ndim == 1 or values.shape[1] == 1:
        if not np.isfinite(values).all():
            raise Faulty("it is not finite", int(np.argmin(np.isfinite(values).reshape(len(values)))))
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high > 1:
            raise Faulty(
                f"one number for each record, from {low:.4g} to {high:.4g}: no probabilities of class 1, nor logits, of"
                f" which some are below 0; of percentages save {name} / 100"
            )
        if high <= 0 and len(values) >= MANY:
            raise Faulty(
                f"one number for each record, from {low:.4g} to {high:.4g}, none above 0: of log-probabilities of class"
                f" 1 save np.exp({name}); of logits, by which none is of class 1, np.stack([0 * {name}, {name}], -1)"
            )
        return "probabilities of class 1" if low >= 0 and high <= 1 else "logits of class 1"
    wrong = answer_format.faults(values, answer_format.recognize(np.nan_to_num(values)))
    if not wrong:
        return "probabilities"
    rows = values[~(np.isnan(values) | (values == np.inf)).any(axis=1)]
    if 1 < len(rows) <= 2 * len(wrong):
        kind = answer_format.mistaken_for(rows)
        if kind == "log-probabilities":
            return kind
        if kind == "logits" and (rows < 0).any() and np.isfinite(rows).all():
            return kind
        if kind != "logits":
            raise Faulty(
                answer_format.advice(name, rows)
                or f"{name}: its rows look like {kind} ({answer_format.beginning(rows[0])}), each of its own: save"
                f" {name} / {name}.sum(axis=-1, keepdims=True), if each record has one class"
            )
    row, reason = next(iter(wrong.items()))
    raise Faulty(reason, row)


def probabilities(values: np.ndarray, kind: Kind) -> np.ndarray:
    """Answers [..., c], or [...] and [..., 1] of class 1, as probabilities [..., c]; of float16 logits as float32."""
    if kind == "probabilities":
        return values
    if kind == "probabilities of class 1":
        return np.stack([1 - values, values], axis=-1)
    values = values.astype(np.float32) if values.dtype.itemsize < 4 or values.dtype.kind != "f" else values
    if kind == "logits of class 1":
        values = np.stack([np.zeros_like(values), values], axis=-1)
    if kind == "log-probabilities":  # exp, and the last digit of the sum
        values = np.maximum(values, np.finfo(values.dtype).min)
    return softmax(values.reshape(-1, values.shape[-1])).reshape(values.shape)


def read(values: np.ndarray, name: str = "p", kind: Kind | None = None) -> Read:
    """Answers about b records, of the kind that is known or that they show.

    Args:
        values: numbers [b, c]; [b] or [b, 1] of two classes.
        name: of the array, in what to do.
        kind: what they are, where it is known.

    Raises:
        Faulty: they are of no kind, or not of this one.
    """
    if kind is not None and kind.endswith("class 1") != (values.ndim == 1 or values.shape[1] == 1):
        raise Faulty(f"its numbers have shape {values.shape}, and {kind} were seen before")
    found = kind_of(values, name) if kind in (None, "probabilities") else kind  # of few rows others show in nothing
    if found not in (kind, None) and kind is not None:
        raise Faulty(f"its numbers are {found}, and {kind} were seen before")
    wrong = np.isnan(values) | (values == np.inf) | ((values == -np.inf) & (found != "log-probabilities"))
    if wrong.any():
        raise Faulty("it is not finite", int(np.argmax(wrong.reshape(len(values), -1).any(axis=1))))
    column = values.reshape(len(values)) if found.endswith("class 1") else values
    return Read(probabilities(column, found), found)


def together(arrays: Mapping[str, np.ndarray]) -> dict[str, Read]:
    """Answers of several models about the same records, all of one kind.

    Args:
        arrays: name -> numbers [b, c], [b] or [b, 1].

    Raises:
        Faulty: those of one are of no kind, or of another one than the first's; it names the array.
    """
    out: dict[str, Read] = {}
    for name, values in arrays.items():
        try:
            out[name] = read(values, name)
        except Faulty as error:
            if error.row is None:
                raise
            raise Faulty(
                f"{name}, record {error.row}: {error.reason}; needed: probabilities, or logits of all"
            ) from None
    kinds: dict[Kind, str] = {}
    for name, one in out.items():
        kinds.setdefault(one.kind, name)
    if len(kinds) > 1:
        told = ", and ".join(f"{name} holds {kind}" for kind, name in kinds.items())
        raise Faulty(f"answers are of several kinds ({told}, as they look): save the same of all", kinds=tuple(kinds))
    return out


class OfModels(NamedTuple):
    """Answers of a target and of shadows, read."""

    target: np.ndarray | None  # probabilities [n, c]
    shadows: np.ndarray  # probabilities [S, n, c]
    note: str  # what was made of them, in a sentence; "" of probabilities


def of_models(target: np.ndarray | None, shadows: np.ndarray) -> OfModels:
    """Answers of a target and of shadows about the same records, all of one kind, as probabilities.

    Args:
        target: numbers [n, c]; [n] or [n, 1] of two classes. None: of the shadows alone.
        shadows: the same of S shadows, [S, n, c], [S, n] or [S, n, 1]; beside a target, S may be 0.

    Raises:
        Faulty: as ``together``.
    """
    arrays = {f"shadows[{k}]": p for k, p in enumerate(shadows)}
    read = together(arrays if target is None else {"target": target, **arrays})
    one = next(iter(read.values()))
    whose = "the shadows" if target is None else "target and shadows"
    note = f"Answers of {whose} are {one.note}." if one.note else ""
    of_shadows = [read[name].p for name in arrays]
    if one.kind != "probabilities":
        shadows = np.stack(of_shadows) if of_shadows else np.zeros((0, *one.p.shape))
    return OfModels(None if target is None else one.p, shadows, note)
