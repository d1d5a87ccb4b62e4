"""What attacks share that compare a record with itself in other models: sums over the models that trained on it (IN)
and over those that did not (OUT), and the boundary, found by leaving one out.

Sums are additive over models: those without model k are the whole ones less k's part, so that every shadow can be left
out and scored as the target without anything being summed again. When model k is left out, so is its **partner**: in
the balanced plan (``splits.balanced``) the partner trained on what k did not, and the counts over the others would give
k's membership away. Where the counts of all models are fixed, they do so too, and each record is compared with as many
models on each side as any other has. Both are found from the membership matrix itself (``mia_jax.plans.membership``).

NumPy, float64, one model's row at a time, in blocks that stay in the cache: there is nothing to compile, and 256 models
x 60,000 records are summed up in a fraction of a second (benchmarks/scoring.py).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from mia_jax.attacks.common import Augment, from_answers
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.plans import membership
from mia_jax.rows import Rows, blocks, rows_of
from mia_jax.types import Array, Attack, InputError, Key, Seen

# Leave-one-out scores that set the boundary: more do not move it.
ROWS = 2**18
# Records summed up at once: the sums stay in the cache.
BLOCK = 2**14


class Sums(NamedTuple):
    """Count, sum and sum of squares over the models on one side (IN or OUT), per record."""

    count: np.ndarray  # [n] (or [n, 1], beside queries)
    total: np.ndarray  # [n] or [n, q], of value - origin
    square: np.ndarray  # [n] or [n, q], of (value - origin)^2

    def minus(self, other: "Sums") -> "Sums":
        """The sums over the models that are not among the ``other``."""
        return Sums(*(a - b for a, b in zip(self, other, strict=True)))


class Moments(NamedTuple):
    """Mean and scatter over the models on one side, per record; where ``count`` is 0, NaN and 0."""

    count: np.ndarray  # [n] (or [n, 1])
    mean: np.ndarray  # [n] or [n, q]
    scatter: np.ndarray  # [n] or [n, q], the sum of squared residuals


class Evidence(NamedTuple):
    """What the shadows answered about the records, and its sums over IN and over OUT models."""

    values: np.ndarray | Rows  # [S, n] or [S, n, q]
    member: np.ndarray | Rows  # bool [S, n]
    of: Callable[[np.ndarray], np.ndarray] | None  # of the values, what is summed up; None: they themselves
    origin: np.ndarray  # [n] or [n, q], near the values, so that no digits are lost in the squares
    squares: bool
    inside: Sums
    outside: Sums

    def row(self, k: int, records: slice = slice(None)) -> np.ndarray:
        """What model k adds to the sums, [n] or [n, q]."""
        value = self.values[k, records]
        return (value if self.of is None else self.of(np.asarray(value, np.float64))) - self.origin[records]


def aggregate(
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
    values, member = rows_of(values), rows_of(member, bool)
    near: Any = origin
    if origin is None:
        near = values[0] if of is None else of(np.asarray(values[0], np.float64))
    near = np.broadcast_to(np.asarray(near, np.float64), values.shape[1:])
    counted = (*member.shape[1:], *(1,) * (values.ndim - member.ndim))  # beside queries
    every, inside = (Sums(np.zeros(counted), *np.zeros((2, *near.shape))) for _ in range(2))
    evidence = Evidence(values, member, of, near, squares, inside, every)
    for block in blocks(len(near), BLOCK):
        _add(evidence, block, Sums(*(a[block] for a in every)), Sums(*(a[block] for a in inside)))
    return evidence._replace(outside=every.minus(inside))


def _add(evidence: Evidence, block: slice, every: Sums, inside: Sums) -> None:
    value, mask, work = np.empty((3, *every.total.shape))
    for k in range(len(evidence.values)):
        member = _beside(evidence.member[k, block], value)
        np.copyto(value, evidence.row(k, block))
        np.copyto(mask, member)
        np.add(every.total, value, out=every.total)
        np.add(inside.total, np.multiply(value, mask, out=work), out=inside.total)
        if evidence.squares:
            np.add(every.square, np.multiply(value, value, out=value), out=every.square)
            np.add(inside.square, np.multiply(value, mask, out=work), out=inside.square)
        np.add(inside.count, member, out=inside.count)
    every.count[:] = len(evidence.values)


def without(evidence: Evidence, models: Iterable[int]) -> tuple[Moments, Moments]:
    """IN and OUT moments over all models but ``models``."""
    inside, outside = evidence.inside, evidence.outside
    for k in models:
        value = evidence.row(k)
        mask = _beside(evidence.member[k], value)
        part = Sums(np.ones_like(mask, np.float64), value, value * value if evidence.squares else np.zeros_like(value))
        mine = Sums(*(np.where(mask, leaf, 0.0) for leaf in part))
        inside, outside = inside.minus(mine), outside.minus(part.minus(mine))
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
    """``mean`` [n, ...], with means that are missing (NaN: there is no such model) estimated from the ``other`` side's.

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


