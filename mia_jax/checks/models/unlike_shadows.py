"""Whether the target is like its shadows: as well told from outside, and as sure, as each shadow in its place.

``member`` of another split, or off by one row, gives an AUC of one half and looks safe; so do answers about records
that were held out. A target that was trained or answers otherwise than its shadows is attacked worse than it could be.
Each shows beside what shadows give when they are the target in turn, compared with the others on the same records, so
that no record's or class's hardness matters. NumPy and SciPy; never imports jax.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.statistics import metrics
from mia_jax.types import Array

LEVEL = 1e-4  # of each prediction interval that makes a doubt, or speaks of a service
NOTED = 4e-4  # of each one that makes a note: of four that hang together, so that one honest file in 1,000 has one
LEAST = 4  # shadows that tell how such models differ
SIDE = 30  # members, and others, of each model
TOLD = 0.55  # AUC of each shadow, at least, where shadows can be told
SPREAD = 1.5  # times the error of independent records, at most, that areas and memories of like models are spread by
FEW = 0.01  # level of Student's interval of few shadows, where those are spread no more than so
FLOOR = 0.003  # standard deviation among models, at least
WORTH_AREA, WORTH_LEVEL, WORTH_GAP = 0.05, 0.03, 0.2  # differences that are worth a word; the last in logits
SLIPPED = 4.5  # standard errors above 1/2 of the AUC with ``member`` one row on
GROSS = 0.2  # AUC that no shadow comes near: another kind of model, and no note but a doubt
CLIP = 1e-4  # probabilities nearer to 0 or 1 are taken for this: forests answer 0
SAMPLE = 16384  # records that are looked at, of more


class Told(NamedTuple):
    """What one model gives in the target's place, beside other models' answers about the same records."""

    score: np.ndarray  # float [n], logit of p(true class) less its mean over models that did not train; NaN: none
    area: float  # AUC of the scores
    inside: float  # mean p(true class) on its members, less that of models that trained on them, too
    outside: float  # the same on others, less that of models that did not train on them, either
    own: tuple[float, float]  # mean p(true class) on its members, and on others
    memory: float = 0.0  # as ``gap``, of logits
    paired: Mapping[str, float] = {}  # standard errors of area and memory, of independent records

    @property
    def both(self) -> float:
        """How much surer it is of all records."""
        return (self.inside + self.outside) / 2

    @property
    def gap(self) -> float:
        """How much surer it is of its members than of others, beside other models."""
        return self.inside - self.outside


class Beside(NamedTuple):
    """The target, and each shadow in its place."""

    target: Told
    shadows: tuple[Told, ...]
    errors: Mapping[str, float] = {}  # standard errors of the target's numbers, where its records are others
    numbers: tuple[int, ...] = ()  # of ``shadows``, among all that there are; of ``beside`` alone

    def range(self, name: str, level: float = LEVEL) -> tuple[float, float]:
        """Where the target's number lies, if it is one of such models: a prediction interval (Student's t)."""
        each = np.array([getattr(one, name) for one in self.shadows])
        count = len(each)
        spread = max(each.std(ddof=1), FLOOR)
        narrow = SPREAD * self.target.paired.get(name, 0.0)
        alike = 0 < spread <= narrow
        if self.errors or name == "area":  # what is less a mean over the others is spread by that mean already
            spread = np.hypot(spread * np.sqrt(1 + 1 / count), self.errors.get(name, 0.0))
        far = stats.t.ppf(1 - level / 2, count - 1) * spread
        if alike:
            few = stats.t.ppf(1 - FEW / 2, count - 1) * spread
            far = min(far, max(few, stats.norm.isf(LEVEL / 2) * narrow * np.sqrt(1 + 1 / count)))
        return float(each.mean() - far), float(each.mean() + far)

    def off(self, name: str, worth: float) -> float:
        """How far the target's number lies from the shadows' mean; 0 within the prediction interval."""
        value, (low, high) = getattr(self.target, name), self.range(name, LEVEL if self.errors else NOTED)
        apart = value - (low + high) / 2
        return float(apart) if not low <= value <= high and abs(apart) > worth else 0.0


def beside(sure: Array, member: Array, shadow_sure: Array, shadow_member: Array, related: Array) -> Beside | None:
    """Each model in the target's place; None where too few can be.

    Args:
        sure: float [n], the target's probability of the true class.
        member: bool [n].
        shadow_sure: float [S, n], answered in the same format.
        shadow_member: bool [S, n].
        related: bool [1 + S, 1 + S], ``membership.related`` of the target and the shadows: no model is compared with
            one whose training set tells its own.
    """
    rows = samples.rows(len(sure), SAMPLE)
    trained = np.concatenate([np.asarray(member, bool)[None, rows], np.asarray(shadow_member, bool)[:, rows]])
    p = np.concatenate([np.asarray(sure, np.float64)[None, rows], np.asarray(shadow_sure, np.float64)[:, rows]])
    others = ~np.asarray(related, bool)  # nor with itself
    others[:, 0] = False  # the target plays no part where a shadow is in its place
    inside, logit, of = trained.astype(np.float64), logits(p), others.astype(np.float64)
    means = [
        _mean(of, side, each) for side, each in ((inside, p), (inside, logit), (1 - inside, p), (1 - inside, logit))
    ]
    enough = others.sum(axis=1) >= 2
    each = [
        _told(p[k], logit[k], trained[k], *(mean[k] for mean in means)) if enough[k] else None for k in range(len(p))
    ]
    numbers = tuple(k for k, one in enumerate(each[1:]) if one is not None)
    shadows = tuple(one for one in each[1:] if one is not None)
    return None if each[0] is None or len(shadows) < LEAST else Beside(each[0], shadows, numbers=numbers)


def beside_service(sure: Array, member: Array, shadow_sure: Array, shadow_member: Array) -> Beside | None:
    """The same of a service, whose shadows were asked about other records: what each model alone gives.

    Args:
        sure: float [n], the service's probability of the label.
        member: bool [n].
        shadow_sure: float [S, k], of each shadow's own training and test records, answered in the same format.
        shadow_member: bool [S, k].
    """
    models = [(sure, member), *zip(shadow_sure, shadow_member, strict=True)]
    each = [(np.asarray(p, np.float64), np.asarray(mine, bool)) for p, mine in models]
    if len(each) <= LEAST or min(min(mine.sum(), (~mine).sum()) for _, mine in each) < SIDE:
        return None
    told = []
    for p, mine in each:
        own = float(p[mine].mean()), float(p[~mine].mean())
        told.append(Told(p, _area(p, mine)[0], *own, own))
    p, mine = each[0]
    inside, outside = (float(p[side].std() / np.sqrt(side.sum())) for side in (mine, ~mine))
    gap = float(np.hypot(inside, outside))
    errors = {"area": _area(p, mine)[1], "inside": inside, "outside": outside, "gap": gap, "both": gap / 2}
    return Beside(told[0], tuple(told[1:]), errors)


def doubts(found: Beside, member: Array) -> tuple[str, ...]:
    """Why ``member`` may not be that of the answers, in sentences: all shadows are told by theirs, the target is not.

    One shadow may be told by chance, too: the one whose answers, or members, the target may have.

    Args:
        found: of ``beside``.
        member: bool [n], of the target.
    """
    areas, but = [one.area for one in found.shadows], ""
    if sorted(areas)[0] < TOLD and len(areas) > LEAST:
        odd = int(np.argmin(areas))
        but = f" but {naming.shadows([found.numbers[odd]])}" if found.numbers else " but one"
        found = found._replace(shadows=found.shadows[:odd] + found.shadows[odd + 1 :])
        areas = [one.area for one in found.shadows]
    member, rows, score = np.asarray(member, bool), samples.rows(len(member), SAMPLE), found.target.score
    area, error = _area(score, member[rows])
    low = found.range("area")[0]
    if min(areas) < TOLD or area >= low or area - 1.96 * error > 0.5:
        return ()
    text = (
        f"Each shadow{but}, in the target's place, is told with an AUC of {min(areas):.2f} to {max(areas):.2f}, and the"
        f" target with {area:.2f}, as by chance: member is not that of these answers (another split, rows in another"
        " order), or the target was trained or answers otherwise than the shadows (regularized, with differential"
        " privacy, a defense, answers held out of its training; refitted on all of the records), or the shadows trained"
        " on its records, too."
    )
    moved = {by: _area(score, np.roll(member, by)[rows]) for by in (1, -1)}
    by = max(moved, key=lambda one: moved[one][0])
    there, chance = moved[by]
    if there >= max(low, TOLD, 0.5 + SLIPPED * chance):
        text += f" With np.roll(member, {by}) it is told with {there:.2f}: member seems to be off by one row."
    else:
        text += " If it is defended on purpose, defend the shadows as well, to see what that is worth."
    return (text,)


def notes(found: Beside, *, level: bool = True) -> tuple[str, ...]:
    """How the target is unlike its shadows, in sentences; () where it is as one of them.

    Args:
        found: of ``beside``, or ``beside_service``.
        level: the answers tell how sure a model is; labels do not.
    """
    said, apart = [], bool(found.errors)
    if found.off("area", WORTH_AREA):
        areas, where = [one.area for one in found.shadows], "" if apart else ", in the target's place,"
        by = " by how sure it is of the label" if apart else ""
        said.append(
            f"Each shadow{where} is told{by} with an AUC of {min(areas):.2f} to {max(areas):.2f}, and the target with"
            f" {found.target.area:.2f}"
        )
    if level and (sides := _sides(found)):
        (inside, outside), own = (found.target.inside, found.target.outside), found.target.own
        usual = own[0] - inside, own[1] - outside
        if apart:
            usual = tuple(np.mean([one.own for one in found.shadows], axis=0))
        theirs = "theirs" if apart else "the same records"
        words = " and ".join(f"{'surer' if off > 0 else 'less sure'} {where}" for where, off in sides)
        said.append(
            f"The target is {words} than shadows are of {theirs} (mean probability of the true class"
            f" {own[0]:.2f} on its members and {own[1]:.2f} on others, where shadows have {usual[0]:.2f} and"
            f" {usual[1]:.2f})"
        )
    if level and not said and (off := found.off("memory", WORTH_GAP)):
        said.append(
            f"The target sets its members apart from others {'more' if off > 0 else 'less'} than shadows set theirs (by"
            f" {abs(off):.2g} in the logit of the true class's probability)"
        )
    if not said:
        return ()
    return (
        f"{'. '.join(said)}. They are not alike, and attacks that compare them can be far weaker, or misled. Train"
        " the shadows as the target was, on as many records and for as long, let them answer in the same way, and see"
        " that member holds all of its records and no others, that it gets them as in its training, and that y"
        " holds the labels of that.",
    )


def gross(found: Beside) -> tuple[str, ...]:
    """Why shadows say little of the target, in a sentence: it is told far better, or worse, than any of them.

    Args:
        found: of ``beside``.
    """
    areas = [one.area for one in found.shadows]
    if not found.off("area", GROSS) or np.abs(found.target.area - np.array(areas)).min() <= GROSS:
        return ()
    who, was = ("the target", "was") if found.target.area < min(areas) else ("the shadows", "were")
    return (
        f"Each shadow, in the target's place, is told with an AUC of {min(areas):.2f} to {max(areas):.2f}, and the"
        f" target with {found.target.area:.2f}. They are not alike: {who} {was} trained on more records, or not on all"
        " that they are said to be, for a shorter time or by another method, or defended, or asked otherwise than in"
        " training (scaling); what such shadows find of the target says little. Train, and defend, the shadows as the"
        " target was.",
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _sides(found: Beside) -> list[tuple[str, float]]:
    """Where the target is surer, or less sure, than shadows, and by how much."""
    sides = [("of its members", "inside"), ("of others", "outside")]
    there = [(where, off) for where, name in sides if (off := found.off(name, WORTH_LEVEL))]
    if there:
        return there
    if off := found.off("both", WORTH_LEVEL):
        return [("of all records", off)]
    if off := found.off("gap", WORTH_LEVEL):
        return [(sides[0][0], off), (sides[1][0], -off)]
    return []


def _mean(others: np.ndarray, side: np.ndarray, of: np.ndarray) -> np.ndarray:
    """float [K, n]: means of [K, n] over each model's others [K, K] on one side of a record [K, n]; NaN: of none."""
    count = others @ side
    return np.divide(others @ (of * side), count, out=np.full(count.shape, np.nan), where=count > 0.5)


