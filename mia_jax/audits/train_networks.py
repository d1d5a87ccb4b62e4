"""Our own networks, trained as a stage that resumes: each is an artifact, and the missing ones are trained."""

import dataclasses
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import jax
import numpy as np

from mia_jax.audits import divergence, seen, sharing, stages
from mia_jax.audits.config import TRAINING_DEFENSES, AuditConfig, network
from mia_jax.audits.divergence import Diverged
from mia_jax.audits.options import PAPER, RECIPE, recipe_of
from mia_jax.audits.seen import Parameters
from mia_jax.audits.sharing import Share, ShareIsMade
from mia_jax.audits.types import Models, Notify, Observation, Run, TrainingJob
from mia_jax.models import networks as models
from mia_jax.models.precision import Precision
from mia_jax.plans import shards
from mia_jax.progress import Advance
from mia_jax.storage import artifacts
from mia_jax.storage.artifacts import Artifact
from mia_jax.targets import black_box
from mia_jax.training import augmentations, many, parallel, recipes, regularizers, timing
from mia_jax.types import Array, EpochInfo, Model, Params, Records, Schema, Seen, Target, Trainer

C = TypeVar("C", bound=AuditConfig)


def networks(run: Run, job: TrainingJob, *, target: bool = False) -> Models:
    """Train the networks that the workdir does not hold yet; each is an artifact of its own.

    Args:
        run: shows epochs done, and tells which network diverged, as soon as that is known.
        job: K networks.
        target: it is the target, which is no share of a shard's: it is trained when it is asked.

    Returns:
        The networks. ``lost`` says which diverged; observing one of those raises Diverged.

    Raises:
        ShareIsMade: the networks of this process's shard are there.
    """
    model, job = prepared(run, job)
    descriptions = describe_each(job, model)
    diverged = _telling_once(job, run.notify)
    if run.shard is None:
        return _all(run, job, model, descriptions, diverged)
    if not target:
        raise ShareIsMade(_share(run, job, model, descriptions, diverged))

    def asked(k: int) -> Target:  # trained, or waited for where another process does so
        return _all(run._replace(shard=None), job, model, descriptions, diverged).target(k)

    return stages.NO_MODELS._replace(names=[artifacts.digest(d) for d in descriptions], target=asked)


def _all(
    run: Run,
    job: TrainingJob,
    model: Model,
    descriptions: Sequence[dict[str, Any]],
    diverged: Callable[[int, int], str],
) -> Models:
    """All networks of a job (of ``prepared``), trained or found."""
    params = Parameters(run.workdir, descriptions, _template(model, job))
    by_number, _ = _trained(run, job, model, descriptions, diverged, keep=params.slim)
    found, classes = [by_number[k] for k in range(len(descriptions))], job.schema.num_classes
    loss, accuracy = (np.stack([artifact.arrays[name] for artifact in found]) for name in ("loss", "accuracy"))
    seconds = sum(artifact.info["seconds"] for artifact in found)
    lost = {k: diverged(k, epoch) for k, epoch in enumerate(params.diverged.tolist()) if epoch}

    def observe_once(asked: Observation) -> dict[str, Seen]:
        if among := {k: what for k, what in lost.items() if asked.which is None or k in asked.which}:
            raise Diverged(job.title, among, len(job.train), divergence.advice(job.config))

        def to_target(params: Params) -> Target:
            return stages.defended(black_box.as_target(model, params, classes), asked.observers.defenses)

        return seen.of_networks(run, asked, descriptions, params, to_target)

    def observe(*observations: Observation) -> list[dict[str, Seen]]:
        return [observe_once(each) for each in observations]

    def target(k: int) -> Target:
        return black_box.as_target(model, jax.tree.map(lambda leaf: leaf[0], params(np.array([k]))), classes)

    names = [artifacts.digest(d) for d in descriptions]
    return Models(names, target, observe, lambda: seconds, lambda: 0.0, (loss, accuracy), lost)


