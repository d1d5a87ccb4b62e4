"""The plan of a balanced audit: who is asked about, who trains on what, and which models play the target."""

import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, named, wants_all
from mia_jax.audits import bounds, memory
from mia_jax.audits.config import BalancedConfig
from mia_jax.audits.stages import stage_key
from mia_jax.plans import splits
from mia_jax.rows import Rows, rows_of, through
from mia_jax.storage.stored import Scratch
from mia_jax.targets import defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.targets.platforms import platform
from mia_jax.types import InputError, Key, Records, Schema

BYTES = 7  # of the plan, for each model and record: its half as int32, thrice while it is made, and a bool


class BalancedSetting(NamedTuple):
    """Who is asked about, who trains on what."""

    root: Key  # of everything random
    pool: Records
    schema: Schema
    candidates: np.ndarray  # int32 [n], rows of the pool
    population: np.ndarray  # int32 [P], rows of the pool that train nobody
    plan: splits.Plan  # of the candidates: [K, n // 2]
    member: np.ndarray | Rows  # bool [K, n]
    targets: np.ndarray  # [T], models
    defenses: tuple[AnswerDefense, ...] = ()  # that the models put their answers through


def attack_names(config: BalancedConfig) -> tuple[str, ...]:
    """The attacks that ``attacks`` names.

    Raises:
        InputError: one is unknown.
    """
    names = named(config.attacks)
    every = (
        [name for name, entry in ATTACKS.items() if name != "majority" and not entry.by_name]
        if wants_all(config.attacks)
        else []
    )
    return tuple(dict.fromkeys([*every, *names]))


def check(config: BalancedConfig, schema: Schema, total: int) -> tuple[int, int]:
    """Check what can be checked before the work; returns the records asked about and those of the population.

    Raises:
        InputError: too few records, too many targets, a network that does not fit.
    """
    reserve = config.population if config.population is not None else min(total // 10, 5000)
    n = config.num_records or total - reserve
    if n + reserve > total:
        raise InputError(
            f"{n:,} records asked about and a population of {reserve:,} are more than {config.dataset} has ({total:,});"
            f" use `num_records={max(total - reserve, 0)}` or less"
        )
    if config.num_targets > config.num_models:
        raise InputError(
            f"`num_targets={config.num_targets}` of `num_models={config.num_models}`: give"
            f" `num_targets={config.num_models}` or fewer, or more models"
        )
    if config.target_kind == "nn":
        memory.check_networks(config, schema, n // 2)
    else:
        platform(config.target_kind, schema.num_classes)
    if "shokri" in attack_names(config):
        memory.check_attack_networks(config, schema.num_classes)
    return n, reserve


def set_up(config: BalancedConfig, pool: Records, schema: Schema, folder: pathlib.Path) -> BalancedSetting:
    """Decide who is asked about and who trains on what, which is kept in ``folder`` for the run where it is much.

    Raises:
        InputError: as ``check``.
    """
    total = len(pool.y)
    n, reserve = check(config, schema, total)
    root = jax.random.key(config.seed)
    population, rest = splits.reserve(stage_key(root, "population"), total, reserve)
    candidates = np.sort(rest[:n])
    targets, chosen = target_models(config.num_targets, config.num_models), defenses.parse(config.defenses)
    plan, member = _who_trains(stage_key(root, "balanced"), n, config.num_models, folder)
    return BalancedSetting(root, pool, schema, candidates, population, plan, member, targets, chosen)


def _who_trains(key: Key, n: int, num_models: int, folder: pathlib.Path) -> tuple[splits.Plan, np.ndarray | Rows]:
    """Who trains on what: the plan, and bool [K, n]; in files, where that is more than is held."""
    if BYTES * n * num_models <= bounds.HELD:
        plan = splits.balanced(key, n, num_models)
        return plan, splits.membership_matrix(plan, n)
    train, member = Scratch(folder, (num_models, n // 2), np.int32), Scratch(folder, (num_models, n), bool)
    for p, halves in enumerate(splits.balanced_pairs(key, n, num_models)):
        for k, half in zip((2 * p, 2 * p + 1), halves, strict=True):
            row = np.zeros(n, bool)
            row[half] = True
            train.write(k, half)
            member.write(k, row)
    rows: Any = train.rows()  # a Plan of Rows, which are read as arrays are
    return splits.Plan(rows, rows[splits.partners(np.arange(num_models))]), member.rows()


def target_models(count: int, num_models: int) -> np.ndarray:
    """The models that play the target, int [T]: one of each pair first."""
    doubled = np.arange(count) * 2
    return np.where(doubled < num_models, doubled % num_models, doubled % num_models + 1)


def rows_of_pool(setting: BalancedSetting) -> np.ndarray | Rows:
    """The training sets as rows of the pool, int32 [K, n // 2]."""
    train = rows_of(setting.plan.train)
    if isinstance(train, Rows):
        return through(train, lambda half: setting.candidates[half], setting.candidates.dtype)
    return setting.candidates[train]


def pairs(models: np.ndarray) -> np.ndarray:
    """Those of the ``models``, int [k], whose partners are among them, too."""
    return models[np.isin(splits.partners(models), models)]


def of_models(setting: BalancedSetting, which: np.ndarray) -> BalancedSetting:
    """The setting as if there were only the models ``which`` [K'], in pairs; as many are targets, if there are."""
    targets = target_models(min(len(setting.targets), len(which)), len(which))
    plan = splits.Plan(*(rows_of(rows)[which] for rows in setting.plan))
    return setting._replace(plan=plan, member=setting.member[which], targets=targets)
