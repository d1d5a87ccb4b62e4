"""Whether members are told from others by the records alone: a blind baseline, which never asks the target.

Das, Zhang and Tramèr, "Blind Baselines Beat Membership Inference Attacks for Foundation Models", 2024 (arXiv
2406.16201): where members and others were not split at random, what tells them apart may be their time, place or kind,
and an attack that tells no more has found no memory. Theirs are made for texts (dates, bags of words); here trees are
boosted on the records' numbers and labels, whatever these are.

**Cross-fitted**: five folds, each with the share of members of the whole and with all copies of a record in one, so
that a record is judged by trees that have not seen it. Folds differ in scale, so a score is its rank within the fold.
The interval of the AUC is DeLong's, wider where copies make records count for several, and by a factor of 1.5 for the
folds, whose trees have learned from each other's records: with a share r of test to training records, the variance over
k folds is 1 + k r times that of independent ones (Nadeau and Bengio, "Inference for the Generalization Error", Machine
Learning 2003). NumPy, SciPy and scikit-learn; never imports jax.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from mia_jax.statistics import metrics
from mia_jax.statistics.metrics import Measure
from mia_jax.types import Array

FOLDS = 5
DEPENDENT = float(np.sqrt(1 + FOLDS / (FOLDS - 1)))  # of the error of an AUC over folds that learn from each other
LEAST = 50  # members, and others
RECORDS = 20_000  # that are looked at, at most
COLUMNS = 128  # that the trees of a fold read, at most
ENOUGH = 5000  # records by which those are chosen
LEVEL = 0.01  # of whoever is told: accusations among splits at random
SHOWN = 5  # columns that are named
TREES: dict[str, Any] = dict(
    max_iter=50, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1
)


class Blind(NamedTuple):
    """What can be told of membership without the target."""

    auc: Measure
    tpr_at_fpr: dict[str, Measure]  # rate -> share of the members
    told: bool  # whether it is no accident, at ``LEVEL``
    score: np.ndarray  # float64 [n], in (0, 1): ranks; NaN of records that were not looked at
    columns: list[tuple[str, float]]  # those that tell most, each with the AUC that it has alone, above a half


def blind(
    features: Array,
    names: list[str],
    label: Array | None,
    member: Array,
    *,
    copies: Array | None = None,
    seed: int = 0,
) -> Blind:
    """How well boosted trees tell members from others by features and labels.

    Args:
        features: float [n, k]; NaN: missing.
        names: of the k columns.
        label: int [n], the records' classes, which are a feature, too; None: there are none.
        member: bool [n].
        copies: int [n], the same for records that are copies of each other; None: none is.
        seed: of the folds, and of the records that are looked at where there are more than ``RECORDS``.

    Returns:
        ``auc`` has a reason in place of a number where there are fewer than ``LEAST`` members or others.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, member = rng.normal(size=(600, 3)), rng.random(600) < 0.5
    >>> blind(x, ["age", "height", "weight"], None, member).told
    False
    >>> blind(x + member[:, None], ["age", "height", "weight"], None, member).told
    True
    """
    x, member = np.asarray(features, np.float32), np.asarray(member, bool)
    x, names, category = _with_label(np.where(np.isfinite(x), x, np.float32(np.nan)), names, label)
    rng = np.random.default_rng(seed)
    rows = _some(rng, member)
    few = min(member[rows].sum(), (~member[rows]).sum())
    score = np.full(len(member), np.nan)
    if few < LEAST or not x.shape[1]:
        reason = f"{few} members or others are fewer than {LEAST}" if few < LEAST else "the records have no features"
        absent = Measure(None, reason=reason)
        return Blind(absent, {f"{rate:g}": absent for rate in metrics.RATES}, False, score, [])
    group = np.arange(len(rows)) if copies is None else np.unique(np.asarray(copies)[rows], return_inverse=True)[1]
    fold = folds(rng, member[rows], group)
    score[rows] = _cross_fitted(x[rows], member[rows], fold, category, seed)
    auc, low = _area(score[rows], member[rows], group)
    rates = {f"{rate:g}": metrics.tpr_at_fpr(score[rows], member[rows], rate) for rate in metrics.RATES}
    return Blind(auc, rates, low > 0.5, score, _telling(x[rows], names, member[rows]))


def folds(rng: np.random.Generator, member: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The fold of each record, int [n]: as many members in each as can be, and the records of a group in one.

    Args:
        rng: deals groups out.
        member: bool [n].
        group: int [n], from 0.
    """
    members, size = np.bincount(group, weights=member), np.bincount(group)
    order = rng.permutation(len(size))
    order = order[np.lexsort((members[order], size[order]))]  # groups of one kind are dealt out in turn
    of_group = np.empty(len(size), np.int64)
    of_group[order] = np.arange(len(size)) % FOLDS
    return of_group[group]


