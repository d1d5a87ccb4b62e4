"""Models that know their own records and guess all others: as where labels were shuffled among the records.

A network learns any labels by heart. Nothing in its answers about its own records tells labels that belong to other
records; its answers about records that are new to it do. NumPy.
"""

from collections.abc import Iterable

import numpy as np

from mia_jax.checks.chance import MARGIN, TELLING, beyond_chance
from mia_jax.checks.naming import percent
from mia_jax.types import Array

KNOWN = 0.5  # kappa of a model on its own records, above which it knows them
NOTHING = 0.05  # kappa on others that is as good as none


def notes(labels: Array, answers: Iterable[Array], member: Iterable[Array | None]) -> tuple[str, ...]:
    """What is to be said of models that know nothing but the records that trained them, in a sentence.

    Models err on the same records, so their mean on new ones is judged by the standard error of one of them.

    Args:
        labels: int [n].
        answers: of each model, probabilities [n, c].
        member: of each model, bool [n], who trained it; None where that is not known.
    """
    labels = np.asarray(labels)
    own, new, gains, errors, most = [], [], [], [], []
    for p, mine in zip(answers, member, strict=True):
        if mine is None or np.all(mine) or not np.any(mine):
            continue
        answer, mine = np.argmax(np.asarray(p), axis=1), np.asarray(mine, bool)
        known, fresh = (beyond_chance(labels[rows], answer[rows], np.shape(p)[1]) for rows in (mine, ~mine))
        right, count = answer == labels, int((~mine).sum())
        if known.kappa < KNOWN:
            return ()
        own.append(right[mine].mean())
        new.append(right[~mine].mean())
        gains.append(fresh.gain / count)
        errors.append(fresh.error / count)
        most.append(fresh.most)
    if not own or np.median(most) < TELLING:
        return ()
    gain, error = float(np.mean(gains)), float(np.mean(errors))
    if gain > min(MARGIN * error, NOTHING):
        return ()
    frequent = np.bincount(labels).max() / len(labels)
    return (
        f"All models are right on {percent(np.mean(own))} of their own records and on {percent(np.mean(new))} of those"
        f" that are new to them, no better than guessing (the most frequent class is {percent(frequent)}): they learned"
        " each record by heart and nothing of the classes. See whether each label is still beside its record (one of"
        " the two shuffled or sorted without the other), and whether the records say anything of the class; what is"
        " found here says little of models that learn something.",
    )
