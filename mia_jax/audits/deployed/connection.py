"""An audit of a service begins: the user's records are loaded, and the service is connected to."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np

from mia_jax.audits import common, memory, shadow_data
from mia_jax.audits import config as configs
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import blocks, infer, own_records, shadow_source
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.stages import timed
from mia_jax.audits.types import Run
from mia_jax.data import duplicates, neighbors
from mia_jax.models.networks import NAMES
from mia_jax.reports.words import answers as answers_in_words
from mia_jax.targets import answer_store, black_box, platforms, remote
from mia_jax.targets.black_box import Budget, WrongAnswer
from mia_jax.types import InputError, Records, Schema, Target, few_of


class Inputs(NamedTuple):
    """The user's file, and what follows from it and from the configuration."""

    question: deployed.Question  # all N records of the file
    rows: np.ndarray  # [n], of the file: the records in question
    records: Records  # [n], as models are trained on them
    sent: Records  # [n], as the target is asked about them
    member: np.ndarray | None  # bool [n], where it is known
    aside: Records  # set aside for the shadows
    other: shadow_source.Given | None  # another data set, for the shadows
    m: int  # training records of a shadow: as many as of the target, where that is known
    attacks: list[str]
    class_names: list[str] | None
    queries_left: int | None  # for the synthesis of shadow data; None: any number


class Service(NamedTuple):
    """Somebody's model behind a URL."""

    target: Target  # its format is a guess until ``settle``
    schema: Schema  # of the records; its number of classes is the target's
    names_classes: bool  # the service answers with names of classes
    budget: Budget
    earlier: remote.Earlier  # answers of earlier runs


# --- load, and refuse before any work --------------------------------------------------------------------------------


def load(run: Run[DeployedConfig]) -> Inputs:
    """The records in question, and what can be checked before any work.

    Raises:
        InputError: they cannot be used.
    """
    config = run.config
    names = _class_names(config) or ()
    question = deployed.load_question(records_file(config), label=config.label, kinds=config.kinds, class_names=names)
    if config.target_kind != "nn":
        platforms.platform(config.target_kind, question.schema.num_classes)
    if config.shadow_labels == "target_probabilities" and config.target_kind != "nn":
        raise InputError(
            "`shadow_labels=target_probabilities` is for our own networks; other trainers take classes:"
            " `shadow_labels=target`"
        )
    for note in question.schema.notes:
        run.notify(note)
    attacks = infer.attack_names(config.attacks, configs.attack_run(config), same_records=True, imitators=True)
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
    asked_besides = own_records.fewest(config, attacks, m, len(aside))
    left = shadow_source.queries_left(config, np.asarray(sent.x), m, classes, asked_besides)
    own = _take(question.records, aside)
    other = shadow_source.given(run, config, question)
    return Inputs(question, rows, records, sent, member, own, other, m, attacks, class_names, left)


def records_file(config: DeployedConfig) -> str:
    """The user's file, which a resolved configuration names."""
    assert config.data is not None
    return config.data


def _take(records: Records, rows: np.ndarray) -> Records:
    return Records(records.x[rows], records.y[rows])


def _class_names(config: DeployedConfig) -> list[str] | None:
    """The names in ``class_names``."""
    if config.class_names is None:
        return None
    names = [name.strip() for name in config.class_names.split(",")]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise InputError(f"`class_names={config.class_names}` must be names, each once, as in setosa,versicolor")
    if config.num_classes not in (None, len(names)):
        raise InputError(f"`class_names` has {len(names)} names and `num_classes={config.num_classes}`: leave one out")
    return names


# --- connect, and ask about the records in question ------------------------------------------------------------------


