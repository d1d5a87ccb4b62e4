"""The ROC curve of scores, for notebooks; reports draw theirs in figures of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mia_jax.reports.figures import DASHES, GRAY, HATCHED, as_percent
from mia_jax.statistics import metrics
from mia_jax.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_roc(scores: Array | Mapping[str, Array], member: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the ROC of one attack or several on logarithmic axes: members found, by non-members falsely accused.

    Logarithmic, because what counts is who is found with next to no false alarms (Carlini et al. 2022, section V).
    Where fewer than ten non-members are accused the plane is hatched: there are too few to measure a rate.

    Args:
        scores: [n], larger = more likely a member; or of several attacks, name -> scores [n]. NaN is left out.
        member: bool [n].
        ax: where to draw; by default a new pyplot figure.

    Returns:
        The axes; ``.figure.savefig("roc.png")`` saves them.

    Raises:
        InputError: no members or no non-members, or scores of another length.

    >>> import numpy as np, mia_jax as mia
    >>> member = np.arange(2000) < 1000
    >>> scores = np.random.default_rng(0).normal(member)  # members score 1 higher
    >>> mia.draw_roc({"mine": scores}, member).figure.savefig("roc.png")  # doctest: +SKIP
    >>> mia.draw_roc(scores, member).get_xlabel()
    'false alarms: share of non-members (FPR)'
    """
    member = np.asarray(member, bool)
    several = scores if isinstance(scores, Mapping) else {"": scores}
    curves = {name: _curve(np.asarray(score, np.float64), member) for name, score in several.items()}
    if ax is None:
        from matplotlib import pyplot as plt

        ax = plt.subplots(figsize=(4.4, 4.2), constrained_layout=True)[1]
    others = int((~member).sum())
    left = min(1 / others, 0.1)
    grid = np.geomspace(left, 1, 400)
    for k, (name, curve) in enumerate(curves.items()):
        found = np.interp(grid, curve.fpr, curve.tpr)
        ax.plot(grid, np.where(found > 0, found, np.nan), ls=DASHES[k % len(DASHES)], label=name or "attack")
    ax.plot([left, 1], [left, 1], color=GRAY, lw=1.2, ls="--", label="guessing")
    limit = min(metrics.RESOLVABLE / others, 1)
    ax.axvspan(left, limit, **HATCHED)
    ax.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(left, 1.15))
    ax.set(xlabel="false alarms: share of non-members (FPR)", ylabel="found: share of members (TPR)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda share, place: as_percent(share))
    ax.legend(loc="lower right")
    return ax


def _curve(score: np.ndarray, member: np.ndarray) -> metrics.Roc:
    if score.shape == member.shape:
        scored = ~np.isnan(score)
        score, member = score[scored], member[scored]
    return metrics.roc(score, member)
