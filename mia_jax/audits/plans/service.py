"""The audit of a service: somebody's model behind a URL, ``target=URL``, ``data=mine.npz``.

Shadows never see a record under question: they are trained on other data, on synthesized records, or on a half of the
non-members that is set aside before anything else. So every shadow is OUT of every record that is asked about, and of
the attacks that compare a record with itself in other models the offline ones can run. ``PLAN`` is at the end.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, quick_first
from mia_jax.audits import common, groupings, shadow_data, stages
from mia_jax.audits import config as configs
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats, attack, blocks, connection, own_records, shadow_source
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.deployed.connection import Inputs, Service
from mia_jax.audits.shadow_data import ShadowData
from mia_jax.audits.stages import stage_key, timed
from mia_jax.audits.types import AuditPlan, Run, Summary, Trained, TrainingJob
from mia_jax.checks.answers import equal_answers, near_answers, slipped_rows, two_models
from mia_jax.checks.labels import class_gaps, consistency, largest_of_two
from mia_jax.checks.membership import blind_guesses, memorization, own_members, trained_on_all
from mia_jax.checks.models import carried_over, temperatures, unlike_shadows
from mia_jax.checks.records import unlike_records
from mia_jax.data import duplicates
from mia_jax.plans import splits
from mia_jax.reports import results
from mia_jax.targets import defenses, remote
from mia_jax.targets.remote import urls
from mia_jax.types import Attack, InputError, Target


class ServiceSetting(NamedTuple):
    """What is decided before anything is trained."""

    inputs: Inputs
    service: Service


class TargetAndData(NamedTuple):
    """The target, and what its shadows are trained on."""

    target: Target  # it has answered about all records in question: from then on they cost nothing
    data: ShadowData  # what the shadows are trained on
    own: own_records.Own  # the adversary's records that it is asked about, too


class Observed(NamedTuple):
    """The service, and what the attacks see of it and of the shadows."""

    target: Target
    seen: attack.Observed
    own: own_records.Own


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: DeployedConfig) -> DeployedConfig:
    """The configuration with presets filled in; of the target's URL no query, which may hold a key."""
    config = configs.resolve(config)
    if config.data is None:
        raise InputError("`target` needs `data`: an .npz with x, y and member, the records to ask about")
    return dataclasses.replace(config, target=urls.identity(config.target or ""))


def prepare(run: Run[DeployedConfig]) -> ServiceSetting:
    """The records in question, and a connection.

    Raises:
        InputError: the records cannot be used.
        TargetError: the service does not answer, or not in a form that is known.
        BudgetSpent: ``max_queries`` is too few to find out.
    """
    inputs = connection.load(run)
    groupings.of_records(run.config.group, inputs.records.x, inputs.question.schema)  # refused before any question
    return ServiceSetting(*connection.connect(run, inputs))


def train(run: Run[DeployedConfig], setting: ServiceSetting) -> Trained[TargetAndData]:
    """What the shadows are trained on, the target's answers about the records in question, the shadows."""
    inputs, service = setting
    # Asked once, by whoever needs it first.
    answered = functools.cache(functools.partial(connection.settle, run, inputs, service))
    with timed(run.seconds, "shadow_data"):
        data = _shadow_data(run, setting, answered)
    own = own_records.wanted(run, data, inputs.attacks, inputs.m, np.asarray(inputs.sent.x))
    own_records.check_budget(
        service.budget, functools.partial(connection.answered, run), np.asarray(inputs.sent.x), own
    )
    target = answered()
    with connection.naming(lambda record: "a record of your own, which shadows are trained on"):
        data = learned = own_records.relabeled(own, target)
        if run.config.shadow_labels == "target_probabilities":
            learned = own_records.with_probabilities(own, target)
    keys = stages.keys(stage_key(run.root, "shadows"), len(data.plan.train))
    train = np.asarray(data.plan.train)
    job = TrainingJob("shadow models", run.config, service.schema, learned.pool, learned.digest, keys, train)
    shadows = common.train_models(run, job)
    return Trained(shadows, job.title, TargetAndData(target, data, own), np.arange(len(shadows.names)))


