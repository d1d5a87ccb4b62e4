"""Labels that are not those of the training, in part: training on a record made models less sure of its label.

Whatever a model learns of a record, it is the label that it was trained on. So where shadows that trained on a record
are less sure of its label than those that did not, it is another one: noise that came later, another version of the
data, a model's answers. One record tells little, and those that are told by some shadows are judged by the others:
those that new models contradict, or those that models contradict which trained on them.
NumPy and SciPy; never imports jax.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from mia_jax.checks import naming, samples
from mia_jax.checks.models.unlike_shadows import SAMPLE
from mia_jax.types import Array

CLIP = 1e-9  # probabilities nearer to 0 or 1 are taken for this
COMPARED, SHADOWS = 32, 6  # shadows that are looked at, and without which nothing is said
LEAST, SHARE = 10, 0.01  # records that shadows contradict, and their share
SURE = 4.5  # standard errors below 0 of what training on them did
ALL = 5.0  # the same of all records, of which most are learned
LEVEL, TIMES, SIGN = 1e-4, 3, 1.0  # of the target's own answers: chance, times as many as others, standard errors


def notes(
    labels: Array, target: Array, shadows: Array | Sequence[Array], trained: Array, member: Array | None, related: Array
) -> tuple[str, ...]:
    """What is to be said of labels that models were not trained on, in a sentence; () where they seem to be.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
        related: bool [1 + S, 1 + S], ``membership.related`` of the target and the shadows.
    """
    few = np.arange(len(shadows))[samples.every(len(shadows), COMPARED)]
    groups = samples.halves(np.asarray(related)[1:, 1:][np.ix_(few, few)])
    if len(few) < SHADOWS or groups is None:
        return ()
    rows = samples.rows(len(labels), SAMPLE)
    y, inside = np.asarray(labels)[rows], np.asarray(trained, bool)[few][:, rows]
    each = [np.asarray(shadows[k])[rows] for k in few]
    sure = special.logit(np.clip(np.stack([p[np.arange(len(y)), y] for p in each]).astype(np.float64), CLIP, 1 - CLIP))
    wrong = np.stack([p.argmax(axis=1) != y for p in each])
    against = _most(wrong & ~inside, ~inside)
    if against.sum() < LEAST:
        return ()
    sure = sure - sure[:, against].mean(axis=1, keepdims=True)
    halves = [_gain(sure[half], inside[half]) for half in groups]
    gain = _gain(sure, inside)
    new = against if member is None else against & ~np.asarray(member, bool)[rows]
    own = np.asarray(target)[rows].argmax(axis=1) == y
    which, of_target = against & (gain < 0), _of_target(halves, gain < 0, new & own, new & ~own)
    if not of_target and not (_enough(which) and _lost(halves, (against, against)) > SURE):
        contradicted = [_most(wrong[half] & inside[half], inside[half]) for half in groups]
        which = _most(wrong & inside, inside) & (gain < 0)  # fewer, where many records are hard for new models
        every = np.ones(len(y), bool)  # what is learned is learned in both halves; and so is what is unlearned
        if not _enough(which) or (_lost(halves, contradicted) <= SURE and _lost(halves, (every, every)) <= ALL):
            return ()
    if of_target:
        which = which & own
        what = "and the target gives these labels itself: in part the labels seem to be its own answers"
    else:
        what = "so they are not those of the training (noise that came later, another version of the data, predictions)"
    return (
        f"Shadows that trained on {int(which.sum()):,} of {len(y):,} records ({naming.some_rows(rows[which])}) are less"
        f" sure of their labels than shadows that did not, {what}. Attacks read such members as others: give the labels"
        " that the models were trained on.",
    )


def _enough(which: np.ndarray) -> bool:
    return bool(which.sum() >= max(LEAST, SHARE * len(which)))


def _most(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """bool [n]: the records of which more than half of the models that are counted do so, bool [S, n] each."""
    return 2 * of.sum(axis=0) > among.sum(axis=0)


def _of_target(halves: Sequence[np.ndarray], lost: np.ndarray, own: np.ndarray, other: np.ndarray) -> bool:
    """Whether what shadows unlearned, bool [n], is what the target answers: ``own`` of the records and not ``other``.

    Records on which the target is right are easier than the others: shadows that trained on them are as often sure.
    """
    counts = int((lost & own).sum()), int((lost & other).sum())
    chance = stats.hypergeom.sf(counts[0] - 1, own.sum() + other.sum(), own.sum(), sum(counts))
    enough = counts[0] >= LEAST and counts[0] * other.sum() >= TIMES * max(counts[1], 1) * own.sum()
    return bool(enough and chance < LEVEL and _lost(halves, (own, own)) > SIGN)


def _lost(halves: Sequence[np.ndarray], among: Sequence[np.ndarray]) -> float:
    """How far below 0 one half's gain is where the other's is, in standard errors; each half's records, bool [n].

    The more a record was unlearned by the half that chooses it, the more it counts.
    """
    told = []
    for (one, mine), other in zip(zip(halves, among, strict=True), halves[::-1], strict=True):
        rows = mine & (one < 0) & ~np.isnan(other)
        told.append(-one[rows] * other[rows])
    gain = np.concatenate(told)
    return float(-gain.sum() / np.sqrt(max((gain**2).sum(), 1e-9)))


def _gain(sure: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """float [n]: how much surer models [S, n] are that trained on a record than those that did not; NaN: one side."""
    count = inside.sum(axis=0)
    both = (count > 0) & (count < len(inside))
    own = (sure * inside).sum(axis=0) / np.maximum(count, 1)
    return np.where(both, own - (sure * ~inside).sum(axis=0) / np.maximum(len(inside) - count, 1), np.nan)
