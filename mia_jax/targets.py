"""Black boxes: whatever answers about records, as a ``Target``.

A target is our own network (``as_target``), any Python callable (``from_callable``), predictions that were saved
earlier (``from_predictions``) or a service (``remote.connect``). What wraps a Target is one too: ``defend``,
``budgeted``, ``cached``.

An answer enters the library here and nowhere else: ``faults`` says which rows of it are none, ``recognise`` what kind
it is, and ``log_probabilities`` turns it into what ``Target.ask`` returns.
"""

import hashlib
import math
import os
import pathlib
import threading
from collections.abc import Callable, Sequence

import numpy as np

from mia_jax import defences, training
from mia_jax.store import AnswerStore, read_count, write_count
from mia_jax.types import Answers, Array, Defence, InputError, MiaError, Model, Params, Target


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


class BudgetSpent(MiaError, RuntimeError):
    """The next question would pass the query budget: it was not asked."""

    exit_code = 5


# --- answers ---------------------------------------------------------------------------------------------------------

_SUM_TOLERANCE = 1e-3  # of unrounded answers: float16 over some classes, or four significant digits, stay within it
_HALF_PRECISION = 2**-8  # rows of bfloat16, which keeps 8 binary digits, may sum to .997


def recognise(p: np.ndarray, *, few: bool = False) -> Answers:
    """What kind of answers these are, as far as they show it: the format of all of them, not of each.

    Args:
        p: probabilities [b, c]. The more rows, the less is taken for a format that is none: of few rows of a tree all
            may be one-hot, or halves and fifths.
        few: these are few of many answers, and the others are to be checked by them: digits are believed at once.

    Returns:
        ``labels`` if every row is one-hot; ``top_k`` if the rows tell k < c classes and hide the rest: either rows of k
        entries do not sum to one, or every row has k and not always the same (that is a class never learned);
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
    k, low = int(count.max()), total < 1 - _tolerance(classes, digits)
    unequal = low.sum() >= min(2, len(p)) and np.all(count[low] == k)
    if k < classes and (unequal or (np.all(count == k) and np.any(above != above[0]))):
        return Answers(classes, "top_k", digits if few or _are_many(p, digits) else None, k)
    if digits is not None and not few and np.all(np.abs(total - 1) < 1e-5) and not _are_many(p, digits):
        digits = None
    learned = above.any(axis=0)
    told = digits is None and not above[:, learned].all()
    return Answers(classes, "probabilities", digits, None, _least(p[above]) if told else None)


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
    the last digit per class. Top-k answers may sum to less. Empty for answers that are all right.
    """
    # Sure answers rounded to one digit, or the best of them alone, may all have been one-hot when they were recognised.
    tolerance = _HALF_PRECISION + _tolerance(answers.classes, 1 if answers.kind == "labels" else answers.digits)
    with np.errstate(invalid="ignore", over="ignore"):
        total = p.sum(axis=1, dtype=np.float64)
        usable = np.abs(total - 1) <= tolerance
        if answers.kind in ("top_k", "labels"):
            usable |= (total > 0) & (total < 1)
        usable &= (p >= 0).all(axis=1)  # and finite: what is not, sums to no number near one
    return {int(row): _reason(p[row], answers) for row in np.flatnonzero(~usable)}


def _reason(row: np.ndarray, answers: Answers) -> str:
    for wrong, what in ((~np.isfinite(row), "not finite"), (row < 0, "negative")):
        if wrong.any():
            column = int(np.argmax(wrong))
            return f"the probability of class {column} is {what} ({row[column]})"
    rounded = "" if answers.digits is None else f" (rounded to {answers.digits} digits)"
    return f"the probabilities sum to {row.sum(dtype=np.float64):.6g}, not to 1{rounded}"


