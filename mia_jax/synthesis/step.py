"""One step of ``r`` searches side by side: Shokri et al. 2017, section V-C, Algorithm 1.

Phase 1 climbs a hill: from a random record towards one that the target puts in class c with confidence. Phase 2
samples: a record is kept with probability equal to its confidence. ``r`` searches run side by side; where one ends, the
next wanted one begins in the same step.

Where the paper leaves a choice: the first record is uniform, and one-hot groups are one feature. A feature that is
redrawn takes a uniform value, which for a bit may be the one it had, or another one ("flip"): see
``parameters.REDRAWS``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mia_jax.synthesis import attributes as attrs
from mia_jax.synthesis import subsets
from mia_jax.synthesis.parameters import Parameters
from mia_jax.types import Array


class Searches(NamedTuple):
    """The variables of Algorithm 1, of ``r`` searches side by side."""

    slot: jax.Array  # [r] int32: the wanted record; n for an idle search
    attempt: jax.Array  # [r] int32: searches for that record before this one
    key: jax.Array  # [r, 2] uint32, key data: of the search, from slot and attempt alone
    c: jax.Array  # [r] int32
    iteration: jax.Array  # [r] int32: queries so far
    x_best: jax.Array  # [r, f]: the paper's x*
    best: jax.Array  # [r] float32: y_c of x_best
    rejections: jax.Array  # [r] int32
    k: jax.Array  # [r] int32


class Results(NamedTuple):
    """The wanted records and what is known of the classes."""

    x: jax.Array  # [n, f]
    y: jax.Array  # [n] int32: the class wanted; changes when a class is given up
    done: jax.Array  # [n] bool
    confidence: jax.Array  # [n] float32: y_c at which the record was sampled
    cost: jax.Array  # [n] int32: queries of the search that found it
    next: jax.Array  # [] int32: the first record nobody searches for yet
    failed: jax.Array  # [c] int32: searches
    in_a_row: jax.Array  # [c] int32: failed searches since the last record found
    given_up: jax.Array  # [c] bool


class Proposal(NamedTuple):
    """The next queries."""

    x: jax.Array  # [r, f]
    u: jax.Array  # [r] float32: uniform, to sample by
    asked: jax.Array  # [r] bool: searches that go on, as far as the budget reaches


def propose(a: attrs.Attributes, searches: Searches, n: int, left: jax.Array, redraw: str = "random") -> Proposal:
    """The next query of every search.

    All random numbers of a step are drawn here, from the search's key and its iteration.

    Args:
        a: the attributes of a record.
        searches: r of them.
        n: records wanted.
        left: [] int32, queries that the budget has left.
        redraw: of ``parameters.REDRAWS``.
    """
    keys = jax.vmap(lambda key, i: jax.random.split(jax.random.fold_in(as_key(key), i), 3))
    key_features, key_values, key_sample = keys(searches.key, searches.iteration).T
    # x <- random record, at first; x <- x* with k features, chosen at random, redrawn at random, later
    k = jnp.where(searches.iteration == 0, a.count, searches.k)
    chosen = attrs.columns(subsets.choose(key_features, k, a.count), a.of)
    values = jax.vmap(lambda key: attrs.draw(a, key))(key_values)
    if redraw == "flip":
        others = jax.vmap(lambda key, x: attrs.draw(a, key, other_than=x))(key_values, searches.x_best)
        values = jnp.where((searches.iteration == 0)[:, None], values, others)
    x = jnp.where(chosen, values, searches.x_best)
    u = jax.vmap(jax.random.uniform)(key_sample)
    searching = searches.slot < n
    return Proposal(x, u, searching & (jnp.cumsum(searching) <= left))


def update(
    p: Parameters,
    prior: jax.Array,
    root: jax.Array,
    searches: Searches,
    results: Results,
    proposal: Proposal,
    log_p: Array,
) -> tuple[Searches, Results]:
    """What the answers log_p [r, c] to a proposal change."""
    n = len(results.done)
    x, u, asked = proposal
    # y <- f(x)
    log_y_c = jnp.take_along_axis(log_p, searches.c[:, None], axis=1)[:, 0]
    y_c = jnp.exp(log_y_c)
    iteration = searches.iteration + asked
    # if y_c >= best: accept the proposal
    climbed = asked & (y_c >= searches.best)
    #     if y_c > conf_min and c = argmax y: if uniform(0,1) < y_c: return x
    confident = climbed & (y_c > p.conf_min) & (is_argmax(log_p, log_y_c, searches.c))
    sampled = confident & (u < y_c)
    #     x* <- x;  best <- y_c;  rejections <- 0
    x_best = jnp.where(climbed[:, None], x, searches.x_best)
    best = jnp.where(climbed, y_c, searches.best)
    # else: rejections <- rejections + 1
    rejections = jnp.where(climbed, 0, searches.rejections + asked)
    #     if rejections > rej_max: k <- max(k_min, ceil(k / 2));  rejections <- 0
    smaller = rejections > p.rej_max
    k = jnp.where(smaller, jnp.maximum(p.k_min, (searches.k + 1) // 2), searches.k)
    rejections = jnp.where(smaller, 0, rejections)
    # repeat iter_max times; fail: no record of this class found
    failed = asked & ~sampled & (iteration >= p.iter_max)

    searches = searches._replace(iteration=iteration, x_best=x_best, best=best, rejections=rejections, k=k)
    results = _account(p, prior, searches, _store(searches, results, sampled, x, y_c), sampled, failed)
    ended = sampled | failed | ((searches.slot < n) & results.given_up[searches.c])
    return _refill(p, root, searches, results, sampled, ended)


def is_argmax(log_p: Array, log_y_c: jax.Array, c: jax.Array) -> jax.Array:
    """``argmax(log_p, axis=1) == c``, which costs half a forward pass on CPUs, bool [b].

    Args:
        log_p: log-probabilities [b, classes].
        log_y_c: of the classes ``c`` [b].
        c: classes [b].
    """
    before = jnp.arange(log_p.shape[1])[None] < c[:, None]
    return jnp.where(before, log_p < log_y_c[:, None], log_p <= log_y_c[:, None]).all(1)


def _store(searches: Searches, results: Results, sampled: jax.Array, x: jax.Array, y_c: jax.Array) -> Results:
    at = jnp.where(sampled, searches.slot, len(results.done))

    def put(leaf, new):
        return leaf.at[at].set(new, mode="drop")

    return results._replace(
        x=put(results.x, x),
        done=put(results.done, True),
        confidence=put(results.confidence, y_c),
        cost=put(results.cost, searches.iteration),
    )


def _account(
    p: Parameters, prior: jax.Array, searches: Searches, results: Results, sampled: jax.Array, failed: jax.Array
) -> Results:
    """Failures by class; the records of classes given up go to the others, by the prior."""

    def count(results):
        zeros = jnp.zeros_like(results.failed)
        fails, hits = (zeros.at[searches.c].add(which.astype(jnp.int32)) for which in (failed, sampled))
        in_a_row = jnp.where(hits > 0, 0, results.in_a_row + fails)
        given_up = results.given_up | (in_a_row >= p.give_up)
        return results._replace(failed=results.failed + fails, in_a_row=in_a_row, given_up=given_up)

    def reassign(results):
        weight = jnp.where(results.given_up, 0.0, prior)
        cdf = jnp.cumsum(weight)
        # Multiples of the golden ratio spread evenly over the circle: so the other classes share evenly.
        turns = jnp.arange(len(results.y), dtype=jnp.uint32) * jnp.uint32(2654435769)
        u = turns.astype(jnp.float32) * jnp.float32(2**-32)
        other = jnp.searchsorted(cdf, u * cdf[-1], side="right")
        other = jnp.minimum(other, len(weight) - 1 - jnp.argmax(weight[::-1] > 0)).astype(jnp.int32)
        return results._replace(y=jnp.where(results.given_up[results.y] & ~results.done, other, results.y))

    before = results.given_up
    results = jax.lax.cond((failed | sampled).any(), count, lambda results: results, results)
    return jax.lax.cond((results.given_up != before).any(), reassign, lambda results: results, results)


def _refill(
    p: Parameters, root: jax.Array, searches: Searches, results: Results, sampled: jax.Array, ended: jax.Array
) -> tuple[Searches, Results]:
    """A search that found its record goes on to the next one, a search that failed tries again."""
    n = len(results.done)
    slot = jnp.where(sampled, jnp.minimum(results.next + jnp.cumsum(sampled) - 1, n), searches.slot)
    slot = jnp.where(results.given_up.all(), n, slot)
    attempt = jnp.where(sampled, 0, searches.attempt + 1)
    begun = begin(p, root, slot, attempt, results.y, searches.x_best)

    def pick(new, old):
        return jnp.where(ended if new.ndim == 1 else ended[:, None], new, old)

    both = zip(Searches._fields, begun, searches, strict=True)
    searches = Searches(*(old if name == "x_best" else pick(new, old) for name, new, old in both))
    return searches, results._replace(next=jnp.minimum(results.next + sampled.sum(), n))


def begin(p: Parameters, root: jax.Array, slot: jax.Array, attempt: jax.Array, y: jax.Array, x_best: jax.Array):
    """New searches, for records ``slot`` [r] int32, after ``attempt`` [r] int32 others.

    Args:
        p: the parameters.
        root: [2] uint32, key data.
        slot, attempt: as of ``Searches``.
        y: [n] int32, the class wanted of each record.
        x_best: [r, f]: the first proposal does not read it, and any records will do.
    """
    keys = jax.vmap(lambda slot, attempt: jax.random.fold_in(jax.random.fold_in(as_key(root), slot), attempt))
    zeros = jnp.zeros(slot.shape, jnp.int32)
    c = y[jnp.minimum(slot, len(y) - 1)]
    best, k = jnp.zeros(slot.shape, jnp.float32), jnp.full(slot.shape, p.k_max, jnp.int32)
    return Searches(slot, attempt, jax.random.key_data(keys(slot, attempt)), c, zeros, x_best, best, zeros, k)


def as_key(data: jax.Array) -> jax.Array:
    """Key data uint32 [..., 2] as typed keys, whatever ``jax_default_prng_impl`` is."""
    return jax.random.wrap_key_data(data, impl="threefry2x32")
