"""Whether models are as right and as sure on records that they are said not to have trained on as on their own.

A target that trained on all of the records, by a slip, gives an AUC of one half and looks safe. It shows where shadows
do not do on records new to them what it does on its said non-members. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.checks.naming import percent
from mia_jax.types import Array

LEVEL = 1e-5  # of each test
LEAST = 0.15  # by which shadows must be right more often on their members than on others, to say anything
FAR = 0.97  # what shadows are right on beside which a target that is never wrong is too good
OR_BETTER = 0.8  # and beside which it may well be that good
VALUES = 20  # different probabilities without which a model does not tell how sure it is
WRONG = 0.05  # of records new to them, at least, that all shadows but one are wrong on
RELATED = 6.0  # standard errors between sets of members, beyond which one tells of the other (complementary halves)
MANY = 200  # answers about records said to be new without which shadows' are not judged alone
NARROW, NEVER = 0.2, 40  # between the two likeliest classes; records so close of which a vote is wrong on some
UNDERCONFIDENT = 40  # times fewer errors than a model's own probabilities promise: no model is, on records new to it


class Side(NamedTuple):
    """A model's answers, or several models', about records that it is said to have trained on, or not to have."""

    right: float  # share
    sure: np.ndarray  # the true class's probabilities
    errors: int  # records that were answered wrongly
    count: int


def of_answers(
    labels: Array, target: Array, shadows: Array, shadow_member: Array, member: Array | None = None
) -> tuple[str, ...]:
    """Why the target, or the shadows, may have trained on all of the records, in sentences; () where nothing says so.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
    """
    labels, trained = np.asarray(labels), np.asarray(shadow_member, bool)
    each = [np.asarray(p) for p in shadows]
    right = np.stack([p.argmax(axis=1) == labels for p in each])
    if (
        found := _one_shadow(right, trained)
        or _a_shadows_answers(right, trained)
        or _vote(labels, each, right, trained)
    ):
        return found
    if found := _shadows_underconfident(right, each, trained):
        return found
    if member is None or np.all(member) or not np.any(member):
        return ()
    member = np.asarray(member, bool)
    own = np.asarray(target)
    sure = np.stack([p[np.arange(len(labels)), labels] for p in each])
    # Members may be harder than others: shadows are compared on the records that the target is.
    rows = ~member
    if not trained[:, rows].any() or trained[:, rows].all():
        return ()
    spread = _spread(right[:, rows], ~trained[:, rows])
    shadow = (
        _side(right[:, rows], sure[:, rows], trained[:, rows]),
        _side(right[:, rows], sure[:, rows], ~trained[:, rows]),
    )
    own_right, own_sure = own.argmax(axis=1) == labels, own[np.arange(len(labels)), labels]
    if own_right.all() and (found := _own_answers(right, trained, member)):
        return found
    sides = _side(own_right, own_sure, member), _side(own_right, own_sure, ~member)
    return _target(sides, shadow, spread) or _shadows(sides, shadow)


def of_service(
    right: Array, sure: Array, member: Array, shadow_right: Array, shadow_sure: Array, shadow_member: Array
) -> tuple[str, ...]:
    """The same of a service, whose shadows trained on none of the records in question.

    Args:
        right: bool [n], where the target's best class is the label.
        sure: float [n], its probability of the label.
        member: bool [n].
        shadow_right: bool [S, k], of each shadow's own training and test records.
        shadow_sure: float [S, k].
        shadow_member: bool [S, k].
    """
    right, sure, member = np.asarray(right, bool), np.asarray(sure), np.asarray(member, bool)
    shadow_right, trained = np.asarray(shadow_right, bool), np.asarray(shadow_member, bool)
    if member.all() or not member.any() or trained.all() or not trained.any():
        return ()
    shadow = tuple(_side(shadow_right, np.asarray(shadow_sure), side) for side in (trained, ~trained))
    sides = tuple(_side(right, sure, side) for side in (member, ~member))
    return _target(sides, shadow, _spread(shadow_right, ~trained))


# --- pieces ----------------------------------------------------------------------------------------------------------


def _one_shadow(right: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """A shadow that is never wrong on records said to be new to it, where every other one is, often; bool [S, n]."""
    new = (~trained).sum(axis=1)
    if len(right) < 3 or not new.all():
        return ()
    wrong = (~right & ~trained).sum(axis=1)
    k = int(np.argmin(wrong / new))
    least = np.delete(wrong / new, k).min()
    if wrong[k] or least < WRONG or (1 - least / 2) ** new[k] > LEVEL / len(right):
        return ()
    return (
        f"{naming.shadows([k]).capitalize()} is right on all {new[k]:,} records that it is said not to have trained on,"
        f" and no other shadow on more than {percent(1 - least)}: the labels are its own answers, or it trained on all"
        " of the records. Give the labels that the models were trained on, or leave this shadow out.",
    )


def _a_shadows_answers(right: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """Whether labels are what one shadow answers, by labels of their own that others contradict; bool [S, n]."""
    drawn = trained.astype(np.float64)
    for k in np.flatnonzero(right.all(axis=1)):
        apart = np.array([samples.correlation(row, drawn[k]) for row in drawn])  # not itself, nor its complement
        others = np.abs(apart) < RELATED / np.sqrt(trained.shape[1])
        if not others.any():
            continue
        inside, outside, chance = _contradicted(right[others], trained[others], trained[k])
        if chance <= LEVEL / len(right):
            return (
                f"{naming.shadows([k]).capitalize()} is right on all of the records, and other shadows are not right on"
                f" {outside:,} of its non-members and {inside:,} of its members that trained them: the labels seem to"
                " be its own answers. Give the labels that the models were trained on, or leave this shadow out.",
            )
    return ()


def _target(sides: tuple[Side, ...], shadow: tuple[Side, ...], spread: float) -> tuple[str, ...]:
    """Whether the target does on its said non-members what shadows do on their members alone."""
    (inside, outside), (own, new) = sides, shadow
    usual, usual_own = (min(_bound(one, 1 - LEVEL) + 2 * spread, 1.0) for one in (new, own))  # of one shadow, at most
    never_wrong = inside.errors + outside.errors == 0
    chance = stats.binom.sf(outside.count - outside.errors - 1, outside.count, usual)
    if outside.errors == 0 and max(chance, _bound(inside, 1 - LEVEL) ** outside.count) <= LEVEL:
        if own.right - new.right > LEAST and inside.right < (own.right + new.right) / 2:  # as of records that are new
            return (
                f"The target is right on {percent(inside.right)} of its said members, and on all"
                f" {outside.count:,} records that it is said not to have trained on, as shadows are on"
                f" {percent(new.right)} of records new to them and on {percent(own.right)} of their own: member seems"
                " to be inverted, or the labels of non-members to be the target's own answers.",
            )
        return (
            f"The target is right on all {outside.count:,} records that it is said not to have trained on, and on"
            f" {percent(inside.right)} of its members; shadows are right on {percent(new.right)} of records new to"
            " them. The labels of non-members seem to be the target's own answers, or member to be inverted. Give the"
            " labels that the models were trained on.",
        )
    if chance * (usual_own**inside.count if never_wrong else 1.0) > LEVEL:
        return ()
    gap = own.right - new.right
    close = min(max(0.1 * gap, 2 * np.sqrt(own.right * (1 - own.right) / outside.count)), gap / 4)
    as_own = gap > LEAST and outside.right >= own.right - close and abs(inside.right - outside.right) <= 2 * close
    if not as_own and not (never_wrong and new.right < FAR):
        return ()
    if not never_wrong and _tells(inside, outside):
        surer = abs(_above(inside.sure, outside.sure) - 0.5) / np.sqrt((1 / inside.count + 1 / outside.count) / 12)
        if surer > 5 or _above(outside.sure, own.sure) < 0.25:
            return ()
    said = (
        f"The target is right on {percent(outside.right)} of the records that it is said not to have trained on, and"
        f" on {percent(inside.right)} of its members; shadows are on {percent(new.right)} of records new to them and"
        f" on {percent(own.right)} of their own. It seems to have trained on all of the records"
    )
    if never_wrong:
        better = ", or it is a far better model than the shadows" if new.right >= OR_BETTER else ""
        return (f"{said}, or the labels to be its own answers{better}.",)
    if _tells(inside, outside):
        return (f"{said}.",)
    return (f"{said}, or to be a far better model than the shadows, which do not imitate it then.",)


def _own_answers(right: np.ndarray, trained: np.ndarray, member: np.ndarray) -> tuple[str, ...]:
    """Whether shadows are wrong on records that trained them where the target did not train on these, and else are not.

    So it is where shadows trained on other labels than these, and these are what a target that is never wrong answers.
    Who is a member was drawn: the records on which most such shadows are wrong must be members as often as any others.
    """
    inside, outside, chance = _contradicted(right, trained, member)
    if chance > LEVEL:
        return ()
    return (
        f"The target is right on all of the records, and shadows are not right on {outside:,} of"
        f" the target's non-members and {inside:,} of its members that trained them: the labels seem to be the"
        " target's own answers. Give the labels that the models were trained on.",
    )


def _contradicted(right: np.ndarray, trained: np.ndarray, member: np.ndarray) -> tuple[int, int, float]:
    """Records that most of the models [S, n] that trained on them are wrong on: members, others, and their chance."""
    count = trained.sum(axis=0)
    there = count > 0
    against = there & (2 * (~right & trained).sum(axis=0) > count)
    inside = int((against & member).sum())
    chance = stats.hypergeom.cdf(inside, int(there.sum()), int((there & member).sum()), int(against.sum()))
    return inside, int(against.sum()) - inside, float(chance)


def _shadows(sides: tuple[Side, ...], shadow: tuple[Side, ...]) -> tuple[str, ...]:
    """Whether shadows do on records that they are said not to have trained on what the target does on its members."""
    (inside, outside), (own, new) = sides, shadow
    gap = inside.right - outside.right
    if gap < LEAST or new.right < inside.right - gap / 10 or abs(own.right - new.right) > gap / 10:
        return ()
    usual = max(_bound(new, LEVEL) - gap / 10, 0.0)  # what the target would be right on, at least, had it done so
    if stats.binom.cdf(outside.count - outside.errors, outside.count, usual) > LEVEL:
        return ()
    return (
        f"The shadows are right on {percent(new.right)} of the records that shadow_member says they did not train on,"
        f" and on {percent(own.right)} of their own; the target is on {percent(outside.right)} and"
        f" {percent(inside.right)}. The shadows seem to have trained on all of the records.",
    )


def _vote(labels: np.ndarray, each: list[np.ndarray], right: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """Whether the shadows together are never wrong, where each is often wrong on its own members.

    Models that are right on what they trained on may well be right together; of records on which they are divided, and
    each does not know its own, a vote is wrong on some.
    """
    if len(each) < 3 or not trained.any() or (~right)[trained].mean() < WRONG:
        return ()
    votes, mean = np.zeros(each[0].shape), np.zeros(each[0].shape)
    for p in each:
        votes[np.arange(len(labels)), p.argmax(axis=1)] += 1 / len(each)
        mean += p / len(each)
    for together in (mean, votes):
        top = np.partition(together, -2, axis=1)
        narrow = top[:, -1] - top[:, -2] < NARROW
        if narrow.sum() >= NEVER and (together.argmax(axis=1) == labels).all():
            return (
                f"The shadows are each right on {percent(right[trained].mean())} of their own members, and together"
                " (their mean, or a vote) on all of the records, also on those on which they are divided: the labels"
                " seem to be the shadows' own answers. Give the labels that the models were trained on.",
            )
    return ()


def _shadows_underconfident(right: np.ndarray, each: list[np.ndarray], trained: np.ndarray) -> tuple[str, ...]:
    """Whether shadows are nearly never wrong on records said to be new to them, though far from sure of them."""
    new = ~trained
    if new.sum() < MANY:
        return ()
    promised = float(np.mean(np.concatenate([1 - p[rows].max(axis=1) for p, rows in zip(each, new, strict=True)])))
    wrong = float((~right)[new].mean())
    if promised < LEAST or wrong > promised / UNDERCONFIDENT or not right[trained].size:
        return ()
    return (
        f"The shadows are right on {percent(1 - wrong)} of the records that shadow_member says they did not train on,"
        f" though {percent(promised)} would be wrong by their own probabilities: they seem to have trained on all of"
        " the records.",
    )


def _side(right: np.ndarray, sure: np.ndarray, which: np.ndarray) -> Side:
    return Side(float(right[which].mean()), sure[which], int((~right[which]).sum()), int(which.sum()))


def _bound(side: Side, level: float) -> float:
    """A confidence bound on the share that is right (Jeffreys' interval, of independent records)."""
    return float(stats.beta.ppf(level, side.count - side.errors + 0.5, side.errors + 0.5))


def _spread(right: np.ndarray, new: np.ndarray) -> float:
    """The standard deviation, over models [S, n], of what each is right on of the records new to it."""
    each = [row[rows].mean() for row, rows in zip(right, new, strict=True) if rows.any()]
    return float(np.std(each, ddof=1)) if len(each) > 1 else 0.0


def _tells(*sides: Side) -> bool:
    """Whether a model tells how sure it is."""
    return len(np.unique(np.concatenate([side.sure for side in sides]))) >= VALUES


def _above(a: np.ndarray, b: np.ndarray) -> float:
    """P(a > b); of those that are equal, half."""
    b = np.sort(b)
    return float((np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")).mean() / (2 * len(b)))
