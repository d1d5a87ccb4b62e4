"""The stages of the paper's attack in order: data, target, shadows, attack, evaluation. Resumes by itself.

Every stage leaves artifacts named by what made them (``storage/artifacts.py``): an interrupted run goes on where it
stopped and ends with the same bytes, and a run with more shadows trains only those that are missing.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks import ATTACKS, build, named, quick_first, sources
from mia_jax.audits import config as configs
from mia_jax.audits import divergence, memory, shadow_data, stages
from mia_jax.audits.common import (
    Notify,
    build_models,
    column,
    header,
    load,
    once,
    promised_epsilon,
    short,
    timed,
    title,
)
from mia_jax.audits.config import Config
from mia_jax.audits.shadow_data import ShadowData
from mia_jax.audits.stages import Look, Models, stage_key
from mia_jax.plans import splits
from mia_jax.progress import Progress, silent
from mia_jax.reports import report, results
from mia_jax.reports.figures import many
from mia_jax.storage import artifacts
from mia_jax.targets import defenses, observation
from mia_jax.targets.platforms import platform
from mia_jax.types import Attack, Defense, InputError, Key, Records, Remember, Schema

SCORES = 2  # version of the artifact of scores: raise it when its arrays are others (attack networks have their own)


class Setting(NamedTuple):
    """What is decided before anything is trained."""

    root: Key
    pool: Records  # [N]
    schema: Schema
    m: int  # training records of the target
    plan: splits.Plan  # of the target: train and test [1, m]
    rest: np.ndarray  # int32, the records that are not the target's
    worn: tuple[Defense, ...]  # by the target
    expected: tuple[Defense, ...]  # by the shadows: what the attacker believes


def run(
    config: Config, *, command: str = "", notify: Notify = lambda line: None, progress: Progress = silent
) -> dict[str, Any]:
    """Do what ``config`` says in its workdir; write results.json, scores.npz, report.html and its figures there.

    Args:
        config: ``None`` in it stands for presets.
        command: how to repeat the run, for the report.
        notify: told a line at each stage.
        progress: shows how far the long stages are.

    Returns:
        What results.json holds (schema 1).

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir.
        BudgetSpent: the queries for synthesized shadow data ended too early.
    """
    config = configs.resolve(config)
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        return _run(config, workdir, command, notify, progress)


def _run(config: Config, workdir: artifacts.Workdir, command: str, notify: Notify, progress: Progress) -> dict:
    seconds: dict[str, float] = {}
    notify = once(notify)
    with timed(seconds, "data"):
        pool, schema = load(config, check, notify)
    setting = set_up(config, pool, schema)
    class_counts, names = _class_counts(setting), attack_names(config, schema)
    promised = promised_epsilon(config, setting.m)
    notify(f"{schema.marked_name}: {len(pool.y):,} records, {schema.num_classes} classes, source: {schema.source}")
    shadow_models = many(config.num_shadows, "shadow model", "shadow models")
    notify(f"The target and {shadow_models} train on {setting.m:,} records each. In {workdir.path}")

    target = train_target(workdir, config, setting, progress, notify)
    divergence.refuse(target, "target model", config)
    with timed(seconds, "shadow_data"):
        shadow_pool = obtain_shadow_data(workdir, config, setting, target, notify, progress)
    everyone = train_shadows(workdir, config, setting, shadow_pool, progress, notify)

    def attack(shadow: Models, which: np.ndarray):
        notify(f"Attacking: {', '.join(names)}" + (", one network per class" if "shokri" in names else ""))
        theirs = shadow_pool._replace(plan=splits.Plan(*(np.asarray(rows)[which] for rows in shadow_pool.plan)))
        return attack_target(workdir, config, setting, target, theirs, shadow, progress), shadow, which

    attacked, shadow, which = divergence.going_on(everyone, attack, "shadow models", config, notify)
    seconds |= attacked.info["seconds"]
    found = attacked.arrays
    member = found["member"]
    with timed(seconds, "evaluation"):
        blocks = {
            name: results.attack(found[column(name)], member, found["label"], schema.num_classes, title(name))
            for name in names
        }
    for name, block in blocks.items():
        block["short"] = short(name)
    if "shokri" in blocks:
        blocks["shokri"]["l2"] = float(found["attack_l2"])
    summary = {
        **header(
            command,
            {
                **configs.identity(config),
                "num_shadows": config.num_shadows,
                "train_size": setting.m,
                "workdir": str(workdir.path),
            },
        ),
        "dataset": results.dataset(schema, data.title(schema.name), len(pool.y), class_counts),
        "target": {
            "kind": config.target_kind,
            "title": "our own network" if config.target_kind == "nn" else _platform_title(config, schema),
            **({"model": config.model} if config.target_kind == "nn" else {}),
            "train_records": setting.m,
            "train_accuracy": float(found["correct"][member].mean()),
            "test_accuracy": float(found["correct"][~member].mean()),
            **({"epsilon": promised} if promised is not None else {}),
        },
        "shadows": results.summarize_shadows(
            len(which),
            shadow_pool.plan.train.shape[1],
            found["shadow_train_accuracy"],
            found["shadow_test_accuracy"],
            data=shadow_pool.origin,
            **({"synthesis": shadow_pool.story} if shadow_pool.story else {}),
            **({"curves": results.curves(*shadow.curves)} if shadow.curves else {}),
            **divergence.story(everyone, which),
        ),
        "attacks": blocks,
        "classes_without_rows": _classes_without_rows(found),
        "paper": {"rows": results.paper_rows(schema.name)},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    columns = ["member", "label", "index", "confidence", "entropy", *(column(name) for name in names)]
    artifacts.write_npz(workdir.path / "scores.npz", {name: found[name] for name in columns})
    artifacts.write_json(workdir.path / "results.json", summary)
    report.write_report(workdir.path)
    return summary


# --- stages ----------------------------------------------------------------------------------------------------------


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
    promised_epsilon(config, m)
    return m


def set_up(config: Config, pool: Records, schema: Schema) -> Setting:
    """Decide who the target's records are. Raises InputError as ``check``."""
    m = check(config, schema, len(pool.y))
    worn = defenses.parse(config.defenses)
    root = jax.random.key(config.seed)
    mine, rest = splits.reserve(stage_key(root, "target/split"), len(pool.y), 2 * m)
    plan = splits.Plan(mine[None, :m], mine[None, m:])
    return Setting(root, pool, schema, m, plan, rest, worn, worn if config.adaptive else ())


