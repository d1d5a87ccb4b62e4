"""What a target's answers are: which rows of probabilities are none, what format they have, and their logarithms.

An answer enters the library here and nowhere else: ``faults`` says which rows of it are none, ``recognize`` what format
it has (``Answers``), and ``log_probabilities`` turns it into what ``Target.ask`` returns. How the formats of a target
and of its shadows differ is in ``audits/deployed/answer_formats.py``.
"""

import numpy as np

from mia_jax.data import npz
from mia_jax.targets import defenses
from mia_jax.types import Answers, MiaError


class TargetError(MiaError, RuntimeError):
    """The target cannot be asked, or what it answers cannot be used."""


class WrongAnswer(TargetError):
    """What the target answered about one record of a question cannot be used.

    Args:
        record: its number in the question.
        reason: what is wrong with the answer.
        known_as: what the one who asked calls that record; by default its number.
    """

    def __init__(self, record: int, reason: str, known_as: str | None = None):
        super().__init__(f"the answer to {known_as or f'record {record}'} cannot be used: {reason}")
        self.record, self.reason, self.known_as = record, reason, known_as


FEW_STEPS, MOST_STEPS = 4, 1000  # different probabilities that a leaf of one tree may give; trees of a forest
_SUM_TOLERANCE = 1e-3  # of unrounded answers: float16 over some classes, or four significant digits, stay within it
_HALF_PRECISION = 2**-8  # rows of bfloat16, which keeps 8 binary digits, may sum to .997


def recognize(p: np.ndarray, *, few: bool = False) -> Answers:
    """What kind of answers these are, as far as they show it: the format of all of them, not of each.

    Args:
        p: probabilities [b, c]. The more rows, the less is taken for a format that is none: of few rows of a tree all
            may be one-hot, or halves and fifths.
        few: these are few of many answers, and the others are to be checked by them: digits are believed at once.

    Returns:
        ``labels`` if every row is one-hot; ``top_k`` if the rows tell k < c classes and hide the rest: either rows of k
        entries do not sum to one, or every row has k and not always the same (that is a class never learned);
        ``thresholded`` if rows of fewer entries, too, sum to less, by no more than classes below the ``least`` have;
        ``probabilities`` otherwise. The decimal digits that all entries are rounded to, if 6 or fewer: rounded rows do
        not sum to one, or there are many values, for fractions of few records may have few digits by chance. Where
        nothing is rounded or hidden and some entries are zero, the ``least`` above zero.
    """
    p = np.asarray(p, np.float64).clip(0, 1)  # float16 overflows when it is rounded
    above, classes = p > 0, p.shape[1]
    count = above.sum(axis=1)
    if np.all(count == 1) and np.all(p.max(axis=1) == 1):
        return Answers(classes, "labels")
    digits, total = _digits(p), p.sum(axis=1, dtype=np.float64)
    k, off = int(count.max()), _tolerance(classes, digits)
    low = total < 1 - off
    unequal = low.sum() >= min(2, len(p)) and np.all(count[low] == k)
    if k < classes and (unequal or (np.all(count == k) and np.any(above != above[0]))):
        return Answers(classes, "top_k", digits if few or _are_many(p, digits) else None, k)
    if _are_thresholded(p, off):
        digits = digits if few or _are_many(p, digits) else None
        return Answers(classes, "thresholded", digits, None, float(p[above].min()))
    if digits is not None and not few and np.all(np.abs(total - 1) < 1e-5) and not _are_many(p, digits):
        digits = None
    learned = above.any(axis=0)
    hidden = digits is None and not above[:, learned].all()
    return Answers(classes, "probabilities", digits, None, _least(p[above]) if hidden else None)


def _are_thresholded(p: np.ndarray, off: float) -> bool:
    """Whether rows that sum to less than 1 - off may lack classes below the least that any row tells."""
    count, hidden = (p > 0).sum(axis=1), 1 - p.sum(axis=1)
    low = hidden > off
    if low.sum() < 2 or not count.all() or hidden.min() < -off:
        return False
    return bool((hidden < (p.shape[1] - count) * p[p > 0].min())[low].all())