def _share(
    run: Run,
    job: TrainingJob,
    model: Model,
    descriptions: Sequence[dict[str, Any]],
    diverged: Callable[[int, int], str],
) -> Share:
    """Train the networks of this process's shard."""
    mine = shards.dealt(run.shard, len(descriptions))
    _, made = _trained(run, job, model, descriptions, diverged, mine, lambda k, one: one._replace(arrays={}))
    missing = sum(not run.workdir.has("models", d) for d in descriptions)
    return Share(job.title, len(mine), made, len(descriptions), missing)


def prepared(run: Run, job: TrainingJob) -> tuple[Model, TrainingJob]:
    """The network, and the job as it is done: units part of the digest, a batch of at most the training records."""
    config = job.config
    model = build_network(config, job.schema)
    if scaling := models.units(job.schema):  # decided by the schema, which may be of other records
        job = job._replace(digest=artifacts.digest({"data": job.digest, "units": artifacts.array_digest(*scaling)}))
    if model.arithmetic:
        run.notify(f"`model={config.model}`: {model.arithmetic}")
    trained = int((job.train >= 0).sum(axis=1).max()) if isinstance(job.train, np.ndarray) else None
    return model, job._replace(config=fitting(config, job.schema.shape, job.train.shape[1], run.notify, trained))


def _telling_once(job: TrainingJob, notify: Notify) -> Callable[[int, int], str]:
    """(network, epoch in which it diverged) -> what became of it, in words. The user is told once of each network."""
    named: set[int] = set()

    def diverged(k: int, epoch: int) -> str:
        what = f"diverged in epoch {epoch} of {job.config.num_epochs}"
        if k not in named and len(job.train) > 1:  # of a single one an error tells
            named.add(k)
            notify(divergence.named(job.config, job.title, k, len(job.train), what))
        return what

    return diverged


def _trained(
    run: Run,
    job: TrainingJob,
    model: Model,
    descriptions: Sequence[dict[str, Any]],
    diverged: Callable[[int, int], str],
    which: Array | None = None,
    keep: Callable[[int, Artifact], Artifact] = lambda k, artifact: artifact,
) -> tuple[dict[int, Artifact], int]:
    """The artifact of each network, or of those in ``which``; and how many were trained here.

    An artifact is parameters, ``loss`` and ``accuracy`` by epoch. Missing ones are trained, a chunk at a time where
    others may train the rest. ``keep`` (number, artifact) -> what of it is given back.
    """
    found: dict[int, Artifact] = {}
    trained = 0

    def is_there(k: int) -> bool:
        if (artifact := run.workdir.load("models", descriptions[k])) is not None:
            found[k] = keep(k, artifact)
        return artifact is not None

    todo = [int(k) for k in (range(len(descriptions)) if which is None else which)]
    missing = [k for k in todo if not is_there(k)]
    if not missing:
        return found, trained
    epochs, train = job.config.num_epochs, _Training(run, job, model, descriptions, diverged, np.array(missing))
    with run.progress(job.title, len(missing) * epochs) as advance:

        def by_others(k: int) -> bool:
            there = is_there(k)
            advance(epochs * there)
            return there

        for batch in sharing.batches(run, "models", missing, descriptions, by_others, train.at_once):
            made = train.some(np.array(batch), advance)
            found |= {k: keep(k, artifact) for k, artifact in made.items()}
            trained += len(made)
    return found, trained