def _told(
    p: np.ndarray,
    logit: np.ndarray,
    mine: np.ndarray,
    p_in: np.ndarray,
    logit_in: np.ndarray,
    p_out: np.ndarray,
    logit_out: np.ndarray,
) -> Told | None:
    """One model's probabilities and logits [n] beside others' means; None where too few records can be compared.

    Args:
        p, logit: of the model.
        mine: bool [n], who trained it.
        p_in, logit_in: means over others that trained on a record; NaN: there are none.
        p_out, logit_out: over others that did not.
    """
    there_out = ~np.isnan(p_out)
    inside, outside = mine & ~np.isnan(p_in), ~mine & there_out
    if min(inside.sum(), outside.sum(), (mine & there_out).sum()) < SIDE:
        return None
    score, beyond = logit - logit_out, logit - logit_in
    area, error = _area(score, mine)
    of_memory = np.hypot(*(a.std() / np.sqrt(len(a)) for a in (beyond[inside], score[outside])))
    return Told(
        score,
        area,
        float((p - p_in)[inside].mean()),
        float((p - p_out)[outside].mean()),
        (float(p[inside].mean()), float(p[outside].mean())),
        float(beyond[inside].mean() - score[outside].mean()),
        {"area": error, "memory": float(of_memory)},
    )


def logits(p: np.ndarray) -> np.ndarray:
    """Of probabilities, an array of any shape [...], none nearer to 0 or 1 than ``CLIP``."""
    return np.log(np.clip(p, CLIP, 1 - CLIP) / np.clip(1 - p, CLIP, 1 - CLIP))


def _area(score: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """The AUC of scores [n] that are numbers, and its standard error where nothing is told."""
    known = ~np.isnan(score)
    return metrics.area(score[known], member[known])
