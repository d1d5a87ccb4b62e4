"""The balanced audit: models in complementary pairs, each of some in turn the target and the others its shadows.

Every record trains half of the models, which LiRA and its heirs need (Carlini et al. 2022, section VI). One pass over
the models feeds all attacks; what is kept of a model is the few numbers that attacks read, not its answers. When a
model plays the target its partner plays no part: counts over the others would give membership away.
"""

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import (
    artifacts,
    balanced_report,
    data,
    defences,
    divergence,
    exposure,
    looking,
    matched,
    membership,
    memory,
    metrics,
    models,
    over_targets,
    results,
    runs,
    showing,
    splits,
    stages,
)
from mia_jax import config as configs
from mia_jax.attacks import ATTACKS, named, queries, quick_first, sources
from mia_jax.attacks.base import telling
from mia_jax.config import BalancedConfig
from mia_jax.looking import Sight
from mia_jax.platforms import platform
from mia_jax.progress import Advance, Progress, silent
from mia_jax.runs import Notify
from mia_jax.stages import Models, stage_key
from mia_jax.types import Attack, InputError, Key, Records, Remember, Schema

CURVE_TARGETS = 4  # that the curve over numbers of shadows is a mean of
CURVE_RATE = 0.01


class Setting(NamedTuple):
    """Who is asked about, who trains on whom."""

    root: Key
    pool: Records
    schema: Schema
    candidates: np.ndarray  # int32 [n], rows of the pool
    population: np.ndarray  # int32 [P], rows of the pool that train nobody
    plan: splits.Plan  # of the candidates: [K, n // 2]
    member: np.ndarray  # bool [K, n]
    targets: np.ndarray  # [T], models


class Judged(NamedTuple):
    """One attack on every target."""

    scores: np.ndarray  # float64 [T, n]; NaN where a record was not judged
    chosen: dict[str, list[float]]  # rate -> by target, the threshold chosen on a shadow
    curve: dict[int, list[np.ndarray]]  # number of shadows -> of the first targets, scores [n]


def run(
    config: BalancedConfig, *, command: str = "", notify: Notify = lambda line: None, progress: Progress = silent
) -> dict[str, Any]:
    """Audit a way of training, by many models of it; write results.json, scores.npz and report.html into the workdir.

    Returns:
        What results.json holds: as of ``audit.run``, with ``"plan": "balanced"`` and, per attack, measures that are
        means over targets with their interval.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir.
    """
    config = configs.resolve(config)
    names = attack_names(config)
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        return _run(config, names, workdir, command, notify, progress)


