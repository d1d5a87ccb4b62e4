"""Audits of saved answers of every kind, by what the file holds: ``predictions=preds.npz``.

Probabilities of target and shadows are the plan in ``predictions.py``. A target alone, and one number per record, are
audited as the same things in this process are, of which nothing is asked: the answers are there.
"""

import dataclasses
from typing import Any

import numpy as np

from mia_jax.audits import groupings
from mia_jax.audits.config import Brought, DeployedConfig, InProcessConfig
from mia_jax.audits.deployed import numbers as of_numbers
from mia_jax.audits.deployed import records, saved
from mia_jax.audits.plans import numbers, predictions, without_shadows
from mia_jax.audits.types import AuditPlan
from mia_jax.storage import artifacts
from mia_jax.types import InputError


def plan(path: str) -> AuditPlan[Any, Any, Any, Any, Any]:
    """The plan of a file, or of a folder.

    Raises:
        InputError: it holds answers of two kinds.
    """
    return {"answers": predictions.PLAN, "target": TARGET, "numbers": NUMBERS}[saved.kind(path)]


def _of_target(config: DeployedConfig) -> InProcessConfig:
    """A target's answers, as a model in this process that has answered. Raises InputError."""
    config = predictions.resolve(config)
    lines: list[str] = []
    labels, target, _, _, member, _ = records.load_predictions(_path(config), lines.append, alone=True)
    digest = artifacts.array_digest(labels, target, *([] if member is None else [member]))
    return _in_process(
        config, Brought(target, _records(config, labels), labels, member, None, digest=digest, notes=tuple(lines))
    )


def _of_numbers(config: DeployedConfig) -> InProcessConfig:
    """One number per record, as of a model in this process. Raises InputError."""
    config = predictions.resolve(config)
    if config.defenses:
        raise InputError("`defenses` change probabilities, and a file with signal has none: leave them out")
    signal, shadows, trained, member = saved.load_numbers(_path(config))
    digest = artifacts.array_digest(signal, shadows, trained, *([] if member is None else [member]))
    x = _records(config, signal)
    given = Brought(signal, x, signal, member, None, None, shadows, trained, signal=of_numbers.SAVED, digest=digest)
    return _in_process(config, given)


def _path(config: DeployedConfig) -> str:
    assert config.predictions is not None
    return config.predictions


def _in_process(config: DeployedConfig, given: Brought) -> InProcessConfig:
    given = given._replace(group=groupings.of_file(config.group, _path(config), len(given.y)))
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(DeployedConfig)}
    return InProcessConfig(**fields, name=_path(config), brought=given)


def _records(config: DeployedConfig, each: np.ndarray) -> np.ndarray:
    """The records, where the file has them; else [n, 0], of which nothing is known."""
    x = records.beside(_path(config), len(each))
    return np.zeros((len(each), 0), np.float32) if x is None else x


TARGET = without_shadows.PLAN._replace(resolve=_of_target)
NUMBERS = numbers.PLAN._replace(resolve=_of_numbers)
