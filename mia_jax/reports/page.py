"""What every report is made of: a run's folder read and written, a self-contained HTML page, tables and figures on it.

Pages are read on desktops and phones, in light and dark; report.css does that. Every text is escaped here.
"""

import base64
import contextlib
import hashlib
import html
import io
import json
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.reports import figures
from mia_jax.reports.figures import Results, Scores, value
from mia_jax.reports.results import printable
from mia_jax.storage.artifacts import replacing
from mia_jax.types import InputError, MiaError

STYLE = pathlib.Path(__file__).with_name("report.css")
COLLAPSE = 20  # rows by class; a longer table is folded


class Finished(NamedTuple):
    """A run's folder."""

    results: Results
    scores: Scores
    digest: str  # of scores.npz, SHA-256


def read(workdir: pathlib.Path, script: str) -> Finished:
    """Read results.json and scores.npz, which ``script`` leaves.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema.
    """
    try:
        raw = (workdir / "scores.npz").read_bytes()
        results = printable(json.loads((workdir / "results.json").read_text(encoding="utf-8")))
        with np.load(io.BytesIO(raw), allow_pickle=False) as f:
            scores = {name: f[name] for name in f.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{workdir} holds no finished run ({error}); run {script} to its end first") from error
    if results.get("schema") != 1:
        raise InputError(f"{workdir / 'results.json'} has schema {results.get('schema')}, not 1; run the command again")
    return Finished(results, scores, hashlib.sha256(raw).hexdigest())


@contextlib.contextmanager
def believed(workdir: str | pathlib.Path) -> Iterator[None]:
    """Make a page of files that anybody may have changed: what is none of a run's values is an InputError."""
    try:
        yield
    except MiaError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        where = pathlib.Path(workdir) / "results.json"
        raise InputError(
            f"{where} or scores.npz is not as a run leaves it ({type(error).__name__}: {sanitize.line(str(error))});"
            " the same command as before writes it again"
        ) from error


def write(workdir: pathlib.Path, text: str, drawings: Sequence[figures.Rendered]) -> pathlib.Path:
    """Write report.html and figures/*.png, each whole or not at all; the path of the page."""
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
        partial.write_text(text, encoding="utf-8")
    return report


# --- the page --------------------------------------------------------------------------------------------------------


def marked(results: Results) -> str:
    """What begins every heading and caption of a run on simulated records; ready HTML, empty otherwise."""
    return '<span class="mark">SIMULATED</span> ' if results["dataset"]["source"] == "simulated" else ""


def document(results: Results, heading: str, verdict: str, sections: Sequence[str]) -> str:
    """The whole page, from ready sections."""
    mark = marked(results)
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{'SIMULATED: ' if mark else ''}{escape(heading)}</title>",
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
    ]
    header = f'<header>\n<h1>{mark}{escape(heading)}</h1>\n<p class="verdict">{escape(verdict)}</p>\n</header>\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n'
        + "\n".join(head)
        + f"\n</head>\n<body>\n<main>\n{header}{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def section(heading: str, mark: str, *content: str) -> str:
    """A part of the page under a heading; the content is ready HTML."""
    return f"<section>\n<h2>{mark}{escape(heading)}</h2>\n" + "\n".join(content) + "\n</section>\n"


def tiles(found: Iterable[tuple[str, str, Any, bool]]) -> str:
    """Big numbers side by side, from (name, hint, measure, whether it is a fraction and no percentage)."""
    each = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{cell(measure, fraction)}<small>{escape(hint)}</small></dd></div>"
        for name, hint, measure, fraction in found
    )
    return f'<dl class="tiles">{each}</dl>'


def gallery(drawings: Iterable[figures.Rendered], mark: str) -> str:
    """Figures side by side, those that could not be drawn last."""
    each = "".join(figure(d, mark) for d in sorted(drawings, key=lambda d: d.svg is None))
    return f'<div class="figures">{each}</div>'


def folded(summary: str, mark: str, content: str) -> str:
    """Content that a reader has to ask for."""
    return f"<details><summary>{mark}{escape(summary)}</summary>{content}</details>"


