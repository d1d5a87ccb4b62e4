"""Table I: one data set, four platforms (Shokri et al. 2017, section VI, target models).

    python scripts/reproduce.py --experiment=table1 --scale=cpu

Expected (paper, Purchase-100, accuracy on train / test): Google .999/.656; Amazon (10 passes, L2 1e-6) .941/.468;
Amazon (100, 1e-4) 1.00/.504; local network .830/.670. Attack precision against Google .935 (Table II), against the
local network .87 (Table III). The two services are gone: ours are stand-ins, and are called so.
Duration on 2 cores: 196 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
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
    every,
    first,
    target,
    text,
    title,
)

DATA = "purchase100"
KINDS = {
    "Google (stand-in)": "google",
    "Amazon (10 passes, L2 1e-6; stand-in)": "amazon",
    "Amazon (100 passes, L2 1e-4; stand-in)": "amazon(100,1e-4)",
    "local network": "nn",
}
# Table I has the accuracies; the precisions that are known are those of Tables II and III.
PRECISIONS = (paper.TABLE_II[DATA].precision, None, None, paper.TABLE_III[DATA].precision)
PAPER = {
    label: row._replace(precision=precision)
    for label, row, precision in zip(KINDS, paper.TABLE_I, PRECISIONS, strict=True)
}


def runs(scale: Scale) -> dict[str, Config]:
    return {label: settings.service(DATA, kind, scale) for label, kind in KINDS.items()}


def table(runs: Runs) -> list[Row]:
    return [
        {"platform": label, "data": title(runs.get(label), DATA)}
        | columns(runs.get(label), PAPER[label], "train", "test", "precision", "recall")
        for label in KINDS
    ]


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(3, width=3.3, height=2.6)
    labels = [label.replace(" (", "\n(") for label in KINDS]
    made = [runs.get(label) for label in KINDS]
    parts = (
        ("target's accuracy, training records", [target(r, "train") for r in made], "train_accuracy", None),
        ("target's accuracy, other records", [target(r, "test") for r in made], "test_accuracy", None),
        ("attack precision", [attack(r, "precision") for r in made], "precision", 0.5),
    )
    for ax, (xlabel, ours, name, guess) in zip(axes, parts, strict=True):
        series = [
            drawing.Series("ours", ours, drawing.HUES[0]),
            drawing.published([getattr(PAPER[label], name) for label in KINDS]),
        ]
        drawing.dots(ax, labels, series, xlabel, guess=guess)
    drawing.legend(figure, axes[-1])
    figure.suptitle(title(first(runs.values()), DATA))
    return figure


def finding(runs: Runs) -> Finding:
    precision = {label: attack(runs.get(label), "precision") for label in KINDS}
    words = "; ".join(f"{label} {text(p)}" for label, p in precision.items())
    about = title(first(runs.values()), DATA)
    claims = [above(p, 0.5) for p in precision.values()]
    return Finding(every(claims), f"attack precision on {about}: {words}; guessing 0.5")


EXPERIMENT = Experiment(
    "table1",
    "Table I: the same data on four platforms",
    "section VI, Table I",
    "Models of every platform leak: the attack is more precise than guessing on each.",
    runs,
    table,
    figure,
    finding,
)
