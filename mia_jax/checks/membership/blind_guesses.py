"""How well membership is guessed without the target: from the class alone, and from what shadows find hard.

Where members were not drawn at random, an attack may find what they have in common, and no memory: a blind baseline
(Das, Zhang and Tramer, "Blind Baselines Beat Membership Inference Attacks for Foundation Models", 2024). Who is a
member was drawn, says the null, so both guesses have the distribution of Mann and Whitney's statistic. NumPy and SciPy.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.checks.answers import equal_answers
from mia_jax.checks.models import unlike_shadows
from mia_jax.statistics import metrics, row_groups
from mia_jax.types import Array

LEVEL = 1e-4  # of the guess by the class, which may become a doubt
NOTED = 5e-4  # of each of the two by hardness, which are notes: one honest file in 1,000 has one
WORTH, PLAIN = 0.55, 0.75  # AUCs that are worth a word, and that put an attack's in doubt
MEND = ", or began so: train them from the start, on raw records"
BESIDE, ERRORS = 0.6, 6.0  # AUC, and standard errors, that are worth a word whatever else is said
SIDE = 30  # members, and others


class Guess(NamedTuple):
    """A guess of who is a member that does not ask the target."""

    area: float  # AUC, above a half
    error: float  # of the same, by chance
    higher: bool  # a larger number is a member's
    level: float = LEVEL

    @property
    def told(self) -> bool:
        """Whether it is no accident, and worth a word."""
        return self.area > max(WORTH, 0.5 + stats.norm.isf(self.level / 2) * self.error)

    @property
    def plain(self) -> bool:
        """Whether it is worth a word beside others."""
        return self.area > max(BESIDE, 0.5 + ERRORS * self.error)

    def __str__(self) -> str:
        low, high = max(self.area - 1.96 * self.error, 0.5), min(self.area + 1.96 * self.error, 1.0)
        return f"{self.area:.2f} [{low:.2f}, {high:.2f}]"


def by_class(labels: Array, member: Array, copied: float = 1.0) -> Guess | None:
    """From the class alone: each half of the records by the classes' shares of members in the other half.

    Args:
        labels: int [n].
        member: bool [n].
        copied: how often a record is in the file, on average, or how many were drawn together.

    Returns:
        The mean AUC of both halves, with the error of one (they are not independent); None of too few records.
    """
    labels, member = np.asarray(labels), np.asarray(member, bool)
    if min(member.sum(), (~member).sum()) < 2 * SIDE:
        return None
    half = np.zeros(len(labels), bool)
    half[np.random.default_rng(0).permutation(len(labels))[::2]] = True
    areas, errors = [], []
    for learned, judged in ((half, ~half), (~half, half)):
        count, inside = (np.bincount(labels[rows], minlength=labels.max() + 1) for rows in (learned, learned & member))
        share = (inside + member[learned].mean()) / (count + 1)
        if len({*member[judged]}) < 2:
            return None
        area, error = metrics.area(share[labels[judged]], member[judged])
        areas.append(area)
        errors.append(error)
    return Guess(float(np.mean(areas)), max(errors) * np.sqrt(copied), True)


def by_hardness(sure: Array, shadow_member: Array, member: Array) -> Guess | None:
    """From how sure shadows that did not train on a record are of it: as it is, or beside those that did.

    The latter takes most of a record's own hardness away, so that less is left of chance: the logit's mean over shadows
    that did not train on a record, less what is linear in the mean over those that did (no square: a mean over fewer
    shadows is spread further, and each record's number of shadows may tell a member).

    Args:
        sure: float [S, n], shadows' probability of the true class.
        shadow_member: bool [S, n].
        member: bool [n].

    Returns:
        The guess that tells more; None of too few records.
    """
    member, trained = np.asarray(member, bool), np.asarray(shadow_member, bool)
    sure = np.asarray(sure, np.float64)
    logit, more = unlike_shadows.logits(sure), np.sqrt(_copied(sure, trained))
    (hard, new), (outside, _) = samples.means(sure, ~trained), samples.means(logit, ~trained)
    inside, count = samples.means(logit, trained)
    there, both = new > 0, (new > 0) & (count > 0)
    guesses = [_guess(hard, member, there, more)]
    if both.sum() > 1:
        spread = np.cov(inside[both], outside[both])
        guesses.append(_guess(outside - spread[0, 1] / max(spread[0, 0], 1e-12) * inside, member, both, more))
    found = [guess for guess in guesses if guess is not None]
    return max(found, key=lambda guess: (guess.area - 0.5) / guess.error) if found else None


def doubts(labels: Array, member: Array, shadow_member: Array | None = None) -> tuple[str, ...]:
    """The doubt about an audit whose members are nearly told by their class, in a sentence; ().

    Args:
        labels: int [n].
        member: bool [n].
        shadow_member: bool [S, n], which tells rows that were drawn together; None: there is none.
    """
    guess = by_class(labels, member, _together(shadow_member))
    if guess is None or not guess.told or guess.area - 1.96 * guess.error < PLAIN:
        return ()
    return (
        f"The class alone tells who is a member, with an AUC of {guess}: what an attack finds here may be the class,"
        " and no memory of a record. Judge records of which each class has the same share of members.",
    )


def notes(
    labels: Array,
    member: Array,
    sure: Array | None = None,
    shadow_member: Array | None = None,
    *,
    hardness: bool = True,
) -> list[str]:
    """What is to be said where membership is guessed without the target, in sentences.

    Args:
        labels: int [n].
        member: bool [n].
        sure, shadow_member: as of ``by_hardness``, where there are shadows of the same records.
        hardness: nothing else is said, so that a guess by that is worth a word.
    """
    said, copied = [], 1.0 if sure is None else _copied(sure, shadow_member)
    if (guess := by_class(labels, member, copied)) and guess.told:
        said.append(
            f"The class alone tells who is a member with an AUC of {guess} (shares of one half of the records, judged"
            " on the other): members were not drawn at random. Attacks that look at single answers (loss, confidence,"
            " shokri) find the class, too, and what they have beyond that AUC is memory at most. Judge records of which"
            " each class has the same share of members."
        )
    elif (
        sure is not None
        and shadow_member is not None
        and (guess := by_hardness(sure, shadow_member, member))
        and (guess.told if hardness else guess.plain)
    ):
        began = (
            ", or shadows began from the target's weights or saw its members, or x holds what the target's own network"
            " made of the records (embeddings)"
        ) * guess.higher
        said.append(
            f"Shadows that did not train on them are {'surer' if guess.higher else 'less sure'} of members than of"
            f" others (AUC {guess}): members were not drawn at random, or are of another time or place{began}."
            " Attacks that look at single answers (loss, confidence, shokri) find"
            f" {'more' if guess.higher else 'less'} for that; those that compare a record with itself in other models"
            " (lira, rmia) do not, but where these trained on other kinds of records than the target did"
            f"{MEND * guess.higher}."
        )
    return said


def _guess(score: np.ndarray, member: np.ndarray, there: np.ndarray, more: float) -> Guess | None:
    """What scores [n] tell of the records that are there [n]; errors are multiplied by ``more``."""
    if min((member & there).sum(), (~member & there).sum()) < SIDE:
        return None
    area, error = metrics.area(score[there], member[there])
    return Guess(max(area, 1 - area), error * more, area > 0.5, NOTED)


def _copied(sure: Array, shadow_member: Array | None) -> float:
    """How often a record is in the file, by answers [S, n] that are the same in all shadows; or how many were drawn."""
    copies = np.shape(sure)[1] / len(np.unique(equal_answers.numbers(np.asarray(sure).T)))
    return max(copies, _together(shadow_member))


def _together(shadow_member: Array | None) -> float:
    """How many rows were drawn together, as all visits of a patient, as shadows' members [S, n] tell it."""
    return 1.0 if shadow_member is None else row_groups.size(shadow_member)
