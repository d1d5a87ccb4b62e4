"""Whether one shadow, or a few, is unlike the others: rows taken from another model, replaced or shuffled.

Such a shadow moves every score a little and stops nothing. Answers of networks are equal, bit by bit, only where one
was copied; and each shadow, in the target's place, must be told and be as sure as the others. NumPy and SciPy.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.checks.answers import equal_answers
from mia_jax.checks.answers.equal_answers import LEAST, SHADOWS, SHARE, Answered
from mia_jax.checks.models.unlike_shadows import FLOOR, GROSS, WORTH_AREA, WORTH_LEVEL, Beside, logits
from mia_jax.types import Array

WRONG, FEW, TIMES, SIDE = 0.06, 25, 8.0, 50  # of its members, and how many; times as any other model's; members
NEAR = 0.03  # times as far apart as other pairs: no two models of different records are
VARIOUS = 0.5  # of a model's answers differ from each other, where two models cannot have many in common by chance
LEVEL = 3e-4  # that some honest shadow is named, of all of them and all numbers of each
ALIKE = 3  # pairs of which one is told by three times as many equal rows: fewer have them for another reason
APART = 10.0  # of a pair of models' equal rows: median deviations from the median of all pairs
WORTH = {"area": WORTH_AREA, "inside": WORTH_LEVEL, "outside": WORTH_LEVEL}
WORTH_ONE = {"area": WORTH_AREA, "inside": 0.06, "outside": 0.06}  # of many shadows one has few of some class's records
NAMED = 16  # shadows of a sentence


def shared_rows(
    target: Array, shadows: Array | Sequence[Array], related: Array, digits: int | None = None
) -> tuple[str, ...]:
    """What is to be said of rows that two models answer alike, bit by bit, where others do not, in sentences.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        related: bool [1 + S, 1 + S], ``membership.related`` of the target and the shadows.
        digits: that the shadows' answers are rounded to; then nothing is told by equal ones.
    """
    if digits is not None or len(shadows) < 2:
        return ()
    some = samples.models(len(shadows), SHADOWS)
    models = [equal_answers.answered(shadows[k - 1] if k else target) for k in some]
    return tuple(_shared(models, np.asarray(related)[np.ix_(some, some)], some))


def doubts(found: Beside) -> tuple[str, ...]:
    """Why what shadows say is in doubt, in a sentence: they are of two kinds, far apart.

    Args:
        found: of ``unlike_shadows.beside``.
    """
    return _two_groups(found, "area", GROSS)


def of_levels(found: Beside, *, level: bool = True) -> tuple[str, ...]:
    """What is to be said of shadows that are told, or sure, otherwise than the others and the target are.

    Args:
        found: of ``unlike_shadows.beside``.
        level: the answers tell how sure a model is; labels do not.
    """
    models = (found.target, *found.shadows)
    names = ["area", *(["inside", "outside"] if level else [])]
    bar = LEVEL / (len(names) * len(found.shadows))
    odd: dict[int, tuple[str, float, float]] = {}
    for name in names:
        each = np.array([getattr(one, name) for one in models])
        for k in range(1, len(models)):
            rest = np.delete(each, k)
            spread = max(rest.std(ddof=1), FLOOR) * np.sqrt(1 + 1 / len(rest))
            beyond = abs(each[k] - rest.mean()) > stats.t.isf(bar / 2, len(rest) - 1) * spread
            if beyond and np.abs(each[k] - rest).min() > WORTH_ONE[name]:
                odd.setdefault(k - 1, (name, each[k], rest.mean()))
    if not odd:
        return next((said for name in names if (said := _two_groups(found, name))), ())
    words = {
        "area": "is told, in the target's place, with an AUC of {:.2f}, and the others with {:.2f}",
        "inside": "is {} of its members than the others are (by {:.2f} in the mean probability of the true class)",
        "outside": "is {} of new records than the others are (by {:.2f} in the mean probability of the true class)",
    }
    whole = []
    for k, (name, own, usual) in list(odd.items())[:4]:
        of = (own, usual) if name == "area" else ("surer" if own > usual else "less sure", abs(own - usual))
        whole.append(f"Shadow {found.numbers[k]} {words[name].format(*of)}")
    return (
        f"{'; '.join(whole)}{'; ...' if len(odd) > 4 else ''} (counted from 0). See whether its rows are those of the"
        " others (replaced, shuffled, padded), and whether it was trained as they were; or leave it out.",
    )


def wrong_members(right: Array, shadow_member: Array, target_right: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of one shadow that is often wrong on its own members, where no other model is, in a sentence.

    However few shadows there are: rows that were shuffled or replaced are wrong where a model never is.

    Args:
        right: bool [S, n], which records each shadow answers rightly.
        shadow_member: bool [S, n].
        target_right: bool [n].
        member: bool [n].
    """
    answered = np.concatenate([np.asarray(target_right, bool)[None], np.asarray(right, bool)])
    trained = np.concatenate([np.asarray(member, bool)[None], np.asarray(shadow_member, bool)])
    count = trained.sum(axis=1)
    if len(count) < 3 or count.min() < SIDE:
        return ()
    wrong = (~answered & trained).sum(axis=1) / count
    first, second = np.argsort(wrong)[::-1][:2]
    if first == 0 or wrong[first] < max(WRONG, FEW / count[first], TIMES * wrong[second]):
        return ()
    return (
        f"Shadow {first - 1} (counted from 0) is wrong on {wrong[first]:.1%} of its own members, and no other model on"
        f" more than {wrong[second]:.1%}: some of its rows seem to be replaced or shuffled, or its training to have"
        " stopped early. Ask it again, or leave it out.",
    )


