"""Which records are exposed: by what many models remember, or by what the strongest attack says of the target."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Figures, Paragraphs, Report, Row, Table
from mia_jax.reports.columns import column
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import chance

TOP = 12  # records that are shown


def _shows(results: Results, scores: Scores) -> bool:
    if measures.targets_in_turn(results):
        return True
    return not measures.by_canaries(results) and _telling(results, scores) is not None


def _blocks(report: Report) -> list[Block]:
    first = _by_separation(report) if measures.targets_in_turn(report.results) else _by_score(report)
    return [*first, *_listed(report.results)]


# --- many models: what they remember ---------------------------------------------------------------------------------


def _by_separation(report: Report) -> list[Block]:
    results = report.results
    rows = results.get("exposure", {}).get("records", [])
    if not rows:
        return [Paragraphs(["This run does not tell which records are exposed."])]
    described = any("attributes" in row for row in rows)
    head = ["Record", "Class", "Separation", "Recognized at 1% false alarms"] + (["Attributes"] if described else [])
    table = []
    for row in rows:
        d = row["separation"]
        cells = [Cell(str(row["class"])), Cell(f"{d:.1f}"), Cell(chance(d))]
        cells += [Cell(row.get("attributes", "not told"))] if described else []
        table.append(Row(Cell(f"{row['index']:,}"), cells))
    pictures = [d for d in report.drawings if d.name == "exposed_records" and d.svg is not None]
    return [
        Paragraphs([_separation(results, len(rows))]),
        Table("The most exposed records, by their row in the data set.", head, table),
        *([Figures(pictures)] if pictures else []),
    ]


def _separation(results: Results, shown: int) -> str:
    """How to read the list, and how far to trust it."""
    models = results["shadows"]["models"]
    give = 1.96 * 2 / models**0.5
    text = (
        f"The {shown} records that the models remember most. Separation compares the models that were trained on a"
        f" record ({models // 2} of the {models}) with those that were not: the difference of their mean answers about"
        " it, in standard deviations (of the logit of its true class). The last number is the chance that an attacker"
        " who knows both distributions recognizes the record in a model's training data at one false alarm in a"
        " hundred, if the answers are normally distributed. Records are numbered by their row in the data set, from 0."
        f" From {models} models a separation is known to about plus or minus {give:.1f}, and less well where it is"
        " large; the top of a list of estimates is in part luck."
    )
    if models < 32:
        text += " Take the order for a hint: it needs more models (`num_models`)."
    return text


# --- one target: what the strongest attack says ----------------------------------------------------------------------


def _telling(results: Results, scores: Scores) -> str | None:
    """The strongest attack that tells most records apart; None where there is none."""
    for name in measures.ranked(results):
        score = scores.get(column(name))
        if score is not None and score.ndim == 1 and len(np.unique(score[~np.isnan(score)])) > len(score) / 10:
            return name
    return None


def _by_score(report: Report) -> list[Block]:
    results, scores = report.results, report.scores
    name = _telling(results, scores) or measures.ranked(results)[0]
    score = scores[column(name)].astype(float)
    known = measures.measured(results)
    of_members = np.where(scores["member"], score, np.nan) if known else score
    order = np.argsort(np.nan_to_num(-of_members, nan=np.inf), kind="stable")
    top = [int(i) for i in order[:TOP] if not np.isnan(of_members[i])]
    head = [
        "Record",
        "Class" if "label" in scores else "Signal",
        "Score",
        *(["Non-members that score as high"] if known else ["Called a member"]),
    ]
    rows = [Row(Cell(f"{scores['index'][i]:,}"), _cells(i, score, scores, known)) for i in top]
    who, by = "Members" if known else "Records", measures.short(results, name)
    caption = f"{who} of which {by} is surest, by their row in the data."
    return [Paragraphs(_score_words(results, name, top, known)), Table(caption, head, rows, css="numbers")]


def _cells(i: int, score: np.ndarray, scores: Scores, known: bool) -> list[Cell]:
    first = str(scores["label"][i]) if "label" in scores else f"{scores['signal'][i]:.4g}"
    cells = [Cell(first), Cell(f"{score[i]:.4g}")]
    if not known:
        return [*cells, Cell("yes" if score[i] > 0 else "no")]
    others = ~scores["member"].astype(bool) & ~np.isnan(score)
    return [*cells, Cell(f"{int((score[others] >= score[i]).sum()):,} of {int(others.sum()):,}")]


def _score_words(results: Results, name: str, top: Sequence[int], known: bool) -> list[str]:
    by = measures.short(results, name)
    if not known:
        return [
            f"The {len(top)} records that {by} scores highest. Without knowing who is a member nobody can say how often"
            " such a score is a false alarm. Records are numbered by their row in the file, from 0."
        ]
    where = "in the file" if not measures.members_drawn(results) else "in the data set"
    return [
        f"The {len(top)} training records that {by}, the strongest attack that tells single records apart, finds"
        " easiest to recognize. The last column is what an accusation would cost: how many non-members"
        f" of those judged score at least as high. Records are numbered by their row {where}, from 0.",
        "This is one target: another model of the same kind may remember others. How much a way of training remembers"
        f" of each record is what {measures.program(results, 'audit')} --dataset=... --num_models=32 estimates, from"
        " many models.",
    ]


# --- a list with a guarantee -----------------------------------------------------------------------------------------


def _listed(results: Results) -> list[Block]:
    """The records that may be told as members at a rate of false discoveries."""
    found = results.get("discoveries")
    if not found:
        return []
    several = measures.targets_in_turn(results)
    rows = [
        Row(Cell(f"{one['index']:,}"), [Cell(f"{one['told']} of {one['trained']}")] if several else [])
        for one in found["records"][:TOP]
    ]
    texts = Paragraphs([_guarantee(results, found)])
    if not rows or not several:
        named = ", ".join(f"{one['index']:,}" for one in found["records"])
        more = found["members"] - len(found["records"])
        others = f"; and {more:,.0f} others, in scores.npz" if more > 0 else ""
        return [texts, *([Paragraphs([f"On the list, the surest first: {named}{others}."])] if named else [])]
    head = ["Record", "Told by so many of the targets that it trained"]
    return [texts, Table("Records that may be told as members.", head, rows, css="numbers")]


def _guarantee(results: Results, found: Mapping[str, Any]) -> str:
    """What the list promises, and what is on it."""
    nobody = (
        f" Nobody may be told here: beside {found['calibration']:,.0f} non-members, no score of the"
        f" {found['tested']:,.0f} records stands out far enough. More non-members would tell finer."
    )
    mean = ", on average over targets," if measures.targets_in_turn(results) else ""
    there = (
        f" There are{mean} {found['members']:,.4g} members ({found['share_of_members']:.1%} of them) and"
        f" {found['non_members']:,.3g} of the {found['tested_non_members']:,.0f} non-members that were tested beside"
        " them. All of it is in scores.npz (p_value, told)."
    )
    said = there if found["members"] or found["non_members"] else nobody
    return (
        "Which records may be told as members, with a guarantee: somebody who has non-members to compare with can make"
        f" a list on which, on average, at most {found['rate']:.0%} are no members (the false discovery rate), however"
        f" good the attack ({measures.short(results, found['attack'])} here). Two fifths of the non-members, drawn at"
        " random, calibrate (conformal p-values, Bates et al. 2023; Benjamini and Hochberg 1995), two fifths are tested"
        f" with the members, and the rest chose the attack.{said}"
    )


SECTION = Section("records", "Which records", _shows, _blocks)
