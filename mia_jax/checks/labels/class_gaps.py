"""Classes that no model answers, or no label has, or of which no record, or each, is said to be a member. NumPy."""

from collections.abc import Sequence

import numpy as np

from mia_jax.checks import naming
from mia_jax.types import Array, few_of

MASS = 0.01  # of a target's answers that lie on a class, that is worth a word
BESIDE = 3.0  # times as much as the shadows'
LEAST = 12  # members of a class that a model answers with 0 to every record
LEVEL = 1e-3  # chance that a random split, or a few records, leave some class as it is


def notes(labels: Array, target: Array, member: Array | None, shadows: Array | Sequence[Array] = ()) -> tuple[str, ...]:
    """What is to be said of such classes, in sentences.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        member: bool [n], who trained the target, where that is known.
        shadows: probabilities [S, n, c]; none where they know no class but the labels'.
    """
    labels, target = np.asarray(labels), np.asarray(target, np.float64)
    return (*_without_label(labels, target, shadows), *_one_sided(labels, target.shape[1], member))


def doubts(
    labels: Array, target: Array, shadows: Array | Sequence[Array], trained: Array, member: Array | None
) -> tuple[str, ...]:
    """Why a model may not have trained on what it is said to: the class of some members has probability 0 everywhere.

    Args:
        labels: int [n].
        target: probabilities [n, c], and no labels, nor rounded.
        shadows: probabilities [S, n, c], likewise.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where that is known.
    """
    labels, classes = np.asarray(labels), np.shape(target)[1]
    own = np.zeros(len(labels), bool) if member is None else np.asarray(member, bool)
    lacking: dict[int, list[int]] = {}
    for k, (p, mine) in enumerate(zip((target, *shadows), (own, *np.asarray(trained, bool)), strict=True)):
        many = np.bincount(labels[mine], minlength=classes) >= LEAST
        for c in np.flatnonzero(many & ~np.any(np.asarray(p) > 0, axis=0)):
            lacking.setdefault(int(c), []).append(k)
    if not lacking or len(lacking) == (np.bincount(labels, minlength=classes) > 0).sum():
        return ()
    said = []
    for c, which in list(lacking.items())[:4]:
        everyone = which == list(range(1, 1 + len(shadows)))
        whose = "all shadows" if everyone and len(which) > 1 else naming.models(which)
        said.append(f"the column of class {c} of {whose}")
    text = " and ".join(said)
    return (
        f"{text[0].upper()}{text[1:]} {'is' if len(said) == 1 else 'are'} 0 in every row, though members are of that"
        " class (classes are counted from 0): such a model never saw the class, and a column was filled in, or its"
        " columns are in another place. Train it on all classes, with its own members, save its columns in the order"
        " of the other models' classes, or leave it out.",
    )


def _without_label(labels: np.ndarray, target: np.ndarray, shadows: Array | Sequence[Array]) -> list[str]:
    mass, answer = target.mean(axis=0), target.argmax(axis=1)
    theirs = np.mean([np.asarray(p).mean(axis=0) for p in shadows], axis=0) if len(shadows) else np.zeros(len(mass))
    used = np.bincount(labels, minlength=len(mass)) > 0
    chance = (1 - mass.clip(0, 1)) ** len(labels)  # of no such label among so few records
    extra = np.flatnonzero(~used & (mass > MASS) & (mass > BESIDE * theirs) & (chance < LEVEL))
    if not len(extra) or not used.any():
        return []
    if len(extra) > 1:
        which = few_of(extra)
        return [
            f"Classes {which} (counted from 0) are in no label, and the target gives them {mass[extra].sum():.2g} of"
            " its probability, more than the shadows do: see what these columns are."
        ]
    k = int(extra[0])
    return [
        f"Class {k} (counted from 0) is in no label, and the target gives it {mass[k]:.2g} of its probability (it is"
        f" the answer for {100 * (answer == k).mean():.3g}% of the records), more than shadows do: an abstain column?"
        " If so, leave it out and divide each row by the rest, or leave out the records on which the target abstains."
    ]


def _one_sided(labels: np.ndarray, classes: int, member: Array | None) -> list[str]:
    if member is None or np.all(member) or not np.any(member):
        return []
    member = np.asarray(member, bool)
    share, said = member.mean(), []
    count, own = np.bincount(labels, minlength=classes), np.bincount(labels[member], minlength=classes)
    present = int((count > 0).sum())
    for have, rate, words in ((own, share, "No member"), (count - own, 1 - share, "Nobody but members")):
        lacking = np.flatnonzero((count > 0) & (have == 0) & (present * (1 - rate) ** count < LEVEL))
        if len(lacking):
            some = few_of(lacking)
            said.append(
                f"{words} of class {some} (counted from 0), of which there are {int(count[lacking].sum()):,} records:"
                " attacks find the class there, and no memory of a record. Leave such records out."
            )
    return said
