"""What an audit of a deployed model gives, and the blocks of results.json that say it."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax import signals
from mia_jax.audits import common
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import blind, negative_control
from mia_jax.audits.types import Summary
from mia_jax.data.groups import Grouping
from mia_jax.reports import results
from mia_jax.statistics import matched_pairs
from mia_jax.targets import answer_format
from mia_jax.types import Answers, Array, Field, Schema


class Found(NamedTuple):
    """What is known of the records in question when the attacks are done."""

    scores: dict[str, np.ndarray]  # attack -> [n]
    label: np.ndarray  # [n]
    member: np.ndarray | None  # bool [n], where it is known
    index: np.ndarray  # [n], rows of the user's file
    about: dict[str, dict]  # attack -> how the shadows answered by which it judged, for results.json
    no_boundary: dict[str, str]  # attack -> why it has no boundary
    confidence: np.ndarray  # [n]
    entropy: np.ndarray  # [n]
    correct: np.ndarray  # bool [n]
    x: Any = None  # the records [n, *f], whatever holds them; None: they are not there
    fields: tuple[Field, ...] = ()  # what their columns mean, where it is known
    group: Grouping | None = None  # of the records, by a column of the user's
    together: np.ndarray | None = None  # int [n], rows that were drawn together (``row_groups.told``); None: none
    control: Mapping[str, np.ndarray | None] = {}  # attack -> scores [T, n] of models that did not see the records


def without_attack(log_p: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of ``Found`` that need no attack, from the target's log-probabilities [n, c]."""
    return {
        "confidence": np.asarray(signals.confidence(log_p, label)),
        "entropy": np.asarray(signals.normalized_entropy(log_p)),
        "correct": log_p.argmax(axis=1) == label,
    }


def answers(log_p: Array, form: Answers) -> dict[str, Any]:
    """The block of what a target's answers look like.

    Args:
        log_p: log-probabilities [n, c] that it answered.
        form: their format.
    """
    steps = answer_format.steps(np.asarray(log_p), form)
    return {**form._asdict(), **({} if steps is None else {"steps": steps})}


def attacks(
    found: Found, classes: int, config: DeployedConfig, judged: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """The block of every attack: its measures, or why there are none.

    Args:
        found: what the audit gives.
        classes: c.
        config: seed and delta of the bounds on epsilon.
        judged: attack -> bool [n], the records on which its boundary was not chosen, where some decided that.
    """
    judged = judged or {}
    if found.member is None:
        return {
            name: {
                "title": common.title(name),
                "short": common.short(name),
                "reason": "the data do not say who is a member",
            }
            for name in found.scores
        }
    blocks = {}
    for name, score in found.scores.items():
        reason = found.no_boundary.get(name)
        block = results.attack(
            score,
            found.member,
            found.label,
            classes,
            common.title(name),
            no_boundary=reason,
            judged=judged.get(name),
        )
        blocks[name] = block | {
            "short": common.short(name),
            **({"shadows": found.about[name]} if name in found.about else {}),
            "epsilon": matched_pairs.from_scores(
                score, found.member, delta=config.dp_delta, seed=config.seed, attacks=len(found.scores)
            ),
            **(
                {"negative_control": negative_control.measure(found.control[name], found.member)}
                if name in found.control
                else {}
            ),
        }
    return blocks


def summary(
    config: DeployedConfig,
    settings: Mapping[str, Any],
    found: Found,
    dataset: results.Dataset,
    target: results.Target,
    shadows: results.Shadows,
    doubts: list[str],
    judged: Mapping[str, np.ndarray] | None = None,
) -> Summary:
    """What the audit came to.

    Args:
        config: of the audit.
        settings: of it, as results.json has them.
        found: scores [n], and what else is known of the records.
        dataset, target, shadows: these blocks.
        doubts: whether labels, target and shadows belong together, in sentences.
        judged: as of ``attacks``.
    """
    columns = {common.column(name): score.astype(np.float32) for name, score in found.scores.items()}
    known = {} if found.member is None else {"member": found.member}
    shared = {"label": found.label, "index": found.index, "confidence": found.confidence, "entropy": found.entropy}
    blocks: results.Blocks = {
        "dataset": dataset,
        "target": target,
        "shadows": shadows,
        "doubts": doubts,
        "attacks": attacks(found, dataset["classes"], config, judged),
        "classes_without_rows": [],
        "paper": {"rows": []},
    }
    if found.member is not None:
        label = found.label if dataset["classes"] > 1 else None
        blocks["blind"] = blind.block(found.x, found.fields, label, found.member, config.seed, found.together)
    return Summary(settings, blocks, {**known, **shared, **columns}, found.group)


def dataset(path: str, schema: Schema, records: int, found: Found) -> results.Dataset:
    """The block of the data: the file at ``path``, which has so many records."""
    mine = found.label if found.member is None else found.label[found.member]
    file = pathlib.Path(path).name
    title = file if schema.source == "local" else f"{file} ({schema.name})"
    return results.dataset(schema, title, records, np.bincount(mine, minlength=schema.num_classes)) | {
        "name": results.printable(str(path))
    }


def target(kind: str, found: Found) -> results.Target:
    """The block of the target, as far as services and saved predictions have it in common."""
    if found.member is None:
        return {"kind": kind, "train_records": 0, "test_accuracy": float(found.correct.mean())}
    return {
        "kind": kind,
        "train_records": int(found.member.sum()),
        "test_records": int((~found.member).sum()),
        "train_accuracy": float(found.correct[found.member].mean()),
        "test_accuracy": float(found.correct[~found.member].mean()),
    }
