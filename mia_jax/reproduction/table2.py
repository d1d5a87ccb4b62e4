"""Table II: all data sets (Shokri et al. 2017, section VI, accuracy of the attack).

    python scripts/reproduce.py --experiment=table2 --scale=cpu

Expected (paper; targets trained by Google): attack precision Adult .503, Purchase-2 .505, MNIST .517, Purchase-10 .550,
Purchase-20 .590, Texas .657, Location .678, Purchase-50 .860, Purchase-100 .935; all accuracies in ``paper.TABLE_II``.
Beside the stand-in for Google stands our own network, which the paper did not run on all of them.
Duration on 2 cores: 883 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
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
    required,
    spearman,
    text,
    title,
)

KINDS = {"google": "Google (stand-in)", "nn": "our network"}
LEAKY = ("location", "texas", "purchase20", "purchase50", "purchase100")  # above .55 in the paper
QUIET = ("adult", "mnist", "purchase2")  # below .52


def label(name: str, kind: str) -> str:
    """The label of a run."""
    return f"{data.title(name)}, {KINDS[kind]}"


def runs(scale: Scale) -> dict[str, Config]:
    configs = {}
    for name in paper.TABLE_II:
        configs[label(name, "google")] = settings.service(name, "google", scale)
        configs[label(name, "nn")] = settings.ours(name, scale)
    return configs


def table(runs: Runs) -> list[Row]:
    rows = []
    for name, row in paper.TABLE_II.items():
        for kind, words in KINDS.items():
            run = runs.get(label(name, kind))
            published = row if kind == "google" else None
            rows.append(
                {"data": title(run, name), "platform": words}
                | columns(run, published, "train", "test", "precision", "recall", "auc")
            )
    return rows


def figure(runs: Runs) -> Any:
    figure, (ax,) = drawing.panels(1, width=6.4, height=5.2)
    names = sorted(paper.TABLE_II, key=lambda name: -required(paper.TABLE_II[name].precision))
    labels = [title(first(runs.get(label(name, kind)) for kind in KINDS), name) for name in names]
    series = [
        drawing.Series(words, [attack(runs.get(label(name, kind)), "precision") for name in names], hue, mark)
        for (kind, words), hue, mark in zip(KINDS.items(), drawing.HUES, "os", strict=False)
    ]
    series.append(drawing.published([paper.TABLE_II[name].precision for name in names], "paper, Google"))
    drawing.dots(ax, labels, series, "attack precision")
    drawing.legend(figure, ax)
    return figure


def finding(runs: Runs) -> Finding:
    claims, parts = [], []
    for kind, words in KINDS.items():
        precision = {name: attack(runs.get(label(name, kind)), "precision") for name in paper.TABLE_II}
        measured = {name: p for name, p in precision.items() if p.value is not None}
        value = {name: required(p.value) for name, p in measured.items()}
        leaky = [name for name in LEAKY if name in measured]
        quiet = [name for name in QUIET if name in measured]
        if not leaky or not quiet:
            claims.append(None)
            parts.append(f"{words}: too few data sets were measured")
            continue
        names = {name: title(runs[label(name, kind)], name) for name in measured}
        least, most = min(leaky, key=value.__getitem__), max(quiet, key=value.__getitem__)
        rank = spearman([required(paper.TABLE_II[n].precision) for n in measured], list(value.values()))
        claims += [above(measured[least], measured[most]), rank.value is not None and rank.value > 0]
        parts.append(
            f"{words}: least precise on a data set that leaks in the paper, {names[least]} {text(measured[least])}"
            f"; most precise on one that does not, {names[most]} {text(measured[most])}; rank correlation with the"
            f" paper's precisions {text(rank)} over {len(measured)} data sets"
        )
    return Finding(every(claims), "; ".join(parts))


EXPERIMENT = Experiment(
    "table2",
    "Table II: all data sets",
    "section VI, Table II",
    "Location, Texas and Purchase with 20 classes and more leak; Adult, MNIST and Purchase-2 hardly do.",
    runs,
    table,
    figure,
    finding,
)
