"""What several targets say together. NumPy and SciPy in float64; never imports jax."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mia_jax import metrics
from mia_jax.metrics import Measure


def mean(values: Sequence[float], *, within: tuple[float, float] = (0.0, 1.0)) -> Measure:
    """Mean over targets with Student's t interval: for models trained on this pool, not for other pools.

    The interval is cut to ``within``, the values that there are: rates of a few targets may spread so far that t would
    go below 0.
    """
    values = np.asarray(values, np.float64)
    middle = float(values.mean())
    if len(values) < 2:
        return Measure(middle, reason="one target: no interval over targets")
    spread = float(values.std(ddof=1))
    if spread == 0:
        return Measure(
            middle, reason=f"all {len(values)} targets gave the same value: no spread to tell an interval from"
        )
    half = float(stats.t.ppf(1 - metrics.TAIL, len(values) - 1)) * spread / math.sqrt(len(values))
    return Measure(middle, max(middle - half, within[0]), min(middle + half, within[1]))


def block(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The block of all targets together, from ``metrics.evaluate`` of each; no value where one of them has none."""

    def of(measures: list[Any]) -> dict[str, Any]:
        values = [m["value"] for m in measures]
        if None in values:
            return next(m for m in measures if m["value"] is None)
        return mean(values).json()

    out: dict[str, Any] = {
        key: of([b[key] for b in blocks]) for key in ("accuracy", "balanced_accuracy", "precision", "recall", "auc")
    }
    for key in ("tpr_at_fpr", "ppv_at_prior"):
        out[key] = {at: of([b[key][at] for b in blocks]) for at in blocks[0][key]}
    medians = [b["median_precision"] for b in blocks if b["median_precision"] is not None]
    out["median_precision"] = float(np.mean(medians)) if medians else None
    out["per_class"] = [
        {
            "class": rows[0]["class"],
            "members": sum(r["members"] for r in rows),
            "non_members": sum(r["non_members"] for r in rows),
            "precision": of([r["precision"] for r in rows]),
            "recall": of([r["recall"] for r in rows]),
        }
        for rows in zip(*(b["per_class"] for b in blocks), strict=True)
    ]
    return out
