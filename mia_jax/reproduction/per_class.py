"""Precision and recall by class, as distributions over the classes (Shokri et al. 2017, section VI).

    python scripts/reproduce.py --experiment=per_class --scale=cpu

Expected (paper): CIFAR-10 median precision .74 (15,000 records), CIFAR-100 .988 (29,540); Texas precision above .6, and
above .85 for over 20 of its classes; Purchase-100 .935 and Location .678 overall (Google).
Duration on 2 cores: 19 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

import numpy as np

from mia_jax import data
from mia_jax.audits.config import Config
from mia_jax.reports import paper
from mia_jax.reports.figures import DASHES
from mia_jax.reproduction import drawing, settings
from mia_jax.reproduction.base import (
    Experiment,
    Finding,
    Row,
    Runs,
    Scale,
    above,
    attack,
    classes,
    columns,
    every,
    left_out,
    text,
    title,
)
from mia_jax.statistics import metrics

NAMES = ("location", "purchase100", "texas", "cifar10", "cifar100")
SURE = paper.TEXAS_CLASSES["their precision, above"]


def runs(scale: Scale) -> dict[str, Config]:
    return {name: settings.ours(name, scale) for name in NAMES}


def table(runs: Runs) -> list[Row]:
    rows = []
    for name in NAMES:
        run, cifar = runs.get(name), paper.CIFAR.get(name)
        published = None if cifar else paper.TABLE_II[name]
        sure = int((classes(run)[1] > SURE).sum()) if run else None
        rows.append(
            {"data": title(run, name)}
            | columns(run, published, "precision", "recall")
            | {
                "median precision over classes": attack(run, "median_precision"),
                "paper: median precision over classes": cifar and cifar.precision,
                f"classes with precision above {SURE}": sure,
                f"paper: classes with precision above {SURE}": (
                    f"over {paper.TEXAS_CLASSES['classes']}" if name == "texas" else None
                ),
            }
        )
    return rows


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(2, width=4.2, height=3.2)
    for k, name in enumerate(n for n in NAMES if n in runs):
        words = title(runs[name], name) + left_out(runs[name])
        for ax, measure in zip(axes, ("precision", "recall"), strict=True):
            rows = runs[name].results["attacks"]["shokri"]["per_class"]
            values = np.array([v for row in rows if (v := row[measure]["value"]) is not None])
            drawing.cdf(ax, values, drawing.HUES[k], DASHES[k % len(DASHES)], words)
        if cifar := paper.CIFAR.get(name):
            median = drawing.published([cifar.precision], f"paper: median of {data.title(name)}")
            drawing.marks(axes[0], median._replace(hue=drawing.HUES[k]), [0.5], upright=False)
    for ax, measure in zip(axes, ("precision", "recall"), strict=True):
        drawing.cdf_axes(ax, f"{measure} on a class")
    axes[0].set_ylabel("share of classes, up to there")
    drawing.legend(figure, axes[0], 2)
    return figure


def finding(runs: Runs) -> Finding:
    claims, words = [], []
    for name in NAMES:
        if name not in runs:
            claims.append(None)
            words.append(f"{data.title(name)}: no run")
            continue
        precision = classes(runs[name])[1]
        share = metrics.proportion(int((precision > 0.5).sum()), len(precision), "no class has a precision")
        claims.append(above(share, 0.5))
        words.append(f"{title(runs[name], name)}: {text(share)}")
    return Finding(every(claims), f"share of the classes whose precision is above guessing: {'; '.join(words)}")


EXPERIMENT = Experiment(
    "per_class",
    "Precision and recall by class",
    "section VI, distributions over classes",
    "Most classes leak, some nearly completely.",
    runs,
    table,
    figure,
    finding,
)
