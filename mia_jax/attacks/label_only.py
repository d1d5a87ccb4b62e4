"""Choquette-Choo, Tramer, Carlini, Papernot, "Label-Only Membership Inference Attacks", ICML 2021: perturbations.

A member lies farther from the decision boundary, so its label survives more perturbations. The target is asked for
labels only: about the record itself and q perturbations of it, of several strengths.

Score = log-odds of a logistic regression, learned on the shadows, on the share of right answers at each strength, minus
tau. The paper learns from which of the q answers were right, and tunes one strength on a shadow; ours are exchangeable
within a strength, so the shares say all, and the regression finds the strengths that tell.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from mia_jax.attacks import perturbation as near
from mia_jax.attacks.entries import Option, python_only
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.types import Array, Attack, InputError, Key, Records, Schema, Target

NEEDS = frozenset({"in", "out", "queries", "features"})
OPTIONS = (
    Option("schema", source="schema"),
    Option("num_queries", int, 40, "questions per record of the attack label_only", flag="num_queries", low=1),
    *python_only("strengths", "shift", "mirror", "batch"),
)


class State(NamedTuple):
    """The logistic regression, and the threshold of its log-odds."""

    weights: np.ndarray  # [1 + strengths]
    threshold: float


def label_only(
    num_classes: int,
    *,
    schema: Schema,
    num_queries: int = 40,
    strengths: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2),
    shift: int = 2,
    mirror: bool = False,
    batch: int = 4096,
) -> Attack:
    """How often the label survives perturbations of the record (section 4).

    Args:
        num_classes: c.
        schema: says which attributes are flipped, redrawn, jittered or moved (``perturbation``).
        num_queries: q, questions about each record besides the one about itself.
        strengths: of the perturbations, in turn.
        shift, mirror: of images.
        batch: records in one question, and in memory at once.

    Returns:
        An Attack. It sees ``agree`` float32 [n, 1 + strengths]: was the record itself given its true class, and the
        share of its perturbations of each strength that were.

    Raises:
        InputError: fewer queries than strengths, or a strength outside (0, 1].
    """
    del num_classes
    if not 0 < len(strengths) <= num_queries or not all(0 < s <= 1 for s in strengths):
        raise InputError("label_only needs strengths within (0, 1], and at least one query for each of them")
    strength = np.resize(np.asarray(strengths, np.float32), num_queries)  # of query j, 0-based
    queries = _queries(near.perturbation(schema, shift=shift, mirror=mirror), strength)

    def observe(key: Key, target: Target, records: Records):
        near.check_width(schema, records.x, "label_only")
        right = near.labels(target, records.x) == records.y
        rows = batch if target.traced else batch // num_queries  # a host target is asked all q queries at once
        kept = near.in_blocks(_asking(key, target, queries, num_queries), target, (records.x, records.y), rows)
        agree = [kept[:, level :: len(strengths)].mean(axis=1) for level in range(len(strengths))]
        xp = jnp if target.traced else np
        return {"agree": xp.stack([right, *agree], axis=1).astype(np.float32)}

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del key, population
        agree, member = np.asarray(seen["agree"], np.float64), np.asarray(member, bool).reshape(-1)
        agree = agree.reshape(-1, agree.shape[-1])
        weights = logistic(agree, member)
        return State(weights, best_threshold(agree @ weights, member))

    def score(state: State, seen) -> np.ndarray:
        return beyond(np.asarray(seen["agree"], np.float64) @ state.weights, state.threshold)

    return Attack(observe, fit, score, needs=NEEDS)


class _Queries(NamedTuple):
    """The perturbed records that are asked about; keys are those of the records (``perturbation.record_keys``)."""

    one: Callable[[Key, Array, Array], jax.Array]  # (keys [b], x [b, *f], j) -> query j about each, [b, *f]
    every: Callable[[Key, Array], jax.Array]  # (key, x [b, *f]) -> [q, b, *f]


def _queries(perturb: Callable[[Key, Array, Array], jax.Array], strength: np.ndarray) -> _Queries:
    """Of records perturbed by ``perturb``, query j with ``strength`` [q]."""

    def one(keys: Key, x: Array, j: Array) -> jax.Array:
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, j)
        return jax.vmap(perturb, in_axes=(0, 0, None))(keys, x, jnp.asarray(strength)[j])

    @jax.jit
    def every(key: Key, x: Array) -> jax.Array:
        keys = near.record_keys(key, x)
        return jax.lax.map(lambda j: one(keys, x, j), jnp.arange(len(strength)))

    return _Queries(one, every)


def _asking(key: Key, target: Target, queries: _Queries, num_queries: int) -> Callable[[Array, Array], Array]:
    """Which answers about a block are right: (x [b, *f], y [b]) -> bool [b, q]; inside ``jit`` query by query."""

    def traced(x: Array, y: Array) -> Array:
        keys = near.record_keys(key, x)
        return jax.lax.map(lambda j: near.labels(target, queries.one(keys, x, j)) == y, jnp.arange(num_queries)).T

    def host(x: Array, y: Array) -> Array:
        asked = np.asarray(queries.every(key, x))
        named = near.labels(target, asked.reshape(-1, *x.shape[1:]))
        return (named.reshape(num_queries, -1) == y).T

    return traced if target.traced else host


def logistic(x: np.ndarray, member: np.ndarray, *, ridge: float = 1e-5) -> np.ndarray:
    """Weights [f] of the logistic regression of ``member`` on ``x`` [n, f], both sides counted alike; no intercept.

    The intercept is fitted and left out: the threshold does its work. ``ridge`` times the sum of the squared weights is
    added to the mean loss, so that they stay finite where members can be told without error.
    """
    x = np.column_stack([x, np.ones(len(x))])
    side = np.where(member, 1.0, -1.0)
    share = np.where(member, 0.5 / max(1, member.sum()), 0.5 / max(1, (~member).sum()))
    penalized = np.append(np.full(x.shape[1] - 1, ridge), 0.0)

    def loss(w):
        z = side * (x @ w)
        slope = -share * side * special.expit(-z)
        return share @ np.logaddexp(0, -z) + penalized @ w**2, slope @ x + 2 * penalized * w

    start = np.zeros(x.shape[1])
    return optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x[:-1]
