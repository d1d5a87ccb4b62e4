"""A run's results on the terminal: rich draws the tables, as wide as the terminal and no wider than a page of text.

Nothing but plain text goes where there is no terminal; names of files and of attacks are harmless there, too.
"""

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mia_jax import sanitize
from mia_jax.reports import answer_words, measures, verdict
from mia_jax.reports.blocks import Notes
from mia_jax.reports.columns import column
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results
from mia_jax.reports.sections import beside_paper, canary_kinds, epsilon, result
from mia_jax.reports.sections import unknown as unknown_section
from mia_jax.reports.words import (
    MEASURES,
    confounded,
    doubts,
    listed,
    marked_title,
    percent,
    table_notes,
    with_interval,
)

WIDTH = 100  # columns, at most
FIRST, EACH = 20, 25  # columns of the names of measures, and of each attack, in the table of the paper's run


def show(results: Results, file: TextIO | None = None, *, typed: Callable[[str], str] = str) -> None:
    """Print a run's results: in bold and as wide as the terminal where there is one, else as ``terminal_table``.

    Args:
        results: of results.json.
        file: by default standard output.
        typed: the text, with settings and commands as they are typed here.
    """
    console = Console(file=file or sys.stdout, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        print(typed(terminal_table(results)), file=file or sys.stdout)
        return
    width = min(console.width, WIDTH)
    with console.capture() as captured:
        console.print(_everything(results, width), width=width)
    print(typed(captured.get()), end="", file=file or sys.stdout)


def terminal_table(results: Results, width: int = WIDTH, notes: Iterable[str] = ()) -> str:
    """A run's results as plain text, at most ``width`` columns wide; every plan has its own table.

    Args:
        results: of results.json.
        width: in columns.
        notes: sentences to be said below.
    """
    return _plain(Group(_everything(results, width), *map(_text, notes)), width)


def _plain(shown: RenderableType, width: int) -> str:
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, color_system=None, highlight=False, emoji=False, markup=False, legacy_windows=False
    )
    console.print(shown)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def _everything(results: Results, width: int) -> RenderableType:
    match measures.plan(results):
        case "shokri":
            parts = _shokri_parts(results, across=max(1, (width - FIRST) // EACH))
        case "canaries":
            parts = _canaries_parts(results)
        case _:
            parts = _audit_parts(results)
    parts += _policy_parts(results)
    if width < WIDTH:  # columns then are as narrow as they must be
        for column_ in (column_ for part in parts if isinstance(part, Table) for column_ in part.columns):
            column_.min_width = None
    return Group(*parts)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _text(text: str, style: str = "") -> Text:
    """Harmless text that is wrapped between words."""
    return Text(sanitize.harmless(text), style=style, overflow="fold")


def _hanging(number: int, text: str) -> Table:
    """A note with its number before it."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(_text(f"({number})"), _text(text))
    return grid


def _table(columns: Iterable[tuple[str, int, str]], padding: int = 2) -> Table:
    """An empty table without lines: (title, least width, "left" or "right") of its columns."""
    table = Table(box=None, pad_edge=False, padding=(0, padding, 0, 0), header_style="bold", collapse_padding=False)
    for title, least, side in columns:
        justify: Any = side
        table.add_column(_text(title), min_width=least, justify=justify, overflow="fold", vertical="top")
    return table


def _add(table: Table, cells: Sequence[str]) -> None:
    table.add_row(*map(_text, cells))


def _number(measure: Any, notes: Notes) -> str:
    """A measure with its interval, or the number of the note that says why it has none."""
    if measures.value(measure) is None:
        return f"- ({notes.number(measures.reason(measure))})"
    return with_interval(measure)


def comparison_table(comparison: Mapping[str, Any], audits: Mapping[str, Results], width: int = WIDTH) -> str:
    """Several models side by side, as plain text: a table for each model beside the first."""
    first, notes = comparison["first"], Notes()
    parts: list[RenderableType] = []
    for name, by_attack in comparison["differences"].items():
        heads = [("attack", 18), (f"AUC, {_clipped(first, 10)}", 8), (f"AUC, {_clipped(name, 10)}", 8)]
        heads += [("difference", 23), ("of TPR at 1% FPR", 23)]
        table = _table([(title, least, "left") for title, least in heads])
        for attack in (each for each in measures.ranked(audits[first]) if each in by_attack):
            one = by_attack[attack]
            areas = [measures.value(audits[model]["attacks"][attack].get("auc")) for model in (first, name)]
            cells = ["-" if area is None else f"{area:.3f}" for area in areas]
            cells += [_apart(each, notes) for each in (one["auc"], one["tpr_at_fpr"]["0.01"])]
            _add(table, [_clipped(attack, 18), *cells])
        parts += [_text(f"{name} beside {first}, on the same records; 95% intervals of differences"), "", table, ""]
    parts += [_hanging(k, text) for k, text in enumerate(notes.reasons, 1)]
    return _plain(Group(*parts), width)


def _apart(measure: Mapping[str, Any], notes: Notes) -> str:
    """A difference with its sign and interval."""
    if measures.value(measure) is None:
        return _number(measure, notes)
    return f"{measure['value']:+.3f} [{measure['low']:+.3f}, {measure['high']:+.3f}]"


def _policy_parts(results: Results) -> list[RenderableType]:
    """The policy's verdict, and the rules that are not met or could not be decided."""
    if not (policy := results.get("policy")):
        return []
    counts = ", ".join(
        f"{count} {status}"
        for status in ("met", "not met", "undecided")
        if (count := sum(rule["status"] == status for rule in policy["rules"]))
    )
    table = _table([("policy", 10, "left"), ("rule", 40, "left"), ("found", 30, "left")])
    for rule in policy["rules"]:
        if rule["status"] != "met":
            _add(table, [rule["status"], rule["asks"], rule["found"]])
    about = _text(f"Policy {policy['file']}: {policy['status']} (rules: {counts})", "bold")
    return ["", about, *([table] if table.row_count else [])]


# --- the paper's run -------------------------------------------------------------------------------------------------


def _shokri_parts(results: Results, across: int) -> list[RenderableType]:
    """``across``: attacks side by side."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    notes, attacks = Notes(), results["attacks"]
    parts: list[RenderableType] = [
        _text(
            f"{marked_title(data)}: {data['classes']} classes; target and"
            f" {many(shadows['count'], 'shadow model', 'shadow models')} trained on"
            f" {target['train_records']:,} records each; 95% intervals in brackets"
        )
    ]
    names = list(attacks)
    for start in range(0, len(names), across):
        some = names[start : start + across]
        heads = ((_clipped(measures.short(results, name), EACH - 2), EACH - 2, "left") for name in some)
        table = _table([("", FIRST - 2, "left"), *heads])
        for key, (title, _) in MEASURES.items():
            _add(table, [title, *(_number(attacks[name].get(key), notes) for name in some)])
        for rate in measures.rates(results):
            cells = [_number(measures.tpr(attacks[name], rate), notes) for name in some]
            _add(table, [f"TPR at {percent(float(rate))} FPR", *cells])
        parts += ["", table]
    if without := results.get("classes_without_rows"):
        unscored = many(attacks[measures.main_attack(results)]["unscored"], "record", "records")
        lacked = f"(the shadow models lacked members or others of class {listed(without)}: {unscored} got no score)"
        parts.append(_text(lacked))
    parts += [_hanging(k, text) for k, text in enumerate(notes.reasons, 1)]
    return [*parts, *_beside_the_paper(results)]


def _beside_the_paper(results: Results) -> list[RenderableType]:
    """The paper's rows under the run's own."""
    paper = beside_paper.paper_rows(results)
    columns = {"train_accuracy": "train", "test_accuracy": "test", "accuracy": "attack", "precision": "precision"}
    medians = any(measures.value(row.get("median_precision")) is not None for row in paper)
    columns |= {"median_precision": "median"} if medians else {}
    columns["recall"] = "recall"
    mark = "SIMULATED " if results["dataset"]["source"] == "simulated" else ""
    table = _table([("", 49, "left"), *((name, len(name), "right") for name in columns.values())])
    rows: list[tuple[str, Mapping[str, Any]]] = [(f"{mark}this run", beside_paper.this_run(results))]
    rows += [(f"paper: {row['setting']} ({row['source']})", row) for row in paper]
    for name, row in rows:
        numbers = [measures.value(row.get(key)) for key in columns]
        _add(table, [_clipped(name, 51), *("-" if number is None else f"{number:.3f}" for number in numbers)])
    parts: list[RenderableType] = [
        "",
        table,
        _text("(train, test: accuracy of the target; attack: accuracy of the attack)"),
    ]
    if medians:
        parts.append(_text("(median: precision computed class by class, as the paper does for this data set)"))
    if not paper:
        parts.append(_text("The paper has no row for this data set."))
    return parts


def _clipped(text: str, width: int) -> str:
    """The text, with an ellipsis where it is too wide."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


# --- audits by many attacks ------------------------------------------------------------------------------------------


def _audit_parts(results: Results) -> list[RenderableType]:
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    kind = target["signal"] if target.get("signal") else f"{data['classes']} classes"
    about = f"{marked_title(data)}: {kind}; "
    if measures.targets_in_turn(results):
        about += f"{shadows['models']} models trained on {target['train_records']:,} records each"
    else:
        about += f"{target['kind']} under attack, {many(shadows['count'], 'shadow model', 'shadow models')}"
    first: list[RenderableType] = []
    for warning in filter(None, (doubts(results), confounded(results))):
        first += [_text(warning, "bold"), ""]
    notes_on_shadows = [_text(note) for note in shadows.get("notes", ())]
    if not measures.measured(results):
        return [*first, _text(about), *notes_on_shadows, "", *_scores_only(results)]
    targets, notes = measures.num_targets(results), Notes()
    over = f"over {targets} targets" if targets > 1 else "over records"
    table = _attacks(results, notes)
    below = (*(f"{note}." for note in table_notes(results)), epsilon.below_table(results))
    return [
        *first,
        _text(f"{about}; 95% intervals {over} in brackets; TPR: members found"),
        "",
        table,
        *(_text(text) for text in (*below, answer_words.shadows(results).strip()) if text),
        *(_hanging(k, text) for k, text in enumerate(notes.reasons, 1)),
        *notes_on_shadows,
    ]


def _attacks(results: Results, notes: Notes) -> Table:
    """An attack in each line, the strongest first."""
    key, title = ("accuracy", "accuracy") if measures.equal(results) else ("balanced_accuracy", "balanced")
    table = _table(
        [
            ("attack", 18, "left"),
            *((name, 20, "left") for name in ("AUC", "TPR at 1% FPR", "TPR at 0.1% FPR")),
            (title, 8, "left"),
            ("epsilon", 7, "right"),
        ],
        padding=1,
    )
    for name in measures.ranked(results):
        block = results["attacks"][name]
        found = [block.get("auc"), *(measures.tpr(block, rate) for rate in ("0.01", "0.001"))]
        right, low = measures.value(block.get(key)), measures.epsilon_low(block.get("epsilon"))
        cells = [_number(measure, notes) for measure in found]
        cells.append(f"- ({notes.number(measures.reason(block.get(key)))})" if right is None else f"{right:.3f}")
        cells.append(f"- ({notes.number(measures.reason(block.get('epsilon')))})" if low is None else f">= {low:.2f}")
        _add(table, [_clipped(name, 18), *cells])
    return table


def _scores_only(results: Results) -> list[RenderableType]:
    table = _table([("  column", 28, "left"), ("attack", 0, "left")])
    for name, block in results["attacks"].items():
        _add(table, [f"  {column(name)}", block.get("title", "")])
    return [
        _text(unknown_section.WHAT),
        _text(f"They are in {results['config']['workdir']}/scores.npz:"),
        "",
        table,
    ]


# --- audits by canaries ----------------------------------------------------------------------------------------------


def _canaries_parts(results: Results) -> list[RenderableType]:
    target, block, canaries = results["target"], results["attacks"]["canaries"], results["canaries"]
    kind = canary_kinds.listed(results)
    about = (
        f"{marked_title(results['dataset'])}: one model, trained on {target['train_records']:,} records,"
        f" {canaries['included']:,} of them among {canaries['count']:,} {kind} canaries by a coin toss"
        f" each; delta {block['epsilon']['delta']:g}, 95% confidence"
    )
    table = _table([("", 54, "left"), ("epsilon", 7, "right"), ("", 0, "left")])
    upper = measures.value(target.get("epsilon"))
    _add(table, ["at most, by the privacy accountant", "none" if upper is None else f"<= {upper:.2f}", ""])
    for key, (name, source) in result.CANARY_BOUNDS.items():
        bound = block[key]
        guesses = f"{bound['right']:,} of {bound['guesses']:,} guesses right"
        _add(table, [f"at least, {name} ({source})", f">= {measures.epsilon_low(bound):.2f}", guesses])
    accuracies = (
        f"AUC of the canaries {with_interval(block['auc'])}; accuracy of the model on"
        f" training {target['train_accuracy']:.3f}, on test records {target['test_accuracy']:.3f}"
    )
    several = _canaries_by_lira(results) if "lira" in canaries else []
    return [_text(about), "", table, "", _text(accuracies), _text(verdict.canaries(results)), *several]


def _canaries_by_lira(results: Results) -> list[RenderableType]:
    """A kind of canary in each line, as several models tell them."""
    block, notes = results["canaries"]["lira"], Notes()
    rates = canary_kinds.rates(results)[:3]
    names = ["AUC", *(f"TPR at {percent(float(rate))} FPR" for rate in rates)]
    table = _table([("canaries", 15, "left"), *((name, 20, "left") for name in names)], padding=1)
    for name, one in canary_kinds.rows(results):
        _add(table, [name, _number(one["auc"], notes), *(_number(one["tpr_at_fpr"][rate], notes) for rate in rates)])
    over = f"{many(block['targets'], 'target', 'targets')} of {block['models']:,} models"
    bounds = [measures.epsilon_low(block[key]) or 0.0 for key in ("epsilon", "epsilon_gaussian")]
    proven = f"By LiRA's scores of the first model: epsilon >= {bounds[0]:.2f}, >= {bounds[1]:.2f} if noise is Gaussian"
    return [
        "",
        _text(f"By LiRA ({over}; 95% intervals in brackets)"),
        "",
        table,
        *(_hanging(k, text) for k, text in enumerate(notes.reasons, 1)),
        _text(f"{proven}; each bound by itself"),
    ]
