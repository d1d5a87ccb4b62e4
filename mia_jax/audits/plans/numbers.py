"""The audit of a model that predicts no class: ``mia_jax.audit(predict, x, y, member, shadows=fit,
signal="squared_error")``, or saved numbers. Of each record and model there is one (``deployed/numbers.py``)."""

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import numpy as np

from mia_jax import user_code
from mia_jax.attacks import ATTACKS
from mia_jax.audits import config as configs
from mia_jax.audits import stages
from mia_jax.audits.config import Brought, InProcessConfig
from mia_jax.audits.deployed import blocks, in_process, numbers, predicted
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.deployed.in_process import brought
from mia_jax.audits.deployed.numbers import OnOneScale, Scored, Signal
from mia_jax.audits.plans import predictions
from mia_jax.audits.plans.in_process import plan_of_shadows
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Run, Summary, Trained
from mia_jax.checks.answers import other_answers
from mia_jax.checks.answers.other_answers import Apart
from mia_jax.checks.membership import held_out
from mia_jax.checks.signals import lone_signals
from mia_jax.data import duplicates, neighbors, tables
from mia_jax.plans.training_plan import TrainingPlan
from mia_jax.reports import results
from mia_jax.targets import processes, unchanged
from mia_jax.targets.trainers import Platform, refuse_without_seed
from mia_jax.types import Array, InputError, Schema


class Setting(NamedTuple):
    """What is decided before anything is trained."""

    signal: Signal
    target: np.ndarray  # float64 [n], the target's numbers
    plan: TrainingPlan
    trainer: Any  # fit(x, y, *, seed); None: the shadows predicted elsewhere
    attacks: list[str]
    apart: Apart | None = None  # how the target predicts otherwise, asked again
    in_place: bool = False  # it changes the records
    mixed: bool = False  # a record's number depends on the other records
    prediction: np.ndarray | None = None  # [n, ...], the target's


class Shadows(NamedTuple):
    """The shadows' numbers, and how they came."""

    values: np.ndarray  # float64 [S, n]
    apart: Apart | None = None  # how they predict otherwise, asked again: the first of those that do
    in_place: frozenset[str] = frozenset()  # "fit", "shadows": who changes the records that are given


@dataclasses.dataclass(frozen=True)
class OfEstimator:
    """``fit(x, y, *, seed)`` of a regressor of scikit-learn's kind."""

    estimator: Any

    @property
    def title(self) -> str:
        """Its name and its library's."""
        kind = type(self.estimator)
        return f"{kind.__name__} of {kind.__module__.partition('.')[0]}"

    def __call__(self, x: Any, y: Array, *, seed: int) -> Any:
        """The estimator, cloned and fitted to records [m, *f]."""
        from sklearn.base import clone

        model = clone(self.estimator)
        seeds = {name: seed for name in model.get_params() if name.split("__")[-1] == "random_state"}
        return model.set_params(**seeds).fit(x, y)


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: InProcessConfig) -> InProcessConfig:
    """Presets filled in.

    Raises:
        InputError: settings that need classes.
    """
    config, given = configs.resolve(config), brought(config)
    if config.defenses:
        raise InputError("defenses change probabilities, and with a signal there are none: leave them out")
    if given.shadows is None and (given.trainer is None or isinstance(given.trainer, str | Platform)):
        line = (
            "with a signal, shadows is a function fit(x, y, *, seed), a regressor of scikit-learn's kind, or what saved"
            ' ones predicted: {"shadows": p [S, n, ...], "shadow_member": trained [S, n]}'
        )
        alone = "mia_jax.auc(-((predicted - y) ** 2), member)"
        raise InputError(f"{line}; without shadows, {alone} says what the loss attack does")
    if given.population is not None:
        raise InputError("population has no use with a signal: leave it out")
    return config


def prepare(run: Run[InProcessConfig]) -> Setting:
    """The target's numbers, and who of the shadows trains on what.

    Raises:
        InputError: what it predicts gives no numbers, or an attack needs more.
    """
    given = brought(run.config)
    names, chosen = numbers.attack_names(run.config.attacks), numbers.signal(given.signal)
    own = predicted.of_model(given.model, given.x, given.y, chosen, called="the target", again=True)
    target = own.values
    run.workdir.note("the target's answers", target)
    if given.shadows is not None:  # they predicted elsewhere
        assert given.shadow_member is not None
        plan, trainer = TrainingPlan(given.shadow_member, np.zeros(0, np.int64)), None
    else:
        plan = plan_of_shadows(run.config, len(given.y))
        trainer = OfEstimator(given.trainer) if hasattr(given.trainer, "get_params") else given.trainer
        if not callable(trainer) or isinstance(trainer, type):
            raise InputError(f"shadows is {given.trainer!r}, which trains nothing: give a function fit(x, y, *, seed)")
        refuse_without_seed(trainer)
    run.notify(f"{len(target):,} records, {chosen.title}, {len(plan.member)} shadows; attacks: {', '.join(names)}")
    return Setting(chosen, target, plan, trainer, names, own.apart, own.in_place, own.mixed, own.prediction)


