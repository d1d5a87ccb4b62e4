"""What every audit has, whichever its plan: its records, its models, the accountant's epsilon, its attacks' names."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, cast

from mia_jax import data
from mia_jax.attacks import ATTACKS
from mia_jax.audits.config import AuditConfig, BalancedConfig, CanaryConfig, Config
from mia_jax.audits.train_networks import networks
from mia_jax.audits.train_platforms import platform_models
from mia_jax.audits.types import Models, Notify, Run, TrainingJob
from mia_jax.data import duplicates, missing, neighbors
from mia_jax.statistics import epsilon
from mia_jax.targets import estimators
from mia_jax.training import dp_sgd
from mia_jax.types import InputError, Records, Schema


def load(
    config: Config | BalancedConfig | CanaryConfig, check: Callable[..., Any], notify: Notify
) -> tuple[Records, Schema]:
    """The records of a run; ``check`` (config, schema, number of records) may refuse before any are simulated.

    Raises:
        InputError: there are none, or they lack values (NaN) and what the run does needs all.
    """
    records, schema = read_records(config, notify, functools.partial(check, config))
    _refuse_missing(config, records)
    for note in (duplicates.note(duplicates.groups(records.x)), *neighbors.notes(*records)):
        schema = noted(schema, note, notify)
    return records, schema


def read_records(
    config: Config | BalancedConfig | CanaryConfig,
    notify: Notify = lambda line: None,
    check: Callable[[Schema, int], Any] = lambda schema, records: None,
) -> tuple[Records, Schema]:
    """The data set that a configuration names, as ``data.load`` gives it; missing numbers filled in where need be."""
    source = cast(Literal["auto", "official", "simulated"], config.data_source)  # one of the field's choices
    records, schema = data.load(
        config.dataset,
        data_dir=config.data_dir,
        source=source,
        label=config.label,
        kinds=config.kinds,
        notify=notify,
        check=check,
    )
    complete, described = estimators.filled(config.target_kind, records, schema)
    for note in described.notes[len(schema.notes) :]:
        notify(note)
    return complete, described


def noted(schema: Schema, note: str | None, notify: Notify) -> Schema:
    """The schema with one more note on its records, which the user is told; as it is without one."""
    if note is None:
        return schema
    notify(note)
    return schema._replace(notes=(*schema.notes, note))


def _refuse_missing(config: Config | BalancedConfig | CanaryConfig, records: Records) -> None:
    """Refuse records with missing values (NaN) where something of ours would compute with them."""
    if missing.lacking(records) and isinstance(config, Config) and config.shadow_data != "real":
        raise InputError(
            f"{config.dataset} has features that are missing (NaN), which `shadow_data={config.shadow_data}` cannot"
            " make: fill them in"
        )


def train_models(run: Run, job: TrainingJob, *, target: bool = False) -> Models:
    """The models of a job, trained or found: our own networks or another library's models, by ``target_kind``.

    Args:
        run: its shard makes some of them.
        job: K models.
        target: it is the target, which is nobody's share: the first shard has it to itself, others if they ask it.
    """
    if run.shard is not None and target and run.shard.index == 0:
        run = run._replace(shard=None)
    if job.config.target_kind != "nn":
        return platform_models(run, job)
    if job.config.jobs > 1:
        raise InputError("`jobs` is for other libraries' trainers; our networks train several at once: leave it out")
    return networks(run, job, target=target)


def accountant_epsilon(config: AuditConfig, m: int) -> dict[str, Any] | None:
    """The accountant's epsilon of a target that trains on m records by DP-SGD; None where it does not.

    Raises:
        InputError: dp-accounting is not installed; before any work.
    """
    if config.dp_noise_multiplier is None:
        return None
    if not config.dp_delta > 0:
        raise InputError(
            "`dp_delta` must be above 0 with `dp_noise_multiplier`: Gaussian noise has no epsilon at delta 0"
        )
    mechanism = dp_sgd.mechanism(m, min(config.batch_size, m), config.num_epochs, config.dp_noise_multiplier)
    try:
        value = epsilon.accountant(
            mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.steps, config.dp_delta
        )
    except (ValueError, ArithmeticError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"no epsilon can be computed for `dp_noise_multiplier={config.dp_noise_multiplier:g}` and"
            f" `dp_delta={config.dp_delta:g}`: use a noise of 0.1 or more, or 0, which clips only and promises nothing"
        ) from error
    return {"value": value if math.isfinite(value) else None, "delta": config.dp_delta, **mechanism._asdict()}


def title(attack: str) -> str:
    """An attack in words, with its reference."""
    return f"{ATTACKS[attack].title} ({ATTACKS[attack].reference})"


def short(attack: str) -> str:
    """An attack's name for legends and narrow columns."""
    return ATTACKS[attack].short or attack.replace("_", " ")


def column(attack: str) -> str:
    """Where an attack's scores are in scores.npz."""
    return "score" if attack == "shokri" else f"score_{attack}"
