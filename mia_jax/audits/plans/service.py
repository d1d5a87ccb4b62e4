"""The audit of a service: somebody's model behind a URL, ``--target=URL --data=mine.npz``.

``audit`` reads from top to bottom: load, connect, come by shadow data, train shadows, attack, sum up.
"""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import build, quick_first
from mia_jax.audits import common, divergence, memory, shadow_data, stages
from mia_jax.audits import config as configs
from mia_jax.audits.common import Notify
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats, attack, blocks, infer, shadow_source
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.stages import Models, stage_key
from mia_jax.data import duplicates
from mia_jax.models.networks import NAMES
from mia_jax.plans import splits
from mia_jax.progress import Progress
from mia_jax.reports import results
from mia_jax.reports.words import answers as answers_told
from mia_jax.statistics import consistency, temperatures
from mia_jax.storage import artifacts
from mia_jax.targets import black_box, defenses, estimators, platforms, remote
from mia_jax.targets.black_box import Budget, WrongAnswer
from mia_jax.types import Attack, InputError, Key, Records, Schema, Target


class Run(NamedTuple):
    """What every step of an audit needs."""

    config: DeployedConfig  # ``target`` is the URL as it may be shown
    url: str  # as it was given: its query may hold a key
    workdir: artifacts.Workdir
    root: Key
    notify: Notify
    progress: Progress
    seconds: dict[str, float]  # step -> how long it took


class Inputs(NamedTuple):
    """The user's file, and what follows from it and from the configuration."""

    question: deployed.Question  # all N records of the file
    rows: np.ndarray  # [n], of the file: the records in question
    records: Records  # [n], as models are trained on them
    sent: Records  # [n], as the target is asked about them
    member: np.ndarray | None  # bool [n], where it is known
    aside: Records  # set aside for the shadows
    m: int  # training records of a shadow: as many as of the target, where that is known
    attacks: list[str]
    class_names: list[str] | None
    queries_left: int | None  # for the synthesis of shadow data; None: any number


class Service(NamedTuple):
    target: Target  # its format is a guess until ``_settle``
    schema: Schema  # of the records; its number of classes is the target's
    names_classes: bool  # the service answers with names of classes
    budget: Budget
    earlier: remote.Earlier  # answers of earlier runs


class ShadowData(NamedTuple):
    pool: Records  # [M]; none is in question
    plan: splits.Plan  # rows of the pool
    origin: str  # in words
    story: dict[str, Any]  # of the synthesis, for results.json


def audit(
    config: DeployedConfig, url: str, workdir: artifacts.Workdir, notify: Notify, progress: Progress
) -> tuple[dict[str, Any], Found]:
    """Blocks of results.json, and what was found.

    Args:
        config: ``target`` is the URL without its query.
        url: with it.
        workdir: keeps answers, models and what attacks learned.
        notify, progress: told how it goes.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used.
        TargetError, BudgetSpent: the service.
    """
    run = Run(config, url, workdir, jax.random.key(config.seed), common.once(notify), progress, {})
    inputs = _load(run)
    service = _connect(run, inputs)
    settled = functools.cache(functools.partial(_settle, run, inputs, service))  # asked once, by whoever needs it first
    data = _shadow_data(run, inputs, service, settled)
    target = settled()
    models = _train(run, service, data)
    attacked, which = _attack(run, inputs, target, data, models)
    found = Found(
        scores=attacked.scores,
        label=np.asarray(inputs.records.y, np.int32),
        member=inputs.member,
        index=inputs.rows,
        about=attacked.about,
        no_boundary=attacked.no_boundary,
        **attacked.plain,
    )
    labels = np.argmax(target.ask(inputs.sent.x), axis=1)
    own_accuracy = float(attacked.accuracy[1].mean())
    doubted = consistency.of_service(found.label, labels, target.answers.classes, own_accuracy)
    notes = [] if doubted else _notes(run, inputs, target, attacked)
    for line in (*doubted, *notes):
        run.notify(f"warning: {line}")
    summary = {
        "dataset": blocks.dataset(config.data, service.schema, len(inputs.question.records.y), found),
        "target": _target_block(run, service, target, found),
        "shadows": _shadows_block(run, inputs, target, data, models, attacked, which) | {"notes": notes},
        "doubts": list(doubted),
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
    }
    return summary, found


