"""Whether the attacks find the same members, and what all of them find together."""

from collections.abc import Mapping, Sequence
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent

SETS = {"any": "any attack", "most": "more than half of the attacks", "all": "all of the attacks"}
SHOWN = 8  # combinations


def _shows(results: Results, scores: Scores) -> bool:
    return bool(results.get("overlap"))


def _blocks(report: Report) -> list[Block]:
    results, found = report.results, report.results["overlap"]
    share = percent(found["rate"])
    tables = [_alone(results, found, share), _together(found)]
    if combinations := _combinations(results, found):
        tables.append(combinations)
    return [Paragraphs(_texts(results, found, share)), *tables]


def _texts(results: Results, found: Mapping[str, Any], share: str) -> list[str]:
    texts = [
        f"Each attack calls whom it scores highest, until {share} of the non-members are called, too. Attacks that are"
        " equally strong may find other members. Whoever believes any of them finds more members than one attack does,"
        " and raises more false alarms; so beside what several attacks find together is what the best of them finds"
        " alone with as many false alarms. Only if that is less are they stronger together.",
        verdict(found["any"]),
    ]
    if silent := [name for name, one in found["attacks"].items() if measures.value(one["tpr"]) == 0]:
        texts.append(
            f"At {share} false alarms this finds nobody: {_listed(results, silent)}. Too many records share the highest"
            " score, or it is that of non-members."
        )
    if left_out := found.get("left_out"):
        texts.append(f"Left out, for they did not judge all records: {_listed(results, left_out)}.")
    return texts


def verdict(together: Mapping[str, Any]) -> str:
    """Whether all attacks together find more than the best one of them with as many false alarms, in a sentence."""
    tpr, alone = together["tpr"], together["best_alone"]
    stronger = tpr.get("low") is not None and tpr["low"] > alone
    return (
        f"Here they {'are' if stronger else 'are not, as far as these records show'}: {tpr['value']:.1%} of the members"
        f" are found by any of them, and {alone:.1%} by the best one with as many false alarms."
    )


def _alone(results: Results, found: Mapping[str, Any], share: str) -> Table:
    attacks = sorted(found["attacks"].items(), key=lambda item: -(measures.value(item[1]["tpr"]) or 0.0))
    rows = [
        Row(Cell(measures.short(results, name)), [measure_cell(block["tpr"]), measure_cell(block["only"])])
        for name, block in attacks
    ]
    head = ["Attack", "Members found", "Found by no other attack"]
    return Table(f"Each attack, at {share} false alarms.", head, rows)


def _together(found: Mapping[str, Any]) -> Table:
    rows = [
        Row(Cell(words), [measure_cell(found[name][key]) for key in ("tpr", "fpr", "best_alone")])
        for name, words in SETS.items()
    ]
    head = ["Called by", "Members found", "Non-members called", "Found by the best attack that calls as many"]
    return Table("What the attacks find together.", head, rows)


def _combinations(results: Results, found: Mapping[str, Any]) -> Table | None:
    every = [*found["attacks"]]
    rows = [
        Row(Cell(names_of(results, one["attacks"], every)), [Cell(f"{one['members']:.1%}", kind="number")])
        for one in found["combinations"][:SHOWN]
    ]
    if len(rows) < 2:
        return None
    return Table("Who finds the same members: the largest groups of members.", ["Found by", "Of the members"], rows)


def names_of(results: Results, attacks: Sequence[str], every: Sequence[str]) -> str:
    """The attacks of a combination in words, as few as there can be."""
    others = [name for name in every if name not in attacks]
    if not others:
        return "all of them"
    if len(others) < len(attacks):
        return f"all but {_listed(results, others)}"
    return f"{_listed(results, attacks)}{' alone' if len(attacks) == 1 else ''}"


def _listed(results: Results, names: Sequence[str]) -> str:
    *others, last = (measures.short(results, name) for name in names)
    return f"{', '.join(others)} and {last}" if others else last


SECTION = Section("overlap", "Do the attacks find the same members?", _shows, _blocks)
