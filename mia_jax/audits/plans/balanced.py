"""The balanced audit: models in complementary pairs, each of some in turn the target and the others its shadows.

Every record trains half of the models, which LiRA and its heirs need (Carlini et al. 2022, section VI). One pass over
the models feeds all attacks; what is kept of a model is the few numbers that attacks read, not its answers.
``audits/balanced/plan.py`` says who trains on whom, ``audits/balanced/scores.py`` attacks one target after the other.
"""

import functools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax import data
from mia_jax.attacks import quick_first
from mia_jax.attacks.common import telling
from mia_jax.audits import common, divergence
from mia_jax.audits import config as configs
from mia_jax.audits.balanced import observations, plan
from mia_jax.audits.balanced import scores as judging
from mia_jax.audits.balanced.observations import Sights
from mia_jax.audits.balanced.plan import Setting, attack_names
from mia_jax.audits.balanced.scores import Judged
from mia_jax.audits.common import Notify
from mia_jax.audits.config import BalancedConfig
from mia_jax.audits.stages import Models, stage_key
from mia_jax.progress import Advance, Progress, silent
from mia_jax.reports import examples, report, results
from mia_jax.statistics import matched_pairs, metrics, over_targets, per_record
from mia_jax.storage import artifacts
from mia_jax.targets import defenses
from mia_jax.types import Attack, Defense, Remember

CURVE_RATE = 0.01


def run(
    config: BalancedConfig, *, command: str = "", notify: Notify = lambda line: None, progress: Progress = silent
) -> dict[str, Any]:
    """Audit a way of training, by many models of it; write results.json, scores.npz and report.html into the workdir.

    Returns:
        What results.json holds: as of ``audits.run``, with ``"plan": "balanced"`` and, per attack, measures that are
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
    notify = common.once(notify)
    with common.timed(seconds, "data"):
        pool, schema = common.load(config, plan.check, notify)
    planned = plan.set_up(config, pool, schema)
    worn = defenses.parse(config.defenses)

    def remember(name: str) -> Remember:
        return telling(lambda spent: advance(1, name))

    attacks = judging.build_attacks(config, names, planned, remember)
    parts = quick_first(attacks, schema.num_classes, configs.attack_settings(config))
    n, half = len(planned.candidates), planned.plan.train.shape[1]
    promised = common.promised_epsilon(config, half)
    notify(
        f"{schema.marked_name}: {n:,} records are asked about; each of {config.num_models} models trains on {half:,}"
    )

    everyone = plan.train(workdir, config, planned, progress, notify)
    began = time.perf_counter()

    def look(trained: Models, which: np.ndarray):
        setting = plan.of_models(planned, which)
        notify(f"Looking at {len(which)} models for {len(attacks)} attacks")
        return _look(config, setting, attacks, trained, worn), setting, trained, which

    sights, setting, trained, which = divergence.going_on(
        everyone, look, "models", config, notify, choose=plan.pairs, least=4
    )
    with progress("attacks", sum(parts.values()) * len(setting.targets)) as advance:
        judged = _judge_all(workdir, config, setting, attacks, sights, trained.names, parts, advance)
    took = time.perf_counter() - began - trained.spent()
    seconds |= {"shadows": trained.seconds(), "attack": took}
    with common.timed(seconds, "evaluation"):
        blocks = _evaluate(config, setting, judged)
        exposed, pictures = _expose(setting, sights.phi, judged)
    summary = {
        **_header(config, command, setting, tuple(attacks), workdir),
        "dataset": _dataset(setting),
        "target": _target(config, half, sights.accuracy, promised),
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
    artifacts.write_npz(workdir.path / "scores.npz", _arrays(setting, judged, sights.phi, pictures))
    artifacts.write_json(workdir.path / "results.json", summary)
    report.write_report(workdir.path)
    return summary


# --- looking and attacking -------------------------------------------------------------------------------------------


def _look(
    config: BalancedConfig,
    setting: Setting,
    attacks: Mapping[str, Attack],
    trained: Models,
    worn: tuple[Defense, ...],
) -> Sights:
    """What all attacks see of the models; ``worn`` are the defenses at their answers."""
    return observations.look(
        stage_key(setting.root, "look"),
        attacks,
        trained,
        worn,
        setting.pool,
        setting.candidates,
        setting.population,
        setting.member,
        setting.targets,
        sample_rows=_sample_rows(config, setting.schema.num_classes),
        query_shadows=config.query_shadows,
        query_records=config.query_records,
    )


def _sample_rows(config: BalancedConfig, num_classes: int) -> int:
    """Rows of each model that the attacks on rows of any records learn from: enough for ``attack_rows`` per class."""
    return max(2, 2 * (config.attack_rows * num_classes // (2 * config.num_models)))


def _judge_all(
    workdir: artifacts.Workdir,
    config: BalancedConfig,
    setting: Setting,
    attacks: Mapping[str, Attack],
    sights: Sights,
    model_names: list[str],
    parts: Mapping[str, int],
    advance: Advance,
) -> dict[str, Judged]:
    """What each attack says, in the order of ``attacks``; judged in the order of ``parts``, quick ones first."""
    judged = {}
    for name, count in parts.items():
        advance(0, name)
        tell = functools.partial(advance, note=name)
        asked = name, attacks[name], sights.of[name]
        judged[name] = judging.judge(workdir, config, setting, *asked, model_names, parts=count, advance=tell)
    return {name: judged[name] for name in attacks}


# --- the blocks of results.json --------------------------------------------------------------------------------------


def _header(
    config: BalancedConfig, command: str, setting: Setting, attacks: tuple[str, ...], workdir: artifacts.Workdir
) -> dict[str, Any]:
    """The header, with what the run came to: the models that played the target, the attacks that could run."""
    return common.header(
        command,
        {
            **configs.identity(config),
            "num_models": config.num_models,
            "num_targets": len(setting.targets),
            "attacks": ",".join(attacks),
            "workdir": str(workdir.path),
        },
        plan="balanced",
    )


def _labels(setting: Setting) -> np.ndarray:
    """Of the records that are asked about, int32 [n]."""
    return np.asarray(setting.pool.y, np.int32)[setting.candidates]


def _dataset(setting: Setting) -> dict[str, Any]:
    schema = setting.schema
    per_class = np.bincount(_labels(setting), minlength=schema.num_classes) // 2
    return results.dataset(schema, data.title(schema.name), len(setting.pool.y), per_class)


def _target(
    config: BalancedConfig, train_records: int, accuracy: tuple[float, float], promised: dict[str, Any] | None
) -> dict[str, Any]:
    """``accuracy``: on members and on others; ``promised``: the epsilon that DP-SGD promises."""
    return {
        "kind": config.target_kind,
        "model": config.model,
        "train_records": train_records,
        "train_accuracy": accuracy[0],
        "test_accuracy": accuracy[1],
        **({"epsilon": promised} if promised is not None else {}),
    }


def _evaluate(config: BalancedConfig, setting: Setting, judged: Mapping[str, Judged]) -> dict[str, dict[str, Any]]:
    """Each attack's block, with the bound on epsilon that its scores prove."""
    label, blocks = _labels(setting), {}
    for name, found in judged.items():
        blocks[name] = summarize(setting, label, name, found)
    for name, found in judged.items():
        blocks[name]["epsilon"] = matched_pairs.from_scores(
            found.scores,
            setting.member[setting.targets],
            delta=config.dp_delta,
            seed=config.seed,
            attacks=len(judged),
        )
    return blocks


