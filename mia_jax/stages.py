"""Training and looking, as stages that resume: what audits of every kind are made of.

``networks`` trains our own networks, ``platform_models`` those of other libraries; both give ``Models``, which is all
that an audit needs of a target and its shadows: who they are, each as a black box, and what observers saw of them.
"""

import dataclasses
import functools
import operator
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import optax

from mia_jax import (
    artifacts,
    attacks,
    defences,
    divergence,
    models,
    platforms,
    regularisers,
    shadows,
    targets,
    training,
)
from mia_jax.config import TRAINING_DEFENCES, Training
from mia_jax.divergence import Diverged
from mia_jax.progress import Progress
from mia_jax.shadows import Observer
from mia_jax.targets import WrongAnswer
from mia_jax.types import (
    Array,
    Defence,
    EpochInfo,
    Key,
    Model,
    Params,
    Records,
    Remember,
    Schema,
    Seen,
    Target,
)

C = TypeVar("C", bound=Training)
Notify = Callable[[str], None]
VERSION = 1  # of what artefacts mean: raise it when the same description would give other numbers


class Models(NamedTuple):
    """Trained models, as far as an audit needs them; K of them."""

    names: list[str]  # of each, the digest of what made it
    target: Callable[[int], Target]  # the k-th, without defences at its answers
    # (Look, pool, index [K', n], which [K'] = all) -> name -> seen, NumPy leaves [K', n, ...]
    look: Callable[..., dict[str, Seen]]
    seconds: Callable[[], float]  # what training took, whenever it was done
    spent: Callable[[], float]  # of it, what was spent inside ``look`` in this process
    curves: tuple[np.ndarray, np.ndarray] | None  # loss and accuracy [K, epochs], where there is such a thing
    # Of those whose training diverged: model -> what became of it, in words. Other libraries' models show it when they
    # are looked at.
    lost: Mapping[int, str]


class Look(NamedTuple):
    """How models are looked at."""

    key: Key  # the same for shadows and target: what an observer draws for a record, it draws everywhere
    observers: Mapping[str, Observer]
    worn: tuple[Defence, ...]  # by the models, at their answers
    description: Mapping[str, Any]  # JSON values that tell the observers


def stage_key(root: Key, stage: str) -> Key:
    """The key of a stage: its random numbers depend on its name, not on what ran before."""
    return jax.random.fold_in(root, zlib.crc32(stage.encode()))


def key_words(key: Key) -> list[int]:
    """A key as JSON."""
    return [int(word) for word in np.asarray(jax.random.key_data(key)).reshape(-1)]


def wear(target: Target, worn: tuple[Defence, ...]) -> Target:
    """The target behind defences, at the one floor that they end at together, and what its answers look like then."""
    if not worn:
        return target
    together = defences.compose(worn)
    return targets.defend(target, together, answers=together.after(target.answers))


