"""What numbers somebody gives as answers: probabilities, logits, log-probabilities, one number for each record.

All entrances ask here: models in this process, saved answers, files of a plan. What is not probabilities is turned
into them and said; whoever has several arrays (target and shadows) refuses those of different kinds. Other numbers that
can be told (percentages, counts, logarithms to other bases) are refused with what makes probabilities of them.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from mia_jax import sanitize
from mia_jax.data import columns
from mia_jax.targets import answer_format, other_numbers

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

INFINITE: dict[Kind, str] = {  # of a kind in which some numbers are infinite, in words
    "logits": ", 0 for a class whose logit is -inf",
    "logits of class 1": ", 1 where it is inf and 0 where it is -inf",
}
ROUNDED = 1e-5  # above 1, by the last digits of a sum
WHOLE = 1e-3  # how far from 1 the probabilities of a row may sum of which all log-probabilities are there
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
    infinite: bool = False  # some logits are: what is masked with -inf, or the logit of 0 or 1

    @property
    def note(self) -> str:
        """How they were read, in words; nothing where they were probabilities."""
        return READ[self.kind] + (INFINITE.get(self.kind, "") if self.infinite else "")


def unreadable(values: np.ndarray) -> np.ndarray:
    """Which rows of numbers are no answers of any kind, bool [b]: NaN, infinity, nothing but -inf.

    A class with -inf is one with probability 0, as a mask among logits or the logarithm of 0; of the one number of a
    record both infinities are the logits of 0 and 1.

    Args:
        values: numbers [b, c]; [b] or [b, 1] of two classes.
    """
    if values.ndim == 1 or values.shape[1] == 1:
        return np.isnan(values).reshape(len(values))
    return (np.isnan(values) | (values == np.inf)).any(axis=1) | (values == -np.inf).all(axis=1)


def kind_of(values: np.ndarray, name: str = "p") -> Kind:
    """What kind of answers these are.

    Args:
        values: numbers [b, c]; [b] or [b, 1] of two classes.
        name: of the array, in what to do.

    Raises:
        Faulty: they are of no kind; all of them, or a row.
    """
    if values.ndim == 1 or values.shape[1] == 1:
        return _of_column(values, name)
    wrong = answer_format.faults(values, answer_format.recognize(np.nan_to_num(values)))
    if not wrong:
        return "probabilities"
    no_answer = unreadable(values)
    rows = values[~no_answer]
    if said := other_numbers.of_no_class(name, rows):
        raise Faulty(said)
    if 1 < len(rows) <= 2 * len(wrong) and (kind := _of_rows(rows, name)):
        return kind
    row, reason = next(((row, reason) for row, reason in wrong.items() if no_answer[row]), next(iter(wrong.items())))
    raise Faulty(reason, row)


def _of_column(values: np.ndarray, name: str) -> Kind:
    """What one number for each record is, [b] or [b, 1]. Raises Faulty."""
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 + ROUNDED:  # a mean of several in float32 may be a little above 1
        high = min(high, 1.0)
    broken = np.isnan(values) if low < 0 else ~np.isfinite(values)
    if broken.any():
        raise Faulty("it is not finite", int(np.argmax(broken.reshape(len(values)))))
    if low >= 0 and high > 1:
        raise Faulty(
            f"one number for each record, from {low:.4g} to {high:.4g}: no probabilities of class 1, nor logits, of"
            f" which some are below 0; of percentages save {name.partition('[')[0]} / 100, of logits, by which all are"
            f" of class 1, 1 / (1 + np.exp(-{name.partition('[')[0]}))"
            + (
                f"; of labels {name.partition('[')[0]}.astype(int), or save probabilities, as multi:softprob gives"
                if (values == np.round(values)).all()
                else ""
            )
        )
    if low == high == 1 and len(values) >= 5 * MANY:
        raise Faulty(
            f"{name} is 1 for every record, as a softmax over one number is: give the network a sigmoid there, or save"
            " its logits, and train it so" + ("" if "[" in name else f"; of labels of class 1 save {name}.astype(int)")
        )
    if high <= 0 and len(values) >= MANY:
        raise Faulty(
            f"one number for each record, from {low:.4g} to {high:.4g}, none above 0: of log-probabilities of class"
            f" 1 save np.exp({name}); of logits, by which none is of class 1, np.stack([0 * {name}, {name}], -1)"
        )
    return "probabilities of class 1" if low >= 0 and high <= 1 else "logits of class 1"


def _of_rows(rows: np.ndarray, name: str) -> Kind | None:
    """What kind rows [b, c] are, most of which are no probabilities; None where it cannot be told. Raises Faulty."""
    kind = other_numbers.mistaken_for(rows)
    if kind == "log-probabilities":
        return kind
    if advice := other_numbers.advice(name, rows) or other_numbers.of_quantized_logits(name, rows):
        raise Faulty(advice)
    if np.isneginf(rows).any() and (rows <= 0).all() and not (p := np.exp(rows)).sum(axis=1).max() > 1 + WHOLE:
        if not answer_format.faults(p, answer_format.recognize(p)):
            return "log-probabilities"  # of the k best classes
        row = int(np.argmin(p.sum(axis=1)))
        raise Faulty(
            f"{name}: its rows look like log-probabilities of which the smallest were cut off"
            f" ({other_numbers.beginning(rows[row])}, whose exp sum to {p[row].sum():.3g}): save them before the cut,"
            " with -inf only where a probability is 0"
        )
    return "logits" if (rows < 0).any() else None


def probabilities(values: np.ndarray, kind: Kind) -> np.ndarray:
    """Answers [..., c], or [...] and [..., 1] of class 1, as probabilities [..., c]; of float16 logits as float32."""
    if kind == "probabilities":
        return values
    if kind == "probabilities of class 1":
        values = np.minimum(values, 1)
        return np.stack([1 - values, values], axis=-1)
    values = values.astype(np.float32) if values.dtype.itemsize < 4 or values.dtype.kind != "f" else values
    if kind == "logits of class 1":
        ends = np.finfo(values.dtype)  # by which infinity is divided
        values = np.stack([np.zeros_like(values), values.clip(ends.min, ends.max)], axis=-1)
    told = np.exp(values) if kind == "log-probabilities" else values
    p = special.softmax(values, axis=-1)
    if kind == "log-probabilities":  # exp, and the last digit of the sum, but for rows of the k best
        best = np.isneginf(values).any(axis=-1, keepdims=True) & (told.sum(axis=-1, keepdims=True) < 1 - WHOLE)
        p = np.where(best, told, p)
    return p


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
    if (wrong := unreadable(values)).any():
        raise Faulty("it is not finite", int(np.argmax(wrong)))
    column = values.reshape(len(values)) if found.endswith("class 1") else values
    return Read(probabilities(column, found), found, bool(np.isinf(values).any()))


def together(arrays: Mapping[str, np.ndarray]) -> dict[str, Read]:
    """Answers of several models about the same records, all of one kind.

    Args:
        arrays: name -> numbers [b, c], [b] or [b, 1].

    Raises:
        Faulty: those of one are of no kind, or of another one than the first's; it names the array.
    """
    out: dict[str, Read] = {}
    for name, values in arrays.items():
        if values.dtype.kind not in "biuf":
            flat = values.reshape(-1)
            if values.dtype.kind == "V" or (values.dtype.kind in "US" and columns.plain_numbers(flat) is not None):
                raise Faulty(str(other_numbers.of_another_type(name, values)))
            what = f"text ({sanitize.quoted(str(flat[0]))})" if values.dtype.kind in "US" else str(values.dtype)
            raise Faulty(f"{name} holds {what}, no numbers: save probabilities")
        try:
            out[name] = read(values, name)
        except Faulty as error:
            if error.row is None:
                raise
            rows = values.reshape(len(values), -1)
            move = "needed: probabilities of all classes in every row, or logits of all classes in every row"
            if not np.isfinite(rows[error.row]).all() or (rows.shape[1] == 2 and rows.min() >= 0):  # two sigmoids
                move = other_numbers.mended(rows, error.row, name)
            raise Faulty(f"{name}, record {error.row}: {error.reason}; {move}") from None
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


def of_one_precision(target: np.ndarray, shadows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Target and shadows, both float16 where one is, and what was rounded, in a sentence: attacks compare them.

    Args:
        target: numbers [n, ...].
        shadows: numbers [S, n, ...].
    """
    sizes = target.dtype.itemsize, shadows.dtype.itemsize
    if {target.dtype.kind, shadows.dtype.kind} != {"f"} or min(sizes) > 2 or sizes[0] == sizes[1] or not len(shadows):
        return target, shadows, ""
    coarse, fine = ("the target", "the shadows") if sizes[0] == 2 else ("the shadows", "the target")
    said = f"Answers of {coarse} are float16, and those of {fine} were rounded to it, so that both are as exact."
    return target.astype(np.float16), shadows.astype(np.float16), said


def of_models(target: np.ndarray | None, shadows: np.ndarray) -> OfModels:
    """Answers of a target and of shadows about the same records, all of one kind, as probabilities.

    Args:
        target: numbers [n, c]; [n] or [n, 1] of two classes. None: of the shadows alone.
        shadows: the same of S shadows, [S, n, c], [S, n] or [S, n, 1]; beside a target, S may be 0.

    Raises:
        Faulty: as ``together``.
    """
    rounded = ""
    if target is not None:
        target, shadows, rounded = of_one_precision(target, shadows)
    arrays = {f"shadows[{k}]": p for k, p in enumerate(shadows)}
    read = together(arrays if target is None else {"target": target, **arrays})
    one = next(iter(read.values()))._replace(infinite=any(each.infinite for each in read.values()))
    whose = "the shadows" if target is None else "target and shadows"
    note = " ".join(filter(None, (rounded, f"Answers of {whose} are {one.note}." if one.note else "")))
    of_shadows = [read[name].p for name in arrays]
    if one.kind != "probabilities":
        shadows = np.stack(of_shadows) if of_shadows else np.zeros((0, *one.p.shape))
    return OfModels(None if target is None else one.p, shadows, note)