def _are_many(p: np.ndarray, digits: int | None) -> bool:
    """Whether so many values have these digits that it is no accident."""
    return digits is not None and len(np.unique(p[(p > 0) & (p < 1)])) >= min(20, 6 * 10 ** (digits - 1))


def _least(p: np.ndarray) -> float | None:
    """The smallest of the positive ``p``, unless floating-point numbers ran out: votes and counts are not so small."""
    smallest = float(p.min())
    return smallest if smallest > 1e-12 else None


def _tolerance(classes: int, digits: int | None) -> float:
    """How far from one c probabilities may sum: half a unit of the last digit each."""
    return _SUM_TOLERANCE + (0 if digits is None else classes / 2 * 10.0**-digits)


def _digits(p: np.ndarray) -> int | None:
    """The decimal places that every entry is rounded to, or None. A float32 of a rounded number still counts."""
    for digits in range(1, 7):
        if np.all(np.abs(p - np.round(p, digits)) <= 2e-7 * p):  # relative: 1e-9 is not a rounded zero
            return digits
    return None


def faults(p: np.ndarray, answers: Answers) -> dict[int, str]:
    """The rows of ``p`` [b, c] that are no answers, each with the reason.

    A row must be finite, non-negative, and sum to one within what rounding to ``answers.digits`` can do: half a unit of
    the last digit per class. Top-k and thresholded answers may sum to less. Empty for answers that are all right.
    """
    # Sure answers rounded to one digit, or the best of them alone, may all have been one-hot when they were recognized.
    tolerance = _HALF_PRECISION + _tolerance(answers.classes, 1 if answers.kind == "labels" else answers.digits)
    with np.errstate(invalid="ignore", over="ignore"):
        total = p.sum(axis=1, dtype=np.float64)
        usable = np.abs(total - 1) <= tolerance
        if answers.kind != "probabilities":
            usable |= (total > 0) & (total < 1)
        usable &= (p >= 0).all(axis=1)  # and finite: what is not, sums to no number near one
    return {int(row): _reason(p[row], answers) for row in np.flatnonzero(~usable)}


OVER_RECORDS = "a softmax over the records"
WHOLE = 1e-2  # from 1, that probabilities of a row may sum
ORDERED = (8, 3)  # rows and columns that are sorted by no chance

TURNED = {  # what makes probabilities of such numbers, called {0}
    "log-probabilities": "np.exp({0})",
    "logarithms to base 2": "np.exp2({0})",
    "logarithms to base 10": "10.0 ** {0}",
    "negative logarithms of probabilities": "np.exp(-{0})",
    "percentages": "{0} / 100",
    "counts, or quantized scores": "{0} / {0}.sum(axis=-1, keepdims=True)",
    "quantized scores from -128": "({0} + 128.0) / ({0} + 128.0).sum(axis=-1, keepdims=True)",
    "log-odds of each class": "1 / (1 + np.exp(-{0}))",
    "P(y > k) of ordered classes": "-np.diff({0}, axis=-1, prepend=1, append=0)",
    "P(y >= k) of ordered classes": "-np.diff({0}, axis=-1, append=0)",
    "P(y <= k) of ordered classes": "np.diff({0}, axis=-1, prepend=0)",
}


