"""The audit of a model that is known by saved predictions alone: ``predictions=preds.npz``."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.attacks import ATTACKS, build, quick_first
from mia_jax.attacks.cmia import Retrain
from mia_jax.attacks.entries import ANSWERS
from mia_jax.audits import config as configs
from mia_jax.audits import flags, groupings, stages
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats as formats
from mia_jax.audits.deployed import attack as deployed_attack
from mia_jax.audits.deployed import blind, blocks, infer, remarks
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.deployed.answer_formats import Formats
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Run, Summary, Trained
from mia_jax.checks import naming
from mia_jax.checks.labels import largest_of_two
from mia_jax.checks.membership import memorization
from mia_jax.data.groups import Grouping
from mia_jax.plans import membership
from mia_jax.progress import within
from mia_jax.reports.figures import many
from mia_jax.statistics import row_groups
from mia_jax.storage import artifacts
from mia_jax.targets import answer_format, answer_kinds, defenses
from mia_jax.types import Schema


class Inputs(NamedTuple):
    """The saved predictions, checked, and the attacks that can run on them."""

    predictions: deployed.Predictions  # behind the defenses that were asked for; of the shadows, those that are used
    digest: str  # of the file's arrays
    attacks: list[str]
    formats: Formats
    notes: list[str]  # of the shadows, in sentences
    doubts: list[str]  # whether labels, target and shadows belong together, in sentences
    population: Answered | None = None  # answers about records that trained no model
    x: Any = None  # the records [n, *f], where the file has them
    group: Grouping | None = None  # of the records, by an array of the file


class Description(NamedTuple):
    """What results.json says of an audit from answers, beside what the answers show."""

    settings: Mapping[str, Any]  # "config"
    schema: Schema  # of the records; its name is that of the data
    target: str  # what the target is, in words
    shadows: Mapping[str, Any]  # more of the block of the shadows
    x: Any = None  # the records [n, *f], where they are there
    group: Grouping | None = None  # of the records


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: DeployedConfig) -> DeployedConfig:
    """The configuration with presets filled in.

    Raises:
        InputError: a value is out of range, or a setting means nothing where the answers are there.
    """
    plain = DeployedConfig(recipe=config.recipe)
    flagged = [f.name for f in dataclasses.fields(DeployedConfig) if f.metadata["flag"]]
    changed = [name for name in flagged if getattr(config, name) != getattr(plain, name)]
    changed += ["recipe"] if config.recipe != DeployedConfig.recipe else []
    flags.refuse_idle(flags.rules(DeployedConfig), changed, config)
    return configs.resolve(config)


def prepare(run: Run[DeployedConfig]) -> Inputs:
    """The predictions.

    Raises:
        InputError: they cannot be used.
    """
    lines: list[str] = []
    inputs = checked(run.config, deployed.load_predictions(_path(run.config), lines.append))
    x = deployed.beside(_path(run.config), len(inputs.predictions.labels))
    group = groupings.of_file(run.config.group, _path(run.config), len(inputs.predictions.labels))
    notes = [*lines, *blind.beside(x, inputs.predictions), *inputs.notes]
    inputs = inputs._replace(notes=notes, x=x, group=group)
    tell(run, inputs)
    return inputs


def tell(run: Run[DeployedConfig], inputs: Inputs) -> None:
    """Say what there is, and what is doubted."""
    records, classes = inputs.predictions.target.shape
    shadows = many(len(inputs.predictions.shadows), "shadow", "shadows")
    run.notify(f"{records:,} records, {classes} classes, {shadows}; attacks: {', '.join(inputs.attacks)}")
    for line in (*inputs.doubts, *inputs.notes):
        run.notify(f"warning: {line}")


def train(run: Run[DeployedConfig], setting: Inputs) -> Trained[None]:
    """No model: somebody else has trained them."""
    return Trained(stages.NO_MODELS, "shadow models", None, np.zeros(0, int), least=0)


def observe(run: Run[DeployedConfig], setting: Inputs, trained: Trained[None]) -> infer.Answered:
    """The answers, which were saved."""
    labels, target, shadows, *_ = setting.predictions
    return infer.Answered(labels, target, shadows)


def attack(
    run: Run[DeployedConfig], setting: Inputs, observed: infer.Answered, retrain: Retrain | None = None
) -> dict[str, infer.Scored]:
    """Every attack's scores, in the order in which the attacks were asked for.

    Args:
        run: its options of attacks.
        setting: which attacks.
        observed: labels [n], and answers of the target [n, c] and of shadows [S, n, c].
        retrain: for attacks that train further shadows, where something can train them.
    """
    judged: dict[str, infer.Scored] = {}
    settings, (has, more) = configs.attack_settings(run.config), run_of_attacks(run.config, retrain)
    parts = quick_first(setting.attacks, setting.predictions.target.shape[1], settings)
    with run.progress("attacks", sum(parts.values())) as advance:
        for name, count in parts.items():
            advance(0, name)
            judged[name] = infer.scored(
                name,
                observed,
                setting.predictions.shadow_member,
                key=stage_key(run.root, name),
                options=ATTACKS[name].arguments(settings, has),
                progress=within(advance, count, name),
                known=setting.formats,
                population=setting.population,
                control=setting.predictions.member is not None,
                more=more,
            )
    return {name: judged[name] for name in setting.attacks}


def summarize(
    run: Run[DeployedConfig],
    setting: Inputs,
    trained: Trained[None],
    observed: infer.Answered,
    scored: dict[str, infer.Scored],
) -> Summary:
    """The blocks of results.json; where nobody told who is a member, attacks have scores and no measures."""
    config, classes = run.config, setting.predictions.target.shape[1]
    # The records themselves are seldom there: nothing is known of their features.
    schema = Schema(_path(config), "local", setting.digest, classes, (0,), ())
    shadows = {"data": "as the predictions were made"}
    about = Description(settings(config, scored), schema, "saved predictions", shadows, setting.x, setting.group)
    return summary(config, setting, scored, about)


def settings(config: DeployedConfig, attacks: Iterable[str], *more: str) -> dict[str, Any]:
    """The settings that mean something where answers are judged: ``more``, the attacks' own, and those of all."""
    names = {*flags.WITH_PREDICTIONS, *more}
    used = {f.metadata["key"] or f.name for f in dataclasses.fields(config) if f.name in names}
    used |= {flag for name in attacks for flag in ATTACKS[name].flags()}
    return {name: value for name, value in configs.identity(config).items() if name in used}


