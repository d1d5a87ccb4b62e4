"""The numbers of Shokri et al. (2017) for a data set, beside a run's own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table, measure_cell
from mia_jax.reports.measures import Results
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import MEASURES

PLATFORMS = {  # how a row of the paper begins: what that target was
    "Google": "a prediction service, closed since, which told nobody what kind of model it trained",
    "Amazon": "a logistic regression that a prediction service trained",
    "local": "a small network that the authors trained themselves",
    "CNN": "a convolutional network that the authors trained themselves, on more or other records than ours",
}
ROWS = {  # key of a row -> (name, what it means)
    "train_accuracy": ("Target, training records", "how often the target is right on records it was trained on"),
    "test_accuracy": ("Target, unseen records", "how often it is right on others"),
    "accuracy": ("Attack accuracy", MEASURES["accuracy"][1]),
    "precision": ("Attack precision", MEASURES["precision"][1]),
    "median_precision": ("Attack precision, median class", "computed class by class; the one in the middle"),
    "recall": ("Attack recall", MEASURES["recall"][1]),
}


def this_run(results: Results) -> dict[str, Any]:
    """This run, as a row of the paper."""
    block = results["attacks"][measures.main_attack(results)]
    per_class = [v for row in block.get("per_class", []) if (v := measures.value(row["precision"])) is not None]
    return {
        **{key: results["target"].get(key) for key in ("train_accuracy", "test_accuracy")},
        **{key: block.get(key) for key in ("accuracy", "precision", "recall")},
        "median_precision": float(np.median(per_class)) if per_class else None,
    }


def paper_rows(results: Results) -> list[Mapping[str, Any]]:
    """The paper's rows; a precision that is a median over classes is put where ours is one too."""
    rows = []
    for row in results.get("paper", {}).get("rows", []):
        source = row["source"].removesuffix(", median over classes")
        if source != row["source"]:
            row = {**row, "source": source, "median_precision": row["precision"], "precision": None}
        rows.append(row)
    return rows


def _blocks(report: Report) -> list[Block]:
    results = report.results
    paper = paper_rows(results)
    if not paper:
        return [Paragraphs(_comparison(results))]
    columns = [this_run(results), *paper]
    simulated = results["dataset"]["source"] == "simulated"
    head = ["Measure", "This run, SIMULATED" if simulated else "This run"]
    head += [f"Paper: {row['setting']} ({row['source']})" for row in paper]
    rows = [
        Row(
            Cell(*words),
            [measure_cell(c.get(key), absent="not reported" if k else None) for k, c in enumerate(columns)],
        )
        for key, words in ROWS.items()
        if any(measures.value(row.get(key)) is not None for row in paper)
    ]
    caption = "The numbers of Shokri et al. (2017) for this data set, beside this run's."
    return [Table(caption, head, rows), Paragraphs(_comparison(results))]


def _comparison(results: Results) -> list[str]:
    """What the paper's rows are, and why ours differ."""
    rows = results.get("paper", {}).get("rows", [])
    if not rows:
        return ["Shokri et al. (2017) report nothing for this data set, so there is no row to put beside this run's."]
    settings = []
    for row in rows:
        for start, what in PLATFORMS.items():
            if row["setting"].startswith(start) and (what := f"{row['setting']}, {what}") not in settings:
                settings.append(what)
    texts = [f"The paper attacked {'other targets' if len(rows) > 1 else 'another target'}: {'; '.join(settings)}."]
    if not settings:
        texts = ["The paper attacked another target."]
    texts.append(
        f"Ours is {_our_target(results)}. The model, its training and the records drawn differ, and so does how much"
        " the target overfits: expect the same direction, not the same numbers."
    )
    if results["dataset"]["source"] == "simulated":
        texts.append(
            "The records of this run are SIMULATED: where the numbers are alike, the method works alike, and no more is"
            " shown."
        )
    return texts


def _our_target(results: Results) -> str:
    """The run's own target in a few words."""
    target = results["target"]
    kind = {"nn": "a neural network"}.get(target["kind"], target["kind"])
    model = f" ({target['model']})" if target.get("model") else ""
    return f"{kind}{model} trained on {target['train_records']:,} records"


SECTION = Section("paper", "Beside the paper", lambda results, scores: measures.plan(results) == "shokri", _blocks)