def _expose(
    setting: Setting, phi: np.ndarray, judged: Mapping[str, Judged]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Whom the models expose most, and the pictures of these records; where they are none, attributes in words."""
    schema, scores = setting.schema, {name: found.scores for name, found in judged.items()}
    exposed = per_record.summarize(
        phi, setting.member, _labels(setting), setting.candidates, schema.num_classes, scores
    )
    most = np.asarray(setting.pool.x)[[record["index"] for record in exposed["records"]]]
    pictures = examples.pictures(schema, most)
    if pictures is None:
        told = zip(exposed["records"], examples.attributes(schema, most), strict=True)
        exposed["records"] = [{**record, "attributes": text} for record, text in told]
    return exposed, pictures


def _arrays(
    setting: Setting, judged: Mapping[str, Judged], phi: np.ndarray, pictures: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What scores.npz holds."""
    return {
        "member": setting.member[setting.targets],
        "label": _labels(setting),
        "index": setting.candidates.astype(np.int64),
        "targets": setting.targets,
        "separation": per_record.separation(phi, setting.member).astype(np.float32),
        **({} if pictures is None else {"pictures": pictures}),  # of exposure.records, in that order
        **{common.column(name): found.scores.astype(np.float32) for name, found in judged.items()},
    }


def summarize(setting: Setting, label: np.ndarray, name: str, judged: Judged) -> dict[str, Any]:
    """An attack's block: means over targets, ``over_targets``; with one target, that target's own intervals."""
    score, member = np.asarray(judged.scores, np.float64), setting.member[setting.targets]
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
    if any(judged.chosen.values()):
        block["chosen_threshold"] = {
            rate: {side: m.json() for side, m in over_targets.realized(score, member, found, float(rate)).items()}
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
