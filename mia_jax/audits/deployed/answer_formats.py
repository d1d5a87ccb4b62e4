"""What answers look like, of a target and of its shadows, and the defenses that give shadows the target's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.audits.deployed.calibration import AS_LABELS, AS_TARGET, IN_FULL
from mia_jax.checks.answers import equal_answers
from mia_jax.targets import answer_format, defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.types import Answers, Array, few_of

ENTRIES = 2**23  # of the shadows' answers, at most, by which they are recognized
ROWS, MANY = 1024, 50  # records, and different numbers, by which one shadow's digits are told
TENTHS = 9  # different numbers, all with one digit, that are no tree's leaves
EXACT = 99  # digits of answers that are not rounded
ALMOST = 0.5  # of the numbers of others that have these digits, too: votes of trees, and no rounding
FEW_ANSWERS, VARIOUS = 0.6, 0.95  # of a shadow's answers that differ, if it was rounded, and of the others'
NEARLY = 0.9  # of a target's answers that are labels, so that it is asked whether all should be read as such


class Formats(NamedTuple):
    """The formats of saved answers, and the defenses that give shadows the target's."""

    target: Answers
    shadows: Answers  # of all of them together: one tree's few leaves are no format
    on_target: tuple[AnswerDefense, ...]  # what brings the target to the shadows' format, where that is coarser
    on_shadows: tuple[AnswerDefense, ...]  # and the shadows to the target's
    labeled: float | None = None  # the share of the target's answers that are labels, where the shadows' are not

    @property
    def ways_of_shadows(self) -> dict[str, tuple[AnswerDefense, ...]]:
        """How shadows may answer -> the defenses that make them do so."""
        return ways(self.on_shadows, self.labeled)

    def read(self, answer: str) -> tuple[AnswerDefense, ...]:
        """The defenses that the target's answers are put through where shadows answer so."""
        return (defenses.label_only(),) if answer == AS_LABELS else self.on_target


def ways(shown: tuple[AnswerDefense, ...], labeled: float | None) -> dict[str, tuple[AnswerDefense, ...]]:
    """How shadows may answer -> the defenses that make them do so.

    Args:
        shown: the defenses that the target's answers show.
        labeled: the share of them that are labels, if nearly all are.
    """
    if labeled is not None:
        return {AS_TARGET: (*shown, defenses.surest(labeled)), IN_FULL: (), AS_LABELS: (defenses.label_only(),)}
    return {AS_TARGET: shown, **({IN_FULL: ()} if shown else {})}


def labels_among(p: np.ndarray) -> float:
    """The share of rows of p [n, c] that are labels: 1 for one class, and 0 for the others."""
    return float(((p > 0).sum(axis=1) == 1).mean())


def labeled(p: np.ndarray, answers: Answers, shadows: float = 0.0) -> float | None:
    """The share of labels among a target's answers, if it is nearly all and rounding does not explain it.

    Args:
        p: probabilities [n, c].
        answers: their format.
        shadows: the share among the shadows' answers, where it is known.
    """
    share = labels_among(p)
    told = answers.kind == "probabilities" and answers.digits is None and answers.classes > 1
    return share if told and share >= NEARLY and shadows < share - (1 - NEARLY) else None


def labeled_note(share: float, shadows: float | None = None) -> str:
    """What is to be said of such a target."""
    own = "" if shadows is None else f", and the shadows {100 * shadows:.3g}%"
    return (
        f"The target answers {100 * share:.3g}% of the records with 1 for one class and 0 for the others{own}: what it"
        " tells beside the label compares with no shadow's answer, so each attack read probabilities or labels,"
        " whichever did better on shadow models that answer so."
    )


def labels_note(known: Formats) -> str | None:
    """What is to be said of a target, or of target and shadows, that tell no probability; None where they do."""
    if known.target.kind != "labels":
        return None
    if known.shadows.kind == "labels":
        return (
            "Target and shadows answer with labels alone (1 for one class, 0 for the others): attacks see no more than"
            " whether they are right. If the models give probabilities, as all but full trees and one nearest neighbor"
            " do, save these (predict_proba, a softmax, and no argmax)."
        )
    return (
        "The target answers with labels alone (1 for one class, 0 for the others), and the shadows do not: they were"
        " read as labels, too, which tell attacks far less. If the target gives probabilities, save these"
        " (predict_proba, a softmax, and no argmax)."
    )


