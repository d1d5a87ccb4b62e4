"""The audit of a model that somebody else has trained: behind a URL, or known by saved predictions alone.

Shadows never see a record under question: they are trained on other data, on synthesized records, or on a half of the
non-members that is set aside before anything else. So every shadow is OUT of every record that is asked about, and of
the attacks that compare a record with itself in other models the offline ones can run.
"""

import dataclasses
import shlex
from typing import Any

import numpy as np

from mia_jax.audits import common, flags
from mia_jax.audits import config as configs
from mia_jax.audits.common import Notify
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import blocks
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.plans import predictions, service
from mia_jax.progress import Progress, silent
from mia_jax.reports import report
from mia_jax.storage import artifacts
from mia_jax.targets.remote import urls
from mia_jax.types import InputError


def run(
    config: DeployedConfig,
    *,
    command: str = "",
    notify: Notify = lambda line: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Audit the model; write results.json, scores.npz and report.html into the workdir.

    Args:
        config: with ``target`` and ``data``, or with ``predictions``.
        command, notify, progress: as of ``audits.run``.

    Returns:
        What results.json holds; without ``member`` in the data, attacks have scores and no measures.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used.
        TargetError, BudgetSpent: the service; every answer that arrived is kept and every question counted, and the
            same command goes on.
    """
    if (config.target is None) == (config.predictions is None):
        raise InputError("give --target=URL with --data=mine.npz, or --predictions=preds.npz")
    if config.predictions is not None:
        changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
        flags.refuse_idle(flags.RULES[DeployedConfig], changed, config)
    config = configs.resolve(config)
    if config.target is not None and config.data is None:
        raise InputError("--target needs --data: an .npz with x, y and member, the records to ask about")
    url = config.target
    if url is not None:  # a query string may hold a key
        config = dataclasses.replace(config, target=urls.identity(url))
        command = shlex.join(part.replace(url, config.target) for part in shlex.split(command))
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        settings = configs.identity(config) | dict(num_shadows=config.num_shadows, workdir=str(workdir.path))
        if url is None:
            summary, found = predictions.audit(config, notify, progress)
            used = {f.metadata["key"] or f.name for f in dataclasses.fields(config) if f.name in flags.WITH_PREDICTIONS}
            settings = {name: value for name, value in settings.items() if name in used}
        else:
            summary, found = service.audit(config, url, workdir, notify, progress)
        summary = {
            **common.header(command, settings, plan="deployed"),
            **summary,
            "attacks": blocks.attacks(found, summary["dataset"]["classes"], config),
            "classes_without_rows": [],
            "paper": {"rows": []},
        }
        _write(workdir, summary, found)
    return summary


def _write(workdir: artifacts.Workdir, summary: dict[str, Any], found: Found) -> None:
    columns = {common.column(name): score.astype(np.float32) for name, score in found.scores.items()}
    known = {} if found.member is None else {"member": found.member}
    shared = {"label": found.label, "index": found.index, "confidence": found.confidence, "entropy": found.entropy}
    workdir.claim()  # of saved predictions there is no artifact, and a folder with scores alone would be somebody's
    artifacts.write_npz(workdir.path / "scores.npz", {**known, **shared, **columns})
    artifacts.write_json(workdir.path / "results.json", summary)
    report.write_report(workdir.path)
