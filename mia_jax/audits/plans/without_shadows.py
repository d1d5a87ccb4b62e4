"""The audit of a model, or of its saved answers, without shadows: the attacks that need the target's answers alone.

What these attacks lack is a threshold. Where it is known who is a member, half of the members and half of the others
are drawn to choose it on, and how well it does is judged on the other half. How the scores order records (AUC, members
found at a rate of false alarms, the bound on epsilon) depends on no threshold and is judged on all of them.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, named, wants_all
from mia_jax.attacks.entries import ANSWERS, NEEDS
from mia_jax.audits import config as configs
from mia_jax.audits import stages
from mia_jax.audits.config import InProcessConfig
from mia_jax.audits.deployed import blocks, calibration, in_process, populations
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.deployed.in_process import Asked, brought
from mia_jax.audits.plans import predictions
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Run, Summary, Trained
from mia_jax.checks import alone, unnoticed
from mia_jax.checks.labels import class_gaps
from mia_jax.checks.membership import blind_guesses, held_out
from mia_jax.data import duplicates, neighbors, telling
from mia_jax.targets import answer_format, defenses
from mia_jax.types import Answers, Array, InputError

HALF = (
    "No shadow model was there to choose thresholds on: half of the members and of the others, drawn at random, chose"
    " each, and accuracy, precision and recall are judged on the other half."
)
UNKNOWN = f"{calibration.NO_BOUNDARY}there is no shadow model, and it is not known who is a member"


class WithoutShadowsSetting(NamedTuple):
    """The target's answers, and what is made of them."""

    asked: Asked
    answers: Answers  # their format, behind the defenses
    log_p: np.ndarray  # [n, c], behind the defenses
    population: np.ndarray | None  # [p, c], the same of the population
    attacks: list[str]
    lacking: list[str]  # the attacks that need shadows
    chosen_on: np.ndarray  # bool [n], records that thresholds are chosen on; none where nobody knows who is a member


class Scored(NamedTuple):
    """An attack's scores, and on which records its boundary may be judged."""

    scores: np.ndarray  # float64 [n]
    judged: np.ndarray | None  # bool [n], where the boundary may be judged; None: everywhere


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: InProcessConfig) -> InProcessConfig:
    """The configuration with presets filled in."""
    return configs.resolve(config)


def prepare(run: Run[InProcessConfig]) -> WithoutShadowsSetting:
    """The target's answers, and the attacks that can do with them.

    Raises:
        InputError: the answers or the records cannot be used, or an attack that was asked for cannot run.
    """
    config, given = run.config, brought(run.config)
    names, lacking = _attacks(config)
    asked = in_process.ask(run)
    answers, log_p = _behind(config, asked.p)
    population = None if asked.population is None else _behind(config, asked.population)[1]
    run.notify(f"{len(given.y):,} records, {asked.schema.num_classes} classes, no shadows; attacks: {', '.join(names)}")
    chosen_on = _half(np.random.default_rng(config.seed), given.member, len(given.y))
    return WithoutShadowsSetting(asked, answers, log_p, population, names, lacking, chosen_on)


def train(run: Run[InProcessConfig], setting: WithoutShadowsSetting) -> Trained[None]:
    """No model."""
    return Trained(stages.NO_MODELS, "shadow models", None, np.zeros(0, int), least=0)


def observe(run: Run[InProcessConfig], setting: WithoutShadowsSetting, trained: Trained[None]) -> np.ndarray:
    """The answers, which were given."""
    return setting.log_p


def attack(run: Run[InProcessConfig], setting: WithoutShadowsSetting, observed: np.ndarray) -> dict[str, Scored]:
    """Every attack's scores; ``observed`` are the target's answers [n, c]."""
    return {name: _scored(run, setting, observed, name) for name in setting.attacks}


