"""Du, Li, Chen, Zhang, Yuan, Xiao, Ribeiro, Li, "Cascading and Proxy Membership Inference Attacks", NDSS 2026
(arXiv 2507.21412): PMIA, the non-adaptive attack of the two.

The shadows were trained before anybody knew which record would be asked about, so none of them trained on it. How a
model would answer if it had is read from proxies: records that did train shadows. With the scaled logit phi of LiRA,

    log N(phi; mu_proxies, s_proxies^2) - log N(phi; mu_out, s_out^2)

where the first mean and variance are over all proxies and the shadows that trained on them, and the others over what
the shadows that did not train on the record answer about the record itself.

Proxies are the records of the same class ("class" of the paper's three ways, which its own comparison uses), or all of
them ("global"), which also stand in for a class without any. The third way, the record nearest in a foundation model's
embedding, needs such a model and is not here.

Checked against the authors' code (github.com/zealscott/MIA, PMIA/attacks/pclass.py), for the text of the paper could
not be had: that its equations agree with it is unchecked (?). Departures:

* Their centers are medians and ours means, as everywhere here (``lira``).
* Where shadows trained on candidates, as in a balanced audit, a record's proxies are the *other* candidates of its
  class: what models answer about a record that they trained on plays no part in its own score. Where they trained on
  none, as with somebody's deployed model, proxies are records of their own (``Attack.proxies``).
* A variance that is unknown, for fewer than two models or identical values, is the pooled one.

The cascading attack of the paper is ``cmia``.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Evidence, Moments, State, Steps, Sums
from mia_jax.attacks.lira import (
    VARIANCE_FLOOR,
    Gaussians,
    fallback_variances,
    log_likelihood_ratio,
    pooled_variance,
    variance_per_record,
)
from mia_jax.rows import rows_of
from mia_jax.types import Array, Attack, InputError, Key, Seen

OPTIONS = python_only("proxies")

Proxies = tuple[Mapping[str, np.ndarray], Array]  # seen, leaves [S, r], and member, bool [S, r]


class Aggregated(NamedTuple):
    """The shadows' scaled logits, the records' groups, and variances where leaving out leaves no residuals."""

    evidence: Evidence
    group: np.ndarray  # [n], a record's class; 0 where all records are proxies
    fallback: list[np.ndarray]  # IN and OUT, []


def pmia(num_classes: int, *, proxies: str = "class") -> Attack:
    """PMIA: IN of the record's proxies, OUT of the record itself.

    Args:
        num_classes: c.
        proxies: "class", records of the same class, or "global", all records.
    """
    made = functools.partial(steps, num_classes, proxies=proxies)
    attack = leave_one_out.attack(made())

    def fit(key: Key, seen: Seen, member: Array, population=None, *, proxies=None, **boundary) -> State:
        with_own = attack if proxies is None else leave_one_out.attack(made(own=proxies))
        return with_own.fit(key, seen, member, population, **boundary)

    return attack._replace(fit=fit, needs=frozenset({"out"}), proxies=True)


def steps(num_classes: int, *, proxies: str = "class", own: Proxies | None = None) -> Steps:
    """The attack as steps.

    Args:
        num_classes, proxies: as of ``pmia``.
        own: records of the shadows' own; None: the other records asked about are proxies.

    Raises:
        InputError: other proxies.
    """
    if proxies not in ("class", "global"):
        raise InputError(f'proxies are "class" or "global", not "{proxies}"')

    def read(log_p, y):
        return scaled_logit(log_p, y) | {"y": y}

    def groups(seen) -> np.ndarray:
        y = np.asarray(rows_of(seen["y"])[0])
        return y if proxies == "class" else np.zeros_like(y)

    def aggregate(seen, member, population) -> Aggregated:
        del population
        evidence = leave_one_out.aggregate(seen["phi"], member)
        return Aggregated(evidence, groups(seen), fallback_variances(*leave_one_out.without(evidence, ())))

    def fit(known: Aggregated, models) -> Gaussians:
        inside, outside = leave_one_out.without(known.evidence, models)
        origin, each = _sums(inside) if of_own is None else of_own
        of = known.group if own is None else groups(own[0])
        in_group = Sums(*(np.bincount(of, leaf, num_classes) for leaf in each))
        mean_in, var_in = _of_proxies(in_group, each if own is None else None, known.group, known.fallback[0])
        pooled = pooled_variance(outside)
        var_out = variance_per_record(outside, known.fallback[1] if pooled is None else pooled)
        return Gaussians(origin + mean_in, var_in, leave_one_out.filled(outside.mean, origin + mean_in), var_out)

    of_own = None
    if own is not None:
        of_own = _sums(leave_one_out.without(leave_one_out.aggregate(own[0]["phi"], own[1]), ())[0])
    return Steps(read, aggregate, fit, log_likelihood_ratio, frozenset({"in", "out"} if own is None else {"out"}))


def _sums(inside: Moments) -> tuple[np.float64, Sums]:
    """An origin near all means, so that no digits are lost in squares, and each record's sums [n] beside it.

    Raises:
        InputError: no shadow trained on any of the records.
    """
    there = inside.count > 0
    if not there.any():
        raise InputError("no shadow model trained on any record that it was asked about: PMIA has no proxies")
    origin = np.median(inside.mean[there])
    mean = np.where(there, inside.mean - origin, 0.0)
    return origin, Sums(inside.count, inside.count * mean, inside.scatter + inside.count * mean**2)


def _of_proxies(in_group: Sums, gone: Sums | None, group: np.ndarray, unknown: np.ndarray):
    """Mean and variance [n] over the values of a record's proxies; of all records', where its group has none.

    Args:
        in_group: sums over each group.
        gone: of each record [n], the part of these that is its own.
        group: [n].
        unknown: the variance [] where even all records together have just one value.
    """
    pool = Sums(*(leaf[group] for leaf in in_group))
    every = Sums(*(np.full(len(group), leaf.sum()) for leaf in in_group))
    if gone is not None:
        pool, every = pool.minus(gone), every.minus(gone)
    pool = Sums(*(np.where(pool.count > 0, a, b) for a, b in zip(pool, every, strict=True)))
    count = np.maximum(pool.count, 1)
    mean = pool.total / count
    spread = np.maximum(pool.square / count - mean**2, 0.0)
    whole = in_group.square.sum() / in_group.count.sum() - (in_group.total.sum() / in_group.count.sum()) ** 2
    known = (pool.count >= 2) & (spread > VARIANCE_FLOOR)
    return mean, np.where(known, spread, whole if whole > VARIANCE_FLOOR else unknown)