def train(run: Run[InProcessConfig], setting: Setting) -> Trained[Shadows]:
    """The shadows' numbers [S, n]; each is an artifact."""
    given, plan = brought(run.config), setting.plan
    if given.shadows is not None:
        of = enumerate(given.shadows)
        each = [predicted.of_model(p, given.x, given.y, setting.signal, called=f"shadow {k}").values for k, p in of]
        return Trained(stages.NO_MODELS, "shadow models", Shadows(np.stack(each)), np.zeros(0, int), least=0)
    name = getattr(setting.trainer, "title", "") or getattr(setting.trainer, "__name__", "fit")
    platform = Platform(f"{name}: {setting.signal.title}", _nothing, _nothing, (setting.trainer, given.signal))
    described = in_process.descriptions(given, platform, plan)
    loaded = {k: run.workdir.load("answers", each) for k, each in enumerate(described)}
    found = {k: artifact.arrays["signal"] for k, artifact in loaded.items() if artifact is not None}
    infos = {k: artifact.info for k, artifact in loaded.items() if artifact is not None}
    missing = [k for k in loaded if k not in found]
    work = functools.partial(_one, setting.trainer, name, given.x, given.y, setting.signal)
    tasks = [(k, plan.rows(k), int(plan.seeds[k])) for k in missing]
    with run.progress("shadow models", len(missing)) as advance:
        for k, one, info in processes.each(work, tasks, run.config.jobs, called="a shadow model"):
            run.workdir.save("answers", described[k], {"signal": one}, **info)
            found[k], infos[k] = one, info
            advance(1)
    run.seconds["shadows"] = sum(info["seconds"] for info in infos.values())
    apart = next((Apart(*infos[k]["apart"]) for k in sorted(infos) if "apart" in infos[k]), None)
    in_place = frozenset(who for info in infos.values() for who in info.get("in_place", ()))
    shadows = Shadows(np.stack([found[k] for k in sorted(found)]), apart, in_place)
    return Trained(stages.NO_MODELS, "shadow models", shadows, np.zeros(0, int), least=0)


def _one(
    fit: Any, name: str, x: Any, y: np.ndarray, chosen: Signal, k: int, rows: np.ndarray, seed: int
) -> tuple[int, np.ndarray, dict[str, Any]]:
    """The numbers [n] of one shadow, trained on some rows [m], and what is kept about it."""
    began = time.perf_counter()
    own = tables.take(x, rows)
    before = unchanged.some(own)
    with user_code.guarded(f"{name}(x, y, seed={seed})"):
        model = fit(own, y[rows], seed=seed)
    called, again = f"what {name} returns", k < in_process.AGAIN
    of = predicted.of_model(model, x, y, chosen, called=called, again=again)
    one, apart = of.values, of.apart
    who = ["shadows"] * of.in_place + ["fit"] * (not unchanged.same(before, unchanged.some(own)))
    info = {**({} if apart is None else {"apart": list(apart)}), **({"in_place": who} if who else {})}
    return k, one, {"seconds": time.perf_counter() - began, **info}


def _nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("this platform only names a trainer")


def observe(run: Run[InProcessConfig], setting: Setting, trained: Trained[Shadows]) -> OnOneScale:
    """The numbers of target [n] and shadows [S, n], on one scale."""
    return numbers.on_one_scale(setting.target, trained.extra.values, setting.plan.member, setting.signal)


def attack(run: Run[InProcessConfig], setting: Setting, observed: OnOneScale) -> dict[str, Scored]:
    """Every attack's scores, of numbers [n] and [S, n]."""
    options, has = configs.attack_settings(run.config), configs.attack_run(run.config)
    return {
        name: numbers.scored(
            name,
            observed.target,
            observed.shadows,
            setting.plan.member,
            member=brought(run.config).member,
            key=stage_key(run.root, name),
            options=ATTACKS[name].arguments(options, has),
        )
        for name in setting.attacks
    }