def near_copies(sure: Array, of_target: Array, related: Array) -> tuple[str, ...]:
    """What is to be said of models that differ by far less than any others: one model, asked twice, in sentences.

    Args:
        sure: float [S, n], the shadows' probability of the true class.
        of_target: float [n], the target's.
        related: as of ``shared_rows``; models of the same records may be the same, once it is known.
    """
    logit = logits(np.concatenate([np.asarray(of_target)[None], np.asarray(sure)])[: 1 + SHADOWS])
    pairs = [(a, b) for a in range(len(logit)) for b in range(a + 1, len(logit)) if not related[a, b]]
    if len(pairs) < 3:
        return ()
    apart = np.array([np.abs(logit[a] - logit[b]).mean() for a, b in pairs])
    said = []
    for at in np.flatnonzero(apart < NEAR * np.median(apart))[:4]:
        a, b = pairs[at]
        who = f"Shadow {b - 1} and the target" if a == 0 else f"Shadows {a - 1} and {b - 1}"
        said.append(
            f"{who} (counted from 0) answer nearly the same (logits are {apart[at]:.2g} apart, and those of other pairs"
            f" {np.median(apart):.2g}), though other records are said to have trained them: one model seems to have"
            " been asked twice, or one network to have gone on training."
        )
    return tuple(said)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _two_groups(found: Beside, name: str, worth: float | None = None) -> tuple[str, ...]:
    """What is to be said of shadows that are of two kinds: two groups farther apart than either is wide."""
    each = np.array([getattr(one, name) for one in found.shadows])
    order = np.argsort(each)
    count, value = len(each), each[order]
    if count < 6:
        return ()
    bar = 2.5 + 90 / (count - 3) ** 2  # 1 in 1,000, and less, for numbers that are normal, log-normal, t or uniform
    for cut in range(2, count - 1):
        gap, wide = value[cut] - value[cut - 1], max(value[cut - 1] - value[0], value[-1] - value[cut])
        if gap > max(bar * wide, WORTH[name] if worth is None else worth):
            low = ", ".join(str(found.numbers[k]) for k in np.sort(order[:cut])[:NAMED])
            what = {
                "area": f"are told, in the target's place, with an AUC of {value[:cut].mean():.2f}, and the others with"
                f" {value[cut:].mean():.2f}",
                "inside": f"are less sure of their members than the others are of theirs (by {gap:.2f})",
                "outside": f"are less sure of records new to them than the others are (by {gap:.2f})",
            }[name]
            return (
                f"The shadows are of two kinds: shadows {low}{', ...' if cut > NAMED else ''} (counted from 0) {what}."
                " See whether their rows of shadow_member are their own, and whether all were trained and asked alike.",
            )
    return ()


def _shared(models: Sequence[Answered], related: np.ndarray, some: np.ndarray) -> list[str]:
    """Pairs of models with many equal rows, where others have none: rows that were copied from one to the other."""
    various = [k for k, one in enumerate(models) if equal_answers.variety(one) > VARIOUS]  # no trees with few leaves
    pairs = [(a, b) for at, a in enumerate(various) for b in various[at + 1 :] if not related[a, b]]
    if len(pairs) < 3:
        return []
    equal = np.array([((models[a].key == models[b].key) & models[a].telling).sum() for a, b in pairs])
    usual = np.median(equal)
    bar = usual + max(LEAST, SHARE * len(models[0].key) / 3, APART * np.median(np.abs(equal - usual)))
    said = []
    for at in np.flatnonzero(equal > bar)[:4]:
        touching = [n for n, pair in zip(equal, pairs, strict=True) if set(pair) & set(pairs[at])]
        if len(touching) > ALIKE and equal[at] < ALIKE * np.sort(touching)[-ALIKE]:  # rounded alike, or of few votes
            continue
        a, b = (int(some[k]) - 1 for k in pairs[at])
        who = f"Shadow {b} and the target" if a < 0 else f"Shadows {a} and {b}"
        said.append(
            f"{who} (counted from 0) give the same answer, bit by bit, about {equal[at]:,} of {len(models[0].key):,}"
            " records, and other pairs of models do not: rows of the one seem to be the other's. Ask the two again."
        )
    return said
