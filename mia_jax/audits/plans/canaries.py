"""Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023: what one model proves.

m canaries are drawn; a fair coin of its own decides for each whether it is among the training data. One model is
trained, and the canaries of whose membership its answers are surest are guessed: the best half of them in, the worst
out. So many right guesses prove a lower bound on epsilon, to stand beside the epsilon that DP-SGD promises from above.

A canary is a record with a label that is not its own, drawn from the other classes: nothing else in the training data
teaches that label, so a model that knows it has seen the canary. The same draw calibrates the score without a second
model: how much likelier the label is than the other wrong ones, which might have been drawn as well.

With ``num_models`` there are more models, in pairs with opposite coins; the first is the one that there would be alone.
LiRA then compares each canary with itself in the others (``audits/canaries``), by kind of canary, for several targets;
the first model's coins are as fair and as unknown to its shadows as ever, so its scores prove a bound in the same way.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import data
from mia_jax.attacks.common import LIMIT, scaled_logit
from mia_jax.audits import common, memory, stages
from mia_jax.audits import config as configs
from mia_jax.audits.balanced import plan as balanced
from mia_jax.audits.canaries import kinds, lira
from mia_jax.audits.config import CanaryConfig
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import AuditPlan, Observation, Observers, Run, Summary, Trained, TrainingJob
from mia_jax.plans import splits
from mia_jax.reports import results
from mia_jax.statistics import epsilon, matched_pairs, metrics, one_run
from mia_jax.storage import artifacts
from mia_jax.targets import defenses, observation
from mia_jax.types import Array, InputError, Key, Records, Schema

METHOD = "one training run, a fair coin for each canary; one record added or removed"
TITLE = "How likely its label is to the model (Steinke et al. 2023)"


class CanarySetting(NamedTuple):
    """Who trains the model for certain, who by a coin."""

    pool: Records  # [N], the canaries with the labels that they are trained with
    schema: Schema
    own: np.ndarray  # int32 [m], the labels that the canaries had
    canaries: np.ndarray  # int32 [m], rows of the pool
    kind: np.ndarray  # int [m], place in the list of kinds
    member: np.ndarray  # bool [K, m], the coins; of the first model, and of others
    train: np.ndarray  # int32 [K, M + m], rows of the pool; -1 for a canary that is left out
    test: np.ndarray  # int32 [M'], rows of the pool
    epsilon: dict[str, Any] | None  # the accountant's, of DP-SGD


class Observed(NamedTuple):
    """What was seen of the model."""

    log_p: np.ndarray  # [m, c], of the canaries
    confidence: np.ndarray  # [m]
    phi: np.ndarray  # [K, m], scaled logits of the canaries' labels, by every model
    which: np.ndarray  # [K], models: those that have not diverged
    accuracy: tuple[float, float]  # on the records that train for certain, and on the test records


class Scored(NamedTuple):
    """The canaries' scores, and what they prove."""

    scores: np.ndarray  # float64 [m]
    bounds: dict[str, Any]  # the blocks "epsilon" and "epsilon_gaussian"
    lira: np.ndarray | None = None  # float64 [T, m], of several targets
    targets: np.ndarray | None = None  # int [T], places among the models observed
    lira_bounds: dict[str, Any] | None = None  # as ``bounds``, by LiRA's scores of the first target


# --- the steps of the audit ------------------------------------------------------------------------------------------


def resolve(config: CanaryConfig) -> CanaryConfig:
    """The configuration with presets filled in.

    Raises:
        InputError: a value is out of range, or a setting has no meaning here.
    """
    config = configs.resolve(config)
    if config.target_kind != "nn":
        raise InputError(
            "`canaries` audits the training of our own networks: leave out"
            f" `target_kind={config.target_kind}` (or `trainer`)"
        )
    if config.guesses is not None and config.guesses > config.canaries:
        raise InputError(
            f"`guesses={config.guesses}` of `canaries={config.canaries}`: guess fewer, or give more canaries"
        )
    if not config.dp_delta > 0:
        raise InputError("`dp_delta` must be above 0 with `canaries`: Gaussian noise has no epsilon at delta 0")
    if config.num_models > 1 and (config.num_models % 2 or config.num_models < 4):
        raise InputError(
            f"`num_models={config.num_models}` with `canaries`: give 1, or 4 or more in pairs"
            f" ({max(4, config.num_models + config.num_models % 2)})"
        )
    return dataclasses.replace(config, canary_kind=",".join(kinds.parse(config.canary_kind)))


