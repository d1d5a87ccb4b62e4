"""Whether a model guesses on one side alone, of its said members or of the others, where other models know that side.

A loader that shuffles while a model is asked leaves the answers of a side in an order of their own: on the said members
the target is right no better than by chance, and knows the others. An inverted ``member`` does not look so, nor do
shadows that trained on everything. NumPy and SciPy; never imports jax.
"""

from collections.abc import Sequence

import numpy as np

from mia_jax.checks import naming
from mia_jax.checks.chance import FEW, KNOWS, MARGIN, Beyond, beyond_chance
from mia_jax.checks.naming import percent
from mia_jax.statistics import row_groups
from mia_jax.types import Array

FAR = 5.0  # standard errors below the others
THIRD = 1 / 3  # of what others know of that side, below which a model guesses


def of_answers(
    labels: Array, target: Array, shadows: Array | Sequence[Array], shadow_member: Array, member: Array | None = None
) -> tuple[str, ...]:
    """Why one side's rows may be in another order, in a sentence; () where nothing says so.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        shadow_member: bool [S, n].
        member: bool [n], where it is known; else the target is not looked at.
    """
    labels, classes = np.asarray(labels), np.shape(target)[1]
    models = [np.asarray(p).argmax(axis=1) for p in (target, *shadows)]
    none = np.zeros(len(labels), bool)
    who = [none if member is None else np.asarray(member, bool), *np.asarray(shadow_member, bool)]
    sides, more = {}, np.sqrt(row_groups.size(np.asarray(shadow_member)))  # rows that were drawn together are one
    for inside in (True, False):
        sides[inside] = [
            _beyond(labels, answered, mine == inside, classes) for answered, mine in zip(models, who, strict=True)
        ]
    first = 0 if member is not None else 1
    for inside in (True, False):
        here, there = sides[inside], sides[not inside]
        guesses = [k for k in range(first, len(models)) if _guesses(here[k]) and _knows(there[k])]
        others = [of for k in range(first, len(models)) if k not in guesses and (of := here[k]) is not None]
        if not guesses or not any(_knows(one) for one in others):
            continue
        usual = float(np.median([one[1] for one in others]))  # also of those that know little: else it is too high
        lost = []
        for k in guesses:
            of, rows = here[k], (who[k] == inside).sum()
            if of is not None and of[1] < min(THIRD * usual, usual - FAR * more * of[0].error / rows):
                lost.append(k)
        if lost:
            return (_said(labels, models, who, lost, inside, others),)
    return ()


def _beyond(labels: np.ndarray, answered: np.ndarray, rows: np.ndarray, classes: int) -> tuple[Beyond, float] | None:
    """What a model knows of some rows, and how often it is right beyond chance; None of few."""
    if rows.sum() < FEW:
        return None
    found = beyond_chance(labels[rows], answered[rows], classes)
    return found, found.gain / int(rows.sum())


def _guesses(side: tuple[Beyond, float] | None) -> bool:
    return side is not None and side[0].z <= MARGIN and side[0].most > KNOWS


def _knows(side: tuple[Beyond, float] | None) -> bool:
    return side is not None and side[0].knows


def _said(
    labels: np.ndarray, models: list[np.ndarray], who: list[np.ndarray], lost: list[int], inside: bool, others: list
) -> str:
    def right(k: int, side: bool) -> float:
        rows = who[k] == side
        return float((models[k] == labels)[rows].mean())

    own, rest = (float(np.mean([right(k, side) for k in lost])) for side in (inside, not inside))
    shadows = [k - 1 for k in lost if k]
    if 0 in lost:
        whose, one = "The target", True
    elif len(shadows) == len(models) - 1:
        whose, one = "Each shadow", True
    else:
        whose, one = naming.shadows(shadows).capitalize(), len(shadows) == 1
    its = "its" if one else "their"
    side, other = f"{its} said members", "the others"
    if not inside:
        side, other = "its said non-members" if one else "their said non-members", f"{its} members"
    target = len(shadows) == len(models) - 1  # only it is left
    usual = percent(float(np.median([of[1] for of in others])))
    return (
        f"{whose} {'is' if one else 'are'} right on {percent(own)} of {side}, no better than guessing, and on"
        f" {percent(rest)} of {other}; {'the target' if 0 not in lost and target else 'other models'} know"
        f"{'s' if 0 not in lost and target else ''} such records (by {usual} more than chance). The order of {its}"
        f" {'members' if inside else 'non-members'}' rows seems to be lost, as where a loader shuffles while the model"
        " is asked, or they were prepared otherwise (a PCA or scaler fitted anew). Ask again, in the order of the"
        " records, with what was fitted in training."
    )
