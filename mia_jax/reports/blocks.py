"""What a section of the page is made of: paragraphs, lists, tiles, tables, figures; drawn by ``templates/blocks.html``.

All texts are plain: the templates escape them. A cell's measure is written here, so that every table shows numbers,
intervals and reasons alike.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from mia_jax.reports import measures
from mia_jax.reports.figures import Rendered
from mia_jax.reports.measures import Results, Scores

FOLDED = 20  # rows of a table by class; a longer one is folded
UNRESOLVED = "not resolvable: "  # how metrics begins such a reason
NO_BOUNDARY = "no boundary: "  # and audits, of attacks whose scores only order


class Report(NamedTuple):
    """What a section may show."""

    results: Results
    scores: Scores
    digest: str  # of scores.npz, SHA-256
    drawings: Sequence[Rendered]


# --- cells -----------------------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A place in a table or a tile."""

    text: str
    small: str = ""  # in small print below
    kind: str = "text"  # "number" (bold), "absent" (why there is none), "code" or "name" (a key, which may break)


def measure_cell(measure: Any, fraction: bool = False, absent: str | None = None) -> Cell:
    """A measure with its interval, or in words why there is none.

    Args:
        measure: ``{"value", "low", "high", "reason"}``, or a plain number.
        fraction: as .123, and not as a percentage.
        absent: the words where the measure does not say why it has no number.
    """
    number = measures.value(measure)
    if number is None:
        return Cell(measures.reason(measure, absent), kind="absent")
    write = "{:.3f}".format if fraction else "{:.1%}".format
    small = ""
    if measures.has_interval(measure):
        small = " to ".join(map(write, measures.ends(measure)))
    elif isinstance(measure, Mapping) and measure.get("reason"):
        small = measure["reason"].partition(":")[0]
    return Cell(write(number), small, "number")


class Notes:
    """Reasons that stand below a table, once each; cells refer to them by number."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def number(self, reason: str) -> int:
        """The number of a reason, from 1."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1

    def cell(self, measure: Any, fraction: bool = False) -> Cell:
        """As ``measure_cell``, with a number in place of what would fill the cell with the same long reason."""
        text = measures.reason(measure)
        for begin in (UNRESOLVED, NO_BOUNDARY):
            if measures.value(measure) is None and text.startswith(begin):
                return Cell(f"{begin.removesuffix(': ')} ({self.number(text)})", kind="absent")
        return measure_cell(measure, fraction)

    def lines(self) -> tuple[str, ...]:
        """The notes, in the words of the page: what cannot be resolved together, then the rest."""
        numbered = [(f"({k}) ", text) for k, text in enumerate(self.reasons, 1)]
        rates = [k + text.removeprefix(UNRESOLVED) for k, text in numbered if text.startswith(UNRESOLVED)]
        lines = [f"Not resolvable: {'; '.join(rates)}. Fewer would be luck, not a rate."] if rates else []
        lines += [
            f"{k}{text}: so no record is called a member, and there is nothing to count."
            for k, text in numbered
            if not text.startswith(UNRESOLVED)
        ]
        return tuple(lines)


# --- blocks ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Paragraphs:
    """Running text."""

    kind: ClassVar[str] = "paragraphs"
    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Items:
    """A list, numbered where the order matters."""

    kind: ClassVar[str] = "items"
    texts: Sequence[str]
    numbered: bool = False


@dataclasses.dataclass(frozen=True)
class Commands:
    """Command lines to copy, each with what it does."""

    kind: ClassVar[str] = "commands"
    lines: Sequence[tuple[str, str]]


class Tile(NamedTuple):
    """A large number and what it means."""

    name: str
    hint: str  # what it means, what guessing gives
    cell: Cell


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Big numbers side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


class Row(NamedTuple):
    """A line of a table."""

    head: Cell
    cells: Sequence[Cell]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; a cell knows its column's name, because a phone shows the cells of a wide table below each other.

    ``rows`` are rows, or plain strings, each the title of the rows that follow. ``css``: "measures" (wide, a card each
    on a phone), "numbers" (narrow), "repeat" (names and values).
    """

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Row | str]
    css: str = "measures"
    notes: Sequence[str] = ()
    folded: str = ""  # what a reader clicks to see the table; empty: it is open

    def __post_init__(self) -> None:
        for row in self.rows:
            if isinstance(row, Row) and len(row.cells) + 1 != len(self.head):
                raise ValueError(f"a row of {len(row.cells) + 1} cells under {len(self.head)} columns")


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures side by side, those that could not be drawn last."""

    kind: ClassVar[str] = "figures"
    drawings: Sequence[Rendered]

    @property
    def ordered(self) -> list[Rendered]:
        """The drawings, those of which there is only a sentence last."""
        return sorted(self.drawings, key=lambda drawing: drawing.svg is None)


Block = Paragraphs | Items | Commands | Tiles | Table | Figures


def by_class(caption: str, head: Sequence[str], rows: Sequence[Row]) -> Table:
    """A table with a row for each class, folded where there are many."""
    folded = f"Show all {len(rows)} classes" if len(rows) > FOLDED else ""
    return Table(caption, head, rows, css="numbers", folded=folded)


def text_of(item: Any) -> str:
    """A value of results.json, as a reader wants it."""
    if item is None:
        return "not set"
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, Mapping):
        return ", ".join(f"{name} {text_of(each)}" for name, each in item.items() if each is not None) or "none"
    if isinstance(item, list):
        return ", ".join(map(text_of, item)) or "none"
    return (item or "none") if isinstance(item, str) else json.dumps(item)
