"""The paper's audit: one target on records of its own, shadows on others or on synthesized ones, the paper's attack.

Target and shadows are disjoint (Shokri et al. 2017, section V). ``PLAN`` is at the end.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks import ATTACKS, quick_first, sources
from mia_jax.audits import config as configs
from mia_jax.audits import divergence, groupings, memory, shadow_data, stages
from mia_jax.audits.common import accountant_epsilon, column, load, short, title, train_models
from mia_jax.audits.config import Config
from mia_jax.audits.paper_attacks import attack_names, build_attacks
from mia_jax.audits.shadow_data import ShadowData
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Models, Observation, Observers, Run, Summary, Trained, TrainingJob
from mia_jax.plans import splits
from mia_jax.reports import results
from mia_jax.reports.figures import many
from mia_jax.storage import artifacts
from mia_jax.storage.artifacts import Artifact
from mia_jax.targets import defenses, observation
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.targets.platforms import platform
from mia_jax.types import InputError, Records, Schema, Seen

TIMED = ("attack", "target", "shadows")  # seconds that are kept with the scores
SCORES = 2  # version of the artifact of scores: raise it when its arrays are others (attack networks have their own)


class ShokriSetting(NamedTuple):
    """What is decided before anything is trained."""

    pool: Records  # [N]
    schema: Schema
    m: int  # training records of the target
    plan: splits.Plan  # of the target: train and test [1, m]
    rest: np.ndarray  # int32, the records that are not the target's
    defenses: tuple[AnswerDefense, ...]  # of the target
    expected: tuple[AnswerDefense, ...]  # of the shadows: what the attacker believes


class TargetAndData(NamedTuple):
    """The target, and what its shadows are trained on."""

    target: Models  # one
    data: ShadowData  # what the shadows are trained on


class Observed(NamedTuple):
    """What was seen of the shadows and of the target; nothing, where an earlier run has left the scores."""

    description: dict[str, Any]  # names the scores
    scores: Artifact | None  # of the earlier run
    shadows: dict[str, Seen]  # leaves [S, 2 r, ...]
    member: np.ndarray  # bool [S, 2 r]
    target: dict[str, Seen]  # leaves [2m, ...]
    seconds: float  # that observing took, apart from training


# --- records, checked; who trains on what ----------------------------------------------------------------------------


def prepare(run: Run[Config]) -> ShokriSetting:
    """The records of the run, and those of the target among them.

    Raises:
        InputError: as ``check``, or a class has no training record.
    """
    config = run.config
    pool, schema = load(config, check, run.notify)
    setting = set_up(config, pool, schema)
    groupings.of_records(config.group, np.asarray(pool.x)[:1], schema)  # refused before any work
    _refuse_empty_classes(setting)
    run.notify(f"{schema.marked_name}: {len(pool.y):,} records, {schema.num_classes} classes, source: {schema.source}")
    shadow_models = many(config.num_shadows or 0, "shadow model", "shadow models")
    run.notify(f"The target and {shadow_models} train on {setting.m:,} records each. In {run.workdir}")
    return setting


def check(config: Config, schema: Schema, num_records: int) -> int:
    """Check what can be checked before the work; returns m, the training records of the target.

    Raises:
        InputError: too few records, a network that does not fit them, options that cannot work.
    """
    shadow_data.check(config, schema)
    m = _training_size(config, num_records)
    shadow_data.check_budget(config, m, schema.num_classes)
    if config.target_kind == "nn":
        memory.check_networks(config, schema, m)
    else:
        platform(config.target_kind, schema.num_classes)
    if "shokri" in attack_names(config, schema):
        memory.check_attack_networks(config, schema.num_classes)
    defenses.parse(config.defenses)
    accountant_epsilon(config, m)
    return m


def set_up(config: Config, pool: Records, schema: Schema) -> ShokriSetting:
    """Decide who the target's records are.

    Raises:
        InputError: as ``check``.
    """
    m = check(config, schema, len(pool.y))
    chosen = defenses.parse(config.defenses)
    key = stage_key(jax.random.key(config.seed), "target/split")
    mine, rest = splits.reserve(key, len(pool.y), 2 * m)
    plan = splits.Plan(mine[None, :m], mine[None, m:])
    return ShokriSetting(pool, schema, m, plan, rest, chosen, chosen if config.adaptive else ())


# --- models, trained or found ----------------------------------------------------------------------------------------


def train(run: Run[Config], setting: ShokriSetting) -> Trained[TargetAndData]:
    """The target, what the shadows are trained on, the shadows."""
    target = train_target(run, setting)
    divergence.refuse(target, "target model", run.config)
    began = time.perf_counter()
    data = obtain_shadow_data(run, setting, target)
    run.seconds["shadow_data"] = time.perf_counter() - began
    shadows = train_shadows(run, setting, data)
    return Trained(shadows, "shadow models", TargetAndData(target, data), np.arange(len(shadows.names)))


def train_target(run: Run[Config], setting: ShokriSetting) -> Models:
    """The target; for another library, as soon as it is asked or observed."""
    return train_models(run, target_job(run, setting), target=True)


def target_job(run: Run[Config], setting: ShokriSetting) -> TrainingJob:
    """What is to be trained of the target."""
    keys = jax.random.fold_in(stage_key(run.root, "target"), 0)[None]
    train = np.asarray(setting.plan.train)
    schema = setting.schema
    return TrainingJob("target model", run.config, schema, setting.pool, schema.digest, keys, train)


def about_target(target: Models, setting: ShokriSetting) -> dict[str, Any]:
    """JSON values that tell the black box."""
    return {"target": target.names[0], "defences": [defense.name for defense in setting.defenses]}


def obtain_shadow_data(run: Run[Config], setting: ShokriSetting, target: Models) -> ShadowData:
    """What the shadows are trained on."""
    own = Records(np.asarray(setting.pool.x)[setting.rest], np.asarray(setting.pool.y)[setting.rest])
    believed = shadow_data.Adversary(
        own,
        setting.schema,
        setting.m,
        lambda: stages.defended(target.target(0), setting.defenses),
        about_target(target, setting),
    )
    return shadow_data.obtain(run, run.config, stage_key(run.root, "shadows/split"), believed)


def train_shadows(run: Run[Config], setting: ShokriSetting, data: ShadowData) -> Models:
    """The shadows, trained as the attacker believes that the target was."""
    return train_models(run, shadow_job(run, setting, data))


def shadow_job(run: Run[Config], setting: ShokriSetting, data: ShadowData) -> TrainingJob:
    """What is to be trained of the shadows."""
    believed = run.config if run.config.adaptive else configs.undefended(run.config)
    keys = stages.keys(stage_key(run.root, "shadows"), len(data.plan.train))
    train = np.asarray(data.plan.train)
    return TrainingJob("shadow models", believed, setting.schema, data.pool, data.digest, keys, train)


# --- observed alike --------------------------------------------------------------------------------------------------


def observe(run: Run[Config], setting: ShokriSetting, trained: Trained[TargetAndData]) -> Observed:
    """What the attacks see of the shadows and of the target; nothing where the scores are there already."""
    target, pool = trained.extra.target, trained.extra.data.pool
    plan = splits.Plan(*(np.asarray(rows)[trained.which] for rows in trained.extra.data.plan))
    per_side = observed_records(run.config, setting.schema.num_classes, *plan.train.shape)
    key = stage_key(run.root, "attack")
    names, options = attack_names(run.config, setting.schema), configs.attack_settings(run.config)
    description = {
        "version": [stages.VERSION, SCORES],
        "attacks": sources(names),
        "options": options,
        "key": stages.key_words(key),
        **about_target(target, setting),
        "expected": [defense.name for defense in setting.expected],
        "candidates": artifacts.array_digest(*map(np.asarray, setting.plan)),
        "shadows": trained.models.names,
        "shadow_test": artifacts.array_digest(np.asarray(plan.test)),
        "observed_records": per_side,
    }
    run.notify(f"Attacking: {', '.join(names)}" + (", one network per class" if "shokri" in names else ""))
    cached = run.workdir.load("scores", description)
    index = np.concatenate([plan.train[:, :per_side], plan.test[:, :per_side]], axis=1)
    member = np.broadcast_to(np.arange(index.shape[1]) < per_side, index.shape)
    if cached is not None:
        return Observed(description, cached, {}, member, {}, 0.0)
    began = time.perf_counter()
    attacks = build_attacks(run.config, setting.schema, lambda about: lambda part, work: work())
    by_name = {name: attack.observe for name, attack in attacks.items()} | {"summary": observation.summary}
    as_shadows = Observers(
        jax.random.split(key)[0], by_name, setting.expected, {"attacks": sources(names), "options": options}
    )
    as_target = as_shadows._replace(defenses=setting.defenses)
    asking = Observation(as_target, setting.pool, _candidates(setting))
    of_target = None if run.shard is not None and run.shard.index else target.observe(asking)[0]
    [seen] = trained.models.observe(Observation(as_shadows, pool, index))
    of_target = target.observe(asking)[0] if of_target is None else of_target
    took = time.perf_counter() - began - target.spent() - trained.models.spent()
    run.seconds.update(target=target.seconds(), shadows=trained.models.seconds())
    return Observed(description, None, seen, member, jax.tree.map(lambda leaf: leaf[0], of_target), took)


def _candidates(setting: ShokriSetting) -> np.ndarray:
    """Rows of the pool that are asked about [1, 2m]: the target's training records, then its test records."""
    return np.concatenate([setting.plan.train, setting.plan.test], axis=1)


