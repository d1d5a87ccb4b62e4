"""One pass over the models of a balanced audit, for all attacks.

What is kept of a model is what attacks read: a few numbers per record for those that compare a record with itself in
other models, a capped sample of answers for those that learn from rows of any records. Attacks that ask many questions
about each record, or train, are shown a few models and records only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import changed_options, sources
from mia_jax.attacks.common import scaled_logit
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.types import Models, Observation, Observers
from mia_jax.plans import membership
from mia_jax.targets import observation
from mia_jax.types import Attack, Key, Records, Seen


class Observed(NamedTuple):
    """What one attack saw, of K' of the models (``which``) and n' of the candidates (``rows``)."""

    which: np.ndarray  # [K'] models
    fit: Seen  # leaves [K', m, ...]; None for attacks that learn from no model
    fit_member: np.ndarray  # bool [K', m]
    asked: Mapping[int, Seen]  # by model: the n' records that are judged when it is the target
    rows: np.ndarray  # [n'] candidates
    population: Mapping[int, Seen]  # by model: the population; empty without one


class Observations(NamedTuple):
    """What all attacks saw of all models."""

    of: dict[str, Observed]  # by attack
    phi: np.ndarray  # float32 [K, n], scaled logits: whom the models remember
    accuracy: tuple[float, float]  # of the models, means on their members and on the others


class Limits(NamedTuple):
    """How much attacks are shown that learn from rows of any records, or that ask much."""

    sample_rows: int  # rows of each model, half of them members
    query_shadows: int  # models beside the targets
    query_records: int  # candidates that are judged


def observe(
    key: Key,
    attacks: Mapping[str, Attack],
    settings: Mapping[str, Any],
    models: Models,
    setting: BalancedSetting,
    limits: Limits,
) -> Observations:
    """Observe every model.

    Args:
        key: of the observers, and of what is sampled.
        attacks: name -> Attack.
        settings: of their options, by flag: what is seen is named by them.
        models: K of them.
        setting: of these models.
        limits: for attacks that need few rows, or ask much.
    """
    candidates, population, member = setting.candidates, setting.population, setting.member
    every, all_rows = np.arange(len(member)), np.arange(len(candidates))
    per_example = [name for name, attack in attacks.items() if attack.per_example]
    others = [name for name in attacks if name not in per_example]
    costly = [name for name in others if attacks[name].needs & {"queries", "trainer"}]
    plain = [name for name in others if name not in costly]
    targets = np.asarray(setting.targets)
    sample, sample_member = _sample(key, member, limits.sample_rows)
    beside = membership.unrelated(membership.related(member), every, *targets)[: limits.query_shadows]
    few = np.array([*targets, *beside])
    draw = jax.random.permutation(jax.random.fold_in(key, 1), len(candidates))
    rows = np.sort(np.asarray(draw)[: limits.query_records])

    def asking(names: Sequence[str], rows: np.ndarray, which: np.ndarray) -> Observation:
        by_name = {name: attacks[name].observe for name in names}
        observers = Observers(
            key, by_name, setting.defenses, {"attacks": sources(names)} | changed_options(names, settings)
        )
        return Observation(observers, setting.pool, np.broadcast_to(rows, (len(which), rows.shape[-1])), which)

    everybody = Observers(key, {"phi": _phi, "summary": observation.summary}, setting.defenses, {"attacks": []})
    wanted = {
        "everything": Observation(everybody, setting.pool, np.broadcast_to(candidates, member.shape)),
        "per example": asking(per_example, candidates, every),
        "per example, population": asking(per_example, population, every),
        "sample": asking([name for name in plain if attacks[name].needs & {"in", "out"}], candidates[sample], every),
        "plain": asking(plain, candidates, targets),
        "plain, population": asking([n for n in plain if "population" in attacks[n].needs], population, targets),
        "costly": asking(costly, candidates[rows], few),
    }
    wanted = {what: each for what, each in wanted.items() if each.observers.by_name and each.index.shape[-1]}
    seen = dict(zip(wanted, models.observe(*wanted.values()), strict=True))

    def by_model(what: str, name: str, which: np.ndarray) -> dict[int, Seen]:
        if name not in seen.get(what, {}):
            return {}
        return {int(k): jax.tree.map(lambda leaf, i=i: leaf[i], seen[what][name]) for i, k in enumerate(which)}

    of: dict[str, Observed] = {}
    for name in per_example:
        asked, known = by_model("per example", name, every), by_model("per example, population", name, every)
        of[name] = Observed(every, seen["per example"][name], member, asked, all_rows, known)
    for name in plain:
        asked, known = by_model("plain", name, targets), by_model("plain, population", name, targets)
        of[name] = Observed(every, seen.get("sample", {}).get(name), sample_member, asked, all_rows, known)
    for name in costly:
        asked = by_model("costly", name, few)
        of[name] = Observed(few, seen["costly"][name], member[few][:, rows], asked, rows, {})
    correct = seen["everything"]["summary"]["correct"]
    accuracy = float(correct[member].mean()), float(correct[~member].mean())
    return Observations({name: of[name] for name in attacks}, seen["everything"]["phi"], accuracy)


def _phi(key: Key, target, records: Records):
    del key
    return scaled_logit(target.ask(records.x), records.y)["phi"]


def _sample(key: Key, member: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates [K, m] of each model, half of them members where there are that many, and bool [K, m]."""
    half = min(rows // 2, *member.sum(axis=1), *(~member).sum(axis=1))
    draw = jax.random.uniform(jax.random.fold_in(key, 2), member.shape)
    draw = np.asarray(draw)
    inside = np.argsort(np.where(member, draw, 2.0), axis=1)[:, :half]
    outside = np.argsort(np.where(member, 2.0, draw), axis=1)[:, :half]
    return np.concatenate([inside, outside], axis=1), np.broadcast_to(
        np.arange(2 * half) < half, (len(member), 2 * half)
    )