def figure(drawing: figures.Rendered, mark: str) -> str:
    """A figure with its title and its words, or the words alone."""
    caption = f"<figcaption>{escape(drawing.caption)}</figcaption>"
    image = ""
    if drawing.svg is not None:
        encoded = base64.b64encode(drawing.svg).decode()
        image = f'<img src="data:image/svg+xml;base64,{encoded}" alt="{escape(drawing.alt)}">\n'
    css = "drawn" if drawing.svg else "absent"
    opening = f'<figure id="{escape(drawing.name)}" class="{css}">'
    return f"{opening}\n<h3>{mark}{escape(drawing.title)}</h3>\n{image}{caption}\n</figure>\n"


def repeat_table(results: Results, mark: str, scores_digest: str) -> str:
    """Everything needed to repeat a run; ``scores_digest``: SHA-256 of its scores.npz, hexadecimal."""
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
        rows += [[escape(key).replace("_", "_<wbr>"), code(word(item))] for key, item in group.items()]
    caption = f"{mark}Everything needed to repeat this run. Same command, data, versions and devices: same scores.npz."
    return table(caption, ["What", "Value"], rows, css="repeat")


# --- small pieces ----------------------------------------------------------------------------------------------------


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str] | str], css: str = "measures") -> str:
    """A table; the first cell of a row is its header, a plain string a group's. Cells are ready HTML, ``head`` is text.

    A cell knows its column's name, because a phone shows the cells of a wide table below each other.
    """
    lines = [f'<div class="scroll"><table class="{css}">\n<caption>{caption}</caption>\n<thead><tr>']
    lines += [f'<th scope="col">{escape(name)}</th>' for name in head]
    lines.append("</tr></thead>\n<tbody>")
    for row in rows:
        if isinstance(row, str):
            lines.append(f'<tr class="group"><th scope="rowgroup" colspan="{len(head)}">{escape(row)}</th></tr>')
        else:
            cells = "".join(
                f'<td data-column="{escape(name)}">{each}</td>' for name, each in zip(head[1:], row[1:], strict=True)
            )
            lines.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def cell(measure: Any, fraction: bool = False, absent: str | None = None) -> str:
    """A measure with its interval, or in words why there is none; ready HTML."""
    number = value(measure)
    if number is None:
        return f'<span class="absent">{escape(reason(measure, absent))}</span>'
    write = "{:.3f}".format if fraction else "{:.1%}".format
    small = ""
    if not has_interval(measure) and isinstance(measure, Mapping) and measure.get("reason"):
        small = f" <small>{escape(measure['reason'].partition(':')[0])}</small>"
    elif has_interval(measure):
        small = f" <small>{' to '.join(map(write, ends(measure)))}</small>"
    return f"<b>{write(number)}</b>{small}"


def code(text: str) -> str:
    """Code that a narrow page breaks between words, not after the dashes of a flag."""
    return f"<code>{' '.join(f'<span>{escape(word)}</span>' for word in text.split(' '))}</code>"


def named(name: str, hint: str) -> str:
    """The header of a row, and in small print what it means; ready HTML."""
    return f"{escape(name)}<small>{escape(hint)}</small>"


def paragraphs(texts: Iterable[str]) -> list[str]:
    """Ready HTML."""
    return [f"<p>{escape(text)}</p>" for text in texts]


def reason(measure: Any, absent: str | None = None) -> str:
    """Why a measure has no number."""
    given = measure.get("reason") if isinstance(measure, Mapping) else None
    return given or absent or "not measured"


def has_interval(measure: Any) -> bool:
    return isinstance(measure, Mapping) and all(value(measure.get(end)) is not None for end in ("low", "high"))


def ends(measure: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of a measure that has one. Student's t over few targets may leave [0, 1], where no share can be."""
    return max(measure["low"], 0.0), min(measure["high"], 1.0)


def word(item: Any) -> str:
    """A value of results.json, as a reader wants it."""
    if item is None:
        return "not set"
    if isinstance(item, float):
        return f"{item:.6g}"
    if isinstance(item, Mapping):
        return ", ".join(f"{name} {word(value)}" for name, value in item.items() if value is not None) or "none"
    if isinstance(item, list):
        return ", ".join(map(word, item)) or "none"
    return (item or "none") if isinstance(item, str) else json.dumps(item)


def clip(text: str, width: int) -> str:
    """The text, with an ellipsis where it is too wide."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def escape(text: Any) -> str:
    return html.escape(sanitize.harmless(str(text)))