def observe(run: Run[DeployedConfig], setting: ServiceSetting, trained: Trained[TargetAndData]) -> Observed:
    """What the attacks see of the shadows that have not diverged, and of the target."""
    inputs, (target, data, own) = setting.inputs, trained.extra
    attacks = _attacks(run, setting, target, own)
    seen = attack.observe(
        jax.random.split(stage_key(run.root, "attack"))[0],
        {name: each for name, each in attacks.items() if not ATTACKS[name].imitates},
        configs.attack_settings(run.config),
        trained.models,
        data.pool,
        splits.Plan(*(np.asarray(rows)[trained.which] for rows in data.plan)),
        attack.Asked(target, inputs.records, inputs.sent),
        _on_shadows(run.config, inputs, target),
        control=inputs.member is not None,
    )
    run.seconds["shadows"] = trained.models.seconds()
    return Observed(target, seen, own)


def attack_target(run: Run[DeployedConfig], setting: ServiceSetting, observed: Observed) -> attack.Attacked:
    """What the attacks make of the target."""
    target, seen, inputs = observed.target, observed.seen, setting.inputs
    attacks = _attacks(run, setting, target, observed.own, lambda name: advance(1, name))
    alone = own_records.imitators(inputs.attacks)
    names = [name for name in inputs.attacks if name not in alone]
    parts = quick_first(names, target.answers.classes, configs.attack_settings(run.config))
    total = sum(count * attack.fits(attacks[name], seen, name) for name, count in parts.items())
    key = jax.random.split(stage_key(run.root, "attack"))[1]
    with run.progress("attacks", total + len(alone)) as advance:
        shadows = {name: attacks[name] for name in names}
        found = attack.attack(key, shadows, parts, seen, advance, control=inputs.member is not None)
        asked = attack.Asked(target, inputs.records, inputs.sent)
        with connection.naming(lambda record: "a record of your own, on which the target is imitated,"):
            for name in alone:
                advance(0, name)
                found.scores[name] = own_records.imitate(key, attacks[name], asked, observed.own)
                advance(1, name)
    scores = {name: found.scores[name] for name in inputs.attacks}
    return found._replace(scores=scores, no_boundary=found.no_boundary | dict.fromkeys(alone, own_records.ALONE))


def summarize(
    run: Run[DeployedConfig],
    setting: ServiceSetting,
    trained: Trained[TargetAndData],
    observed: Observed,
    scored: attack.Attacked,
) -> Summary:
    """The blocks of results.json; where the data do not say who is a member, attacks have scores and no measures."""
    config, (inputs, service), target = run.config, setting, observed.target
    correct, m = observed.seen.summary["correct"], observed.seen.member.shape[1] // 2
    accuracy = correct[:, :m].mean(axis=1), correct[:, m:].mean(axis=1)
    found = Found(
        scores=scored.scores,
        label=np.asarray(inputs.records.y, np.int32),
        member=inputs.member,
        index=inputs.rows,
        about=scored.about,
        no_boundary=scored.no_boundary,
        x=inputs.records.x,
        fields=service.schema.fields,
        group=groupings.of_records(config.group, inputs.records.x, service.schema),
        control=scored.control,
        **{name: np.asarray(value) for name, value in observed.seen.target["summary"].items() if name != "tempered"},
    )
    unlike = _unlike(inputs, observed, found, float(accuracy[1].mean()))
    doubted = _doubts(inputs, observed, found, float(accuracy[1].mean()), unlike)
    notes = [] if doubted else [*([] if unlike is None else [unlike.text]), *_notes(run, inputs, observed)]
    noted = [*(inputs.other.notes if inputs.other is not None else []), *remote.warnings(service.target)]  # told before
    for line in (*doubted, *notes):
        run.notify(f"warning: {line}")
    return blocks.summary(
        config,
        configs.identity(config) | {"num_shadows": config.num_shadows},
        found,
        dataset=blocks.dataset(connection.records_file(config), service.schema, len(inputs.question.records.y), found),
        target=_target_block(run, setting, target, found),
        shadows=_shadows_block(config, inputs, trained, accuracy) | {"notes": [*noted, *notes]},
        doubts=list(doubted),
    )


# --- shadows ---------------------------------------------------------------------------------------------------------


def _shadow_data(run: Run[DeployedConfig], setting: ServiceSetting, answered: Callable[[], Target]) -> ShadowData:
    """Records that are not in question, and who of the shadows trains on which."""
    inputs, service = setting
    generation = service.earlier.generation
    again = f" #{generation}" if generation else ""  # what an older model helped to make is not used
    config = dataclasses.replace(run.config, max_queries=inputs.queries_left)
    about = {"target": f"{run.config.target}{again}", "data": service.schema.digest}
    with connection.naming(lambda record: "a synthesized record"):
        adversary = shadow_data.Adversary(inputs.aside, service.schema, inputs.m, answered, about)
        return shadow_source.obtain(run, config, adversary, np.asarray(inputs.records.x), inputs.other)


