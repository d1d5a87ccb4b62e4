"""The page and the terminal's table of an audit by many attacks: scripts/audit.py, both of its ways.

In the manner of ``report``: for a reader who never read a paper, self-contained, and SIMULATED in every title and
caption of a run on simulated records. Nothing here computes with JAX.
"""

import html
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mia_jax.reports import answer_words, epsilon_words, figures, page, words
from mia_jax.reports import balanced_figures as plots
from mia_jax.reports import balanced_words as told
from mia_jax.reports.figures import Results, Scores, short, value
from mia_jax.reports.words import percent
from mia_jax.statistics import metrics
from mia_jax.types import InputError

PLANS = ("balanced", "deployed")
WIDTH = 100  # of the terminal
UNRESOLVED = "not resolvable: "  # how metrics begins such a reason
NO_BOUNDARY = "no boundary: "  # and audits, of attacks whose scores only order


def write_report(workdir: str | pathlib.Path) -> pathlib.Path:
    """Write report.html and figures/*.png into the folder of an audit; as ``report.write_report``.

    Raises:
        InputError: as there; or nobody told who is a member, so that there is nothing to report but scores.
    """
    with page.believed(workdir):
        run = page.read(pathlib.Path(workdir), "scripts/audit.py")
        if run.results.get("plan") not in PLANS:
            raise InputError(f"{workdir} holds no audit by many attacks; use mia_jax.reports.report.write_report")
        if not told.measured(run.results):
            raise InputError(f"{workdir}: the data do not say who is a member; the scores are in {workdir}/scores.npz")
        drawings = figures.draw(run.results, run.scores, plots.PLOTS[run.results["plan"]])
        return page.write(pathlib.Path(workdir), _page(run, drawings), drawings)


# --- the terminal ----------------------------------------------------------------------------------------------------


