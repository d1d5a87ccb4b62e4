"""What the figures of reports share: a drawing with its words, how it becomes a picture, colors and names.

Colors are Okabe and Ito's, safe for color-blind readers; an attack has the same one everywhere, and line styles and
markers differ as well. matplotlib is imported by ``draw``, without pyplot, and the same input gives the same bytes.
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mia_jax.reports.measures import Results, Scores

ATTACK_COLORS = {"shokri": "#0072B2", "confidence": "#E69F00", "majority": "#000000"}
MORE_COLORS = ("#CC79A7", "#56B4E9", "#009E73", "#D55E00")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (3, 1, 1, 1)))
MEMBERS, OTHERS = "#D55E00", "#009E73"
GRAY = "#767676"
# Where a ROC says nothing: too few non-members are accused to measure a rate.
HATCHED: dict[str, Any] = dict(
    facecolor="#f1f1f1", edgecolor="#b5b5b5", hatch="//", lw=0, zorder=0, label="not resolvable"
)
STYLE: dict[str, Any] = {
    "svg.hashsalt": "mia_jax",  # ids inside the SVG, which are random otherwise
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


class Drawing(NamedTuple):
    """A figure and its words; without ``figure`` the caption says why there is none."""

    name: str  # of the file
    title: str
    caption: str  # how to read it
    alt: str  # what a reader who cannot see it would miss
    figure: Any = None  # matplotlib.figure.Figure


Plot = Callable[[Results, Scores], Drawing]


class Rendered(NamedTuple):
    """A figure as files, and its words; both are None where the run has nothing to draw."""

    name: str
    title: str
    caption: str
    alt: str
    svg: bytes | None
    png: bytes | None


def draw(results: Results, scores: Scores, plots: Sequence[Plot]) -> list[Rendered]:
    """Every figure of a report, in order.

    Args:
        results: what results.json holds.
        scores: what scores.npz holds; columns [n].
        plots: the figures.

    Returns:
        One entry per figure; ``svg`` and ``png`` are None where the run has nothing to draw.
    """
    import matplotlib

    simulated = results["dataset"]["source"] == "simulated"
    style: Any = STYLE  # matplotlib's types know each setting by name
    out = []
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's matplotlibrc must not change the bytes
        matplotlib.rcParams.update(style)
        for plot in plots:
            drawing = plot(results, scores)
            svg = png = None
            title = drawing.title
            if simulated:
                title = f"SIMULATED: {title}"
                drawing = drawing._replace(caption=f"SIMULATED. {drawing.caption}", alt=f"SIMULATED. {drawing.alt}")
            if drawing.figure is not None:
                if simulated:  # the page has the title beside the picture, but a picture may be copied without it
                    drawing.figure.suptitle("SIMULATED data", fontsize=10.5, fontweight="bold")
                svg = _save(drawing.figure, "svg", metadata={"Date": None, "Creator": None})
                drawing.figure.suptitle(textwrap.fill(title, 44), fontsize=10.5, fontweight="bold")
                png = _save(drawing.figure, "png", dpi=200, metadata={"Software": None})
            out.append(Rendered(*drawing[:4], svg, png))
    return out


def as_percent(share: float, place: int | None = None) -> str:
    """A tick's label; ``place`` is how matplotlib calls it."""
    return f"{100 * share:g}%"


def canvas(rows: int = 1, height: float = 3.8) -> tuple[Any, Any]:
    """Small, so that its letters are still letters on a phone's 350 pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, height))
    return figure, figure.subplots(rows, sharex=True)


def legend(figure: Any, ax: Any) -> None:
    """Below the axes, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= 22 else 1
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * max(0, rows - 2))  # so that the axes keep theirs
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, columnspacing=1.2)


def _save(figure: Any, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, **options)
    return buffer.getvalue()


def many(count: int, one: str, more: str) -> str:
    """A count with its noun: "1 model", "2 models"."""
    return f"{count} {one if count == 1 else more}"
