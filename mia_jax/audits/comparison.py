"""Several models audited side by side: variants of one, asked about the same records (``predictions=a.npz,b.npz``).

Each file is an ordinary audit, in a folder of its own of the workdir. What is added is how they differ: each attack's
AUC and TPR less those on the first model, with intervals of samples that are the same for both (the paired bootstrap).
"""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.audits import config as configs
from mia_jax.audits import pipeline
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import saved
from mia_jax.audits.release import NOTHING, Release
from mia_jax.audits.types import Notify
from mia_jax.data import npz
from mia_jax.progress import Progress, silent
from mia_jax.reports import comparison as page
from mia_jax.reports import results
from mia_jax.reports.columns import column
from mia_jax.reports.results import Results
from mia_jax.statistics import metrics, resampling
from mia_jax.storage import artifacts, places
from mia_jax.storage.files import json_text
from mia_jax.types import InputError

RATES = (0.01, 0.001)  # false-positive rates at which models are compared
RESAMPLES = 1000
SAME = "give answers about the same records, in the same order"
WRITE = "np.savez(path, labels=y, target=p, shadows=q, shadow_member=s, member=m)"


class Compared(NamedTuple):
    """Audits side by side."""

    folder: places.Place  # comparison.json, comparison.html and a folder for each model
    comparison: dict[str, Any]  # what comparison.json holds
    audits: dict[str, Results]  # of each model, what its results.json holds


def files(predictions: str | None) -> list[str]:
    """The files of ``predictions=a.npz,b.npz``, or of a folder of several that is none of a plan's models.

    A file that has a comma in its name is one.
    """
    if predictions is None:
        return []
    place = pathlib.Path(predictions).expanduser()
    if place.is_dir() and not (place / "plan.npz").exists():
        inside = [str(path) for path in sorted(place.glob("*.npz")) if {"target", "signal"} & saved.names(path)]
        return inside if len(inside) > 1 else [predictions]
    if "," not in predictions or place.exists():
        return [predictions]
    return [part.strip() for part in predictions.split(",") if part.strip()]


def compare(
    config: DeployedConfig,
    *,
    command: str = "",
    notify: Notify = lambda line: None,
    progress: Progress = silent,
    release: Release = NOTHING,
) -> Compared:
    """Audit each file of ``config.predictions``, and write how they differ from the first.

    Args:
        config: ``predictions`` has paths, separated by commas.
        command: how to repeat it.
        notify: told a line at each step.
        progress: shows how far the long steps are.
        release: of each model, as of ``pipeline.run``.

    Raises:
        InputError: a file cannot be used, it is not known who is a member, or files are not about the same records;
            before any work.
    """
    paths = files(config.predictions)
    names = names_of(paths)
    _refuse_others(paths)
    folder = _folder(config, paths[0])
    made = {}
    for name, path in zip(names, paths, strict=True):
        notify(f"{name}: {path}")
        one = dataclasses.replace(config, predictions=path, workdir=str(folder / name))
        made[name] = pipeline.run(one, command=command, notify=notify, progress=progress, release=release)
    scores = {name: results.read(folder / name).scores for name in names}
    differences = {name: _differences(made, scores, (names[0], name), config.seed) for name in names[1:]}
    comparison: dict[str, Any] = {
        "schema": 1,
        "command": results.printable(command),
        "date": made[names[0]]["date"],
        "first": names[0],
        "models": {name: _model(made[name], path) for name, path in zip(names, paths, strict=True)},
        "differences": differences,
    }
    with places.writing(folder, "comparison.json") as partial:
        partial.write_text(json_text(comparison), encoding="utf-8")
    page.write(folder, comparison, made)
    return Compared(folder, comparison, made)


def names_of(paths: Sequence[str]) -> list[str]:
    """What the models are called: by their files, with the folder where two have the same name.

    Raises:
        InputError: there are not two files, or one is named twice.
    """
    if len({pathlib.Path(path).resolve() for path in paths}) < len(paths) or len(paths) < 2:
        raise InputError("`predictions` with commas names two files or more, each once")
    stems = [pathlib.Path(path).stem for path in paths]
    often = collections.Counter(stems)
    names = [
        f"{pathlib.Path(path).resolve().parent.name}-{stem}" if often[stem] > 1 else stem
        for path, stem in zip(paths, stems, strict=True)
    ]
    return names if len({*names}) == len(names) else [f"{name}-{k}" for k, name in enumerate(names, 1)]