def mistaken_for(values: np.ndarray) -> str:
    """What rows of numbers [b, c] are that are no probabilities: of ``TURNED``, OVER_RECORDS, sigmoids or logits."""
    values = np.asarray(values, np.float64)
    total, classes = values.sum(axis=1), values.shape[1]
    if (values <= 1e-3).all():  # of a p above 1 by a rounding, or by what was added to it
        bases = {"log-probabilities": np.e, "logarithms to base 2": 2.0, "logarithms to base 10": 10.0}
        for kind, base in bases.items():
            if (np.abs((base**values).sum(axis=1) - 1) < 1e-2).all():
                return kind
    rounded, off = np.all(values == np.round(values)), max(1, min(classes / 2, 50))
    if (values >= 0).all() and (np.abs(total - 100) <= (off if rounded else 1)).all():
        return "percentages"
    if (values >= 0).all() and (np.abs(np.exp(-values).sum(axis=1) - 1) < 1e-2).all():
        return "negative logarithms of probabilities"
    usual = float(np.median(total))  # 255 and 256 of 8 bits, 1,000, or the trees of a forest
    if rounded and (values >= 0).all() and usual > 2 * off and (np.abs(total - usual) <= off).all():
        return "counts, or quantized scores"
    if rounded and (values >= -128).all() and (np.abs(total + 128 * classes - 256) <= off).all():
        return "quantized scores from -128"
    if classes > 2 and len(values) > 1:  # of two classes logits may be symmetric, too
        with np.errstate(over="ignore"):
            odds = (1 / (1 + np.exp(-values))).sum(axis=1)
        if (np.abs(odds - 1) < 1e-3).all():
            return "log-odds of each class"
    if (values < 0).any() or (values > 1).any():
        return "logits"
    return OVER_RECORDS if _batch_of_columns(values) else _cumulative(values) or "sigmoids"


def _cumulative(values: np.ndarray) -> str | None:
    """What numbers [b, c] in [0, 1] are that fall, or rise to 1, from column to column in every row; None: neither."""
    steps = np.diff(values, axis=1)
    if values.shape[1] < ORDERED[1] or len(values) < ORDERED[0] or not steps.any():
        return None
    if (steps <= 0).all() and values.sum(axis=1).max() > 1:  # else the best k of many, sorted
        return "P(y >= k) of ordered classes" if (values[:, 0] == 1).all() else "P(y > k) of ordered classes"
    return "P(y <= k) of ordered classes" if (steps >= 0).all() and np.allclose(values[:, -1], 1) else None


def _batch_of_columns(values: np.ndarray) -> int:
    """How many rows of numbers [b, c] in [0, 1] there are in each batch whose columns sum to 1; 0: in none."""
    off = np.abs(values.cumsum(axis=0) - 1).max(axis=1)
    for size in (len(values), int(np.argmin(off)) + 1):
        sums = np.add.reduceat(values, np.arange(0, len(values), size), axis=0)
        if size > 2 and (np.abs(sums - 1) < 1e-2).all():
            return size
    return 0


def advice(name: str, values: np.ndarray) -> str | None:
    """What to save instead of rows [b, c] most of which are no probabilities, but can be made such; None of others.

    Args:
        name: of the array, as ``target`` or ``shadows[2]``.
        values: its rows.
    """
    kind, array = mistaken_for(values), name.partition("[")[0]
    if kind == OVER_RECORDS:
        batch = _batch_of_columns(np.asarray(values, np.float64))
        classes = values.shape[1]
        flat = f"; or a flat array was reshaped by columns: save it as .reshape(-1, {classes})" * (batch == classes)
        within = "" if batch == len(values) else f" in each batch of {batch} rows"
        return (
            f"{name}: its columns sum to 1{within}, and its rows do not ({beginning(values[0])}): softmax was taken"
            " over the records (dim=0) and not over the classes: save the softmax of the logits over the last axis"
            f" (dim=-1){flat}"
        )
    if kind == "sigmoids" and values.sum(axis=1).max() <= 1:
        return (
            f"{name}: its rows sum to less than 1 ({beginning(values[0])}), as where the column of a class is missing:"
            " save all columns"
        )
    if kind == "sigmoids":
        return (
            f"{name}: its rows look like independent sigmoids ({beginning(values[0])}), as of a model of several labels"
            f" at once: audit one label at a time, {array}[..., k] with labels y[:, k]; if each record has one class,"
            f" save {array} / {array}.sum(axis=-1, keepdims=True)"
        )
    if kind not in TURNED:
        return None
    turned = TURNED[kind].format(array)
    return f"{name}: its rows look like {kind} ({beginning(values[0])}): save {turned}, which are probabilities"


