"""Our own networks, trained as a stage that resumes: each is an artifact, and the missing ones are trained."""

import dataclasses
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import optax

from mia_jax.audits import divergence, stages
from mia_jax.audits.config import TRAINING_DEFENSES, Training
from mia_jax.audits.divergence import Diverged
from mia_jax.audits.stages import Look, Models
from mia_jax.models import networks as models
from mia_jax.progress import Progress
from mia_jax.storage import artifacts
from mia_jax.targets import black_box, observation
from mia_jax.training import many, regularizers
from mia_jax.types import Array, EpochInfo, Key, Model, Params, Records, Schema, Seen, Target, Trainer

C = TypeVar("C", bound=Training)
Notify = Callable[[str], None]


def networks(
    workdir: artifacts.Workdir,
    config: Training,
    schema: Schema,
    pool: Records,
    digest: str,
    keys: Key,
    train: Array,
    *,
    title: str,
    progress: Progress,
    notify: Notify = lambda line: None,
) -> Models:
    """Train the networks that the workdir does not hold yet; each is an artifact of its own.

    Args:
        workdir: of the run.
        config: the network, its training and the defenses in it.
        schema: of the records.
        pool: records [N].
        digest: of the pool.
        keys: [K].
        train: int32 [K, m], the training set of each.
        title: for progress.
        progress: shows epochs done.
        notify: told which network diverged, as soon as it is known.

    Returns:
        The networks. ``lost`` says which diverged; looking at one of those raises Diverged.
    """
    model = models.build(config.model, schema, hidden=config.hidden, dropout=config.dropout)
    if scaling := models.units(schema):  # decided by the schema, which may be of other records
        digest = artifacts.digest({"data": digest, "units": artifacts.array_digest(*scaling)})
    train = np.asarray(train)
    if model.arithmetic:
        notify(f"--model={config.model}: {model.arithmetic}")
    config = fitting(config, train.shape[1], notify)
    descriptions = _descriptions(config, model, pool, digest, keys, train)
    diverged = _telling_once(config, title, len(train), notify)
    found = _trained(
        workdir, config, model, pool, descriptions, keys, train, title=title, progress=progress, diverged=diverged
    )
    params = _stacked(model, keys, pool, found)
    loss, accuracy = (np.stack([artifact.arrays[name] for artifact in found]) for name in ("loss", "accuracy"))
    seconds = sum(artifact.info["seconds"] for artifact in found)
    lost = {k: diverged(k, epoch) for k, epoch in enumerate(many.diverged(params, loss)) if epoch}

    def look(look: Look, pool: Records, index: Array, which: Array | None = None) -> dict[str, Seen]:
        if among := {k: what for k, what in lost.items() if which is None or k in which}:
            raise Diverged(title, among, len(train), divergence.advice(config))

        def to_target(params: Params) -> Target:
            return stages.wear(black_box.as_target(model, params, schema.num_classes), look.worn)

        chosen = params if which is None else jax.tree.map(lambda leaf: leaf[which], params)
        return observation.observe_shadows(look.key, look.observers, to_target, chosen, pool, index)

    def target(k: int) -> Target:
        return black_box.as_target(model, jax.tree.map(lambda leaf: leaf[k], params), schema.num_classes)

    names = [artifacts.digest(d) for d in descriptions]
    return Models(names, target, look, lambda: seconds, lambda: 0.0, (loss, accuracy), lost)


def _telling_once(config: Training, title: str, total: int, notify: Notify) -> Callable[[int, int], str]:
    """(network, epoch in which it diverged) -> what became of it, in words. The user is told once of each network."""
    named: set[int] = set()

    def diverged(k: int, epoch: int) -> str:
        what = f"diverged in epoch {epoch} of {config.num_epochs}"
        if k not in named and total > 1:  # of a single one an error tells
            named.add(k)
            notify(divergence.named(config, title, k, total, what))
        return what

    return diverged


