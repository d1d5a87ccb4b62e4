"""Overfitting against precision (Shokri et al. 2017, section VI, effect of overfitting; section VII).

    python scripts/reproduce.py --experiment=overfitting --scale=cpu

Expected (paper, Table II): train-test gap and precision Adult .006, .503; Purchase-2 .015, .505; MNIST .056, .517;
Purchase-10 .133, .550; Texas .151, .657; Purchase-20 .219, .590; Purchase-50 .307, .860; Location .327, .678;
Purchase-100 .340, .935. Beside data sets, one data set trained for longer and longer (ours): nothing but overfitting
changes.
Duration on 2 cores: 160 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from collections.abc import Iterable
from typing import Any

from mia_jax import data
from mia_jax.audits.config import Config
from mia_jax.reports import paper
from mia_jax.reproduction import drawing, settings
from mia_jax.reproduction.base import (
    Experiment,
    Finding,
    Row,
    Run,
    Runs,
    Scale,
    above,
    attack,
    every,
    first,
    gap,
    is_simulated,
    required,
    spearman,
    text,
    title,
)

LONGER = "location"
LONG = (3, 5, 10, 20, 50, 100)
EPOCHS: dict[Scale, tuple[int, ...]] = {"quick": (3, 5, 10, 20, 30), "cpu": LONG, "paper": LONG}
EVERY = sorted({*EPOCHS["quick"], *LONG})


def label(epochs: int) -> str:
    """The label of a run."""
    return f"{data.title(LONGER)}, {epochs} epochs"


def runs(scale: Scale) -> dict[str, Config]:
    sets = {name: settings.ours(name, scale) for name in paper.TABLE_II}
    return sets | {label(n): settings.ours(LONGER, scale, num_epochs=n) for n in EPOCHS[scale]}


def _published_gap(name: str) -> float:
    row = paper.TABLE_II[name]
    return required(row.train_accuracy) - required(row.test_accuracy)


def _measured(runs: Runs, labels: Iterable[str]) -> list[str]:
    return [label for label in labels if attack(runs.get(label), "precision").value is not None]


def _point(run: Run) -> tuple[float, float]:
    return gap(run), required(attack(run, "precision").value)


def _short(name: str) -> str:
    return data.title(name).split(" ")[0]


def _longer(runs: Runs) -> list[Run]:
    return [runs[label(n)] for n in EVERY if label(n) in runs]


def table(runs: Runs) -> list[Row]:
    rows = []
    for name, row in paper.TABLE_II.items():
        run = runs.get(name)
        rows.append(
            {
                "data": title(run, name),
                "epochs": run.results["config"]["num_epochs"] if run else None,
                "train-test gap": gap(run) if run else None,
                "paper: train-test gap": round(_published_gap(name), 3),
                "precision": attack(run, "precision"),
                "paper: precision": row.precision,
            }
        )
    for epochs in EVERY:
        if run := runs.get(label(epochs)):
            rows.append(
                {
                    "data": title(run, LONGER),
                    "epochs": epochs,
                    "train-test gap": gap(run),
                    "paper: train-test gap": None,
                    "precision": attack(run, "precision"),
                    "paper: precision": None,
                }
            )
    return rows


def figure(runs: Runs) -> Any:
    figure, (sets, theirs, longer) = drawing.panels(3, width=3.6, height=4.2)
    known = _measured(runs, paper.TABLE_II)
    ours = drawing.Series("ours", [attack(runs[name], "precision") for name in known], drawing.HUES[0])
    drawing.marks(sets, ours, [gap(runs[name]) for name in known])
    named = {_short(n) + ("*" if is_simulated(runs[n]) else ""): _point(runs[n]) for n in known}
    drawing.name_points(sets, list(named), list(named.values()))
    published = {_short(name): (_published_gap(name), required(row.precision)) for name, row in paper.TABLE_II.items()}
    gaps, precisions = zip(*published.values(), strict=True)
    drawing.marks(theirs, drawing.published(precisions, "paper, Google"), gaps)
    drawing.name_points(theirs, list(published), list(published.values()))
    done = [n for n in EVERY if _measured(runs, [label(n)])]
    series = drawing.Series("ours", [attack(runs[label(n)], "precision") for n in done], drawing.HUES[0])
    drawing.marks(longer, series, [gap(runs[label(n)]) for n in done], line=True)
    drawing.name_points(longer, [f"{n} epochs" for n in done], [_point(runs[label(n)]) for n in done])
    for ax in (sets, theirs, longer):
        ax.axhline(0.5, color=drawing.GRAY, lw=1.2, ls="--", label="guessing")
        ax.set(xlim=(-0.03, 0.75), ylim=(0.45, 1.02), xlabel="target's training minus test accuracy")
    sets.set(ylabel="attack precision", title="ours (*: SIMULATED)")
    theirs.set_title("the paper's")
    longer.set_title(f"{title(first(_longer(runs)), LONGER)}, trained for longer")
    drawing.legend(figure, sets)
    return figure


def finding(runs: Runs) -> Finding:
    known = _measured(runs, paper.TABLE_II)
    gaps, precisions = zip(*(_point(runs[n]) for n in known), strict=True) if known else ((), ())
    rho = spearman(gaps, precisions)
    done = sorted(_longer(runs), key=gap)
    least, most = (attack(run, "precision") for run in ((done[0], done[-1]) if len(done) > 1 else (None, None)))
    simulated = sum(is_simulated(runs[n]) for n in known)
    words = (
        f"rank correlation of the train-test gap and the precision over {len(known)} data sets"
        f"{f' ({simulated} of them SIMULATED)' if simulated else ''} {text(rho)};"
        f" {title(first(done), LONGER)} trained for longer and longer: precision from {text(least)} to {text(most)}"
    )
    if len(done) > 1:
        words += f" as the gap goes from {gap(done[0]):.3f} to {gap(done[-1]):.3f}"
    return Finding(every([above(rho, 0.0), above(most, least)]), words)


EXPERIMENT = Experiment(
    "overfitting",
    "Overfitting against precision",
    "section VI, effect of overfitting; section VII",
    "The more a target overfits, the more it leaks.",
    runs,
    table,
    figure,
    finding,
)
