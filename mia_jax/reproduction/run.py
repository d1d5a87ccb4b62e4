"""Run an experiment: its runs, which resume and are shared, then its data, table and figure."""

import dataclasses
import datetime
import io
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax import audits
from mia_jax.audits import config as configs
from mia_jax.audits.config import Config
from mia_jax.progress import Progress, silent
from mia_jax.reports import results
from mia_jax.reproduction import drawing
from mia_jax.reproduction.base import Experiment, Finding, Row, Run, Runs, Scale, is_simulated, text
from mia_jax.statistics.metrics import Measure
from mia_jax.storage import artifacts, files
from mia_jax.targets.black_box import TargetError
from mia_jax.types import InputError

SCHEMA = 1
VERDICT = {True: "Found", False: "Not found", None: "Cannot be told"}
CAUTION = (
    "Intervals are at 95 % and cover what another draw of as many records would change; they do not cover another"
    " target or another seed."
)


class Outcome(NamedTuple):
    """What an experiment came to."""

    folder: pathlib.Path  # data.json, figure.png, table.md
    finding: Finding
    table: str  # Markdown


def execute(
    experiment: Experiment,
    scale: Scale,
    root: str | os.PathLike,
    *,
    data_dir: str | None = None,
    command: str = "",
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
    known: MutableMapping[Config, Run] | None = None,
) -> Outcome:
    """Make the experiment's runs in folders of ``root`` and write ``root/<experiment>/``.

    A run whose data set cannot be had or is too small is skipped, and said to be.

    Args:
        experiment: one of EXPERIMENTS.
        scale: quick, cpu or paper.
        root: equal Configs below it are one run.
        data_dir: folder of official data files.
        command: how to repeat it.
        notify, progress: told how it goes.
        known: runs that this process has made already; added to.

    Raises:
        InputError: none of the runs could be made.
        DiskError: a file cannot be read or written.
    """
    root = pathlib.Path(root)
    known = {} if known is None else known
    began = time.perf_counter()
    configs_by_label = experiment.runs(scale)
    runs: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    for k, (label, config) in enumerate(configs_by_label.items(), 1):
        try:
            if config not in known:
                notify(f"{experiment.name}, run {k} of {len(configs_by_label)}: {label}")
                known[config] = make(config, root, data_dir=data_dir, command=command, notify=notify, progress=progress)
            runs[label] = known[config]
        except (InputError, TargetError) as error:
            skipped[label] = str(error)
            notify(f"skipped: {label}: {error}")
    if not runs:
        label, reason = next(iter(skipped.items()))
        raise InputError(f"none of the runs of {experiment.name} could be made; {label}: {reason}")
    with artifacts.disk_errors(root):
        return write(experiment, scale, root, runs, skipped, command=command, seconds=time.perf_counter() - began)


def make(config: Config, root: pathlib.Path, *, data_dir: str | None = None, **options: Any) -> Run:
    """One run in its folder below ``root``; models that other runs there have trained are not trained again."""
    config = configs.resolve(config)
    workdir = root / configs.workdir(config).name
    with artifacts.disk_errors(root):
        share_models(config, workdir)
    summary = audits.run(dataclasses.replace(config, data_dir=data_dir, workdir=str(workdir)), **options)
    with np.load(workdir / "scores.npz") as f:
        return Run(summary, {name: f[name] for name in f.files})


def share_models(config: Config, workdir: pathlib.Path) -> None:
    """Link the networks that runs on the same data have trained into ``workdir``.

    Their names tell what made them, and runs that differ in defenses at the answer or in the shadow data have some in
    common: an artifact that is not wanted is never asked for.
    """
    stem = workdir.name.rsplit("-", 1)[0]
    others = [p for p in workdir.parent.glob(f"{stem}-*/models/*.npz") if p.parent.parent != workdir]
    if not others:
        return
    folder = workdir / "models"
    folder.mkdir(parents=True, exist_ok=True)
    if not (workdir / "config.json").exists():
        artifacts.write_json(workdir / "config.json", configs.workdir_identity(config))
    for path in others:
        if (folder / path.name).exists():
            continue
        try:
            os.link(path, folder / path.name)
        except OSError:  # a file system without links
            with files.replacing(folder / path.name) as partial:
                shutil.copyfile(path, partial)


def write(
    experiment: Experiment,
    scale: Scale,
    root: pathlib.Path,
    runs: Runs,
    skipped: Mapping[str, str],
    *,
    command: str = "",
    seconds: float = 0.0,
) -> Outcome:
    """data.json, table.md and figure.png of finished runs."""
    folder = root / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    rows, finding = experiment.table(runs), experiment.finding(runs)
    simulated = sorted({run.results["dataset"]["title"] for run in runs.values() if is_simulated(run)})
    artifacts.write_json(
        folder / "data.json",
        {
            "schema": SCHEMA,
            "experiment": experiment.name,
            "title": experiment.title,
            "section": experiment.section,
            "claim": experiment.claim,
            "scale": scale,
            "command": command,
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "machine": results.machine(),
            "versions": results.versions(),
            "seconds": round(seconds, 1),  # of this process: runs that were there already cost a second
            "seconds_of_runs": round(sum(sum(run.results["seconds"].values()) for run in runs.values()), 1),
            "finding": finding._asdict(),
            "simulated": simulated,
            "skipped": dict(skipped),
            "table": [{column: _plain(cell) for column, cell in row.items()} for row in rows],
            "runs": {label: run.results for label, run in runs.items()},
        },
    )
    markdown = page(experiment, scale, rows, finding, simulated, skipped, command)
    with files.replacing(folder / "table.md") as partial:
        partial.write_text(markdown, encoding="utf-8")
    with files.replacing(folder / "figure.png") as partial:
        partial.write_bytes(picture(experiment, runs, skipped))
    return Outcome(folder, finding, markdown)


def sentence(experiment: Experiment, finding: Finding) -> str:
    """Whether the paper's finding was found."""
    return f"{VERDICT[finding.found]}: {experiment.claim} Ours: {finding.sentence}."


def page(
    experiment: Experiment,
    scale: Scale,
    rows: Sequence[Row],
    finding: Finding,
    simulated: Sequence[str],
    skipped: Mapping[str, str],
    command: str,
) -> str:
    """The table as Markdown, with what a reader must know beside it."""
    heads = [head for head in rows[0] if any(row[head] is not None for row in rows)]
    lines = [f"# {experiment.title}", "", f"{experiment.section}; scale: {scale}.", ""]
    lines += [f"    {command}", ""] if command else []
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(text(row[head]) for head in heads) + " |" for row in rows]
    lines += ["", f"**{sentence(experiment, finding)}**", "", CAUTION]
    if simulated:
        lines += [
            "",
            f"SIMULATED data, made to resemble the real ones: {', '.join(simulated)}. What was found there shows that"
            " the method works, not what the real data would leak.",
        ]
    if skipped:
        lines += ["", *(f"- Skipped: {label}: {reason}." for label, reason in skipped.items())]
    return "\n".join(lines) + "\n"


def picture(experiment: Experiment, runs: Runs, skipped: Mapping[str, str]) -> bytes:
    """The figure as PNG; it says itself what was skipped."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's matplotlibrc must not change the figure
        matplotlib.rcParams.update(drawing.DRAWN)  # ty: ignore[no-matching-overload]  (its keys are a list of literals)
        figure = experiment.figure(runs)
        if skipped:
            drawing.note(figure, f"Skipped: {', '.join(skipped)} (table.md says why).")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _plain(cell: Any) -> Any:
    return cell.json() if isinstance(cell, Measure) else cell
