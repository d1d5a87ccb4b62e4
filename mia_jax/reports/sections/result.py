"""The result: a few big numbers, the table of all attacks, and how to read it."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Notes, Paragraphs, Report, Row, Table, Tile, Tiles, measure_cell
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections import epsilon
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import MEASURES, listed, percent, table_notes

PAPER = (
    "The attack is that of R. Shokri, M. Stronati, C. Song and V. Shmatikov, Membership Inference Attacks Against"
    " Machine Learning Models (IEEE Symposium on Security and Privacy, 2017), called the paper below."
)
CANARY_BOUNDS = {  # key of the block -> (what it asks of the training, source)
    "epsilon": ("any training", "Steinke et al. 2023"),
    "epsilon_gaussian": ("if noise is Gaussian", "Mahloujifar et al. 2024"),
}


def _shows(results: Results, scores: Scores) -> bool:
    return measures.measured(results)


def _blocks(report: Report) -> list[Block]:
    results = report.results
    match measures.plan(results):
        case "shokri":
            found = _shokri_result(results)
        case "canaries":
            found = _canaries_result(results)
        case _:
            found = [Tiles(_audit_tiles(results)), _audit_table(results), Paragraphs(_audit_reading(results))]
    return [*found, *_own_data(results)]


def _own_data(results: Results) -> list[Block]:
    """What was seen in a user's own records, which may explain a result better than any attack."""
    data = results["dataset"]
    notes = data.get("notes", ()) if data["source"] == "local" else ()
    return [Paragraphs([f"The records, as they were read: {' '.join(notes)}"])] if notes else []


# --- the paper's run -------------------------------------------------------------------------------------------------


def _shokri_result(results: Results) -> list[Block]:
    main = measures.main_attack(results)
    block = results["attacks"][main]
    intro = PAPER if main == "shokri" else f"The attack that this page is about: {measures.short(results, main)}."
    tiles = [
        Tile(*MEASURES[key], measure_cell(block.get(key), key == "auc"))
        for key in ("accuracy", "precision", "recall", "auc")
    ]
    if "0.01" in block.get("tpr_at_fpr", {}):
        hint = "of the members, where 1 non-member in 100 may be accused falsely; guessing: 1%"
        tiles.append(Tile("Found at 1% false alarms", hint, measure_cell(measures.tpr(block, "0.01"))))
    return [Paragraphs([intro]), Tiles(tiles), _paper_table(results), Paragraphs(_paper_reading(results))]


def _paper_table(results: Results) -> Table:
    attacks = results["attacks"]
    rows = [
        Row(Cell(name, hint), [measure_cell(block.get(key), key == "auc") for block in attacks.values()])
        for key, (name, hint) in MEASURES.items()
    ]
    for rate in measures.rates(results):
        share = percent(float(rate))
        hint = f"true-positive rate at false-positive rate {rate}; guessing: {share}"
        cells = [measure_cell(measures.tpr(block, rate)) for block in attacks.values()]
        rows.append(Row(Cell(f"Members found at {share} false alarms", hint), cells))
    caption = "All attacks of this run, on the same records. Small print: 95% intervals."
    return Table(caption, ["Measure", *(measures.short(results, name) for name in attacks)], rows)


def _paper_reading(results: Results) -> list[str]:
    """Paragraphs below the table of attacks."""
    name = measures.main_attack(results)
    attacks = results["attacks"]
    titles = "; ".join(
        f"{measures.short(results, n)}: {block['title']}" for n, block in attacks.items() if block.get("title")
    )
    texts = [f"The attacks. {titles}."] if titles else []
    texts += [
        "A member is a record that the target was trained on. Half of the judged records are members, so whoever"
        " guesses is right half of the time. Accuracy, precision and recall are at the threshold that the attack"
        " chose itself, on its shadow models, before it saw the target. The rows on false alarms ask how many members"
        " are found by an attacker who must hardly ever accuse wrongly, which is what matters to each person whose"
        " record it is. An interval covers what another draw of as many records would change; it does not cover"
        " another target, or another seed."
    ]
    ours = measures.value(attacks[name].get("accuracy"))
    beside = [
        f"{measures.short(results, n)} {percent(v)}"
        for n in attacks
        if n not in (name, "majority") and (v := measures.value(attacks[n].get("accuracy"))) is not None
    ]
    if beside and ours is not None:
        texts.append(
            f"Accuracy of {measures.short(results, name)}: {percent(ours)}; beside it, {', '.join(beside)}. That is at"
            " one threshold for each; AUC and the rows on false alarms compare the attacks at others, and may order"
            " them otherwise."
        )
    if without := results.get("classes_without_rows", []):
        texts.append(
            f"The shadow models lacked members or others of class {listed(without)}: nothing could be learned there."
            f" The {attacks[name].get('unscored', 0):,} records of such classes got no score and are in none of its"
            " numbers."
        )
    return texts


# --- audits by many attacks ------------------------------------------------------------------------------------------


def _audit_tiles(results: Results) -> list[Tile]:
    tiles = []
    for rate in reversed(measures.rates(results)):
        if best := measures.strongest(results, rate):
            name, measure = best
            share = percent(float(rate))
            hint = f"of the members, by {measures.short(results, name)}; guessing: {share}"
            tiles.append(Tile(f"Found at {share} false alarms", hint, measure_cell(measure)))
    areas = {n: v for n, b in results["attacks"].items() if (v := measures.value(b.get("auc"))) is not None}
    if areas:
        name = max(areas, key=areas.__getitem__)
        hint = f"chance that a member scores above a non-member, by {measures.short(results, name)}; guessing: 0.500"
        if not measures.members_drawn(results):
            hint += f", {epsilon.IF_SPLIT}"
        tiles.append(Tile("Best AUC", hint, measure_cell(results["attacks"][name]["auc"], True)))
    return tiles + _epsilon_tiles(results)


