"""Table III: mitigations (Shokri et al. 2017, section VIII).

    python scripts/reproduce.py --experiment=table3 --scale=cpu

Expected (paper, local network, attack accuracy on Purchase-100 / Texas): none .92/.83; top 1 .89/.82; label only
.66/.73; 1 digit .89/.81; temperature 20 .84/.76; L2 1e-3 .77/.66; L2 1e-2 .53 and 5e-3 .52; all in
``paper.MITIGATIONS``. The attacker knows the mitigation. Runs that differ in defenses at the answer share their models,
which are trained once.
Duration on 2 cores: 1390 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
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
    target,
    text,
    title,
)

CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "top 3": dict(defenses="top_k(3)"),
    "top 1": dict(defenses="top_k(1)"),
    "label only": dict(defenses="label_only()"),
    "3 digits": dict(defenses="round_to(3)"),
    "1 digit": dict(defenses="round_to(1)"),
    "temperature 5": dict(defenses="temperature(5)"),
    "temperature 20": dict(defenses="temperature(20)"),
    "L2 1e-4": dict(l2=1e-4),
    "L2 5e-4": dict(l2=5e-4),
    "L2 1e-3": dict(l2=1e-3),
    "L2 5e-3": dict(l2=5e-3),
    "L2 1e-2": dict(l2=1e-2),
}
STRONGEST = {"purchase100": "L2 1e-2", "texas": "L2 5e-3"}


def label(name: str, mitigation: str) -> str:
    """The label of a run."""
    return f"{data.title(name)}, {mitigation}"


def runs(scale: Scale) -> dict[str, Config]:
    return {
        label(name, mitigation): settings.ours(name, scale, **CHANGES[mitigation])
        for name, rows in paper.MITIGATIONS.items()
        for mitigation in rows
    }


def _title(runs: Runs, name: str) -> str:
    return title(first(runs.get(label(name, mitigation)) for mitigation in paper.MITIGATIONS[name]), name)


def table(runs: Runs) -> list[Row]:
    return [
        {"data": title(runs.get(label(name, mitigation)), name), "mitigation": mitigation}
        | columns(runs.get(label(name, mitigation)), row, "test", "accuracy", "precision", "recall")
        for name, rows in paper.MITIGATIONS.items()
        for mitigation, row in rows.items()
    ]


def figure(runs: Runs) -> Any:
    figure, axes = drawing.panels(4, 2, width=4.2, height=4.0, sharey="row")
    for k, (name, rows) in enumerate(paper.MITIGATIONS.items()):
        made = [runs.get(label(name, mitigation)) for mitigation in rows]
        parts = (
            ("attack accuracy", [attack(r, "accuracy") for r in made], "accuracy", 0.5),
            ("target's accuracy on other records", [target(r, "test") for r in made], "test_accuracy", None),
        )
        for ax, (xlabel, ours, column, guess) in zip(axes[2 * k :], parts, strict=False):
            published = [getattr(row, column) for row in rows.values()]
            series = [drawing.Series("ours", ours, drawing.HUES[0]), drawing.published(published)]
            drawing.dots(ax, list(rows), series, xlabel, guess=guess)
            ax.set_title(_title(runs, name))
    drawing.legend(figure, axes[0])
    return figure


def finding(runs: Runs) -> Finding:
    claims, parts = [], []
    for name, rows in paper.MITIGATIONS.items():
        accuracy = {mitigation: attack(runs.get(label(name, mitigation)), "accuracy") for mitigation in rows}
        answers = {m: accuracy[m] for m in rows if "defenses" in CHANGES[m]}
        claims += [above(a, 0.5) for a in answers.values()]
        claims.append(above(accuracy["none"], accuracy[STRONGEST[name]]))
        measured = {m: a.value for m, a in answers.items() if a.value is not None}
        best = min(measured, key=measured.__getitem__, default="label only")
        parts.append(
            f"{_title(runs, name)}: attack accuracy {text(accuracy['none'])} without mitigation, {text(accuracy[best])}"
            f" under the best at the answer ({best}), {text(accuracy[STRONGEST[name]])} under {STRONGEST[name]}"
        )
    return Finding(every(claims), "; ".join(parts))


EXPERIMENT = Experiment(
    "table3",
    "Table III: mitigations",
    "section VIII, Table III",
    "No mitigation at the answer stops the attack, not even labels alone; strong regularization in training does.",
    runs,
    table,
    figure,
    finding,
)