def train_target(
    workdir: artifacts.Workdir,
    config: Config,
    setting: Setting,
    progress: Progress,
    notify: Notify = lambda line: None,
) -> Models:
    """The target; for another library, as soon as it is asked or looked at."""
    keys = jax.random.fold_in(stage_key(setting.root, "target"), 0)[None]
    return build_models(config)(
        workdir,
        config,
        setting.schema,
        setting.pool,
        setting.schema.digest,
        keys,
        setting.plan.train,
        title="target model",
        progress=progress,
        notify=notify,
    )


def about_target(target: Models, setting: Setting) -> dict[str, Any]:
    """JSON values that tell the black box."""
    return {"target": target.names[0], "defences": [defense.name for defense in setting.worn]}


def obtain_shadow_data(
    workdir: artifacts.Workdir, config: Config, setting: Setting, target: Models, notify: Notify, progress: Progress
) -> ShadowData:
    """What the shadows are trained on."""
    own = Records(np.asarray(setting.pool.x)[setting.rest], np.asarray(setting.pool.y)[setting.rest])
    return shadow_data.obtain(
        workdir,
        config,
        stage_key(setting.root, "shadows/split"),
        setting.m,
        own,
        setting.schema,
        lambda: stages.wear(target.target(0), setting.worn),
        about_target(target, setting),
        notify=notify,
        progress=progress,
    )


def train_shadows(
    workdir: artifacts.Workdir,
    config: Config,
    setting: Setting,
    data: ShadowData,
    progress: Progress,
    notify: Notify = lambda line: None,
) -> Models:
    """The shadows, trained as the attacker believes that the target was."""
    believed = config if config.adaptive else configs.undefended(config)
    key = stage_key(setting.root, "shadows")
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(len(data.plan.train)))
    return build_models(config)(
        workdir,
        believed,
        setting.schema,
        data.pool,
        data.digest,
        keys,
        data.plan.train,
        title="shadow models",
        progress=progress,
        notify=notify,
    )