def _epsilon_tiles(results: Results) -> list[Tile]:
    tiles = []
    if best := measures.largest_epsilon(results):
        count = results["attacks"][best[0]]["epsilon"].get("attacks", 1)
        corrected = f", corrected for the number of attacks ({count})" if count > 1 else ""
        given = f" {epsilon.IF_SPLIT}" if not measures.members_drawn(results) else ""
        by = measures.short(results, best[0])
        hint = f"of differential privacy, proven by {by}{given}{corrected}; 0: nothing is proven"
        tiles.append(Tile("Epsilon, at least", hint, measure_cell(best[1], True)))
    return tiles + _accountant_tile(results)


def _accountant_tile(results: Results) -> list[Tile]:
    """What DP-SGD guarantees, where it was used."""
    accountant = results["target"].get("epsilon")
    if not isinstance(accountant, Mapping):
        return []
    hint = f"the privacy accountant's, of differentially private training, at delta {accountant.get('delta', 0):g}"
    if loose := measures.loose_delta(results):
        hint += f". {loose}"
    measure = accountant if measures.value(accountant) is not None else {"reason": "none: there is no noise"}
    return [Tile("Epsilon, at most", hint, measure_cell(measure, True))]


def _audit_table(results: Results) -> Table:
    notes, shown = Notes(), measures.rates(results)
    accuracy = "accuracy" if measures.equal(results) else "balanced_accuracy"
    head = ["Attack", "AUC", *(f"Found at {percent(float(rate))} false alarms" for rate in shown)]
    head += [accuracy.capitalize().replace("_", " "), "Precision", "Recall", "Epsilon, at least"]
    rows = []
    for name in measures.ranked(results):
        block = results["attacks"][name]
        found = [
            *(measures.tpr(block, rate) for rate in shown),
            *(block.get(key) for key in (accuracy, "precision", "recall")),
        ]
        cells = [notes.cell(block.get("auc"), fraction=True), *map(notes.cell, found)]
        rows.append(Row(_attack(results, name), [*cells, _epsilon_cell(block.get("epsilon"), notes)]))
    caption = "All attacks, the strongest first. Small print: 95% intervals."
    caption += "".join(f" {line}." for line in table_notes(results))
    return Table(caption, head, rows, notes=notes.lines())


def _attack(results: Results, name: str) -> Cell:
    block = results["attacks"][name]
    unscored = block.get("unscored", 0) // block.get("targets", 1)
    few = f"{unscored:,} records not judged" if unscored else ""
    return Cell(measures.short(results, name), "; ".join(filter(None, (block.get("title", ""), few))))


def _epsilon_cell(block: Any, notes: Notes) -> Cell:
    low = measures.epsilon_low(block)
    return notes.cell(block) if low is None else Cell(f"{low:.2f}", _guesses(block), "number")


def _audit_reading(results: Results) -> list[str]:
    """Paragraphs below the table of attacks."""
    several = (
        " The strongest of several attacks was picked after the fact, which flatters it a little; whether it finds more"
        " than guessing is judged with an interval that allows for that."
        if len(results["attacks"]) > 1
        else ""
    )
    first = (
        "that finds most members at 1% false alarms"
        if measures.strongest(results, "0.01")
        else "of the highest AUC, for at 1% false alarms members cannot be counted here"
    )
    notes = results["shadows"].get("notes")
    return [
        "A member is a record that the model under attack was trained on. A false alarm is a non-member that is called"
        " a member. Each attack gives every record a score; the columns on false alarms ask which share of the members"
        " an attacker finds who raises the bar until only so many false alarms are left: that is what matters to each"
        " person whose record it is. AUC is the chance that a member scores above a non-member; guessing has 0.500."
        f" {'Accuracy' if measures.equal(results) else 'Balanced accuracy'}, precision and recall are at the threshold"
        " that the attack itself chose before it saw the target.",
        f"The table begins with the attack {first}. {_what_intervals_cover(results)}{several}",
        *([" ".join(notes)] if notes else []),
    ]


def _what_intervals_cover(results: Results) -> str:
    targets = measures.num_targets(results)
    if not measures.targets_in_turn(results) or targets < 2:
        return (
            "An interval (95%) covers what another draw of as many records would change; it does not cover another"
            " model, or another seed."
        )
    few = f" From {targets} targets it is wide; give more (`num_targets`)." if targets < 5 else ""
    return (
        f"An interval (95%, Student's t) covers what {targets} other models and as many other records of the same kind"
        f" would change; it does not cover another way of training.{few}"
    )


# --- audits by canaries ----------------------------------------------------------------------------------------------


def _canaries_result(results: Results) -> list[Block]:
    block = results["attacks"]["canaries"]
    tiles = [
        Tile(
            f"Epsilon, at least: {name}",
            f"{source}; {_guesses(block[key])}",
            measure_cell(measures.epsilon_low(block[key]), True),
        )
        for key, (name, source) in CANARY_BOUNDS.items()
    ]
    tiles += _accountant_tile(results)
    hint = "chance that a canary in training scores above one left out; guessing: 0.500"
    tiles.append(Tile("AUC", hint, measure_cell(block["auc"], True)))
    return [Tiles(tiles), Paragraphs([epsilon.meaning(block["epsilon"])])]


def _guesses(block: Mapping[str, Any]) -> str:
    return f"{block['right']:,} of {block['guesses']:,} guesses right"


SECTION = Section("result", "The result", _shows, _blocks)