# --- attacks fitted on the shadows; the target scored ----------------------------------------------------------------


def attack(run: Run[Config], setting: ShokriSetting, observed: Observed) -> Mapping[str, np.ndarray]:
    """The scores of the target's records, and what else is kept with them; see ``_arrays``."""
    # Another process that shares the workdir may have scored the target meanwhile.
    cached = observed.scores or run.workdir.load("scores", observed.description)
    if cached is not None:
        run.seconds.update(cached.info["seconds"])
        return cached.arrays
    config = run.config
    began = time.perf_counter()
    key_fit = jax.random.split(stage_key(run.root, "attack"))[1]
    earlier: list[float] = []

    def done(seconds: float) -> None:  # a part of the attack networks
        advance(1)
        earlier.append(seconds)

    attacks = build_attacks(config, setting.schema, stages.remembering(run.workdir, "attack", done))
    parts = quick_first(attacks, setting.schema.num_classes, configs.attack_settings(config))
    with run.progress("attack networks", sum(n for name, n in parts.items() if ATTACKS[name].parts)) as advance:
        states = {
            name: attack.fit(jax.random.fold_in(key_fit, number), observed.shadows[name], observed.member, None)
            for number, (name, attack) in enumerate(attacks.items())
        }
    arrays: dict[str, np.ndarray] = {
        column(name): np.asarray(attack.score(states[name], observed.target[name]), np.float32)
        for name, attack in attacks.items()
    }
    arrays |= _arrays(setting, observed)
    if "shokri" in states:
        networks = states["shokri"]
        arrays |= {"classes_trained": networks.trained, "attack_l2": np.asarray(networks.l2, np.float64)}
    took = time.perf_counter() - began + observed.seconds + sum(earlier)
    run.seconds["attack"] = took
    run.workdir.save("scores", observed.description, arrays, seconds={name: run.seconds[name] for name in TIMED})
    return arrays


