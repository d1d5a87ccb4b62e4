"""The balanced audit: models in complementary pairs, each of some in turn the target and the others its shadows.

Every record trains half of the models, which LiRA and its heirs need (Carlini et al. 2022, section VI). One pass over
the models feeds all attacks; what is kept of a model is the few numbers that attacks read, not its answers.
``audits/balanced/plan.py`` says who trains on what, ``audits/balanced/scores.py`` attacks one target after the other.
``PLAN`` is at the end.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks import quick_first
from mia_jax.attacks.common import reporting
from mia_jax.audits import bounds, common, groupings, memory, seen, stages
from mia_jax.audits import config as configs
from mia_jax.audits.balanced import cascade, observations, plan
from mia_jax.audits.balanced import scores as judging
from mia_jax.audits.balanced.observations import Limits, Observations
from mia_jax.audits.balanced.plan import BalancedSetting, attack_names
from mia_jax.audits.balanced.scores import Judged
from mia_jax.audits.bounds import Bound
from mia_jax.audits.config import BalancedConfig
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Run, Summary, Trained, TrainingJob
from mia_jax.reports import examples, results
from mia_jax.reports.figures import many
from mia_jax.rows import Rows
from mia_jax.statistics import matched_pairs, metrics, over_targets, per_record, record_calibration
from mia_jax.types import Attack, Remember

CURVE_RATE = 0.01


class Observed(NamedTuple):
    """What was seen of the models that have not diverged."""

    setting: BalancedSetting  # of these models
    names: list[str]  # of each, the digest of what made it
    seen: Observations


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: BalancedConfig) -> BalancedConfig:
    """The configuration with presets filled in.

    Raises:
        InputError: a value is out of range, or an attack unknown.
    """
    config = configs.resolve(config)
    attack_names(config)
    return config


def prepare(run: Run[BalancedConfig]) -> BalancedSetting:
    """The records, who is asked about, who trains on what.

    Raises:
        InputError: as ``plan.check``; or an attack that was asked for cannot run.
    """
    config = run.config
    pool, schema = common.load(config, plan.check, run.notify)
    setting = plan.set_up(config, pool, schema, run.workdir.path)
    groupings.of_records(config.group, np.asarray(pool.x)[:1], schema)  # refused before any work
    attacks = build_attacks(run, setting)
    n, half = len(setting.candidates), setting.plan.train.shape[1]
    common.accountant_epsilon(config, half)
    run.notify(
        f"{schema.marked_name}: {n:,} records are asked about; each of {config.num_models} models trains on {half:,}"
    )
    if (bound := memory_bound(run, setting, attacks)) is not None:
        run.notify(f"Memory: {bound}")
        memory.refuse(int(bound.least), f"an audit of {n:,} records", "fewer, by `num_records`, or other `attacks`")
    return setting


def memory_bound(run: Run[BalancedConfig], setting: BalancedSetting, attacks: Mapping[str, Attack]) -> Bound | None:
    """How much memory the audit takes at most; None: models of other libraries are held while they train."""
    if run.config.target_kind != "nn":
        return None
    pool = setting.pool
    compare = {n: a for n, a in attacks.items() if a.per_example and not observations.trains_while_observing(a)}
    whole = [name for name, attack in compare.items() if attack.shadow_scores is None]
    size = 12 * len(setting.member) * len(setting.candidates) * len(whole)
    return bounds.balanced(
        len(setting.candidates),
        pool.x[0].nbytes + pool.y[0].nbytes,
        jax.local_device_count(),
        _seen_bytes(setting, attacks),
        len(setting.targets),
        len(attacks),
        (", ".join(whole), size),
    )


def _seen_bytes(setting: BalancedSetting, attacks: Mapping[str, Attack]) -> int:
    """Of all that attacks see of one model and one record that they compare with itself."""
    log_p, y = jax.ShapeDtypeStruct((1, setting.schema.num_classes), np.float32), jax.ShapeDtypeStruct((1,), np.int32)
    reads = [attack.read for attack in attacks.values() if attack.per_example and attack.read is not None]
    return 16 + sum(seen.bytes_of(jax.eval_shape(read, log_p, y)) for read in reads)


def train(run: Run[BalancedConfig], setting: BalancedSetting) -> Trained[None]:
    """All models of the plan."""
    job = training_job(run, setting)
    return Trained(common.train_models(run, job), job.title, None, np.arange(len(job.train)), plan.pairs, 4)


def training_job(run: Run[BalancedConfig], setting: BalancedSetting) -> TrainingJob:
    """What is to be trained: all models of the plan."""
    keys = stages.keys(stage_key(run.root, "models"), run.config.num_models)
    schema = setting.schema
    return TrainingJob("models", run.config, schema, setting.pool, schema.digest, keys, plan.rows_of_pool(setting))


def observe(run: Run[BalancedConfig], setting: BalancedSetting, trained: Trained[None]) -> Observed:
    """What all attacks see of the models."""
    config, setting = run.config, plan.of_models(setting, trained.which)
    attacks = build_attacks(run, setting)
    run.notify(f"Observing {len(trained.which)} models for {many(len(attacks), 'attack', 'attacks')}")
    settings, limits = configs.attack_settings(config), limits_of(config, setting)
    seen = observations.observe(stage_key(run.root, "look"), attacks, settings, trained.models, setting, limits)
    run.seconds["shadows"] = trained.models.seconds()
    return Observed(setting, trained.models.names, seen)


def limits_of(config: BalancedConfig, setting: BalancedSetting) -> Limits:
    """Attacks that learn from rows of any records get enough for ``attack_rows`` per class, of all models together."""
    rows = max(2, 2 * (config.attack_rows * setting.schema.num_classes // (2 * config.num_models)))
    return Limits(rows, config.query_shadows, config.query_records)


def attack(run: Run[BalancedConfig], setting: BalancedSetting, observed: Observed) -> dict[str, Judged]:
    """What each attack makes of every target, in the order of the attacks; quick ones are first to run."""
    setting = observed.setting
    attacks = build_attacks(run, setting, lambda name: advance(1, name))
    parts = quick_first(attacks, setting.schema.num_classes, configs.attack_settings(run.config))
    judged = {}
    with run.progress("attacks", sum(parts.values()) * len(setting.targets)) as advance:
        for name, count in parts.items():
            advance(0, name)
            judged[name] = judging.judge(
                run,
                setting,
                name,
                attacks[name],
                observed.seen.of[name],
                observed.names,
                parts=count,
                advance=functools.partial(advance, note=name),
            )
    return {name: judged[name] for name in attacks}


def build_attacks(
    run: Run[BalancedConfig], setting: BalancedSetting, part_done: Callable[[str], None] = lambda name: None
) -> dict[str, Attack]:
    """The attacks by name; ``part_done`` is told the name of one of which a part of the long work is done."""

    def remember(name: str) -> Remember:
        return reporting(lambda seconds: part_done(name))

    names, retrain = attack_names(run.config), cascade.retraining(run, setting)
    return judging.build_attacks(run.config, names, setting, remember, retrain)


def summarize(
    run: Run[BalancedConfig],
    setting: BalancedSetting,
    trained: Trained[None],
    observed: Observed,
    scored: dict[str, Judged],
) -> Summary:
    """Per attack, measures that are means over targets with their interval; and which records are exposed most."""
    config, setting = run.config, observed.setting
    exposed, pictures = _most_exposed(setting, observed.seen.phi, scored)
    settings = {
        **configs.identity(config),
        "num_models": config.num_models,
        "num_targets": len(setting.targets),
        "attacks": ",".join(scored),
    }
    models = len(trained.which)
    blocks: results.Blocks = {
        "dataset": _dataset(setting),
        "target": _target(config, setting.plan.train.shape[1], observed.seen.accuracy),
        "shadows": {"count": models - 2, "models": models, "data": "balanced", **trained.left_out},
        "attacks": _evaluate(config, setting, scored),
        "exposure": exposed,
        "paper": {"rows": []},
    }
    group = groupings.of_records(config.group, np.asarray(setting.pool.x)[setting.candidates], setting.schema)
    return Summary(settings, blocks, _arrays(setting, scored, observed.seen.phi, pictures), group)


# --- the blocks of results.json --------------------------------------------------------------------------------------


def _labels(setting: BalancedSetting) -> np.ndarray:
    """Of the records that are asked about, int32 [n]."""
    return np.asarray(setting.pool.y, np.int32)[setting.candidates]


def _dataset(setting: BalancedSetting) -> results.Dataset:
    schema = setting.schema
    per_class = np.bincount(_labels(setting), minlength=schema.num_classes) // 2
    return results.dataset(schema, data.title(schema.name), len(setting.pool.y), per_class)


def _target(config: BalancedConfig, train_records: int, accuracy: tuple[float, float]) -> results.Target:
    """``accuracy``: on members and on non-members."""
    epsilon = common.accountant_epsilon(config, train_records)
    return {
        "kind": config.target_kind,
        "model": config.model,
        "train_records": train_records,
        "train_accuracy": accuracy[0],
        "test_accuracy": accuracy[1],
        **({"epsilon": epsilon} if epsilon is not None else {}),
    }


def _evaluate(
    config: BalancedConfig, setting: BalancedSetting, judged: Mapping[str, Judged]
) -> dict[str, dict[str, Any]]:
    """Each attack's block, with the bound on epsilon that its scores prove."""
    label, blocks = _labels(setting), {}
    for name, found in judged.items():
        blocks[name] = attack_block(setting, label, name, found)
    for name, found in judged.items():
        blocks[name]["epsilon"] = matched_pairs.from_scores(
            np.asarray(found.scores),
            np.asarray(setting.member[setting.targets]),
            delta=config.dp_delta,
            seed=config.seed,
            attacks=len(judged),
        )
    return blocks


