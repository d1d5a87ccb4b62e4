"""What a run will take, told before anything long starts: a few real steps are timed, the rest is arithmetic.

Steps of training and of observing are those of the run itself: its networks, batches, chunks, devices and attacks, on
its own records, of which a few are taken. Seconds are a line in the number of records, through two measurements; whole
runs are multiples of that. Nothing is written.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.audits import bounds, seen, stages, train_networks
from mia_jax.audits import config as configs
from mia_jax.audits.config import AuditConfig
from mia_jax.audits.outlines import Outline
from mia_jax.audits.types import Observation, Run, TrainingJob
from mia_jax.data import limits
from mia_jax.plans import shards
from mia_jax.reports.results import printable
from mia_jax.storage import places
from mia_jax.targets import black_box, observation
from mia_jax.training import many, parallel
from mia_jax.types import Attack, Model, Params, Records, Seen, Target, Trainer

FEW, MORE = 2, 12  # steps of training that are timed
RECORDS = (256, 4096)  # that networks are asked about, and attacks judge, while they are timed
COSTLY = (4, 24)  # the same where many questions are asked about each
SHADOWS = 16  # of an attack that is timed
LONG = 3.0  # seconds of one piece of work: it is enough to be multiplied
ENOUGH = 0.2  # seconds of epochs that are timed, where there are so many
PAGE = 10.0  # seconds that tables, figures and the page take, about
ARTIFACT = 4096  # bytes of an artifact beside its arrays, about


class Affine(NamedTuple):
    """Seconds of work on n records: ``start + each * n``."""

    start: float
    each: float

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> "Affine":
        """The line through two measurements (n, seconds); where they are of one n, through zero."""
        (few, quick), (more, slow) = small, large
        if more <= few:
            return cls(0.0, slow / max(more, 1))
        each = max(slow - quick, 0.0) / (more - few)
        return cls(max(quick - each * few, 0.0), each)

    def __call__(self, n: int) -> float:
        return self.start + self.each * n


class Training(NamedTuple):
    """What was timed of training."""

    compiling: float  # seconds
    chunk: int  # networks at once
    around: float  # seconds of a chunk beside its epochs
    epoch: Affine  # of a chunk, by records of a training set

    def seconds(self, networks: int, epochs: int, m: int) -> float:
        """Of so many networks on m records each."""
        if not networks:
            return 0.0
        return self.compiling + math.ceil(networks / self.chunk) * (self.around + epochs * self.epoch(m))


class Observing(NamedTuple):
    """What was timed of one observation, of ``seen.CHUNK`` networks at once."""

    models: int  # that are asked
    n: int  # records that each is asked about
    compiling: float
    chunk: Affine  # by records

    def seconds(self) -> float:
        """Of all models."""
        return self.compiling + math.ceil(self.models / seen.CHUNK) * self.chunk(self.n)


class Attacking(NamedTuple):
    """What was timed of one attack that compares a record with itself in other models."""

    shadows: int  # of all its fits together
    n: int
    one: Affine  # for each shadow, by records

    def seconds(self) -> float:
        """Of all targets."""
        return self.shadows * self.one(self.n)


class Prediction(NamedTuple):
    """What a run will take."""

    title: str  # of the models
    total: int
    missing: int  # models that are still to be trained
    m: int  # records that each trains on
    epochs: int
    training: Training | None  # None: nothing is left to train
    observing: Mapping[str, Observing]
    attacking: Mapping[str, Attacking]
    uncounted: Sequence[str]  # attacks of which it is not known
    memory: bounds.Bound
    disk: Mapping[str, int]  # what -> bytes that are still to be written
    shards: Sequence[int]  # models that each shard is still to train; empty without shards

    def seconds(self) -> dict[str, float]:
        """By step."""
        trained = self.training.seconds(self.missing, self.epochs, self.m) if self.training else 0.0
        return {
            "training": trained,
            "observing": sum(each.seconds() for each in self.observing.values()),
            "attacks": sum(each.seconds() for each in self.attacking.values()),
            "tables, figures, page": PAGE,
        }

    def lines(self) -> list[str]:
        """For people."""
        steps, found = self.seconds(), self.total - self.missing
        out = [f"{self.missing:,} of {self.total:,} {self.title} are to be trained"]
        out[0] += f", {found:,} are there" if found else ""
        if self.training is not None:
            out[0] += (
                f": {math.ceil(self.missing / self.training.chunk):,} times {self.training.chunk:,} at once,"
                f" {self.epochs:,} epochs of {self.m:,} records, {duration(self.training.epoch(self.m))} each"
            )
        out += [f"  {step:<24}{duration(took):>12}" for step, took in steps.items()]
        out.append(f"  {'in all':<24}{duration(sum(steps.values())):>12}")
        if self.shards:
            most, rest = max(self.shards), sum(steps.values()) - steps["training"]
            each = self.training.seconds(most, self.epochs, self.m) if self.training else 0.0
            out.append(
                f"  each of {len(self.shards):,} shards {duration(each):>12} for {most:,} models at most, on a machine"
                f" like this; then {duration(rest)} in the command that goes on"
            )
        if self.uncounted:
            out.append(f"Not counted, as how long they take is not known before: {', '.join(self.uncounted)}")
        out.append(f"Memory: {self.memory}")
        parts = ", ".join(f"{limits.amount(size)} {what}" for what, size in self.disk.items() if size)
        out.append(f"Disk: {limits.amount(sum(self.disk.values()))} more" + (f" ({parts})" if parts else ""))
        return out


def duration(seconds: float) -> str:
    """Seconds for people, as in 3.2 h."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def predict(run: Run, outline: Outline, count: int) -> Prediction:
    """Time a few steps of a run, and multiply.

    Args:
        run: its workdir is looked into.
        outline: what is to be done.
        count: shards that make the models; 1: no shards.
    """
    model, job = train_networks.prepared(run, outline.job)
    described = train_networks.describe_each(job, model)
    there = [run.workdir.has("models", description) for description in described]
    beside = [run.workdir.has("models", one) for more in outline.beside for one in _described(run, more)]
    missing, m = [*there, *beside].count(False), job.train.shape[1]
    params = jax.eval_shape(model.init, job.keys[0], job.pool.x[:1])
    run.notify("Timing a few steps of training, of observing and of attacks; nothing is written")
    training = _training(run, job, model, _some(there)) if missing else None

    def to_target(asked: Observation) -> Callable[[Params], Target]:
        def defended(params: Params) -> Target:
            bare = black_box.as_target(model, params, job.schema.num_classes)
            return stages.defended(bare, asked.observers.defenses)

        return defended

    some = jax.vmap(model.init, (0, None))(job.keys[: seen.CHUNK], job.pool.x[:1])
    models, observations = len(described), outline.observations
    if "costly" in observations:
        names = ", ".join(observations["costly"].observers.by_name)
        run.notify(f"That of {names} takes minutes where networks are large; `attacks` can leave them out")
    observing = {what: _observing(what, asked, some, to_target(asked), models) for what, asked in observations.items()}
    judged = set() if missing else _judged(run.config)
    attacking = {
        name: _attacking(attack, _fake(outline, name, to_target, params), outline, name)
        for name, attack in outline.attacks.items()
        if name not in judged
    }
    shapes = [
        (_models(asked, models), seen.bytes_of(seen.one_model(asked, to_target(asked), params, asked.index.shape[1])))
        for asked in observations.values()
        if asked.in_parts
    ]
    disk = {
        "of networks": missing * (seen.bytes_of(params) + 8 * job.config.num_epochs + ARTIFACT),
        "of what is seen": sum(count * (size + ARTIFACT) for count, size in shapes if count * size > bounds.HELD),
        "of scores": outline.scores if missing or attacking else 0,
    }
    dealt = [shards.dealt(shards.Shard(i, count), models) for i in range(count)] if count > 1 else []
    return Prediction(
        job.title,
        models + len(beside),
        missing,
        m,
        job.config.num_epochs,
        training,
        observing,
        attacking,
        outline.uncounted,
        outline.memory,
        disk,
        [sum(not there[k] for k in each) for each in dealt],
    )


