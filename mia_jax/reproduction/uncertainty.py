"""How sure the target is, members against others (Shokri et al. 2017, section VII, why our attacks work).

    python scripts/reproduce.py --experiment=uncertainty --scale=cpu

Expected (paper, a figure without numbers that we know): the target's answers about members are surer (lower normalized
entropy) and give the true class more confidence than those about others, and the more classes, the larger the
difference.
Duration on 2 cores: 170 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

import numpy as np

from mia_jax.audits.config import Config
from mia_jax.reports.figures import MEMBERS, OTHERS, as_percent
from mia_jax.reproduction import drawing, settings
from mia_jax.reproduction.base import (
    NOTHING,
    Experiment,
    Finding,
    Measure,
    Row,
    Run,
    Runs,
    Scale,
    above,
    every,
    text,
    title,
)
from mia_jax.statistics import metrics

NAMES = ("purchase10", "purchase20", "purchase100", "location")
FEW, MANY = "purchase10", "purchase100"
PAPER = {"entropy": "members lower (a figure)", "confidence": "members higher (a figure)"}
WORDS = {"entropy": "normalized entropy of the answer", "confidence": "probability of the true class"}


def runs(scale: Scale) -> dict[str, Config]:
    return {name: settings.ours(name, scale) for name in NAMES}


def _area(run: Run | None, column: str) -> Measure:
    """How well the column alone tells members from others."""
    if run is None:
        return NOTHING
    values = run.scores[column].astype(np.float64)
    return metrics.auc(values if column == "confidence" else -values, run.scores["member"])


def table(runs: Runs) -> list[Row]:
    rows = []
    for name in NAMES:
        run = runs.get(name)
        row: Row = {"data": title(run, name)}
        for column, words in WORDS.items():
            for group, rows_of in (("members", True), ("others", False)):
                median = np.median(run.scores[column][run.scores["member"] == rows_of]) if run else None
                row[f"median {words}, {group}"] = None if median is None else float(median)
            row[f"AUC of the {words} alone"] = _area(run, column)
            row[f"paper: {words}"] = PAPER[column]
        rows.append(row)
    return rows


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(2 * len(NAMES), len(NAMES), width=2.7, height=2.4)
    edges = np.linspace(0, 1, 21)
    for k, (column, words) in enumerate(WORDS.items()):
        for ax, name in zip(axes[k * len(NAMES) :], NAMES, strict=False):
            run = runs.get(name)
            for group, member, hue in (("members", True, MEMBERS), ("others", False, OTHERS)):
                if run is not None:
                    values = run.scores[column][run.scores["member"] == member]
                    share = np.histogram(np.clip(values, 0, 1), edges)[0] / max(1, len(values))
                    ax.stairs(share, edges, color=hue, lw=2, ls="-" if member else (0, (4, 1.5)), label=group)
            if k == 0:
                ax.set_title(title(run, name) + ("" if run else "\nno run"))
            ax.set_xlabel(words)
        axes[k * len(NAMES)].set_ylabel("share of records")
    axes[0].set(xlim=(-0.02, 1.02), ylim=(0, 1.03))
    axes[0].yaxis.set_major_formatter(as_percent)
    drawing.legend(figure, axes[0])
    return figure


def finding(runs: Runs) -> Finding:
    areas = {column: {name: _area(runs.get(name), column) for name in NAMES} for column in WORDS}
    claims = [above(area, 0.5) for of in areas.values() for area in of.values()]
    claims += [above(of[MANY], of[FEW]) for of in areas.values()]
    words = "; ".join(
        f"{WORDS[column]}: " + ", ".join(f"{title(runs.get(name), name)} {text(area)}" for name, area in of.items())
        for column, of in areas.items()
    )
    return Finding(every(claims), f"AUC with which it alone tells members from others: {words}; guessing 0.5")


EXPERIMENT = Experiment(
    "uncertainty",
    "How sure the target is, members against others",
    "section VII",
    "The target is surer of members, and the difference grows with the number of classes.",
    runs,
    table,
    figure,
    finding,
)
