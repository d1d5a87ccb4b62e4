"""Connecting: a prediction service becomes a Target."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from mia_jax.progress import Progress, silent
from mia_jax.targets import answer_format, black_box
from mia_jax.targets.answer_store import AnswerStore, stored_answers
from mia_jax.targets.black_box import Budget
from mia_jax.targets.remote import earlier, repeats, urls
from mia_jax.targets.remote.options import Options, checked
from mia_jax.targets.remote.service import PROBE_ROWS, Service
from mia_jax.types import Array, InputError, Target


def connect(
    url: str,
    x: Array,
    *,
    protocol: str = "auto",
    classes: int | None = None,
    names: Sequence[str] | None = None,
    cache: str | os.PathLike | None = None,
    recheck: int = earlier.RECHECKED,
    budget: Budget | int | None = None,
    options: Options | None = None,
    progress: Progress = silent,
    notify: Callable[[str], None] = lambda line: None,
) -> Target:
    """A prediction service as a Target.

    A bearer token is taken from the environment variable ``MIA_JAX_TOKEN``, further headers from ``MIA_JAX_HEADERS`` (a
    JSON object). They are sent to this service only, redirects are not followed, and no message, report or file ever
    holds them, nor what the URL's query does. Records are sent in the type that they have.

    Every answer is checked, and kept as it arrives: about no record is the service asked twice, by this Target or, with
    ``cache``, by another process later. But for two exceptions: a few of the first records are asked about again, and
    alone, to see whether the service answers in the same way and in the order of the records; and before answers of an
    earlier process are used, a few of them are asked for again, so that a model that was replaced is noticed.

    Args:
        url: of the model, with or without the protocol's last part (``/infer``, ``:predict``, ``/invocations``).
        x: records [b, *f] of those to be asked about later. 16 of them, from first to last, are asked at once, to learn
            what the answers are, unless ``cache`` knows it.
        protocol: auto (told by the path) or one of ``PROTOCOLS``.
        classes: their number, where answers do not show it: labels, the k best.
        names: the classes' names in order, where the service answers with names that are not 0, 1, ...
        cache: directory where answers outlive the process.
        recheck: how many answers of an earlier process are asked for again; eight times as many where answers are
            labels, four times where they are rounded to one digit, which tell less. 0: they are trusted.
        budget: counts every record of every request for which a connection was had, answered or not: whatever reached
            a server may have cost something.
        options: how to ask.
        progress: shows how far a question is.
        notify: gets a line where the service is waited for, or answers differently each time.

    Returns:
        A host target. Asking raises TargetError, WrongAnswer (with the record and the reason) or BudgetSpent. Its
        ``answers`` are a guess from those 16; ``ask`` reads zeros by all answers had so far, and ``black_box.settle``
        fixes the format once all records in question are answered.

    Raises:
        InputError: the URL, the records, the headers or the cache cannot be used, or ``classes`` is needed.
        TargetError: the service refuses, its answers are none, they are others than an earlier process had, or they
            belong to other records of a request.
        BudgetSpent: before the budget is passed.

    >>> target = mia.connect("https://host/v2/models/m", records.x)  # doctest: +SKIP
    >>> seen = mia.attack("loss", target.answers.classes).observe(key, target, records)  # doctest: +SKIP
    """
    url, protocol = urls.resolve(url, protocol)
    options = checked(options or Options())
    budget = budget if isinstance(budget, Budget) else Budget(float("inf") if budget is None else budget)
    x = _records(x)
    if len(x) == 0:
        raise InputError("connect needs a few of the records, to learn what the service answers")
    name = urls.name(url, protocol)
    service = Service(url, protocol, classes, names, budget, options, notify)
    answers, probe, unsteady = stored_answers(cache, name), None, None
    if answers is None:
        rows = np.unique(np.linspace(0, len(x) - 1, PROBE_ROWS).astype(int))  # the first may all be members
        first = dict(zip(reversed(black_box.record_keys(x[rows])), reversed(rows), strict=True))
        probe = np.sort(np.array(list(first.values())))  # a record that occurs twice is asked once
        p = answer_format.exact(service.probe(x[probe], probe))
        answers = service.reading.answers
        missing = len(set(black_box.record_keys(x))) - len(probe)
        if options.repeat and budget.max_queries - budget.spent - missing >= repeats.REPEATED:
            unsteady = service.repeat(x, probe, p)
    elif classes not in (None, answers.classes):
        raise InputError(
            f"the answers kept in {cache} have {answers.classes} classes, not {classes}: choose another cache"
            " (--workdir)"
        )
    service.store = AnswerStore(answers, cache, name)
    unchecked = earlier.Unchecked(service.store, recheck, notify, unsteady)
    if probe is not None:
        service.store.put(black_box.record_keys(x[probe]), p)
    form = earlier.form(cache, name) if service.reading is None else service.reading.form
    earlier.begin(cache, name, unchecked.size, form)

    def ask(x: Array) -> np.ndarray:
        x = _records(x)
        unchecked.check(x, service.ask_again, budget, service.show)
        return black_box.ask_missing(service.store, lambda *question: service.ask(*question, progress), x)

    named = answers.kind == "labels" if form is None else form == "labels"
    return Target(_Asked(ask, service.store, named, unchecked, form), answers, traced=False)


def unsteady(target: Target) -> float | None:
    """How far a probability was from what the same question brought before, where that is more than rounding."""
    unchecked = getattr(target.ask, "unchecked", None)
    return None if unchecked is None else unchecked.unsteady


def answers_one_number(target: Target) -> bool:
    """Whether the service behind a target gives one number for each record: a probability of the second class."""
    return getattr(target.ask, "form", None) == "positive"


def names_classes(target: Target) -> bool:
    """Whether the service behind a target answers with the names of classes, so that one-hot answers are no guess."""
    return getattr(target.ask, "names_classes", False)


class _Asked:
    """How a service is asked as a Target.

    Args:
        exact: records [b, *f] -> log-probabilities [b, c] as they were answered, ``answer_format.exact``.
        store: keeps them.
        names_classes: what the service answers are classes.
        unchecked: knows whether it answers in the same way again.
        form: of ``replies.Reading``; None where an earlier process learned it, and kept no note of it.
    """

    def __init__(
        self,
        exact: Callable[[Array], np.ndarray],
        store: AnswerStore,
        names_classes: bool,
        unchecked: earlier.Unchecked,
        form: str | None,
    ):
        self.exact, self._store, self.names_classes = exact, store, names_classes
        self.unchecked, self.form = unchecked, form
        self._format, self._seen = store.answers, 0  # the format of so many answers

    def __call__(self, x: Array) -> np.ndarray:
        """Log-probabilities [b, c], their zeros at the precision that the answers have as far as they are known."""
        log_p = self.exact(x)
        if len(self._store) >= 1.25 * self._seen:  # not at every small question, for it takes all answers
            everything = answer_format.told(self._store.everything())
            self._format, self._seen = answer_format.recognize(everything), len(everything)
        return answer_format.read(log_p, self._format)


def _records(x: Array) -> np.ndarray:
    """The records, in a type that JSON can carry without a change of any value."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        raise InputError(f"records are numbers [n, *f]; these are {x.dtype} with shape {x.shape}")

    def first(right: np.ndarray) -> int:
        return int(np.argmin(right.reshape(len(x), -1).all(axis=1)))

    if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
        row = first(finite)
        raise InputError(f"record {row} has a feature that is not finite, and JSON has no such number: fill it in")
    if x.dtype.kind in "iu" and x.dtype.itemsize == 8:
        kept = (x <= 2**53) & (x >= (-(2**53) if x.dtype.kind == "i" else 0))
        if not kept.all():
            row = first(kept)
            value = x[row].reshape(-1)[np.argmin(kept[row].reshape(-1))]
            raise InputError(
                f"record {row} has the whole number {value}, and readers of JSON keep them up to 2^53 = {2**53} only:"
                " leave that feature out, or send it as several"
            )
    if x.dtype.kind == "f" and x.dtype.itemsize not in (4, 8):  # JSON numbers have no halves and no longer ones
        kept = x.astype(np.float32 if x.dtype.itemsize == 2 else np.float64)
        if not np.array_equal(kept, x):
            raise InputError(f"records of type {x.dtype} cannot be sent as they are: make them float64")
        x = kept
    return x.astype(x.dtype.newbyteorder("="), copy=False)
