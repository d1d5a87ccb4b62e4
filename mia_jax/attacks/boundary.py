"""Choquette-Choo, Tramer, Carlini, Papernot, "Label-Only Membership Inference Attacks", ICML 2021: distance to the
decision boundary. A member lies farther from it.

Two searches, both ours, in the manner of HopSkipJump (Chen, Jordan, Wainwright 2020). They keep the nearest record
found so far whose label is not the true class: the distance is that of a record which was really asked about, and so
an upper bound on the true one.

* Records with binary or categorical attributes: the number of attributes changed. Proposals change some of
  those that the nearest record has changed, and now and then others.
* Numbers and pixels only: the L2 distance, every column scaled to [0, 1] by its range. Rounds take turns: answers
  around the nearest record estimate the boundary's normal, steps turn towards it, a line search goes back towards x.

A search is a pair of pure functions, ask and tell, of one record; ``drive`` loops them around a target.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.attacks import perturbation as near
from mia_jax.attacks.entries import Option, python_only
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.synthesis import attributes as attrs
from mia_jax.types import Array, Attack, InputError, Key, Records, Schema, Target

NEEDS = frozenset({"in", "out", "queries", "features"})
OPTIONS = (Option("schema", source="schema"), *python_only("rounds", "proposals", "batch"))


class Search(NamedTuple):
    """The search for one record.

    Flattened records have f columns; p is the method's ``width``.
    """

    key: Key
    x: jax.Array  # [f]
    nearest: jax.Array  # [f], the nearest record found that the target does not put in x's class; x before there is one
    distance: jax.Array  # [] float32; inf before there is one, 0 where x itself is misclassified
    guide: jax.Array  # [p] float32, what the method remembers of earlier answers: a direction, or nothing


class Method(NamedTuple):
    """How one record's boundary is searched for. ``vmap`` over it searches many."""

    width: int  # p
    ask: Callable[[Search, Array], jax.Array]  # (search, round t) -> proposals [w, f]
    tell: Callable[[Search, Array, Array, Array], Search]  # (search, t, proposals [w, f], crossed [w]) -> search
    floor: float  # a distance that cannot be improved
    ceiling: float  # the distance of a record around which nothing was found


def drive(method: Method, crosses: Callable[[Array, Array], Array], searches: Search, rounds: int, traced: bool):
    """Rounds of questions about all records of a block: a loop inside ``jit``, or Python's around a host target.

    Args:
        method: of one record.
        crosses: (proposals [b', w, f], which [b'] of the block they belong to) -> bool [b', w]: is it another class?
        searches: leaves [b, ...].
        rounds: how many.
        traced: whether ``crosses`` may be asked inside ``jit``. If not, it is asked only about the searches that are
            not at their end, which is why the answer for a finished one must not matter.
    """
    asking, telling = _batched(method)
    if traced:
        everyone = np.arange(len(searches.distance))

        def step(carry):
            t, searches = carry
            proposals = asking(searches, t)
            return t + 1, telling(searches, t, proposals, crosses(proposals, everyone))

        return jax.lax.while_loop(lambda carry: carry[0] < rounds, step, (jnp.int32(0), searches))[1]
    for t in map(jnp.int32, range(rounds)):
        running = np.flatnonzero(np.asarray(searches.distance) > method.floor)
        if not len(running):
            break
        proposals = np.asarray(asking(searches, t))
        crossed = np.zeros(proposals.shape[:2], bool)
        crossed[running] = crosses(proposals[running], running)
        searches = telling(searches, t, proposals, crossed)
    return searches


@functools.lru_cache(maxsize=16)
def _batched(method: Method) -> tuple[Callable, Callable]:
    """Ask and tell of a block of searches; one that is at its end hears nothing more."""

    def tell(search: Search, t: Array, asked: Array, crossed: Array) -> Search:
        done = search.distance <= method.floor
        return method.tell(search, t, asked, crossed & ~done)

    return jax.jit(jax.vmap(method.ask, (0, None))), jax.jit(jax.vmap(tell, (0, None, 0, 0)))


def keep_nearest(search: Search, proposals: Array, crossed: Array, distances: Array) -> Search:
    """The search after proposals [w, f] at these distances [w]: the nearest of those that crossed, if it is nearer."""
    distances = jnp.where(crossed, distances, jnp.inf)
    best = jnp.argmin(distances)
    closer = distances[best] < search.distance
    return search._replace(
        nearest=jnp.where(closer, proposals[best], search.nearest),
        distance=jnp.where(closer, distances[best], search.distance),
    )