def attack_target(
    workdir: artifacts.Workdir,
    config: Config,
    setting: Setting,
    target: Models,
    data: ShadowData,
    shadow: Models,
    progress: Progress,
) -> artifacts.Artifact:
    """Observe the shadows, learn the attacks from them, observe the target, score its records."""
    num_classes = setting.schema.num_classes
    per_side = _observed_records(config, num_classes, *data.plan.train.shape)
    key = stage_key(setting.root, "attack")
    names, options = attack_names(config, setting.schema), configs.attack_settings(config)
    description = {
        "version": [stages.VERSION, SCORES],
        "attacks": sources(names),
        "options": options,
        "key": stages.key_words(key),
        **about_target(target, setting),
        "expected": [defense.name for defense in setting.expected],
        "candidates": artifacts.array_digest(setting.plan.train, setting.plan.test),
        "shadows": shadow.names,
        "shadow_test": artifacts.array_digest(data.plan.test),
        "observed_records": per_side,
    }
    held = workdir.load("scores", description)
    if held is not None:
        return held

    began = time.perf_counter()
    key_observe, key_fit = jax.random.split(key)
    told = {"attacks": sources(names), "options": options}
    index = np.concatenate([data.plan.train[:, :per_side], data.plan.test[:, :per_side]], axis=1)
    member = np.broadcast_to(np.arange(index.shape[1]) < per_side, index.shape)
    earlier: list[float] = []

    def done(seconds: float) -> None:  # a part of the attack networks
        advance(1)
        earlier.append(seconds)

    attacks = build_attacks(config, setting.schema, stages.remembering(workdir, "attack", done))
    observers = {name: attack.observe for name, attack in attacks.items()} | {"summary": observation.summary}
    seen = shadow.look(Look(key_observe, observers, setting.expected, told), data.pool, index)
    correct = seen.pop("summary")["correct"]
    states = {}
    parts = {name: n for name, n in quick_first(names, num_classes, options).items() if ATTACKS[name].parts}
    with progress("attack networks", sum(parts.values())) as advance:
        for number, (name, attack) in enumerate(attacks.items()):
            states[name] = attack.fit(jax.random.fold_in(key_fit, number), seen.pop(name), member, None)

    candidates = np.concatenate([setting.plan.train, setting.plan.test], axis=1)
    looked = target.look(Look(key_observe, observers, setting.worn, told), setting.pool, candidates)
    seen = jax.tree.map(lambda leaf: leaf[0], looked)
    arrays = {
        column(name): np.asarray(attack.score(states[name], seen[name]), np.float32) for name, attack in attacks.items()
    }
    arrays |= {
        "member": np.arange(candidates.shape[1]) < setting.m,
        "label": np.asarray(setting.pool.y, np.int32)[candidates[0]],
        "index": candidates[0].astype(np.int64),
        **seen["summary"],
        "shadow_train_accuracy": correct[:, :per_side].mean(axis=1),
        "shadow_test_accuracy": correct[:, per_side:].mean(axis=1),
    }
    if "shokri" in states:
        arrays |= {"classes_trained": states["shokri"].trained, "attack_l2": np.float64(states["shokri"].l2)}
    took = time.perf_counter() - began - target.spent() - shadow.spent() + sum(earlier)
    info = {"attack": took, "target": target.seconds(), "shadows": shadow.seconds()}
    workdir.save("scores", description, arrays, seconds=info)
    return artifacts.Artifact(arrays, {"seconds": info})


# --- from the configuration ------------------------------------------------------------------------------------------


def attack_names(config: Config, schema: Schema) -> list[str]:
    """The attacks that ``--attacks`` names: by default the paper's and the baselines.

    Raises:
        InputError: one is unknown, or cannot run: shadows are asked about records of their own only, and nothing is had
            of them but answers.
    """
    everything = config.attacks.strip().lower() == "all"
    names = [*ATTACKS] if everything else named(config.attacks)
    reasons = {name: _cannot_run(config, schema, name) for name in names}
    if not everything and (refused := [reason for reason in reasons.values() if reason]):
        raise InputError(f"--attacks: {refused[0]}; audit.py --dataset has it")
    return [name for name, reason in reasons.items() if reason is None]


def _cannot_run(config: Config, schema: Schema, name: str) -> str | None:
    """Why an attack cannot run on this plan, in words; None if it can."""
    entry, run = ATTACKS[name], configs.attack_run(config, schema=schema)
    if lacking := sorted(entry.needed() - {"in", "out"}) or entry.lacks((*run, "remember")):
        return f"{name} needs {' and '.join(lacking)}, which this plan does not have"
    if build(name, schema.num_classes, configs.attack_settings(config), run).per_example:
        return f"{name} needs shadows that were asked about the target's own records"
    return None


def build_attacks(config: Config, schema: Schema, remember: Remember) -> dict[str, Attack]:
    """The attacks of ``attack_names``; ``remember`` keeps parts of their long work."""
    run = configs.attack_run(config, schema=schema, remember=remember)
    settings = configs.attack_settings(config)
    return {name: build(name, schema.num_classes, settings, run) for name in attack_names(config, schema)}


def _platform_title(config: Config, schema: Schema) -> str:
    return platform(config.target_kind, schema.num_classes).title


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
            f"--train_size={m} needs {needed:,} records, for target and shadows are disjoint and each has as many test"
            f" as training records, but {config.dataset} has {num_records:,}{beside};"
            f" any number of shadows of {num_records // 4:,} + {num_records // 4:,} fit:"
            f" use --train_size={num_records // 4}"
        )
    return m


def _classes_without_rows(found: Mapping[str, np.ndarray]) -> list[int]:
    """The classes for which Shokri's attack had nothing to learn from; none where it did not run."""
    return [int(c) for c in np.flatnonzero(~found["classes_trained"])] if "classes_trained" in found else []


def _class_counts(setting: Setting) -> np.ndarray:
    """Training records of the target per class, [c]; or InputError for a class without any."""
    counts = np.bincount(setting.pool.y[setting.plan.train[0]], minlength=setting.schema.num_classes)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        names = ", ".join(str(c) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise InputError(
            f"of class {names} there is not a single training record among the target's {setting.m:,};"
            " raise --train_size, or merge or leave out classes that small"
        )
    return counts


def _observed_records(config: Config, num_classes: int, num_shadows: int, m: int) -> int:
    """Members, and as many non-members, that each shadow is asked about: all of them, or enough for ``attack_rows``."""
    return min(m, max(1, math.ceil(config.attack_rows * num_classes / (2 * num_shadows))))