def _arrays(setting: ShokriSetting, observed: Observed) -> dict[str, np.ndarray]:
    """What is kept beside the scores: who was judged [2m], what is plain to see of them, the shadows' accuracies."""
    candidates, correct = _candidates(setting)[0], observed.shadows["summary"]["correct"]
    per_side = observed.member.shape[1] // 2
    return {
        "member": np.arange(len(candidates)) < setting.m,
        "label": np.asarray(setting.pool.y, np.int32)[candidates],
        "index": candidates.astype(np.int64),
        **{name: np.asarray(leaf) for name, leaf in observed.target["summary"].items()},
        "shadow_train_accuracy": correct[:, :per_side].mean(axis=1),
        "shadow_test_accuracy": correct[:, per_side:].mean(axis=1),
    }


# --- evaluated -------------------------------------------------------------------------------------------------------


def summarize(
    run: Run[Config],
    setting: ShokriSetting,
    trained: Trained[TargetAndData],
    observed: Observed,
    scored: Mapping[str, np.ndarray],
) -> Summary:
    """The blocks of results.json, and what scores.npz holds; ``scored`` has arrays [2m], or [S] of the shadows."""
    schema, member, names = setting.schema, scored["member"], attack_names(run.config, setting.schema)
    attacks = {
        name: results.attack(scored[column(name)], member, scored["label"], schema.num_classes, title(name))
        | {"short": short(name)}
        for name in names
    }
    if "shokri" in attacks:
        attacks["shokri"]["l2"] = float(scored["attack_l2"])
    blocks: results.Blocks = {
        "dataset": results.dataset(schema, data.title(schema.name), len(setting.pool.y), _class_counts(setting)),
        "target": _target_block(run.config, setting, scored),
        "shadows": _shadows_block(trained, scored),
        "attacks": attacks,
        "classes_without_rows": _classes_without_rows(scored),
        "paper": {"rows": results.paper_rows(schema.name)},
    }
    settings = {**configs.identity(run.config), "num_shadows": run.config.num_shadows, "train_size": setting.m}
    columns = ["member", "label", "index", "confidence", "entropy", *(column(name) for name in names)]
    judged = np.asarray(setting.pool.x)[scored["index"]]
    group = groupings.of_records(run.config.group, judged, schema)
    return Summary(settings, blocks, {name: scored[name] for name in columns}, group)