# --- load, and refuse before any work --------------------------------------------------------------------------------


def _load(run: Run) -> Inputs:
    config = run.config
    question = deployed.load_question(config.data)
    if config.target_kind != "nn":
        platforms.platform(config.target_kind, question.schema.num_classes)
    estimators.refuse_nan(config.target_kind, question.records.x, question.schema)
    for note in question.schema.notes:
        run.notify(note)
    attacks = infer.attack_names(config.attacks, configs.attack_run(config), same_records=True)
    aside, rows = shadow_source.set_aside(config, run.root, question)
    records = _take(question.records, rows)
    sent = Records(question.sent[rows], records.y)
    member = None if question.member is None else question.member[rows]
    m = max(1, len(rows) // 2 if member is None else int(member.sum()))
    shadow_data.check(config, question.schema)
    class_names = _class_names(config)
    classes = max(question.schema.num_classes, config.num_classes or len(class_names or ()))
    if config.target_kind == "nn" and config.model in NAMES:  # a factory may need to know how many classes
        memory.check_networks(config, question.schema._replace(num_classes=classes), m)
    if "shokri" in attacks:
        memory.check_attack_networks(config, classes)
    left = shadow_source.queries_left(config, sent.x, m, classes)
    own = _take(question.records, aside)
    return Inputs(question, rows, records, sent, member, own, m, attacks, class_names, left)


def _take(records: Records, rows: np.ndarray) -> Records:
    return Records(records.x[rows], records.y[rows])


def _class_names(config: DeployedConfig) -> list[str] | None:
    """The names in ``--class_names``."""
    if config.class_names is None:
        return None
    names = [name.strip() for name in config.class_names.split(",")]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise InputError(f"--class_names={config.class_names} must be names, each once, as in setosa,versicolor")
    if config.num_classes not in (None, len(names)):
        raise InputError(f"--class_names has {len(names)} names and --num_classes={config.num_classes}: leave one out")
    return names


# --- connect, and ask about the records in question ------------------------------------------------------------------


def _connect(run: Run, inputs: Inputs) -> Service:
    """Learn how the service is spoken to, and how many classes it has."""
    config, cache = run.config, run.workdir.path / "target"
    budget = Budget(math.inf if inputs.queries_left is None else config.max_queries, path=cache / "asked")
    if config.fresh:
        remote.forget(cache, run.url, config.protocol)
    earlier = remote.held(cache, run.url, config.protocol, inputs.sent.x)
    if earlier.records:
        run.notify(_earlier_line(earlier, config.recheck))
    with _naming(functools.partial(_row_name, config.data, inputs.rows)):
        target = remote.connect(
            run.url,
            inputs.sent.x,
            protocol=config.protocol,
            classes=config.num_classes,
            names=inputs.class_names,
            cache=cache,
            recheck=config.recheck,
            budget=budget,
            options=remote.Options(
                rows=config.rows_per_request,
                in_flight=config.in_flight,
                rate=config.rate,
                **({} if _repeats(config) else {"repeat": False}),
            ),
            progress=run.progress,
            notify=run.notify,
        )
    classes, most = target.answers.classes, int(inputs.records.y.max())
    if most >= classes == 2 and remote.answers_one_number(target):
        raise InputError(
            f"the target answers with one number for each record, which is no distribution over the {most + 1} classes"
            f" that the labels of {config.data} name: serve a probability for each class, or labels (--num_classes)"
        )
    if most >= classes:
        raise InputError(
            f"{config.data} has the label {most}, and the target answers {classes} classes: number them from 0 as the"
            " target does"
        )
    question = inputs.question
    schema = question.schema._replace(num_classes=classes)
    schema = common.noted(schema, duplicates.note(duplicates.groups(question.records.x), question.member), run.notify)
    run.notify(f"{config.target} answers over {classes} classes")
    return Service(target, schema, remote.names_classes(target), budget, earlier)


def _repeats(config: DeployedConfig) -> bool:
    """Whether some records are asked about twice at first: a synthesis that asks gets all that a budget leaves."""
    return config.recheck > 0 and (config.max_queries is None or config.shadow_data not in ("marginal", "search"))


def _settle(run: Run, inputs: Inputs, service: Service) -> Target:
    """The target, once it has answered about all records in question: from then on they cost nothing."""
    run.notify(f"Asking the target about {len(inputs.records.y):,} records")
    with _naming(functools.partial(_row_name, run.config.data, inputs.rows)), common.timed(run.seconds, "questions"):
        target = black_box.settle(service.target, inputs.sent.x)
    run.notify(f"It answers with {answers_told(target.answers._asdict())}{_assumed(target, service.names_classes)}")
    return target


def _assumed(target: Target, names_classes: bool) -> str:
    """What is taken for granted of the format, in brackets; nothing where the service says it itself."""
    if target.answers.kind != "labels" or names_classes:
        return ""
    return " (every answer was 1 for one class and 0 for the others: they are taken for labels)"


def _row_name(path: str, rows: np.ndarray, record: int) -> str:
    return f"row {rows[record]} of {path}, counted from 0,"


@contextlib.contextmanager
def _naming(called: Callable[[int], str]) -> Iterator[None]:
    """Say of a wrong answer what the user calls the record: its number in a question means nothing to them."""
    try:
        yield
    except WrongAnswer as wrong:
        if wrong.known_as:
            raise
        line = f"{wrong.reason}; mend the service, or leave such records out of the file"
        raise WrongAnswer(wrong.record, line, called(wrong.record)) from None


def _earlier_line(earlier: remote.Earlier, recheck: int) -> str:
    """What a run begins with that uses answers of earlier ones."""
    spread = earlier.oldest if earlier.oldest == earlier.newest else f"{earlier.oldest} to {earlier.newest}"
    trust = "some of them are asked for again" if recheck else "they are trusted (--recheck=0)"
    return f"{earlier.records:,} records were answered by earlier runs ({spread}); {trust}; --fresh asks all again"


# --- shadows ---------------------------------------------------------------------------------------------------------


def _shadow_data(run: Run, inputs: Inputs, service: Service, settled: Callable[[], Target]) -> ShadowData:
    """Records that are not in question, and who of the shadows trains on which."""
    generation = service.earlier.generation
    again = f" #{generation}" if generation else ""  # what an older model helped to make is not used
    config = dataclasses.replace(run.config, max_queries=inputs.queries_left, target=run.config.target + again)
    own, x = inputs.aside, inputs.records.x
    with common.timed(run.seconds, "shadow_data"), _naming(lambda record: "a synthesized record"):
        return ShadowData(
            *shadow_source.obtain(
                config, run.workdir, run.root, own, service.schema, x, settled, inputs.m, run.notify, run.progress
            )
        )


def _train(run: Run, service: Service, data: ShadowData) -> Models:
    """The shadow models."""
    key = stage_key(run.root, "shadows")
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(len(data.plan.train)))
    digest = artifacts.array_digest(*data.pool)
    arguments = (run.workdir, run.config, service.schema, data.pool, digest, keys, data.plan.train)
    options = dict(title="shadow models", progress=run.progress, notify=run.notify)
    return common.build_models(run.config)(*arguments, **options)


