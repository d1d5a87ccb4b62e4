"""Every class by itself, for the attack that the page is about."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import NO_BOUNDARY, Block, Cell, Report, Row, by_class, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section


def _attack(results: Results) -> str:
    return measures.main_attack(results) if measures.plan(results) == "shokri" else measures.ranked(results)[0]


def _shows(results: Results, scores: Scores) -> bool:
    return results["dataset"]["classes"] > 1 and bool(results["attacks"][_attack(results)].get("per_class"))


def _blocks(report: Report) -> list[Block]:
    results = report.results
    name = _attack(results)
    rows = results["attacks"][name]["per_class"]
    if measures.plan(results) == "shokri":
        return [_shokri_table(results, name, rows)]
    separation = {row["class"]: row["separation"] for row in results.get("exposure", {}).get("classes", [])}
    table = [
        Row(
            _named(results, row["class"]),
            [
                _judged(row),
                *([_separation(separation.get(row["class"]))] if separation else []),
                _of_class(row["precision"], "no record was called a member"),
                _of_class(row["recall"], "no member judged"),
            ],
        )
        for row in rows
    ]
    head = ["Class", "Judged: members / others", *(["Separation"] if separation else []), "Precision", "Recall"]
    over = " Records are counted once for each target." if measures.targets_in_turn(results) else ""
    return [
        by_class(f"{measures.short(results, name)}, class by class; classes are numbered from 0.{over}", head, table)
    ]


def _shokri_table(results: Results, name: str, rows: list[Mapping[str, Any]]) -> Block:
    counts = results["dataset"].get("class_counts", [])
    without = set(results.get("classes_without_rows", []))
    table = []
    for row in rows:
        c = row["class"]
        trained = f"{counts[c]:,}" if c < len(counts) else "not told"
        if c in without:
            cells = [Cell("not attacked", kind="absent")] * 2
        else:
            nobody = "no record was called a member" if row["members"] else "no record judged"
            cells = [
                measure_cell(row["precision"], absent=nobody),
                measure_cell(row["recall"], absent="no member judged"),
            ]
        table.append(Row(_named(results, c), [Cell(trained), _judged(row), *cells]))
    caption = f"{measures.short(results, name)}, class by class; classes are numbered from 0."
    if without:
        caption += " Not attacked: the shadow models lacked members or others of the class to learn from."
    return by_class(caption, ["Class", "Training records", "Judged: members / others", "Precision", "Recall"], table)


def _named(results: Results, number: int) -> Cell:
    """A class by its number and, where it has one, its name."""
    names = dict(enumerate(results["dataset"].get("class_names", [])))
    return Cell(f"{number}: {names[number]}" if number in names else str(number))


def _judged(row: Mapping[str, Any]) -> Cell:
    return Cell(f"{row['members']:,} / {row['non_members']:,}")


def _of_class(measure: Any, absent: str) -> Cell:
    if measures.reason(measure).startswith(NO_BOUNDARY):
        return Cell("no boundary", kind="absent")
    return measure_cell(measure, absent=absent)


def _separation(mean: float | None) -> Cell:
    return Cell("no record", kind="absent") if mean is None else Cell(f"{mean:.2f}")


SECTION = Section("classes", "Class by class", _shows, _blocks)
