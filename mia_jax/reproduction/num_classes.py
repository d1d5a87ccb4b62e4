"""The number of classes (Shokri et al. 2017, section VI, effect of the number of classes).

    python scripts/reproduce.py --experiment=num_classes --scale=cpu

Expected (paper, Purchase, Google): precision .505, .550, .590, .860, .935 with 2, 10, 20, 50, 100 classes.
Duration on 2 cores: 119 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

import numpy as np

from mia_jax.audits.config import Config
from mia_jax.reports import paper
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


def _title(runs: Runs) -> str:
    return "Purchase" + (" (SIMULATED)" if any(map(is_simulated, runs.values())) else "")


def table(runs: Runs) -> list[Row]:
    return [
        {"data": title(_of(runs, count), name), "classes": count}
        | columns(_of(runs, count), paper.TABLE_II[name], "train", "test", "precision", "recall")
        for count, name in NAMES.items()
    ]


def figure(runs: Runs) -> Any:
    figure, (overall, by_class) = drawing.panels(2, width=4.2, height=3.1)
    counts = list(NAMES)
    for measure, hue, mark in (("precision", drawing.HUES[0], "o"), ("recall", drawing.HUES[1], "s")):
        series = drawing.Series(measure, [attack(_of(runs, count), measure) for count in counts], hue, mark)
        drawing.marks(overall, series, counts, line=True)
    published = [paper.TABLE_II[name].precision for name in NAMES.values()]
    drawing.marks(overall, drawing.published(published, "paper: precision, Google"), counts, line=True)
    overall.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--", label="guessing")
    missing = 0
    for count in counts:
        if run := _of(runs, count):
            precision = classes(run)[1]
            beside = count * np.geomspace(0.8, 1.25, len(precision))  # so that classes do not cover each other
            missing += count - len(precision)
            by_class.plot(beside, precision, ls="", marker="o", ms=3, mfc="none", color=drawing.HUES[0])
    by_class.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--")
    overall.set(xscale="log", ylim=(0, 1.02), ylabel="precision, recall", title="all classes together")
    by_class.set_title("precision, each class" + (f" ({missing} have none)" if missing else ""))
    for ax in (overall, by_class):
        ax.set_xticks(counts, [str(count) for count in counts])
        ax.minorticks_off()
        ax.set_xlabel("classes")
    drawing.legend(figure, overall)
    figure.suptitle(_title(runs))
    return figure


def finding(runs: Runs) -> Finding:
    counts = sorted(NAMES, reverse=True)
    precision = [attack(_of(runs, count), "precision") for count in counts]
    words = ", ".join(f"{count} classes {text(p)}" for count, p in zip(counts, precision, strict=True))
    claims = [falling(precision), above(precision[0], precision[-1])]
    return Finding(every(claims), f"attack precision on {_title(runs)}: {words}")


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
