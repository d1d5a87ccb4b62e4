"""What the target alone tells of its risk, without shadow models."""

from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent


def _shows(results: Results, scores: Scores) -> bool:
    return bool(_resolved(results))


def _resolved(results: Results) -> dict[str, Any]:
    """Of each share of members that can be resolved, the measure."""
    tail = (results.get("screens") or {}).get("tail_tnr") or {}
    return {rate: measure for rate, measure in tail.items() if measures.value(measure) is not None}


def _blocks(report: Report) -> list[Block]:
    rows, told = [], False
    for rate, measure in _resolved(report.results).items():
        share = percent(float(rate))
        told |= measure.get("low", 0.0) > float(rate)
        rows.append(Row(Cell(f"all but {share} of the members", f"guessing: {share}"), [measure_cell(measure)]))
    texts = [
        "Training takes members out of the tail of large losses. So where many non-members have a larger loss than"
        " nearly all members, the target remembers hard records, and attacks that compare a record with itself in other"
        " models find them (tail TNR, Dodd et al. 2025).",
        f"Here there are {'more' if told else 'no more, as far as can be told,'} than guessing gives. It takes no"
        " shadow model to see that. It tells nothing of single records and stands for no attack, but is a reason to"
        " run one.",
    ]
    head = ["With a larger loss than", "Of the non-members"]
    return [Paragraphs(texts), Table("Non-members beyond the members' tail.", head, rows, css="numbers")]


SECTION = Section("screens", "What the target alone tells", _shows, _blocks)
