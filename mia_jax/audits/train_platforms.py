"""Models of other libraries, trained as a stage that resumes: what is seen of each is an artifact."""

import functools
import importlib.metadata
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax.audits import divergence, stages
from mia_jax.audits.config import Training
from mia_jax.audits.divergence import Diverged
from mia_jax.audits.stages import Look, Models
from mia_jax.progress import Progress
from mia_jax.storage import artifacts
from mia_jax.targets import observation, platforms
from mia_jax.targets.black_box import WrongAnswer
from mia_jax.types import Array, Key, Records, Schema, Seen, Target


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
    notify: Callable[[str], None] = lambda line: None,
) -> Models:
    """Models of another library or of a stand-in: arguments as of ``networks``.

    They are trained when they are first looked at, one after the other, and what is seen of each is an artifact: other
    libraries' models go to disk by pickle only, which nobody should trust. A model that answers with what is no number
    is lost; looking at models raises Diverged for it after all others have been looked at.
    """
    seeds = [stages.key_words(key)[-1] for key in keys]
    train = np.asarray(train)
    descriptions = _descriptions(config, digest, seeds, train)
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
        about = _questions(look, pool, index, [descriptions[k] for k in which])
        found = [workdir.load("answers", d) for d in about]
        missing = np.flatnonzero([artifact is None for artifact in found])
        with progress(title, len(missing)) as advance:
            began = time.perf_counter()
            for k, model in zip(missing, fitted(which[missing]) if len(missing) else (), strict=True):
                seconds = time.perf_counter() - began
                arrays, wrong = _seen(look, model, Records(pool.x[index[k]], pool.y[index[k]]))
                info: dict[str, Any] = {"seconds": seconds}
                if wrong is not None:
                    info["lost"] = f"gives an answer that is none: {wrong}"
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
        return jax.tree.map(lambda *leaves: np.stack(leaves), *(stages.nested(artifact.arrays) for artifact in found))

    names = [artifacts.digest(d) for d in descriptions]
    return Models(names, target, look, lambda: sum(took.values()), lambda: sum(spent), None, lost)


def _seen(look: Look, model: Target, records: Records) -> tuple[dict[str, np.ndarray], str | None]:
    """What observers see of a model, flat; or nothing, and what is wrong with its answers."""
    try:
        seen = observation.observe(look.key, look.observers, stages.wear(model, look.worn), records)
        arrays = stages.flat(jax.tree.map(np.asarray, seen))
        if model.traced and np.isnan(model.ask(records.x)).any():
            return {}, "it is not a number"
    except WrongAnswer as wrong:
        return {}, wrong.reason
    return arrays, None


# --- what names a model, and what is seen of it ----------------------------------------------------------------------


def _descriptions(config: Training, digest: str, seeds: Sequence[int], train: np.ndarray) -> list[dict[str, Any]]:
    """What makes each of the models [K]."""
    packages = {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "jax")}
    described = {"version": stages.VERSION, "data": digest, "kind": config.target_kind, "packages": packages}
    described |= {"source": platforms.source(config.target_kind)} if config.target_kind.startswith("sklearn:") else {}
    return [
        {**described, "seed": seed, "train": artifacts.array_digest(rows)}
        for seed, rows in zip(seeds, train, strict=True)
    ]


def _questions(look: Look, pool: Records, index: Array, models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What makes the answers of each of these models [K']: who is asked, about what, and how."""
    return [
        {
            "model": model,
            "records": artifacts.array_digest(np.asarray(pool.y), np.asarray(rows)),
            "look": {**look.description, "key": stages.key_words(look.key)},
            "worn": [defense.name for defense in look.worn],
        }
        for model, rows in zip(models, index, strict=True)
    ]