def _judged(config: AuditConfig) -> set[str]:
    """Attacks of a finished run of this very configuration, whose scores are there."""
    asked = configs.identity(config)
    asked |= {name: getattr(config, name) for name in ("num_models", "num_targets") if hasattr(config, name)}
    try:
        made = json.loads(places.read(configs.workdir(config), "results.json"))
        same = all(made["config"][name] == value for name, value in printable(asked).items())
        return {*made["attacks"]} if same else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _described(run: Run, job: TrainingJob) -> list[dict[str, Any]]:
    model, job = train_networks.prepared(run, job)
    return train_networks.describe_each(job, model)


def _some(there: Sequence[bool]) -> np.ndarray:
    """Models that are still to be trained; where all are there, and another is not, the first stands for it."""
    missing = np.flatnonzero(~np.array(there))
    return missing if len(missing) else np.zeros(1, int)


def _models(asked: Observation, total: int) -> int:
    return total if asked.which is None else len(asked.which)


# --- timing ----------------------------------------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that compiling takes, and seconds of the work: it is done three times, or twice where it is ``LONG``."""
    took: list[float] = []
    while len(took) < 2 or (len(took) < 3 and took[-1] < LONG):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return max(took[0] - min(took[1:]), 0.0), min(took[1:])


def _training(run: Run, job: TrainingJob, model: Model, missing: np.ndarray) -> Training:
    """Epochs of a few steps, of as many networks as are trained at once."""
    trainer, chunk, lanes = train_networks.way(run, job, model, missing)
    m, batch = job.train.shape[1], job.config.batch_size
    if chunk is None:
        chunk = train_networks.choose_chunk(trainer, job, len(missing))
    chunk = min(chunk, len(missing))
    pool = parallel.replicate(Records(*job.pool))
    some, few, more = missing[:chunk], min(m, FEW * batch), min(m, MORE * batch)

    def epochs(records: int, count: int) -> tuple[float, float]:
        index = job.train[some, :records]
        return timed(lambda: _fit(trainer, job.keys[some], pool, index, count, chunk, lanes))

    compiling, short = epochs(few, 1)
    _, long = epochs(more, 1)
    count, several = 1, short
    while several - short < ENOUGH and count < job.config.num_epochs:  # epochs are milliseconds where records are few
        count = min(4 * count, job.config.num_epochs)
        _, several = epochs(few, count)
    epoch = max(several - short, 0.0) / (count - 1) if count > 1 else short
    line = Affine.through((few, epoch), (more, epoch + max(long - short, 0.0)))
    return Training(compiling, chunk, max(short - epoch, 0.0), line)


