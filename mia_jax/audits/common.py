"""What every audit has, whichever its plan: its records, the header of its results, its seconds, its attacks' names."""

import contextlib
import datetime
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks import ATTACKS
from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, Training
from mia_jax.audits.stages import Models
from mia_jax.audits.train_networks import networks
from mia_jax.audits.train_platforms import platform_models
from mia_jax.data import duplicates
from mia_jax.reports import results
from mia_jax.statistics import epsilon
from mia_jax.targets import estimators
from mia_jax.training import dp_sgd
from mia_jax.types import InputError, Records, Schema

Notify = Callable[[str], None]


def load(
    config: Config | BalancedConfig | CanaryConfig, check: Callable[..., Any], notify: Notify
) -> tuple[Records, Schema]:
    """The records of a run; ``check`` (config, schema, number of records) may refuse before any are simulated.

    Raises:
        InputError: there are none, or they lack values (NaN) and what the run does needs all.
    """
    records, schema = data.load(
        config.dataset,
        data_dir=config.data_dir,
        source=config.data_source,
        notify=notify,
        check=functools.partial(check, config),
    )
    _refuse_missing(config, records, schema)
    return records, noted(schema, duplicates.note(duplicates.groups(records.x)), notify)


def noted(schema: Schema, note: str | None, notify: Notify) -> Schema:
    """The schema with one more note on its records, which the user is told; as it is without one."""
    if note is None:
        return schema
    notify(note)
    return schema._replace(notes=(*schema.notes, note))


def lacks_values(records: Records) -> bool:
    """Whether features are missing (NaN), as models such as histogram boosting take them."""
    return records.x.dtype.kind == "f" and bool(np.isnan(records.x).any())


def _refuse_missing(config: Config | BalancedConfig | CanaryConfig, records: Records, schema: Schema) -> None:
    """Refuse records with missing values (NaN) where something of ours would compute with them."""
    estimators.refuse_nan(config.target_kind, records.x, schema)
    if lacks_values(records) and getattr(config, "shadow_data", "real") != "real":
        raise InputError(
            f"{config.dataset} has features that are missing (NaN), which --shadow_data={config.shadow_data} cannot"
            " make: fill them in"
        )


def once(notify: Notify) -> Notify:
    """Tells each line once: target and shadows are trained alike, and what is said of both need not be said twice."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            notify(line)

    return tell


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block took."""
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def header(command: str, config: dict[str, Any], *, plan: str | None = None) -> dict[str, Any]:
    """What every results.json begins with: how the run was made, on what, and when."""
    return {
        "schema": results.SCHEMA,
        **({"plan": plan} if plan else {}),
        "command": results.printable(command),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": results.machine(),
        "config": results.printable(config),
        "versions": results.versions(),
        "devices": [f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.local_devices()],
    }


def build_models(config: Training) -> Callable[..., Models]:
    """Who trains, by ``--target_kind``: ``networks`` or ``platform_models``, which are called alike."""
    return networks if config.target_kind == "nn" else platform_models


def promised_epsilon(config: Training, m: int) -> dict[str, Any] | None:
    """What DP-SGD promises of the target, or None without it.

    Raises:
        InputError: dp-accounting is not installed; before any work.
    """
    if config.dp_noise_multiplier is None:
        return None
    if not config.dp_delta > 0:
        raise InputError(
            "--dp_delta must be above 0 with --dp_noise_multiplier: Gaussian noise has no epsilon at delta 0"
        )
    told = dp_sgd.mechanism(m, min(config.batch_size, m), config.num_epochs, config.dp_noise_multiplier)
    try:
        value = epsilon.accountant(told.noise_multiplier, told.sampling_rate, told.steps, config.dp_delta)
    except (ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"no epsilon can be computed for --dp_noise_multiplier={config.dp_noise_multiplier:g} and"
            f" --dp_delta={config.dp_delta:g}: use a noise of 0.1 or more, or 0, which clips only and promises nothing"
        ) from error
    return {"value": value if math.isfinite(value) else None, "delta": config.dp_delta, **told._asdict()}


def title(attack: str) -> str:
    """An attack in words, with its reference."""
    return f"{ATTACKS[attack].title} ({ATTACKS[attack].reference})"


def short(attack: str) -> str:
    """An attack's name for legends and narrow columns."""
    return ATTACKS[attack].short or attack.replace("_", " ")


def column(attack: str) -> str:
    """Where an attack's scores are in scores.npz."""
    return "score" if attack == "shokri" else f"score_{attack}"
