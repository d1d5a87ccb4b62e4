"""Errors of a request to a service: exceptions, by what can be done about them.

What may pass (429, 5xx, a broken connection, a late, unreadable or impossible answer) is tried again, later each time
and not before the service allows it. What is too large (413) is asked in halves. The rest ends the question with one
line, and with every answer that arrived in the store.
"""

from mia_jax.targets.black_box import TargetError, WrongAnswer


class Passing(Exception):
    """An error that may pass: the same request is tried again.

    Args:
        reason: in words, or an answer that is none.
        wait: seconds that the service asks for.
        limited: it works, and is asked too often.
        spoken: it was reached and did not understand; where that does not pass, another dialect may help.
    """

    def __init__(self, reason: str | WrongAnswer, *, wait: float = 0.0, limited: bool = False, spoken: bool = False):
        self.reason, self.wait, self.limited, self.spoken = reason, wait, limited, spoken

    @property
    def words(self) -> str:
        """The reason, in words."""
        return self.reason.reason if isinstance(self.reason, WrongAnswer) else self.reason


class Refused(TargetError):
    """The service does not understand; another dialect may help."""


class TooLarge(Exception):
    """The request must be split."""


class Stopped(Exception):
    """Another part of the question failed: this one need not go on."""
