"""From a finished run's folder to one self-contained page, its figures, and a short table for the terminal.

The reader of the page has never read the paper: every number stands beside what guessing would give, and every
figure says how to read it. A run on simulated records says SIMULATED in every title and caption. Nothing here computes
with JAX.
"""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax.reports import balanced_report, canary_report, figures, page, shokri_figures, words
from mia_jax.reports.figures import Results, short, value

PNG = "<p>The same figures lie beside this page as PNG files, in the folder <code>figures</code>.</p>"
MEASURES = {  # key: (name, what it means, what guessing gives)
    "accuracy": ("Accuracy", "records judged rightly; guessing: 50%"),
    "precision": ("Precision", "of the records called members, those that are; guessing: 50%"),
    "recall": ("Recall", "of the members, those that were found"),
    "auc": ("AUC", "chance that a member scores above a non-member; guessing: 0.500"),
}


def write_report(workdir: str | pathlib.Path) -> pathlib.Path:
    """Write report.html and figures/*.png into a run's folder, from its results.json and scores.npz.

    Each file is written whole or not at all, and the same input gives the same bytes. A run of scripts/audit.py gets
    the page of many attacks, ``balanced_report``, or that of canaries, ``canary_report``.

    Args:
        workdir: holds results.json (schema 1) and scores.npz.

    Returns:
        The path of report.html, which needs no other file.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema.
    """
    with page.believed(workdir):
        run = page.read(pathlib.Path(workdir), "scripts/train.py")
        if run.results.get("plan") in balanced_report.PLANS:
            return balanced_report.write_report(workdir)
        if run.results.get("plan") == "canaries":
            return canary_report.write_report(workdir)
        drawings = figures.draw(run.results, run.scores, shokri_figures.PLOTS)
        return page.write(pathlib.Path(workdir), _page(run.results, drawings, run.digest), drawings)


# --- the terminal ----------------------------------------------------------------------------------------------------


def terminal_table(results: Results) -> str:
    """A run's results for the terminal, as plain text at most 100 columns wide; every plan has its own table."""
    if results.get("plan") in balanced_report.PLANS:
        return balanced_report.terminal_table(results)
    if results.get("plan") == "canaries":
        return canary_report.terminal_table(results)
    return _paper_run_table(results)


