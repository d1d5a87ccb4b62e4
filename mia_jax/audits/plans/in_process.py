"""The audit of a model in this process, with shadows: ``mia_jax.audit(predict, x, y, member, shadows=...)``.

Shadows are trained on other draws of the very records in question, so each record trained some of them and others not.
Once all have answered, this is the audit of saved predictions, to the bit.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.audits import common, memory, stages
from mia_jax.audits import config as configs
from mia_jax.audits.config import InProcessConfig
from mia_jax.audits.deployed import blind, cascade, in_process, infer, populations
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.audits.deployed.in_process import Answers, Asked, brought
from mia_jax.audits.plans import predictions
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Observation, Observers, Run, Summary, Trained, TrainingJob
from mia_jax.checks.membership import held_out
from mia_jax.checks.models import unlike_settings
from mia_jax.data import duplicates, local, neighbors, tables, telling
from mia_jax.data.records import of_frames
from mia_jax.plans import training_plan
from mia_jax.plans.training_plan import TrainingPlan
from mia_jax.reports import results
from mia_jax.reports.figures import many
from mia_jax.targets import estimators, labels_alone, platforms
from mia_jax.targets.trainers import Platform
from mia_jax.types import InputError, Key, Records, Schema, Target

NEAR = 0.05  # of half of the records: a target that trained on so many is imitated by models in complementary pairs
NETWORKS = ("nn", "logistic")


class InProcessSetting(NamedTuple):
    """What is decided before anything is trained."""

    asked: Asked
    plan: TrainingPlan | None  # None: the shadows were trained elsewhere
    platform: Platform | None  # of another library; None: our own networks, or there is nothing to train
    pool: Records | None  # of our own networks: the records, and the population after them
    schema: Schema  # of the pool


class Observed(NamedTuple):
    """What is known of target and shadows: what saved predictions would hold."""

    inputs: predictions.Inputs
    answered: infer.Answered
    shadows: dict[str, Any]  # of the block of results.json


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: InProcessConfig) -> InProcessConfig:
    """The configuration with presets filled in."""
    return configs.resolve(config)


def prepare(run: Run[InProcessConfig]) -> InProcessSetting:
    """The target's answers, and who of the shadows trains on what.

    Raises:
        InputError: the answers, the records or the trainer cannot be used.
    """
    asked, given = in_process.ask(run), brought(run.config)
    retrain = None if given.trainer is None else cascade.not_yet
    has, more = predictions.run_of_attacks(run.config, retrain)
    infer.attack_names(run.config.attacks, has, same_records=True, member=np.eye(2, dtype=bool), more=more)
    if given.trainer is None:
        return InProcessSetting(asked, None, None, None, asked.schema)
    plan = plan_of_shadows(run.config, len(given.y))
    m, shadows = int(plan.member[0].sum()), many(len(plan.member), "shadow model trains", "shadow models train")
    run.notify(f"{shadows} on {m:,} of the {len(given.y):,} records each. In {run.workdir}")
    if isinstance(given.trainer, str) and given.trainer in NETWORKS:
        if run.config.jobs > 1:
            raise InputError("our own networks train several at once in this process: leave jobs out")
        pool, schema = _numeric(run.config, asked.schema.num_classes)
        for note in schema.notes:
            if local.ROUNDED in note:
                run.notify(f"warning: {note}")
        memory.check_networks(run.config, schema, m)
        return InProcessSetting(asked, plan, None, pool, schema)
    return InProcessSetting(
        asked, plan, platforms.as_platform(given.trainer, asked.schema.num_classes), None, asked.schema
    )


def train(run: Run[InProcessConfig], setting: InProcessSetting) -> Trained[Answers | None]:
    """The shadows; of another library, what they answer.

    Raises:
        InputError: none of them answers with numbers.
    """
    plan = setting.plan
    if plan is not None and setting.platform is not None:
        answers = in_process.train(run, setting.platform, plan, setting.asked.schema.num_classes)
        if not len(answers.which):
            first = next(iter(answers.lost.values()))
            raise InputError(
                f"no shadow model is left ({first}): lower the learning rate, or mend what shadows= trains"
            )
        return Trained(stages.NO_MODELS, "shadow models", answers, np.zeros(0, int), least=0)
    if plan is None or setting.pool is None:
        return Trained(stages.NO_MODELS, "shadow models", None, np.zeros(0, int), least=0)
    keys = stages.keys(stage_key(run.root, "shadows"), len(plan.member))
    rows = np.stack([plan.rows(k) for k in range(len(plan.member))]).astype(np.int32)
    job = TrainingJob("shadow models", run.config, setting.schema, setting.pool, run.config.records, keys, rows)
    models = common.train_models(run, job)
    return Trained(models, job.title, None, np.arange(len(models.names)))


def observe(run: Run[InProcessConfig], setting: InProcessSetting, trained: Trained[Answers | None]) -> Observed:
    """What target and shadows answer, checked as saved predictions are."""
    given, asked, answers = brought(run.config), setting.asked, trained.extra
    if setting.pool is not None:
        answers = _of_networks(run, setting, trained)
    if answers is None:
        assert given.shadows is not None and given.shadow_member is not None
        shadows, member, population, which = given.shadows, given.shadow_member, None, None
        if shadows.ndim == 2:  # labels alone
            shadows = labels_alone.probabilities(shadows, asked.schema.num_classes)
    else:
        assert setting.plan is not None
        which = answers.which
        shadows, member, population = answers.p, setting.plan.member[which], answers.population
    saved = deployed.Predictions(given.y, asked.p, shadows, member, given.member, which)
    others = None
    if given.population is not None and population is not None and asked.population is not None:
        others = Answered(given.population[1], asked.population, population)
    retrain = None if given.trainer is None else cascade.not_yet
    inputs = predictions.checked(run.config, saved, others, duplicates.of_records(given.x), retrain)
    said = in_process.remarks(asked, answers)
    live = given.shadows is None  # and answers about these very records
    beside = neighbors.notes(given.x, given.y, given.member) if live else blind.beside(given.x, saved)
    of_records = [*in_process.cut(given), *populations.notes(given), *beside]
    of_records += telling.of_records(given.x, given.y) if live else []
    of_records += held_out.of_estimators(given.model, given.trainer, given.member, len(given.y))
    of_records += unlike_settings.notes(given.model, given.trainer)
    doubts, notes = inputs.doubts, inputs.notes
    if setting.platform is not None:
        sure = np.asarray(shadows)[:, np.arange(len(given.y)), given.y]
        doubts, notes = in_process.of_drawn(doubts), in_process.of_drawn(notes)
        doubts, notes = in_process.of_order(doubts, notes, sure, member)
    inputs = inputs._replace(doubts=[*said.doubts, *doubts], notes=[*said.notes, *of_records, *notes])
    predictions.tell(run, inputs)
    about = _shadows(shadows, member, given.y, setting, answers)
    return Observed(inputs, infer.Answered(*inputs.predictions[:3]), about)


def attack(run: Run[InProcessConfig], setting: InProcessSetting, observed: Observed) -> dict[str, infer.Scored]:
    """Every attack's scores, as of saved predictions; some may train further shadows."""
    retrain = None
    if brought(run.config).trainer is not None:
        train = functools.partial(_further, setting)
        retrain = cascade.retraining(run, train, observed.answered, observed.inputs.formats)
    return predictions.attack(run, observed.inputs, observed.answered, retrain)