def _most_exposed(
    setting: BalancedSetting, phi: np.ndarray | Rows, judged: Mapping[str, Judged]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """The records that the models expose most, and their pictures; of records that are none, attributes in words."""
    schema, scores = setting.schema, {name: found.scores for name, found in judged.items()}
    exposed = per_record.summarize(
        phi, setting.member, _labels(setting), setting.candidates, schema.num_classes, scores
    )
    most = np.asarray(setting.pool.x)[[record["index"] for record in exposed["records"]]]
    pictures = examples.pictures(schema, most)
    if pictures is None:
        described = zip(exposed["records"], examples.attributes(schema, most), strict=True)
        exposed["records"] = [{**record, "attributes": text} for record, text in described]
    return exposed, pictures


def _arrays(
    setting: BalancedSetting, judged: Mapping[str, Judged], phi: np.ndarray | Rows, pictures: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What scores.npz holds."""
    return {
        "member": np.asarray(setting.member[setting.targets]),
        "label": _labels(setting),
        "index": setting.candidates.astype(np.int64),
        "targets": setting.targets,
        "separation": per_record.separation(phi, setting.member).astype(np.float32),
        **({} if pictures is None else {"pictures": pictures}),  # of exposure.records, in that order
        **{common.column(name): np.asarray(found.scores, np.float32) for name, found in judged.items()},
    }


def attack_block(setting: BalancedSetting, label: np.ndarray, name: str, judged: Judged) -> dict[str, Any]:
    """An attack's block: means over targets (``over_targets``); with one target, that target's own intervals.

    Args:
        setting: who trained on what.
        label: int [n], the candidates' classes.
        name: of the attack.
        judged: its scores [T, n].
    """
    score, member = np.asarray(judged.scores, np.float64), np.asarray(setting.member[setting.targets])
    blocks = []
    for s, m in zip(score, member, strict=True):
        scored = ~np.isnan(s)
        blocks.append(metrics.evaluate(s[scored], m[scored], label[scored], setting.schema.num_classes))
    block = dict(blocks[0]) if len(blocks) == 1 else over_targets.block(blocks, score, member, label)
    block |= {
        "title": common.title(name),
        "short": common.short(name),
        "targets": len(blocks),
        "unscored": int(np.isnan(score).sum()),
    }
    block["auc_by_target"] = [b["auc"]["value"] for b in blocks]
    if (by_record := record_calibration.calibrated(score, member)) is not None:
        block["per_record_tpr_at_fpr"] = {
            f"{rate:g}": over_targets.tpr_at_fpr(by_record, member, rate).json() for rate in metrics.RATES
        }
    if any(judged.chosen.values()):
        block["chosen_threshold"] = {
            rate: {side: m.json() for side, m in over_targets.realized(score, member, found, float(rate)).items()}
            for rate, found in judged.chosen.items()
        }
    if judged.curve:
        block["by_shadows"] = {
            str(count): {m: measure.json() for m, measure in _at_a_glance(np.asarray(found), member).items()}
            for count, found in sorted(judged.curve.items())
        }
    return block


def _at_a_glance(score: np.ndarray, member: np.ndarray) -> dict[str, metrics.Measure]:
    """AUC and TPR over the first t targets, of which these are the scores [t, n]."""
    member = member[: len(score)]
    return {
        "auc": over_targets.auc(score, member),
        "tpr": over_targets.tpr_at_fpr(score, member, CURVE_RATE),
    }


PLAN: AuditPlan[BalancedConfig, BalancedSetting, None, Observed, dict[str, Judged]] = AuditPlan(
    "balanced", resolve, prepare, train, observe, attack, summarize
)
