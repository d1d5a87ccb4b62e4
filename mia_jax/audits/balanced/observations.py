"""One pass over the models of a balanced audit, for all attacks.

What is kept of a model is what attacks read: a few numbers per record for those that compare a record with itself in
other models, a capped sample of answers for those that learn from rows of any records. Attacks that ask many questions
about each record, or train, are shown a few models and records only.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import signals
from mia_jax.attacks import sources
from mia_jax.audits.stages import Look, Models
from mia_jax.plans import membership
from mia_jax.targets import observation
from mia_jax.types import Attack, Defense, Key, Records, Seen


class Sight(NamedTuple):
    """What one attack saw. K' of the models, ``which``, and n' of the candidates, ``rows``."""

    which: np.ndarray  # [K'] models
    fit: Seen  # leaves [K', m, ...]; None for attacks that learn from no model
    fit_member: np.ndarray  # bool [K', m]
    asked: Mapping[int, Seen]  # by model: the n' records that are judged when it is the target
    rows: np.ndarray  # [n'] candidates
    population: Mapping[int, Seen]  # by model: the population; empty without one


class Sights(NamedTuple):
    of: dict[str, Sight]
    phi: np.ndarray  # float32 [K, n], scaled logits: whom the models remember
    accuracy: tuple[float, float]  # of the models, means on their members and on the others


def look(
    key: Key,
    attacks: Mapping[str, Attack],
    models: Models,
    worn: tuple[Defense, ...],
    pool: Records,
    candidates: np.ndarray,
    population: np.ndarray,
    member: np.ndarray,
    targets: Sequence[int],
    *,
    sample_rows: int,
    query_shadows: int,
    query_records: int,
) -> Sights:
    """Look at every model once.

    Args:
        key: of the looks, and of what is sampled.
        attacks: name -> Attack.
        models: K of them.
        worn: the defenses at their answers.
        pool: records [N].
        candidates: rows of the pool [n] that are asked about.
        population: rows of the pool [P] that train nobody.
        member: bool [K, n].
        targets: models that play the target.
        sample_rows: rows of each model, half of them members, for attacks that learn from rows of any records.
        query_shadows: models beside the targets, for attacks that ask much.
        query_records: candidates that these judge.
    """
    every, all_rows = np.arange(len(member)), np.arange(len(candidates))

    def seen_by(names: Sequence[str], rows: np.ndarray, which: np.ndarray) -> dict[str, Seen]:
        if not len(names) or not rows.shape[-1]:
            return {}
        observers = {name: attacks[name].observe for name in names}
        index = np.broadcast_to(rows, (len(which), rows.shape[-1]))
        return models.look(Look(key, observers, worn, {"attacks": sources(names)}), pool, index, which)

    def one_by_one(seen: Mapping[str, Seen], name: str, which: np.ndarray) -> dict[int, Seen]:
        return {
            int(k): jax.tree.map(lambda leaf, i=i: leaf[i], seen[name]) for i, k in enumerate(which) if name in seen
        }

    costly = [
        name for name, attack in attacks.items() if attack.needs & {"queries", "trainer"} and not attack.per_example
    ]
    per_example = [name for name, attack in attacks.items() if attack.per_example]
    plain = [name for name in attacks if name not in costly and name not in per_example]
    of: dict[str, Sight] = {}

    told = Look(key, {"phi": _phi, "summary": observation.summary}, worn, {"attacks": []})
    first = models.look(told, pool, np.broadcast_to(candidates, member.shape))
    correct = first["summary"]["correct"]
    accuracy = float(correct[member].mean()), float(correct[~member].mean())

    whole = seen_by(per_example, candidates, every)
    known = seen_by(per_example, population, every)
    for name in per_example:
        asked, known_population = one_by_one(whole, name, every), one_by_one(known, name, every)
        of[name] = Sight(every, whole[name], member, asked, all_rows, known_population)

    played = np.asarray(targets)
    sample, sample_member = _sample(key, member, sample_rows)
    rows_seen = seen_by([name for name in plain if attacks[name].needs & {"in", "out"}], candidates[sample], every)
    asked_seen = seen_by(plain, candidates, played)
    known = seen_by([name for name in plain if "population" in attacks[name].needs], population, played)
    for name in plain:
        asked, known_population = one_by_one(asked_seen, name, played), one_by_one(known, name, played)
        of[name] = Sight(every, rows_seen.get(name), sample_member, asked, all_rows, known_population)

    beside = membership.unrelated(membership.related(member), every, *played)[:query_shadows]
    few = np.array([*played, *beside])
    rows = np.sort(np.asarray(jax.random.permutation(jax.random.fold_in(key, 1), len(candidates)))[:query_records])
    seen = seen_by(costly, candidates[rows], few)
    for name in costly:
        of[name] = Sight(few, seen[name], member[few][:, rows], one_by_one(seen, name, few), rows, {})
    return Sights({name: of[name] for name in attacks}, first["phi"], accuracy)


def _phi(key: Key, target, records: Records):
    del key
    return jnp.clip(signals.scaled_logit(target.ask(records.x), records.y), -87.3, 87.3)


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