def _target_block(config: Config, setting: ShokriSetting, scored: Mapping[str, np.ndarray]) -> results.Target:
    ours, member = config.target_kind == "nn", scored["member"]
    epsilon = accountant_epsilon(config, setting.m)
    return {
        "kind": config.target_kind,
        "title": "our own network" if ours else platform(config.target_kind, setting.schema.num_classes).title,
        **({"model": config.model} if ours else {}),
        "train_records": setting.m,
        "train_accuracy": float(scored["correct"][member].mean()),
        "test_accuracy": float(scored["correct"][~member].mean()),
        **({"epsilon": epsilon} if epsilon is not None else {}),
    }


def _shadows_block(trained: Trained[TargetAndData], scored: Mapping[str, np.ndarray]) -> results.Shadows:
    shadows, pool = trained.models, trained.extra.data
    return results.summarize_shadows(
        len(trained.which),
        pool.plan.train.shape[1],
        scored["shadow_train_accuracy"],
        scored["shadow_test_accuracy"],
        data=pool.origin,
        **({"synthesis": pool.info} if pool.info else {}),
        **({"curves": results.curves(*shadows.curves)} if shadows.curves else {}),
        **trained.left_out,
    )


# --- from the configuration ------------------------------------------------------------------------------------------


def _training_size(config: Config, num_records: int) -> int:
    """m; the paper's plan needs 2m records for the target and, for shadows on real or noisy ones, 2m more."""
    if num_records < 4:
        raise InputError(f"{config.dataset} has {num_records} records; target and shadows need at least 4 between them")
    m = config.train_size if config.train_size is not None else num_records // 4
    needed = 2 * m + max(1, shadow_data.needed_records(config, m))
    if needed > num_records:
        room = (num_records - 2 * m) // 2
        beside = f"; beside this target shadows of {room:,} + {room:,} would fit" if room > 0 else ""
        raise InputError(
            f"`train_size={m}` needs {needed:,} records, for target and shadows are disjoint and each has as many test"
            f" as training records, but {config.dataset} has {num_records:,}{beside};"
            f" any number of shadows of {num_records // 4:,} + {num_records // 4:,} fit:"
            f" use `train_size={num_records // 4}`"
        )
    return m


def _classes_without_rows(scored: Mapping[str, np.ndarray]) -> list[int]:
    """The classes for which Shokri's attack had nothing to learn from; none where it did not run."""
    return [int(c) for c in np.flatnonzero(~scored["classes_trained"])] if "classes_trained" in scored else []


def _class_counts(setting: ShokriSetting) -> np.ndarray:
    """Training records of the target per class, [c]."""
    return np.bincount(np.asarray(setting.pool.y)[setting.plan.train[0]], minlength=setting.schema.num_classes)


def _refuse_empty_classes(setting: ShokriSetting) -> None:
    """Raises InputError for a class without a training record of the target."""
    empty = np.flatnonzero(_class_counts(setting) == 0)
    if len(empty):
        names = ", ".join(str(c) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise InputError(
            f"of class {names} there is not a single training record among the target's {setting.m:,};"
            " raise `train_size`, or merge or leave out classes that small"
        )


def observed_records(config: Config, num_classes: int, num_shadows: int, m: int) -> int:
    """Members, and as many non-members, that each shadow is asked about: all of them, or enough for ``attack_rows``."""
    return min(m, max(1, math.ceil(config.attack_rows * num_classes / (2 * num_shadows))))


PLAN: AuditPlan[Config, ShokriSetting, TargetAndData, Observed, Mapping[str, np.ndarray]] = AuditPlan(
    None, configs.resolve, prepare, train, observe, attack, summarize
)