def of_no_class(name: str, values: np.ndarray) -> str | None:
    """What to leave out of rows [b, c] of which one column is no class's, as a table's index is; None where none is.

    Args:
        name: of the array.
        values: its rows.
    """
    if len(values) < ORDERED[0] or values.shape[1] < 2:
        return None
    array, finite = name.partition("[")[0], np.isfinite(values).all(axis=0)
    steps = np.diff(np.where(finite, values, 0.0), axis=0)
    whole = finite & (values == np.round(values)).all(axis=0) & (steps != 0).any(axis=0)
    rises = whole & ((steps >= 1).all(axis=0) | (steps <= -1).all(axis=0))
    for k in np.flatnonzero(whole):
        counts, rest = rises[k] and rises.sum() == 1, np.delete(values, k, axis=1)
        if not counts and (np.abs(rest.sum(axis=1) - 1) > WHOLE).any():
            continue
        what = "counts the rows, as the index of a table does" if counts else "is no class's, for the others sum to 1"
        also = " (pandas writes none with index=False)" if counts else ": the predicted class, or an index?"
        return (
            f"{name}: column {k} {what} ({beginning(values[0])}, then {beginning(values[1])}){also}: save"
            f" np.delete({array}, {k}, axis=-1)"
        )
    return None


def of_another_type(name: str, values: np.ndarray) -> str | None:
    """What is wrong with an array [..., c] of a type that holds no probabilities, and what to do; None where it may.

    Args:
        name: of the array.
        values: it.
    """
    kind = values.dtype.kind
    if kind in "US":
        some = np.char.strip(values.reshape(-1)[:64].astype(str))
        what = "percentages" if np.char.endswith(some, "%").all() else "numbers"
        turned = f"np.char.rstrip({name}.astype(str), '% ').astype(float) / 100"
        turned = turned if what == "percentages" else f"{name}.astype(float)"
        return f"{name} has type {values.dtype}, {what} written as text ({some[0]}): save {turned}"
    if kind == "V":
        return f"{name} {npz.odd(values.dtype, name.partition('[')[0])}"
    if kind in "biu":
        rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 and values.size else None
        alone = f"; where these are classes, np.eye(c)[{name}] says so" if values.ndim == 1 else ""
        needed = f"{name} has type {values.dtype}; needed: floating-point probabilities, as of predict_proba{alone}"
        return (None if rows is None else advice(name, rows)) or needed
    return None


def mended(p: np.ndarray, row: int, name: str = "p", verb: str = "save") -> str:
    """What to do about a row that is no answer, in a clause.

    Args:
        p: answers [n, c].
        row: the one that is none.
        name: of the array.
        verb: what is done with probabilities: save, return.
    """
    left_out, array = "leave that record out of all arrays, or", name.partition("[")[0]
    if not np.isfinite(p[row]).all():
        return f"{left_out} ask again"
    total = p.sum(axis=1)
    far = np.abs(total - 1) >= 0.25  # of what is rounded or clipped none is
    if (p < 0).any() or not p[row].any() or (far.mean() > 0.1 and np.ptp(total) > 0.1 * total.max()):
        return f"{verb} probabilities, as softmax gives them"
    few = bool(far.any()) and far.mean() <= 0.1
    return (f"{left_out} " if few else "") + f"{verb} {array} / {array}.sum(axis=-1, keepdims=True)"


def beginning(row: np.ndarray) -> str:
    """The first numbers of a row [c], as an example in a message."""
    return "[" + ", ".join(f"{v:.4g}" for v in row[:4]) + (", ...]" if len(row) > 4 else "]")


