"""Answers that earlier runs had: how old they are, and whether the service still gives them.

A model behind a URL may be replaced, and answers that were kept are then another model's. So a few of them are asked
for again before they are used. When they were given is kept beside them: a line for each run.
"""

import datetime
import json
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mia_jax.storage import artifacts
from mia_jax.targets.answer_store import AnswerStore, store_path, stored_answers
from mia_jax.targets.black_box import Budget, BudgetSpent, TargetError, record_keys
from mia_jax.targets.remote import urls
from mia_jax.types import Answers, Array, InputError

RECHECKED = 8  # answers that are asked for again
COARSE = {"labels": 8, 1: 4}  # so many times more where answers tell less: labels, one digit
ALIKE = 0.05  # nats between two answers of one model, computed in another batch or on another machine
UNSEEN = 1e-6  # probabilities; no difference below is one
CHANCE = 0.002  # that a noisy model is taken for another one
DRAWS = 20_000
ANEW = "fresh forgets what is kept and asks all again; or choose another cache"


class Earlier(NamedTuple):
    """What earlier runs have left of the records in question."""

    records: int  # of those in question that were answered
    oldest: str  # when the first and the last of them were given, ISO 8601
    newest: str
    generation: int  # how often answers were forgotten


def kept(directory: str | os.PathLike, url: str, protocol: str, x: Array) -> Earlier:
    """What is kept of the answers about x [n, *f]; call it before ``connect``.

    Raises:
        InputError: the URL or the files cannot be used.
    """
    url, protocol = urls.resolve(url, protocol)
    name = urls.name(url, protocol)
    journal = _read(directory, name)
    answers = stored_answers(directory, name)
    if answers is None:
        return Earlier(0, "", "", journal.generation)
    store = AnswerStore(answers, directory, name)
    number = np.unique(store.numbers(record_keys(x)))
    number = number[number >= 0]
    begun = journal.runs or ((0, _iso(store_path(directory, name).stat().st_mtime)),)  # of versions without a journal
    place = np.searchsorted([rows for rows, _ in begun], number, side="right") - 1
    dates = [begun[max(0, i)][1] for i in np.unique(place)]
    return Earlier(len(number), min(dates, default=""), max(dates, default=""), journal.generation)


def answered(directory: str | os.PathLike, url: str, protocol: str, x: Array) -> np.ndarray:
    """Bool [n]: about which of the records x [n, *f] an answer is kept.

    Raises:
        InputError: the URL or the files cannot be used.
    """
    name = urls.name(*urls.resolve(url, protocol))
    answers = stored_answers(directory, name)
    if answers is None:
        return np.zeros(len(x), bool)
    return AnswerStore(answers, directory, name).numbers(record_keys(x)) >= 0


def forget(directory: str | os.PathLike, url: str, protocol: str) -> int:
    """Put the kept answers aside, under another name: they may have been paid for.

    Returns:
        How many times it was done.

    Raises:
        InputError: the files cannot be used.
    """
    url, protocol = urls.resolve(url, protocol)
    name = urls.name(url, protocol)
    path, journal = store_path(directory, name), _read(directory, name)
    if not path.exists():
        return journal.generation
    try:
        path.rename(path.with_suffix(f".{journal.generation}.old"))
    except OSError as error:
        raise InputError(f"{path} cannot be renamed ({error.strerror}): mend that, or choose another cache") from None
    _write(directory, name, _Journal(journal.generation + 1, ()))
    return journal.generation + 1


def begin(directory: str | os.PathLike | None, name: str, size: int, form: str | None) -> None:
    """Note that a run begins when so many answers are kept, and in what form they come, where this run has learned it.

    Args:
        form: of ``replies.Reading``.
    """
    if directory is not None:
        journal = _read(directory, name)
        runs = tuple(run for run in journal.runs if run[0] < size)  # a run that brought nothing is none
        _write(directory, name, journal._replace(runs=(*runs, (size, _iso())), form=form or journal.form))


def form(directory: str | os.PathLike | None, name: str) -> str | None:
    """In what form the service answered an earlier run; None where nobody noted it."""
    return None if directory is None else _read(directory, name).form


def times(answers: Answers) -> int:
    """So many times more answers are asked for again, as each tells less."""
    return COARSE.get("labels" if answers.kind == "labels" else answers.digits, 1)