def terminal_table(results: Results) -> str:
    """A plain-text table, at most 100 columns wide: an attack in each line, the strongest first."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    about = f"{words.marked_title(data)}: {data['classes']} classes; "
    if results["plan"] == "balanced":
        about += f"{shadows['models']} models trained on {target['train_records']:,} records each"
    else:
        about += f"{target['kind']} under attack, {figures.many(shadows['count'], 'shadow model', 'shadow models')}"
    first = [*textwrap.wrap(told.doubt_line(results), WIDTH), ""] if results.get("doubts") else []
    notes_on_shadows = [line for note in shadows.get("notes", ()) for line in textwrap.wrap(note, WIDTH)]
    if not told.measured(results):
        return "\n".join([*first, *textwrap.wrap(about, WIDTH), *notes_on_shadows, "", *_where_the_scores_are(results)])
    targets = max(block.get("targets", 1) for block in results["attacks"].values())
    over = f"over {targets} targets" if targets > 1 else "over records"
    lines = textwrap.wrap(f"{about}; 95% intervals {over} in brackets; TPR: members found", WIDTH)
    key, column = ("accuracy", "accuracy") if words.equal(results) else ("balanced_accuracy", "balanced")
    head = f"{'attack':<19}{'AUC':<21}{'TPR at 1% FPR':<21}{'TPR at 0.1% FPR':<21}{column:<9}{'epsilon':>8}"
    lines += ["", head]
    notes: list[str] = []
    for name in told.ranked(results):
        block = results["attacks"][name]
        found = [block.get("auc"), *(block.get("tpr_at_fpr", {}).get(rate) for rate in ("0.01", "0.001"))]
        cells = "".join(f"{_plain(measure, notes):<21}" for measure in found)
        right = value(block.get(key))
        right = f"- ({_note(page.reason(block.get(key)), notes)})" if right is None else f"{right:.3f}"
        lines.append(f"{page.clip(name, 18):<19}{cells}{right:<9}{_proven(block.get('epsilon'), notes):>8}")
    for text in (*_short(results), epsilon_words.short(results), answer_words.shadows(results).strip()):
        lines += textwrap.wrap(text, WIDTH)
    for number, reason in enumerate(notes, 1):
        lines += textwrap.wrap(f"({number}) {reason}", WIDTH, subsequent_indent="    ")
    return "\n".join([*first, *lines, *notes_on_shadows])


def _plain(measure: Any, notes: list[str]) -> str:
    number = value(measure)
    if number is None:
        return f"- ({_note(page.reason(measure), notes)})"
    if not page.has_interval(measure):
        return f"{number:.3f}"
    low, high = page.ends(measure)
    return f"{number:.3f} [{low:.3f}, {high:.3f}]"


def _proven(measure: Any, notes: list[str]) -> str:
    low = epsilon_words.low(measure)
    return f"- ({_note(page.reason(measure), notes)})" if low is None else f">= {low:.2f}"


def _note(reason: str, notes: list[str]) -> int:
    if reason not in notes:
        notes.append(reason)
    return notes.index(reason) + 1


def _where_the_scores_are(results: Results) -> list[str]:
    lines = textwrap.wrap(told.unknown(results), WIDTH)
    lines += [f"They are in {results['config']['workdir']}/scores.npz:", ""]
    for name, block in results["attacks"].items():
        lines.append(page.clip(f"  {_column(name):<28}{block.get('title', '')}", WIDTH).rstrip())
    return lines


def _column(attack: str) -> str:
    return "score" if attack == "shokri" else f"score_{attack}"


# --- the page --------------------------------------------------------------------------------------------------------


def _page(run: page.Finished, drawings: Sequence[figures.Rendered]) -> str:
    results, mark = run.results, page.marked(run.results)
    balanced = results["plan"] == "balanced"
    sections = [
        page.section(
            "The result",
            mark,
            page.tiles(_tiles(results)),
            _attacks_table(results, mark),
            *page.paragraphs(told.reading(results)),
        ),
        page.section(
            "How it was done",
            mark,
            "<ol>" + "".join(f"<li>{page.escape(step)}</li>" for step in told.steps(results)) + "</ol>",
        ),
        page.section("What it proves of epsilon", mark, *page.paragraphs(epsilon_words.meaning(results))),
    ]
    if balanced:
        sections.append(page.section("Which records", mark, *_records(results, drawings, mark)))
        sections.append(page.section("With a threshold set beforehand", mark, *_thresholds(results, run.scores, mark)))
    sections += [
        page.section("What an accusation is worth", mark, *_priors(results, mark)),
        page.section(
            "Figures",
            mark,
            "<p>The same figures lie beside this page as PNG files, in the folder <code>figures</code>.</p>",
            page.gallery([d for d in drawings if d.name != "exposed_records"], mark),
        ),
        page.section("Class by class", mark, _classes(results, mark)),
        page.section("To repeat this run", mark, page.repeat_table(results, mark, run.digest)),
    ]
    heading = f"Who was in the training data? {words.title(results['dataset'])}, audited"
    return page.document(results, heading, told.verdict(results), sections)


def _tiles(results: Results) -> list[tuple[str, str, Any, bool]]:
    out = []
    for rate in reversed(words.rates(results)):
        if best := told.strongest(results, rate):
            name, measure = best
            hint = f"of the members, by {short(name)}; guessing: {percent(float(rate))}"
            out.append((f"Found at {percent(float(rate))} false alarms", hint, measure, False))
    areas = {n: v for n, b in results["attacks"].items() if (v := value(b.get("auc"))) is not None}
    if areas:
        name = max(areas, key=areas.__getitem__)
        hint = f"chance that a member scores above a non-member, by {short(name)}; guessing: 0.500"
        if results["plan"] == "deployed":
            hint += f", {epsilon_words.IF_SPLIT}"
        out.append(("Best AUC", hint, results["attacks"][name]["auc"], True))
    if best := epsilon_words.largest(results):
        count = results["attacks"][best[0]]["epsilon"].get("attacks", 1)
        corrected = f", corrected for the number of attacks ({count})" if count > 1 else ""
        given = f" {epsilon_words.IF_SPLIT}" if results["plan"] == "deployed" else ""
        hint = f"of differential privacy, proven by {short(best[0])}{given}{corrected}; 0: nothing is proven"
        out.append(("Epsilon, at least", hint, best[1], True))
    if isinstance(promised := results["target"].get("epsilon"), Mapping):
        hint = f"what differentially private training promises, at delta {promised.get('delta', 0):g}"
        out.append(("Promised epsilon", hint, promised, True))
    return out


def _attacks_table(results: Results, mark: str) -> str:
    notes: list[str] = []
    head = ["Attack", "AUC", *(f"Found at {percent(float(rate))} false alarms" for rate in words.rates(results))]
    equal = words.equal(results)
    head += ["Accuracy" if equal else "Balanced accuracy", "Precision", "Recall", "Epsilon, at least"]
    keys = ("accuracy" if equal else "balanced_accuracy", "precision", "recall")
    rows = []
    for name in told.ranked(results):
        block = results["attacks"][name]
        measures = [block.get("tpr_at_fpr", {}).get(rate) for rate in words.rates(results)]
        measures += [block.get(key) for key in keys]
        cells = [_cell(block.get("auc"), notes, fraction=True), *(_cell(measure, notes) for measure in measures)]
        rows.append([_attack(name, block), *cells, _epsilon(block.get("epsilon"), notes)])
    caption = f"{mark}All attacks, the strongest first. Small print: 95% intervals."
    caption += "".join(f" {page.escape(text)}." for text in _short(results) if text)
    return page.table(caption, head, rows) + _notes(notes)


def _short(results: Results) -> tuple[str, ...]:
    """What a reader of the table must know, in a line each; empty where there is nothing to know."""
    return told.caveat(results), told.base_rate(results), told.read(results), told.worse(results)


def _attack(name: str, block: Mapping[str, Any]) -> str:
    text = page.named(short(name), block.get("title", ""))
    if unscored := block.get("unscored", 0) // block.get("targets", 1):
        text += f"<small>{unscored:,} records not judged</small>"
    return text


def _cell(measure: Any, notes: list[str], fraction: bool = False) -> str:
    """As ``page.cell``; what is not resolvable is told below the table, once."""
    reason = page.reason(measure)
    for begin in (UNRESOLVED, NO_BOUNDARY):
        if value(measure) is None and reason.startswith(begin):
            return f'<span class="absent">{begin.removesuffix(": ")} ({_note(reason, notes)})</span>'
    return page.cell(measure, fraction)


def _epsilon(measure: Any, notes: list[str]) -> str:
    low = epsilon_words.low(measure)
    if low is None:
        return _cell(measure, notes)
    return f"<b>{low:.2f}</b> <small>{measure['right']:,} of {measure['guesses']:,} guesses right</small>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    numbered = {f"({k}) {html.escape(note)}": note.startswith(UNRESOLVED) for k, note in enumerate(notes, 1)}
    rates = [text.replace(UNRESOLVED, "", 1) for text, unresolved in numbered.items() if unresolved]
    told = [f"Not resolvable: {'; '.join(rates)}. Fewer would be luck, not a rate."] if rates else []
    told += [
        f"{text}: so no record is called a member, and there is nothing to count."
        for text, u in numbered.items()
        if not u
    ]
    return f"\n<p><small>{' '.join(told)}</small></p>"


def _records(results: Results, drawings: Sequence[figures.Rendered], mark: str) -> list[str]:
    rows = results.get("exposure", {}).get("records", [])
    if not rows:
        return ["<p>This run does not tell which records are exposed.</p>"]
    described = any("attributes" in row for row in rows)
    head = ["Record", "Class", "Exposure", "Recognized at 1% false alarms"] + (["Attributes"] if described else [])
    cells = []
    for row in rows:
        d = row["separation"]
        cell = [f"{row['index']:,}", page.escape(row["class"]), f"{d:.1f}", told.chance(d)]
        if described:
            cell.append(page.escape(row.get("attributes", "not told")))
        cells.append(cell)
    pictures = [d for d in drawings if d.name == "exposed_records" and d.svg is not None]
    return [
        *page.paragraphs([told.exposed(results, len(rows))]),
        page.table(f"{mark}The most exposed records, by their row in the data set.", head, cells, css="measures"),
        *([page.gallery(pictures, mark)] if pictures else []),
    ]


def _thresholds(results: Results, scores: Scores, mark: str) -> list[str]:
    chosen = {n: c for n in told.ranked(results) if (c := results["attacks"][n].get("chosen_threshold"))}
    if not chosen:
        return page.paragraphs(["No attack of this run can set its threshold on a shadow model that plays the target."])
    others = int((~scores["member"].astype(bool)).sum())
    rates = sorted({rate for c in chosen.values() for rate in c}, key=float, reverse=True)
    at_all = [rate for rate in rates if any(value(c[rate]["tpr"]) is not None for c in chosen.values())]
    kept = [rate for rate in at_all if metrics.resolvable(others, float(rate))]
    texts = [told.thresholds(results)]
    if left := [f"{100 * float(rate):g}%" for rate in rates[len(kept) :]]:
        texts.append(
            f"Left out: {' and '.join(left)} false alarms, for {others:,} non-members are too few to count them by."
        )
    if not kept:
        return page.paragraphs(texts)
    head = ["Attack", *(f"Set for {100 * float(rate):g}% false alarms" for rate in kept)]
    rows = []
    for name, at in chosen.items():
        cells = []
        for rate in kept:
            found, wrong = at[rate]["tpr"], at[rate]["fpr"]
            cells.append(f"{page.cell(found)}<small>false alarms: {_text(wrong)}</small>")
        rows.append([page.escape(short(name)), *cells])
    caption = f"{mark}Thresholds set on a shadow model: members found, and the false alarms that came with them."
    return [*page.paragraphs(texts), page.table(caption, head, rows)]


def _text(measure: Any) -> str:
    number = value(measure)
    if number is None:
        return page.escape(page.reason(measure))
    between = ""
    if page.has_interval(measure):
        low, high = page.ends(measure)
        between = f" ({low:.2%} to {high:.2%})"
    return f"{number:.2%}{between}"


def _priors(results: Results, mark: str) -> list[str]:
    shares = sorted(
        {p for b in results["attacks"].values() for p in b.get("ppv_at_prior", {})}, key=float, reverse=True
    )
    if not shares:
        return page.paragraphs(["This run has no precision at other shares of members."])
    head = ["Attack", *(f"{percent(float(share))} of those asked about are members" for share in shares)]
    rows, notes = [], []
    for name in told.ranked(results):
        at = results["attacks"][name].get("ppv_at_prior", {})
        rows.append([page.escape(short(name)), *(_cell(at.get(share), notes) for share in shares)])
    caption = f"{mark}Of the records called members, the share that are."
    return [*page.paragraphs([told.priors(results)]), page.table(caption, head, rows) + _notes(notes)]


def _classes(results: Results, mark: str) -> str:
    name = told.ranked(results)[0]
    separation = {row["class"]: row["separation"] for row in results.get("exposure", {}).get("classes", [])}
    rows = []
    for row in results["attacks"][name].get("per_class", []):
        rows.append(
            [
                page.escape(row["class"]),
                f"{row['members']:,} / {row['non_members']:,}",
                *([_exposure(separation.get(row["class"]))] if separation else []),
                _of_class(row["precision"], "no record was called a member"),
                _of_class(row["recall"], "no member judged"),
            ]
        )
    head = ["Class", "Judged: members / others", *(["Exposure"] if separation else []), "Precision", "Recall"]
    over = " Records are counted once for each target." if results["plan"] == "balanced" else ""
    caption = f"{mark}{page.escape(short(name))}, class by class; classes are numbered from 0.{over}"
    table = page.table(caption, head, rows, css="numbers")
    return table if len(rows) <= page.COLLAPSE else page.folded(f"Show all {len(rows)} classes", mark, table)


def _of_class(measure: Any, absent: str) -> str:
    if page.reason(measure).startswith(NO_BOUNDARY):
        return '<span class="absent">no boundary</span>'
    return page.cell(measure, absent=absent)


def _exposure(mean: float | None) -> str:
    return "no record" if mean is None else f"{mean:.2f}"
