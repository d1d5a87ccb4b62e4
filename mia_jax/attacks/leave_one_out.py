"""What attacks share that compare a record with itself in other models: sums over the models that trained on it (IN)
and over those that did not (OUT), and the boundary, found by leaving one out.

Sums are additive over models: those without model k are the whole ones less k's part, so that every shadow can play the
target without anything being refitted. When model k plays, its **partner** plays no part: in the balanced plan
(``splits.balanced``) the partner trained on what k did not, and the counts over the others would give k's membership
away. Where the counts of all models are fixed, they do so too, and records are given as many models on each side as all
others have. Both are found from the membership matrix itself (``mia_jax.plans.membership``).

NumPy, float64, one model's row at a time, in blocks that stay in the cache: there is nothing to compile, and 256 models
x 60,000 records are summed up in a fraction of a second (benchmarks/scoring.py).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from mia_jax.attacks.common import from_answers
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.plans import membership
from mia_jax.types import Array, Attack, InputError, Key, Seen

# Rows of shadows playing the target that set the boundary: more do not move it.
ROWS = 2**18
# Records summed up at once: what is added to stays in the cache.
BLOCK = 2**14


class Sums(NamedTuple):
    """Over some models, of one side, per record."""

    count: np.ndarray  # [n] (or [n, 1], beside queries)
    total: np.ndarray  # [n] or [n, q], of value - origin
    square: np.ndarray  # [n] or [n, q], of (value - origin)^2

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(*(a - b for a, b in zip(self, other, strict=True)))


class Moments(NamedTuple):
    """Of one side, per record. Where ``count`` is 0, ``mean`` is NaN and ``scatter`` 0."""

    count: np.ndarray  # [n] (or [n, 1])
    mean: np.ndarray  # [n] or [n, q]
    scatter: np.ndarray  # [n] or [n, q], the sum of squared residuals


class Evidence(NamedTuple):
    """Everything known of the shadows."""

    values: np.ndarray  # [S, n] or [S, n, q]
    member: np.ndarray  # bool [S, n]
    of: Callable[[np.ndarray], np.ndarray] | None  # of the values, what is summed up; None: they themselves
    origin: np.ndarray  # [n] or [n, q], near the values, so that no digits are lost in the squares
    squares: bool
    inside: Sums
    outside: Sums

    def row(self, k: int, records: slice = slice(None)) -> np.ndarray:
        """What model k adds to the sums, [n] or [n, q]."""
        value = self.values[k, records]
        return (value if self.of is None else self.of(np.asarray(value, np.float64))) - self.origin[records]


def gather(
    values: Array,
    member: Array,
    *,
    of: Callable[[np.ndarray], np.ndarray] | None = None,
    origin: float | None = None,
    squares: bool = True,
) -> Evidence:
    """Sum over all models.

    Args:
        values: [S, n] or [S, n, q].
        member: bool [S, n].
        of: values -> what is summed up; the values themselves by default.
        origin: subtracted first; by default the first model's.
        squares: sum them, too; otherwise they are zero.
    """
    values, member = np.asarray(values), np.asarray(member, bool)
    if origin is None:
        origin = values[0] if of is None else of(np.asarray(values[0], np.float64))
    origin = np.broadcast_to(np.asarray(origin, np.float64), values.shape[1:])
    every, inside = (Sums(np.zeros(_beside(member, values).shape[1:]), *np.zeros((2, *origin.shape))) for _ in range(2))
    evidence = Evidence(values, member, of, origin, squares, inside, every)
    for first in range(0, len(origin), BLOCK):
        block = slice(first, first + BLOCK)
        _add(evidence, block, Sums(*(a[block] for a in every)), Sums(*(a[block] for a in inside)))
    return evidence._replace(outside=every - inside)


def _add(evidence: Evidence, block: slice, every: Sums, inside: Sums) -> None:
    value, mask, work = np.empty((3, *every.total.shape))
    for k, member in enumerate(_beside(evidence.member, evidence.values)):
        np.copyto(value, evidence.row(k, block))
        np.copyto(mask, member[block])
        np.add(every.total, value, out=every.total)
        np.add(inside.total, np.multiply(value, mask, out=work), out=inside.total)
        if evidence.squares:
            np.add(every.square, np.multiply(value, value, out=value), out=every.square)
            np.add(inside.square, np.multiply(value, mask, out=work), out=inside.square)
        np.add(inside.count, member[block], out=inside.count)
    every.count[:] = len(evidence.values)


def without(evidence: Evidence, models: Iterable[int]) -> tuple[Moments, Moments]:
    """IN and OUT moments over all models but ``models``."""
    inside, outside = evidence.inside, evidence.outside
    for k in models:
        value, mask = evidence.row(k), _beside(evidence.member[k], evidence.values[k])
        part = Sums(np.ones_like(mask, np.float64), value, value * value if evidence.squares else np.zeros_like(value))
        mine = Sums(*(np.where(mask, leaf, 0.0) for leaf in part))
        inside, outside = inside - mine, outside - (part - mine)
    return _moments(inside, evidence.origin), _moments(outside, evidence.origin)


def _beside(member: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``member``, broadcastable to ``values``, which may have an axis of queries more."""
    return member if member.ndim == values.ndim else member[..., None]