# --- attack ----------------------------------------------------------------------------------------------------------


def _attacks(
    run: Run[DeployedConfig],
    setting: ServiceSetting,
    target: Target,
    own: own_records.Own,
    part_done: Callable[[str], None] = lambda name: None,
) -> dict[str, Attack]:
    """The attacks by name; ``part_done`` is told the name of one of which a part of the long work is done."""
    settings, built = configs.attack_settings(run.config), {}
    more = own_records.run_of(run.config, setting.service.schema, own)
    for name in setting.inputs.attacks:
        remember = stages.remembering(run.workdir, "attack", lambda seconds, name=name: part_done(name))
        has = configs.attack_run(run.config, remember=remember, **more)
        built[name] = build(name, target.answers.classes, settings, has)
    return built


def _on_shadows(config: DeployedConfig, inputs: Inputs, target: Target) -> attack.Ways:
    return attack.ways_to_answer(target.answers, defenses.parse(config.defenses), _labeled(inputs, target))


def _labeled(inputs: Inputs, target: Target) -> float | None:
    p = defenses.probabilities(target.ask(inputs.sent.x), target.answers)
    return answer_formats.labeled(p, target.answers)


def _doubts(
    inputs: Inputs,
    observed: Observed,
    found: Found,
    shadow_accuracy: float,
    unlike: unlike_records.Unlike | None,
) -> tuple[str, ...]:
    """Why the labels or the memberships may not be the target's, or the shadows know others, in sentences."""
    target, seen, _ = observed
    answers = np.exp(np.asarray(target.ask(inputs.sent.x)))
    if larger := largest_of_two.told(found.label, [answers], "the target"):
        return (f"{larger[0].upper()}{larger[1:]}.",)
    doubted = slipped_rows.of_service(
        np.asarray(inputs.question.records.y), answers, inputs.rows, inputs.member, seen.right
    ) or consistency.of_service(found.label, answers.argmax(axis=1), target.answers.classes, shadow_accuracy)
    if inputs.member is not None and not doubted:  # shadows of few records may know no others, and do know their own
        own, right = inputs.member, float(np.asarray(seen.summary["correct"])[seen.member].mean())
        doubted = consistency.of_service(
            found.label[own], answers[own].argmax(axis=1), target.answers.classes, right, own=True
        ) or consistency.of_target(found.label, answers, own)
    if unlike is not None and unlike.gross and not doubted:
        doubted = (unlike.text,)
    equal = _equal(inputs, observed)
    if equal or doubted:
        return (*([equal] if equal else []), *doubted)
    if inputs.member is None:
        return ()
    correct, confidence = (np.asarray(seen.summary[name]) for name in ("correct", "confidence"))
    return (
        own_members.below_new(found.label, found.correct, inputs.member, correct, seen.member)
        or trained_on_all.of_service(found.correct, found.confidence, inputs.member, correct, confidence, seen.member)
        or memorization.of_service(
            found.confidence,
            inputs.member,
            confidence,
            seen.member,
            float(inputs.member.sum() / len(inputs.question.records.y)),
        )
        or carried_over.doubts(confidence, seen.member)
    )


def _unlike(inputs: Inputs, observed: Observed, found: Found, shadow_accuracy: float) -> unlike_records.Unlike | None:
    """Whether shadows of the records that a user gave for them do not know those in question."""
    if inputs.other is None or observed.seen.right is None:
        return None
    return unlike_records.found(found.label, found.correct, observed.seen.right, shadow_accuracy)


def _equal(inputs: Inputs, observed: Observed) -> str | None:
    """The doubt about a service that gives records that differ equal answers, where no shadow does so."""
    target, seen, _ = observed
    if target.answers.kind != "probabilities":
        return None
    at_one, label = temperatures.STEPS.index(1.0), np.asarray(inputs.records.y)
    some = temperatures.some(len(label), target.answers.classes)
    own = equal_answers.from_losses(seen.target["summary"]["tempered"], at_one)
    shadows = [equal_answers.from_losses(loss, at_one) for loss in seen.summary["tempered"]]
    p = np.exp(np.asarray(target.ask(inputs.sent.x), np.float64))
    record = duplicates.groups(inputs.sent.x)
    return equal_answers.of_service(label, p, own, shadows, record, some) or near_answers.of_service(
        inputs.sent.x, p, own, shadows, record, some
    )


