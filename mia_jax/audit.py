"""The stages of the paper's attack in order: data, target, shadows, attack, evaluation. Resumes by itself.

Every stage leaves artefacts named by what made them (``artifacts.py``): an interrupted run goes on where it stopped and
ends with the same bytes, and a run with more shadows trains only those that are missing.
"""

import contextlib
import datetime
import math
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from mia_jax import artifacts, data, models, report, results, shadows, splits, targets, training
from mia_jax import config as configs
from mia_jax.attacks import ATTACKS
from mia_jax.config import Config
from mia_jax.progress import Progress, silent
from mia_jax.types import Attack, InputError, Key, Model, Params, Records, Schema, Target

VERSION = 1  # of what artefacts mean: raise it when the same description would give other numbers

TITLES = {
    "shokri": "Shadow models, one attack network per class (Shokri et al. 2017)",
    "confidence": "Confidence threshold learned on the shadows",
    "majority": "Majority guess: everybody a member",
}


class Trained(NamedTuple):
    params: Params  # leaves [S, ...]
    loss: np.ndarray  # [S, epochs]
    accuracy: np.ndarray  # [S, epochs]
    names: list[str]  # the digest of what made each model
    seconds: float


def run(
    config: Config,
    *,
    command: str = "",
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
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
    """
    config = configs.resolve(config)
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        return _run(config, workdir, command, notify, progress)


def _run(
    config: Config, workdir: artifacts.Workdir, command: str, notify: Callable[[str], None], progress: Progress
) -> dict:
    seconds: dict[str, float] = {}
    with _timed(seconds, "data"):
        pool, schema = data.load(config.dataset, data_dir=config.data_dir, source=config.data_source, notify=notify)
    m = _training_size(config, len(pool.y))
    model = models.build(config.model, schema, hidden=config.hidden)
    root = jax.random.key(config.seed)
    mine, rest = splits.reserve(stage_key(root, "target/split"), len(pool.y), 2 * m)
    target_plan = splits.Plan(mine[None, :m], mine[None, m:])
    shadow_plan = splits.shokri(stage_key(root, "shadows/split"), len(rest), m, config.num_shadows)
    shadow_plan = splits.Plan(rest[shadow_plan.train], rest[shadow_plan.test])
    class_counts = _class_counts(pool, target_plan, schema)
    mark = " (SIMULATED)" if schema.source == "simulated" else ""
    notify(f"{schema.name}{mark}: {len(pool.y):,} records, {schema.num_classes} classes, source: {schema.source}")
    notify(f"The target and each of {config.num_shadows} shadow models train on {m:,} records. Workdir: {workdir.path}")

    def train(title: str, key: Key, plan: splits.Plan) -> Trained:
        description = training_description(config, schema)
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(len(plan.train)))
        trainer = training.make_trainer(model, build_optimizer(config), config.batch_size)
        return train_models(workdir, description, trainer, model, keys, pool, plan, config, title, progress)

    target = train("target model", stage_key(root, "target"), target_plan)
    shadow = train("shadow models", stage_key(root, "shadows"), shadow_plan)

    def to_target(params: Params) -> Target:
        return targets.as_target(model, params, schema.num_classes)

    notify("Attacking: one network per class, and the baselines")
    attacks = build_attacks(config, schema.num_classes)
    attacked = attack_target(
        workdir,
        config,
        stage_key(root, "attack"),
        attacks,
        to_target,
        pool,
        schema,
        target,
        target_plan,
        shadow,
        shadow_plan,
    )
    seconds |= {"target": target.seconds, "shadows": shadow.seconds, "attack": attacked.info["seconds"]}
    found = attacked.arrays
    member = found["member"]
    with _timed(seconds, "evaluation"):
        blocks = {
            name: results.attack(found[_column(name)], member, found["label"], schema.num_classes, TITLES[name])
            for name in attacks
        }
    summary = {
        "schema": results.SCHEMA,
        "command": command,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": results.machine(),
        "config": {
            **configs.identity(config),
            "num_shadows": config.num_shadows,
            "train_size": m,
            "workdir": str(workdir.path),
        },
        "versions": results.versions(),
        "devices": [f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.local_devices()],
        "dataset": results.dataset(schema, data.title(schema.name), len(pool.y), class_counts),
        "target": {
            "kind": "nn",
            "model": config.model,
            "train_records": m,
            "train_accuracy": float(found["correct"][member].mean()),
            "test_accuracy": float(found["correct"][~member].mean()),
        },
        "shadows": results.summarise_shadows(
            config.num_shadows,
            m,
            found["shadow_train_accuracy"],
            found["shadow_test_accuracy"],
            data="real" if schema.source != "simulated" else "simulated",
            curves=results.curves(shadow.loss, shadow.accuracy),
        ),
        "attacks": blocks,
        "classes_without_rows": [int(c) for c in np.flatnonzero(~found["classes_trained"])],
        "paper": {"rows": results.paper_rows(schema.name)},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    columns = ["member", "label", "index", "confidence", "entropy", *(_column(name) for name in attacks)]
    artifacts.write_npz(workdir.path / "scores.npz", {name: found[name] for name in columns})
    artifacts.write_json(workdir.path / "results.json", summary)
    report.write_report(workdir.path)
    return summary


# --- stages ----------------------------------------------------------------------------------------------------------


def train_models(
    workdir: artifacts.Workdir,
    description: dict[str, Any],
    trainer: training.Trainer,
    model: Model,
    keys: Key,
    pool: Records,
    plan: splits.Plan,
    config: Config,
    title: str,
    progress: Progress,
) -> Trained:
    """Train the models of a plan that the workdir does not hold yet; each is an artefact of its own."""
    words = np.asarray(jax.random.key_data(keys))
    descriptions = [
        {**description, "key": [int(word) for word in words[k]], "train": artifacts.array_digest(plan.train[k])}
        for k in range(len(keys))
    ]
    found = [workdir.load("models", d) for d in descriptions]
    missing = np.flatnonzero([artifact is None for artifact in found])
    if len(missing):
        with progress(title, len(missing) * config.num_epochs) as advance:
            began = time.perf_counter()
            for part, params, info in training.fit_chunks(
                trainer,
                keys[missing],
                pool,
                plan.train[missing],
                config.num_epochs,
                chunk=config.chunk,
                on_epoch=lambda part, epoch, info: advance(part.stop - part.start),
            ):
                took = (time.perf_counter() - began) / (part.stop - part.start)
                for lane, k in enumerate(missing[part]):
                    arrays = artifacts.to_arrays(jax.tree.map(lambda leaf, lane=lane: leaf[lane], params))
                    arrays |= {"loss": np.asarray(info.loss[lane]), "accuracy": np.asarray(info.accuracy[lane])}
                    workdir.save("models", descriptions[k], arrays, seconds=took)
                    found[k] = artifacts.Artifact(arrays, {"seconds": took})
                began = time.perf_counter()
    template = jax.eval_shape(model.init, keys[0], pool.x[:1])
    each = [artifacts.from_arrays(template, artifact.arrays) for artifact in found]
    return Trained(
        params=jax.tree.map(lambda *leaves: np.stack(leaves), *each),
        loss=np.stack([artifact.arrays["loss"] for artifact in found]),
        accuracy=np.stack([artifact.arrays["accuracy"] for artifact in found]),
        names=[artifacts.digest(d) for d in descriptions],
        seconds=sum(artifact.info["seconds"] for artifact in found),
    )


def attack_target(
    workdir: artifacts.Workdir,
    config: Config,
    key: Key,
    attacks: dict[str, Attack],
    to_target: Callable[[Params], Target],
    pool: Records,
    schema: Schema,
    target: Trained,
    target_plan: splits.Plan,
    shadow: Trained,
    shadow_plan: splits.Plan,
) -> artifacts.Artifact:
    """Observe the shadows, learn the attacks from them, observe the target, score its records."""
    per_side = _observed_records(config, schema.num_classes, len(shadow.names), shadow_plan.train.shape[1])
    options = {name: value for name, value in configs.identity(config).items() if name.startswith("attack_")}
    description = {
        "version": VERSION,
        "attacks": list(attacks),
        "options": options,
        "key": [int(word) for word in np.asarray(jax.random.key_data(key))],
        "target": target.names[0],
        "candidates": artifacts.array_digest(target_plan.train, target_plan.test),
        "shadows": shadow.names,
        "shadow_test": artifacts.array_digest(shadow_plan.test),
        "observed": per_side,
    }
    held = workdir.load("scores", description)
    if held is not None:
        return held

    began = time.perf_counter()
    key_observe, key_fit = jax.random.split(key)
    observers = {name: attack.observe for name, attack in attacks.items()} | {"summary": shadows.summary}
    index = np.concatenate([shadow_plan.train[:, :per_side], shadow_plan.test[:, :per_side]], axis=1)
    member = np.broadcast_to(np.arange(index.shape[1]) < per_side, index.shape)
    seen = shadows.observe_shadows(key_observe, observers, to_target, shadow.params, pool, index)
    correct = seen.pop("summary")["correct"]
    states = {}
    for number, (name, attack) in enumerate(attacks.items()):
        states[name] = attack.fit(jax.random.fold_in(key_fit, number), seen.pop(name), member, None)

    candidates = np.concatenate([target_plan.train[0], target_plan.test[0]])
    records = Records(pool.x[candidates], pool.y[candidates])
    seen = shadows.observe(
        key_observe, observers, to_target(jax.tree.map(lambda leaf: leaf[0], target.params)), records
    )
    arrays = {
        _column(name): np.asarray(attack.score(states[name], seen[name]), np.float32)
        for name, attack in attacks.items()
    }
    arrays |= {
        "member": np.arange(len(candidates)) < len(target_plan.train[0]),
        "label": np.asarray(records.y, np.int32),
        "index": candidates.astype(np.int64),
        **{name: np.asarray(value) for name, value in seen["summary"].items()},
        "shadow_train_accuracy": correct[:, :per_side].mean(axis=1),
        "shadow_test_accuracy": correct[:, per_side:].mean(axis=1),
        "classes_trained": states["shokri"].trained,
    }
    workdir.save("scores", description, arrays, seconds=time.perf_counter() - began)
    return artifacts.Artifact(arrays, {"seconds": time.perf_counter() - began})


# --- from the configuration ------------------------------------------------------------------------------------------


def build_optimizer(config: Config) -> optax.GradientTransformation:
    """Adam or SGD; the rate at step t is learning_rate / (1 + t * decay), as in the paper's framework (Torch7)."""

    def rate(step):
        return config.learning_rate / (1.0 + step * config.learning_rate_decay)

    schedule = rate if config.learning_rate_decay else config.learning_rate
    return {"adam": optax.adam, "sgd": optax.sgd}[config.optimizer](schedule)


def build_attacks(config: Config, num_classes: int) -> dict[str, Attack]:
    """The paper's attack and the baselines."""
    options = {
        "shokri": dict(
            hidden=config.attack_hidden,
            learning_rate=config.attack_learning_rate,
            batch_size=config.attack_batch_size,
            num_epochs=config.attack_epochs,
            max_rows=config.attack_rows,
        )
    }
    return {name: ATTACKS[name](num_classes, **options.get(name, {})) for name in TITLES}


def training_description(config: Config, schema: Schema) -> dict[str, Any]:
    """What makes a trained model, apart from its key and its training set."""
    names = ("model", "hidden", "num_epochs", "batch_size", "learning_rate", "learning_rate_decay", "optimizer")
    return {
        "version": VERSION,
        "data": schema.digest,
        **{name: getattr(config, name) for name in names},
        "model_source": models.source_digest(config.model),
        "jax": jax.__version__,
        "backend": jax.default_backend(),
    }


def stage_key(root: Key, stage: str) -> Key:
    """The key of a stage: its random numbers depend on its name, not on what ran before."""
    return jax.random.fold_in(root, zlib.crc32(stage.encode()))


def _training_size(config: Config, num_records: int) -> int:
    """m; the paper's plan needs 2m records for the target and 2m more for the shadows."""
    m = config.train_size if config.train_size is not None else num_records // 4
    if 4 * m > num_records or m < 1:
        room = (num_records - 2 * m) // 2
        beside = f"; beside this target shadows of {room:,} + {room:,} would fit" if room > 0 else ""
        raise InputError(
            f"--train_size={m} needs {4 * m:,} records, for target and shadows are disjoint and each has as many test as"
            f" training records, but {config.dataset} has {num_records:,}{beside};"
            f" any number of shadows of {num_records // 4:,} + {num_records // 4:,} fit: use --train_size={num_records // 4}"
        )
    return m


def _class_counts(pool: Records, plan: splits.Plan, schema: Schema) -> np.ndarray:
    counts = np.bincount(pool.y[plan.train[0]], minlength=schema.num_classes)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        names = ", ".join(str(c) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise InputError(
            f"of class {names} there is not a single training record among the target's {plan.train.shape[1]:,};"
            " raise --train_size, or merge or leave out classes that small"
        )
    return counts


def _observed_records(config: Config, num_classes: int, num_shadows: int, m: int) -> int:
    """Members, and as many non-members, that each shadow is asked about: all of them, or enough for ``attack_rows``."""
    return min(m, max(1, math.ceil(config.attack_rows * num_classes / (2 * num_shadows))))


def _column(attack: str) -> str:
    return "score" if attack == "shokri" else f"score_{attack}"


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began