class _Training:
    """Trains networks of a job, some after others; what is found out at the first holds for all."""

    def __init__(
        self,
        run: Run,
        job: TrainingJob,
        model: Model,
        descriptions: Sequence[dict[str, Any]],
        diverged: Callable[[int, int], str],
        missing: np.ndarray,
    ):
        self.run, self.job, self.descriptions, self.diverged, self.missing = run, job, descriptions, diverged, missing
        self.trainer, self.chunk, self.lanes = way(run, job, model, missing)
        self.pool = job.pool  # on the devices once, if there are several calls

    def at_once(self) -> int:
        """Networks that are trained together, and that no other process trains meanwhile."""
        if not self.run.workdir.shared:
            return len(self.missing)
        if self.chunk is None:
            self.chunk = choose_chunk(self.trainer, self.job, len(self.missing))
        return self.chunk

    def some(self, which: np.ndarray, advance: Advance) -> dict[int, Artifact]:
        """Train these networks; each is kept as soon as its chunk is done."""
        config, made, largest = self.job.config, {}, 0
        if self.run.workdir.shared and self.pool is self.job.pool:
            self.pool = parallel.replicate(Records(*self.job.pool))

        def on_epoch(part: slice, epoch: int, info: EpochInfo) -> None:
            for k in which[part][~np.isfinite(info.loss)]:
                self.diverged(int(k), epoch)
            advance(part.stop - part.start)

        began = time.perf_counter()
        for part, params, info in many.fit_chunks(
            self.trainer,
            self.job.keys[which],
            self.pool,
            self.job.train[which],
            config.num_epochs,
            chunk=self.chunk,
            lanes=self.lanes,
            stopped=regularizers.stopped if config.early_stopping else None,
            on_epoch=on_epoch,
        ):
            largest = max(largest, part.stop - part.start)
            took = (time.perf_counter() - began) / (part.stop - part.start)
            for lane, k in enumerate(which[part]):
                arrays = artifacts.to_arrays(jax.tree.map(operator.itemgetter(lane), params))
                arrays |= {"loss": np.asarray(info.loss[lane]), "accuracy": np.asarray(info.accuracy[lane])}
                self.run.workdir.save("models", self.descriptions[k], arrays, seconds=took)
                made[int(k)] = Artifact(arrays, {"seconds": took})
            began = time.perf_counter()
        if self.chunk is not None and largest < min(self.chunk, len(which)):  # the memory did not suffice for more
            self.chunk = largest
        return made


def choose_chunk(trainer: Trainer, job: TrainingJob, networks: int) -> int:
    """How many of so many networks are trained at once, where ``way`` does not say."""
    index = np.broadcast_to(np.int32(0), (networks, job.train.shape[1]))  # for its size
    return many.choose_chunk(trainer, job.pool, index, jax.local_devices())


def way(run: Run, job: TrainingJob, model: Model, missing: np.ndarray) -> tuple[Trainer, int | None, int | None]:
    """How the missing networks [k] are trained: a Trainer, chunk and lanes of ``many.fit_chunks``.

    On accelerators networks with convolutions are timed first, in each way that there is. What is found is kept for the
    process; no name of an artifact depends on it, for results agree up to rounding.
    """
    config, m, devices = job.config, job.train.shape[1], jax.local_device_count()
    trainer = build_trainer(config, model, m)
    if jax.default_backend() == "cpu" or config.lanes or config.chunk or not models.has_convolutions(model, job.pool.x):
        return trainer, config.chunk or (config.lanes and config.lanes * devices), config.lanes
    described = artifacts.digest(description(config, model, job.digest) | {"records": m})
    if described not in _FASTEST:
        ways = {"the vendor's convolutions": trainer, "patches": build_trainer(config, models.by_patches(model), m)}
        keys, index = job.keys[missing], job.train[missing, : timing.RECORDS]
        _FASTEST[described] = ways, timing.fastest(ways, keys, job.pool, index, notify=run.notify)
    ways, way = _FASTEST[described]
    return ways[way.name], way.lanes * devices, way.lanes


_FASTEST: dict[str, tuple[dict[str, Trainer], timing.Way]] = {}  # what was found out in this process


def _template(model: Model, job: TrainingJob) -> Params:
    """The parameters of one network, as shapes."""
    return jax.eval_shape(model.init, job.keys[0], job.pool.x[:1])


