"""Panels that experiments share. Colors are those of ``reports/figures.py``, the paper's numbers hollow diamonds."""

import textwrap
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax.reports.figures import ATTACK_COLORS, GRAY, MORE_COLORS, STYLE
from mia_jax.reproduction.base import as_measure
from mia_jax.statistics.metrics import Measure

HUES = (ATTACK_COLORS["shokri"], ATTACK_COLORS["confidence"], *MORE_COLORS, ATTACK_COLORS["majority"])
MARKERS = "osv^<>"  # without the diamond, which is the paper's
WIDTH = 3.0  # inches of a panel
DRAWN = {**STYLE, "axes.titlesize": 10, "axes.titleweight": "normal", "font.size": 9, "savefig.facecolor": "white"}


class Series(NamedTuple):
    """Values of one kind, one per label."""

    name: str
    values: Sequence[Any]  # Measure, number or None
    hue: str
    marker: str = "o"
    filled: bool = True


def published(values: Sequence[float | None], name: str = "paper") -> Series:
    """The paper's numbers."""
    return Series(name, values, "#000000", "D", filled=False)


def panels(
    count: int, across: int = 3, *, height: float = 2.9, width: float = WIDTH, sharey: bool | Literal["row"] = True
) -> tuple[Any, list[Any]]:
    """A figure of ``count`` panels on the same axes; ``sharey="row"``: each row of panels has lines of its own."""
    from matplotlib.figure import Figure

    across = max(1, min(count, across))
    rows = max(1, -(-count // across))
    figure = Figure(figsize=(max(4.4, width * across), height * rows + 0.5))
    axes = figure.subplots(rows, across, sharex=True, sharey=sharey, squeeze=False).reshape(-1)
    for ax in axes[count:]:
        ax.set_visible(False)
    for ax in axes[:count]:
        ax.tick_params(labelbottom=True)  # of every row: the last may be shorter
    return figure, list(axes[:count])


def row(count: int, *, height: float = 3.1, width: float = WIDTH) -> tuple[Any, list[Any]]:
    """A figure of ``count`` panels side by side that show different things."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height + 0.5))
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def legend(figure: Any, ax: Any, across: int = 4) -> None:
    """One legend for all panels, below them."""
    handles: dict[str, Any] = {}
    for each in (ax, *figure.axes):  # a panel may have what the first lacks
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=across, fontsize=9, columnspacing=1.4
    )


def dots(ax: Any, labels: Sequence[str], series: Sequence[Series], xlabel: str, *, guess: float | None = 0.5) -> None:
    """Values to the right, with their intervals; a label per line, the first on top; on [0, 1]."""
    places = np.arange(len(labels))[::-1].astype(float)
    for k, each in enumerate(series):
        shift = (len(series) - 1) / 2 - k
        marks(ax, each, places + 0.24 * shift, upright=False)
    if guess is not None:
        ax.axvline(guess, color=GRAY, lw=1.2, ls="--", label="guessing")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(labels) - 0.4), xlabel=xlabel)
    ax.set_yticks(places, labels)


def marks(
    ax: Any, series: Series, places: Sequence[float] | np.ndarray, *, upright: bool = True, line: bool = False
) -> None:
    """Values of a series with their intervals, at places [n]; ``upright``: values go upwards."""
    measures = [m if isinstance(m, Measure) else as_measure(m) for m in series.values]
    kept = [(place, m) for place, m in zip(places, measures, strict=True) if m.value is not None]
    if not kept:
        return
    at = [place for place, _ in kept]
    value = np.array([m.value for _, m in kept])
    low = np.array([m.value if m.low is None else m.low for _, m in kept])
    high = np.array([m.value if m.high is None else m.high for _, m in kept])
    bars = np.abs(np.stack([value - low, high - value])) if (high > low).any() else None
    ax.errorbar(
        *((at, value) if upright else (value, at)),
        **{"yerr" if upright else "xerr": bars},
        ls="-" if line else "",
        lw=1.6,
        elinewidth=1.4,
        marker=series.marker,
        ms=5.5,
        color=series.hue,
        mfc=series.hue if series.filled else "none",
        label=series.name,
        zorder=3,
    )


def name_points(ax: Any, names: Sequence[str], points: Sequence[tuple[float, float]], apart: float = 0.03) -> None:
    """Names to the right of points, moved up and down where they would lie on each other."""
    order = sorted(range(len(names)), key=lambda k: points[k][1])
    height = np.array([points[k][1] for k in order])
    for _ in range(100):  # each pair that is too close parts by half of what is missing
        missing = np.maximum(apart - np.diff(height), 0) / 2
        height += np.append(0, missing) - np.append(missing, 0)
    line = dict(arrowstyle="-", color=GRAY, lw=0.7, shrinkA=0, shrinkB=3)
    box = dict(facecolor="white", edgecolor="none", pad=0.5)  # over the line of guessing, under the marks
    for k, y in zip(order, height, strict=True):
        x = points[k][0]
        ax.annotate(names[k], points[k], (x + 0.04, y), va="center", fontsize=8, zorder=2.5, arrowprops=line, bbox=box)


def cdf(ax: Any, values: np.ndarray, hue: str, dash: Any, label: str | None = None) -> None:
    """Draw the share of classes with a value or less, of values [k]."""
    values = np.sort(values)
    if not len(values):
        return
    x = np.concatenate([[0], np.repeat(values, 2), [1]])
    y = np.repeat(np.arange(len(values) + 1), 2) / len(values)
    ax.plot(x, y, color=hue, ls=dash, label=label)


def cdf_axes(ax: Any, xlabel: str = "precision on a class") -> None:
    """The axes of a panel of ``cdf``, with a line at guessing."""
    ax.axvline(0.5, color=GRAY, lw=1.2, ls="--", label="guessing")
    ax.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel=xlabel)


def marker(k: int) -> str:
    """The marker of the k-th series."""
    return MARKERS[k % len(MARKERS)]


def note(figure: Any, words: str) -> None:
    """A line above the legend."""
    lines = textwrap.wrap(words, int(figure.get_figwidth() * 15))
    figure.set_figheight(figure.get_figheight() + 0.16 * len(lines))
    figure.legends[0].set_title("\n".join(lines), prop={"size": 8})