def _paper_run_table(results: Results) -> str:
    """Every attack with intervals, the paper's rows beside ours."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    mark = "SIMULATED " if data["source"] == "simulated" else ""
    many = figures.many(shadows["count"], "shadow model", "shadow models")
    lines = textwrap.wrap(
        f"{words.marked_title(data)}: {data['classes']} classes; target and {many} trained on"
        f" {target['train_records']:,} records each; 95% intervals in brackets",
        100,
    )
    notes: list[str] = []
    rows = [(key, name, lambda block, key=key: block.get(key)) for key, (name, _) in MEASURES.items()]
    rows += [
        (
            rate,
            f"TPR at {words.percent(float(rate))} FPR",
            lambda block, rate=rate: block.get("tpr_at_fpr", {}).get(rate),
        )
        for rate in words.rates(results)
    ]
    names = list(results["attacks"])
    for start in range(0, len(names), 3):
        part = names[start : start + 3]
        lines += ["", " " * 20 + "".join(f"{page.clip(short(name), 23):<25}" for name in part).rstrip()]
        for _, title, measure in rows:
            cells = [_plain(measure(results["attacks"][name]), notes) for name in part]
            lines.append((f"{title:<20}" + "".join(f"{cell:<25}" for cell in cells)).rstrip())
    if without := results.get("classes_without_rows"):
        unscored = figures.many(results["attacks"][words.main_attack(results)]["unscored"], "record", "records")
        told = f"(the shadow models lacked members or others of class {words.listed(without)}: {unscored} got no score)"
        lines += textwrap.wrap(told, 100, subsequent_indent=" ")
    for number, reason in enumerate(notes, 1):
        lines += textwrap.wrap(f"({number}) {reason}", 100, subsequent_indent="    ")
    paper = _paper(results)
    columns = {"train_accuracy": "train", "test_accuracy": "  test", "accuracy": "  attack", "precision": "  precision"}
    medians = any(value(row.get("median_precision")) is not None for row in paper)
    columns |= {"median_precision": "   median"} if medians else {}
    columns["recall"] = "  recall"
    lines += ["", " " * 51 + "".join(columns.values())]
    for name, row in [(f"{mark}this run", _ours(results)), *((_paper_name(row), row) for row in paper)]:
        cells = [(value(row.get(key)), len(head)) for key, head in columns.items()]
        lines.append(
            f"{page.clip(name, 51):<51}" + "".join(f"{'-' if v is None else f'{v:.3f}':>{w}}" for v, w in cells)
        )
    lines += ["(train, test: accuracy of the target; attack: accuracy of the attack)"]
    lines += ["(median: precision computed class by class, as the paper does for this data set)"] if medians else []
    if not paper:
        lines.append("The paper has no row for this data set.")
    return "\n".join(lines)


def _plain(measure: Any, notes: list[str]) -> str:
    number = value(measure)
    if number is None:
        reason = page.reason(measure)
        if reason not in notes:
            notes.append(reason)
        return f"- ({notes.index(reason) + 1})"
    if not page.has_interval(measure):
        return f"{number:.3f}"
    return f"{number:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


# --- the page --------------------------------------------------------------------------------------------------------


def _page(results: Results, drawings: Sequence[figures.Rendered], scores_digest: str) -> str:
    mark = page.marked(results)
    sections = [
        page.section(
            "The result",
            mark,
            _tiles(results),
            _attacks_table(results, mark),
            *page.paragraphs(words.reading(results)),
        ),
        page.section(
            "How it was done",
            mark,
            "<ol>" + "".join(f"<li>{page.escape(step)}</li>" for step in words.steps(results)) + "</ol>",
        ),
        page.section(
            "Beside the paper", mark, _paper_table(results, mark), *page.paragraphs(words.comparison(results))
        ),
        page.section("Figures", mark, PNG, page.gallery(drawings, mark)),
        page.section("Class by class", mark, _classes_table(results, mark)),
        page.section("To repeat this run", mark, page.repeat_table(results, mark, scores_digest)),
    ]
    heading = f"Membership inference on {words.title(results['dataset'])}"
    return page.document(results, heading, words.verdict(results), sections)


def _tiles(results: Results) -> str:
    main = words.main_attack(results)
    block = results["attacks"][main]
    chosen = [(*MEASURES[key], block.get(key), key == "auc") for key in ("accuracy", "precision", "recall", "auc")]
    if "0.01" in block.get("tpr_at_fpr", {}):
        hint = "of the members, where 1 non-member in 100 may be accused falsely; guessing: 1%"
        chosen.append(("Found at 1% false alarms", hint, block["tpr_at_fpr"]["0.01"], False))
    intro = words.PAPER if main == "shokri" else f"The attack that this page is about: {short(main)}."
    return f"<p>{page.escape(intro)}</p>\n{page.tiles(chosen)}"


def _attacks_table(results: Results, mark: str) -> str:
    attacks = results["attacks"]
    head = ["Measure", *map(short, attacks)]
    rows = [
        [page.named(name, hint), *(page.cell(block.get(key), key == "auc") for block in attacks.values())]
        for key, (name, hint) in MEASURES.items()
    ]
    for rate in words.rates(results):
        name = f"Members found at {words.percent(float(rate))} false alarms"
        hint = f"true-positive rate at false-positive rate {rate}; guessing: {words.percent(float(rate))}"
        cells = (page.cell(block.get("tpr_at_fpr", {}).get(rate)) for block in attacks.values())
        rows.append([page.named(name, hint), *cells])
    return page.table(f"{mark}All attacks of this run, on the same records. Small print: 95% intervals.", head, rows)


def _paper_table(results: Results, mark: str) -> str:
    paper = _paper(results)
    if not paper:
        return ""
    columns = [_ours(results), *paper]
    head = ["Measure", "This run, SIMULATED" if mark else "This run"]
    head += [f"Paper: {row['setting']} ({row['source']})" for row in paper]
    rows = [
        [
            page.named(*text),
            *(page.cell(c.get(key), absent="not reported" if k else None) for k, c in enumerate(columns)),
        ]
        for key, text in {
            "train_accuracy": (
                "Target, training records",
                "how often the target is right on records it was trained on",
            ),
            "test_accuracy": ("Target, unseen records", "how often it is right on others"),
            "accuracy": ("Attack accuracy", MEASURES["accuracy"][1]),
            "precision": ("Attack precision", MEASURES["precision"][1]),
            "median_precision": ("Attack precision, median class", "computed class by class; the one in the middle"),
            "recall": ("Attack recall", MEASURES["recall"][1]),
        }.items()
        if any(value(c.get(key)) is not None for c in paper)
    ]
    return page.table(f"{mark}The numbers of Shokri et al. (2017) for this data set, beside this run's.", head, rows)


def _classes_table(results: Results, mark: str) -> str:
    main = words.main_attack(results)
    counts = results["dataset"].get("class_counts", [])
    without = set(results.get("classes_without_rows", []))
    rows = []
    for row in results["attacks"][main].get("per_class", []):
        c = row["class"]
        trained = f"{counts[c]:,}" if c < len(counts) else "not told"
        if c in without:
            found = ['<span class="absent">not attacked</span>'] * 2
        else:
            found = [
                page.cell(
                    row["precision"], absent="no record was called a member" if row["members"] else "no record judged"
                ),
                page.cell(row["recall"], absent="no member judged"),
            ]
        rows.append([page.escape(c), trained, f"{row['members']:,} / {row['non_members']:,}", *found])
    head = ["Class", "Training records", "Judged: members / others", "Precision", "Recall"]
    caption = f"{mark}{page.escape(short(main))}, class by class; classes are numbered from 0."
    if without:
        caption += " Not attacked: the shadow models lacked members or others of the class to learn from."
    table = page.table(caption, head, rows, css="numbers")
    if len(rows) <= page.COLLAPSE:
        return table
    return page.folded(f"Show all {len(rows)} classes", mark, table)


# --- small pieces ----------------------------------------------------------------------------------------------------


def _ours(results: Results) -> dict[str, Any]:
    """This run, as a row of the paper."""
    main = results["attacks"][words.main_attack(results)]
    per_class = [v for row in main.get("per_class", []) if (v := value(row["precision"])) is not None]
    return {
        **{key: results["target"].get(key) for key in ("train_accuracy", "test_accuracy")},
        **{key: main.get(key) for key in ("accuracy", "precision", "recall")},
        "median_precision": float(np.median(per_class)) if per_class else None,
    }


def _paper(results: Results) -> list[dict[str, Any]]:
    """The paper's rows; a precision that is a median over classes is put where ours is one too."""
    rows = []
    for row in results.get("paper", {}).get("rows", []):
        source = row["source"].removesuffix(", median over classes")
        if source != row["source"]:
            row = {**row, "source": source, "median_precision": row["precision"], "precision": None}
        rows.append(row)
    return rows


def _paper_name(row: Mapping[str, Any]) -> str:
    return f"paper: {row['setting']} ({row['source']})"
