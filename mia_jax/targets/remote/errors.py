"""Errors of a request to a service: exceptions, by what can be done about them.

What may pass (429, 5xx, a broken connection, a late, unreadable or impossible answer) is tried again, later each time
and not before the service allows it. What is too large (413) is asked in halves. The rest ends the question with one
line, and with every answer that arrived in the store.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mia_jax.targets.black_box import TargetError, WrongAnswer


class Passing(Exception):
    """An error that may pass: the same request is tried again.

    Args:
        reason: in words, or an answer that is none.
        wait: seconds that the service asks for.
        limited: it works, and is asked too often.
        spoken: it was reached and did not understand; where that does not pass, another dialect may help.
        closed: it was reached and hung up, as some do on a request that they do not understand.
    """

    def __init__(
        self,
        reason: str | WrongAnswer,
        *,
        wait: float = 0.0,
        limited: bool = False,
        spoken: bool = False,
        closed: bool = False,
    ):
        self.reason, self.wait, self.limited, self.spoken, self.closed = reason, wait, limited, spoken, closed

    @property
    def words(self) -> str:
        """The reason, in words."""
        return self.reason.reason if isinstance(self.reason, WrongAnswer) else self.reason


class Unknown(TargetError):
    """A reply that is whole, and of no form that is known: the same question would bring it again."""


class Refused(TargetError):
    """The service does not understand, or is not understood; another dialect may help.

    Args:
        reason: in one line.
        answered: it did answer, in a form that is none.
    """

    def __init__(self, reason: str, *, answered: bool = False):
        super().__init__(reason)
        self.answered = answered


class TooLarge(Exception):
    """The request must be split."""


class Stopped(Exception):
    """Another part of the question failed: this one need not go on."""


def sent(refusal: str, shape: Sequence[int]) -> str:
    """What a record of this shape was sent as, for a refusal that may be because of it; else ""."""
    if not re.search(r": HTTP (400|422|500)\b", refusal):
        return ""
    if len(shape) > 1:
        return f" (each record was sent as numbers of shape {tuple(shape)})"
    return f" (each record was sent as {shape[0]:,} numbers; text of a table as 1 and 0s, a number for each category)"


def numbers(asked: int, answered: int) -> str:
    """How many records a request asked about, and how many answers came."""
    return f"{asked} records were asked about and {answered} answered"


def of_another_number(asked: int, reply: Sequence[Any] | np.ndarray) -> str:
    """That a reply has more or fewer answers than records were asked about, and what to do.

    Args:
        asked: records, of the request.
        reply: answers [b], which may be an array [b, c].
    """
    said, only = numbers(asked, len(reply)), reply[0] if len(reply) == 1 else ()
    if isinstance(only, list) and len(only) > asked > 1 and len(only) % asked == 0:
        return (
            f"{said}, of {len(only):,} numbers, {len(only) // asked} for each record: ask about one at a time"
            " (`rows_per_request=1`), or let the service answer a row for each"
        )
    return f"{said}; ask about fewer at a time (`rows_per_request`)" if len(reply) < asked > 1 else said
