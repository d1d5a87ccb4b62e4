"""What the two experiments on shadow data share: one target, attacked with shadows that were trained on other data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.reports import paper
from mia_jax.reports.figures import DASHES
from mia_jax.reproduction import drawing
from mia_jax.reproduction.base import (
    Finding,
    Row,
    Runs,
    above,
    attack,
    classes,
    columns,
    every,
    falling,
    first,
    heading,
    left_out,
    spearman,
    text,
    title,
)

POOR = 0.1  # the paper: precision on badly synthesized classes falls below


def table(runs: Runs, name: str, order: Sequence[str], published: Mapping[str, paper.Row]) -> list[Row]:
    """A row for each kind of shadow data, in this order, beside the paper's numbers; ``name``: of the data set."""
    return [
        {"data": title(runs.get(kind), name), "shadow data": kind}
        | columns(runs.get(kind), published[kind], "precision", "recall", "accuracy", "auc")
        | {
            "median precision over classes": attack(runs.get(kind), "median_precision"),
            f"classes with precision below {POOR}, or none called": _poor(runs, kind),
            "rank correlation of class size and precision": (
                spearman(*classes(runs[kind])) if kind in runs else spearman([], [])
            ),
        }
        for kind in order
    ]


def _poor(runs: Runs, kind: str) -> int | None:
    if kind not in runs:
        return None
    precision = classes(runs[kind])[1]
    return int((precision < POOR).sum()) + runs[kind].results["dataset"]["classes"] - len(precision)


def figure(runs: Runs, name: str, order: Sequence[str], published: Mapping[str, paper.Row]) -> Any:
    """Precision by kind of shadow data, by class, and against the size of a class."""
    figure, (overall, by_class, by_size) = drawing.row(3, width=3.4)
    series = [
        drawing.Series("ours", [attack(runs.get(kind), "precision") for kind in order], drawing.HUES[0]),
        drawing.published([published[kind].precision for kind in order], "paper, Google"),
    ]
    drawing.dots(overall, list(order), series, "precision, all classes")
    largest = 1.0
    for k, kind in enumerate(kind for kind in order if kind in runs):
        counts, precision = classes(runs[kind])
        color, ls, marks = drawing.HUES[k + 1], DASHES[k], dict(marker=drawing.marker(k + 1), ms=4, mfc="none")
        drawing.cdf(by_class, precision, color, ls)
        by_size.plot(counts, precision, ls="", color=color, alpha=0.75, **marks)
        by_class.plot([], [], ls=ls, color=color, label=kind + left_out(runs[kind]), **marks)  # for the legend
        largest = max(largest, float(np.max(counts, initial=0)))
    drawing.cdf_axes(by_class)
    by_class.set_ylabel("share of classes, up to there")
    by_size.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--")
    by_size.set(xlim=(0, 1.05 * largest), ylim=(-0.02, 1.02), ylabel="precision on a class")
    by_size.set_xlabel("target's training records of the class")
    drawing.legend(figure, overall, 3)
    figure.suptitle(title(first(runs.values()), name))
    return figure


def finding(runs: Runs, name: str, order: Sequence[str]) -> Finding:
    """Whether precision falls in this order, and in which other measures that holds.

    The paper's claim is about precision, which hangs on where the attack draws its line; AUC does not.
    """
    measures = {m: [attack(runs.get(kind), m) for kind in order] for m in ("precision", "recall", "accuracy", "auc")}
    claims = [falling(measures["precision"]), *(above(p, 0.5) for p in measures["precision"])]
    parts = [
        f"{heading(m)} " + ", ".join(f"{kind} {text(v)}" for kind, v in zip(order, values, strict=True))
        for m, values in measures.items()
    ]
    orders = [
        f"{words} by {', '.join(by)}"
        for verdict, words in ((True, "holds"), (False, "does not hold"), (None, "cannot be told"))
        if (by := [heading(m) for m in ("precision", "accuracy", "auc") if falling(measures[m]) is verdict])
    ]
    parts += ["guessing 0.5", f"the paper's order, {', '.join(order)}, {'; it '.join(orders)}"]
    return Finding(every(claims), f"{title(first(runs.values()), name)}, {'; '.join(parts)}")