# --- attack ----------------------------------------------------------------------------------------------------------


def _attack(
    run: Run, inputs: Inputs, target: Target, data: ShadowData, models: Models
) -> tuple[attack.Attacked, np.ndarray]:
    """What the attacks found, and the shadows [S'] that they learned from: those that have not diverged."""
    began = time.perf_counter()
    attempt = functools.partial(_attack_with, run, inputs, target, data)
    attacked, which = divergence.going_on(models, attempt, "shadow models", run.config, run.notify)
    took = time.perf_counter() - began - models.spent()
    run.seconds.update(shadows=models.seconds(), attack=took)
    return attacked, which


def _attack_with(
    run: Run, inputs: Inputs, target: Target, data: ShadowData, models: Models, which: np.ndarray
) -> tuple[attack.Attacked, np.ndarray]:
    """As ``_attack``, with these models, which of all they are."""
    classes = target.answers.classes
    attacked = attack.attack(
        run.root,
        functools.partial(_build, run.workdir, run.config, inputs.attacks, classes),
        quick_first(inputs.attacks, classes, configs.attack_settings(run.config)),
        models,
        data.pool,
        splits.Plan(*(np.asarray(rows)[which] for rows in data.plan)),
        inputs.records,
        attack.Asked(target, inputs.sent),
        _on_shadows(run.config, inputs, target),
        run.progress,
    )
    return attacked, which