def _some(rng: np.random.Generator, member: np.ndarray) -> np.ndarray:
    """Rows to look at, ascending: all, or a sample with the same share of members."""
    if len(member) <= RECORDS:
        return np.arange(len(member))
    sides = [np.flatnonzero(member), np.flatnonzero(~member)]
    counts = [max(1, round(RECORDS * len(side) / len(member))) for side in sides]
    chosen = [rng.choice(side, count, replace=False) for side, count in zip(sides, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def _with_label(x: np.ndarray, names: list[str], label: Array | None) -> tuple[np.ndarray, list[str], int | None]:
    """Features with the label as the last column, and its place where there are few enough classes for a category."""
    if label is None:
        return x, names, None
    number = np.unique(np.asarray(label), return_inverse=True)[1].reshape(-1)
    together = np.column_stack([x, number.astype(np.float32)])
    return together, [*names, "the label"], x.shape[1] if number.max() < 255 else None


def _cross_fitted(x: np.ndarray, member: np.ndarray, fold: np.ndarray, category: int | None, seed: int) -> np.ndarray:
    """Ranks in (0, 1) within each fold, float64 [n], of how likely trees of the other folds find membership."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    score = np.empty(len(member))
    for k in range(FOLDS):
        mine = fold == k
        columns = _differing(x[~mine], member[~mine])
        columns = columns[np.isfinite(x[~mine][:, columns]).any(axis=0)]  # the trees take no column without a value
        if category is not None and category not in columns:
            columns = np.append(columns[: COLUMNS - 1], category)
        if not len(columns) or not mine.any() or len({*member[~mine]}) < 2:  # nothing to learn from, or to judge
            score[mine] = 0.5
            continue
        categories = None if category is None else columns == category
        trees = HistGradientBoostingClassifier(
            **TREES, early_stopping=False, categorical_features=categories, random_state=seed
        )
        # One thread: several spin while they wait for each other, 2 s became 33 s on two busy cores.
        with threadpool_limits(1, user_api="openmp"):
            told = trees.fit(x[~mine][:, columns], member[~mine]).predict_proba(x[mine][:, columns])[:, 1]
        score[mine] = (stats.rankdata(told) - 0.5) / mine.sum()
    return score


def _differing(x: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The columns to read: all, or those whose mean or spread differs most between members and others."""
    if x.shape[1] <= COLUMNS:
        return np.arange(x.shape[1])
    some = np.random.default_rng(0).permutation(len(x))[:ENOUGH]
    x, member = x[some], member[some]
    there = np.isfinite(x)
    count = np.maximum(there.sum(axis=0), 1)
    middle = np.where(there, x, 0).sum(axis=0, dtype=np.float64) / count
    off = np.where(there, x - middle, 0.0)
    spread = np.sqrt((off**2).sum(axis=0) / count)
    z = off / np.where(spread > 0, spread, 1.0)
    apart = [np.abs(part[member].mean(axis=0) - part[~member].mean(axis=0)) for part in (z, np.abs(z))]
    return np.sort(np.argsort(-np.maximum(*apart), kind="stable")[:COLUMNS])


def _area(score: np.ndarray, member: np.ndarray, group: np.ndarray) -> tuple[Measure, float]:
    """The AUC with its 95 % interval, and its lower limit at ``LEVEL``, one-sided.

    On the logit scale the interval is wider by ``DEPENDENT``, and where copies count for several by what they add.
    """
    auc = metrics.auc(score, member)
    assert auc.value is not None and auc.low is not None and auc.high is not None
    influence = metrics.auc_influence(score, member)
    shared, alone = (np.bincount(group, weights=influence) ** 2).sum(), (influence**2).sum()
    wider = DEPENDENT * np.sqrt(max(1.0, shared / alone)) if alone else DEPENDENT
    middle, ends = special.logit(auc.value), special.logit([auc.low, auc.high])
    if not np.isfinite(middle):
        return auc, auc.low
    low, high = special.expit(middle + wider * (ends - middle))
    least = special.expit(middle + wider * (ends[0] - middle) * stats.norm.isf(LEVEL) / metrics.Z)
    return auc._replace(low=float(low), high=float(high)), float(least)


def _telling(x: np.ndarray, names: list[str], member: np.ndarray) -> list[tuple[str, float]]:
    """The columns that tell most when each is alone, with their AUC above a half."""
    columns = _differing(x, member)
    found = []
    for k in columns:
        column = np.nan_to_num(x[:, k].astype(np.float64), nan=-np.inf)
        area = metrics.area(column, member)[0]
        found.append((names[k], max(area, 1 - area)))
    return sorted(found, key=lambda one: -one[1])[:SHOWN]