def _notes(run: Run[DeployedConfig], inputs: Inputs, observed: Observed) -> list[str]:
    """How the target's answers differ from the shadows' otherwise than in their format, in sentences."""
    target, seen, _ = observed
    classes, p = target.answers.classes, np.exp(np.asarray(target.ask(inputs.sent.x), np.float64))
    said = list(class_gaps.notes(inputs.records.y, p, inputs.member))
    said += [] if inputs.member is None else blind_guesses.notes(inputs.records.y, inputs.member)
    share = None if run.config.defenses else _labeled(inputs, target)
    if share is not None:
        said.append(answer_formats.labeled_note(share))
    if target.answers.kind == "probabilities" and target.answers.digits is None:
        said += two_models.notes(seen.target["summary"]["confidence"], seen.summary["confidence"])
    if said or inputs.member is None or target.answers.kind != "probabilities":
        return said
    right = float(np.asarray(seen.summary["correct"])[seen.member].mean())
    shadow = own_members.Members(right, right, int(seen.member.sum()))  # as sure as they are right
    if note := own_members.of_target(inputs.records.y, p, inputs.member, shadow):
        return [note]
    own, each = np.asarray(seen.target["summary"]["tempered"]), seen.summary["tempered"]
    member = inputs.member[temperatures.some(len(inputs.member), classes)]
    of_shadows = seen.member[:, temperatures.some(seen.member.shape[1], classes)]
    shadows = [temperatures.Model(*one) for one in zip(np.asarray(each), of_shadows, strict=True)]
    factor = temperatures.factor(own, member, np.array([temperatures.fitted(*one) for one in shadows]))
    part, model = temperatures.blocks_of_rows(len(own))[:, None], temperatures.Model(own, member)
    if factor is None or not temperatures.explained(model, shadows, part, same_records=False):
        sure, sure_shadows = seen.target["summary"]["confidence"], seen.summary["confidence"]
        unlike = unlike_shadows.beside_service(sure, inputs.member, sure_shadows, seen.member)
        return [] if unlike is None else list(unlike_shadows.notes(unlike))
    remedy = "`defenses='temperature({t})'` divides the shadows' logits so, too"
    return [temperatures.note(factor, remedy)]


# --- blocks of results.json ------------------------------------------------------------------------------------------


def _target_block(run: Run[DeployedConfig], setting: ServiceSetting, target: Target, found: Found) -> results.Target:
    service, earlier = setting.service, setting.service.earlier
    assumed = connection.assumed(target, service.names_classes)
    unsteady = remote.unsteady(service.target)
    return {
        **blocks.target("a service", found),
        "url": run.config.target or "",
        "answers": blocks.answers(target.ask(setting.inputs.sent.x), target.answers),
        **({"assumed": assumed.strip(" ()")} if assumed else {}),
        "records_asked": service.budget.spent,  # by all runs in this workdir
        **({} if unsteady is None else {"unsteady": unsteady}),  # how far a probability was from the one before
        **({"answers_of_earlier_runs": _earlier_block(earlier, run.config.recheck)} if earlier.records else {}),
    }


def _earlier_block(earlier: remote.Earlier, recheck: int) -> dict[str, Any]:
    block = {"records": earlier.records, "oldest": earlier.oldest, "newest": earlier.newest}
    return block | {"rechecked": bool(recheck)}


def _shadows_block(
    config: DeployedConfig, inputs: Inputs, trained: Trained[TargetAndData], accuracy: tuple[np.ndarray, np.ndarray]
) -> results.Shadows:
    target, pool, _ = trained.extra
    return results.summarize_shadows(
        len(trained.which),
        pool.plan.train.shape[1],
        *accuracy,
        data=pool.origin,
        answers=attack.answers_block(_on_shadows(config, inputs, target), config.defenses),
        **({"synthesis": pool.info} if pool.info else {}),
        **trained.left_out,
    )


PLAN: AuditPlan[DeployedConfig, ServiceSetting, TargetAndData, Observed, attack.Attacked] = AuditPlan(
    "deployed", resolve, prepare, train, observe, attack_target, summarize
)
