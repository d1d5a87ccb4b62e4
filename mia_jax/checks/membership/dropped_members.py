"""Members of one class that are answered as new records by about as many of the models that they trained, and of others
not: an under-sampler inside ``fit`` drops records of the larger classes.

Held out of all classes alike, fewer than half, they are told by ``held_out``. NumPy and SciPy.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.checks.membership import held_out
from mia_jax.checks.membership.held_out import MODELS, SAMPLE
from mia_jax.types import Array

LEAST = 3  # models with a record, and without it
KNOWN, PLAIN, APART = 0.8, 3.0, 0.1  # quantile of those with it; spreads, and probability, above those without it
FLOOR = 0.01  # of a spread, in probability
RECORDS = 20  # that some models plainly know, of a class
SHARE, TIMES = 0.05, 4.0  # of answers about members below the median of models without the record; times as many
NEW = 0.35  # of answers nearer to those of models without the record that are below their median: one half of new ones
LEVEL = 1e-6  # chance that two classes differ so
SHOWN = 4  # classes that are named


class _AsNew(NamedTuple):
    """Records that some models plainly know, and the shares of models that are said to, and do not."""

    rows: np.ndarray  # int [r]
    low: np.ndarray  # float [r], of answers below the median of models without the record
    near: np.ndarray  # float [r], of answers nearer to that than to those that know it


def notes(labels: Array, sure: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of classes whose members trained only some of the models, in a sentence.

    Args:
        labels: int [n].
        sure: probabilities of the true class [K, n].
        member: bool [K, n], who is said to have trained each model.
    """
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    labels = np.asarray(labels)[rows]
    sure, member = np.asarray(sure, np.float64)[:MODELS, rows], np.asarray(member, bool)[:MODELS, rows]
    enough = np.minimum(member.sum(axis=0), (~member).sum(axis=0)) >= LEAST
    labels, sure, member = labels[enough], sure[:, enough], member[:, enough]
    if len(np.unique(labels)) < 2:
        return ()
    told = _as_new(sure, member)
    of, low, near = labels[told.rows], told.low, told.near
    classes = [c for c in np.unique(of) if (of == c).sum() >= RECORDS]
    share = {int(c): float(low[of == c].mean()) for c in classes}
    if len(share) < 2:
        return ()
    least = min(share, key=lambda c: share[c])
    dropped = []
    for c, rate in share.items():
        mine, other = low[of == c], low[of == least]
        if rate < max(SHARE, TIMES * share[least]) or mine.mean() < NEW * near[of == c].mean():
            continue
        if stats.mannwhitneyu(mine, other, alternative="greater").pvalue < LEVEL:
            dropped.append(c)
    if not dropped:
        return ()
    part = " and ".join(f"{min(1.0, 2 * share[c]):.0%} of the members of class {c}" for c in dropped[:SHOWN])
    return (
        f"About {part} (counted from 0) are answered as new records by models that they are said to have trained, and"
        f" those of class {least} are not: fit seems to drop records of larger classes (an under-sampler), or to train"
        " on a part of them. They are marked as members all the same, so attacks find less than there is: mark what"
        " trained each model.",
    )


def _as_new(sure: np.ndarray, member: np.ndarray) -> _AsNew:
    outside, spread = held_out.middle(np.where(member, np.nan, sure), np.ones(len(member[0]), bool))
    apart = np.nanquantile(np.where(member, sure, np.nan), KNOWN, axis=0) - outside
    rows = np.flatnonzero(apart > np.maximum(PLAIN * (spread + FLOOR), APART))
    place = np.where(member, (sure - outside) / np.where(apart > 0, apart, 1.0), np.nan)[:, rows]
    count = np.maximum((~np.isnan(place)).sum(axis=0), 1)
    return _AsNew(rows, (place < 0).sum(axis=0) / count, (place < 0.5).sum(axis=0) / count)
