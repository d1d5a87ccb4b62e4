"""Model-based synthesis: Shokri et al. 2017, section V-C, Algorithm 1. Needs a schema and the target's answers.

The algorithm itself is in ``step.py``, as one step of many searches; here it is run: against a target inside ``jit`` a
block of steps at a time, against a host target step by step, within a budget, with a state that can be saved.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.synthesis import attributes as attrs
from mia_jax.synthesis.parameters import REDRAWS, Parameters
from mia_jax.synthesis.step import Results, Searches, begin, propose, update
from mia_jax.targets.black_box import BudgetSpent
from mia_jax.types import Array, InputError, Key, Records, Sampler, Schema, Target

PRIOR_QUERIES = 4096  # that the shares of the classes in the target's answers cost, before a search by them
_WIDE = 256  # searches from which on it pays to compile the search again for fewer


class State(NamedTuple):
    """A search between two blocks of steps: arrays only, so that it can be saved; ``search(state=...)`` goes on."""

    root: Array  # [2] uint32, made from the key
    searches: Searches
    results: Results
    queries: np.ndarray | np.int64  # [] int64, so far


class SynthesisInfo(NamedTuple):
    """How a search went; the records it speaks of are those returned, n of them."""

    queries: int  # all of them, failed searches included
    queries_per_record: float  # queries / n; infinite without records
    cost: np.ndarray  # [n] int32: queries of the search that found the record
    confidence: np.ndarray  # [n] float32: the target's in the record's class, when it was sampled
    accepted: np.ndarray  # [c] int: records found
    failed: np.ndarray  # [c] int: searches that ended after iter_max queries
    given_up: tuple[int, ...]  # classes that failed give_up times in a row: their records went to other classes
    exhausted: bool  # the query budget ended before the last record was found


# --- the whole search ------------------------------------------------------------------------------------------------


def search(
    key: Key,
    target: Target,
    schema: Schema,
    num_records: int,
    *,
    class_prior: Array | None = None,
    k_max: int = Parameters().k_max,
    k_min: int = Parameters().k_min,
    conf_min: float = Parameters().conf_min,
    rej_max: int = Parameters().rej_max,
    iter_max: int = Parameters().iter_max,
    give_up: int = Parameters().give_up,
    redraw: str = "random",
    searches: int | None = None,
    max_queries: int | None = None,
    on_step: Callable[[State], None] | None = None,
    state: State | None = None,
    block: int = 64,
) -> tuple[Records, SynthesisInfo]:
    """Synthesize records by asking the target alone (Algorithm 1).

    A record depends on the key, its number and its class, not on ``searches`` or ``block``, as long as no class is
    given up and the budget lasts. Binary and pixel records come back as uint8, others as float32.

    Args:
        key: of everything random.
        target: the black box. Asked inside ``jit`` where it may be; otherwise once per step, with one row for every
            search that goes on.
        schema: what the adversary knows of a record.
        num_records: n, wanted.
        class_prior: [c] non-negative, shares of the classes among the n; None: balanced.
        k_max, k_min, conf_min, rej_max, iter_max: the paper's names. Its values are not known to us; of those tried,
            these cost the fewest queries per record on simulated Purchase-100: about 200. The paper needed 156.
        give_up: after this many failed searches in a row, without a record in between, a class is given up and its
            records go to the other classes.
        redraw: how the k features change that are chosen: "random", to a uniform value, which for a bit may be the one
            it had; or "flip", bits to the other value and categories to another one (numbers and pixels to a uniform
            value), which is what second-hand accounts say that the paper does (?).
        searches: r, searches side by side; fewer where the budget could not pay for a whole search in each. None: an
            eighth of n, from 64 to 1,024, as more of them would be idle while the last records are found.
        max_queries: never exceeded; the search then returns what it has.
        on_step: called with the state between blocks of steps, on the host. Its arrays live until the call returns:
            ``jax.device_get`` keeps them.
        state: such a state, to go on from; with the same other arguments the result has the same bytes as without the
            interruption.
        block: steps in one call, for a traced target; a host target is asked step by step.

    Returns:
        (Records, SynthesisInfo): n records, or fewer if the budget ended or every class was given up.

    Raises:
        InputError: arguments that cannot work, before the first query.
    """
    searches = min(1024, max(64, num_records // 8)) if searches is None else searches
    p = Parameters(k_max, k_min, conf_min, rej_max, iter_max, give_up)
    _check_parameters(p, redraw)
    _check_positive(num_records=num_records, searches=searches, block=block)
    if max_queries is not None and max_queries < 0:
        raise InputError(f"max_queries is {max_queries}; give a number of queries, or None for no limit")
    prior = _normalized(class_prior, schema.num_classes)
    a = attrs.attributes(schema)
    root = np.asarray(jax.random.bits(key, (2,), np.uint32))
    budget = np.iinfo(np.int64).max if max_queries is None else max_queries
    p = _of_attributes(p, a)
    if state is None:
        r = max(1, min(searches, num_records, budget // iter_max))
        state = _start(p, a, root, prior, num_records, r)
    else:
        _check_state(state, root, (num_records, len(a.of)), schema.num_classes)
    advance = _traced(schema, target, redraw, block) if target.traced else _host(schema, target, redraw)
    step = functools.partial(advance, p, prior.astype(np.float32), root)
    state, exhausted = _advanced(step, state, budget, on_step, narrow=target.traced)  # it answers idle searches, too
    return _result(a, state, prior, exhausted)


def _of_attributes(p: Parameters, a: attrs.Attributes) -> Parameters:
    """No more features redrawn than records have attributes; every value of a fixed width."""
    p = p._replace(k_max=min(p.k_max, a.count), k_min=min(p.k_min, a.count))
    return jax.tree.map(lambda value: np.float32(value) if isinstance(value, float) else np.int32(value), p)


def _check_state(state: State, root: np.ndarray, shape: tuple[int, int], classes: int) -> None:
    """Refuse a saved search for another key, other records [n, f] or classes. Raises InputError."""
    results = state.results
    if not np.array_equal(state.root, root) or (*results.x.shape, len(results.failed)) != (*shape, classes):
        raise InputError("the saved search was for another key, schema or number of records; start a new one")


def _advanced(
    step: Callable[[tuple[Searches, Results], int], tuple[tuple[Searches, Results], Array]],
    state: State,
    budget: int,
    on_step: Callable[[State], None] | None,
    *,
    narrow: bool,
) -> tuple[State, bool]:
    """The state when all records are found or the budget ends, and whether it did.

    Args:
        step: ((searches, results), queries left) -> (the same later, queries asked); one step, or a block of them.
        state: to begin with.
        budget: queries, those of ``state`` among them.
        on_step: told of each new state.
        narrow: leave out searches that are idle for good.
    """
    inner: tuple[Searches, Results] = jax.tree.map(jnp.array, (state.searches, state.results))  # a block overwrites it
    num_records = len(state.results.done)

    def unfinished() -> bool:
        return bool((np.asarray(state.searches.slot) < num_records).any())

    exhausted = False
    while not exhausted and unfinished():
        left = min(budget - int(state.queries), np.iinfo(np.int32).max)
        try:
            inner, queries = step(inner, left)
        except BudgetSpent:
            exhausted = True
            continue
        if narrow:
            inner = _narrowed(*inner)
        state = State(state.root, *inner, state.queries + np.int64(queries))
        exhausted = left == int(queries) and unfinished()
        if on_step is not None:
            on_step(state)
    return state, exhausted


def sampler(target: Target, schema: Schema, *, class_prior: Array | str | None = None, **options) -> Sampler:
    """``search`` as a Sampler: (key, n) -> (Records, SynthesisInfo).

    Args:
        target, schema: as of ``search``.
        class_prior: [c], as of ``search``, or "target": the shares that ``answered`` finds, with its queries on top.
        options: those of ``search``.

    Raises:
        InputError: ``class_prior`` is another word; the sampler, as ``search``.
    """
    if isinstance(class_prior, str) and class_prior not in ("target", "balanced"):
        raise InputError(f"class_prior is {class_prior!r}; use 'balanced', 'target', or {schema.num_classes} shares")

    def sample(key: Key, n: int) -> tuple[Records, SynthesisInfo]:
        if not isinstance(class_prior, str):
            return search(key, target, schema, n, class_prior=class_prior, **options)
        prior = None if class_prior == "balanced" else answered(jax.random.fold_in(key, 1), target, schema)
        return search(key, target, schema, n, class_prior=prior, **options)

    return sample


def answered(
    key: Key, target: Target, schema: Schema, num_queries: int = PRIOR_QUERIES, *, batch: int = 1024
) -> np.ndarray:
    """The shares of the classes in the target's answers about random records: a ``class_prior`` that follows it.

    Args:
        key, target, schema: as for ``search``.
        num_queries: random records asked about.
        batch: of them at a time.

    Returns:
        float64 [c], the mean of the answered probabilities.
    """
    a = attrs.attributes(schema)
    draw = jax.jit(jax.vmap(lambda row: attrs.draw(a, jax.random.fold_in(key, row))))
    ask = jax.jit(target.ask) if target.traced else target.ask
    total = np.zeros(schema.num_classes)
    for start in range(0, num_queries, batch):
        rows = np.arange(start, start + batch, dtype=np.uint32)
        x = np.asarray(draw(rows)).reshape(-1, *a.shape)[: num_queries - start]
        total += np.exp(np.asarray(ask(x), np.float64)).sum(0)
    return total / total.sum()


def _check_parameters(p: Parameters, redraw: str) -> None:
    """Refuse parameters that cannot work. Raises InputError."""
    _check_positive(k_max=p.k_max, k_min=p.k_min, iter_max=p.iter_max, give_up=p.give_up)
    if redraw not in REDRAWS:
        raise InputError(f"redraw={redraw} is not one of {', '.join(REDRAWS)}")
    if p.k_min > p.k_max:
        raise InputError(f"k_min={p.k_min} must not be above k_max={p.k_max}: steps only get smaller")
    if p.rej_max < 0 or not 0 <= p.conf_min < 1:
        raise InputError(f"rej_max={p.rej_max} must be at least 0, and conf_min={p.conf_min} from 0 to below 1")


def _check_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")


def _normalized(class_prior: Array | None, classes: int) -> np.ndarray:
    """Shares [c] that sum to 1; None: the same for all. Raises InputError where they are none."""
    prior = np.ones(classes) if class_prior is None else np.asarray(class_prior, np.float64)
    if prior.shape != (classes,) or not np.isfinite(prior).all() or (prior < 0).any() or not prior.any():
        raise InputError(f"class_prior must be {classes} shares, none negative and not all zero")
    return prior / prior.sum()


def wanted_classes(prior: np.ndarray, n: int) -> np.ndarray:
    """Classes [n] int32 with the shares of the prior [c], to the nearest record, spread evenly over the n places."""
    share = prior * n
    counts = np.floor(share).astype(int)
    counts[np.argsort(counts - share, kind="stable")[: n - counts.sum()]] += 1
    y = np.repeat(np.arange(len(prior)), counts)
    place = (np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[y]
    return y[np.argsort(place, kind="stable")].astype(np.int32)


def _start(p: Parameters, a: attrs.Attributes, root: np.ndarray, prior: np.ndarray, n: int, r: int) -> State:
    f, c = len(a.of), len(prior)
    y = jnp.asarray(wanted_classes(prior, n))
    searches = jax.jit(begin)(p, root, jnp.arange(r), jnp.zeros(r, jnp.int32), y, jnp.zeros((r, f), a.dtype))
    zeros, row = jnp.zeros(c, jnp.int32), jnp.zeros(n, jnp.int32)
    results = Results(
        x=jnp.zeros((n, f), a.dtype),
        y=y,
        done=row.astype(bool),
        confidence=row.astype(jnp.float32),
        cost=row,
        next=jnp.int32(r),
        failed=zeros,
        in_a_row=zeros,
        given_up=jnp.asarray(prior == 0),
    )
    return State(root, searches, results, np.int64(0))


def _narrowed(searches: Searches, results: Results) -> tuple[Searches, Results]:
    """An eighth of the searches, once the others are idle for good: the last records are not worth whole batches."""
    idle = np.asarray(searches.slot) >= len(results.done)
    few = len(idle) // 8
    if len(idle) < _WIDE or (~idle).sum() > few:
        return searches, results
    kept = np.argsort(idle, kind="stable")[:few]
    return jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)[kept]), searches), results


@functools.lru_cache(maxsize=8)  # compiled once for a target, whatever the key and the parameters
def _traced(schema: Schema, target: Target, redraw: str, block: int):
    """A block of steps in one jitted call, ended early where nothing is wanted or left."""
    a = attrs.attributes(schema)

    def more(carry):
        t, (searches, results), left = carry
        return (t < block) & (left > 0) & (searches.slot < len(results.done)).any()

    @functools.partial(jax.jit, donate_argnums=3)
    def advance(p, prior, root, inner, left):
        def step(carry):
            t, (searches, results), left = carry
            proposal = propose(a, searches, len(results.done), left, redraw)
            log_p = target.ask(proposal.x.reshape(-1, *a.shape))
            return t + 1, update(p, prior, root, searches, results, proposal, log_p), left - proposal.asked.sum()

        _, inner, rest = jax.lax.while_loop(more, step, (jnp.int32(0), inner, left))
        return inner, left - rest

    return lambda p, prior, root, inner, left: advance(p, prior, root, inner, jnp.int32(left))


def _host(schema: Schema, target: Target, redraw: str):
    """One step: a batch of questions to the host between two jitted calls."""
    a, proposing, updating = _around_host(schema, redraw)

    def advance(p, prior, root, inner, left):
        searches, results = inner
        proposal = proposing(searches, results, jnp.int32(left))
        asked = np.asarray(proposal.asked)
        log_p = np.full((len(asked), target.answers.classes), -np.inf, np.float32)
        if asked.any():
            log_p[asked] = np.asarray(target.ask(np.asarray(proposal.x)[asked].reshape(-1, *a.shape)))
        return updating(p, prior, root, searches, results, proposal, log_p), asked.sum()

    return advance


@functools.lru_cache(maxsize=8)
def _around_host(schema: Schema, redraw: str):
    a = attrs.attributes(schema)
    proposing = jax.jit(lambda searches, results, left: propose(a, searches, len(results.done), left, redraw))
    return a, proposing, jax.jit(update, donate_argnums=(3, 4))


def _result(a: attrs.Attributes, state: State, prior: np.ndarray, exhausted: bool) -> tuple[Records, SynthesisInfo]:
    results = jax.tree.map(np.asarray, state.results)
    done, c = results.done, len(results.failed)
    records = Records(results.x[done].reshape(-1, *a.shape), results.y[done])
    info = SynthesisInfo(
        queries=int(state.queries),
        queries_per_record=int(state.queries) / done.sum() if done.any() else float("inf"),
        cost=results.cost[done],
        confidence=results.confidence[done],
        accepted=np.bincount(records.y, minlength=c),
        failed=results.failed,
        given_up=tuple(int(i) for i in np.flatnonzero(results.given_up & (prior > 0))),
        exhausted=exhausted,
    )
    return records, info