def coarse_doubt(known: Formats) -> str | None:
    """What is to be said of shadows that answer with labels alone, and of a target that does not; None of others."""
    if known.shadows.kind != "labels" or known.target.kind == "labels":
        return None
    return (
        "The shadows answer with labels alone, so the target is judged by labels alone, too, which tell attacks far"
        " less than what it answers: let shadows answer as the target does, as of a fit(x, y, *, seed) that returns"
        " model.decision_function or model.predict_proba (which SVC(probability=True) has). A tree that is grown to"
        " the end answers 0 and 1 by nature: take shadows of the target's kind."
    )


def of_saved(target: np.ndarray, shadows: np.ndarray, *, common: bool = True) -> Formats:
    """The formats of saved answers.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        common: bring both to a common format; otherwise each is read as it is.
    """
    flat = shadows.reshape(-1, shadows.shape[-1])
    step = max(1, flat.size // ENTRIES)
    one, other = answer_format.recognize(target), answer_format.recognize(flat[::step])
    if one.least and other.least and one.kind == other.kind:  # votes and counts: a zero is the same of both
        least = min(one.least, other.least)
        one, other = one._replace(least=least), other._replace(least=least)
    if not common:
        return Formats(one, other, (), ())
    share = labeled(target, one, labels_among(flat[::step]))
    return Formats(one, other, lacking(one, other), lacking(other, one), share)


def mixed_note(shadows: Array | Sequence[Array]) -> str | None:
    """The sentence on shadows [S, n, c] of which some answer with labels, or rounded, and others do not; or None."""
    share = np.array([labels_among(np.asarray(p)) for p in shadows])
    if share.max() == 1 and share.min() < 0.5:
        return _mixed(share == 1, "answer with labels alone")
    digits = np.array([_digits(np.asarray(p)) for p in shadows])
    rounded = (digits > 0) & (digits < EXACT)
    exact = digits == EXACT
    if rounded.any() and exact.any():
        most = int(digits[rounded].max())
        if max(_share_of(np.asarray(shadows[k]), most) for k in np.flatnonzero(exact)) < ALMOST:
            return _mixed(rounded, "are rounded", "are not")
    various = np.array([len(np.unique(equal_answers.numbers(p))) / len(p) for p in shadows])
    few = various < FEW_ANSWERS
    return (
        _mixed(few, "have few different answers") if few.any() and np.sort(various)[len(few) // 2] > VARIOUS else None
    )


def _share_of(p: np.ndarray, digits: int) -> float:
    """The share of numbers that have so few digits: nearly all votes of trees, of which some have mixed leaves."""
    values = 10.0**digits * np.asarray(p, np.float64)
    return float(np.isclose(values, np.round(values), atol=1e-4).mean())


def _mixed(coarse: np.ndarray, what: str, others: str = "do not") -> str:
    names = np.flatnonzero(coarse)
    return (
        f"{len(names)} of {len(coarse)} shadows ({few_of(names)}, counted from 0) {what}, and the others {others}:"
        " attacks that compare a record's models take the format for memory. Ask all of them in the same way."
    )


def _digits(p: np.ndarray) -> int:
    """The digits of answers [n, c], ``EXACT`` where they are not rounded; 0 of too few values to tell."""
    values = np.asarray(p)[:: max(1, len(p) // ROWS)]
    different = len(np.unique(values))
    if different < MANY:  # one digit has eleven values
        return int(different >= TENTHS and np.allclose(10 * values, np.round(10 * values), atol=1e-5))
    return answer_format.recognize(values).digits or EXACT


def lacking(answers: Answers, like: Answers) -> tuple[AnswerDefense, ...]:
    """What makes ``answers`` look ``like`` others, without what they do already."""
    return tuple(defense for defense in defenses.from_answers(like) if defense.changes(answers))
