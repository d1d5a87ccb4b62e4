"""Training records of a class against precision on it (Shokri et al. 2017, section VI, training data per class).

    python scripts/reproduce.py --experiment=class_size --scale=cpu

Expected (paper): the larger the share of a class in the training data, the lower the precision on it; the paper shows
this as a figure, without numbers that we know. A rank correlation below 0 is the same in a number.
Duration on 2 cores: 198 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

from mia_jax.audits.config import Config
from mia_jax.reproduction import drawing, settings
from mia_jax.reproduction.base import (
    Experiment,
    Finding,
    Measure,
    Row,
    Runs,
    Scale,
    above,
    classes,
    every,
    left_out,
    spearman,
    text,
    title,
)

NAMES = ("location", "purchase100", "texas")
TICKS = (10, 30, 100, 300, 1000)


def runs(scale: Scale) -> dict[str, Config]:
    return {name: settings.ours(name, scale) for name in NAMES}


def _correlation(runs: Runs, name: str) -> Any:
    return spearman(*classes(runs[name])) if name in runs else spearman([], [])


def table(runs: Runs) -> list[Row]:
    rows = []
    for name in NAMES:
        run = runs.get(name)
        counts = run.results["dataset"]["class_counts"] if run else ()
        rows.append(
            {
                "data": title(run, name),
                "training records of a class": f"{min(counts):,} to {max(counts):,}" if run else None,
                "classes with a precision": len(classes(run)[0]) if run else None,
                "rank correlation of class size and precision": _correlation(runs, name),
                "paper: rank correlation of class size and precision": "below 0 (a figure, without a number)",
            }
        )
    return rows


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(len(NAMES), width=3.4)
    for ax, name in zip(axes, NAMES, strict=True):
        run = runs.get(name)
        if run is not None:
            counts, precision = classes(run)
            ax.plot(counts, precision, ls="", marker="o", ms=4.5, mfc="none", color=drawing.HUES[0], label="a class")
        ax.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--", label="guessing")
        ax.set_title(title(run, name) + (left_out(run, "\n") if run else "\nno run"))
        ax.set_xlabel("target's training records of the class")
    axes[0].set(xscale="log", ylim=(-0.02, 1.02), ylabel="precision on the class")
    axes[0].set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    axes[0].minorticks_off()
    drawing.legend(figure, axes[0])
    return figure


def finding(runs: Runs) -> Finding:
    correlations = {name: _correlation(runs, name) for name in NAMES}
    claims = [above(Measure(0.0, 0.0, 0.0), rho) for rho in correlations.values()]
    words = "; ".join(f"{title(runs.get(n), n)} {text(rho)}" for n, rho in correlations.items())
    return Finding(every(claims), f"rank correlation of a class's training records and the precision on it: {words}")


EXPERIMENT = Experiment(
    "class_size",
    "Training records of a class against precision on it",
    "section VI, training data per class",
    "The more training records a class has, the less of it leaks.",
    runs,
    table,
    figure,
    finding,
)
