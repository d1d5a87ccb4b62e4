"""A model in this process is asked, and the shadows that a user's trainer makes: each answers once, which is kept."""

import functools
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax.audits import stages
from mia_jax.audits.config import Brought, InProcessConfig
from mia_jax.audits.types import Run
from mia_jax.checks import unnoticed
from mia_jax.checks.answers import other_answers
from mia_jax.checks.answers.other_answers import Apart
from mia_jax.checks.labels import largest_of_two
from mia_jax.checks.models import carried_over
from mia_jax.data import class_labels, cut_texts, tables
from mia_jax.plans.training_plan import TrainingPlan
from mia_jax.storage import artifacts
from mia_jax.targets import answer_kinds, platforms, predictors, processes
from mia_jax.targets.asked_again import Again
from mia_jax.targets.trainers import Platform
from mia_jax.types import Array, InputError, Records, Schema

AGAIN = 2  # shadows, of the first, that are asked again: one function trains them all
PACKAGES = ("numpy", "scikit-learn", "jax")  # whose versions are part of what names a shadow's answers
OF_FIT = (  # where shadow_member is blamed, which the user never gave
    " shadow_member was drawn here, so that fit is to be looked at: whether it trains on all of its arguments and no"
    " more (no x[:200], no table of its own), anew each time (no network or warm start that calls share), and whether"
    " its answers come in the order of the records."
)


class Asked(NamedTuple):
    """What the target answers."""

    p: np.ndarray  # probabilities [n, c]
    population: np.ndarray | None  # [p, c], about records that trained no model
    schema: Schema  # of the records, as far as anybody knows
    apart: Apart | None = None  # how it answers otherwise, asked again
    in_place: frozenset[str] = frozenset()  # "target", where it changes the records that it is asked about


class Answers(NamedTuple):
    """What shadows answer, of those whose answers are some."""

    p: np.ndarray  # probabilities [S, n, c]
    population: np.ndarray | None  # [S, p, c]
    which: np.ndarray  # int [S], of the plan's models
    lost: dict[int, str]  # the others -> what is wrong
    apart: Apart | None = None  # how they answer otherwise, asked again: the first of those that do
    in_place: frozenset[str] = frozenset()  # "fit", "shadows": who changes the records that are given


def brought(config: InProcessConfig) -> Brought:
    """What the audit was given."""
    assert config.brought is not None
    return config.brought


def records(given: Brought) -> Any | None:
    """The records [n, *f] that were brought; None where a file holds answers alone."""
    return None if np.shape(given.x)[1:] == (0,) else given.x


def cut(given: Brought) -> list[str]:
    """That texts seem to be cut, in sentences; nothing where answers were saved, of whatever texts."""
    saved = hasattr(given.model, "shape") or isinstance(given.model, list | tuple)
    return [] if saved else cut_texts.notes(given.x)


def kind(config: InProcessConfig) -> str:
    """What the model is, in words."""
    return "a model in this process" if config.predictions is None else "saved predictions"


def named(config: InProcessConfig) -> tuple[str, ...]:
    """The settings that name what was brought; a file is one of those that all audits of answers have."""
    return ("name",) if config.predictions is None else ()


def ask(run: Run[InProcessConfig]) -> Asked:
    """Ask the target about the records, and about the population; anew in each run.

    Raises:
        InputError: what it answers is none, or labels or population do not fit.
    """
    given = brought(run.config)
    first = predictors.answers(given.model, given.x, called="the target", names=given.class_names)
    p, note, kind, in_place = first
    classes, most = p.shape[1], int(given.y.max())
    if given.signal is None and given.shadows is not None and given.shadows.ndim == 2:  # labels alone
        most = max(most, int(given.shadows.max()))
    if most >= classes and note == predictors.LABELS:  # which say of no others that they are there
        padded = np.zeros((len(p), most + 1), p.dtype)
        padded[:, :classes] = p
        p, classes = padded, most + 1
    try:
        class_labels.refuse_beyond(class_labels.Classes(given.y, given.class_names), classes, "y")
    except ValueError as error:
        raise InputError(f"y cannot be used: {error}") from None
    if kind == answer_kinds.SURE_OF_CLASS_1:
        largest_of_two.refuse(given.y, [p], "the target")
    run.workdir.note("the target's answers", p)
    notes = (*given.notes, *([f"The target: {note}."] if note else []))
    for line in notes:
        run.notify(line)
    apart, other = _apart(predictors.again(given.model, given.x, first, names=given.class_names)), None
    if given.population is not None:
        other = predictors.answers(
            given.model, given.population[0], classes, called="the target", kind=kind, names=given.class_names
        ).p
    x = given.x
    shape = tuple((x.shape if tables.is_frame(x) else np.shape(x))[1:])
    digest = run.config.records or given.digest
    names = given.class_names if len(given.class_names) == classes else ()
    schema = Schema(run.config.name, "local", digest, classes, shape, (), notes, names)
    return Asked(p, other, schema, apart, frozenset({"target"} if in_place else ()))


