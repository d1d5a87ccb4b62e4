"""What a threshold does to the target that was set on a shadow model, as an attacker has to set it."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent, without_key
from mia_jax.statistics import metrics


def _blocks(report: Report) -> list[Block]:
    results = report.results
    chosen = {n: c for n in measures.ranked(results) if (c := results["attacks"][n].get("chosen_threshold"))}
    if not chosen:
        return [Paragraphs(["No attack of this run can set its threshold on a shadow model that plays the target."])]
    non_members = int((~report.scores["member"].astype(bool)).sum())
    rates = sorted({rate for c in chosen.values() for rate in c}, key=float, reverse=True)
    known = [rate for rate in rates if any(measures.value(c[rate]["tpr"]) is not None for c in chosen.values())]
    kept = [rate for rate in known if metrics.resolvable(non_members, float(rate))]
    texts = [_what(results)]
    if left_out := [percent(float(rate)) for rate in rates if rate not in kept]:
        texts.append(
            f"Left out: {' and '.join(left_out)} false alarms, for {non_members:,} non-members are too few to count"
            " them by."
        )
    if not kept:
        return [Paragraphs(texts)]
    head = ["Attack", *(f"Set for {percent(float(rate))} false alarms" for rate in kept)]
    rows = [
        Row(Cell(measures.short(results, name)), [_realized(at[rate]) for rate in kept]) for name, at in chosen.items()
    ]
    caption = "Thresholds set on a shadow model: members found, and the false alarms that came with them."
    return [Paragraphs(texts), Table(caption, head, rows)]


def _realized(measures: Mapping[str, Any]) -> Cell:
    """The members that a threshold found, and its false alarms in small print."""
    found = measure_cell(measures["tpr"])
    alarms = f"false alarms: {_with_interval(measures['fpr'])}"
    return found._replace(small=f"{found.small}; {alarms}" if found.small else alarms)


def _with_interval(measure: Any) -> str:
    number = measures.value(measure)
    if number is None:
        return measures.reason(measure)
    if not measures.has_interval(measure):
        return f"{number:.2%}"
    low, high = measures.ends(measure)
    return f"{number:.2%} ({low:.2%} to {high:.2%})"


def _what(results: Results) -> str:
    return (
        "An attacker has to fix the threshold beforehand, without knowing who the target's members are. So one shadow"
        " model played the target, and the threshold was set on it for the share of false alarms in the head of the"
        " column. The table says what it then did to the real target: the members it found and, below, the false alarms"
        " that it raised. Where the two shares of false alarms differ much, the attack promises what it cannot keep."
        f"{without_key(results, 'chosen_threshold')}"
    )


SECTION = Section(
    "thresholds",
    "With a threshold set beforehand",
    lambda results, scores: measures.targets_in_turn(results),
    _blocks,
)
