"""Several models side by side: the page and the terminal's table of what ``audits/comparison.py`` found."""

from collections.abc import Mapping, Sequence
from typing import Any

from mia_jax.reports import measures, render
from mia_jax.reports.blocks import Block, Cell, Commands, Items, Notes, Paragraphs, Row, Table, measure_cell
from mia_jax.reports.measures import Results
from mia_jax.storage import places

Audits = Mapping[str, Results]
READ = (
    "A difference is the attack's number on this model less that on the first: below 0, this model tells the attack"
    " less. Its interval is at 95 %, from samples of the records that are the same for both models (1,000 paired"
    " bootstrap samples of members and of others): two models are compared far more sharply than their own intervals"
    " suggest, which overlap where the difference is certain.",
    "An interval with 0 in it is no difference that these records show. Of 20 intervals one is expected to miss: look"
    " for differences that several attacks agree on.",
    "Attacks were run as if each model were the only one. Whoever can ask two variants of one model about a record may"
    " learn more than from either.",
)


def write(folder: places.Place, comparison: Mapping[str, Any], audits: Audits) -> places.Place:
    """Write comparison.html, whole or not at all; its path."""
    sections: list[tuple[str, str, Sequence[Block]]] = [
        ("models", "The models", [_models(comparison, audits)]),
        *(
            (f"difference-{k}", f"{name} beside {comparison['first']}", [_differences(comparison, audits, name)])
            for k, name in enumerate(comparison["differences"], 1)
        ),
        ("read", "How to read the differences", [Items(READ)]),
        ("repeat", "To repeat it", _repeat(comparison)),
    ]
    simulated = any(made["dataset"]["source"] == "simulated" for made in audits.values())
    text = render.plain_page(
        f"{', '.join(audits)}, side by side", " ".join(verdicts(comparison)), sections, simulated=simulated
    )
    with places.writing(folder, "comparison.html") as partial:
        partial.write_text(text, encoding="utf-8")
    return folder / "comparison.html"


def _repeat(comparison: Mapping[str, Any]) -> list[Block]:
    if not comparison["command"]:
        return [Paragraphs(["It was called from Python."])]
    return [Commands([(comparison["command"], "The same command writes the same again:")])]


def verdicts(comparison: Mapping[str, Any]) -> list[str]:
    """What each model tells beside the first, a sentence each."""
    doubted = [name for name, model in comparison["models"].items() if model["doubts"]]
    if doubted:
        return [f"In doubt: {', '.join(doubted)}. What was saved seems not to belong together; see their own reports."]
    first, said = comparison["first"], []
    for name, by_attack in comparison["differences"].items():
        known = {attack: one["auc"] for attack, one in by_attack.items() if measures.value(one["auc"]) is not None}
        less, more = ([a for a, d in known.items() if d[end] * sign > 0] for end, sign in (("high", -1), ("low", 1)))
        if not less and not more:
            said.append(
                f"{name} tells no attack measurably more or less than {first} does ({len(known)} attacks, AUC)."
            )
            continue
        parts = [f"{word} to {len(some)}" for word, some in (("less", less), ("more", more)) if some]
        largest = max([*less, *more], key=lambda attack: abs(known[attack]["value"]))
        one = known[largest]
        said.append(
            f"{name} tells {' and '.join(parts)} of {len(known)} attacks than {first} does; the AUC of {largest}"
            f" differs most, by {one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]."
        )
    return said


def _models(comparison: Mapping[str, Any], audits: Audits) -> Table:
    """A model in each row, with its strongest attack."""
    notes, rows = Notes(), []
    for name, made in audits.items():
        model, best = comparison["models"][name], measures.ranked(made)[0]
        block, bound = made["attacks"][best], measures.largest_epsilon(made)
        fits = [measure_cell(model.get(f"{side}_accuracy"), absent="no classes") for side in ("train", "test")]
        cells = [
            *fits,
            Cell(best, kind="name"),
            notes.cell(block.get("auc"), fraction=True),
            notes.cell(measures.tpr(block, "0.01")),
            Cell("none", kind="absent") if bound is None else Cell(f"{bound[1]:.2f}", bound[0]),
        ]
        rows.append(Row(Cell(name, f"{model['predictions']}; its own report: {model['workdir']}/report.html"), cells))
    head = ["Model", "Accuracy on members", "On others", "Strongest attack", "AUC", "TPR at 1% FPR", "Epsilon at least"]
    return Table("Each model by itself. Intervals are at 95 %.", head, rows, notes=notes.lines())


def _differences(comparison: Mapping[str, Any], audits: Audits, name: str) -> Table:
    """An attack in each row, that which is strongest on the first model first."""
    first, by_attack, notes = comparison["first"], comparison["differences"][name], Notes()
    rows = []
    for attack in (each for each in measures.ranked(audits[first]) if each in by_attack):
        one = by_attack[attack]
        alone = [notes.cell(audits[model]["attacks"][attack].get("auc"), fraction=True) for model in (first, name)]
        apart = [_apart(one["auc"], notes), *(_apart(each, notes) for each in one["tpr_at_fpr"].values())]
        rows.append(Row(Cell(attack, kind="name"), [*alone, *apart]))
    rates = [f"TPR at {100 * float(rate):g}% FPR, difference" for rate in next(iter(by_attack.values()))["tpr_at_fpr"]]
    head = ["Attack", f"AUC, {first}", f"AUC, {name}", "AUC, difference", *rates]
    return Table(f"{name} less {first}, on the same records.", head, rows, notes=notes.lines())


def _apart(measure: Mapping[str, Any], notes: Notes) -> Cell:
    """A difference with its sign and interval."""
    if measures.value(measure) is None:
        return notes.cell(measure)
    return Cell(f"{measure['value']:+.3f}", f"{measure['low']:+.3f} to {measure['high']:+.3f}", "number")