class Steps(NamedTuple):
    """An attack that compares a record with itself in other models, as four functions; any model can be left out.

    read:      (log_p [n, c], y [n]) -> seen, leaves [n, ...].
    aggregate: (seen [S, n, ...], member [S, n], population [S, m, ...] or None) -> what all shadows have in common.
    fit:       (aggregate, models to leave out, tuple) -> fitted.
    score:     (fitted, seen [n, ...], population [m, ...] or None: the same target's) -> [n]; larger = more likely a
               member.
    needs:     of "in" and "out": sides without which nothing can be said.
    """

    read: Callable[..., Seen]
    aggregate: Callable[..., Any]
    fit: Callable[..., Any]
    score: Callable[..., np.ndarray]
    needs: frozenset[str]


class State(NamedTuple):
    """An attack fitted on all shadows, the target's population, and the boundary."""

    fitted: Any
    population: Seen | None  # of the target
    boundary: float


def attack(steps: Steps, *, augment: Augment | None = None) -> Attack:
    """A per-example Attack, whose boundary is the best one for the shadows' own leave-one-out scores.

    With too few shadows to leave one out, each is scored with itself among its references. Where all records are on one
    side there is no boundary, NaN, and scores are as they are; ``fit`` takes one from elsewhere (``boundary=``).
    """

    def fit(key: Key, seen, member: Array, population=None, *, boundary: float | None = None) -> State:
        del key
        of_target, of_shadows = split_population(population)
        shadows = LeaveOneOut(steps, seen, member, of_shadows)
        if boundary is not None or shadows.one_sided:
            return State(shadows.fitted, of_target, np.nan if boundary is None else boundary)
        some = boundary_models(*shadows.member.shape)
        scores = {k: score for k in some if (score := shadows.score(k)) is not None}
        if not scores:
            scores = {k: steps.score(shadows.fitted, row(seen, k), row(of_shadows, k)) for k in some}
        member = np.concatenate([shadows.member[k] for k in scores])
        return State(shadows.fitted, of_target, best_threshold(np.concatenate([*scores.values()]), member))

    def score(state: State, seen) -> np.ndarray:
        return beyond(steps.score(state.fitted, seen, state.population), state.boundary)

    def on_shadows(seen, member: Array, population=None, as_target=None) -> np.ndarray:
        models = boundary_models(*np.shape(member))
        return shadow_scores(steps, seen, member, split_population(population)[1], as_target, models)

    properties = dict(per_example=True, shadow_scores=on_shadows)
    return from_answers(steps.read, fit, score, augment=augment, needs=steps.needs, **properties)


def shadow_scores(
    steps: Steps, seen, member: Array, population=None, as_target=None, models: Iterable[int] | None = None
) -> np.ndarray:
    """Leave-one-out over shadows: each as the target, the others less its partner as its shadows; without boundaries.

    What the models have in common is aggregated once, so all S targets cost little more than one.

    Args:
        steps: ``lira.steps()``, ``rmia.steps()``, ...
        seen: leaves [S, n, ...].
        member: bool [S, n].
        population: leaves [S, m, ...], or None.
        as_target: (seen, population) of a model while it is the target, where these differ from ``seen`` and
            ``population``: a target that rounds is attacked with shadows that do not.
        models: those that are left out in turn; by default all.

    Returns:
        float64 [S, n]; a row of NaN where too few models are left.

    Raises:
        InputError: no model has a side that the attack needs.
    """
    shadows = LeaveOneOut(steps, seen, member, population, as_target)
    out = np.full(shadows.member.shape, np.nan)
    for k in range(len(out)) if models is None else models:
        score = shadows.score(k)
        if score is not None:
            out[k] = score
    return out


