"""Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023: what one model proves.

m canaries are drawn; a fair coin of its own decides for each whether it is among the training data. One model is
trained, and the canaries of whose membership its answers are surest are guessed: the best half of them in, the worst
out. So many right guesses prove a lower bound on epsilon, to stand beside the epsilon that DP-SGD promises from above.

A canary is a record with a label that is not its own, drawn from the other classes: nothing else in the training data
teaches that label, so a model that knows it has seen the canary. The same draw calibrates the score without a second
model: how much likelier the label is than the other wrong ones, which might have been drawn as well.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks.common import LIMIT
from mia_jax.audits import common, divergence, memory, train_networks
from mia_jax.audits import config as configs
from mia_jax.audits.common import Notify
from mia_jax.audits.config import CanaryConfig
from mia_jax.audits.stages import Look, stage_key
from mia_jax.plans import splits
from mia_jax.progress import Progress, silent
from mia_jax.reports import report, results
from mia_jax.statistics import epsilon, matched_pairs, metrics, one_run
from mia_jax.storage import artifacts
from mia_jax.targets import defenses, observation
from mia_jax.types import Array, InputError, Key, Records, Schema

METHOD = "one training run, a fair coin for each canary; one record added or removed"
TITLE = "How likely its label is to the model (Steinke et al. 2023)"


class Setting(NamedTuple):
    """Who trains the model for certain, who by a coin."""

    pool: Records  # [N], the canaries with the labels that they are trained with
    schema: Schema
    own: np.ndarray  # int32 [m], the labels that the canaries had
    canaries: np.ndarray  # int32 [m], rows of the pool
    member: np.ndarray  # bool [m], the coins
    train: np.ndarray  # int32 [1, M + m], rows of the pool; -1 for a canary that is left out
    test: np.ndarray  # int32 [M'], rows of the pool


def run(
    config: CanaryConfig, *, command: str = "", notify: Notify = lambda line: None, progress: Progress = silent
) -> dict[str, Any]:
    """Train one model and bound the epsilon of its training; write results.json, scores.npz and report.html.

    Args:
        config: the canaries, and how the model is trained.
        command, notify, progress: as of ``audits.run``.

    Returns:
        What results.json holds: as of ``audits.run``, with ``"plan": "canaries"`` and one attack, ``canaries``, whose
        "epsilon" holds for any way of training and whose "epsilon_gaussian" for those whose trade-off curve is that of
        Gaussian noise, such as DP-SGD in good approximation.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir.
    """
    config = configs.resolve(config)
    if config.target_kind != "nn":
        raise InputError(
            f"--canaries audits the training of our own networks: leave out --target_kind={config.target_kind}"
        )
    if config.guesses is not None and config.guesses > config.canaries:
        raise InputError(
            f"--guesses={config.guesses} of --canaries={config.canaries}: guess fewer, or give more canaries"
        )
    if not config.dp_delta > 0:
        raise InputError("--dp_delta must be above 0 with --canaries: Gaussian noise has no epsilon at delta 0")
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        return _run(config, workdir, command, notify, progress)


def _run(config: CanaryConfig, workdir, command: str, notify: Notify, progress: Progress) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    notify = common.once(notify)
    with common.timed(seconds, "data"):
        pool, schema = common.load(config, check, notify)
    root = jax.random.key(config.seed)
    setting = set_up(config, root, pool, schema)
    worn = defenses.parse(config.defenses)
    public = setting.train.shape[1]  # DP-SGD's sampling rate must not tell how many coins fell which way
    promised = common.promised_epsilon(config, public)
    trained, included = int((setting.train >= 0).sum()), int(setting.member.sum())
    notify(
        f"{schema.marked_name}: one model trains on {trained:,} records, {included:,} of {config.canaries:,} canaries"
    )
    key = jax.random.fold_in(stage_key(root, "model"), 0)[None]
    arguments = (workdir, config, schema, setting.pool, artifacts.array_digest(*setting.pool), key, setting.train)
    model = train_networks.networks(*arguments, title="model", progress=progress, notify=notify)
    divergence.refuse(model, "model", config)

    with common.timed(seconds, "attack"):
        look = Look(stage_key(root, "look"), {"summary": observation.summary}, worn, {})
        answers = look._replace(observers={"answers": _answers, **look.observers})  # of the canaries alone
        seen = model.look(answers, setting.pool, setting.canaries[None])
        score = suspicion(seen["answers"][0], np.asarray(setting.pool.y)[setting.canaries], setting.own)
        at_random = jax.random.randint(stage_key(root, "ties"), (), 0, 2**31 - 1)
        bounds = bound(config, score, setting.member, int(at_random))
        seconds |= {"shadows": 0.0, "target": model.seconds()}
        clean = setting.train[:, config.canaries :]
        accuracy = [
            float(model.look(look, setting.pool, rows)["summary"]["correct"].mean())
            for rows in (clean, setting.test[None])
        ]
    rates = {f"{r:g}": metrics.tpr_at_fpr(score, setting.member, r).json() for r in metrics.RATES}
    block = {"title": TITLE, "auc": metrics.auc(score, setting.member).json(), "tpr_at_fpr": rates, **bounds}
    summary = {
        **common.header(command, {**configs.identity(config), "workdir": str(workdir.path)}, plan="canaries"),
        "dataset": results.dataset(
            schema,
            data.title(schema.name),
            len(pool.y),
            np.bincount(np.asarray(setting.pool.y)[setting.train[setting.train >= 0]], minlength=schema.num_classes),
        ),
        "target": {
            "kind": config.target_kind,
            "model": config.model,
            "train_records": trained,
            "train_accuracy": accuracy[0],
            "test_accuracy": accuracy[1],
            **({"epsilon": promised} if promised is not None else {}),
        },
        "canaries": {"kind": config.canary_kind, "count": config.canaries, "included": included},
        "shadows": {"count": 0},
        "attacks": {"canaries": block},
        "paper": {"rows": []},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
    arrays = {
        "member": setting.member,
        "label": np.asarray(setting.pool.y, np.int32)[setting.canaries],
        "own_label": setting.own,
        "index": setting.canaries.astype(np.int64),
        "score_canaries": score.astype(np.float32),
        "confidence": seen["summary"]["confidence"][0],
    }
    artifacts.write_npz(workdir.path / "scores.npz", arrays)
    artifacts.write_json(workdir.path / "results.json", summary)
    report.write_report(workdir.path)
    return summary


# --- the canaries ----------------------------------------------------------------------------------------------------


def check(config: CanaryConfig, schema: Schema, total: int) -> int:
    """Check what can be checked before the work; returns how many records train for certain.

    Raises:
        InputError: too few records, or a network that does not fit them.
    """
    m = config.canaries
    size = config.train_size if config.train_size is not None else (total - m) // 2
    if size < 1 or m + size >= total:
        raise InputError(
            f"--canaries={m} and --train_size={size} leave none of the {total:,} records of {config.dataset} to test"
            " on; use fewer"
        )
    memory.check_networks(config, schema, size + m)
    return size


def set_up(config: CanaryConfig, root: Key, pool: Records, schema: Schema) -> Setting:
    """Draw the canaries, their labels and their coins; the rest of the pool trains for certain, or tests.

    Raises:
        InputError: as ``check``, or all coins fell alike.
    """
    total, m = len(pool.y), config.canaries
    size = check(config, schema, total)
    canaries, rest = splits.reserve(stage_key(root, "canaries"), total, m)
    y = np.array(pool.y, np.int32)
    own = y[canaries]
    if config.canary_kind == "mislabelled":
        away = jax.random.randint(stage_key(root, "labels"), (m,), 1, schema.num_classes)
        y[canaries] = (own + np.asarray(away, np.int32)) % schema.num_classes
    member = np.asarray(jax.random.bernoulli(stage_key(root, "coins"), 0.5, (m,)))
    if member.all() or not member.any():
        raise InputError(f"all {m} coins fell alike: take another --seed, or more canaries")
    train = np.concatenate([np.where(member, canaries, -1), rest[:size]])[None].astype(np.int32)
    return Setting(Records(pool.x, y), schema, own, canaries, member, train, rest[size : 2 * size])


def _answers(key: Key, target, records: Records) -> Array:
    del key
    return target.ask(records.x)


def suspicion(log_p: np.ndarray, label: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How likely a canary's label is to the model, beside what might have been instead; float64 [m].

    Of a mislabeled canary log p_label minus the mean log p of the other wrong labels; of a plain one (or where there
    is no other wrong label) minus the log of what all other labels have together, which is the scaled logit.

    Args:
        log_p: [m, c].
        label: [m], what the canaries are trained with.
        own: [m], the labels that they had.
    """
    log_p = np.maximum(np.asarray(log_p, np.float64), -LIMIT)
    rows = np.arange(len(label))
    chosen = log_p[rows, label]
    others = np.ones(log_p.shape, bool)
    others[rows, label] = False
    plain = chosen - np.log(np.where(others, np.exp(log_p), 0).sum(axis=1))
    others[rows, own] = False
    count = others.sum(axis=1)
    wrong = np.where(others, log_p, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where((label != own) & (count > 0), chosen - wrong, plain)


def bound(config: CanaryConfig, score: np.ndarray, member: np.ndarray, seed: int) -> dict[str, Any]:
    """The blocks ``epsilon`` and ``epsilon_gaussian`` of results.json, of the form of ``matched_pairs.from_scores``."""
    m = len(score)
    tries = matched_pairs.tries(m) if config.guesses is None else [config.guesses]
    told = {"canaries": m, "delta": config.dp_delta, "confidence": 1 - epsilon.SIGNIFICANCE, "method": METHOD}
    out = {}
    for name, of in (("epsilon", one_run.steinke), ("epsilon_gaussian", one_run.gaussian)):
        found = one_run.from_scores(score, member, tries, of, delta=config.dp_delta, seed=seed)
        level = epsilon.SIGNIFICANCE / len(tries)
        most = max(of(m, r, r, delta=config.dp_delta, significance=level) for r in tries)
        out[name] = {"low": found.epsilon, "provable": most, "guesses": found.guesses, "right": found.right, **told}
    return out
