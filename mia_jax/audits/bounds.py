"""How much memory a balanced audit takes at most: a constant, and a constant for each record, whatever the models.

What is known of many models is held up to ``HELD`` bytes, each kind of it: who trains on what, their parameters, what
is seen of them. More of it lies in files, and is read a model at a time. What is left grows with the records: these
themselves, sums over models that attacks keep of each, and the scores. docs/scale.md has what was measured.
"""

from typing import NamedTuple

from mia_jax.data import limits

HELD = 2**28  # bytes that are held of each kind of what is known of all models
PROCESS = 8 * 10**8  # bytes of Python, JAX, compiled programs and their work space
# Who trains on what; parameters; what is seen of candidates (by attacks that compare a record with itself, by others),
# of the population, and for reports.
KINDS = 6
COPIES = 3  # of the records: on the host, while they are read, and for each device one more
SUMS = 100  # float64 of each record that attacks and measures compute with, about
SEEN = 16  # models of which what is seen is in memory at once, while it is observed and written


class Bound(NamedTuple):
    """How much memory is taken at most, in bytes, and by what."""

    constant: float
    each: float  # for each record
    n: int  # records
    whole: str = ""  # attacks that look at all models at once
    whole_bytes: float = 0.0  # what these are given, which grows with the models

    @property
    def total(self) -> float:
        """Bytes."""
        return self.constant + self.least

    @property
    def least(self) -> float:
        """Of it, bytes that grow with records or models."""
        return self.each * self.n + self.whole_bytes

    def __str__(self) -> str:
        return (
            f"{limits.amount(self.total)} at most: {limits.amount(self.constant)}, and {limits.amount(self.each)} for"
            f" each of {self.n:,} records" + (f"; {self.whole} looks at all models at once" if self.whole else "")
        )


def balanced(
    n: int, record: int, devices: int, seen: int, targets: int, attacks: int, whole: tuple[str, int] = ("", 0)
) -> Bound:
    """The bound of a balanced audit with our own networks.

    Args:
        n: records that are asked about.
        record: bytes of one.
        devices: that train.
        seen: bytes of all that attacks see of one model and record.
        targets: models that play the target.
        attacks: how many.
        whole: attacks that look at all models at once, and the bytes that these are given.
    """
    scores = 4 * targets * attacks  # scores.npz is written at once
    each = (COPIES + devices) * record + SEEN * seen + 8 * SUMS + 2 * scores + 10 * 8 * targets
    return Bound(PROCESS + KINDS * HELD, each, n, *whole)
