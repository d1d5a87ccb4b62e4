"""Models of other libraries, trained as a stage that resumes: what is seen of each is an artifact."""

import functools
import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax.audits import bounds, divergence, sharing, stages
from mia_jax.audits import seen as seen_of
from mia_jax.audits.divergence import Diverged
from mia_jax.audits.sharing import Share, ShareIsMade
from mia_jax.audits.types import Models, Observation, Run, TrainingJob
from mia_jax.plans import shards
from mia_jax.storage import artifacts, stored
from mia_jax.storage.artifacts import Artifact
from mia_jax.targets import estimators, named_columns, observation, platforms, processes
from mia_jax.targets.black_box import WrongAnswer
from mia_jax.targets.trainers import Platform
from mia_jax.types import Records, Seen, Target


def platform_models(run: Run, job: TrainingJob) -> Models:
    """Models of another library or of a stand-in; as ``networks``.

    They are trained when they are first observed, one after the other, and what is seen of each is an artifact: other
    libraries' models go to disk by pickle only, which nobody should trust. A model that answers with what is no number
    is lost; observing models raises Diverged for it after all others have been observed.
    """
    total = len(job.train)
    seeds = [stages.key_words(key)[-1] for key in job.keys]
    descriptions = _descriptions(job, seeds)
    took: dict[int, float] = {}  # by model, whenever it was trained
    spent: list[float] = []  # here and now
    lost: dict[int, str] = {}

    @functools.cache
    def platform() -> Platform:
        made = processes.side_by_side(job.config.target_kind, job.schema.num_classes, job.config.jobs)
        return named_columns.with_names(made, job.schema) if estimators.wants_names(job.config.target_kind) else made

    def fitted(which: Sequence[int]) -> Iterator[Target]:
        rows = job.train[np.asarray(which, int)]
        return platforms.train(platform(), job.pool, rows, [seeds[k] for k in which], job.schema.num_classes)

    @functools.cache
    def target(k: int) -> Target:
        return next(iter(fitted([k])))

    def observe(*observations: Observation) -> list[dict[str, Seen]]:
        asked = _Asked(run, observations, descriptions)
        mine = [int(k) for k in shards.dealt(run.shard, total) if k in asked.where]
        missing = [k for k in mine if not asked.is_there(k)]
        few = max(platforms.AT_ONCE * jax.local_device_count(), 2 * job.config.jobs)
        at_once = few if run.workdir.shared else max(1, len(missing))
        trained_before = len(spent)
        if len(missing) < len(mine) and not took:  # nor asked before by this process
            run.notify(stages.trained_before(len(mine) - len(missing), len(mine), job.title, run.workdir))
        with run.progress(job.title, len(missing)) as advance:

            def by_others(k: int) -> bool:
                if there := asked.is_there(k):
                    advance(1)
                return there

            for batch in sharing.batches(run, "answers", missing, descriptions, by_others, lambda: at_once):
                began = time.perf_counter()
                for k, model in zip(batch, fitted(batch), strict=True):
                    spent.append(time.perf_counter() - began)
                    if gone := asked.keep(k, model, spent[-1]):  # the user is told once
                        run.notify(f"warning: {divergence.called(job.title, k, total)} {gone}")
                    advance(1)
                    began = time.perf_counter()
        if run.shard is not None:
            raise ShareIsMade(
                Share(job.title, len(mine), len(spent) - trained_before, len(asked.where), asked.missing())
            )
        for (_, k), artifact in asked.seen.items():
            took.setdefault(k, artifact.info["seconds"])
        if gone := {k: artifact.info["lost"] for (_, k), artifact in asked.seen.items() if "lost" in artifact.info}:
            lost.update(gone)
            raise Diverged(job.title, gone, total, divergence.advice(job.config))
        return asked.stacked()

    names = [artifacts.digest(d) for d in descriptions]
    return Models(names, target, observe, lambda: sum(took.values()), lambda: sum(spent), None, lost)