def _fit(trainer: Trainer, keys, pool: Records, index: np.ndarray, epochs: int, chunk: int, lanes: int | None) -> None:
    for _ in many.fit_chunks(trainer, keys, pool, index, epochs, chunk=chunk, lanes=lanes):
        pass


def _observing(
    what: str, asked: Observation, params: Params, to_target: Callable[[Params], Target], total: int
) -> Observing:
    index, models = np.asarray(asked.index), _models(asked, total)
    n, at_once = index.shape[1], min(models, seen.CHUNK, len(jax.tree.leaves(params)[0]))
    pool = parallel.replicate(Records(*asked.pool))
    several = jax.tree.map(lambda leaf: leaf[:at_once], params)

    ask = observation.asking(asked.observers.by_name, to_target)

    def see(records: int) -> None:
        rows = np.resize(index[:at_once, :records], (at_once, records))
        for _ in observation.observe_chunks(
            asked.observers.key, ask, lambda part: several, pool, rows, chunk=seen.CHUNK
        ):
            pass

    few, more = (min(n, size) for size in (COSTLY if what == "costly" else RECORDS))
    compiling, quick = timed(lambda: see(few))
    _, slow = timed(lambda: see(more)) if more > few else (0.0, quick)
    return Observing(models, n, 2 * compiling, Affine.through((few, quick), (more, slow)))


def _fake(
    outline: Outline, name: str, to_target: Callable[[Observation], Callable[[Params], Target]], params: Params
) -> Callable[[int, int], Seen]:
    """(models, records) -> random numbers in the form of what the attack sees, leaves [models, records, ...]."""
    asked = next(a for a in outline.observations.values() if name in a.observers.by_name)
    rng = np.random.default_rng(0)

    def filled(shape: Any, models: int) -> np.ndarray:
        values = rng.normal(size=(models, *shape.shape))
        return (-np.abs(values) if shape.dtype.kind == "f" else values > 0).astype(shape.dtype)

    def see(models: int, records: int) -> Seen:
        shapes = seen.one_model(asked, to_target(asked), params, records)[name]
        return jax.tree.map(lambda shape: filled(shape, models), shapes)

    return see


def _attacking(attack: Attack, fake: Callable[[int, int], Seen], outline: Outline, name: str) -> Attacking:
    fits = outline.fits[name]
    count = min(SHADOWS, max(fits))
    count -= count % 2
    population = fake(1 + count, min(outline.population, RECORDS[0])) if outline.population else None
    rng = np.random.default_rng(1)

    def judge(records: int) -> float:
        half = rng.permuted(np.broadcast_to(np.arange(records) % 2 == 0, (count // 2, records)), axis=1)
        member = np.concatenate([half, ~half])
        shadows, target = fake(count, records), jax.tree.map(lambda leaf: leaf[0], fake(1, records))
        key = jax.random.key(0)
        return timed(lambda: attack.score(attack.fit(key, shadows, member, population), target))[1]

    few, more = (min(outline.judged, size) for size in RECORDS)
    line = Affine.through((few, judge(few)), (more, judge(more)))
    return Attacking(sum(fits), outline.judged, Affine(line.start / count, line.each / count))
