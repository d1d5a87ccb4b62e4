"""What a run is to do, as far as that is known before anything is trained: what ``audits/cost.py`` times."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS
from mia_jax.audits import bounds, stages
from mia_jax.audits import config as configs
from mia_jax.audits.balanced import observations
from mia_jax.audits.balanced import scores as judging
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.bounds import Bound
from mia_jax.audits.config import BalancedConfig, Config
from mia_jax.audits.paper_attacks import attack_names, build_attacks
from mia_jax.audits.plans import balanced, shokri
from mia_jax.audits.plans.shokri import ShokriSetting
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import Observation, Observers, Run, TrainingJob
from mia_jax.targets import observation
from mia_jax.types import Attack, InputError


class Outline(NamedTuple):
    """What a run is to do."""

    job: TrainingJob  # of its models
    beside: Sequence[TrainingJob]  # models that are trained beside these, and like them: the target
    observations: Mapping[str, Observation]  # of the models of the job
    attacks: Mapping[str, Attack]  # those that compare a record with itself
    fits: Mapping[str, Sequence[int]]  # of each of them, shadows of each time that it is fitted, over all targets
    uncounted: Sequence[str]  # names of attacks that train networks, or ask much
    judged: int  # records
    population: int  # records that trained no model
    scores: int  # bytes of all scores
    memory: Bound


def outline(run: Run, setting: Any) -> Outline:
    """What a run is to do.

    Args:
        run: of the paper's plan or the balanced one.
        setting: of ``prepare`` of the same plan.

    Raises:
        InputError: what it takes is not known before.
    """
    if run.config.target_kind != "nn":
        raise InputError(
            f"`plan_only` times our own networks, not `target_kind={run.config.target_kind}`: leave it out"
        )
    return _balanced(run, setting) if isinstance(run.config, BalancedConfig) else _shokri(run, setting)


def _balanced(run: Run[BalancedConfig], setting: BalancedSetting) -> Outline:
    """All models, what all attacks ask them, and each target with the others as its shadows."""
    attacks, shadows, n = balanced.build_attacks(run, setting), len(setting.member) - 2, len(setting.candidates)
    limits = balanced.limits_of(run.config, setting)
    settings, key = configs.attack_settings(run.config), stage_key(run.root, "look")
    asking = observations.questions(key, attacks, settings, setting, limits)
    with_itself = {name: attacks[name] for name in asking.per_example if "trainer" not in attacks[name].needs}
    targets = len(setting.targets)
    fits = {name: judging.fits(attack, shadows, targets) for name, attack in with_itself.items()}
    others = [name for name in attacks if name not in with_itself]
    long = [name for name in others if ATTACKS[name].parts or attacks[name].needs & {"queries", "trainer", "features"}]
    bound = balanced.memory_bound(run, setting, attacks)
    assert bound is not None, "of our own networks it is known"
    return Outline(
        job=balanced.training_job(run, setting),
        beside=(),
        observations=asking.wanted,
        attacks=with_itself,
        fits=fits,
        uncounted=long,
        judged=n,
        population=len(setting.population),
        scores=8 * n * (sum(map(len, fits.values())) + targets * len(others)) + 4 * n * targets * len(attacks),
        memory=bound,
    )


def _shokri(run: Run[Config], setting: ShokriSetting) -> Outline:
    """The target, the shadows, and what attacks ask them."""
    config, classes = run.config, setting.schema.num_classes
    if config.shadow_data not in ("real", "noisy"):
        raise InputError(
            f"`plan_only` cannot tell how long `shadow_data={config.shadow_data}` takes, which asks a trained target"
            " first: leave it out"
        )
    nobody = stages.NO_MODELS._replace(names=[""])
    job = shokri.shadow_job(run, setting, shokri.obtain_shadow_data(run, setting, nobody))
    names = attack_names(config, setting.schema)
    attacks = build_attacks(config, setting.schema, lambda about: lambda part, work: work())
    by_name = {name: attack.observe for name, attack in attacks.items()} | {"summary": observation.summary}
    observers = Observers(stage_key(run.root, "attack"), by_name, setting.expected, {})
    count = 2 * shokri.observed_records(config, classes, *job.train.shape)
    rows = np.resize(np.asarray(job.train[:1]), (1, count))
    index = np.broadcast_to(rows, (len(job.train), count))
    held = bounds.PROCESS + 2 * bounds.HELD + 8 * len(job.train) * count * (classes + 4)
    record = (bounds.COPIES + jax.local_device_count()) * (job.pool.x[0].nbytes + 4)
    return Outline(
        job=job,
        beside=(shokri.target_job(run, setting),),
        observations={"shadows": Observation(observers, job.pool, index)},
        attacks={},
        fits={},
        uncounted=[name for name in names if ATTACKS[name].parts],
        judged=2 * setting.m,
        population=0,
        scores=4 * 2 * setting.m * len(names),
        memory=Bound(held, record, len(setting.pool.y)),
    )
