"""Whether shadows remember the target's members, and not the rows that are said to have trained them.

A ``fit`` that trains on a table of its own, and not on its arguments, makes copies of the target: shadows are sure of
its members, whichever rows they were given. Who is a member was drawn, whatever trained the shadows; where it was not,
models of no memory are surer of the easier side, too, but depend on their rows. NumPy and SciPy.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.statistics import metrics
from mia_jax.types import Array

LEVEL = 1e-5  # of shadows that tell the target's members by chance
WORTH = 0.58  # the AUC of theirs, below which little is wrong
PLAIN = 0.75  # the AUC without shadows in pairs: members of another kind are told by models without memory, too
PAIR, OPPOSED = -0.95, -0.15  # correlations: of complementary rows, and of what their models say, less that of others
NONE = 3.0  # standard errors of memory of their own rows, beyond which shadows have some: models that generalize well
SAMPLE = 32768  # records that are looked at


def doubts(
    target: Array, shadows: Array, shadow_member: Array, member: Array | None, labels: Array | None = None
) -> tuple[str, ...]:
    """Why shadows may have been trained on the target's members, in a sentence; () where nothing says so.

    Args:
        target: float [n], larger where the target fits a record better (the probability of its class).
        shadows: float [S, n].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
        labels: int [n], classes, among which records are compared; None: there are none.
    """
    if member is None or not len(shadows):
        return ()
    rows = samples.rows(len(np.asarray(target)), SAMPLE)
    trained, own = np.asarray(shadow_member, bool)[:, rows], np.asarray(member, bool)[rows]
    some = trained.any(axis=1) & ~trained.all(axis=1)
    if own.all() or not own.any() or not some.any():
        return ()
    classes = np.zeros(len(rows), int) if labels is None else np.asarray(labels)[rows]
    numbers = np.stack([_within_classes(one, classes) for one in np.asarray(shadows, np.float64)[some][:, rows]])
    area, error = metrics.area(numbers.mean(axis=0), own)
    of_target, _ = metrics.area(_within_classes(np.asarray(target, np.float64)[rows], classes), own)
    if area < max(WORTH, 0.5 + stats.norm.isf(LEVEL) * error) or of_target < WORTH:
        return ()
    opposed = _of_pairs(numbers, trained[some])
    depend = area < PLAIN if opposed is None else opposed < OPPOSED
    if depend or _own_rows(numbers, trained[some]) > NONE:
        return ()
    of_rows = np.mean([metrics.area(*each)[0] for each in zip(numbers, trained[some], strict=True)])
    return (
        f"The shadows are surer of the target's members than of others (AUC {area:.2f}), and no surer of the records"
        f" that are said to have trained them (AUC {of_rows:.2f}): they remember the target's members, whatever rows"
        " they were given. See whether fit trains on its arguments, and on no table of its own, and whether"
        " shadow_member is that of these models; else members are of another kind than others, which such models tell"
        " without memory.",
    )


def _own_rows(numbers: np.ndarray, trained: np.ndarray) -> float:
    """How numbers [S, n] go with who trained the shadows, without what a record is to all, in standard errors."""
    own, given = numbers - numbers.mean(axis=0), trained - trained.mean(axis=0)
    size = np.sqrt((own**2).sum() * (given**2).sum())
    return float((own * given).sum() / size * np.sqrt((len(own) - 1) * own.shape[1])) if size > 0 else 0.0


def _of_pairs(numbers: np.ndarray, trained: np.ndarray) -> float | None:
    """How numbers [S, n] of shadows of complementary rows go together, without what a record is to all, less how others
    do; None where there are no such pairs. Of a model with no memory, too, one half of the records says the contrary of
    the other: real networks, forests, linear models and naive Bayes have -.9 to -.2, copies of one model 0.
    """
    if len(trained) < 4:
        return None
    pairs, one = np.triu(np.corrcoef(trained) < PAIR), np.triu(np.ones((len(trained), len(trained)), bool), 1)
    own = numbers - numbers.mean(axis=0)
    if not pairs.any() or not own.std(axis=1).all():
        return None
    together = np.corrcoef(own)
    return float(together[pairs].mean() - together[one & ~pairs].mean())


def _within_classes(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Ranks of values [n] among their class int [n], from 0 to 1."""
    ranks = np.empty(len(values))
    for k in np.unique(classes):
        rows = classes == k
        ranks[rows] = stats.rankdata(values[rows]) / (rows.sum() + 1)
    return ranks
