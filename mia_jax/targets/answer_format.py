"""What a target's answers are: which rows of probabilities are none, what format they have, and their logarithms.

An answer enters the library here and nowhere else: ``faults`` says which rows of it are none, ``recognize`` what format
it has (``Answers``), and ``log_probabilities`` turns it into what ``Target.ask`` returns. How the formats of a target
and of its shadows differ is in ``audits/deployed/answer_formats.py``.
"""

import numpy as np

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
BYTES_OFF = 0.1  # from 1, at most, that a row of bytes may sum: of many classes little is left of them
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
    k, off = int(count.max()), _tolerance(classes, digits) + _of_bytes(p)
    low = total < 1 - off
    unequal = low.sum() >= min(2, len(p)) and np.all(count[low] == k)
    if k < classes and (unequal or (np.all(count == k) and np.any(above != above[0]))):
        return Answers(classes, "top_k", digits if few or _are_many(p, digits) else None, k)
    if _are_thresholded(p, off, digits):
        digits = digits if few or _are_many(p, digits) else None
        return Answers(classes, "thresholded", digits, None, float(p[above].min()))
    if digits is not None and not few and np.all(np.abs(total - 1) < 1e-5) and not _are_many(p, digits):
        digits = None
    learned = above.any(axis=0)
    hidden = digits is None and not above[:, learned].all()
    return Answers(classes, "probabilities", digits, None, _least(p[above]) if hidden else None)


def _are_thresholded(p: np.ndarray, off: float, digits: int | None) -> bool:
    """Whether rows that sum to less than 1 - off may lack classes below the least that any row tells.

    Shares of votes are few different numbers, and a row of them hides less than half of the least by rounding alone.
    """
    count, hidden, told = (p > 0).sum(axis=1), 1 - p.sum(axis=1), p[p > 0]
    low = hidden > off
    if low.sum() < 2 or not count.all() or hidden.min() < -off:
        return False
    various = _are_many(p, digits) or len(np.unique(told)) > len(told) / 2
    within = (hidden < (p.shape[1] - count) * told.min())[low].all()
    return bool(various and within and hidden.max() > told.min() / 2)


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


def _of_bytes(p: np.ndarray) -> float:
    """How far more from 1 rows [b, c] may sum that are whole 255ths or 256ths, as of a quantized model; 0 of others."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = any((np.abs(p * k - np.round(p * k)) < 1e-4).all() for k in (255, 256))
    return min(p.shape[1] / 2 / 255, BYTES_OFF) if steps else 0.0


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
        if not usable.all():
            usable = np.abs(total - 1) <= tolerance + _of_bytes(p)
        if answers.kind != "probabilities":
            usable |= (total > 0) & (total < 1)
        usable &= (p >= 0).all(axis=1)  # and finite: what is not, sums to no number near one
    return {int(row): _reason(p[row], answers) for row in np.flatnonzero(~usable)}


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
