"""Precision and recall against the size of the training set (Shokri et al. 2017, section VI, accuracy of the attack).

    python scripts/reproduce.py --experiment=train_size --scale=cpu

Expected (paper): precision falls as the training set grows; CIFAR-10 with 15,000 records: test accuracy .6, precision
.74; CIFAR-100 with 29,540: .2, .988 (medians over classes). Disjoint sets for target and shadows need four times the
training set: of 60,000 records 15,000 is the largest, and larger sizes are skipped with a line that says so.
Duration on 2 cores: 1947 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

from mia_jax import data
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
    columns,
    every,
    first,
    text,
    title,
)

NAMES = ("cifar10", "cifar100")
# 5,000 for CIFAR-100, 7,500 and 2,500 are ours: they fit a half of the data sets.
SIZES: dict[Scale, dict[str, tuple[int, ...]]] = {
    "quick": dict.fromkeys(NAMES, (2_500, 5_000)),
    "cpu": {"cifar10": (2_500, 5_000, 7_500), "cifar100": (2_500, 4_600, 7_500)},
    "paper": {
        "cifar10": (2_500, 5_000, 7_500, 10_000, 15_000),
        "cifar100": (2_500, 4_600, 7_500, 10_520, 19_920, 29_540),
    },
}
EVERY = {name: sorted({*SIZES["quick"][name], *SIZES["paper"][name]}) for name in NAMES}
MEASURES = ("precision", "recall")


def label(name: str, size: int) -> str:
    """The label of a run."""
    return f"{data.title(name)}, {size:,} records"


def runs(scale: Scale) -> dict[str, Config]:
    return {
        label(name, size): settings.ours(name, scale, train_size=size) for name in NAMES for size in SIZES[scale][name]
    }


def _title(runs: Runs, name: str) -> str:
    return title(first(runs.get(label(name, size)) for size in EVERY[name]), name)


def _published(name: str, size: int) -> paper.Row | None:
    return paper.CIFAR[name] if size == paper.CIFAR_SIZES[name][-1] else None


def table(runs: Runs) -> list[Row]:
    rows = []
    for name in NAMES:
        for size in EVERY[name]:
            run, row = runs.get(label(name, size)), _published(name, size)
            if run is None and row is None:
                continue
            rows.append(
                {"data": title(run, name), "training records": size}
                | columns(run, row, "train", "test", "precision", "recall")
                | {
                    "median precision over classes": attack(run, "median_precision"),
                    "paper: median precision over classes": row and row.precision,
                    "paper: precision": None,  # the paper's is the median
                }
            )
    return rows


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(len(NAMES), width=4.0)
    for ax, name in zip(axes, NAMES, strict=True):
        sizes = EVERY[name]
        made = [runs.get(label(name, size)) for size in sizes]
        for measure, hue, mark in zip(MEASURES, drawing.HUES, "os", strict=False):
            series = drawing.Series(measure, [attack(run, measure) for run in made], hue, mark)
            drawing.marks(ax, series, sizes, line=True)
        median = [attack(run, "median_precision") for run in made]
        series = drawing.Series("median precision over classes", median, drawing.HUES[4], "^", filled=False)
        drawing.marks(ax, series, sizes)
        published = [getattr(_published(name, size), "precision", None) for size in sizes]
        drawing.marks(ax, drawing.published(published, "paper: median precision"), sizes)
        ax.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--", label="guessing")
        ax.set(ylim=(0, 1.02), xlim=(0, 31_000), title=_title(runs, name))
        ax.set_xticks(range(0, 31_000, 10_000), [f"{size:,}" for size in range(0, 31_000, 10_000)])
        ax.set_xlabel("training records of the target")
    axes[0].set_ylabel("precision, recall")
    drawing.legend(figure, axes[0], 3)
    return figure


def finding(runs: Runs) -> Finding:
    claims, parts = [], []
    for name in NAMES:
        done = [size for size in EVERY[name] if label(name, size) in runs]
        if len(done) < 2:
            claims.append(None)
            parts.append(f"{_title(runs, name)}: {len(done)} sizes, too few to compare")
            continue
        low, high = (attack(runs[label(name, size)], "precision") for size in (done[0], done[-1]))
        claims.append(above(low, high))
        parts.append(
            f"{_title(runs, name)}: precision {text(low)} with {done[0]:,} records, {text(high)} with {done[-1]:,}"
        )
    return Finding(every(claims), "; ".join(parts))


EXPERIMENT = Experiment(
    "train_size",
    "Precision and recall against the size of the training set",
    "section VI, CIFAR",
    "Precision falls as the training set grows.",
    runs,
    table,
    figure,
    finding,
)
