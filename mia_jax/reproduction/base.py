"""What an experiment is: a small tuple of pure functions over finished runs, and the numbers that they share.

An experiment asks for runs by label, each a ``Config``; equal Configs are one run, whichever experiment asks. From the
runs that could be made it derives a table, a figure, and whether the paper's finding was found.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from mia_jax import data
from mia_jax.audits.config import Config
from mia_jax.reports import paper
from mia_jax.reports.figures import many
from mia_jax.statistics import metrics
from mia_jax.statistics.metrics import Measure

Scale = Literal["quick", "cpu", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "cpu", "paper")
Row = dict[str, Any]  # column -> Measure, number, text or None; the paper's columns begin with "paper"
NOTHING = Measure(None, reason="not measured")


class Run(NamedTuple):
    """A finished run of ``audits.run``."""

    results: Mapping[str, Any]  # results.json, schema 1
    scores: Mapping[str, np.ndarray]  # scores.npz, columns [n]


Runs = Mapping[str, Run]  # label -> run; a run that could not be made is not there


class Finding(NamedTuple):
    """Whether the paper's finding was found; None: this cannot be told from these runs."""

    found: bool | None
    sentence: str  # with the numbers


class Experiment(NamedTuple):
    """One table or figure of the paper."""

    name: str
    title: str
    section: str  # of the paper
    claim: str  # what the paper found
    runs: Callable[[Scale], dict[str, Config]]
    table: Callable[[Runs], list[Row]]  # the same columns in every row
    figure: Callable[[Runs], Any]  # matplotlib.figure.Figure
    finding: Callable[[Runs], Finding]


# --- numbers of a run ------------------------------------------------------------------------------------------------


def attack(run: Run | None, measure: str) -> Measure:
    """A measure of the paper's attack, with its interval."""
    return NOTHING if run is None else as_measure(run.results["attacks"]["shokri"].get(measure))


def as_measure(value: Any) -> Measure:
    """A number of results.json, plain or with an interval."""
    if isinstance(value, Mapping):
        return Measure(value.get("value"), value.get("low"), value.get("high"), value.get("reason"))
    return NOTHING if value is None else Measure(value)


def target(run: Run | None, which: Literal["train", "test"]) -> float | None:
    """The target's accuracy on its training or its test records."""
    return None if run is None else run.results["target"][f"{which}_accuracy"]


def gap(run: Run) -> float:
    """How much the target overfits: training minus test accuracy."""
    return required(target(run, "train")) - required(target(run, "test"))


def required(number: float | None) -> float:
    """A number that is there: of a run that was made, or that the paper gives."""
    assert number is not None
    return number


def classes(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(training records, attack precision) of the classes that have a precision, [k] each."""
    counts = run.results["dataset"]["class_counts"]
    rows = run.results["attacks"]["shokri"]["per_class"]
    pairs = [(counts[r["class"]], v) for r in rows if (v := r["precision"]["value"]) is not None]
    columns = np.array(pairs, np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def left_out(run: Run, before: str = ", ") -> str:
    """How many classes ``classes`` leaves out, to be put behind a name; nothing where it has all."""
    count = run.results["dataset"]["classes"] - len(classes(run)[0])
    return f"{before}{many(count, 'class', 'classes')} without a precision" if count else ""


def is_simulated(run: Run) -> bool:
    """Whether the run's records are simulated."""
    return run.results["dataset"]["source"] == "simulated"


def first(runs: Iterable[Run | None]) -> Run | None:
    """The first run that could be made."""
    return next((run for run in runs if run is not None), None)


def title(run: Run | None, name: str) -> str:
    """The data set for people; simulated ones say so. ``name``: for where there is no run."""
    if run is None:
        return data.title(name)
    return run.results["dataset"]["title"] + (" (SIMULATED)" if is_simulated(run) else "")


def columns(run: Run | None, row: paper.Row | None, *measures: str) -> Row:
    """Ours and the paper's numbers side by side: train, test, accuracy, precision, recall, median precision, auc."""
    out: Row = {}
    for measure in measures:
        if measure == "train" or measure == "test":
            name, field, ours = f"{measure} accuracy", f"{measure}_accuracy", as_measure(target(run, measure))
        else:
            name, field, ours = heading(measure), measure, attack(run, measure.replace(" ", "_"))
        out[name] = ours
        out[f"paper: {name}"] = getattr(row, field, None)
    return out


def heading(measure: str) -> str:
    """A measure for people."""
    return "AUC" if measure == "auc" else measure


# --- comparisons -----------------------------------------------------------------------------------------------------


def difference(a: Measure, b: Measure) -> Measure:
    """a - b of independent measures; limits from those of each (Zou and Donner 2008)."""
    if a.value is None or b.value is None:
        return NOTHING
    value = a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Measure(value, reason="a number without interval")
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    return Measure(value, low, value + math.hypot(a.high - a.value, b.value - b.low))


def above(a: Measure, b: Measure | float) -> bool | None:
    """Whether a is above b; None where their intervals leave it open, or one is missing."""
    d = difference(a, b if isinstance(b, Measure) else Measure(b, b, b))
    if d.low is None or d.high is None:
        return None
    return True if d.low > 0 else False if d.high < 0 else None


def falling(measures: Sequence[Measure]) -> bool | None:
    """Whether each is at least the next; None where it is not, and the intervals would allow it."""
    values = [measure.value for measure in measures if measure.value is not None]
    if len(values) < max(2, len(measures)):
        return None
    if any(above(b, a) for a, b in itertools.pairwise(measures)):
        return False
    return True if all(a >= b for a, b in itertools.pairwise(values)) else None


def every(claims: Sequence[bool | None]) -> bool | None:
    """False where one is, else None where one is or there is none, else True."""
    if any(claim is False for claim in claims):
        return False
    return None if not claims or any(claim is None for claim in claims) else True


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Measure:
    """Rank correlation of x and y, [n] each; the interval is Fisher's with the variance of Bonett and Wright (2000)."""
    if len(x) < 4:
        return Measure(None, reason=f"{len(x)} points: too few for a rank correlation")
    if len(set(x)) < 2 or len(set(y)) < 2:
        return Measure(None, reason="all points have the same value")
    rho = float(stats.spearmanr(x, y).statistic)
    half = metrics.Z * math.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    return Measure(rho, math.tanh(z - half), math.tanh(z + half))


def text(given: Any) -> str:
    """A cell: 0.861 [0.841, 0.879]; an en dash for nothing."""
    measure = given if isinstance(given, Measure) else None
    if measure is not None:
        given = measure.value
    if given is None:
        return "–"
    if isinstance(given, str):
        return given
    if isinstance(given, int):
        return f"{given:,}"
    interval = "" if measure is None or measure.low is None else f" [{measure.low:.3f}, {measure.high:.3f}]"
    return f"{given:.3f}{interval}"