def check(p: np.ndarray, answers: Answers, rows: int) -> None:
    """Refuse answers that are none.

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
    floor = defences.floor(answers)
    if floor is None:
        types = [np.float32, *([p.dtype] if p.dtype.kind == "f" else [])]
        floor = max(float(np.finfo(t).tiny) for t in types)
    p = np.asarray(p, np.float64).clip(floor, 1.0)
    return np.log(p, out=p).astype(np.float32)


def exact(p: np.ndarray) -> np.ndarray:
    """log p, float32 [b, c], of which nothing is lost whatever their format: zeros are log 0 as far as float32 has it.

    ``told`` is the inverse, ``read`` what becomes of them once the format is known.
    """
    return log_probabilities(np.asarray(p, np.float64), Answers(p.shape[1]))


def told(log_p: np.ndarray) -> np.ndarray:
    """The probabilities float64 [b, c] of ``exact``, with decimal digits where they had some."""
    p = np.where(log_p <= defences.HIDDEN, 0.0, np.exp(np.asarray(log_p, np.float64)))
    for digits in range(1, 7):  # the logarithm of a small number has kept 6 or 7 of its figures
        rounded = np.round(p, digits)
        if np.all(np.abs(p - rounded) <= p * (2e-7 + 2e-7 * np.abs(log_p))):
            return rounded
    return p


def read(log_p: np.ndarray, answers: Answers) -> np.ndarray:
    """``exact`` log-probabilities [b, c] at the floor of their format: as ``log_probabilities`` gives them."""
    floor = defences.floor(answers)
    return log_p if floor is None else np.maximum(log_p, np.float32(np.log(floor)))


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels [b] as the probabilities [b, c] of a target that tells nothing else."""
    return (labels[:, None] == np.arange(classes)).astype(np.float32)


# --- targets ---------------------------------------------------------------------------------------------------------


def as_target(model: Model, params: Params, classes: int) -> Target:
    """One of our networks, asked inside ``jit``: ``log_softmax`` of its logits; in batches, so that memory stays flat.

    Args:
        model: init and apply.
        params: of one network.
        classes: c.
    """
    return Target(lambda x: training.predict(model, params, x), Answers(classes))


def from_callable(predict: Callable[[np.ndarray], Array], answers: Answers | int) -> Target:
    """Any Python callable on NumPy arrays: ``predict_proba`` of scikit-learn or XGBoost, a wrapped PyTorch network, ...

    Args:
        predict: records [b, *f] -> probabilities [b, c], or integer labels [b].
        answers: what they look like: ``recognise(predict(x))``, or just the number of classes.

    Returns:
        A host target. Asking raises WrongAnswer for a record whose answer is wrong, TargetError where shapes differ.

    >>> target = from_callable(forest.predict_proba, recognise(forest.predict_proba(x)))  # doctest: +SKIP
    """
    answers = Answers(answers) if isinstance(answers, int) else answers

    def ask(x: Array) -> np.ndarray:
        p = np.asarray(predict(np.asarray(x)))
        if p.ndim == 1 and p.dtype.kind in "iub":
            p = one_hot(p, answers.classes)
        check(p, answers, len(x))
        return log_probabilities(p, answers)

    return Target(ask, answers, traced=False)


def from_predictions(x: Array, p: Array) -> Target:
    """A target of which only saved predictions are left: it answers about these records and no others.

    Args:
        x: the records [n, *f] that were asked about.
        p: the probabilities [n, c] that were answered.

    Raises:
        InputError: predictions are not one row for each record.
        WrongAnswer: a prediction is wrong; its number and the reason.
        TargetError: when asked about a record that is not among ``x``.
    """
    p = np.asarray(p)
    if p.ndim != 2 or len(p) != len(x):
        raise InputError(f"saved predictions are probabilities [{len(x)}, c]; these have shape {p.shape}")
    check(p, recognise(p, few=True), len(x))
    answers = recognise(p)
    store = AnswerStore(answers)
    store.put(record_keys(x), log_probabilities(p, answers))

    def ask(x: Array) -> np.ndarray:
        log_p, found = store.find(record_keys(x))
        if not found.all():
            raise TargetError(
                f"no prediction was saved for record {np.argmin(found)}: save predictions for all {len(found)} records"
            )
        return log_p

    return Target(ask, answers, traced=False)


# --- wrappers --------------------------------------------------------------------------------------------------------


def settle(target: Target, x: Array) -> Target:
    """The target with the format that all its answers about x show: asked now, from what is kept where there is such.

    A format guessed from a few answers is too narrow as often as not. A target whose format is no guess is returned as
    it is; that of ``remote.connect`` has ``ask.exact``, which keeps what any format would have hidden.

    Args:
        x: the records in question [n, *f].

    Raises:
        What asking raises.
    """
    if not hasattr(target.ask, "exact"):
        return target
    whole, known = target.ask.exact, target.answers
    answers = recognise(told(whole(x)))
    if known.kind == "top_k" and known.k is not None and answers.kind == "probabilities":  # replies left classes out
        answers = answers._replace(kind="top_k", k=known.k, least=None)
    return Target(lambda x: read(whole(x), answers), answers, traced=False)


