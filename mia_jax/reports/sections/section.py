"""What a section of the page is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mia_jax.reports.blocks import Block, Report
from mia_jax.reports.measures import Results, Scores


class Section(NamedTuple):
    """A part of the page under a heading; no section knows of another, and the page knows no plan."""

    anchor: str  # in the page's address, after #
    title: str
    shows: Callable[[Results, Scores], bool]  # whether it has anything to show of this run
    blocks: Callable[[Report], Sequence[Block]]  # what it gives the templates
