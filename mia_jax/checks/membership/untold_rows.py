"""A run of rows in which the target is told by chance, though it is told elsewhere and shadows in its place are there.

So it looks where ``member`` of a part is in another order, and where labels, or what was to be predicted, are not those
that the target was trained on. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import slipped_rows
from mia_jax.statistics import metrics
from mia_jax.types import Array

LEAST, SIDE = 40, 12  # rows of a run, and members and others among them
COMPARED, SHADOWS = 16, 4  # shadows that are looked at, and without which nothing is said
TOLD, CHANCE = 4.0, 2.5  # standard errors above one half by which a model is told, and is not
SURE = 4.8  # standard errors between the target's AUC and the shadows'
POOLED = 3.5  # of the target's alone, in rows that were chosen without it
THIRD, PART = 1 / 3, 0.8  # of what shadows are told by; and of the rows, of which a run is a part


def doubts(models: Array, trained: Array, member: Array, related: Array, rows: Array | None = None) -> tuple[str, ...]:
    """Why a part of the rows may be about other records, or of other members, in a sentence; or ().

    Args:
        models: float [1 + S, n], of target and shadows, larger where a model fits the record better.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target.
        related: bool [1 + S, 1 + S], ``membership.related`` of the target and the shadows.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    called = np.arange(np.shape(models)[1]) if rows is None else np.asarray(rows)
    few = samples.models(len(trained), COMPARED)
    if len(few) < 1 + SHADOWS or np.shape(models)[1] < 2 * LEAST:
        return ()
    who = np.vstack([member, trained])[few].astype(bool)
    others = ~np.asarray(related, bool)[np.ix_(few, few)]
    others[:, 0] = False  # the target plays no part where a shadow is in its place
    ranks = np.stack([stats.rankdata(row) for row in np.asarray(models)[few]]) / np.shape(models)[1]
    score = np.stack([_score(ranks, who, k, others[k]) for k in range(len(few))])
    for own, rest in (([0], range(1, len(few))), (range(1, len(few)), [0])):
        found = _untold(score, who, np.array(own), np.array(rest))
        if found is None:
            continue
        run, (inside, outside, usual) = found
        if len(own) == 1:
            whose, beside, what = "the target is", "shadows in its place are", "member, or the labels or values, seem"
        else:
            whose, beside = "shadows are", "the target is"
            what = "shadow_member, or the shadows' answers, seem"
        return (
            f"In {naming.rows(called[run.start], called[run.stop - 1])} {whose} told with an AUC of {inside:.2f},"
            f" elsewhere with {outside:.2f}, and {beside} told there with {usual:.2f}: in these rows {what} to be in"
            " another order than in the training, or from another run.",
        )
    return ()


def _untold(
    score: np.ndarray, who: np.ndarray, own: np.ndarray, others: np.ndarray
) -> tuple[slice, tuple[float, float, float]] | None:
    """The run of rows in which models ``own`` are told by chance and ``others`` are not; the three AUCs.

    Args:
        score: float [K, n], of all models.
        who: bool [K, n], who trained them.
        own, others: int, which of the models.
    """
    known = np.maximum((~np.isnan(score)).sum(axis=1, keepdims=True), 1)
    centered = score - np.nansum(score, axis=1, keepdims=True) / known
    product = np.nan_to_num(centered * (who - who.mean(axis=1, keepdims=True)))[own].mean(axis=0)
    run = slipped_rows.largest_run(0.6 * product.mean() - product)
    inside = np.zeros(len(product), bool)
    inside[run] = True
    if not LEAST <= inside.sum() <= PART * len(inside):
        return None
    here, rest = _mean(score, who, own, inside), _mean(score, who, own, ~inside)
    beside = _mean(score, who, others, inside)
    if here is None or rest is None or beside is None:
        return None
    error, usual, sure = here[1], beside[0] - 0.5, SURE  # the error of one model
    if (
        len(own) > 1
    ):  # of many models, whose rows the target had no part in choosing; of complementary halves two are one
        pooled = np.hypot(here[1], rest[1]) * np.sqrt(2 / len(own))
        if rest[0] - here[0] > SURE * pooled:
            sure = POOLED
    if min(usual / error, (rest[0] - 0.5) / rest[1]) < min(TOLD, sure):
        return None
    if here[0] - 0.5 > min(CHANCE * error, THIRD * usual):
        return None
    if beside[0] - here[0] < sure * error or rest[0] - 0.5 < usual / 2:
        return None
    return run, (here[0], rest[0], beside[0])


def _mean(score: np.ndarray, who: np.ndarray, models: np.ndarray, rows: np.ndarray) -> tuple[float, float] | None:
    """The median AUC of models among rows, bool [n], and the standard error of one; None where too few can be told."""
    found = [told for k in models if (told := _told(score[k], who[k], rows)) is not None]
    if not found or (len(models) > 1 and len(found) < SHADOWS):
        return None
    areas, errors = np.array(found).T
    return float(np.median(areas)), float(np.median(errors))


def _score(ranks: np.ndarray, who: np.ndarray, k: int, others: np.ndarray) -> np.ndarray:
    """float [n]: how much better records fit model k than others that did not train on them; NaN without such."""
    counted = ~who & others[:, None]
    count = counted.sum(axis=0)
    mean = (ranks * counted).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, ranks[k] - mean, np.nan)


def _told(score: np.ndarray, member: np.ndarray, rows: np.ndarray) -> tuple[float, float] | None:
    """The AUC of scores [n] among rows, and its standard error where nothing is told; None of too few."""
    rows = rows & ~np.isnan(score)
    inside = int(member[rows].sum())
    if min(inside, int(rows.sum()) - inside) < SIDE:
        return None
    return metrics.area(score[rows], member[rows])