# --- our own networks ------------------------------------------------------------------------------------------------


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
    """Train the networks that the workdir does not hold yet; each is an artefact of its own.

    Args:
        workdir: of the run.
        config: the network, its training and the defences in it.
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
    trained = _train(workdir, config, model, pool, digest, keys, train, title, progress, notify)
    lost = _lost(config, title, trained, notify)

    def look(look: Look, pool: Records, index: Array, which: Array | None = None) -> dict[str, Seen]:
        if among := {k: what for k, what in lost.items() if which is None or k in which}:
            raise Diverged(title, among, len(train), divergence.advice(config))

        def to_target(params: Params) -> Target:
            return wear(targets.as_target(model, params, schema.num_classes), look.worn)

        params = trained.params if which is None else jax.tree.map(lambda leaf: leaf[which], trained.params)
        return shadows.observe_shadows(look.key, look.observers, to_target, params, pool, index)

    def target(k: int) -> Target:
        return targets.as_target(model, jax.tree.map(lambda leaf: leaf[k], trained.params), schema.num_classes)

    curves = trained.loss, trained.accuracy
    return Models(trained.names, target, look, lambda: trained.seconds, lambda: 0.0, curves, lost)


def _lost(config: Training, title: str, trained: "Trained", notify: Notify) -> dict[int, str]:
    """The networks that diverged, and when, in words; those that have not been named yet are."""
    total, lost = len(trained.names), {}
    for k, epoch in enumerate(training.diverged(trained.params, trained.loss)):
        if epoch:
            lost[k] = f"diverged in epoch {epoch} of {config.num_epochs}"
            if k not in trained.named and total > 1:  # of a single one an error tells
                notify(divergence.named(config, title, k, total, lost[k]))
    return lost


def fitting(config: C, m: int, notify: Notify = lambda line: None) -> C:
    """The configuration with a batch of at most the m training records, and a word about it."""
    if config.batch_size <= m:
        return config
    notify(f"--batch_size={config.batch_size} is above the {m:,} training records: each step takes all of them")
    return dataclasses.replace(config, batch_size=m)


class Trained(NamedTuple):
    params: Params  # leaves [K, ...]
    loss: np.ndarray  # [K, epochs]
    accuracy: np.ndarray  # [K, epochs]
    names: list[str]
    seconds: float
    named: set[int]  # the networks that somebody was told to have diverged


def _train(
    workdir: artifacts.Workdir,
    config: Training,
    model: Model,
    pool: Records,
    digest: str,
    keys: Key,
    train: np.ndarray,
    title: str,
    progress: Progress,
    notify: Notify,
) -> Trained:
    described = description(config, model, digest)
    described |= {"program": models.program_digest(model, pool.x)} if ":" in config.model else {}
    descriptions = [
        {**described, "key": key_words(keys[k]), "train": artifacts.array_digest(train[k])} for k in range(len(keys))
    ]
    found = [workdir.load("models", d) for d in descriptions]
    missing = np.flatnonzero([artifact is None for artifact in found])
    named: set[int] = set()
    if len(missing):

        def on_epoch(part: slice, epoch: int, info: EpochInfo) -> None:
            for k in missing[part][~np.isfinite(info.loss)]:
                if k not in named and len(keys) > 1:
                    named.add(int(k))
                    what = f"diverged in epoch {epoch} of {config.num_epochs}"
                    notify(divergence.named(config, title, int(k), len(keys), what))
            advance(part.stop - part.start)

        trainer = build_trainer(config, model, train.shape[1])
        with progress(title, len(missing) * config.num_epochs) as advance:
            began = time.perf_counter()
            for part, params, info in training.fit_chunks(
                trainer,
                keys[missing],
                pool,
                train[missing],
                config.num_epochs,
                chunk=config.chunk,
                stopped=regularisers.stopped if config.early_stopping else None,
                on_epoch=on_epoch,
            ):
                took = (time.perf_counter() - began) / (part.stop - part.start)
                for lane, k in enumerate(missing[part]):
                    arrays = artifacts.to_arrays(jax.tree.map(operator.itemgetter(lane), params))
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
        named=named,
    )


def training_description(config: Training, digest: str) -> dict[str, Any]:
    """What makes a trained model, apart from its key and its training set."""
    names = ("model", "hidden", "num_epochs", "batch_size", "learning_rate", "learning_rate_decay", "optimizer")
    described = {
        "version": VERSION,
        "data": digest,
        **{name: getattr(config, name) for name in (*names, *TRAINING_DEFENCES)},
        "model_source": models.source_digest(config.model),
        "jax": jax.__version__,
        "backend": jax.default_backend(),
    }
    return described | ({} if config.dp_noise_multiplier is None else {"dp_clip": config.dp_clip})


def description(config: Training, model: Model, digest: str) -> dict[str, Any]:
    """What makes a trained network, apart from its key and its training set."""
    arithmetic = {"arithmetic": model.arithmetic} if model.arithmetic else {}
    return training_description(config, digest) | arithmetic


def build_trainer(config: Training, model: Model, m: int) -> training.Trainer:
    """The Trainer of one network, with the defences that are in training."""
    names = ("l2", "label_smoothing", "mixup", "early_stopping", "dp_noise_multiplier", "dp_clip")
    config = fitting(config, m)
    return regularisers.make_trainer(
        model, build_optimizer(config), config.batch_size, m, **{name: getattr(config, name) for name in names}
    )


def build_optimizer(config: Training) -> optax.GradientTransformation:
    """Adam or SGD; the rate at step t is learning_rate / (1 + t * decay), as in the paper's framework (Torch7)."""

    def rate(step):
        return config.learning_rate / (1.0 + step * config.learning_rate_decay)

    schedule = rate if config.learning_rate_decay else config.learning_rate
    return {"adam": optax.adam, "sgd": optax.sgd}[config.optimizer](schedule)


# --- other platforms -------------------------------------------------------------------------------------------------