def summarize(
    run: Run[InProcessConfig],
    setting: InProcessSetting,
    trained: Trained[Answers | None],
    observed: Observed,
    scored: dict[str, infer.Scored],
) -> Summary:
    """The blocks of results.json, as of saved predictions."""
    more = ["name"]
    if setting.pool is not None:
        more += ["target_kind", "model", "hidden", "num_epochs", "batch_size", "learning_rate", "optimizer"]
    settings = predictions.settings(run.config, scored, *more)
    if setting.plan is not None:
        settings["num_shadows"] = run.config.num_shadows
    shadows = {**observed.shadows, **trained.left_out}
    given = brought(run.config)
    x = in_process.records(given)
    about = predictions.Description(
        settings, setting.asked.schema, in_process.kind(run.config), shadows, x, given.group
    )
    return predictions.summary(run.config, observed.inputs, scored, about)


# --- who trains on what ----------------------------------------------------------------------------------------------


def plan_of_shadows(config: InProcessConfig, records: int) -> TrainingPlan:
    """Halves in pairs; where the target trained on another share, draws of as many records."""
    member = brought(config).member
    size = None if member is None else int(member.sum())
    if size is not None and abs(size - records / 2) <= NEAR * records / 2:
        size = None
    return training_plan.plan(records, config.num_shadows or 0, train_size=size, seed=config.seed)


