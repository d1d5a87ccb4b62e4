"""What models do on the records that they are said to have trained on: labels that they never saw, nothing remembered.

A model is rarely wrong on its own training records where it is sure. Labels with noise that came after the training, or
of another version of the data, show in that; so do models that are said to have trained on what they did not. NumPy.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.checks.naming import percent
from mia_jax.statistics import metrics
from mia_jax.types import Array

RARE = 0.05  # share of a class that models of two answer now and then
GAP = 0.06  # by which a model may be surer of its members' answers than it is right: fitted ones are rarely at all
FEW = 200  # answers about members that tell it
WRONG, ALIKE = 0.08, 0.58  # of its members, and the AUC of its sureness, where it is as sure when wrong as when right
LEVEL, ONE_SIDED, FEWER = 1e-5, 0.02, 5.0  # of labels that are contradicted on one side: chance, share, times as many
EXPECTED = 10.0  # errors on new records by a model's own probabilities, where it makes none: one chance in 20,000
KNOWN = 0.01  # standard error of an AUC that is said to be one half
OWN, PLAIN = 50, 5.0  # members, and standard errors by which others know records that are new to them better
MODELS, SAMPLE = 64, 32768  # models and records that are looked at, of numbers
HALVES, RELATED, SIGNED, APART = 6, 0.5, 100, 5.0  # models, correlation of training sets, records, standard errors


class Members(NamedTuple):
    """A model's, or several models', answers about records that trained them: means."""

    sure: float  # of the best class
    right: float
    count: int
    area: float = 1.0  # how likely a right answer is surer than a wrong one

    @property
    def misled(self) -> bool:
        """Whether it is sure and wrong: more than right, or wrong answers as sure as right ones."""
        as_sure = self.area < ALIKE and 1 - self.right > WRONG
        return self.count >= FEW and (self.sure - self.right >= GAP or as_sure)


def notes(
    labels: Array, target: Array, shadows: Array, shadow_member: Array, member: Array | None = None
) -> tuple[str, ...]:
    """What is to be said of it, in sentences.

    Args:
        labels: int [n].
        target: probabilities [n, c], and not labels as such.
        shadows: probabilities [S, n, c].
        shadow_member: bool [S, n].
        member: bool [n], who trained the target, where that is known.
    """
    labels, trained = np.asarray(labels), np.asarray(shadow_member, bool)
    if not len(shadows):
        return ()
    shadow = _members(np.stack([np.asarray(p) for p in shadows]), labels, trained)
    if note := _of_shadows(shadow, _never(labels, shadows)):
        return (note,)
    if member is not None and (note := of_target(labels, target, member, shadow)):
        return (note,)
    if member is not None and (note := never_wrong(labels, target, member)):
        wrong = np.stack([np.asarray(p).argmax(axis=1) != labels for p in shadows]) & ~trained
        if wrong.any(axis=1).all():
            return note
    sure = np.stack([np.asarray(p)[np.arange(len(labels)), labels] for p in shadows])
    return tuple(_remembers_nothing(sure, trained))


def of_target(labels: Array, target: Array, member: Array, shadow: Members) -> str | None:
    """The note on a target that is sure and wrong on its said members, where shadows are not on theirs.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        member: bool [n].
        shadow: the shadows' answers about their own.
    """
    own = _members(np.asarray(target)[None], np.asarray(labels), np.asarray(member, bool)[None])
    if not own.misled or shadow.misled or shadow.right - own.right < WRONG:
        return None
    return (
        f"The target is right on {percent(own.right)} of the records that are said to have trained it, and its"
        f" best class has a mean probability of {own.sure:.2f} there; shadows are right on {percent(shadow.right)} of"
        " theirs. Either it was trained on other labels than these (noise that came later, another version of the"
        " data), or on other records than member says, or it gets records otherwise than in its training (unit,"
        " scaling, order of features), or another model answers a part of them (an A/B test, a fallback, a new"
        " version)."
    )


def of_target_alone(labels: Array, target: Array, member: Array) -> tuple[str, ...]:
    """The note on a target that is sure and wrong on its said members, where there are no shadows, in a sentence.

    Args:
        labels: int [n].
        target: probabilities [n, c]; labels as such tell nothing.
        member: bool [n].
    """
    p = np.asarray(target)
    own = _members(p[None], np.asarray(labels), np.asarray(member, bool)[None])
    if not own.misled or (p.max(axis=1) == 1).all():
        return ()
    return (
        f"The target is right on {percent(own.right)} of the records that are said to have trained it, and its best"
        f" class has a mean probability of {own.sure:.2f} there. {_CAUSES.format('it')}",
    )


def never_wrong(labels: Array, target: Array, member: Array) -> tuple[str, ...]:
    """The note on a target that is right on all records, though unsure of new ones: of its own predictions as labels.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        member: bool [n].
    """
    p, new = np.asarray(target), ~np.asarray(member, bool)
    expected = float((1 - p.max(axis=1))[new].sum())
    if expected < EXPECTED or (p.argmax(axis=1) != np.asarray(labels)).any():
        return ()
    return (
        f"The target is right on every record, also on all {int(new.sum()):,} that are said not to have trained it, of"
        f" which {expected:.0f} should be wrong by its own probabilities: y seems to be what it predicts, and not the"
        " labels that it was trained on, or it trained on all of the records.",
    )


def below_new(labels: Array, right: Array, member: Array, shadow_right: Array, shadow_member: Array) -> tuple[str, ...]:
    """The doubt of a target that is right on fewer of its own members than shadows are of records new to them.

    Args:
        labels: int [n].
        right: bool [n], which records the target answers rightly.
        member: bool [n].
        shadow_right: bool [S, k], of each shadow's records.
        shadow_member: bool [S, k].
    """
    right, member = np.asarray(right, bool), np.asarray(member, bool)
    of, new = np.asarray(shadow_right, bool), ~np.asarray(shadow_member, bool)
    each = np.array([row[there].mean() for row, there in zip(of, new, strict=True) if there.any()])
    if not len(each) or member.sum() < OWN:
        return ()
    own, usual, rare = float(right[member].mean()), float(each.mean()), int(new.sum(axis=1).min())
    chance = float(np.bincount(np.asarray(labels)).max() / len(right))
    error = np.sqrt(own * (1 - own) / member.sum() + usual * (1 - usual) / max(rare, 1) + each.var())
    if min(each.min(), usual - max(WRONG, PLAIN * error)) <= own or usual - chance < max(WRONG, PLAIN * error):
        return ()
    return (
        f"The target is right on {percent(own)} of its own members, and shadows on {percent(usual)} of records that are"
        " new to them: it seems to get records otherwise than in its training (unit, scaling, order of features), or it"
        " was trained on other labels or other records, or is a far weaker model. Ask it with records as they trained"
        " it; train the shadows as it was.",
    )


def of_one_side(right: Array, shadow_member: Array, member: Array) -> tuple[str, ...]:
    """What is to be said where shadows contradict the labels of members alone, or of others alone, in a sentence.

    Which records are the target's members was drawn, whatever trained the shadows: those on which most shadows that
    they trained are wrong must be members as often as any others (hypergeometric).

    Args:
        right: bool [S, n], which records each shadow answers rightly.
        shadow_member: bool [S, n].
        member: bool [n].
    """
    right, trained, member = (np.asarray(a, bool) for a in (right, shadow_member, member))
    count = trained.sum(axis=0)
    there = count > 0
    against = there & (2 * (~right & trained).sum(axis=0) > count)
    for side, words in ((~member, "non-members"), (member, "members")):
        inside, size = int((against & side).sum()), int((there & side).sum())
        other, rest = int((against & ~side).sum()), int((there & ~side).sum())
        chance = stats.hypergeom.sf(inside - 1, size + rest, size, inside + other)
        if size and rest and chance < LEVEL and inside >= ONE_SIDED * size and other * size * FEWER <= inside * rest:
            return (
                f"Shadows that trained on them contradict the labels of {inside / size:.1%} of the target's {words},"
                f" and of {other / rest:.1%} of the others: the labels of {words} seem to be others than those of the"
                " training (noise, another version, predictions). Give the labels that the models were trained on.",
            )
    return ()


def _never(labels: np.ndarray, models: Array) -> str:
    """That no model of two classes ever answers one that many labels are of, as a cause, in words; else nothing."""
    if np.shape(models)[2] != 2 or np.bincount(labels, minlength=2).min() < RARE * len(labels):
        return ""
    never = [k for k in (0, 1) if all((np.asarray(p)[:, k] <= 0.5 + 1e-6).all() for p in models)]
    return f"; none of them ever answers class {never[0]}, as where the larger probability comes first" if never else ""


def _of_shadows(shadow: Members, never: str) -> str | None:
    if not shadow.misled:
        return None
    return (
        f"Shadows are right on {percent(shadow.right)} of the records that are said to have trained them, and their"
        f" best class has a mean probability of {shadow.sure:.2f} there{never}. {_CAUSES.format('models')}"
    )


_CAUSES = (
    "The labels may be others than those of the training (noise, another version of the data); fit may drop some of the"
    " records (outliers, a sampler); {} may be asked about records otherwise than in training (unit, scaling, order of"
    " features or channels, a type in which numbers wrap), or answer with weights that were not loaded; or such models"
    " are always too sure (naive Bayes, sharpened logits)."
)


def _members(p: np.ndarray, labels: np.ndarray, trained: np.ndarray) -> Members:
    count = int(trained.sum())
    if not count:
        return Members(0.0, 0.0, 0)
    best, right = p.max(axis=2)[trained], (p.argmax(axis=2) == labels)[trained]
    wrong, area = int((~right).sum()), 1.0
    if 0 < wrong < count:
        area = metrics.area(best, right)[0]
    return Members(float(best.mean()), float(right.mean()), count, area)


def of_numbers(models: Array, trained: Array) -> tuple[str, ...]:
    """What is to be said of models whose numbers are no larger on their said members than on others, in a sentence.

    Args:
        models: float [K, n], a number of each record and model, larger where the model fits the record better.
        trained: bool [K, n], who trained them.
    """
    some, rows = samples.every(len(models), MODELS), samples.rows(np.shape(models)[1], SAMPLE)
    numbers, trained = np.asarray(models, np.float64)[some][:, rows], np.asarray(trained, bool)[some][:, rows]
    if said := _both_ways(numbers, trained):
        return (said,)
    numbers = stats.rankdata(numbers, axis=1)
    if (found := _one_half(numbers, trained)) is None or _one_half(numbers - numbers.mean(axis=0), trained) is None:
        return ()
    return (
        "Models' numbers are no larger on the records that are said to have trained them than on others (AUC"
        f" {found:.3f}): attacks have little to learn from them. Either such models remember nothing, or all of them"
        " trained on all records, or the columns of shadow_member and member are in another order than the records'"
        " numbers (a loader that shuffles, a table that was sorted), or numbers are predictions or signed errors, and"
        " not larger where a model fits better.",
    )


def _both_ways(numbers: np.ndarray, trained: np.ndarray) -> str | None:
    """What training moves both ways: up for some records, down for as many others, in one half of models as in another.

    No record is fitted worse by models that trained on it, so that numbers would be signed, or predictions as such.
    """
    some = trained.any(axis=1) & ~trained.all(axis=1)
    numbers, trained = numbers[some], trained[some]
    if len(trained) < HALVES or (groups := samples.halves(np.abs(np.corrcoef(trained)) > RELATED)) is None:
        return None  # of few training sets, what the others of a set do is moved, too
    numbers = numbers / np.maximum(numbers.std(axis=0), 1e-12)  # where all predictions are far from y, they move little
    halves = [_moved_by(numbers[half], trained[half]) for half in groups]
    there = np.isfinite(halves[0]) & np.isfinite(halves[1])
    one, other = (half[there] for half in halves)
    if len(one) < SIGNED:
        return None
    low, high = np.zeros(2), np.zeros(2)
    for by, told in ((one, other), (other, one)):
        for side, out in ((by <= np.quantile(by, 0.25), low), (by >= np.quantile(by, 0.75), high)):
            out += told[side].mean() / 2, told[side].std() / np.sqrt(side.sum()) / 2
    down, up = low[0] / max(low[1], 1e-9), high[0] / max(high[1], 1e-9)
    if down > -APART or up < APART or max(-low[0], high[0]) > 2 * min(-low[0], high[0]):
        return None
    return (
        "Models that trained on a record have a larger number of it in some records, and a smaller one in as many"
        f" others (by {up:.0f} and {-down:.0f} standard errors): numbers seem to be predictions, or signed errors, or"
        " errors beside another y (its unit, its logarithm), and not larger where a model fits better. Give minus the"
        " loss, as -(prediction - y)**2, both in one unit."
    )


def _moved_by(numbers: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """float [n]: how much larger each record's number is in models that trained on it; NaN where none, or all, did."""
    count = trained.sum(axis=0)
    inside = (numbers * trained).sum(axis=0) / np.where(count > 0, count, np.nan)
    return inside - (numbers * ~trained).sum(axis=0) / np.where(count < len(trained), len(trained) - count, np.nan)


def _remembers_nothing(sure: np.ndarray, trained: np.ndarray) -> list[str]:
    """Shadows [S, n] that are as sure of their said members as of others: the AUC, if it is surely one half."""
    if (area := _one_half(sure, trained)) is None:
        return []
    return [
        f"Shadows are no surer of the records that are said to have trained them than of the others (AUC {area:.3f}):"
        " attacks have little to learn from them. Either such models remember nothing; or they answered about each"
        " record by models without it (out of bag, cross-validation), or in training (dropout, augmentation); or all of"
        " them trained on all records; or the columns of shadow_member are in another order than the records."
    ]


def _one_half(sure: np.ndarray, trained: np.ndarray) -> float | None:
    """The AUC of models' numbers [S, n] for their said members, if it is surely one half."""
    inside = trained.sum(axis=1)
    both = (inside > 0) & (inside < trained.shape[1])
    if not both.any():
        return None
    areas, errors = zip(*(metrics.area(*each) for each in zip(sure[both], trained[both], strict=True)), strict=True)
    weight = 1 / np.square(errors)
    area, error = float(np.average(areas, weights=weight)), float(1 / np.sqrt(weight.sum()))
    if error > KNOWN or abs(area - 0.5) > 2 * error:
        return None
    return area