def summarize(
    run: Run[InProcessConfig],
    setting: WithoutShadowsSetting,
    trained: Trained[None],
    observed: np.ndarray,
    scored: dict[str, Scored],
) -> Summary:
    """The blocks of results.json; where nobody told who is a member (bool [n]), attacks have no measures."""
    config, given = run.config, brought(run.config)
    again = in_process.remarks(setting.asked)
    doubts = (*again.doubts, *alone.doubts(given.y, setting.asked.p, given.member))
    for line in doubts:
        run.notify(f"warning: {line}")
    found = Found(
        scores={name: one.scores for name, one in scored.items()},
        label=given.y,
        member=given.member,
        index=np.arange(len(given.y)),
        about={},
        no_boundary={name: UNKNOWN for name in scored if given.member is None and ATTACKS[name].needed()},
        x=in_process.records(given),
        fields=(),
        group=given.group,
        control={},
        **blocks.without_attack(observed, given.y),
    )
    return blocks.summary(
        config,
        predictions.settings(config, scored, *in_process.named(config)),
        found,
        dataset=blocks.dataset(config.name, setting.asked.schema, len(given.y), found),
        target={**blocks.target(in_process.kind(config), found), "answers": blocks.answers(observed, setting.answers)},
        shadows={"count": 0, "data": "none", "notes": [*again.notes, *_notes(run, setting, bool(doubts))]},
        doubts=list(doubts),
        judged={name: one.judged for name, one in scored.items() if one.judged is not None},
    )


# --- which attacks ---------------------------------------------------------------------------------------------------


def _attacks(config: InProcessConfig) -> tuple[list[str], list[str]]:
    """The attacks to run, and those that need shadows. Raises InputError for one that was asked for and cannot run."""
    wanted, population = named(config.attacks), brought(config).population is not None
    reasons = {name: _lacking(name, population, _move(config)) for name in ATTACKS}
    possible = [name for name, reason in reasons.items() if not reason]
    if refused := [name for name in wanted if reasons[name]]:
        raise InputError(f"attacks: {reasons[refused[0]]}; without shadows {', '.join(possible)} can run")
    if wants_all(config.attacks):
        return possible, [name for name, reason in reasons.items() if reason.endswith(_move(config))]
    return wanted, []


def _move(config: InProcessConfig) -> str:
    """How shadows are given."""
    if config.predictions is not None:
        return "add shadows [S, n, c] and shadow_member [S, n] to the file"
    return "give shadows=fit, or what such models answered"


def _lacking(name: str, population: bool, move: str) -> str:
    """Why an attack cannot run; empty if it can."""
    entry = ATTACKS[name]
    beyond = entry.needed() - ANSWERS
    if beyond:
        return f"{name} needs {' and '.join(NEEDS[need] for need in sorted(beyond))}: see mia.BalancedConfig"
    if name == "majority":
        return "majority says the same of everybody, whatever the target answers"
    if name == "attack_p" and not population:
        return "attack_p orders records as loss does unless there is population=, records that trained no model"
    if entry.parts is not None or build(name, 2, {}, {"remember": None}).per_example:
        return f"{name} needs shadow models: {move}"
    return ""


# --- scores ----------------------------------------------------------------------------------------------------------


def _behind(config: InProcessConfig, p: np.ndarray) -> tuple[Answers, np.ndarray]:
    """The format of probabilities [n, c], and their logarithms, behind the defenses."""
    chosen, known = defenses.parse(config.defenses), answer_format.recognize(p)
    log_p = answer_format.log_probabilities(p, known)
    if not chosen:
        return known, log_p
    together = defenses.compose(chosen)
    return together.after(known), np.asarray(together(log_p))