def _trained(
    workdir: artifacts.Workdir,
    config: Training,
    model: Model,
    pool: Records,
    descriptions: Sequence[dict[str, Any]],
    keys: Key,
    train: np.ndarray,
    *,
    title: str,
    progress: Progress,
    diverged: Callable[[int, int], str],
) -> list[artifacts.Artifact]:
    """The artifact of each network [K]: parameters, ``loss`` and ``accuracy`` by epoch. Missing ones are trained."""
    found = [workdir.load("models", d) for d in descriptions]
    missing = np.flatnonzero([artifact is None for artifact in found])
    if not len(missing):
        return found

    def on_epoch(part: slice, epoch: int, info: EpochInfo) -> None:
        for k in missing[part][~np.isfinite(info.loss)]:
            diverged(int(k), epoch)
        advance(part.stop - part.start)

    trainer = build_trainer(config, model, train.shape[1])
    with progress(title, len(missing) * config.num_epochs) as advance:
        began = time.perf_counter()
        for part, params, info in many.fit_chunks(
            trainer,
            keys[missing],
            pool,
            train[missing],
            config.num_epochs,
            chunk=config.chunk,
            stopped=regularizers.stopped if config.early_stopping else None,
            on_epoch=on_epoch,
        ):
            took = (time.perf_counter() - began) / (part.stop - part.start)
            for lane, k in enumerate(missing[part]):
                arrays = artifacts.to_arrays(jax.tree.map(operator.itemgetter(lane), params))
                arrays |= {"loss": np.asarray(info.loss[lane]), "accuracy": np.asarray(info.accuracy[lane])}
                workdir.save("models", descriptions[k], arrays, seconds=took)
                found[k] = artifacts.Artifact(arrays, {"seconds": took})
            began = time.perf_counter()
    return found


def _stacked(model: Model, keys: Key, pool: Records, found: Sequence[artifacts.Artifact]) -> Params:
    """The parameters of all networks, leaves [K, ...]."""
    template = jax.eval_shape(model.init, keys[0], pool.x[:1])
    each = [artifacts.from_arrays(template, artifact.arrays) for artifact in found]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


# --- what names a network --------------------------------------------------------------------------------------------


def _descriptions(
    config: Training, model: Model, pool: Records, digest: str, keys: Key, train: np.ndarray
) -> list[dict[str, Any]]:
    """What makes each of the networks [K]."""
    described = description(config, model, digest)
    described |= {"program": models.program_digest(model, pool.x)} if ":" in config.model else {}
    return [
        {**described, "key": stages.key_words(keys[k]), "train": artifacts.array_digest(train[k])}
        for k in range(len(keys))
    ]


def training_description(config: Training, digest: str) -> dict[str, Any]:
    """What makes a trained model, apart from its key and its training set."""
    names = ("model", "hidden", "num_epochs", "batch_size", "learning_rate", "learning_rate_decay", "optimizer")
    described = {
        "version": stages.VERSION,
        "data": digest,
        **{name: getattr(config, name) for name in (*names, *TRAINING_DEFENSES)},
        "model_source": models.source_digest(config.model),
        "jax": jax.__version__,
        "backend": jax.default_backend(),
    }
    return described | ({} if config.dp_noise_multiplier is None else {"dp_clip": config.dp_clip})


def description(config: Training, model: Model, digest: str) -> dict[str, Any]:
    """What makes a trained network, apart from its key and its training set."""
    arithmetic = {"arithmetic": model.arithmetic} if model.arithmetic else {}
    return training_description(config, digest) | arithmetic


# --- from the configuration ------------------------------------------------------------------------------------------


def fitting(config: C, m: int, notify: Notify = lambda line: None) -> C:
    """The configuration with a batch of at most the m training records, and a word about it."""
    if config.batch_size <= m:
        return config
    notify(f"--batch_size={config.batch_size} is above the {m:,} training records: each step takes all of them")
    return dataclasses.replace(config, batch_size=m)


def build_trainer(config: Training, model: Model, m: int) -> Trainer:
    """The Trainer of one network, with the defenses that are in training."""
    names = ("l2", "label_smoothing", "mixup", "early_stopping", "dp_noise_multiplier", "dp_clip")
    config = fitting(config, m)
    return regularizers.make_trainer(
        model, build_optimizer(config), config.batch_size, m, **{name: getattr(config, name) for name in names}
    )


def build_optimizer(config: Training) -> optax.GradientTransformation:
    """Adam or SGD; the rate at step t is learning_rate / (1 + t * decay), as in the paper's framework (Torch7)."""

    def rate(step):
        return config.learning_rate / (1.0 + step * config.learning_rate_decay)

    schedule = rate if config.learning_rate_decay else config.learning_rate
    return {"adam": optax.adam, "sgd": optax.sgd}[config.optimizer](schedule)