class Unchecked:
    """The answers that a process found in its store, until it has asked for some of them again.

    Args:
        store: as it was opened.
        count: how many are asked for again; 0: none.
        notify: gets a line about what came of it.

    Attributes:
        unsteady: the largest difference of a probability between answers to the same question, as far as it is known.
    """

    def __init__(
        self,
        store: AnswerStore,
        count: int,
        notify: Callable[[str], None] = lambda line: None,
    ):
        self.size, self._notify = len(store), notify
        self.unsteady: float | None = None
        self._store = store
        self._left = count * times(store.answers) if self.size else 0

    def check(
        self,
        x: np.ndarray,
        ask_again: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
        budget: Budget,
        say: Callable[[str], str],
    ) -> None:
        """Ask for some of the answers about x [n, *f] again, if any of them is an earlier process's; only once.

        Args:
            ask_again: (x, rows, in how many parts at least) -> log-probabilities [rows, c].
            budget: the records not answered so far must stay within it, too.
            say: a line about the service from its reason.

        Raises:
            TargetError: the answers differ by more than the service's own noise.
            BudgetSpent: there is no room for a single one.
        """
        if not self._left:
            return
        number = self._store.numbers(record_keys(x))
        _, rows = np.unique(number, return_index=True)
        rows = np.sort(rows[(number[rows] >= 0) & (number[rows] < self.size)])
        if not len(rows):
            return
        missing = len(set(record_keys(x[number < 0])))
        room = budget.max_queries - budget.spent - missing
        if room < 1:
            raise BudgetSpent(
                say(
                    f"{len(rows):,} answers are an earlier run's, and the budget has no query left to see whether the"
                    f" service still gives them: raise it by {self._left} (`max_queries`), or trust them (`recheck=0`)"
                )
            )
        rows = rows[np.linspace(0, len(rows) - 1, int(min(self._left, room, len(rows)))).round().astype(int)]
        then, _ = self._store.find(record_keys(x[rows]))
        came = compare(then, lambda parts: ask_again(x, rows, parts), self._store.answers.digits, room)
        if came.replaced:
            raise TargetError(
                say(
                    f"{came.other} of {len(rows)} records that were asked about again have other answers than an"
                    f" earlier run had, so the model was replaced since: {ANEW}"
                )
            )
        if came.unsteady is not None:
            self.unsteady = came.unsteady
            self._notify(
                f"warning: {len(rows)} of them were asked again, and a probability differs by up to"
                f" {self.unsteady:.2g}: the service answers differently each time"
            )
        else:
            self._notify(f"{len(rows)} of them were asked again: the same answers")
        self._left = 0


class Compared(NamedTuple):
    """What came of asking again."""

    other: int  # answers that differ
    replaced: bool  # they are another model's
    unsteady: float | None  # the largest difference of a probability, where they are those of one that is noisy


def compare(then: np.ndarray, ask: Callable[[int], np.ndarray], digits: int | None, room: float) -> Compared:
    """Ask again, and up to three times more where answers differ: of another model, or of one that is noisy?

    Args:
        then: answers [n, c].
        ask: (in how many parts at least) -> answers to the same questions now [n, c].
        digits: that answers are rounded to.
        room: records that may be asked about.
    """
    now = ask(1)
    other = distance(then, now, digits) > ALIKE
    if not other.any():
        return Compared(0, False, None)
    again = ask(2) if room >= 2 * len(then) else now  # once more, in other batches
    steady = (distance(now, again, digits) <= ALIKE / 10).all()  # else it answers differently each time
    odd = steady or odd_one_out(then, now, again)
    if odd and not steady and room >= 4 * len(then):  # two noisy answers may be alike by chance, once
        odd = odd_one_out(then, ask(1), ask(2))
    return Compared(int(other.sum()), bool(odd), None if odd else largest(then, now))


def distance(then: np.ndarray, now: np.ndarray, digits: int | None) -> np.ndarray:
    """How far two answers [n, c] are apart, nats [n]: the largest difference of two log-probabilities.

    A difference that rounding can make, or that nobody could see, is none.
    """
    apart = np.abs(then.astype(np.float64) - now)
    unseen = UNSEEN if digits is None else 1.1 * 10.0**-digits
    apart[np.abs(np.exp(then, dtype=np.float64) - np.exp(now, dtype=np.float64)) <= unseen] = 0.0
    return apart.max(axis=1)


def largest(then: np.ndarray, now: np.ndarray) -> float:
    """The largest difference of a probability between answers [n, c], given as log-probabilities."""
    return float(np.abs(np.exp(then, dtype=np.float64) - np.exp(now, dtype=np.float64)).max())


def odd_one_out(then: np.ndarray, now: np.ndarray, again: np.ndarray) -> bool:
    """Whether of three answers [n, c] the first is another model's, where each model is noisy.

    Of one model, any of the three is as likely to be the one far from the others, record by record: a permutation test,
    on total variation. And it must be twice as far from them as they are from each other.
    """
    p = np.exp(np.stack([then, now, again]), dtype=np.float64)
    pairs = 0.5 * np.abs(p[:, None] - p).sum(axis=3)  # [3, 3, n]
    apart = pairs.sum(axis=1)  # of each from the other two
    drawn = np.random.default_rng(0).integers(0, 3, (DRAWS, len(then)))
    total = apart[drawn, np.arange(len(then))].sum(axis=1)
    chance = (1 + (total >= apart[0].sum() - 1e-12).sum()) / (1 + DRAWS)
    return chance < CHANCE and pairs[0, 1:].min(axis=0).mean() > 2 * pairs[1, 2].mean()


# --- the journal -----------------------------------------------------------------------------------------------------


class _Journal(NamedTuple):
    generation: int = 0
    runs: tuple[tuple[int, str], ...] = ()  # (answers that were kept when it began, date)
    form: str | None = None  # of ``replies.Reading``; None in files of before it was kept


def _path(directory: str | os.PathLike, name: str) -> pathlib.Path:
    return store_path(directory, name).with_suffix(".runs.json")


def _read(directory: str | os.PathLike, name: str) -> _Journal:
    path = _path(directory, name)
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        runs = tuple((int(rows), datetime.datetime.fromisoformat(date).isoformat()) for rows, date in journal["runs"])
        form = journal.get("form")
        return _Journal(int(journal["generation"]), runs, form if isinstance(form, str) else None)
    except FileNotFoundError:
        return _Journal()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path} is damaged: remove it, and the dates of the answers kept are lost") from None


def _write(directory: str | os.PathLike, name: str, journal: _Journal) -> None:
    path = _path(directory, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(path, journal._asdict())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): mend that, run again") from None


def _iso(seconds: float | None = None) -> str:
    now = datetime.datetime.now() if seconds is None else datetime.datetime.fromtimestamp(seconds)
    return now.astimezone().isoformat(timespec="seconds")