def _folder(config: DeployedConfig, first: str) -> places.Place:
    if config.workdir:
        return places.place(config.workdir)
    made_by = artifacts.digest(configs.workdir_identity(configs.resolve(config)))
    return pathlib.Path("runs") / f"{pathlib.Path(first).stem}-and-others-{made_by[:8]}"


# --- the same records ------------------------------------------------------------------------------------------------


def _refuse_others(paths: Sequence[str]) -> None:
    """Raises InputError where files are not about the same records, or do not say who is a member."""
    truths = [_truth(path) for path in paths]
    for path, truth in zip(paths, truths, strict=True):
        if "member" not in truth:
            raise InputError(f"{path} does not say who is a member, and models are compared by that: add member [n]")
        for name in (each for each in ("labels", "member") if each in truth and each in truths[0]):
            one, first = truth[name], truths[0][name]
            if one.shape != first.shape:
                raise InputError(f"{path}: {name} has shape {one.shape}, and {first.shape} in {paths[0]}: {SAME}")
            if (other := np.asarray(one != first)).any():
                raise InputError(
                    f"{path}: {name} differs from {paths[0]} at {int(other.sum()):,} of {len(one):,} records, first at"
                    f" record {int(np.argmax(other.reshape(len(one), -1).any(axis=1)))}: {SAME}"
                )


def _truth(path: str) -> dict[str, np.ndarray]:
    """The labels and members of a file, or of a folder, as far as they are there."""
    place = pathlib.Path(path).expanduser()
    if place.is_dir():
        there = [name for name in ("labels", "member") if (place / f"{name}.npy").is_file()]
        return {name: np.load(place / f"{name}.npy", allow_pickle=False) for name in there}
    return npz.read_own(place, ("labels", "member"), WRITE)


# --- differences -----------------------------------------------------------------------------------------------------


def _model(made: Results, path: str) -> dict[str, Any]:
    """A model, in short."""
    target = made["target"]
    known = ("train_accuracy", "test_accuracy", "train_signal", "test_signal")
    return {
        "predictions": results.printable(path),
        "workdir": made["config"]["workdir"],
        **{name: target[name] for name in known if name in target},
        "doubts": list(made.get("doubts", [])),
    }


def _differences(
    made: dict[str, Results], scores: dict[str, dict[str, np.ndarray]], models: tuple[str, str], seed: int
) -> dict[str, Any]:
    """How each attack does on the second model, less how it does on the first: of those that ran on both."""
    first, other = models
    member = scores[first]["member"].astype(bool)
    names = [name for name in made[first]["attacks"] if name in made[other]["attacks"]]
    return {
        name: _difference([scores[model][column(name)].astype(np.float64) for model in models], member, seed)
        for name in names
    }


def _difference(pair: list[np.ndarray], member: np.ndarray, seed: int) -> dict[str, Any]:
    """AUC and TPRs of the second scores [n] less those of the first, on the records that both score."""
    both = np.isfinite(pair[0]) & np.isfinite(pair[1])
    member, pair = member[both], [score[both] for score in pair]
    if member.all() or not member.any():
        reason = {"value": None, "reason": "no record has a score of both models"}
        return {"auc": reason, "tpr_at_fpr": {f"{rate:g}": reason for rate in RATES}}
    drawn = resampling.paired(pair, member, RATES, resamples=RESAMPLES, seed=seed)
    areas = [metrics.auc(score, member).value for score in pair]
    rates = {}
    for k, rate in enumerate(RATES):
        found = [metrics.tpr_at_fpr(score, member, rate) for score in pair]
        lacking = next((one.reason for one in found if one.value is None), None)
        rates[f"{rate:g}"] = (
            {"value": None, "reason": lacking}
            if lacking
            else _interval([one.value for one in found], [one.tpr[:, k] for one in drawn])
        )
    return {"auc": _interval(areas, [one.auc for one in drawn]), "tpr_at_fpr": rates}


def _interval(values: Sequence[float | None], drawn: Sequence[np.ndarray]) -> dict[str, float]:
    """The second of two values less the first, with the 95 % interval of their difference in samples [resamples]."""
    first, second = (float(value or 0.0) for value in values)
    low, high = np.quantile(drawn[1] - drawn[0], [metrics.TAIL, 1 - metrics.TAIL])
    return {"value": second - first, "low": float(low), "high": float(high)}