def defend(target: Target, *defences: Defence, answers: Answers | None = None) -> Target:
    """The target, wearing defences at the answer; the first is the innermost.

    Args:
        defences: log-probabilities [b, c] -> log-probabilities [b, c].
        answers: what the defended answers look like, where that differs.
    """

    def ask(x: Array) -> Array:
        log_p = target.ask(x)
        for defence in defences:
            log_p = defence(log_p)
        return log_p if target.traced else np.asarray(log_p)

    return target._replace(ask=ask, answers=answers or target.answers)


class Budget:
    """Counts records asked, across threads, and refuses before ``max_queries`` is passed.

    Args:
        max_queries: records that may be asked in total.
        spent: how many of them an earlier run has asked.
        path: a file that keeps the count. Processes that are given it in turn share one budget; ``spent`` is then what
            it holds.

    Raises:
        InputError: the file holds something else, or cannot be written.
    """

    def __init__(self, max_queries: float = math.inf, spent: int = 0, *, path: pathlib.Path | None = None):
        self.max_queries, self.path = max_queries, path
        self.spent = spent if path is None else read_count(path)
        self._lock = threading.Lock()

    def allow(self, records: int) -> None:
        """Refuse a question that would pass the budget; spends nothing.

        Raises:
            BudgetSpent: it says how much is left.
        """
        if self.spent + records > self.max_queries:
            raise BudgetSpent(
                f"{records:,} more records would pass the budget of {self.max_queries:,} queries, {self.spent:,} of"
                " which are spent; nothing more was asked: raise the budget or ask about fewer records"
            )

    def take(self, records: int) -> None:
        """Count records that are about to be asked. Raises what ``allow`` raises."""
        with self._lock:
            self.allow(records)
            self._add(records)  # before they are sent: a process that is killed has counted what it asked

    def give_back(self, records: int) -> None:
        """Uncount records that could not be sent."""
        with self._lock:
            self._add(-records)

    def _add(self, records: int) -> None:
        if self.path is not None:
            write_count(self.path, self.spent + records)
        self.spent += records


def budgeted(target: Target, budget: Budget | int) -> Target:
    """The target, refusing the question that would pass the budget, before any of it is asked.

    Put ``cached`` around it, not inside: then an answer that is kept costs nothing, and none is lost at the end.

    Args:
        budget: a ``Budget``, whose ``spent`` can then be read, or its ``max_queries``.
    """
    budget = Budget(budget) if isinstance(budget, int) else budget

    def ask(x: Array) -> Array:
        budget.take(len(x))
        return target.ask(x)

    return target._replace(ask=ask, traced=False)  # inside jit nobody could count


def cached(target: Target, directory: str | os.PathLike, *, name: str, batch: int = 1024) -> Target:
    """The target, asked at most once about each record; answers outlive the process.

    Args:
        directory: where the file of answers lies; several targets may share it.
        name: what the target is, so that another target's answers are never taken for its own: a URL and version, or a
            digest of what trained it.
        batch: records asked at a time. Answers are kept batch by batch.

    Raises:
        InputError: the file cannot be used, or its answers have another number of classes.
    """
    store = AnswerStore(target.answers, directory, name)

    def ask_some(x: np.ndarray, rows: np.ndarray, keys: Sequence[bytes]) -> None:
        for start in range(0, len(rows), batch):
            part = slice(start, start + batch)
            try:
                log_p = target.ask(x[rows[part]])
            except WrongAnswer as wrong:
                raise WrongAnswer(int(rows[part][wrong.record]), wrong.reason) from None
            store.put(keys[part], np.asarray(log_p))

    return Target(lambda x: ask_missing(store, ask_some, x), target.answers, traced=False)


def ask_missing(
    store: AnswerStore, ask_some: Callable[[np.ndarray, np.ndarray, Sequence[bytes]], None], x: Array
) -> np.ndarray:
    """Answers from the store, after ``ask_some(x, rows, keys of the rows)`` has put there what was missing.

    A record that occurs twice is asked once.
    """
    x = np.asarray(x)
    keys = record_keys(x)
    log_p, found = store.find(keys)
    if not found.all():
        first = {}
        for row in np.flatnonzero(~found).tolist():
            first.setdefault(keys[row], row)
        ask_some(x, np.array(list(first.values())), list(first))
        log_p, _ = store.find(keys)
    return log_p


def record_keys(x: Array) -> list[bytes]:
    """SHA-256 over dtype, shape and bytes of each record of ``x`` [n, *f]."""
    x = np.asarray(x)
    head = f"{x.dtype.str}{x.shape[1:]}".encode()
    content, size = x.tobytes(), x.dtype.itemsize * math.prod(x.shape[1:])
    return [hashlib.sha256(head + content[i * size : (i + 1) * size]).digest() for i in range(len(x))]