class LeaveOneOut:
    """Shadows, each of which can be left out and scored against the others; arguments as of ``shadow_scores``."""

    def __init__(self, steps: Steps, seen, member: Array, population, as_target=None):
        self.steps, self.seen, self.population = steps, seen, population
        self.as_target = (seen, population) if as_target is None else as_target
        self.member = rows_of(member, bool)
        self.trained = np.array([np.count_nonzero(row) for row in self.member])  # records per model
        refuse_without(steps.needs, self.trained, self.member.shape[1])
        self.related = membership.related(self.member)
        self.lone = membership.unpaired(self.related)  # one may be the target's partner
        self.fixed_counts = membership.fixed_counts(self.member)
        self.aggregate = steps.aggregate(seen, self.member, population)
        self.fitted = self._fit_even(np.arange(len(self.member))) if self.fixed_counts else None
        if self.fitted is None:
            self.fitted = steps.fit(self.aggregate, tuple(self.lone))

    @property
    def one_sided(self) -> bool:
        """Whether all shadows trained on all records, or none on any."""
        return bool((self.trained == self.member.shape[1]).all() or not self.trained.any())

    def score(self, k: int) -> np.ndarray | None:
        """Model k's scores [n] against the others, or None where these lack a side that the attack needs."""
        gone = self.related[k].copy()
        gone[self.lone] = True
        models = np.flatnonzero(gone)
        if self.fixed_counts:
            fitted = self._fit_even(np.flatnonzero(~gone))
        else:
            left, inside = len(gone) - len(models), self.trained.sum() - self.trained[models].sum()
            lacks = self._lacks(inside == 0, inside == left * self.member.shape[1])
            fitted = None if left == 0 or lacks else self.steps.fit(self.aggregate, tuple(models))
        return None if fitted is None else self.steps.score(fitted, *(row(seen, k) for seen in self.as_target))

    def _fit_even(self, models: np.ndarray):
        """The fit to these models with as many on each side of every record; None where a side is lacking."""
        if not len(models):
            return None
        member = np.asarray(self.member[models])
        inside, outside = member.sum(axis=0).min(), (~member).sum(axis=0).min()
        if self._lacks(inside == 0, outside == 0) or inside + outside == 0:
            return None
        chosen = models[membership.draw_equal_counts(member)]  # [S', n]: of each record, the models that count
        every = {name: np.asarray(leaf) for name, leaf in self.seen.items()}
        seen = {name: np.take_along_axis(leaf, over(chosen, leaf), axis=0) for name, leaf in every.items()}
        population = None if self.population is None else {name: leaf[models] for name, leaf in self.population.items()}
        own = np.take_along_axis(np.asarray(self.member), chosen, axis=0)
        return self.steps.fit(self.steps.aggregate(seen, own, population), ())

    def _lacks(self, inside: bool, outside: bool) -> bool:
        """Whether the attack needs a side that is not there."""
        return bool(("in" in self.steps.needs and inside) or ("out" in self.steps.needs and outside))


def over(index: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """``index`` [S, n], beside leaves that may have axes more."""
    return index.reshape(*index.shape, *(1,) * (np.ndim(leaf) - 2))


def boundary_models(num_models: int, n: int) -> np.ndarray:
    """Models whose leave-one-out scores are enough to set the boundary: evenly spaced, four at least."""
    number = min(num_models, max(4, ROWS // max(n, 1)))
    return np.unique(np.linspace(0, num_models - 1, number).astype(int))


def split_population(population) -> tuple[Seen | None, Seen | None]:
    """What was seen of the population: of the target, leaves [m, ...], and of the shadows, leaves [S, m, ...]."""
    if population is None:
        return None, None
    return row(population, 0), {name: rows_of(leaf)[1:] for name, leaf in population.items()}


def refuse_without(needs: frozenset[str], trained: np.ndarray, n: int) -> None:
    """Raises InputError if a side ("in", "out") is needed that no shadow has; of n records ``trained`` [S] train it."""
    if "in" in needs and not trained.any():
        raise InputError("no shadow model trained on any of these records: this attack needs some that did")
    if "out" in needs and (trained == n).all():
        raise InputError("every shadow model trained on all of these records: this attack needs some that did not")


def row(seen, k: int):
    """What was observed of model k, of leaves [S, ...]."""
    return None if seen is None else {name: leaf[k] for name, leaf in seen.items()}