def remarks(asked: Asked, answers: Answers | None = None) -> other_answers.Remarks:
    """What is to be said of functions that answer otherwise when they are asked again, or change records."""
    if answers is None:
        return other_answers.remarks(asked.apart, in_place=asked.in_place)
    return other_answers.remarks(asked.apart, answers.apart, in_place=asked.in_place | answers.in_place)


def of_drawn(texts: Iterable[str]) -> list[str]:
    """Sentences on ``shadow_member``, where it was drawn here: that ``fit`` is to be looked at is added to the first.

    Args:
        texts: doubts, or notes, of checks that do not know who drew it.
    """
    said = list(texts)
    at = next((k for k, one in enumerate(said) if "shadow_member" in one and not one.startswith(unnoticed.START)), None)
    if at is not None:
        said[at] += OF_FIT
    return said


def of_order(
    doubts: Sequence[str], notes: Sequence[str], sure: Array, trained: Array
) -> tuple[Sequence[str], Sequence[str]]:
    """Doubts and notes, with the doubt of the order in which shadows were trained here in the place of its note.

    Args:
        doubts, notes: what is said of them so far; where something is doubted, the order is not looked at.
        sure, trained: float and bool [S, n], as of ``carried_over.doubts``.
    """
    if doubts or not (went_on := carried_over.doubts(sure, trained)):
        return doubts, notes
    return went_on, [note for note in notes if not note.startswith(carried_over.START)]


def _apart(again: Again | None) -> Apart | None:
    return None if again is None else other_answers.of_probabilities(*again)


# --- shadows of another library --------------------------------------------------------------------------------------


def train(run: Run[InProcessConfig], platform: Platform, plan: TrainingPlan, classes: int) -> Answers:
    """Train the shadows that no run in this workdir has asked yet, and keep what each answers.

    Args:
        run: its ``brought`` has the records.
        platform: what trains.
        plan: who trains on what.
        classes: c.

    Raises:
        InputError: training ends in an error, or what it gives answers nothing.
    """
    given = brought(run.config)
    described = descriptions(given, platform, plan)
    found = [run.workdir.load("answers", each) for each in described]
    missing = [k for k, artifact in enumerate(found) if artifact is None]
    if len(missing) < len(found):
        run.notify(stages.trained_before(len(found) - len(missing), len(found), "shadow models", run.workdir))
    asked = [given.x] if given.population is None else [given.x, given.population[0]]
    with run.progress("shadow models", len(missing)) as advance:
        work = _in_turn if run.config.jobs == 1 else functools.partial(_side_by_side, jobs=run.config.jobs)
        for k, answers, more, seconds in work(given, platform, plan, missing, asked, classes):
            info = {"seconds": seconds, **more}
            run.workdir.save("answers", described[k], answers, **info)
            found[k] = artifacts.Artifact(answers, info)
            advance(1)
    run.seconds["shadows"] = sum(artifact.info["seconds"] for artifact in found if artifact is not None)
    lost = {
        k: f"shadow model {k + 1} of {len(found)}: {artifact.info['lost']}"
        for k, artifact in enumerate(found)
        if artifact and "lost" in artifact.info
    }
    left = [artifact for k, artifact in enumerate(found) if artifact and k not in lost]
    kept = [artifact.arrays for artifact in left]
    apart = next((Apart(*artifact.info["apart"]) for artifact in left if "apart" in artifact.info), None)
    in_place = frozenset(who for artifact in left for who in artifact.info.get("in_place", ()))
    for line in lost.values():
        run.notify(f"warning: {line}; going on without it")
    if not kept:
        return Answers(np.zeros((0, len(given.y), classes)), None, np.zeros(0, int), lost)
    p, population = (np.stack([one[name] for one in kept]) if name in kept[0] else None for name in ("p", "population"))
    assert p is not None
    return Answers(p, population, np.array([k for k in range(len(found)) if k not in lost]), lost, apart, in_place)