def _moments(sums: Sums, origin: np.ndarray) -> Moments:
    some = np.maximum(sums.count, 1)
    mean = sums.total / some
    scatter = np.where(sums.count < 2, 0.0, np.maximum(sums.square - sums.total * mean, 0.0))
    return Moments(sums.count, np.where(sums.count > 0, mean + origin, np.nan), scatter)


def filled(mean: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``mean`` [n, ...], NaN where a record has no such model, from the ``other`` side's where it is NaN.

    There it is ``other`` plus the mean difference of the two sides over the records that have both; if none has both,
    the mean of ``mean`` over all records; and if nothing at all is known of the side, ``other``.
    """
    missing = np.isnan(mean)
    if not missing.any():
        return mean
    if missing.all():
        return other
    both = ~missing & ~np.isnan(other)
    guess = other + np.mean(mean[both] - other[both]) if both.any() else np.mean(mean[~missing])
    return np.where(missing, guess, mean)


# --- attacks made of these -------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """An attack on one record against itself in other models, before anything plays the target.

    gather: (seen [S, n, ...], member [S, n], public [S, m, ...] or None) -> evidence.
    settle: (evidence, models to leave out, tuple) -> fitted.
    rate:   (fitted, seen [n, ...], public [m, ...] or None: the same target's) -> [n], larger = more likely a member.
    needs:  of "in" and "out": sides without which nothing can be said.
    """

    read: Callable[..., Seen]
    gather: Callable[..., Any]
    settle: Callable[..., Any]
    rate: Callable[..., np.ndarray]
    needs: frozenset[str]


class State(NamedTuple):
    fitted: Any
    public: Seen | None  # of the target
    boundary: float


def attack(parts: Parts, *, augment=None) -> Attack:
    """An aligned Attack, whose boundary is the best one for shadows playing the target, each against the others.

    Too few shadows to leave one out: then each is judged with itself among its own references. Where all records are on
    one side there is no boundary, NaN, and scores are as they are; ``fit`` takes one from elsewhere (``boundary=``).
    """

    def fit(key: Key, seen, member: Array, public=None, *, boundary: float | None = None) -> State:
        del key
        mine, theirs = split_public(public)
        cast = Cast(parts, seen, member, theirs)
        if boundary is not None or cast.member.all() or not cast.member.any():
            return State(cast.fitted, mine, np.nan if boundary is None else boundary)
        some = players(*cast.member.shape)
        scores = {k: score for k in some if (score := cast.play(k)) is not None}
        if not scores:
            scores = {k: parts.rate(cast.fitted, row(seen, k), row(theirs, k)) for k in some}
        boundary = best_threshold(np.concatenate([*scores.values()]), np.concatenate([cast.member[k] for k in scores]))
        return State(cast.fitted, mine, boundary)

    def score(state: State, seen) -> np.ndarray:
        return beyond(parts.rate(state.fitted, seen, state.public), state.boundary)

    def play(seen, member: Array, public=None, played=None) -> np.ndarray:
        return in_turn(parts, seen, member, split_public(public)[1], played, models=players(*np.shape(member)))

    return from_answers(parts.read, fit, score, augment=augment, aligned=True, needs=parts.needs, play=play)


def in_turn(
    parts: Parts, seen, member: Array, public=None, played=None, models: Iterable[int] | None = None
) -> np.ndarray:
    """Every model as the target, the others less its partner as its shadows; without boundaries.

    What the models have in common is gathered once, so all S targets cost little more than one.

    Args:
        parts: ``lira.parts()``, ``rmia.parts()``, ...
        seen: leaves [S, n, ...].
        member: bool [S, n].
        public: leaves [S, m, ...], or None.
        played: what is seen of a model that plays, and of the population then, where that is not ``seen`` and
            ``public``: a target that rounds is judged by shadows that do not.
        models: those that play; by default all.

    Returns:
        float64 [S, n]; a row of NaN where too few models are left.
    """
    cast = Cast(parts, seen, member, public, played)
    out = np.full(cast.member.shape, np.nan)
    for k in range(len(out)) if models is None else models:
        score = cast.play(k)
        if score is not None:
            out[k] = score
    return out


class Cast:
    """The shadows, each of which can play the target."""

    def __init__(self, parts: Parts, seen, member: Array, public, played=None):
        self.parts, self.seen, self.public = parts, seen, public
        self.played = (seen, public) if played is None else played
        self.member = np.asarray(member, bool)
        refuse_without(parts.needs, self.member)
        self.related = membership.related(self.member)
        self.lone = membership.lone(self.related)  # one may be the target's partner
        self.even = membership.fixed_counts(self.member)
        self.trained = np.array([np.count_nonzero(row) for row in self.member])  # records per model
        self.evidence = parts.gather(seen, self.member, public)
        self.fitted = self._dealt(np.arange(len(self.member))) if self.even else None
        if self.fitted is None:
            self.fitted = parts.settle(self.evidence, tuple(self.lone))

    def play(self, k: int) -> np.ndarray | None:
        """Model k's scores [n] against the others, or None where these lack a side that the attack needs."""
        gone = self.related[k].copy()
        gone[self.lone] = True
        models = np.flatnonzero(gone)
        if self.even:
            fitted = self._dealt(np.flatnonzero(~gone))
        else:
            left, inside = len(gone) - len(models), self.trained.sum() - self.trained[models].sum()
            lacks = self._lacks(inside == 0, inside == left * self.member.shape[1])
            fitted = None if left == 0 or lacks else self.parts.settle(self.evidence, tuple(models))
        return None if fitted is None else self.parts.rate(fitted, *(row(seen, k) for seen in self.played))

    def _dealt(self, models: np.ndarray):
        """What is learned of these models with as many on each side of every record; None where a side is lacking."""
        if not len(models):
            return None
        member = self.member[models]
        inside, outside = member.sum(axis=0).min(), (~member).sum(axis=0).min()
        if self._lacks(inside == 0, outside == 0) or inside + outside == 0:
            return None
        taken = models[membership.deal(member)]
        seen = {name: np.take_along_axis(leaf, over(taken, leaf), axis=0) for name, leaf in self.seen.items()}
        public = None if self.public is None else {name: leaf[models] for name, leaf in self.public.items()}
        return self.parts.settle(self.parts.gather(seen, np.take_along_axis(self.member, taken, axis=0), public), ())

    def _lacks(self, inside: bool, outside: bool) -> bool:
        """Whether the attack needs a side that is not there."""
        return bool(("in" in self.parts.needs and inside) or ("out" in self.parts.needs and outside))


def over(index: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """``index`` [S, n], beside leaves that may have axes more."""
    return index.reshape(*index.shape, *(1,) * (np.ndim(leaf) - 2))


def players(num_models: int, n: int) -> np.ndarray:
    """Models that are enough to set the boundary, playing the target: evenly spaced, four at least."""
    number = min(num_models, max(4, ROWS // max(n, 1)))
    return np.unique(np.linspace(0, num_models - 1, number).astype(int))


def split_public(public) -> tuple[Seen | None, Seen | None]:
    """What the target and what the shadows answered about the population."""
    if public is None:
        return None, None
    return row(public, 0), {name: np.asarray(leaf)[1:] for name, leaf in public.items()}


def refuse_without(needs: frozenset[str], member: np.ndarray) -> None:
    """Raises InputError if a side is needed that no shadow has."""
    if "in" in needs and not member.any():
        raise InputError("no shadow model trained on any of these records: this attack needs some that did")
    if "out" in needs and member.all():
        raise InputError("every shadow model trained on all of these records: this attack needs some that did not")


def row(seen, k: int):
    """What model k saw, of leaves [S, ...]."""
    return None if seen is None else {name: leaf[k] for name, leaf in seen.items()}