def prepare(run: Run[CanaryConfig]) -> CanarySetting:
    """The records, the canaries among them, their labels and their coins.

    Raises:
        InputError: as ``set_up``.
    """
    config = run.config
    pool, schema = common.load(config, check, run.notify)
    setting = set_up(config, run.root, pool, schema)
    trained, included = int((setting.train[0] >= 0).sum()), int(setting.member[0].sum())
    more = "" if config.num_models == 1 else f"; {config.num_models - 1} others on as many, by other coins"
    run.notify(
        f"{schema.marked_name}: one model trains on {trained:,} records, {included:,} of {config.canaries:,}"
        f" canaries{more}"
    )
    return setting


def train(run: Run[CanaryConfig], setting: CanarySetting) -> Trained[None]:
    """The model, and others where there are several."""
    models = len(setting.train)
    keys = stages.keys(stage_key(run.root, "model"), models)
    digest = artifacts.array_digest(*map(np.asarray, setting.pool))
    title = "model" if models == 1 else "models"
    job = TrainingJob(title, run.config, setting.schema, setting.pool, digest, keys, setting.train)
    made = Trained(common.train_models(run, job), job.title, None, np.arange(models))
    return made if models == 1 else made._replace(choose=balanced.pairs, least=4)


def observe(run: Run[CanaryConfig], setting: CanarySetting, trained: Trained[None]) -> Observed:
    """What the model says of the canaries, and whether it is right about the records that surely train or test."""
    others = Observers(
        stage_key(run.root, "look"), {"summary": observation.summary}, defenses.parse(run.config.defenses), {}
    )
    canaries = others._replace(by_name={"answers": _answers, "logit": _logit, **others.by_name})
    which = trained.which

    def of_each(rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rows, (len(which), len(rows)))

    of_canaries, of_clean, of_test = trained.models.observe(
        Observation(canaries, setting.pool, of_each(setting.canaries)),
        Observation(others, setting.pool, setting.train[which][:, run.config.canaries :]),
        Observation(others, setting.pool, of_each(setting.test)),
    )
    run.seconds.update(shadows=0.0, target=trained.models.seconds())
    accuracy = float(of_clean["summary"]["correct"].mean()), float(of_test["summary"]["correct"].mean())
    first = of_canaries["answers"][0], of_canaries["summary"]["confidence"][0]
    return Observed(*first, np.asarray(of_canaries["logit"], np.float64), which, accuracy)


def attack(run: Run[CanaryConfig], setting: CanarySetting, observed: Observed) -> Scored:
    """How likely each canary's label is to the model, and what so many right guesses prove."""
    score = suspicion(observed.log_p, np.asarray(setting.pool.y)[setting.canaries], setting.own)
    at_random = int(jax.random.randint(stage_key(run.root, "ties"), (), 0, 2**31 - 1))
    member = setting.member[observed.which]
    alone = Scored(score, bound(run.config, score, member[0], at_random))
    if len(member) == 1:
        return alone
    targets = balanced.target_models(min(run.config.num_targets, len(member)), len(member))
    each = lira.scores(observed.phi, member, targets)
    return alone._replace(
        lira=each, targets=targets, lira_bounds=bound(run.config, each[0], member[targets[0]], at_random)
    )


def summarize(
    run: Run[CanaryConfig], setting: CanarySetting, trained: Trained[None], observed: Observed, scored: Scored
) -> Summary:
    """The blocks of results.json, with one attack, "canaries".

    Its "epsilon" holds for any way of training, "epsilon_gaussian" for those whose trade-off curve is that of Gaussian
    noise, such as DP-SGD in good approximation.
    """
    config, schema, y = run.config, setting.schema, np.asarray(setting.pool.y)
    score, coins = scored.scores, setting.member[observed.which]
    member, train = coins[0], setting.train[observed.which[0]]
    rates = {f"{r:g}": metrics.tpr_at_fpr(score, member, r).json() for r in metrics.RATES}
    counts = np.bincount(y[train[train >= 0]], minlength=schema.num_classes)
    blocks: results.Blocks = {
        "dataset": results.dataset(schema, data.title(schema.name), len(y), counts),
        "target": {
            "kind": config.target_kind,
            "model": config.model,
            "train_records": int((train >= 0).sum()),
            "train_accuracy": observed.accuracy[0],
            "test_accuracy": observed.accuracy[1],
            **({"epsilon": setting.epsilon} if setting.epsilon is not None else {}),
        },
        "canaries": {
            "kind": config.canary_kind,
            "count": config.canaries,
            "included": int(member.sum()),
            **_by_lira(config, setting, scored, coins),
        },
        "shadows": {"count": len(coins) - 2, "models": len(coins), **trained.left_out}
        if len(coins) > 1
        else {"count": 0},
        "paper": {"rows": []},
        "attacks": {
            "canaries": {
                "title": TITLE,
                "auc": metrics.auc(score, member).json(),
                "tpr_at_fpr": rates,
                **scored.bounds,
            }
        },
    }
    arrays = {
        "member": member,
        "label": y.astype(np.int32)[setting.canaries],
        "own_label": setting.own,
        "index": setting.canaries.astype(np.int64),
        "score_canaries": score.astype(np.float32),
        "confidence": observed.confidence,
    }
    if "," in config.canary_kind:
        arrays["canary_kind"] = setting.kind.astype(np.int32)
    settings = configs.identity(config)
    if scored.lira is not None and scored.targets is not None:
        arrays |= {"lira_canaries": scored.lira.astype(np.float32), "lira_member": coins[scored.targets]}
        settings |= {"num_models": config.num_models, "num_targets": len(scored.targets)}
    return Summary(settings, blocks, arrays)