def _numeric(config: InProcessConfig, classes: int) -> tuple[Records, Schema]:
    """The records and the population as our own networks train on them. Raises InputError."""
    given = brought(config)
    parts = [(given.x, given.y)] if given.population is None else [(given.x, given.y), given.population]
    y = np.concatenate([part for _, part in parts])
    try:
        if tables.is_frame(given.x):
            records, schema = of_frames([x for x, _ in parts], y, config.name)
        else:
            x = np.concatenate([tables.plain(x) for x, _ in parts])
            records, schema = local.read({"x": x, "y": y}, config.name, to_train_on=False)
    except ValueError as error:
        raise InputError(
            f"x cannot train networks: {error}; give shadows=fit, which takes what your model takes"
        ) from None
    return estimators.filled("nn", records, schema._replace(num_classes=classes))


# --- answers ---------------------------------------------------------------------------------------------------------


def _of_networks(run: Run[InProcessConfig], setting: InProcessSetting, trained: Trained[Answers | None]) -> Answers:
    """What our own networks answer, of those that have not diverged."""
    assert setting.pool is not None
    n, total = len(brought(run.config).y), len(setting.pool.y)
    key = jax.random.split(stage_key(run.root, "attack"))[0]
    everywhere = np.broadcast_to(np.arange(total, dtype=np.int32), (len(trained.which), total))
    [seen] = trained.models.observe(
        Observation(Observers(key, {"answers": _answers}, (), {}), setting.pool, everywhere)
    )
    run.seconds["shadows"] = trained.models.seconds()
    p = np.asarray(seen["answers"]["p"])
    return Answers(p[:, :n], p[:, n:] if total > n else None, trained.which, {})


def _further(
    setting: InProcessSetting, run: Run[InProcessConfig], key: Key, member: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What further shadows answer about the records, of those that there are: p [R', n, c], and which [R']."""
    keys = stages.keys(key, len(member))
    if setting.platform is not None:
        seeds = np.array([stages.key_words(k)[-1] % 2**31 for k in keys], np.int64)
        plan = TrainingPlan(member, seeds)
        answers = in_process.train(run, setting.platform, plan, setting.asked.schema.num_classes)
    else:
        assert setting.pool is not None
        rows = np.stack([np.flatnonzero(own) for own in member]).astype(np.int32)
        job = TrainingJob(
            "models of a cascade", run.config, setting.schema, setting.pool, run.config.records, keys, rows
        )
        models = common.train_models(run, job)
        if not len(models.left):
            return np.zeros((0, member.shape[1], setting.asked.schema.num_classes)), models.left
        answers = _of_networks(run, setting, Trained(models, job.title, None, models.left))
    return answers.p, answers.which


def _answers(key: Key, target: Target, records: Records) -> dict[str, Any]:
    del key
    return {"p": jax.numpy.exp(target.ask(records.x))}


def _shadows(
    p: np.ndarray, member: np.ndarray, label: np.ndarray, setting: InProcessSetting, answers: Answers | None
) -> dict[str, Any]:
    """More of the block of the shadows, of answers [S, n, c] and members [S, n]."""
    if answers is None:
        return {"data": "as their answers were made"}
    right = p.argmax(axis=2) == label
    train, test = (float(np.mean(right[side])) for side in (member, ~member))
    pairs = setting.plan is not None and bool(
        (abs(2 * setting.plan.member.sum(axis=0) - len(setting.plan.member)) <= 1).all()
    )
    drawn = "complementary halves" if pairs else "draws"
    lost = [{"model": k + 1, "what": "gave answers that are none"} for k in answers.lost]
    block = results.summarize_shadows(
        len(member),
        int(member[0].sum()),
        np.array(train),
        np.array(test),
        data=f"{drawn} of the records in question",
        **({"trainer": setting.platform.title} if setting.platform is not None else {}),
        **({"diverged": lost} if lost else {}),
    )
    return {name: value for name, value in block.items() if name != "count"}  # of which not all may be used


PLAN: AuditPlan[InProcessConfig, InProcessSetting, Answers | None, Observed, dict[str, infer.Scored]] = AuditPlan(
    "deployed", resolve, prepare, train, observe, attack, summarize
)