def _run(config, names, workdir, command, notify, progress) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    notify = runs.once(notify)
    with runs.timed(seconds, "data"):
        pool, schema = runs.load(config, check, notify)
    setting = set_up(config, pool, schema)
    worn = defences.parse(config.defences)
    attacks = build_attacks(config, names, setting, telling(lambda seconds: advance(1, "shokri")))
    parts = quick_first(attacks, schema.num_classes, {"shokri": runs.shokri_options(config)})
    promised = runs.promised_epsilon(config, setting.plan.train.shape[1])
    n, half = len(setting.candidates), setting.plan.train.shape[1]
    notify(
        f"{schema.marked_name}: {n:,} records are asked about; each of {config.num_models} models trains on {half:,}"
    )

    everyone = train(workdir, config, setting, progress, notify)
    began, all_models = time.perf_counter(), setting

    def look(trained: Models, which: np.ndarray):
        setting = of_models(all_models, which)
        notify(f"Looking at {len(which)} models for {len(attacks)} attacks")
        sights = looking.look(
            stage_key(setting.root, "look"),
            attacks,
            trained,
            worn,
            pool,
            setting.candidates,
            setting.population,
            setting.member,
            setting.targets,
            sample_rows=_sample_rows(config, schema.num_classes),
            query_shadows=config.query_shadows,
            query_records=config.query_records,
        )
        return sights, setting, trained, which

    sights, setting, trained, which = divergence.going_on(
        everyone, look, "models", config, notify, choose=pairs, least=4
    )
    scored = {}
    with progress("attacks", sum(parts.values()) * len(setting.targets)) as advance:
        for name, count in parts.items():
            advance(0, name)
            tell = functools.partial(advance, note=name)
            scored[name] = judge(
                workdir, config, setting, name, attacks[name], sights.of[name], trained.names, parts=count, advance=tell
            )
    scored = {name: scored[name] for name in attacks}
    label = np.asarray(pool.y, np.int32)[setting.candidates]
    took = time.perf_counter() - began - trained.spent()
    seconds |= {"shadows": trained.seconds(), "attack": took}
    with runs.timed(seconds, "evaluation"):
        blocks = {name: summarise(setting, label, name, found) for name, found in scored.items()}
        scores = {name: found.scores for name, found in scored.items()}
        for name, found in scores.items():
            blocks[name]["epsilon"] = matched.from_scores(
                found,
                setting.member[setting.targets],
                delta=config.dp_delta,
                seed=config.seed,
                attacks=len(scores),
            )
        exposed = exposure.summarise(sights.phi, setting.member, label, setting.candidates, schema.num_classes, scores)
        most = np.asarray(pool.x)[[record["index"] for record in exposed["records"]]]
        pictures = showing.pictures(schema, most)
        if pictures is None:
            told = zip(exposed["records"], showing.attributes(schema, most), strict=True)
            exposed["records"] = [{**record, "attributes": text} for record, text in told]
    summary = {
        **runs.header(
            command,
            {
                **{f: getattr(config, f) for f in configs.identity(config)},
                "num_models": config.num_models,
                "num_targets": len(setting.targets),
                "attacks": ",".join(attacks),
                "workdir": str(workdir.path),
            },
            plan="balanced",
        ),
        "dataset": results.dataset(
            schema,
            data.title(schema.name),
            len(pool.y),
            np.bincount(np.asarray(pool.y)[setting.candidates], minlength=schema.num_classes) // 2,
        ),
        "target": {
            "kind": config.target_kind,
            "model": config.model,
            "train_records": half,
            "train_accuracy": sights.accuracy[0],
            "test_accuracy": sights.accuracy[1],
            **({"epsilon": promised} if promised is not None else {}),
        },
        "shadows": {
            "count": len(which) - 2,
            "models": len(which),
            "data": "balanced",
            **divergence.story(everyone, which),
        },
        "attacks": blocks,
        "exposure": exposed,
        "paper": {"rows": []},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    columns = {runs.column(name): each.astype(np.float32) for name, each in scores.items()}
    shared = {
        "member": setting.member[setting.targets],
        "label": label,
        "index": setting.candidates.astype(np.int64),
        "targets": setting.targets,
        "separation": exposure.separation(sights.phi, setting.member).astype(np.float32),
        **({} if pictures is None else {"pictures": pictures}),  # of exposure.records, in that order
    }
    artifacts.write_npz(workdir.path / "scores.npz", {**shared, **columns})
    artifacts.write_json(workdir.path / "results.json", summary)
    balanced_report.write_report(workdir.path)
    return summary


# --- the plan --------------------------------------------------------------------------------------------------------


def attack_names(config: BalancedConfig) -> tuple[str, ...]:
    """The attacks that ``--attacks`` names.

    Raises:
        InputError: one is unknown.
    """
    if config.attacks == "all":
        return tuple(name for name in ATTACKS if name != "majority")
    return tuple(named(config.attacks))


def check(config: BalancedConfig, schema: Schema, total: int) -> tuple[int, int]:
    """Check what can be checked before the work; returns the records asked about and those of the population.

    Raises:
        InputError: too few records, too many targets, a network that does not fit.
    """
    reserve = config.population if config.population is not None else min(total // 10, 5000)
    n = config.num_records or total - reserve
    if n + reserve > total:
        raise InputError(
            f"{n:,} records asked about and a population of {reserve:,} are more than {config.dataset} has ({total:,});"
            f" use --num_records={max(total - reserve, 0)} or less"
        )
    if config.num_targets > config.num_models:
        raise InputError(f"--num_targets={config.num_targets} of --num_models={config.num_models}: give more models")
    if config.target_kind == "nn":
        memory.check_networks(config, schema, n // 2)
    else:
        platform(config.target_kind, schema.num_classes)
    if "shokri" in attack_names(config):
        memory.check_attack_networks(config, schema.num_classes)
    return n, reserve


def set_up(config: BalancedConfig, pool: Records, schema: Schema) -> Setting:
    """Decide who is asked about and who trains on whom. Raises InputError as ``check``."""
    total = len(pool.y)
    n, reserve = check(config, schema, total)
    root = jax.random.key(config.seed)
    population, rest = splits.reserve(stage_key(root, "population"), total, reserve)
    candidates = np.sort(rest[:n])
    plan = splits.balanced(stage_key(root, "balanced"), n, config.num_models)
    targets = _targets(config.num_targets, config.num_models)
    return Setting(root, pool, schema, candidates, population, plan, splits.membership(plan, n), targets)


def _targets(count: int, num_models: int) -> np.ndarray:
    """The models that play the target, [T]: one of each pair first."""
    doubled = np.arange(count) * 2
    return np.where(doubled < num_models, doubled % num_models, doubled % num_models + 1)


def pairs(models: np.ndarray) -> np.ndarray:
    """Those of the models whose partners are among them, too."""
    return models[np.isin(models ^ 1, models)]  # splits.balanced: 2p and 2p + 1


def of_models(setting: Setting, which: np.ndarray) -> Setting:
    """The setting as if there were only these models, in pairs; as many of them play the target, if there are."""
    targets = _targets(min(len(setting.targets), len(which)), len(which))
    plan = splits.Plan(*(np.asarray(rows)[which] for rows in setting.plan))
    return setting._replace(plan=plan, member=setting.member[which], targets=targets)


def train(
    workdir: artifacts.Workdir,
    config: BalancedConfig,
    setting: Setting,
    progress: Progress,
    notify: Notify = lambda line: None,
) -> Models:
    """All models of the plan."""
    key = stage_key(setting.root, "models")
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(config.num_models))
    rows = setting.candidates[setting.plan.train]
    arguments = (workdir, config, setting.schema, setting.pool, setting.schema.digest, keys, rows)
    return stages.build_models(config)(*arguments, title="models", progress=progress, notify=notify)


def build_attacks(
    config: BalancedConfig, names: tuple[str, ...], setting: Setting, remember: Remember
) -> dict[str, Attack]:
    """The attacks, with what they need of the run."""
    schema = setting.schema
    population = Records(*(np.asarray(leaf)[setting.population] for leaf in setting.pool))
    public = len(setting.population) > 0
    given: dict[str, Any] = {"schema": schema}
    if "trajectory" in names and public:
        given["population"] = population
        given["model"] = models.build(config.model, schema, hidden=config.hidden)
    options: dict[str, dict[str, Any]] = {
        "shokri": dict(runs.shokri_options(config), remember=remember),
        "label_only": {"num_queries": config.num_queries},
    }
    if config.augment:
        if len(schema.shape) != 3:
            raise InputError(
                f"--augment moves images [h, w, channels], and records of {schema.name} are {schema.shape}"
            )
        lira = {name: {"augment": queries.shifted(config.augment)} for name in ATTACKS if name.startswith("lira")}
        options |= lira
    attacks, missing = {}, runs.lacks_values(setting.pool)
    for name in names:
        entry = ATTACKS[name]
        if missing and entry.beyond:
            raise_or_skip(config, name, "it computes with features, and some are missing (NaN): fill them in")
            continue
        if lacking := [option for option in entry.options if option not in given]:
            raise_or_skip(config, name, f"it needs {lacking[0]}; give --population")
            continue
        attack = entry(schema.num_classes, **{o: given[o] for o in entry.options}, **options.get(name, {}))
        if "public" in attack.needs and not public:
            raise_or_skip(config, name, "it needs a --population")
            continue
        attacks[name] = attack
    return attacks


def raise_or_skip(config: BalancedConfig, name: str, reason: str) -> None:
    """An attack that was asked for by name is missed; of ``all`` it is left out."""
    if config.attacks != "all":
        raise InputError(f"--attacks: {name} cannot run here: {reason}")


# --- judging ---------------------------------------------------------------------------------------------------------


def fit_and_score(key: Key, attack: Attack, sight: Sight, target: int, shadows: np.ndarray) -> np.ndarray:
    """What the attack makes of the target, learned on these shadows: float64 [n'], over ``sight.rows``."""
    place = {int(k): i for i, k in enumerate(sight.which)}
    rows = np.array([place[int(k)] for k in shadows], int)
    public = None
    if sight.public:
        seen = [sight.public[int(k)] for k in (target, *(shadows if attack.aligned else ()))]
        public = jax.tree.map(lambda *leaves: np.stack(leaves), *seen)
    state = attack.fit(key, jax.tree.map(lambda leaf: leaf[rows], sight.fit), sight.fit_member[rows], public)
    return np.asarray(attack.score(state, sight.asked[int(target)]), np.float64)


def judge(
    workdir: artifacts.Workdir,
    config: BalancedConfig,
    setting: Setting,
    name: str,
    attack: Attack,
    sight: Sight,
    model_names: list[str],
    *,
    parts: int,
    advance: Advance,
) -> Judged:
    """Every target in turn, its partner left out; and what fewer shadows would have given. An artefact per target.

    ``advance`` is told of ``parts`` per target; an attack that has parts tells of those that it does itself.
    """
    key = jax.random.fold_in(stage_key(setting.root, "attack"), list(ATTACKS).index(name))
    options = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.metadata["identity"]}
    related = membership.related(setting.member)
    scores = np.full((len(setting.targets), len(setting.candidates)), np.nan)
    chosen: dict[str, list[float]] = {f"{rate:g}": [] for rate in metrics.RATES}
    curve: dict[int, list[np.ndarray]] = {}
    for place, t in enumerate(setting.targets):
        shadows = membership.others(related, sight.which, t)
        actor = shadows[np.searchsorted(shadows, t) % len(shadows)]  # another for each target: plays it in rehearsal
        description = {
            "version": stages.VERSION,
            "left_out": membership.VERSION,
            "attack": name,
            "source": sources([name]),
            "options": options,
            "key": stages.key_words(key),
            "target": model_names[t],
            "shadows": [model_names[k] for k in shadows],
            "candidates": artifacts.array_digest(setting.candidates, setting.population, sight.rows),
            "curve": place < CURVE_TARGETS,
            "rehearsal": model_names[actor],
        }
        held = workdir.load("scores", description)
        untold = parts if held is not None or ATTACKS[name].parts is None else 0
        if held is None:
            arrays = {"score": fit_and_score(key, attack, sight, t, shadows)}
            if attack.aligned and len(shadows) > 2:
                rehearsal = membership.others(related, sight.which, t, actor)
                arrays["rehearsal"] = fit_and_score(key, attack, sight, actor, rehearsal)
            if attack.aligned and place < CURVE_TARGETS:
                for count in shadow_counts(len(shadows), attack):
                    arrays[f"curve/{count}"] = fit_and_score(key, attack, sight, t, shadows[:count])
            workdir.save("scores", description, arrays)
            held = artifacts.Artifact(arrays, {})
        advance(untold)
        scores[place, sight.rows] = held.arrays["score"]
        if "rehearsal" in held.arrays:
            its = setting.member[actor][sight.rows]
            for rate in metrics.RATES:
                chosen[f"{rate:g}"].append(metrics.threshold_at_fpr(held.arrays["rehearsal"], its, rate))
        for column, values in held.arrays.items():
            if column.startswith("curve/"):
                full = np.full(len(setting.candidates), np.nan)
                full[sight.rows] = values
                curve.setdefault(int(column.removeprefix("curve/")), []).append(full)
    return Judged(scores, chosen, curve)


def shadow_counts(available: int, attack: Attack) -> list[int]:
    """1, 2, 4, ... shadows; an attack that needs both sides begins with a pair, which has every record on both."""
    counts, count = [], 2 if "in" in attack.needs else 1
    while count < available:
        counts.append(count)
        count *= 2
    return [*counts, available]


def summarise(setting: Setting, label: np.ndarray, name: str, judged: Judged) -> dict[str, Any]:
    """An attack's block: means over targets, ``over_targets``; with one target, that target's own intervals."""
    score, member = np.asarray(judged.scores, np.float64), setting.member[setting.targets]
    blocks = []
    for s, m in zip(score, member, strict=True):
        scored = ~np.isnan(s)
        blocks.append(metrics.evaluate(s[scored], m[scored], label[scored], setting.schema.num_classes))
    block = dict(blocks[0]) if len(blocks) == 1 else over_targets.block(blocks, score, member, label)
    block |= {"title": runs.title(name), "targets": len(blocks), "unscored": int(np.isnan(score).sum())}
    block["auc_by_target"] = [b["auc"]["value"] for b in blocks]
    if any(judged.chosen.values()):
        block["chosen_threshold"] = {
            rate: {side: m.json() for side, m in over_targets.realised(score, member, found, float(rate)).items()}
            for rate, found in judged.chosen.items()
        }
    if judged.curve:
        block["by_shadows"] = {
            str(count): {m: measure.json() for m, measure in _at_a_glance(np.stack(found), member).items()}
            for count, found in sorted(judged.curve.items())
        }
    return block


def _at_a_glance(score: np.ndarray, member: np.ndarray) -> dict[str, metrics.Measure]:
    """Of the targets whose scores [t, n] these are, the first of ``member``."""
    member = member[: len(score)]
    return {
        "auc": over_targets.auc(score, member),
        "tpr": over_targets.tpr_at_fpr(score, member, CURVE_RATE),
    }


def _sample_rows(config: BalancedConfig, num_classes: int) -> int:
    """Rows of each model that the attacks on rows of any records learn from: enough for ``attack_rows`` per class."""
    return max(2, 2 * (config.attack_rows * num_classes // (2 * config.num_models)))