def _by_lira(config: CanaryConfig, setting: CanarySetting, scored: Scored, coins: np.ndarray) -> dict[str, Any]:
    """What several models say of the canaries; nothing of one model."""
    if scored.lira is None or scored.targets is None:
        return {}
    member = coins[scored.targets]
    return {
        "lira": {
            "models": len(coins),
            "targets": len(scored.targets),
            **lira.measures(scored.lira, member),
            "kinds": lira.by_kind(scored.lira, member, setting.kind, kinds.parse(config.canary_kind)),
            **(scored.lira_bounds or {}),
        }
    }


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
            f"`canaries={m}` and `train_size={size}` leave none of the {total:,} records of {config.dataset} to test"
            " on; use fewer"
        )
    memory.check_networks(config, schema, size + m)
    return size


def set_up(config: CanaryConfig, root: Key, pool: Records, schema: Schema) -> CanarySetting:
    """Draw the canaries, their labels and their coins; the rest of the pool trains for certain, or tests.

    Raises:
        InputError: as ``check``, or all coins fell alike.
    """
    total, m = len(pool.y), config.canaries
    size = check(config, schema, total)
    canaries, rest = splits.reserve(stage_key(root, "canaries"), total, m)
    made = kinds.make(root, pool, schema, canaries, kinds.parse(config.canary_kind))
    member = coins(stage_key(root, "coins"), config.num_models, m)
    if (member.all(axis=1) | ~member.any(axis=1)).any():
        raise InputError(f"all {m} coins fell alike: take another `seed`, or more canaries")
    certain = np.broadcast_to(rest[:size], (len(member), size))
    train = np.concatenate([np.where(member, canaries, -1), certain], axis=1).astype(np.int32)
    # DP-SGD's sampling rate must not tell how many coins fell which way: of all rows, included or not.
    epsilon = common.accountant_epsilon(config, train.shape[1])
    test = rest[size : 2 * size]
    return CanarySetting(made.pool, schema, made.own, canaries, made.kind, member, train, test, epsilon)


def coins(key: Key, models: int, m: int) -> np.ndarray:
    """Fair coins, bool [K, m]: a model's depend on its number alone; each second model has the opposite ones."""
    first = np.asarray(jax.random.bernoulli(key, 0.5, (m,)))  # the ones that a single model has
    pairs = [first]
    for p in range(1, (models + 1) // 2):
        pairs.append(np.asarray(jax.random.bernoulli(jax.random.fold_in(key, p), 0.5, (m,))))
    return np.stack([coin for pair in pairs for coin in (pair, ~pair)])[:models]


def _answers(key: Key, target, records: Records) -> Array:
    del key
    return target.ask(records.x)


def _logit(key: Key, target, records: Records) -> Array:
    del key
    return scaled_logit(target.ask(records.x), records.y)["phi"]


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
    """The blocks "epsilon" and "epsilon_gaussian" of results.json, of the form of ``matched_pairs.from_scores``.

    Args:
        config: how many canaries are guessed, and delta.
        score: [m], of ``suspicion``.
        member: bool [m], the coins.
        seed: of the order of equal scores.
    """
    m = len(score)
    tries = matched_pairs.tries(m) if config.guesses is None else [config.guesses]
    known = {"canaries": m, "delta": config.dp_delta, "confidence": 1 - epsilon.SIGNIFICANCE, "method": METHOD}
    out = {}
    for name, of in (("epsilon", one_run.steinke), ("epsilon_gaussian", one_run.gaussian)):
        best = one_run.from_scores(score, member, tries, of, delta=config.dp_delta, seed=seed)
        level = epsilon.SIGNIFICANCE / len(tries)
        most = max(of(m, r, r, delta=config.dp_delta, significance=level) for r in tries)
        out[name] = {"low": best.epsilon, "provable": most, "guesses": best.guesses, "right": best.right, **known}
    return out


PLAN: AuditPlan[CanaryConfig, CanarySetting, None, Observed, Scored] = AuditPlan(
    "canaries", resolve, prepare, train, observe, attack, summarize
)