def fewest_changes(schema: Schema, proposals: int) -> Method:
    """The fewest attributes changed: flipped bits, other categories, numbers anywhere in their range.

    In each round some attributes are free: those in which the nearest record differs, and in every fourth round, or
    before there is a nearest record, all of them. They lie in a random order; a proposal changes a window of it, with
    fewer attributes than the nearest record has changed: half of the windows 1, 2, ... in geometric steps, the others
    as many less. An order that prefers attributes which mattered in earlier answers was no better on Location.
    """
    a = attrs.attributes(schema)
    lane = np.arange(proposals)

    def differs(x: Array, other: Array) -> jax.Array:
        """bool [..., a]: the attributes in which two records differ."""
        different = x != other
        if a.count == different.shape[-1]:
            return different
        return jnp.zeros((*different.shape[:-1], a.count), bool).at[..., a.of].max(different)

    def ask(search: Search, t: Array) -> jax.Array:
        key_end, key_order, key_start = jax.random.split(jax.random.fold_in(search.key, t), 3)
        found = jnp.isfinite(search.distance)
        inward = found & (t % 4 < 3)
        end = jnp.where(inward, search.nearest, attrs.draw(a, key_end, other_than=search.x).astype(search.x.dtype))
        free = differs(search.x, end)
        count = jnp.maximum(free.sum(), 1)
        order = jax.random.uniform(key_order, (a.count,))
        place = jnp.argsort(jnp.argsort(jnp.where(free, order, jnp.inf)))  # of each attribute, from 0 on
        reach = jnp.where(found, search.distance, count).astype(jnp.int32)
        top = jnp.maximum(reach - found, 1).astype(jnp.float32)  # fewer than now
        rung = jnp.floor(top ** ((lane // 2) / max(1, (proposals - 1) // 2))).astype(jnp.int32)
        size = jnp.where(lane % 2 == 0, rung, jnp.maximum(reach - rung, 1))
        start = jax.random.randint(key_start, (proposals,), 0, count)
        inside = (place[None] - start[:, None]) % count < size[:, None]  # [w, a]
        changed = attrs.columns(inside & free[None], a.of)
        return jnp.where(changed, end[None], search.x[None])

    def tell(search: Search, t: Array, asked: Array, crossed: Array) -> Search:
        del t
        return keep_nearest(search, asked, crossed, differs(search.x[None], asked).sum(axis=1).astype(jnp.float32))

    return Method(0, ask, tell, floor=1.0, ceiling=float(a.count))


class _Unit(NamedTuple):
    """Records with every column scaled to [0, 1] by its range: where L2 distances are measured."""

    low: np.ndarray  # [1, f]
    span: np.ndarray  # [1, f]
    whole: np.ndarray  # bool [1, f]: whole numbers, as pixels

    def scaled(self, x: Array) -> jax.Array:
        """Of records [w, f]."""
        return (x.astype(jnp.float32) - self.low) / self.span

    def record(self, u: Array) -> jax.Array:
        """The records nearest to points [w, f], within the ranges."""
        value = self.low + jnp.clip(u, 0, 1) * self.span
        return jnp.where(self.whole, jnp.round(value), value)


def shortest_step(schema: Schema, proposals: int) -> Method:
    """The smallest L2 distance, of columns scaled to [0, 1]; pixels stay whole numbers."""
    a = attrs.attributes(schema)
    span = np.where(a.high > a.low, a.high - a.low, 1).astype(np.float32)[None]
    unit = _Unit(a.low[None], span, a.whole[None])
    rounds = (_around(unit, proposals), _turned(unit, proposals), _back(unit, proposals))
    f = len(a.numbers)

    def ask(search: Search, t: Array) -> jax.Array:
        u = jax.lax.switch(t % len(rounds), rounds, search, jax.random.fold_in(search.key, t))
        return unit.record(u).astype(search.x.dtype)

    def tell(search: Search, t: Array, asked: Array, crossed: Array) -> Search:
        steps = unit.scaled(asked) - unit.scaled(search.nearest[None])
        estimate = (crossed - crossed.mean()) @ steps  # of the boundary's normal, towards the other side
        useful = (t % 3 == 0) & jnp.isfinite(search.distance)
        guide = jnp.where(useful, 0.8 * search.guide + _normed(estimate), search.guide)
        distances = jnp.linalg.norm(unit.scaled(asked) - unit.scaled(search.x[None]), axis=1)
        return keep_nearest(search, asked, crossed, distances)._replace(guide=guide)

    return Method(f, ask, tell, floor=0.0, ceiling=float(np.sqrt(f)))


def _normed(v: Array) -> jax.Array:
    """Vectors [..., f] of length 1."""
    return v / jnp.maximum(jnp.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


# The three kinds of rounds take turns: (search, key) -> points [w, f].


def _around(unit: _Unit, proposals: int) -> Callable[[Search, Key], jax.Array]:
    """Around the nearest record; before there is one, steps at random and towards random records."""
    lane = np.arange(proposals)
    far = 2.0 ** -(lane // 2 % 8).astype(np.float32)

    def points(search: Search, key: Key) -> jax.Array:
        x, nearest = unit.scaled(search.x[None]), unit.scaled(search.nearest[None])
        noise = jax.random.normal(key, (proposals, x.shape[1]))
        box = jax.scipy.stats.norm.cdf(noise)  # uniform
        begin = x + far[:, None] * jnp.where(lane[:, None] % 2 == 0, noise, box - x)
        near_by = nearest + 0.1 * search.distance * _normed(noise)
        return jnp.where(jnp.isfinite(search.distance), near_by, begin)

    return points


def _turned(unit: _Unit, proposals: int) -> Callable[[Search, Key], jax.Array]:
    """Shorter steps from x, which turn from the nearest record towards the boundary's normal."""
    lane = np.arange(proposals)
    turn = 2.0 ** -(lane % 8).astype(np.float32)
    shrink = 1 - (np.linspace(0.005, 0.3, -(-proposals // 8))[lane // 8]).astype(np.float32)

    def points(search: Search, key: Key) -> jax.Array:
        del key
        x = unit.scaled(search.x[None])
        heading, normal = _normed(unit.scaled(search.nearest[None]) - x), _normed(search.guide)[None]
        cosine = jnp.sum(normal * heading)
        angle = (turn * jnp.arccos(jnp.clip(cosine, -1, 1)))[:, None]
        directions = jnp.cos(angle) * heading + jnp.sin(angle) * _normed(normal - cosine * heading)
        distance = jnp.where(jnp.isfinite(search.distance), search.distance, 0.0)
        return x + (distance * shrink)[:, None] * directions

    return points


def _back(unit: _Unit, proposals: int) -> Callable[[Search, Key], jax.Array]:
    """On the line from the nearest record to x."""
    lane = np.arange(proposals)
    line = (1 - ((lane + 1) / (proposals + 1)) ** 2).astype(np.float32)  # fractions, denser near the record found

    def points(search: Search, key: Key) -> jax.Array:
        del key
        x = unit.scaled(search.x[None])
        return x + line[:, None] * (unit.scaled(search.nearest[None]) - x)

    return points


def boundary(
    num_classes: int, *, schema: Schema, rounds: int | None = None, proposals: int = 16, batch: int = 4096
) -> Attack:
    """Distance to the decision boundary, minus tau.

    Args:
        num_classes: c.
        schema: says which search: ``shortest_step`` if every attribute is a number or a pixel, else ``fewest_changes``.
        rounds: of questions about each record; by default 16 of ``fewest_changes``, 24 of ``shortest_step``.
        proposals: questions about a record in each round: it is asked about 1 + rounds * proposals times.
        batch: records in one question, and in memory at once.

    Returns:
        An Attack. It sees ``distance`` float32 [n]: 0 for a misclassified record, the largest possible distance where
        every question was answered with the true class.

    Raises:
        InputError: no round, or no proposal.
    """
    del num_classes
    numbers = all(field.kind in ("numeric", "pixel") for field in schema.fields)
    rounds = (24 if numbers else 16) if rounds is None else rounds
    if rounds < 1 or proposals < 1:
        raise InputError("boundary needs at least one round of one proposal")
    method = (shortest_step if numbers else fewest_changes)(schema, proposals)

    def observe(key: Key, target: Target, records: Records):
        near.check_width(schema, records.x, "boundary")
        right = near.labels(target, records.x) == records.y

        def look(x: Array, y: Array, right: Array) -> Array:
            def crosses(asked, which):
                named = near.labels(target, asked.reshape(-1, *x.shape[1:]))
                return named.reshape(asked.shape[:2]) != y[which, None]

            flat = jnp.asarray(x).reshape(len(x), -1)
            searches = Search(
                key=near.record_keys(key, x),
                x=flat,
                nearest=flat,
                distance=jnp.where(right, jnp.inf, 0.0),
                guide=jnp.zeros((len(x), method.width)),
            )
            distance = drive(method, crosses, searches, rounds, target.traced).distance
            return jnp.where(jnp.isfinite(distance), distance, method.ceiling)

        arrays = (records.x, records.y, right)
        return {"distance": near.in_blocks(look, target, arrays, batch // proposals)}

    def fit(key: Key, seen, member: Array, population=None) -> float:
        del key, population
        return best_threshold(np.asarray(seen["distance"]).reshape(-1), np.asarray(member).reshape(-1))

    def score(state: float, seen) -> np.ndarray:
        return beyond(np.asarray(seen["distance"], np.float64), state)

    return Attack(observe, fit, score, needs=NEEDS)
