"""Connecting: a prediction service becomes a Target."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    label_names: Sequence[str] = (),
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
    ``cache``, by another process later. But for three exceptions: a few of the first records are asked about again, and
    alone, to see whether the service answers in the same way and in the order of the records; a few of the late ones of
    the first large request again in a small one, to see whether all its rows are answered; and before answers of an
    earlier process are used, a few of them are asked for again, so that a model that was replaced is noticed.

    Args:
        url: of the model, with or without the protocol's last part (``/infer``, ``:predict``, ``/invocations``).
        x: records [b, *f] of those to be asked about later. 16 of them, from first to last, are asked at once, to learn
            what the answers are, unless ``cache`` knows it.
        protocol: auto (told by the path) or one of ``PROTOCOLS``.
        num_classes: c, where answers do not show it: labels, the k best.
        class_names: the classes' names in order, where the service answers with names that are not 0, 1, ...
        label_names: those of the labels beside the records, in order: the classes' where the service's names are these.
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
        ``answers`` are a guess from those 16; ``ask`` reads zeros by all answers had so far, and
        ``black_box.with_recognized_format`` fixes the format once all records in question are answered.

    Raises:
        InputError: the URL, the records, the headers or the cache cannot be used, or ``num_classes`` is needed.
        TargetError: the service refuses, its answers are none, they are others than an earlier process had, or they
            belong to other records of a request.
        BudgetSpent: before the budget is passed.

    >>> target = mia.connect("https://host/v2/models/m", records.x)  # doctest: +SKIP
    >>> seen = mia.attack("loss", target.answers.classes).observe(key, target, records)  # doctest: +SKIP
    """
    url, protocol = urls.resolve(url, protocol)
    name = urls.name(url, protocol)
    options = checked(options or Options())
    budget = budget if isinstance(budget, Budget) else Budget(float("inf") if budget is None else budget)
    records = _records(x)
    if len(records) == 0:
        raise InputError("connect needs a few of the records, to learn what the service answers")
    service = Service(
        url, protocol, classes=num_classes, names=class_names, budget=budget, options=options, notify=notify
    )
    service.beside = tuple(label_names)
    answers, probe = stored_answers(cache, name), None
    if answers is None:
        probe = _probe(service, records)
        answers = service.known().reading.answers
    elif num_classes not in (None, answers.classes):
        raise InputError(
            f"the answers kept in {cache} have {answers.classes} classes, not {num_classes}: choose another cache"
        )
    store = service.store = AnswerStore(answers, cache, name)
    unchecked = earlier.Unchecked(store, recheck, notify)
    if probe is not None:
        store.put(probe.keys, probe.log_p)
    form = earlier.form(cache, name) if service.dialect is None else service.dialect.reading.form
    earlier.begin(cache, name, unchecked.size, form)
    return Target(_Questions(service, store, unchecked, form, progress), answers, traced=False)


class _Probe(NamedTuple):
    """What was learned of a service from a few records."""

    keys: Sequence[bytes]  # [b], of the records
    log_p: np.ndarray  # [b, c], ``answer_format.exact``


def _probe(service: Service, x: np.ndarray) -> _Probe:
    """Ask about a few of the records x [n, *f] to learn what the answers are; then again, if the budget has room."""
    rows = np.unique(np.linspace(0, len(x) - 1, PROBE_ROWS).astype(int))  # the first may all be members
    first = dict(zip(reversed(black_box.record_keys(x[rows])), reversed(rows), strict=True))
    rows = np.sort(np.array(list(first.values())))  # a record that occurs twice is asked once
    log_p = answer_format.exact(service.probe(x[rows], rows))
    missing = len(set(black_box.record_keys(x))) - len(rows)
    if service.options.repeat and service.budget.spare(missing) >= repeats.REPEATED:
        service.twice.probe(x[rows], log_p)
    return _Probe(black_box.record_keys(x[rows]), log_p)


def unsteady(target: Target) -> float | None:
    """How far a probability was from what the same question brought before, where that is more than rounding."""
    return target.ask.unsteady() if isinstance(target.ask, _Questions) else None


def warnings(target: Target) -> list[str]:
    """What was said of a service that answers the same question in several ways, in sentences."""
    return target.ask.warnings() if isinstance(target.ask, _Questions) else []


def answers_one_number(target: Target) -> bool:
    """Whether the service behind a target gives one number for each record: a probability of the second class."""
    return isinstance(target.ask, _Questions) and target.ask.form == "positive"


def names_classes(target: Target) -> bool:
    """Whether the service behind a target answers with the names of classes, so that one-hot answers are no guess."""
    return isinstance(target.ask, _Questions) and target.ask.names_classes


def ask_oldest_again(target: Target, x: Array) -> None:
    """Ask about the first records of x [n, *f] again, when all are answered: a service may change under the questions.

    Sixteen of those of this process, or more where answers tell less, as long as it asked about eight times as many,
    and the budget has room. Others than services are not asked.

    Raises:
        TargetError: the model was replaced in between.
    """
    if isinstance(target.ask, _Questions):
        target.ask.oldest_again(_records(x))


class _Questions(black_box.AsAnswered):
    """How a service is asked as a Target.

    Args:
        service: that is asked.
        store: keeps its answers.
        unchecked: those of earlier processes; knows whether the service answers in the same way again.
        form: of ``replies.Reading``; None where an earlier process learned it, and kept no note of it.
        progress: shows how far a question is.

    Attributes:
        names_classes: what the service answers are classes.
    """

    def __init__(
        self,
        service: Service,
        store: AnswerStore,
        unchecked: earlier.Unchecked,
        form: str | None,
        progress: Progress,
    ):
        self._service, self._store, self.unchecked, self._progress = service, store, unchecked, progress
        self.form, self.names_classes = form, (form or store.answers.kind) == "labels"
        self._format, self._seen = store.answers, 0  # the format of so many answers

    def exact(self, x: Array, /) -> np.ndarray:
        """Log-probabilities [b, c] of records [b, *f] as they were answered, ``answer_format.exact``."""
        records, service, store = _records(x), self._service, self._store
        self.unchecked.check(records, service.ask_again, service.budget, service.show)

        def ask(x: np.ndarray, rows: np.ndarray, keys: Sequence[bytes]) -> None:
            service.ask(store, x, rows, keys, self._progress)

        return black_box.ask_missing(store, ask, records)

    def oldest_again(self, x: np.ndarray) -> None:
        """Ask about some of x [n, *f] again, all of which were answered."""
        self._service.twice.oldest(self._store, self.unchecked.size, x, black_box.record_keys(x))

    def unsteady(self) -> float | None:
        """The largest difference of a probability between answers to the same question, where that is known."""
        known = [one for one in (self.unchecked.unsteady, self._service.twice.unsteady) if one is not None]
        return max(known, default=None)

    def warnings(self) -> list[str]:
        """What this process said of such differences."""
        return list(self._service.twice.warnings)

    def __call__(self, x: Array) -> np.ndarray:
        """Log-probabilities [b, c], their zeros at the precision that the answers have as far as they are known."""
        log_p = self.exact(x)
        if len(self._store) >= 1.25 * self._seen:  # not at every small question, for it takes all answers
            everything = answer_format.from_exact(self._store.everything())
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