def connect(run: Run[DeployedConfig], inputs: Inputs) -> tuple[Inputs, Service]:
    """Learn how the service is spoken to, and how many classes it has; the records, their labels as its classes."""
    config, cache = run.config, run.workdir.kept_folder("target", answer_store.merged)
    budget = Budget(math.inf if config.max_queries is None else config.max_queries, path=cache / "asked")
    if config.fresh:
        remote.forget(cache, _url(run), config.protocol)
    earlier = remote.kept(cache, _url(run), config.protocol, inputs.sent.x)
    if earlier.records:
        run.notify(_earlier_line(earlier, config.recheck))
    with naming(functools.partial(_row_name, records_file(config), inputs.rows)):
        target = remote.connect(
            _url(run),
            inputs.sent.x,
            protocol=config.protocol,
            num_classes=config.num_classes,
            class_names=inputs.class_names,
            label_names=inputs.question.schema.class_names,
            cache=cache,
            recheck=config.recheck,
            budget=budget,
            options=remote.Options(
                rows_per_request=config.rows_per_request,
                in_flight=config.in_flight,
                rate=config.rate,
                **({} if _repeats(config) else {"repeat": False}),
            ),
            progress=run.progress,
            notify=run.notify,
        )
    classes = target.answers.classes
    inputs, numbered = _as_classes(inputs, classes)
    most = int(inputs.records.y.max())
    if most >= classes == 2 and remote.answers_one_number(target):
        raise InputError(
            f"the target answers with one number for each record, which is no distribution over the {most + 1} classes"
            f" that the labels of {config.data} name: serve a probability for each class, or labels (`num_classes`)"
        )
    if most >= classes:
        raise InputError(
            f"{config.data} has the label {most}, and the target answers {classes} classes: number them from 0 as the"
            " target does"
        )
    question = inputs.question
    schema = question.schema._replace(num_classes=classes)
    schema = common.noted(schema, numbered, run.notify)
    copies = duplicates.note(duplicates.groups(question.sent), question.member)
    for note in (copies, *neighbors.notes(question.sent, question.records.y, question.member)):
        schema = common.noted(schema, note, run.notify)
    run.notify(f"{config.target} answers over {classes} classes")
    return inputs, Service(target, schema, remote.names_classes(target), budget, earlier)


def _as_classes(inputs: Inputs, classes: int) -> tuple[Inputs, str | None]:
    """Labels from 1 on, or with gaps, as the service's classes in order, where that is the only way; and a note."""
    present = np.unique(inputs.question.records.y)
    from_one = present[0] == 1 and present[-1] == classes
    if present[-1] < classes or not (from_one or len(present) == classes):
        return inputs, None
    names = np.arange(1, classes + 1) if from_one else present
    question, records, sent, aside = (
        each._replace(y=np.searchsorted(names, each.y).astype(np.int32))
        for each in (inputs.question.records, inputs.records, inputs.sent, inputs.aside)
    )
    inputs = inputs._replace(
        question=inputs.question._replace(records=question), records=records, sent=sent, aside=aside
    )
    if from_one:
        return inputs, f"Labels 1 to {classes} are taken for the {classes} classes of the target, in their order."
    return (
        inputs,
        f"Labels have gaps: {few_of(names)} are taken for the {classes} classes of the target, in this order.",
    )


def answered(run: Run[DeployedConfig], x: np.ndarray) -> np.ndarray:
    """Bool [n]: about which records x [n, *f], as they are sent, an answer is kept."""
    return remote.answered(run.workdir.path / "target", _url(run), run.config.protocol, x)


def _url(run: Run[DeployedConfig]) -> str:
    """The target's, with its query."""
    assert run.given.target is not None
    return run.given.target


def _repeats(config: DeployedConfig) -> bool:
    """Whether some records are asked about twice at first: a synthesis that asks gets all that a budget leaves."""
    return config.recheck > 0 and (config.max_queries is None or config.shadow_data not in ("marginal", "search"))


def settle(run: Run[DeployedConfig], inputs: Inputs, service: Service) -> Target:
    """The target, once it has answered about all records in question: from then on they cost nothing."""
    run.notify(f"Asking the target about {len(inputs.records.y):,} records")
    with naming(functools.partial(_row_name, records_file(run.config), inputs.rows)), timed(run.seconds, "questions"):
        target = black_box.with_recognized_format(service.target, inputs.sent.x)
        remote.ask_oldest_again(service.target, inputs.sent.x)
    form = answers_in_words(blocks.answers(target.ask(inputs.sent.x), target.answers))
    run.notify(f"It answers with {form}{assumed(target, service.names_classes)}")
    return target


def assumed(target: Target, names_classes: bool) -> str:
    """What is taken for granted of the format, in brackets; nothing where the service says it itself."""
    if target.answers.kind != "labels" or names_classes:
        return ""
    return " (every answer was 1 for one class and 0 for the others: they are taken for labels)"


def _row_name(path: str, rows: np.ndarray, record: int) -> str:
    return f"row {rows[record]} of {path}, counted from 0,"


@contextlib.contextmanager
def naming(called: Callable[[int], str]) -> Generator[None]:
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
    trust = "some of them are asked for again" if recheck else "they are trusted (`recheck=0`)"
    return f"{earlier.records:,} records were answered by earlier runs ({spread}); {trust}; `fresh` asks all again"
