"""The number of shadow models (Shokri et al. 2017, section V, training shadow models).

    python scripts/reproduce.py --experiment=num_shadows --scale=cpu

Expected (paper): the more shadow models, the more accurate the attack; no numbers are given for it. The paper uses 60
on Location (precision .678, Google).
Duration on 2 cores: 58 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

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
    heading,
    text,
    title,
)

DATA = "location"
EVERY = (1, 2, 5, 10, 20, 60, 100)
COUNTS: dict[Scale, tuple[int, ...]] = {"quick": EVERY[:5], "cpu": EVERY, "paper": EVERY}
PAPER = {60: paper.TABLE_II[DATA]}
MEASURES = ("accuracy", "precision", "recall", "auc")


def label(count: int) -> str:
    """The label of a run."""
    return f"{count} shadow{'s' if count > 1 else ''}"


def runs(scale: Scale) -> dict[str, Config]:
    return {label(count): settings.ours(DATA, scale, num_shadows=count) for count in COUNTS[scale]}


def table(runs: Runs) -> list[Row]:
    return [
        {"data": title(runs.get(label(count)), DATA), "shadows": count}
        | columns(runs.get(label(count)), PAPER.get(count), *MEASURES)
        for count in EVERY
        if label(count) in runs or count in PAPER
    ]


def figure(runs: Runs) -> Any:
    figure, (ax,) = drawing.panels(1, width=5.2, height=3.2)
    done = [count for count in EVERY if label(count) in runs]
    for k, measure in enumerate(MEASURES):
        values = [attack(runs[label(count)], measure) for count in done]
        places = [count * 1.03 ** (k - 1.5) for count in done]  # so that intervals do not cover each other
        series = drawing.Series(heading(measure), values, drawing.HUES[k], drawing.marker(k))
        drawing.marks(ax, series, places, line=True)
    drawing.marks(ax, drawing.published([PAPER[60].precision], "paper: precision, Google"), [60])
    ax.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--", label="guessing")
    ax.set(xscale="log", ylim=(0.4, 1.02), xlabel="shadow models", ylabel="accuracy, precision, recall, AUC")
    ax.set_xticks(EVERY, [str(count) for count in EVERY])
    ax.minorticks_off()
    ax.set_title(title(runs[label(done[0])], DATA))
    drawing.legend(figure, ax, 3)
    return figure


def finding(runs: Runs) -> Finding:
    done = [count for count in EVERY if label(count) in runs]
    if len(done) < 2:
        return Finding(None, f"{len(done)} numbers of shadows, too few to compare")
    few, many = (attack(runs[label(count)], "accuracy") for count in (done[0], done[-1]))
    about = title(runs[label(done[0])], DATA)
    words = f"{about}: attack accuracy {text(few)} with {label(done[0])}, {text(many)} with {label(done[-1])}"
    return Finding(above(many, few), words)


EXPERIMENT = Experiment(
    "num_shadows",
    "The number of shadow models",
    "section V, training shadow models",
    "The more shadow models, the more accurate the attack.",
    runs,
    table,
    figure,
    finding,
)
