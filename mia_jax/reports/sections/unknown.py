"""What there is where nobody said who is a member: scores only."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table
from mia_jax.reports.columns import column
from mia_jax.reports.measures import Results
from mia_jax.reports.sections.section import Section

WHAT = (
    "The data do not say who is a member, so how well the attacks do cannot be measured: there are scores only."
    " Larger means more likely a member, and above 0 is called one."
)
KNOW = (
    "To know how much they are worth, add member to the file (true where the model was trained on the record), for at"
    " least some hundred records of either kind, and run the same command again."
)


def _blocks(report: Report) -> list[Block]:
    results = report.results
    rows = [_row(results, name, report.scores) for name in results["attacks"]]
    head = ["Attack", "Column of scores.npz", "Called members", "Half of the scores lie above"]
    return [Paragraphs([WHAT, KNOW]), Table("The attacks and their scores.", head, rows)]


def _row(results: Results, name: str, scores: Mapping[str, Any]) -> Row:
    block = results["attacks"][name]
    score = scores[column(name)]
    known = score[score == score]
    called = f"{int((known > 0).sum()):,} of {len(known):,}"
    middle = f"{sorted(known)[len(known) // 2]:.3g}" if len(known) else "no record has a score"
    return Row(
        Cell(measures.short(results, name), block.get("title", "")),
        [Cell(column(name), kind="name"), Cell(called), Cell(middle)],
    )


def _shows(results: Results, scores: Mapping[str, Any]) -> bool:
    return not measures.measured(results)


SECTION = Section("scores", "Scores, and nothing to measure them by", _shows, _blocks)
