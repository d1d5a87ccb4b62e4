"""Whom the attack hits: measures by class, and by a column of the user's."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import FOLDED, Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent


def _shows(results: Results, scores: Scores) -> bool:
    return any(_told(column) for column in results.get("subgroups", []))


def _told(column: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The groups that have numbers."""
    return [one for one in column["groups"] if "reason" not in one]


def _blocks(report: Report) -> list[Block]:
    results = report.results
    columns = [column for column in results["subgroups"] if _told(column)]
    first = columns[0]
    share = percent(first["rate"])
    by = measures.short(results, first["attack"])
    text = (
        f"What {by} finds, by group: the group whose members are found most often is first. With the common threshold,"
        f" which calls {share} of all non-members, the table tells who is found and who is wrongly accused by an"
        f" attacker who makes no difference. With its own threshold a group has {share} false alarms of its own. A"
        " group differs from the rest where the last column says so: tests at 5% for all groups of a table together"
        " (Holm)."
    )
    made: list[Block] = [Paragraphs([text])]
    for column in columns:
        made += [Paragraphs([_words(column)]), _table(column)]
    return made


def _words(column: Mapping[str, Any]) -> str:
    told, small = _told(column), len(column["groups"]) - len(_told(column))
    more = [one["group"] for one in told if one["differs"] and (one["common_tpr"].get("value") or 0) >= _middle(told)]
    by = f"By {column['by']}: "
    text = f"members of {', '.join(more[:5])} are found more often than the rest." if more else "no group stands out."
    note = f" {column['note']}" if column.get("note") else ""
    few = f" {small} of the groups are too small: fewer than 20 members, or others." if small else ""
    return f"{by}{text}{note}{few}"


def _middle(told: list[Mapping[str, Any]]) -> float:
    values = [one["common_tpr"].get("value") or 0.0 for one in told]
    return sum(values) / len(values)


def _table(column: Mapping[str, Any]) -> Table:
    rate = f"{column['rate']:g}"
    rows = [
        Row(
            Cell(one["group"], f"{one['members']:,} members, {one['non_members']:,} others"),
            [
                measure_cell(one["common_tpr"]),
                measure_cell(one["common_fpr"]),
                measure_cell(one["tpr_at_fpr"].get(rate), absent="too few non-members"),
                measure_cell(one["auc"], True),
                Cell("yes" if one["differs"] else "no", f"p {one['p']:.2g}"),
            ],
        )
        for one in _told(column)
    ]
    head = [column["by"].capitalize(), "Found, common threshold", "Others called", "Found, own threshold", "AUC"]
    folded = f"Show all {len(rows)} groups" if len(rows) > FOLDED else ""
    caption = f"Groups by {column['by']}. Small print: 95% intervals."
    return Table(caption, [*head, "Differs from the rest"], rows, folded=folded)


SECTION = Section("subgroups", "Whom does it hit?", _shows, _blocks)
