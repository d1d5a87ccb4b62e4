"""How far training on a record moves its answers (separation, d'), by record and class, and how attacks agree on it.

NumPy and SciPy; never imports jax.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from mia_jax.rows import Rows, blocks, rows_of

TOP = 12  # records that are shown
BLOCK = 2**20  # numbers of models about records that are looked at together


def separation(
    phi: np.ndarray | Rows, member: np.ndarray | Rows, others: np.ndarray | Rows | None = None
) -> np.ndarray:
    """How far a record's answers with it and without it lie apart, in standard deviations, float64 [n].

    d' = (mean IN - mean OUT) / sqrt((var IN + var OUT) / 2) of its scaled logits over the models; the variances are
    pooled over records with a record's own, half and half, as few models do not tell them well. The best test between
    two normal distributions d' apart has an AUC of Phi(d' / sqrt 2).

    Args:
        phi: [K, n].
        member: bool [K, n]; each record in and out of two models at least.
        others: bool [K, n], the models that count as OUT; None: all that are not IN.
    """
    phi, member, others = rows_of(phi), rows_of(member, bool), None if others is None else rows_of(others, bool)
    count, (mean, squares) = np.zeros((2, phi.shape[1]), int), np.zeros((2, 2, phi.shape[1]))
    for part in blocks(phi.shape[1], max(1, BLOCK // len(phi))):
        values, inside = np.asarray(phi[:, part], np.float64), member[:, part]
        for side, mask in enumerate((inside, ~inside if others is None else others[:, part])):
            count[side, part] = mask.sum(axis=0)
            mean[side, part] = np.where(mask, values, 0.0).sum(axis=0) / np.maximum(count[side, part], 1)
            squares[side, part] = np.where(mask, (values - mean[side, part]) ** 2, 0.0).sum(axis=0)
    variances = [
        (scatter / np.maximum(number - 1, 1) + scatter.sum() / max(1, (number - 1).sum())) / 2
        for scatter, number in zip(squares, count, strict=True)
    ]
    return (mean[0] - mean[1]) / np.sqrt(np.maximum(sum(variances) / 2, 1e-12))


def recognized(separation: float, rate: float = 0.01) -> float:
    """The best test's chance to tell a record d' apart from what it would be without it, at a false-positive rate.

    Phi(d' + Phi^-1(rate)), of two normal distributions of one variance.
    """
    return float(stats.norm.cdf(separation + stats.norm.ppf(rate)))


def summarize(
    phi: np.ndarray | Rows,
    member: np.ndarray | Rows,
    label: np.ndarray,
    index: np.ndarray,
    num_classes: int,
    scores: Mapping[str, np.ndarray | Rows],
) -> dict[str, Any]:
    """The records and classes of the largest separation: the block "exposure" of results.json.

    Args:
        phi: scaled logits [K, n].
        member: bool [K, n].
        label: [n].
        index: [n], rows of the data set.
        num_classes: c.
        scores: attack -> [T, n].
    """
    d = separation(phi, member)
    top = np.argsort(-d)[:TOP]
    classes = [
        {"class": c, "records": int((label == c).sum()), "separation": float(d[label == c].mean())}
        for c in range(num_classes)
        if (label == c).any()
    ]
    return {
        "measure": "mean scaled logit with the record in training minus without it, in standard deviations",
        "quantiles": {f"{q:g}": float(np.quantile(d, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)},
        "records": [{"index": int(index[i]), "class": int(label[i]), "separation": float(d[i])} for i in top],
        "classes": classes,
        "agreement": agreement(scores),
    }


def agreement(scores: Mapping[str, np.ndarray | Rows]) -> dict[str, Any]:
    """Spearman's rank correlation of every two attacks over the records that both judged: a mean over targets.

    Args:
        scores: attack -> [T, n], or [n] of one target; NaN: not judged.
    """
    names = list(scores)
    matrix = np.eye(len(names))
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            each = [_rank_correlation(x, y) for x, y in zip(scores[a], scores[b], strict=True)]
            matrix[i, j] = matrix[j, i] = np.mean(each)
    return {"attacks": names, "rank_correlation": [[round(float(v), 4) for v in row] for row in matrix]}


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 3 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return 0.0
    return float(stats.spearmanr(x[both], y[both]).statistic)
