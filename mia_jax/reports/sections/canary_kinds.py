"""What several models tell of each canary, by kind: Aerni, Zhang, Tramer 2024 (arXiv 2404.17399)."""

from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Items, Notes, Paragraphs, Report, Row, Table
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent

NAMES = {"plain": "clean", "mislabelled": "mislabeled", "ood": "out of distribution"}  # results.json keeps its spelling
MADE = {
    "plain": "clean: records as they are, with their own labels",
    "mislabelled": "mislabeled: records with a label drawn from the classes that are not theirs, which a model can only"
    " know by heart",
    "ood": "out of distribution: records of which each attribute is another record's, drawn one by one, with a label"
    " drawn from all classes; an image of this kind is noise",
}
SOURCE = "Aerni, Zhang and Tramer 2024"


def names(results: Results) -> list[str]:
    """The kinds of canaries of a run, as results.json spells them."""
    return results["canaries"]["kind"].split(",")


def listed(results: Results) -> str:
    """The kinds in words: "clean, mislabeled and out of distribution"."""
    words = [NAMES.get(kind, kind) for kind in names(results)]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def rows(results: Results) -> list[tuple[str, dict[str, Any]]]:
    """Name and measures by LiRA of each kind, and of all canaries where they are of several kinds."""
    block = results["canaries"]["lira"]
    found = [(f"{NAMES.get(one['kind'], one['kind'])}, {one['count']:,}", one) for one in block["kinds"]]
    return found if len(found) == 1 else [*found, (f"all, {results['canaries']['count']:,}", block)]


def rates(results: Results) -> list[str]:
    """The false-positive rates that can be resolved for one kind, or for all canaries; the first in any case."""
    every = [one["tpr_at_fpr"] for _, one in rows(results)]
    return [
        rate
        for place, rate in enumerate(every[0])
        if not place or any(measures.value(one[rate]) is not None for one in every)
    ]


def _shows(results: Results, scores: Scores) -> bool:
    return "lira" in results.get("canaries", {})


def _blocks(report: Report) -> list[Block]:
    results = report.results
    block, notes = results["canaries"]["lira"], Notes()
    texts = [
        f"{block['models']:,} models were trained, which have all records but the canaries in common. Each canary is"
        " among the training records of half of them: a coin was tossed for it and each pair of models, which got"
        f" opposite sides. LiRA then compares a canary with itself in models that had it and in models that had not."
        f" {many(block['targets'], 'model was', 'models were')} attacked in turn by the others, less the opposite one.",
        "The kinds:",
    ]
    kinds = [MADE[kind] for kind in names(results) if kind in MADE]
    resolved = rates(results)
    head = ["Canaries", "AUC", *(f"Found at {percent(float(rate))} false alarms" for rate in resolved)]
    lines = [
        Row(Cell(name), [notes.cell(one["auc"], True), *(notes.cell(one["tpr_at_fpr"][rate]) for rate in resolved)])
        for name, one in rows(results)
    ]
    return [
        Paragraphs(texts),
        Items(kinds),
        Table("Canaries by LiRA, a kind a line.", head, lines, notes=notes.lines()),
        Paragraphs([_reading(results), _bounds(results)]),
    ]


def _reading(results: Results) -> str:
    block = results["canaries"]["lira"]
    told = [(measures.value(one["auc"]) or 0.0, one["kind"]) for one in block["kinds"]]
    most = NAMES.get(max(told)[1], max(told)[1])
    worst = f" The largest AUC is that of the canaries that are {most}." if len(told) > 1 else ""
    return (
        "A way of training is to be judged by the records that it hides worst, not by the average one: some defenses"
        f" hide plain records and no others ({SOURCE}).{worst} What is said of canaries holds for records as odd as"
        " they are."
    )


def _bounds(results: Results) -> str:
    lira, alone = results["canaries"]["lira"], results["attacks"]["canaries"]
    low = [
        measures.epsilon_low(block[key]) or 0.0 for block in (lira, alone) for key in ("epsilon", "epsilon_gaussian")
    ]
    return (
        f"The coins of the first model are as fair as if it were alone, and no shadow knows them. By LiRA's scores its"
        f" training proves an epsilon of {low[0]:.2f} at least ({low[1]:.2f} if noise is Gaussian); by the model's own"
        f" answers alone, as above, {low[2]:.2f} ({low[3]:.2f}). Each of these holds with"
        f" {lira['epsilon']['confidence']:.0%} confidence by itself; the larger of them holds with less."
    )


SECTION = Section("canaries", "What several models tell of each canary", _shows, _blocks)