def summarize(
    run: Run[InProcessConfig],
    setting: Setting,
    trained: Trained[Shadows],
    observed: OnOneScale,
    scored: dict[str, Scored],
) -> Summary:
    """The blocks of results.json, and scores [n]; where nobody told who is a member, attacks have no measures."""
    config, given = run.config, brought(run.config)
    n, nothing = len(given.y), np.zeros(len(given.y), np.float32)
    reasons = {name: one.no_boundary for name, one in scored.items() if one.no_boundary}
    found = Found(
        {name: one.scores for name, one in scored.items()},
        nothing.astype(np.int32),
        given.member,
        np.arange(n),
        {},
        reasons,
        nothing,
        nothing,
        nothing.astype(bool),
        in_process.records(given),
        group=given.group,
        control={name: one.control for name, one in scored.items()},
    )
    notes = list(dict.fromkeys(note for one in scored.values() for note in one.notes))
    said = _remarks(setting, trained.extra, given)
    group = duplicates.of_records(given.x)
    copied = None if group is None else duplicates.note(group, given.member)
    notes += [*([copied] if copied else []), *neighbors.notes(given.x, member=given.member), *said.notes]
    notes += [*given.notes, *in_process.cut(given)]
    notes += held_out.of_estimators(given.model, given.trainer, given.member, len(given.y))
    for line in (*said.doubts, *notes):
        run.notify(f"warning: {line}")
    shape = tuple(np.shape(given.x)[1:])
    schema = Schema(config.name, "local", config.records or given.digest, 1, shape, ())
    settings = predictions.settings(config, scored, *in_process.named(config))
    settings |= {"num_shadows": config.num_shadows} if setting.trainer is not None else {}
    summary = blocks.summary(
        config,
        settings,
        found,
        dataset=blocks.dataset(config.name, schema, n, found),
        target=_target(config, setting, given.member),
        shadows=_shadows(setting, next(iter(scored.values())), notes),
        doubts=list(said.doubts),
    )
    columns = {name: value for name, value in summary.scores.items() if name not in ("label", "confidence", "entropy")}
    return summary._replace(scores={**columns, "signal": setting.target.astype(np.float32)})


def _remarks(setting: Setting, shadows: Shadows, given: Brought) -> numbers.Remarks:
    """What is to be said of the numbers, and of functions that predict otherwise when they are asked again."""
    said = numbers.remarks(setting.target, shadows.values, setting.plan.member, given.member, trials=True)
    if setting.trainer is not None:
        doubts, notes = (in_process.of_drawn(texts) for texts in (said.doubts, said.notes))
        said = numbers.Remarks(*map(tuple, in_process.of_order(doubts, notes, shadows.values, setting.plan.member)))
    in_place = shadows.in_place | (frozenset({"target"}) if setting.in_place else frozenset())
    unit = "standard deviations of a prediction"
    again = other_answers.remarks(setting.apart, shadows.apart, unit=unit, in_place=in_place)
    units = numbers.of_units(setting.target, given.y, setting.signal, given.member)
    units = units or numbers.of_functions(setting.prediction, given.y, setting.signal, given.member)
    outputs = () if units else numbers.of_outputs(setting.prediction, given.y, setting.signal)
    notes = (*([lone_signals.MIXES] if setting.mixed else []), *again.notes, *outputs, *said.notes)
    return numbers.Remarks((*again.doubts, *units, *said.doubts), notes)


def _target(config: InProcessConfig, setting: Setting, member: np.ndarray | None) -> results.Target:
    block: results.Target = {
        "kind": in_process.kind(config),
        "train_records": 0 if member is None else int(member.sum()),
        "signal": setting.signal.title,
        "test_signal": float(setting.target[slice(None) if member is None else ~member].mean()),
    }
    if member is None:
        return block
    return {**block, "test_records": int((~member).sum()), "train_signal": float(setting.target[member].mean())}


def _shadows(setting: Setting, one: Scored, notes: list[str]) -> results.Shadows:
    block: results.Shadows = {"count": len(one.kept), "notes": notes}
    if setting.trainer is None:
        return {**block, "data": "as the predictions were made"}
    return {
        **block,
        "data": "draws of the records in question",
        "train_records": int(setting.plan.member[0].sum()),
    }


PLAN: AuditPlan[InProcessConfig, Setting, Shadows, OnOneScale, dict[str, Scored]] = AuditPlan(
    "deployed", resolve, prepare, train, observe, attack, summarize
)
