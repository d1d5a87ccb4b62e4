"""The number of classes (Shokri et al. 2017, section VI, effect of the number of classes).

    python scripts/reproduce.py --experiment=num_classes

Expected (paper, Purchase, Google): precision .505, .550, .590, .860, .935 with 2, 10, 20, 50, 100 classes.
Duration on 2 cores: 119 s at --scale=cpu, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

import numpy as np

from mia_jax import paper
from mia_jax.config import Config
from mia_jax.experiments import drawing, settings
from mia_jax.experiments.base import (
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
    falling,
    is_simulated,
    text,
    title,
)

NAMES = {int(name.removeprefix("purchase")): name for name in settings.PURCHASES}


def runs(scale: Scale) -> dict[str, Config]:
    return {f"{count} classes": settings.ours(name, scale) for count, name in NAMES.items()}


def _of(runs: Runs, count: int) -> Any:
    return runs.get(f"{count} classes")


def table(runs: Runs) -> list[Row]:
    return [
        {"data": title(_of(runs, count), name), "classes": count}
        | columns(_of(runs, count), paper.TABLE_II[name], "train", "test", "precision", "recall")
        for count, name in NAMES.items()
    ]


def figure(runs: Runs) -> Any:
    figure, (overall, by_class) = drawing.row(2, width=4.2, sharey=True)
    counts = list(NAMES)
    for measure, hue, mark in (("precision", drawing.HUES[0], "o"), ("recall", drawing.HUES[1], "s")):
        series = drawing.Series(measure, [attack(_of(runs, count), measure) for count in counts], hue, mark)
        drawing.marks(overall, series, counts, line=True)
    published = [paper.TABLE_II[name].precision for name in NAMES.values()]
    drawing.marks(overall, drawing.published(published, "paper: precision, Google"), counts, line=True)
    overall.axhline(0.5, color=drawing.GREY, lw=1.2, ls="--", label="guessing")
    overall.set(
        xscale="log", ylim=(0, 1.02), xlabel="classes", ylabel="precision, recall", title="all classes together"
    )
    overall.set_xticks(counts, [str(count) for count in counts])
    overall.minorticks_off()
    spread = [(k, classes(run)[1]) for k, count in enumerate(counts) if (run := _of(runs, count))]
    for k, values in spread:
        jitter = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(len(values))
        by_class.plot(k + jitter, values, ls="", marker="o", ms=3, mfc="none", color=drawing.HUES[0])
    by_class.axhline(0.5, color=drawing.GREY, lw=1.2, ls="--")
    by_class.set(xlabel="classes", title="precision, each class")
    by_class.set_xticks(range(len(counts)), [str(count) for count in counts])
    drawing.legend(figure, overall)
    figure.suptitle("Purchase" + (" (SIMULATED)" if any(map(is_simulated, runs.values())) else ""))
    return figure


def finding(runs: Runs) -> Finding:
    counts = sorted(NAMES, reverse=True)
    precision = [attack(_of(runs, count), "precision") for count in counts]
    told = ", ".join(f"{count} classes {text(p)}" for count, p in zip(counts, precision, strict=True))
    claims = [falling(precision), above(precision[0], precision[-1])]
    return Finding(every(claims), f"attack precision: {told}")


EXPERIMENT = Experiment(
    "num_classes",
    "The number of classes",
    "section VI, effect of the number of classes",
    "The more classes, the more leaks.",
    runs,
    table,
    figure,
    finding,
)
