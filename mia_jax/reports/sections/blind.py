"""Whether members are told from others without the model: the blind baseline, and the negative control."""

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section


def _shows(results: Results, scores: Scores) -> bool:
    return bool(results.get("blind")) and measures.measured(results)


def _blocks(report: Report) -> list[Block]:
    results = report.results
    found = results["blind"]
    texts = [
        "Numbers on membership mean memory only if members and non-members are alike but for the training. Two checks,"
        " which ask the model nothing.",
        _baseline(results),
    ]
    made: list[Block] = [Paragraphs(texts)]
    if found.get("told") and found.get("columns"):
        rows = [Row(Cell(one["column"], kind="name"), [Cell(f"{one['auc']:.3f}")]) for one in found["columns"]]
        made.append(Table("What differs: columns that tell most, each alone.", ["Column", "AUC"], rows, css="numbers"))
    return [*made, *_control(results)]


def _baseline(results: Results) -> str:
    found = results["blind"]
    if measures.value(found["auc"]) is None:
        return f"The blind baseline could not run: {measures.reason(found['auc'])}."
    low, high = measures.ends(found["auc"])
    area = f"an AUC of {found['auc']['value']:.3f} (95% interval: {low:.3f} to {high:.3f})"
    told = (
        "so the two groups differ, and the numbers of this page are in doubt as numbers on memory"
        if found["told"]
        else "which cannot be told from guessing, 0.500: no difference was found. It does not prove that there is none"
    )
    at = measures.tpr(found, "0.01")
    rate = f" At 1% false alarms it finds {measures.value(at):.1%}." if measures.value(at) is not None else ""
    return (
        f"The blind baseline (after Das, Zhang and Tramèr 2024): boosted trees on the {found['features']:,} numbers of"
        f" {found['records']:,} records and on their labels, each record judged by trees that have not seen it, tell"
        f" members from others with {area}, {told}.{rate}"
    )


def _control(results: Results) -> list[Block]:
    attacks = {
        name: results["attacks"][name]["negative_control"]
        for name in measures.ranked(results)
        if "negative_control" in results["attacks"][name]
    }
    known = {name: control for name, control in attacks.items() if measures.value(control) is not None}
    if not known:
        reason = next(iter(attacks.values()), {}).get("reason", "there is no shadow model to put in the target's place")
        return [Paragraphs([f"The negative control could not run: {reason}."])]
    rows = [
        Row(
            Cell(measures.short(results, name)),
            [measure_cell(results["attacks"][name].get("auc"), True), measure_cell(control, True)],
        )
        for name, control in known.items()
    ]
    text = (
        "The negative control: the same attacks judge the same members and others, but of shadow models that never saw"
        " them. What an attack finds there is no memory; its AUC there should be 0.500, and only what it finds beyond"
        " that of the model itself speaks of memory."
    )
    head = ["Attack", "AUC, this model", "AUC, models that never saw the records"]
    return [Paragraphs([text]), Table("The negative control. Small print: 95% intervals.", head, rows)]


SECTION = Section("blind", "Are members told without the model?", _shows, _blocks)