def _build(
    workdir: artifacts.Workdir,
    config: DeployedConfig,
    names: list[str],
    classes: int,
    part_done: Callable[[str], None],
) -> dict[str, Attack]:
    """The attacks by name; ``part_done`` is told the name of one of which a part of the long work is done."""
    settings, built = configs.attack_settings(config), {}
    for name in names:
        remember = stages.remembering(workdir, "attack", lambda seconds, name=name: part_done(name))
        built[name] = build(name, classes, settings, configs.attack_run(config, remember=remember))
    return built


def _on_shadows(config: DeployedConfig, inputs: Inputs, target: Target) -> attack.Worn:
    return attack.worn(target.answers, defenses.parse(config.defenses), _labeled(inputs, target))


def _labeled(inputs: Inputs, target: Target) -> float | None:
    p = defenses.probabilities(target.ask(inputs.sent.x), target.answers)
    return answer_formats.labeled(p, target.answers)


def _notes(run: Run, inputs: Inputs, target: Target, attacked: attack.Attacked) -> list[str]:
    """How the target's answers differ from the shadows' otherwise than in their format, in sentences."""
    share = None if run.config.defenses else _labeled(inputs, target)
    if share is not None:
        return [answer_formats.labeled_note(share)]
    if inputs.member is None or target.answers.kind != "probabilities":
        return []
    own, each = attacked.temperature
    member = inputs.member[temperatures.some(len(inputs.member), target.answers.classes)]
    shadows = [temperatures.fitted(loss, trained) for loss, trained in zip(each, attacked.member, strict=True)]
    factor = temperatures.factor(own, member, shadows)
    remedy = "--defenses='temperature({t})' divides the shadows' logits so, too"
    return [] if factor is None else [temperatures.note(factor, remedy)]


# --- blocks of results.json ------------------------------------------------------------------------------------------


def _target_block(run: Run, service: Service, target: Target, found: Found) -> dict[str, Any]:
    assumed, earlier = _assumed(target, service.names_classes), service.earlier
    unsteady = remote.unsteady(service.target)
    return {
        **blocks.target("a service", found),
        "url": run.config.target,
        "answers": target.answers._asdict(),
        **({"assumed": assumed.strip(" ()")} if assumed else {}),
        "records_asked": service.budget.spent,  # by all runs in this workdir
        **({} if unsteady is None else {"unsteady": unsteady}),  # how far a probability was from the one before
        **({"answers_of_earlier_runs": _earlier_block(earlier, run.config.recheck)} if earlier.records else {}),
    }


def _earlier_block(earlier: remote.Earlier, recheck: int) -> dict[str, Any]:
    block = {"records": earlier.records, "oldest": earlier.oldest, "newest": earlier.newest}
    return block | {"rechecked": bool(recheck)}


def _shadows_block(
    run: Run,
    inputs: Inputs,
    target: Target,
    data: ShadowData,
    models: Models,
    attacked: attack.Attacked,
    which: np.ndarray,
) -> dict[str, Any]:
    return results.summarize_shadows(
        len(which),
        data.plan.train.shape[1],
        *attacked.accuracy,
        data=data.origin,
        answers=attack.told(_on_shadows(run.config, inputs, target), run.config.defenses),
        **({"synthesis": data.story} if data.story else {}),
        **divergence.story(models, which),
    )