class _Asked:
    """Observations of models, as far as they are there: what is seen of a model is an artifact."""

    def __init__(self, run: Run, observations: Sequence[Observation], descriptions: Sequence[dict[str, Any]]):
        self.workdir, self.observations = run.workdir, observations
        self.rows = [_rows_by_model(each, len(descriptions)) for each in observations]
        self.names = {
            (i, k): seen_of.question(observations[i], row, descriptions[k])
            for i, by_model in enumerate(self.rows)
            for k, row in by_model.items()
        }
        # By model: the observations in which it is asked.
        self.where = {k: [i for i, by_model in enumerate(self.rows) if k in by_model] for _, k in sorted(self.names)}
        self.seen: dict[tuple[int, int], Artifact] = {}  # by observation and model

    def is_there(self, k: int) -> bool:
        """Whether all that is to be seen of a model is there; it is loaded, then."""
        for at in ((i, k) for i in self.where[k]):
            if at not in self.seen and (artifact := self.workdir.load("answers", self.names[at])) is not None:
                self.seen[at] = self._kept(at, artifact)
        return all((i, k) in self.seen for i in self.where[k])

    def keep(self, k: int, model: Target, seconds: float) -> str:
        """Observe a model that took so long to train; returns what is wrong with its answers, if anything is."""
        wrong = ""
        for at in [(i, k) for i in self.where[k] if (i, k) not in self.seen]:
            made = _see(self.observations[at[0]], self.rows[at[0]][k], model, seconds)
            self.workdir.save("answers", self.names[at], made.arrays, **made.info)
            self.seen[at] = self._kept(at, made)
            wrong = wrong or made.info.get("lost", "")
        return wrong

    def _kept(self, at: tuple[int, int], artifact: Artifact) -> Artifact:
        """What was seen of one model, or where it lies, if that of all models is too much to be held."""
        if (
            not self.observations[at[0]].in_parts
            or len(self.rows[at[0]]) * seen_of.bytes_of(artifact.arrays) <= bounds.HELD
        ):
            return artifact
        return self.workdir.located("answers", self.names[at], artifact)

    def missing(self) -> int:
        """Models that nobody has observed."""
        return sum(
            not all(self.workdir.has("answers", self.names[i, k]) for i in where) for k, where in self.where.items()
        )

    def stacked(self) -> list[dict[str, Seen]]:
        """Of each observation, what is seen: leaves [K', n, ...]."""
        return [_stacked([self.seen[i, k] for k in by_model]) for i, by_model in enumerate(self.rows)]


def _rows_by_model(asked: Observation, total: int) -> dict[int, np.ndarray]:
    """Number of each model that is asked -> the rows [n] that it is asked about."""
    which = range(total) if asked.which is None else np.asarray(asked.which)
    return {int(k): row for k, row in zip(which, np.asarray(asked.index), strict=True)}


def _see(asked: Observation, rows: np.ndarray, model: Target, seconds: float) -> Artifact:
    """What observers see of a model that took so long to train; or nothing, and what is wrong with its answers."""
    observers, pool = asked.observers, asked.pool
    records = Records(pool.x[rows], pool.y[rows])
    wrong = None
    try:
        defended = stages.defended(model, observers.defenses)
        seen = observation.observe(observers.key, observers.by_name, defended, records)
        arrays = stages.flat(jax.tree.map(np.asarray, seen))
        if model.traced and np.isnan(model.ask(records.x)).any():
            wrong = "it is not a number"
    except WrongAnswer as error:
        wrong = error.reason
    if wrong is not None:
        return Artifact({}, {"seconds": seconds, "lost": f"gives an answer that is none: {wrong}"})
    return Artifact(arrays, {"seconds": seconds})


def _stacked(seen: Sequence[Artifact]) -> dict[str, Seen]:
    """What is seen of K models: leaves [K, n, ...], Rows where they are not held."""
    each = {name: [artifact.arrays[name] for artifact in seen] for name in seen[0].arrays}
    held = all(isinstance(array, np.ndarray) for arrays in each.values() for array in arrays)
    stack: Any = np.stack if held else stored.stack
    return stages.nested({name: stack(arrays) for name, arrays in each.items()})


# --- what names a model, and what is seen of it ----------------------------------------------------------------------


def _descriptions(job: TrainingJob, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """What makes each of the models [K]."""
    kind = job.config.target_kind
    packages = {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "jax")}
    described = {"version": stages.VERSION, "data": job.digest, "kind": kind, "packages": packages}
    described |= {"source": platforms.source(kind)} if ":" in kind else {}
    return [
        {**described, "seed": seed, "train": artifacts.array_digest(rows)}
        for seed, rows in zip(seeds, job.train, strict=True)
    ]