def _reason(row: np.ndarray, answers: Answers) -> str:
    if np.isnan(row).all():
        return "it is null, or NaN for every class"
    if not row.any():
        return "the probabilities are all 0, as of a model that abstains"
    for wrong, what in ((~np.isfinite(row), "not finite"), (row < 0, "negative")):
        if wrong.any():
            column = int(np.argmax(wrong))
            return f"the probability of class {column} is {what} ({row[column]})"
    rounded = "" if answers.digits is None else f" (rounded to {answers.digits} digits)"
    return f"the probabilities sum to {row.sum(dtype=np.float64):.6g}, not to 1{rounded}"


def check(p: np.ndarray, answers: Answers, rows: int) -> None:
    """Refuse answers p [b, c] that are none.

    Raises:
        TargetError: ``p`` is not one row of c probabilities for each of the ``rows`` records.
        WrongAnswer: for the first record whose answer is wrong, with its number and the reason.
    """
    if p.shape != (rows, answers.classes):
        raise TargetError(
            f"{rows} records were asked about and the answer has shape {p.shape}, not ({rows}, {answers.classes})"
        )
    for row, reason in faults(p, answers).items():
        raise WrongAnswer(row, reason)


def log_probabilities(p: np.ndarray, answers: Answers) -> np.ndarray:
    """log p, float32 [b, c], clipped from below at the precision of the answers.

    A zero means "less than can be said": of answers rounded to d digits, anything below half a unit of the last one; of
    votes and counts, anything below half of the least that they tell; of floating-point numbers, anything below the
    smallest normal one of their type, or of float32 where that is larger. So zeros become log(10^-d / 2) or -87.3,
    never -inf, and full-precision answers keep all their digits.
    """
    floor = defenses.floor(answers)
    if floor is None:
        types = [np.float32, *([p.dtype] if p.dtype.kind == "f" else [])]
        floor = max(float(np.finfo(t).tiny) for t in types)
    p = np.asarray(p, np.float64).clip(floor, 1.0)
    return np.log(p, out=p).astype(np.float32)


def steps(log_p: np.ndarray, answers: Answers) -> int | None:
    """k, where all probabilities are multiples of 1/k and most multiples are there, as of the votes of k trees.

    Args:
        log_p: as ``log_probabilities`` gives them [b, c].
        answers: their format; without a least there are no such steps.
    """
    if answers.least is None:
        return None
    p = np.unique(np.exp(np.asarray(log_p, np.float64)))
    p = p[(p > 0.75 * answers.least) & (p < 1 - 1e-6)]  # what is less stands for 0
    different = 1 + int((np.diff(p) > 1e-6).sum()) if len(p) else 0
    fits = (k for k in range(2, min(MOST_STEPS, 2 * different) + 1) if np.abs(k * p - np.round(k * p)).max() < 1e-4)
    return next(fits, None) if different >= FEW_STEPS else None


def exact(p: np.ndarray) -> np.ndarray:
    """log p, float32 [b, c], of which nothing is lost whatever their format: zeros are log 0 as far as float32 has it.

    ``from_exact`` is the inverse, ``read`` what becomes of them once the format is known.
    """
    return log_probabilities(np.asarray(p, np.float64), Answers(p.shape[1]))


def from_exact(log_p: np.ndarray) -> np.ndarray:
    """The probabilities float64 [b, c] of ``exact``, with decimal digits where they had some."""
    p = np.where(log_p <= defenses.HIDDEN, 0.0, np.exp(np.asarray(log_p, np.float64)))
    for digits in range(1, 7):  # the logarithm of a small number has kept 6 or 7 of its figures
        rounded = np.round(p, digits)
        if np.all(np.abs(p - rounded) <= p * (2e-7 + 2e-7 * np.abs(log_p))):
            return rounded
    return p


def read(log_p: np.ndarray, answers: Answers) -> np.ndarray:
    """``exact`` log-probabilities [b, c] at the floor of their format: as ``log_probabilities`` gives them."""
    floor = defenses.floor(answers)
    return log_p if floor is None else np.maximum(log_p, np.float32(np.log(floor)))


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels [b] as the probabilities [b, c] of a target that tells nothing else."""
    return (labels[:, None] == np.arange(classes)).astype(np.float32)