Made = Iterator[tuple[int, dict[str, np.ndarray], dict[str, Any], float]]  # model, its answers, about them, seconds


def _in_turn(
    given: Brought, platform: Platform, plan: TrainingPlan, which: Sequence[int], asked: Sequence[Any], classes: int
) -> Made:
    """These models of the plan, one after the other, or as many at once as the platform trains."""
    began = time.perf_counter()
    for k, model in zip(which, _trained(given, platform, plan, which), strict=True):
        yield k, *_answers(model, asked, classes, given.class_names, again=k < AGAIN), time.perf_counter() - began
        began = time.perf_counter()


def _side_by_side(
    given: Brought,
    platform: Platform,
    plan: TrainingPlan,
    which: Sequence[int],
    asked: Sequence[Any],
    classes: int,
    *,
    jobs: int,
) -> Made:
    """These models of the plan in several processes, as they are done."""
    tasks = (
        (
            k,
            platform.fit,
            tables.take(given.x, rows),
            given.y[rows],
            int(plan.seeds[k]),
            asked,
            classes,
            given.class_names,
        )
        for k, rows in ((k, plan.rows(k)) for k in which)
    )
    yield from processes.each(_one, tasks, jobs, called="a shadow model")


def _one(
    k: int,
    fit: Callable[..., Any],
    x: Any,
    y: np.ndarray,
    seed: int,
    asked: Sequence[Any],
    classes: int,
    names: Sequence[str],
) -> tuple[int, dict[str, np.ndarray], dict[str, Any], float]:
    """One shadow, in a process of its own: records [m, *f], labels [m]."""
    began = time.perf_counter()
    answers, info = _answers(fit(x, y, seed=seed), asked, classes, names, again=k < AGAIN)
    return k, answers, info, time.perf_counter() - began


def _trained(given: Brought, platform: Platform, plan: TrainingPlan, which: Sequence[int]) -> Any:
    """Targets of these models of the plan, as they are trained."""
    pool = Records(given.x, given.y)
    rows = [plan.rows(k) for k in which]
    if len({len(each) for each in rows}) > 1:  # as in a plan of a user's own
        return (
            platform.fit(tables.take(given.x, each), given.y[each], seed=int(plan.seeds[k]))
            for k, each in zip(which, rows, strict=True)
        )
    return platform.fit_many(pool, np.stack(rows), seeds=[int(plan.seeds[k]) for k in which]) if rows else ()


def _answers(
    model: Any, asked: Sequence[Any], classes: int, names: Sequence[str], *, again: bool
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What a shadow answers about the records and the population, and what is kept about it; of none only why."""
    try:
        given = [predictors.answers(model, x, classes, called="it", names=names) for x in asked]
    except predictors.NoNumber as error:
        return {}, {"lost": str(error)}
    apart = _apart(predictors.again(model, asked[0], given[0], names=names)) if again else None
    who = ["shadows"] * given[0].in_place + ["fit"] * bool(getattr(getattr(model, "ask", None), "changed", False))
    info = {**({} if apart is None else {"apart": list(apart)}), **({"in_place": who} if who else {})}
    return dict(zip(("p", "population"), (one.p for one in given), strict=False)), info


def descriptions(given: Brought, platform: Platform, plan: TrainingPlan) -> list[dict[str, Any]]:
    """What makes the answers of each of the plan's models."""
    packages = (*PACKAGES, *getattr(platform.trainer, "packages", ()))
    described = {
        "version": stages.VERSION,
        "kind": platform.title,
        "source": platforms.source(platform),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "records": [tables.digest(given.x), artifacts.array_digest(given.y)],
        "population": None if given.population is None else tables.digest(given.population[0]),
    }
    return [
        {**described, "seed": int(seed), "train": artifacts.array_digest(np.flatnonzero(rows))}
        for rows, seed in zip(plan.member, plan.seeds, strict=True)
    ]