def summary(config: DeployedConfig, setting: Inputs, scored: Mapping[str, infer.Scored], about: Description) -> Summary:
    """What the scores of saved answers came to."""
    saved, known = setting.predictions, setting.formats
    log_p = answer_format.log_probabilities(saved.target, known.target)
    found = Found(
        scores={name: one.scores for name, one in scored.items()},
        label=saved.labels,
        member=saved.member,
        index=np.arange(len(saved.labels)),
        about={name: one.choice.json() for name, one in scored.items()},
        no_boundary={name: one.no_boundary for name, one in scored.items() if one.no_boundary},
        x=about.x,
        group=about.group,
        together=row_groups.told(saved.shadow_member),
        fields=about.schema.fields,
        control={name: one.control for name, one in scored.items()},
        **blocks.without_attack(log_p, saved.labels),
    )
    return blocks.summary(
        config,
        about.settings,
        found,
        dataset=blocks.dataset(about.schema.name, about.schema, len(saved.labels), found),
        target={
            **blocks.target(about.target, found),
            "answers": blocks.answers(log_p, known.target),
            **({"read_as": [defense.name for defense in known.on_target]} if known.on_target else {}),
        },
        shadows={
            "count": len(saved.shadows),
            **about.shadows,
            "answers": deployed_attack.answers_block(known.ways_of_shadows, config.defenses),
            "notes": setting.notes,
        },
        doubts=setting.doubts,
    )


# --- the predictions, checked ----------------------------------------------------------------------------------------


def _path(config: DeployedConfig) -> str:
    assert config.predictions is not None
    return config.predictions


