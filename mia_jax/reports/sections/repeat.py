"""Everything needed to repeat a run."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports.blocks import Block, Cell, Report, Row, Table, text_of
from mia_jax.reports.sections.section import Section


def _blocks(report: Report) -> list[Block]:
    results = report.results
    data = results["dataset"]
    groups: dict[str, Mapping[str, Any]] = {
        "Run": {
            "command": results["command"] or "called from Python",
            "date": results.get("date"),
            "machine": results.get("machine"),
            "devices": ", ".join(results["devices"]),
            "scores.npz": f"SHA-256 {report.digest}",
        },
        "Data": {k: data[k] for k in ("name", "source", "records", "features", "classes", "digest") if k in data}
        | {f"note {k}": note for k, note in enumerate(data.get("notes", []), 1)},
        "Flags": results["config"],
        "Target": results["target"],
        "Shadow models": {k: v for k, v in results["shadows"].items() if k != "curves"},
        "Versions": results["versions"],
        "Seconds (shadows: their training, compilation included, and nothing else)": results["seconds"],
    }
    rows: list[Row | str] = []
    for name, group in groups.items():
        rows.append(name)
        rows += [Row(Cell(key, kind="name"), [Cell(text_of(item), kind="code")]) for key, item in group.items()]
    caption = "Everything needed to repeat this run. Same command, data, versions and devices: same scores.npz."
    return [Table(caption, ["What", "Value"], rows, css="repeat")]


SECTION = Section("repeat", "To repeat this run", lambda results, scores: True, _blocks)