# --- what names a network --------------------------------------------------------------------------------------------


def describe_each(job: TrainingJob, model: Model) -> list[dict[str, Any]]:
    """What makes each of the networks [K]."""
    described = description(job.config, model, job.digest)
    described |= {"program": models.program_digest(model, job.pool.x)} if ":" in network(job.config) else {}
    return [
        {**described, "key": stages.key_words(key), "train": artifacts.array_digest(rows)}
        for key, rows in zip(job.keys, job.train, strict=True)
    ]


def training_description(config: AuditConfig, digest: str) -> dict[str, Any]:
    """What makes a trained model, apart from its key and its training set."""
    names = ("model", "hidden", "num_epochs", "batch_size", "learning_rate", "learning_rate_decay", "optimizer")
    described = {
        "version": stages.VERSION,
        "data": digest,
        **{name: getattr(config, name) for name in (*names, *TRAINING_DEFENSES)},
        **{name: getattr(config, name) for name in RECIPE if getattr(config, name) != getattr(PAPER, name)},
        "model_source": models.source_digest(network(config)),
        "jax": jax.__version__,
        "backend": jax.default_backend(),
    }
    return described | ({} if config.dp_noise_multiplier is None else {"dp_clip": config.dp_clip})


def description(config: AuditConfig, model: Model, digest: str) -> dict[str, Any]:
    """What makes a trained network, apart from its key and its training set."""
    arithmetic = {"arithmetic": model.arithmetic} if model.arithmetic else {}
    precision = {"precision": config.precision} if config.precision != "float32" else {}
    return training_description(config, digest) | arithmetic | precision


# --- from the configuration ------------------------------------------------------------------------------------------


def build_network(config: AuditConfig, schema: Schema) -> Model:
    """The network of a run, in its precision.

    Raises:
        InputError: as ``networks.build``.
    """
    precision = cast(Precision, config.precision)  # one of the field's choices
    return models.build(network(config), schema, hidden=config.hidden, dropout=config.dropout, precision=precision)


def fitting(
    config: C, shape: Sequence[int], m: int, notify: Notify = lambda line: None, trained: int | None = None
) -> C:
    """The configuration as it is for these records, and a word about what is changed.

    A batch has at most the m training records. What a recipe does to images is not done to records that are none.

    Args:
        config: of the networks.
        shape: of a record, *f.
        m: training records of one network.
        notify: told what is changed.
        trained: of the m, those that do train the network with the most, where coins leave some out.

    Raises:
        InputError: an augmentation of images that was asked for, and records that are none.
    """
    of_images = recipes.named(config.recipe).image_augmentation
    if of_images and config.image_augmentation == of_images and len(shape) == 1:
        notify(f"`recipe={config.recipe}` augments images; these records are none, and are left as they are")
        config = dataclasses.replace(config, image_augmentation="")
    augmentations.check(augmentations.parse(config.image_augmentation), shape)
    if config.batch_size > m:
        some = trained is not None and trained < m
        called = f"{m:,} records that may train, of which {trained:,} do" if some else f"{m:,} training records"
        notify(f"`batch_size={config.batch_size}` is above the {called}: each step takes all of them")
        config = dataclasses.replace(config, batch_size=m)
    steps, over = recipe_of(config).steps(m), 1 / (1 - config.ema)
    if steps < over:  # the average of nearly all that the network ever was
        notify(
            f"note: `ema={config.ema:g}` averages over {over:,.0f} steps, and the training has {steps:,}: a lower one,"
            " or 0, answers with what was learned last"
        )
    return config


def build_trainer(config: AuditConfig, model: Model, m: int) -> Trainer:
    """The Trainer of one network by its recipe, with the defenses that are in training."""
    names = ("l2", "mixup", "early_stopping", "dp_noise_multiplier", "dp_clip")
    return recipes.make_trainer(model, recipe_of(config), m, **{name: getattr(config, name) for name in names})
