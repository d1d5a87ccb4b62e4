"""When a service is asked twice: about some of the probe, late rows of the first large request, some when all are had.

Asked only to learn whether answers can be trusted (``repeats``): a service that does not answer now, or a budget that
is spent, is found out by the next question.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mia_jax.targets.answer_store import AnswerStore
from mia_jax.targets.black_box import BudgetSpent, TargetError
from mia_jax.targets.remote import earlier, errors, repeats

if TYPE_CHECKING:
    from mia_jax.targets.remote.service import Service

PROBE_ROWS = 16  # enough to tell rounded and top-k answers from others
PROBE_TRIES = 3
OLDEST = 16  # answers that are asked for again when all are had; more where each tells less
SPREAD = 24  # others at most, of all requests, one of which a second model may have answered
ONE_OF = 8  # so many are not asked again for each that is


class AskedTwice:
    """What came of asking some records twice.

    Args:
        service: that is asked.

    Attributes:
        unsteady: how far a probability was from what the same question brought before; None where by no more than
            rounding, as far as that is known.
        warnings: what was said of it, in sentences.
    """

    def __init__(self, service: "Service"):
        self._service = service
        self.unsteady: float | None = None
        self.warnings: list[str] = []
        self._large = 0  # records of the largest request whose late rows were asked about again

    def probe(self, x: np.ndarray, log_p: np.ndarray) -> None:
        """Whether it answers a few of the records x [b, *f] of its probe in the same way again: ``repeats.check``.

        Args:
            log_p: what it answered [b, c].

        Raises:
            TargetError: answers belong to other records.
        """
        codec, reading = self._service.known()
        try:
            step = self._service.step(codec, x)
            with contextlib.suppress(errors.Stopped):
                self.unsteady = repeats.check(
                    log_p, reading.answers, step, lambda *some: self._ask(x, *some), self._say
                )
        except repeats.OtherOrder as error:
            raise TargetError(self._service.show(str(error))) from None

    def is_larger(self, records: int, missing: int) -> bool:
        """Whether a request of so many records is larger than any that was looked at, and is to be.

        Args:
            records: of the request.
            missing: of the whole question, for which the budget must have room, too.
        """
        service = self._service
        room = service.budget.spare(missing) >= 2 * repeats.LATE
        larger = records > max(PROBE_ROWS, 1.5 * self._large)
        return service.options.repeat and self.unsteady is None and larger and room

    def large(
        self, finish: Callable[[AnswerStore], None], store: AnswerStore, x: np.ndarray, keys: Sequence[bytes]
    ) -> None:
        """Ask about x [b, *f] in one request; its answers are kept if late ones are those that few records get.

        Args:
            finish: puts the answers about ``x`` into a store.
            store: where they are kept.
            keys: of ``x``.

        Raises:
            TargetError: late rows of a request have no answers of their own; or what ``finish`` raises.
        """
        scratch = AnswerStore(store.answers)
        try:
            finish(scratch)
            log_p, found = scratch.find(keys)
            self._large = len(x)
            with contextlib.suppress(BudgetSpent, errors.Stopped):
                if found.all():
                    self.unsteady = repeats.check_large(
                        log_p, store.answers, PROBE_ROWS, lambda some: self._ask(x, some, 1), self._say
                    )
        except repeats.OtherOrder as error:
            scratch = AnswerStore(store.answers)
            raise TargetError(self._service.show(str(error))) from None
        finally:
            log_p, found = scratch.find(keys)
            if found.any():  # what was paid for is kept, whatever happens
                store.put([key for key, one in zip(keys, found, strict=True) if one], log_p[found])

    def oldest(self, store: AnswerStore, since: int, x: np.ndarray, keys: Sequence[bytes]) -> None:
        """Ask about the records of x [n, *f] again that were answered first, now that all are, and about some others.

        Args:
            store: where all answers are.
            since: how many it had when this process began.
            keys: of ``x``.

        Raises:
            TargetError: the model was replaced in between.
        """
        number, rows = np.unique(store.numbers(keys), return_index=True)
        rows = rows[number >= since]
        count = min(OLDEST * earlier.times(store.answers), len(rows) // ONE_OF)
        service, room = self._service, self._service.budget.spare()
        if not service.options.repeat or self.unsteady is not None or count < OLDEST or room < count:
            return
        first, more = rows[:count], min(SPREAD, len(rows) // ONE_OF - count, room - count)
        others = rows[count:][np.linspace(0, len(rows) - count - 1, max(0, int(more))).round().astype(int)]
        then, _ = store.find([keys[row] for row in first])
        try:
            came = earlier.compare(then, lambda parts: self._ask(x, first, parts), store.answers.digits, room)
            if not came.other and len(others):
                self._second_model(store, x, others, [keys[row] for row in others])
        except (BudgetSpent, errors.Stopped):
            return
        if came.replaced:
            raise TargetError(
                service.show(
                    f"asked again after all others, {came.other} of the first {count} records have other answers than"
                    f" before, so the model was replaced in between, and answers are of two models: {earlier.ANEW}"
                )
            )
        if came.unsteady is not None:
            self.unsteady = came.unsteady
            self._say(repeats.differs(count, came.unsteady))

    def _second_model(self, store: AnswerStore, x: np.ndarray, rows: np.ndarray, keys: Sequence[bytes]) -> None:
        """Tell whether ``rows`` of x, whose keys these are, get other answers now, where the oldest get the same."""
        then, _ = store.find(keys)
        now = self._ask(x, rows, 1)
        other = earlier.distance(then, now, store.answers.digits) > earlier.ALIKE
        if not other.any():
            return
        self.unsteady = earlier.largest(then, now)
        again = self._ask(x, rows[other], 1) if self._service.budget.spare() >= other.sum() else now[other]
        steady = (earlier.distance(now[other], again, store.answers.digits) <= earlier.ALIKE).mean() > 0.5
        two = repeats.of_two_models(int(other.sum()), len(rows), self.unsteady)
        self._say(two if steady else repeats.differs(len(rows), self.unsteady))

    def _ask(self, x: np.ndarray, places: np.ndarray, parts: int) -> np.ndarray:
        try:
            return self._service.ask_again(x, places, parts, min(self._service.options.retries, PROBE_TRIES))
        except TargetError:
            raise errors.Stopped from None

    def _say(self, line: str) -> None:
        said = line.removeprefix("warning: ")
        self.warnings.append(f"{said[0].upper()}{said[1:]}.")
        self._service.notify(line.replace("warning: ", f"warning: {self._service.shown}: ", 1))
