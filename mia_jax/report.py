"""From a finished run's folder to one self-contained page, its figures, and a short table for the terminal.

The reader of the page has never read the paper: every number stands beside what guessing would give, and every
figure says how to read it. A run on simulated records says SIMULATED in every title and caption. Nothing here computes
with JAX.
"""

import base64
import hashlib
import html
import io
import json
import pathlib
import textwrap
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import figures, words
from mia_jax.artifacts import replacing
from mia_jax.figures import Results, short, value
from mia_jax.types import InputError

STYLE = pathlib.Path(__file__).with_name("report.css")
COLLAPSE = 20  # classes; a longer table by class is folded
MEASURES = {  # key: (name, what it means, what guessing gives)
    "accuracy": ("Accuracy", "records judged rightly; guessing: 50%"),
    "precision": ("Precision", "of the records called members, those that are; guessing: 50%"),
    "recall": ("Recall", "of the members, those that were found"),
    "auc": ("AUC", "chance that a member scores above a non-member; guessing: 0.500"),
}


def write_report(workdir: str | pathlib.Path) -> pathlib.Path:
    """Write report.html and figures/*.png into a run's folder, from its results.json and scores.npz.

    Each file is written whole or not at all, and the same input gives the same bytes.

    Args:
        workdir: holds results.json (schema 1) and scores.npz.

    Returns:
        The path of report.html, which needs no other file.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema.
    """
    workdir = pathlib.Path(workdir)
    try:
        raw = (workdir / "scores.npz").read_bytes()
        results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
        with np.load(io.BytesIO(raw), allow_pickle=False) as f:
            scores = {name: f[name] for name in f.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{workdir} holds no finished run ({error}); run scripts/train.py to its end first") from error
    if results.get("schema") != 1:
        raise InputError(f"{workdir / 'results.json'} has schema {results.get('schema')}, not 1; run the command again")
    drawings = figures.draw(results, scores)
    (workdir / "figures").mkdir(exist_ok=True)
    for drawing in drawings:
        path = workdir / "figures" / f"{drawing.name}.png"
        if drawing.png is None:
            path.unlink(missing_ok=True)  # of an earlier report, which no longer holds
        else:
            with replacing(path) as partial:
                partial.write_bytes(drawing.png)
    report = workdir / "report.html"
    with replacing(report) as partial:
        partial.write_text(_page(results, drawings, hashlib.sha256(raw).hexdigest()), encoding="utf-8")
    return report


# --- the terminal ----------------------------------------------------------------------------------------------------


def terminal_table(results: Results) -> str:
    """A plain-text table, at most 100 columns wide: every attack with intervals, the paper's rows beside ours."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    mark = "SIMULATED " if data["source"] == "simulated" else ""
    lines = textwrap.wrap(
        f"{mark}{_title(data)}: {data['classes']} classes; target and {shadows['count']} shadow models trained on"
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
        for rate in _rates(results)
    ]
    names = list(results["attacks"])
    for start in range(0, len(names), 3):
        part = names[start : start + 3]
        lines += ["", " " * 20 + "".join(f"{_clip(short(name), 23):<25}" for name in part).rstrip()]
        for _, title, measure in rows:
            cells = [_plain(measure(results["attacks"][name]), notes) for name in part]
            lines.append((f"{title:<20}" + "".join(f"{cell:<25}" for cell in cells)).rstrip())
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
        lines.append(f"{_clip(name, 51):<51}" + "".join(f"{'-' if v is None else f'{v:.3f}':>{w}}" for v, w in cells))
    lines += ["(train, test: accuracy of the target; attack: accuracy of the attack)"]
    lines += ["(median: precision computed class by class, as the paper does for this data set)"] if medians else []
    if not paper:
        lines.append("The paper has no row for this data set.")
    return "\n".join(lines)


def _plain(measure: Any, notes: list[str]) -> str:
    number = value(measure)
    if number is None:
        reason = _reason(measure)
        if reason not in notes:
            notes.append(reason)
        return f"- ({notes.index(reason) + 1})"
    if not _has_interval(measure):
        return f"{number:.3f}"
    return f"{number:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


# --- the page --------------------------------------------------------------------------------------------------------


def _page(results: Results, drawings: Sequence[figures.Rendered], scores_digest: str) -> str:
    data = results["dataset"]
    simulated = data["source"] == "simulated"
    mark = '<span class="mark">SIMULATED</span> ' if simulated else ""
    title = f"{'SIMULATED: ' if simulated else ''}Membership inference on {_title(data)}"

    def section(heading: str, *content: str) -> str:
        return f"<section>\n<h2>{mark}{_e(heading)}</h2>\n" + "\n".join(content) + "\n</section>\n"

    body = [
        f"<header>\n<h1>{mark}Membership inference on {_e(_title(data))}</h1>\n"
        f'<p class="verdict">{_e(words.verdict(results))}</p>\n</header>\n',
        section("The result", _tiles(results), _attacks_table(results, mark), *_paragraphs(words.reading(results))),
        section("How it was done", "<ol>" + "".join(f"<li>{_e(step)}</li>" for step in words.steps(results)) + "</ol>"),
        section("Beside the paper", _paper_table(results, mark), *_paragraphs(words.comparison(results))),
        section(
            "Figures",
            "<p>The same figures lie beside this page as PNG files, in the folder <code>figures</code>.</p>",
            '<div class="figures">'
            + "".join(_figure(d, mark) for d in sorted(drawings, key=lambda d: d.svg is None))
            + "</div>",
        ),
        section("Class by class", _classes_table(results, mark)),
        section("To repeat this run", _repeat_table(results, mark, scores_digest)),
    ]
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_e(title)}</title>",
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n'
        + "\n".join(head)
        + f"\n</head>\n<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def _tiles(results: Results) -> str:
    main = words.main_attack(results)
    block = results["attacks"][main]
    chosen = [(*MEASURES[key], block.get(key), key == "auc") for key in ("accuracy", "precision", "recall", "auc")]
    if "0.01" in block.get("tpr_at_fpr", {}):
        hint = "of the members found when 1 non-member in 100 may be accused falsely; guessing: 1%"
        chosen.append(("Found at 1% false alarms", hint, block["tpr_at_fpr"]["0.01"], False))
    tiles = "".join(
        f"<div><dt>{_e(name)}</dt><dd>{_cell(measure, fraction)}<small>{_e(hint)}</small></dd></div>"
        for name, hint, measure, fraction in chosen
    )
    intro = words.PAPER if main == "shokri" else f"The attack that this page is about: {short(main)}."
    return f'<p>{_e(intro)}</p>\n<dl class="tiles">{tiles}</dl>'


def _attacks_table(results: Results, mark: str) -> str:
    attacks = results["attacks"]
    head = ["Measure", *map(short, attacks)]
    rows = [
        [_named(name, hint), *(_cell(block.get(key), key == "auc") for block in attacks.values())]
        for key, (name, hint) in MEASURES.items()
    ]
    for rate in _rates(results):
        name = f"Members found at {words.percent(float(rate))} false alarms"
        hint = f"true-positive rate at false-positive rate {rate}; guessing: {words.percent(float(rate))}"
        cells = (_cell(block.get("tpr_at_fpr", {}).get(rate)) for block in attacks.values())
        rows.append([_named(name, hint), *cells])
    return _table(f"{mark}All attacks of this run, on the same records. Small print: 95% intervals.", head, rows)


def _paper_table(results: Results, mark: str) -> str:
    paper = _paper(results)
    if not paper:
        return ""
    columns = [_ours(results), *paper]
    head = ["Measure", "This run, SIMULATED" if mark else "This run"]
    head += [f"Paper: {row['setting']} ({row['source']})" for row in paper]
    rows = [
        [_named(*text), *(_cell(c.get(key), absent="not reported" if k else None) for k, c in enumerate(columns))]
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
    return _table(f"{mark}The numbers of Shokri et al. (2017) for this data set, beside this run's.", head, rows)


def _figure(drawing: figures.Rendered, mark: str) -> str:
    caption = f"<figcaption>{_e(drawing.caption)}</figcaption>"
    image = ""
    if drawing.svg is not None:
        code = base64.b64encode(drawing.svg).decode()
        image = f'<img src="data:image/svg+xml;base64,{code}" alt="{_e(drawing.alt)}">\n'
    css = "drawn" if drawing.svg else "absent"
    opening = f'<figure id="{_e(drawing.name)}" class="{css}">'
    return f"{opening}\n<h3>{mark}{_e(drawing.title)}</h3>\n{image}{caption}\n</figure>\n"


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
                _cell(
                    row["precision"], absent="no record was called a member" if row["members"] else "no record judged"
                ),
                _cell(row["recall"], absent="no member judged"),
            ]
        rows.append([f"{c}", trained, f"{row['members']:,} / {row['non_members']:,}", *found])
    head = ["Class", "Training records", "Judged: members / others", "Precision", "Recall"]
    caption = f"{mark}{_e(short(main))}, class by class; classes are numbered from 0."
    if without:
        caption += " Not attacked: the shadow models had no record of the class to learn from."
    table = _table(caption, head, rows, css="numbers")
    if len(rows) <= COLLAPSE:
        return table
    return f"<details><summary>{mark}Show all {len(rows)} classes</summary>{table}</details>"


def _repeat_table(results: Results, mark: str, scores_digest: str) -> str:
    data = results["dataset"]
    groups: dict[str, Mapping[str, Any]] = {
        "Run": {
            "command": results["command"] or "called from Python",
            "date": results.get("date"),
            "machine": results.get("machine"),
            "devices": ", ".join(results["devices"]),
            "scores.npz": f"SHA-256 {scores_digest}",
        },
        "Data": {k: data[k] for k in ("name", "source", "records", "features", "classes", "digest") if k in data}
        | {f"note {k}": note for k, note in enumerate(data.get("notes", []), 1)},
        "Flags": results["config"],
        "Target": results["target"],
        "Shadow models": {k: v for k, v in results["shadows"].items() if k != "curves"},
        "Versions": results["versions"],
        "Seconds (shadows: their training, compilation included, and nothing else)": results["seconds"],
    }
    rows: list[list[str] | str] = []
    for name, group in groups.items():
        rows.append(name)
        rows += [[_e(key).replace("_", "_<wbr>"), _code(_word(item))] for key, item in group.items()]
    caption = f"{mark}Everything needed to repeat this run. Same command, data, versions and devices: same scores.npz."
    return _table(caption, ["What", "Value"], rows, css="repeat")


# --- small pieces ----------------------------------------------------------------------------------------------------


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str] | str], css: str = "measures") -> str:
    """A table; the first cell of a row is its header, a plain string a group's. Cells are ready HTML, ``head`` is text.

    A cell knows its column's name, because a phone shows the cells of a wide table below each other.
    """
    lines = [f'<div class="scroll"><table class="{css}">\n<caption>{caption}</caption>\n<thead><tr>']
    lines += [f'<th scope="col">{_e(name)}</th>' for name in head]
    lines.append("</tr></thead>\n<tbody>")
    for row in rows:
        if isinstance(row, str):
            lines.append(f'<tr class="group"><th scope="rowgroup" colspan="{len(head)}">{_e(row)}</th></tr>')
        else:
            cells = "".join(
                f'<td data-column="{_e(name)}">{cell}</td>' for name, cell in zip(head[1:], row[1:], strict=True)
            )
            lines.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _cell(measure: Any, fraction: bool = False, absent: str | None = None) -> str:
    """A measure with its interval, or in words why there is none; ready HTML."""
    number = value(measure)
    if number is None:
        return f'<span class="absent">{_e(_reason(measure, absent))}</span>'
    write = "{:.3f}".format if fraction else "{:.1%}".format
    interval = ""
    if _has_interval(measure):
        interval = f" <small>{write(measure['low'])} to {write(measure['high'])}</small>"
    return f"<b>{write(number)}</b>{interval}"


def _code(text: str) -> str:
    """Code that a narrow page breaks between words, not after the dashes of a flag."""
    return f"<code>{' '.join(f'<span>{_e(word)}</span>' for word in text.split(' '))}</code>"


def _named(name: str, hint: str) -> str:
    return f"{_e(name)}<small>{_e(hint)}</small>"


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [f"<p>{_e(text)}</p>" for text in texts]


def _reason(measure: Any, absent: str | None = None) -> str:
    given = measure.get("reason") if isinstance(measure, Mapping) else None
    return given or absent or "not measured"


def _has_interval(measure: Any) -> bool:
    return isinstance(measure, Mapping) and all(value(measure.get(end)) is not None for end in ("low", "high"))


def _rates(results: Results) -> list[str]:
    """The false-positive rates of any attack, largest first."""
    rates = {rate for block in results["attacks"].values() for rate in block.get("tpr_at_fpr", {})}
    return sorted(rates, key=float, reverse=True)


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


def _title(data: Mapping[str, Any]) -> str:
    return data.get("title") or data["name"]


def _word(item: Any) -> str:
    if item is None:
        return "not set"
    if isinstance(item, float):
        return f"{item:.6g}"
    return item if isinstance(item, str) else json.dumps(item)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _e(text: Any) -> str:
    return html.escape(str(text))
