"""Whether what was saved are no answers over the labels' classes: embeddings, or the answers of another head.

There are more columns than labels, no model's likeliest column is the label on its own members more often than by
chance, and no two models mean the same by a column. NumPy.
"""

from collections.abc import Sequence

import numpy as np

from mia_jax.checks import samples
from mia_jax.checks.chance import MARGIN, TELLING, beyond_chance
from mia_jax.types import Array

LEAST = 40  # members of a model without which nothing is said
MODELS = 3  # at least
COMPARED = 16  # shadows
MOST = 0.15  # of its members, that a model is right on more than by chance
TOLD = 0.2  # of records, that each column's most frequent label tells more than the most frequent label of all
UNUSED = 0.5  # of the answers that columns without a label would have by their number, at least


def of_answers(
    labels: Array, target: Array, shadows: Array | Sequence[Array], trained: Array, member: Array | None
) -> tuple[str, ...]:
    """The doubt, in a sentence; () without.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        trained: bool [S, n], what each shadow trained on.
        member: bool [n], what the target did, where that is known.
    """
    labels, columns = np.asarray(labels), np.shape(target)[1]
    used, few = int(labels.max()) + 1, samples.every(len(shadows), COMPARED)
    everyone = [(target, np.ones(len(labels), bool) if member is None else np.asarray(member, bool))]
    everyone += list(zip(shadows[few], np.asarray(trained, bool)[few], strict=True))
    if columns <= used or len(everyone) < MODELS:
        return ()
    answered = [np.argmax(np.asarray(p), axis=1) for p, _ in everyone]
    beyond, told = [], []
    for answer, (_, own) in zip(answered, everyone, strict=True):
        if own.sum() < LEAST or (answer >= used).mean() < UNUSED * (columns - used) / columns:
            return ()
        known = beyond_chance(labels[own], answer[own], columns)
        if known.gain > MOST * own.sum() or known.most < TELLING:
            return ()
        beyond.append(known.z)
        table = np.zeros((columns, used), np.int64)
        np.add.at(table, (answer[own], labels[own]), 1)
        told.append((table.max(axis=1).sum() - table.sum(axis=0).max()) / own.sum())
    agree = [beyond_chance(one, other, columns).z for k, one in enumerate(answered) for other in answered[:k]]
    # A unit goes with some class by chance, in one model or another; in most it does only where columns are classes.
    if max(np.median(beyond), np.median(agree)) > MARGIN:  # or in another numbering that all have in common
        return ()
    if np.median(told) < TOLD:  # of networks that hardly learned
        return ()
    return (
        f"Answers have {columns} columns, the labels are 0 to {used - 1}, and no column goes with any label: they seem"
        " to be no answers over these classes (embeddings, another head). Save each model's probabilities, or logits,"
        " of the classes.",
    )
