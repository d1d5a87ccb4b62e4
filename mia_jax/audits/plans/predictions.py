"""The audit of a model that is known by saved predictions alone: ``--predictions=preds.npz``."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, quick_first
from mia_jax.audits import config as configs
from mia_jax.audits.common import Notify
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats as formats
from mia_jax.audits.deployed import attack, blocks, infer
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.deployed.answer_formats import Formats
from mia_jax.audits.deployed.blocks import Found
from mia_jax.audits.stages import stage_key
from mia_jax.plans import membership
from mia_jax.progress import Progress, within
from mia_jax.statistics import consistency as doubts
from mia_jax.statistics import memorization
from mia_jax.storage import artifacts
from mia_jax.targets import answer_format, defenses
from mia_jax.types import Schema


class Inputs(NamedTuple):
    predictions: deployed.Predictions  # behind the defenses of --defenses; of the shadows, those that are used
    digest: str  # of the file's arrays
    attacks: list[str]
    formats: Formats
    notes: list[str]  # of the shadows, in sentences
    doubts: list[str]  # whether labels, target and shadows belong together, in sentences


def audit(config: DeployedConfig, notify: Notify, progress: Progress) -> tuple[dict[str, Any], Found]:
    """Blocks of results.json, and what was found.

    Raises:
        InputError: the predictions or the configuration cannot be used.
    """
    inputs = _load(config)
    labels, target, shadows, _, member = inputs.predictions
    names = ", ".join(inputs.attacks)
    notify(f"{len(labels):,} records, {target.shape[1]} classes, {len(shadows)} shadows; attacks: {names}")
    for line in (*inputs.doubts, *inputs.notes):
        notify(f"warning: {line}")
    began = time.perf_counter()
    judged = _attack(config, inputs, progress)
    log_p = answer_format.log_probabilities(target, inputs.formats.target)
    found = Found(
        scores={name: one.scores for name, one in judged.items()},
        label=labels,
        member=member,
        index=np.arange(len(labels)),
        about={name: one.settled.json() for name, one in judged.items()},
        no_boundary={name: one.no_boundary for name, one in judged.items() if one.no_boundary},
        **blocks.without_attack(log_p, labels),
    )
    return _summary(config, inputs, found, time.perf_counter() - began), found


def _load(config: DeployedConfig) -> Inputs:
    """Read the predictions, and refuse before any work what cannot be used."""
    held = deployed.load_predictions(config.predictions)
    digest = artifacts.array_digest(*(array for array in held if array is not None))
    twins = memorization.twins(held.shadows)  # before defenses: labels of two models may well be the same
    chosen = defenses.parse(config.defenses)
    if chosen:
        held = deployed.behind(held, chosen, shadows_too=config.adaptive)
    names, held, notes = _usable(config, held, twins)
    known = formats.of_saved(held.target, held.shadows, dress=not chosen)
    doubted = doubts.of_answers(held.labels, held.target, held.shadows) or memorization.of_members(*held)
    if not doubted:
        asked = infer.Answered(held.labels, held.target, held.shadows)
        notes = [*notes, *infer.answers_apart(asked, held.shadow_member, held.member, known)]
    return Inputs(held, digest, names, known, notes, list(doubted))


def _usable(
    config: DeployedConfig, held: deployed.Predictions, twins: np.ndarray
) -> tuple[list[str], deployed.Predictions, list[str]]:
    """The attacks, the shadows that do not give the truth away, and what is to be said of the others.

    Raises:
        InputError: who trained the shadows tells who trained the target, and that cannot be mended.
    """
    names = infer.attack_names(config.attacks, configs.attack_run(config), same_records=True, member=held.shadow_member)
    built = [build(name, 2, configs.attack_settings(config), configs.attack_run(config)) for name in names]
    per_example = any(attack.per_example for attack in built)
    design = membership.examine(held.shadow_member, held.member, per_example=per_example, twins=twins)
    if len(design.kept) < len(held.shadows):
        held = held._replace(shadows=held.shadows[design.kept], shadow_member=held.shadow_member[design.kept])
        names = infer.attack_names(
            config.attacks, configs.attack_run(config), same_records=True, member=held.shadow_member
        )
    share = None if held.member is None else membership.share_note(held.shadow_member, held.member)
    return names, held, [*design.notes, *([share] if share else [])]


def _attack(config: DeployedConfig, inputs: Inputs, progress: Progress) -> dict[str, infer.Scored]:
    """Every attack's scores, in the order in which the attacks were asked for."""
    labels, target, shadows, shadow_member, _ = inputs.predictions
    asked, root = infer.Answered(labels, target, shadows), jax.random.key(config.seed)
    judged: dict[str, infer.Scored] = {}
    settings, run = configs.attack_settings(config), configs.attack_run(config)
    parts = quick_first(inputs.attacks, target.shape[1], settings)
    with progress("attacks", sum(parts.values())) as advance:
        for name, count in parts.items():
            advance(0, name)
            options = dict(key=stage_key(root, name), progress=within(advance, count, name))
            of_attack = ATTACKS[name].arguments(settings, run)
            judged[name] = infer.scored(name, asked, shadow_member, **options, options=of_attack, known=inputs.formats)
    return {name: judged[name] for name in inputs.attacks}


def _summary(config: DeployedConfig, inputs: Inputs, found: Found, seconds: float) -> dict[str, Any]:
    """Blocks of results.json."""
    records, classes = inputs.predictions.target.shape
    known = inputs.formats
    # The records themselves are not there: nothing is known of their features.
    schema = Schema(config.predictions, "local", inputs.digest, classes, (0,), ())
    return {
        "dataset": blocks.dataset(config.predictions, schema, records, found),
        "target": {
            **blocks.target("saved predictions", found),
            "answers": known.target._asdict(),
            **({"read_as": [defense.name for defense in known.on_target]} if known.on_target else {}),
        },
        "shadows": {
            "count": len(inputs.predictions.shadows),
            "data": "as the predictions were made",
            "answers": attack.told(known.worn, config.defenses),
            "notes": inputs.notes,
        },
        "doubts": inputs.doubts,
        "seconds": {"attack": round(seconds, 3)},
    }
