"""What answers look like, of a target and of its shadows, and what makes the ones look like the others."""

from typing import NamedTuple

import numpy as np

from mia_jax.audits.deployed.calibration import AS_TARGET, IN_FULL
from mia_jax.targets import answer_format, defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.types import Answers

ENTRIES = 2**23  # of the shadows' answers, at most, by which they are recognized


class Formats(NamedTuple):
    """Of saved answers."""

    target: Answers
    shadows: Answers  # of all of them together: one tree's few leaves are no format
    on_target: tuple[AnswerDefense, ...]  # what brings the target to the shadows' format, where that is coarser
    on_shadows: tuple[AnswerDefense, ...]  # and the shadows to the target's

    @property
    def worn(self) -> dict[str, tuple[AnswerDefense, ...]]:
        """How shadows may answer -> what they wear then."""
        return {AS_TARGET: self.on_shadows, **({IN_FULL: ()} if self.on_shadows else {})}


def of_saved(target: np.ndarray, shadows: np.ndarray, *, dress: bool = True) -> Formats:
    """The formats of saved answers.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        dress: bring both to a common format; otherwise each is read as it is.
    """
    flat = shadows.reshape(-1, shadows.shape[-1])
    step = max(1, flat.size // ENTRIES)
    one, other = answer_format.recognize(target), answer_format.recognize(flat[::step])
    if one.least and other.least:  # votes and counts: a zero is the same of both
        least = min(one.least, other.least)
        one, other = one._replace(least=least), other._replace(least=least)
    if not dress:
        return Formats(one, other, (), ())
    return Formats(one, other, lacking(one, other), lacking(other, one))


def lacking(answers: Answers, like: Answers) -> tuple[AnswerDefense, ...]:
    """What makes ``answers`` look ``like`` others, without what they do already."""
    return tuple(defense for defense in defenses.from_answers(like) if defense.after(answers) != answers)