def _half(rng: np.random.Generator, member: np.ndarray | None, records: int) -> np.ndarray:
    """Half of the members and half of the others, bool [n]; nobody where it is not known who is a member."""
    half = np.zeros(records, bool)
    if member is not None:
        for side in (member, ~member):
            rows = rng.permutation(np.flatnonzero(side))
            half[rows[: (len(rows) + 1) // 2]] = True
    return half


def _scored(run: Run[InProcessConfig], setting: WithoutShadowsSetting, log_p: np.ndarray, name: str) -> Scored:
    """The scores of one attack: what it learns, it learns from the target's own answers about half of the records.

    An attack that learns more than one threshold, as one for each class, orders these records by what it knows of
    them: they get no score.
    """
    config, given = run.config, brought(run.config)
    attack = build(name, setting.asked.schema.num_classes, configs.attack_settings(config), configs.attack_run(config))
    assert attack.read is not None  # or it would need more than answers
    read = jax.jit(attack.read)
    seen = _read(read, log_p, given.y)
    population = None
    if setting.population is not None and given.population is not None:
        of_target = _read(read, setting.population, given.population[1])
        population = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), of_target)  # of the target, which learns, too
    key, half = stage_key(run.root, name), setting.chosen_on

    def fitted(rows: np.ndarray, member: np.ndarray) -> np.ndarray:
        own = jax.tree.map(lambda leaf: leaf[None, rows], seen)
        state = attack.fit(key, own, member[None, rows], population)
        return np.asarray(attack.score(state, seen), np.float64)

    plain = fitted(np.ones(len(half), bool), np.zeros(len(half), bool))  # no member: no boundary
    if given.member is None:
        return Scored(plain, None)
    scores = fitted(half, given.member)
    if np.array_equal(scores, plain):
        return Scored(scores, None)
    if np.ptp(scores - plain) > 1e-6 * max(1.0, float(np.abs(plain).max())):
        scores[half] = np.nan
    return Scored(scores, ~half)


def _read(read: Any, log_p: np.ndarray, label: Array) -> Any:
    return jax.tree.map(np.asarray, read(log_p, label))


def _advice(config: InProcessConfig) -> str:
    if config.predictions is not None:
        return f"{_move(config)}, of models that were trained as yours was"
    return "give shadows=fit, a function fit(x, y, *, seed) that trains a model as yours was trained"


def _notes(run: Run[InProcessConfig], setting: WithoutShadowsSetting, doubted: bool) -> list[str]:
    """What is to be said of the thresholds, of what could not run, and of the records."""
    given = brought(run.config)
    said = [HALF] if given.member is not None else []
    if setting.lacking:
        said.append(
            f"Not run, for want of shadow models: {', '.join(setting.lacking)}. They find more than the attacks here:"
            f" {_advice(run.config)}."
        )
    said += class_gaps.notes(given.y, setting.asked.p, given.member)
    said += [] if given.member is None else blind_guesses.notes(given.y, given.member)
    said += [] if doubted else _of_answers(given.y, setting.asked.p, given.member)
    group = duplicates.of_records(given.x)
    note = None if group is None else duplicates.note(group, given.member)
    beside = neighbors.notes(given.x, given.y, given.member)
    of_records = [*in_process.cut(given), *beside, *populations.notes(given), *telling.of_records(given.x, given.y)]
    of_records += held_out.of_estimators(given.model, None, given.member, len(given.y))
    return [*said, *([note] if note else []), *of_records]


def _of_answers(labels: np.ndarray, p: np.ndarray, member: np.ndarray | None) -> tuple[str, ...]:
    """How the target's answers are, or else which mistakes would not be seen in them."""
    if (said := alone.notes(labels, p, member)) or member is None:
        return said

    def noticed(copy: unnoticed.Given) -> bool:
        given = np.asarray(copy.labels), copy.target, copy.member
        return bool(alone.doubts(*given) or alone.notes(*given))

    nobody = np.zeros((0, len(labels)))
    whole = unnoticed.Given(np.asarray(labels), p, np.zeros((0, *p.shape)), nobody.astype(bool), member)
    return unnoticed.note(whole, nobody, noticed)


PLAN: AuditPlan[InProcessConfig, WithoutShadowsSetting, None, np.ndarray, dict[str, Scored]] = AuditPlan(
    "deployed", resolve, prepare, train, observe, attack, summarize
)
