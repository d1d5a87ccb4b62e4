"""Black boxes: whatever answers about records, as a ``Target``.

A target is our own network (``as_target``), any Python callable (``from_callable``), predictions that were saved
earlier (``from_predictions``) or a service (``remote.connect``). What wraps a Target is one too: ``defend``,
``budgeted``, ``cached``. What answers are, and which are none, is in ``targets/answer_format.py``.
"""

import hashlib
import math
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mia_jax.data import tables
from mia_jax.targets import answer_format
from mia_jax.targets.answer_format import TargetError, WrongAnswer
from mia_jax.targets.answer_store import AnswerStore, read_count, write_count
from mia_jax.training import single
from mia_jax.types import Answers, Array, Defense, InputError, MiaError, Model, Params, Target


class BudgetSpent(MiaError, RuntimeError):
    """The next question would pass the query budget: it was not asked."""

    exit_code = 5


# --- targets ---------------------------------------------------------------------------------------------------------


def as_target(model: Model, params: Params, classes: int) -> Target:
    """One of our networks, asked inside ``jit``: ``log_softmax`` of its logits; in batches, so that memory stays flat.

    Args:
        model: init and apply.
        params: of one network.
        classes: c.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.mlp(num_classes=3), np.zeros((2, 5), np.float32)
    >>> target = mia.as_target(model, model.init(jax.random.key(0), x), 3)
    >>> print(np.exp(target.ask(x)).round(3))  # zeros, which an untrained network cannot tell apart
    [[0.333 0.333 0.333]
     [0.333 0.333 0.333]]
    """
    return Target(lambda x: single.predict(model, params, x), Answers(classes))


def from_callable(predict: Callable[[Any], Array], answers: Answers | int) -> Target:
    """Any Python callable on NumPy arrays: ``predict_proba`` of scikit-learn or XGBoost, a wrapped PyTorch network, ...

    Args:
        predict: records [b, *f] -> probabilities [b, c], or integer labels [b].
        answers: what they look like: ``recognize(predict(x))``, or just the number of classes.

    Returns:
        A host target. Asking raises WrongAnswer for a record whose answer is wrong, TargetError where shapes differ.

    >>> import numpy as np, mia_jax as mia
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> target = mia.from_callable(LogisticRegression().fit(x, y).predict_proba, answers=2)
    >>> seen = mia.attack("loss", num_classes=2).observe(None, target, mia.Records(x, y))
    >>> print(seen["log_p_y"].round(1))
    [-0.2 -0.5 -0.5 -0.2]
    """
    answers = Answers(answers) if isinstance(answers, int) else answers

    def ask(x: Array) -> np.ndarray:
        p = np.asarray(predict(x if tables.is_frame(x) else np.asarray(x)))
        if p.ndim == 1 and p.dtype.kind in "iub":
            p = answer_format.one_hot(p, answers.classes)
        answer_format.check(p, answers, len(x))
        return answer_format.log_probabilities(p, answers)

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

    >>> import numpy as np, mia_jax as mia
    >>> target = mia.from_predictions(np.array([[1.0], [2.0]]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> print(np.exp(target.ask(np.array([[2.0]]))).round(2))
    [[0.2 0.8]]
    """
    p = np.asarray(p)
    if p.ndim != 2 or len(p) != len(x):
        raise InputError(f"saved predictions are probabilities [{len(x)}, c]; these have shape {p.shape}")
    answer_format.check(p, answer_format.recognize(p, few=True), len(x))
    answers = answer_format.recognize(p)
    store = AnswerStore(answers)
    store.put(record_keys(x), answer_format.log_probabilities(p, answers))

    def ask(x: Array) -> np.ndarray:
        log_p, found = store.find(record_keys(x))
        if not found.all():
            raise TargetError(
                f"no prediction was saved for record {np.argmin(found)}: save predictions for all {len(found)} records"
            )
        return log_p

    return Target(ask, answers, traced=False)


# --- wrappers --------------------------------------------------------------------------------------------------------


@runtime_checkable
class AsAnswered(Protocol):
    """What ``Target.ask`` is where the format of the answers is a guess: it can give them as they were answered."""

    def exact(self, x: Array, /) -> np.ndarray:
        """Records [b, *f] -> log-probabilities [b, c], ``answer_format.exact``."""
        ...


def with_recognized_format(target: Target, x: Array) -> Target:
    """The target with the format that all its answers about x show: asked now, from what is kept where there is such.

    A format guessed from a few answers is too narrow as often as not. A target whose format is no guess is returned as
    it is; that of ``remote.connect`` is ``AsAnswered``, which keeps what any format would have hidden.

    Args:
        target: any.
        x: the records in question [n, *f].

    Raises:
        What asking raises.
    """
    if not isinstance(target.ask, AsAnswered):
        return target
    whole, known = target.ask.exact, target.answers
    answers = answer_format.recognize(answer_format.from_exact(whole(x)))
    if known.kind == "top_k" and known.k is not None and answers.kind == "probabilities":  # replies left classes out
        answers = answers._replace(kind="top_k", k=known.k, least=None)
    return Target(lambda x: answer_format.read(whole(x), answers), answers, traced=False)


def defend(target: Target, *defenses: Defense, answers: Answers | None = None) -> Target:
    """The target behind defenses at the answer; the first is the innermost.

    Args:
        defenses: log-probabilities [b, c] -> log-probabilities [b, c].
        answers: what the defended answers look like, where that differs.
    """

    def ask(x: Array) -> Array:
        log_p = target.ask(x)
        for defense in defenses:
            log_p = defense(log_p)
        return log_p if target.traced else np.asarray(log_p)

    return target._replace(ask=ask, answers=answers or target.answers)


class Budget:
    """Counts records asked, across threads, and refuses before ``max_queries`` is passed.

    Args:
        max_queries: records that may be asked in total.
        spent: how many of them an earlier run has asked.
        path: a file that keeps the count. Processes that are given it in turn share one budget; ``spent`` is then what
            it holds.

    Attributes:
        reserved: records that later questions need: what is asked only to be sure leaves room for them.

    Raises:
        InputError: the file holds something else, or cannot be written.
    """

    reserved = 0

    def __init__(self, max_queries: float = math.inf, spent: int = 0, *, path: pathlib.Path | None = None):
        self.max_queries, self.path = max_queries, path
        self.spent = spent if path is None else read_count(path)
        self._lock = threading.Lock()

    def spare(self, records: int = 0) -> float:
        """Records that may be asked besides those of later questions and so many that this question still needs."""
        return self.max_queries - self.spent - self.reserved - records

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
        """Count records that are about to be asked.

        Raises:
            BudgetSpent: they would pass the budget; they are not counted.
        """
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
    """Log-probabilities [n, c] from the store, after ``ask_some`` has put there what was missing.

    A record that occurs twice is asked once.

    Args:
        store: of the target's answers.
        ask_some: (x [n, *f], rows that are missing [k], their keys) -> None; it puts their answers into the store.
        x: the records [n, *f].
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
