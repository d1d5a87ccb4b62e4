"""When a service is asked twice: about some records of the probe, and about late rows of the first large request.

Asked only to learn whether answers can be trusted (``repeats``): a service that does not answer now, or a budget that
is spent, is found out by the next question.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mia_jax.targets.answer_store import AnswerStore
from mia_jax.targets.black_box import BudgetSpent, TargetError
from mia_jax.targets.remote import errors, repeats

if TYPE_CHECKING:
    from mia_jax.targets.remote.service import Service

PROBE_ROWS = 16  # enough to tell rounded and top-k answers from others
PROBE_TRIES = 3


class AskedTwice:
    """What came of asking some records twice.

    Args:
        service: that is asked.

    Attributes:
        steady: it gives the same answer to the same question, as far as that is known.
    """

    def __init__(self, service: "Service"):
        self._service, self.steady = service, True
        self._large = 0  # records of the largest request whose late rows were asked about again

    def probe(self, x: np.ndarray, log_p: np.ndarray) -> float | None:
        """Whether it answers a few of the records x [b, *f] of its probe in the same way again: ``repeats.check``.

        Args:
            log_p: what it answered [b, c].

        Raises:
            TargetError: answers belong to other records.
        """
        codec, reading = self._service.known()
        try:
            step = self._service.step(codec, x)
            unsteady = repeats.check(log_p, reading.answers, step, lambda *some: self._ask(x, *some), self._say)
        except repeats.OtherOrder as error:
            raise TargetError(self._service.show(str(error))) from None
        except errors.Stopped:
            return None
        self.steady = unsteady is None
        return unsteady

    def is_larger(self, records: int, missing: int) -> bool:
        """Whether a request of so many records is larger than any that was looked at, and is to be.

        Args:
            records: of the request.
            missing: of the whole question, for which the budget must have room, too.
        """
        service = self._service
        room = service.budget.spare(missing) >= 2 * repeats.LATE
        return service.options.repeat and self.steady and records > max(PROBE_ROWS, 1.5 * self._large) and room

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
                    repeats.check_large(log_p, store.answers, PROBE_ROWS, lambda some: self._ask(x, some, 1), self._say)
        except repeats.OtherOrder as error:
            scratch = AnswerStore(store.answers)
            raise TargetError(self._service.show(str(error))) from None
        finally:
            log_p, found = scratch.find(keys)
            if found.any():  # what was paid for is kept, whatever happens
                store.put([key for key, one in zip(keys, found, strict=True) if one], log_p[found])

    def _ask(self, x: np.ndarray, places: np.ndarray, parts: int) -> np.ndarray:
        try:
            return self._service.ask_again(x, places, parts, min(self._service.options.retries, PROBE_TRIES))
        except TargetError:
            raise errors.Stopped from None

    def _say(self, line: str) -> None:
        self._service.notify(line.replace("warning: ", f"warning: {self._service.shown}: ", 1))