def checked(
    config: DeployedConfig,
    saved: deployed.Predictions,
    population: Answered | None = None,
    copies: np.ndarray | None = None,
    retrain: Retrain | None = None,
) -> Inputs:
    """The predictions, looked at: what may be used of them, and what is to be said.

    Args:
        config: attacks and defenses.
        saved: of the records in question.
        population: by the same models, about records that trained none.
        copies: int [n], ``duplicates.groups`` of the records, where these are known.
        retrain: as of ``attack``.

    Raises:
        InputError: they, or an attack that was asked for, cannot be used.
    """
    numbers = saved.numbers
    largest_of_two.refuse(saved.labels, [saved.target, *saved.shadows])
    target, shadows, rounded = answer_kinds.of_one_precision(np.asarray(saved.target), np.asarray(saved.shadows))
    # without the names of the shadows, which are nothing of what is judged
    saved = saved._replace(target=target, shadows=shadows, numbers=None)
    digest = artifacts.array_digest(*(array for array in saved if array is not None))
    twins = memorization.twins(saved.shadows)  # before defenses: labels of two models may well be the same
    chosen = defenses.parse(config.defenses)
    if chosen:
        saved = deployed.defended(saved, chosen, shadows_too=config.adaptive)
        population = population and _defended(population, chosen, shadows_too=config.adaptive)
    names, kept, notes = _usable(config, saved, twins, retrain)
    asked, trained = infer.Answered(saved.labels, saved.target, saved.shadows), saved.shadow_member
    saved = saved._replace(shadows=saved.shadows[kept], shadow_member=trained[kept])
    population = population and population._replace(shadows=population.shadows[kept])
    known = formats.of_saved(saved.target, saved.shadows, common=not chosen)
    alike = not chosen or config.adaptive
    said = remarks.of_saved(
        asked, trained, saved.member, known, kept, alike=alike, copies=copies, numbers=numbers, trials=True
    )
    notes = notes if numbers is None else [naming.with_numbers(note, numbers) for note in notes]
    return Inputs(
        saved, digest, names, known, [*filter(None, (rounded,)), *notes, *said.notes], list(said.doubts), population
    )


def run_of_attacks(config: DeployedConfig, retrain: Retrain | None) -> tuple[dict[str, Any], frozenset[str]]:
    """What attacks' options may be of the run, and what attacks may need, of ``entries.NEEDS``."""
    if retrain is None:
        return configs.attack_run(config), ANSWERS
    return configs.attack_run(config, retrain=retrain), ANSWERS | {"trainer"}


def _defended(population: Answered, chosen: tuple[defenses.AnswerDefense, ...], *, shadows_too: bool) -> Answered:
    labels, target, shadows = map(np.asarray, population)
    saved = deployed.Predictions(labels, target, shadows, np.zeros(shadows.shape[:2], bool), None)
    saved = deployed.defended(saved, chosen, shadows_too=shadows_too)
    return Answered(labels, saved.target, saved.shadows)


def _usable(
    config: DeployedConfig, saved: deployed.Predictions, twins: np.ndarray, retrain: Retrain | None
) -> tuple[list[str], np.ndarray, list[str]]:
    """The attacks, which shadows do not give the truth away, and what is to be said of the others.

    Raises:
        InputError: who trained the shadows tells who trained the target, and that cannot be mended.
    """
    has, more = run_of_attacks(config, retrain)
    names = infer.attack_names(config.attacks, has, same_records=True, member=saved.shadow_member, more=more)
    built = [build(name, 2, configs.attack_settings(config), has) for name in names]
    per_example = any(attack.per_example for attack in built)
    design = membership.examine(saved.shadow_member, saved.member, per_example=per_example, twins=twins)
    kept = saved.shadow_member[design.kept]
    if len(design.kept) < len(saved.shadows):
        names = infer.attack_names(config.attacks, has, same_records=True, member=kept, more=more)
    share = None if saved.member is None else membership.share_note(kept, saved.member)
    return names, design.kept, [*design.notes, *([share] if share else [])]


PLAN: AuditPlan[DeployedConfig, Inputs, None, infer.Answered, dict[str, infer.Scored]] = AuditPlan(
    "deployed", resolve, prepare, train, observe, attack, summarize
)