def platform_models(
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
    """Models of another library or of a stand-in: arguments as of ``networks``.

    They are trained when they are first looked at, one after the other, and what is seen of each is an artefact: other
    libraries' models go to disk by pickle only, which nobody should trust. A model that answers with what is no number
    is lost; looking at models raises Diverged for it after all others have been looked at.
    """
    seeds = [key_words(key)[-1] for key in keys]
    train = np.asarray(train)
    described = {"version": VERSION, "data": digest, "kind": config.target_kind, "packages": _packages()}
    described |= {"source": platforms.source(config.target_kind)} if config.target_kind.startswith("sklearn:") else {}
    descriptions = [
        {**described, "seed": seed, "train": artifacts.array_digest(rows)}
        for seed, rows in zip(seeds, train, strict=True)
    ]
    took: dict[int, float] = {}  # by model, whenever it was trained
    spent: list[float] = []  # here and now
    lost: dict[int, str] = {}

    def fitted(which: np.ndarray):
        return platforms.train(config.target_kind, pool, train[which], [seeds[k] for k in which], schema.num_classes)

    @functools.cache
    def target(k: int) -> Target:
        return next(iter(fitted(np.array([k]))))

    def look(look: Look, pool: Records, index: Array, which: Array | None = None) -> dict[str, Seen]:
        which = np.arange(len(train)) if which is None else np.asarray(which)
        about = [
            {
                "model": descriptions[k],
                "records": artifacts.array_digest(np.asarray(pool.y), np.asarray(rows)),
                "look": {**look.description, "key": key_words(look.key)},
                "worn": [defence.name for defence in look.worn],
            }
            for k, rows in zip(which, index, strict=True)
        ]
        found = [workdir.load("answers", d) for d in about]
        missing = np.flatnonzero([artifact is None for artifact in found])
        with progress(title, len(missing)) as advance:
            began = time.perf_counter()
            for k, model in zip(missing, fitted(which[missing]) if len(missing) else (), strict=True):
                seconds = time.perf_counter() - began
                records = Records(pool.x[index[k]], pool.y[index[k]])
                info: dict[str, Any] = {"seconds": seconds}
                try:
                    seen = shadows.observe(look.key, look.observers, wear(model, look.worn), records)
                    arrays = flat(jax.tree.map(np.asarray, seen))
                    if model.traced and np.isnan(model.ask(records.x)).any():
                        raise WrongAnswer(0, "it is not a number")
                except WrongAnswer as wrong:
                    arrays, info["lost"] = {}, f"is of no use, for of what it answers {wrong.reason}"
                    notify(f"warning: {divergence.called(title, which[k], len(train))} {info['lost']}")
                workdir.save("answers", about[k], arrays, **info)
                found[k] = artifacts.Artifact(arrays, info)
                spent.append(seconds)
                advance(1)
                began = time.perf_counter()
        took.update({int(k): a.info["seconds"] for k, a in zip(which, found, strict=True) if int(k) not in took})
        gone = {int(k): a.info["lost"] for k, a in zip(which, found, strict=True) if "lost" in a.info}
        if gone:
            lost.update(gone)
            raise Diverged(title, gone, len(train), divergence.advice(config))
        return jax.tree.map(lambda *leaves: np.stack(leaves), *(nested(artifact.arrays) for artifact in found))

    names = [artifacts.digest(d) for d in descriptions]
    return Models(names, target, look, lambda: sum(took.values()), lambda: sum(spent), None, lost)


def build_models(config: Training) -> Callable[..., Models]:
    """Who trains, by ``--target_kind``: ``networks`` or ``platform_models``, which are called alike."""
    return networks if config.target_kind == "nn" else platform_models


def _packages() -> dict[str, str]:
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "jax")}


def remembering(workdir: artifacts.Workdir, stage: str, done: Callable[[float], Any]) -> Remember:
    """Parts of long work as artefacts of a stage; ``done`` is told of each, and what it took an earlier run."""

    def remember(about: Mapping[str, Any]):
        described = {name: artifacts.array_digest(v) if isinstance(v, np.ndarray) else v for name, v in about.items()}
        described |= {"stages": VERSION, "jax": jax.__version__, "backend": jax.default_backend()}
        described |= {"source": attacks.sources([about["attack"]])} if "attack" in about else {}

        def kept(part: str, work: Callable[[], dict]) -> dict:
            held = workdir.load(stage, {**described, "part": part})
            if held is not None:
                done(held.info["seconds"])
                return nested(held.arrays)
            began = time.perf_counter()
            made = work()
            workdir.save(stage, {**described, "part": part}, flat(made), seconds=time.perf_counter() - began)
            done(0.0)
            return made

        return kept

    return remember


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one, for an artefact: {"a": {"b": x}} as {"a/b": x}."""
    out: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        out |= flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return out


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of ``flat``."""
    out: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        functools.reduce(lambda tree, folder: tree.setdefault(folder, {}), folders, out)[name] = array
    return out
