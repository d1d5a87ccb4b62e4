"""One pass over the models of a balanced audit, for all attacks.

What is kept of a model is what attacks read: a few numbers per record for those that compare a record with itself in
other models, a capped sample of answers for those that learn from rows of any records. Attacks that ask many questions
about each record, or train, are shown a few models and records only.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import changed_options, sources
from mia_jax.attacks.common import scaled_logit
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.types import Models, Observation, Observers
from mia_jax.plans import membership
from mia_jax.rows import Rows
from mia_jax.targets import observation
from mia_jax.types import Attack, Key, Records, Seen


class Observed(NamedTuple):
    """What one attack saw, of K' of the models (``which``) and n' of the candidates (``rows``)."""

    which: np.ndarray  # [K'] models
    fit: Seen  # leaves [K', m, ...]; None for attacks that learn from no model
    fit_member: np.ndarray | Rows  # bool [K', m]
    asked: Mapping[int, Seen]  # by model: the n' records that are judged when it is the target
    rows: np.ndarray  # [n'] candidates
    population: Mapping[int, Seen]  # by model: the population; empty without one


class Observations(NamedTuple):
    """What all attacks saw of all models."""

    of: dict[str, Observed]  # by attack
    phi: np.ndarray | Rows  # float32 [K, n], scaled logits: whom the models remember
    accuracy: tuple[float, float]  # of the models, means on their members and on the others


class Limits(NamedTuple):
    """How much attacks are shown that learn from rows of any records, or that ask much."""

    sample_rows: int  # rows of each model, half of them members
    query_shadows: int  # models beside the targets
    query_records: int  # candidates that are judged


class Questions(NamedTuple):
    """What all attacks ask the models of an audit."""

    wanted: dict[str, Observation]
    per_example: list[str]  # attacks
    plain: list[str]
    costly: list[str]
    sample_member: np.ndarray  # bool [K, m], of what the plain ones learn from
    few: np.ndarray  # models that are shown to costly ones
    rows: np.ndarray  # candidates that these are judged on


def questions(
    key: Key, attacks: Mapping[str, Attack], settings: Mapping[str, Any], setting: BalancedSetting, limits: Limits
) -> Questions:
    """What is to be asked; arguments as of ``observe``."""
    candidates, population, member = setting.candidates, setting.population, setting.member
    every = np.arange(len(member))
    per_example = [
        name for name, attack in attacks.items() if attack.per_example and not trains_while_observing(attack)
    ]
    others = [name for name in attacks if name not in per_example]
    costly = [name for name in others if attacks[name].needs & {"queries", "trainer"}]
    plain = [name for name in others if name not in costly]
    targets = np.asarray(setting.targets)
    sample, sample_member = _sample(key, member, limits.sample_rows)
    beside = membership.unrelated(membership.related(member), every, *targets)[: limits.query_shadows]
    few = np.array([*targets, *beside])
    draw = jax.random.permutation(jax.random.fold_in(key, 1), len(candidates))
    rows = np.sort(np.asarray(draw)[: limits.query_records])

    def asking(names: Sequence[str], rows: np.ndarray, which: np.ndarray, *, in_parts: bool = False) -> Observation:
        by_name = {name: attacks[name].observe for name in names}
        about = {"attacks": sources(names)} | changed_options(names, settings)
        observers = Observers(key, by_name, setting.defenses, about)
        index = np.broadcast_to(rows, (len(which), rows.shape[-1]))
        return Observation(observers, setting.pool, index, which, in_parts)

    everybody = Observers(key, {"phi": _phi, "summary": observation.summary}, setting.defenses, {"attacks": []})
    wanted = {
        "everything": Observation(everybody, setting.pool, np.broadcast_to(candidates, member.shape), None, True),
        "per example": asking(per_example, candidates, every, in_parts=True),
        "per example, population": asking(per_example, population, every, in_parts=True),
        "sample": asking([name for name in plain if attacks[name].needs & {"in", "out"}], candidates[sample], every),
        "plain": asking(plain, candidates, targets, in_parts=True),
        "plain, population": asking([n for n in plain if "population" in attacks[n].needs], population, targets),
        "costly": asking(costly, candidates[rows], few),
    }
    wanted = {what: each for what, each in wanted.items() if each.observers.by_name and each.index.shape[-1]}
    return Questions(wanted, per_example, plain, costly, sample_member, few, rows)


def trains_while_observing(attack: Attack) -> bool:
    """Whether it trains models while it observes one, so that few are shown to it, and all of their records at once."""
    return attack.read is None and "trainer" in attack.needs


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
    asking, member = questions(key, attacks, settings, setting, limits), setting.member
    every, all_rows, targets = np.arange(len(member)), np.arange(len(setting.candidates)), np.asarray(setting.targets)
    seen = dict(zip(asking.wanted, models.observe(*asking.wanted.values()), strict=True))

    def by_model(what: str, name: str, which: np.ndarray) -> Mapping[int, Seen]:
        return _ByModel(seen[what][name], which) if name in seen.get(what, {}) else {}

    of: dict[str, Observed] = {}
    for name in asking.per_example:
        asked, known = by_model("per example", name, every), by_model("per example, population", name, every)
        of[name] = Observed(every, seen["per example"][name], member, asked, all_rows, known)
    for name in asking.plain:
        asked, known = by_model("plain", name, targets), by_model("plain, population", name, targets)
        of[name] = Observed(every, seen.get("sample", {}).get(name), asking.sample_member, asked, all_rows, known)
    for name in asking.costly:
        asked, inside = by_model("costly", name, asking.few), member[asking.few][:, asking.rows]
        of[name] = Observed(asking.few, seen["costly"][name], inside, asked, asking.rows, {})
    accuracy = _accuracy(seen["everything"]["summary"]["correct"], member)
    return Observations({name: of[name] for name in attacks}, seen["everything"]["phi"], accuracy)


class _ByModel(Mapping):
    """Model -> what was seen of it, leaves [n, ...] of leaves [K', n, ...]; what lies in files is read when asked."""

    def __init__(self, seen: Seen, which: np.ndarray):
        self._seen, self._place = seen, {int(k): i for i, k in enumerate(which)}

    def __getitem__(self, k: int) -> Seen:
        return jax.tree.map(operator.itemgetter(self._place[k]), self._seen)

    def __iter__(self) -> Iterator[int]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def _accuracy(correct: np.ndarray | Rows, member: np.ndarray | Rows) -> tuple[float, float]:
    """The share of right answers [K, n] about members, and about the others."""
    right, count = np.zeros((2, 2), np.int64)
    for one, inside in zip(correct, member, strict=True):
        right += [np.count_nonzero(one & inside), np.count_nonzero(one & ~inside)]
        count += [np.count_nonzero(inside), np.count_nonzero(~inside)]
    members, others = right / count
    return float(members), float(others)


def _phi(key: Key, target, records: Records):
    del key
    return scaled_logit(target.ask(records.x), records.y)["phi"]


def _sample(key: Key, member: np.ndarray | Rows, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates [K, m] of each model, half of them members where there are that many, and bool [K, m]."""
    trained = [np.count_nonzero(row) for row in member]
    half = min(rows // 2, *trained, *(member.shape[1] - size for size in trained))
    sample = np.empty((len(member), 2 * half), int)
    for row, draw, inside in zip(sample, _draws(jax.random.fold_in(key, 2), member), member, strict=True):
        row[:half] = np.argsort(np.where(inside, draw, 2.0))[:half]
        row[half:] = np.argsort(np.where(inside, 2.0, draw))[:half]
    return sample, np.broadcast_to(np.arange(2 * half) < half, sample.shape)


def _draws(key: Key, member: np.ndarray | Rows) -> Iterable[np.ndarray]:
    """Uniform numbers for each model and record, [n] of one model after the other; of many models, a key for each."""
    if not isinstance(member, Rows):
        return np.asarray(jax.random.uniform(key, member.shape))
    one = jax.jit(lambda k: jax.random.uniform(jax.random.fold_in(key, k), member.shape[1:]))
    return (np.asarray(one(k)) for k in np.arange(len(member)))
