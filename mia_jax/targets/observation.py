"""Observe every shadow as the target will be observed (Shokri et al. 2017, section V).

An observer is ``(key, target, records [n]) -> seen``: an ``Attack``'s ``observe``. Several observers share one forward
pass: under one ``jit`` the compiler runs it once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import rows as by_rows
from mia_jax import signals
from mia_jax.training import parallel
from mia_jax.types import Array, Key, Params, Records, Seen, Target

Observer = Callable[[Key, Target, Records], Seen]
BLOCK = 2**18  # records that a network is asked about at once: more need more memory, and are no faster


def summary(key: Key, target: Target, records: Records) -> Seen:
    """What a report shows of any target: was it right, how sure was it (paper, section VI-E), [n] each."""
    del key
    log_p = target.ask(records.x)
    return {
        "correct": jnp.argmax(log_p, axis=-1) == jnp.asarray(records.y),
        "confidence": signals.confidence(log_p, records.y),
        "entropy": signals.normalized_entropy(log_p),
    }


def observe(key: Key, observers: Mapping[str, Observer], target: Target, records: Records) -> dict[str, Seen]:
    """What each observer sees of one target, leaves [n, ...]; a host is asked once for all that ask the same."""
    target = target if target.traced else target._replace(ask=_once(target.ask))
    return {name: observer(key, target, records) for name, observer in observers.items()}


def _once(ask: Callable[[Array], Array]) -> Callable[[Array], Array]:
    last: list[tuple[Array, Array]] = []

    def ask_once(x: Array) -> Array:
        if not last or last[0][0] is not x:
            last[:] = [(x, ask(x))]
        return last[0][1]

    return ask_once


@overload
def observe_shadows(
    key: Key,
    observers: Observer,
    to_target: Callable[[Params], Target],
    params: Params,
    pool: Records,
    index: Array | None = None,
    *,
    chunk: int = 8,
) -> Seen: ...


@overload
def observe_shadows(
    key: Key,
    observers: Mapping[str, Observer],
    to_target: Callable[[Params], Target],
    params: Params,
    pool: Records,
    index: Array | None = None,
    *,
    chunk: int = 8,
) -> dict[str, Seen]: ...


def observe_shadows(key, observers, to_target, params, pool, index=None, *, chunk=8):
    """What is seen of each of S networks: of shadows, and of a target that was trained beside them.

    Args:
        key: the same for shadows and target: what an observer draws for a record, it draws everywhere.
        observers: an observer, as an attack's ``observe``; or several, name -> observer, which share one forward pass.
        to_target: makes a traced Target of one network's parameters, with the defenses that the adversary expects.
        params: leaves [S, ...], as ``fit_many`` gives them.
        pool: records [N].
        index: int32 [S, n], the records that each network is asked about; None: all of the pool, n = N.
        chunk: networks on the devices at once.

    Returns:
        What the observer sees, NumPy leaves [S, n, ...]; of several, name -> seen.

    >>> import jax, numpy as np, mia_jax as mia
    >>> records = mia.Records(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]))
    >>> model = mia.models.logistic(2)
    >>> params = jax.vmap(model.init, (0, None))(jax.random.split(jax.random.key(0), 3), records.x)  # untrained
    >>> attack = mia.attack("loss", num_classes=2)
    >>> seen = mia.observe_shadows(
    ...     jax.random.key(1), attack.observe, lambda one: mia.as_target(model, one, 2), params, records
    ... )
    >>> jax.tree.map(np.shape, seen)
    {'log_p_y': (3, 4)}
    """
    if callable(observers):
        several = {"": observers}
        return observe_shadows(key, several, to_target, params, pool, index, chunk=chunk)[""]
    if index is None:
        index = np.broadcast_to(np.arange(len(pool.y), dtype=np.int32), (_models(params), len(pool.y)))

    def chosen(part: slice) -> Params:
        return jax.tree.map(lambda leaf: leaf[part], params)

    ask = asking(observers, to_target)
    seen = [some for _, some in observe_chunks(key, ask, chosen, pool, index, chunk=chunk)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *seen)


def asking(observers: Mapping[str, Observer], to_target: Callable[[Params], Target]) -> Callable[..., dict[str, Seen]]:
    """What ``observe_chunks`` calls for each chunk, made once: it is compiled for the first one.

    Args:
        observers, to_target: as of ``observe_shadows``.

    Returns:
        (params [k, ...], rows int32 [k, n], key, pool) -> name -> seen, NumPy leaves [k, n, ...].
    """

    def observe_one(params, rows, key, pool):
        return observe(key, observers, to_target(params), Records(pool.x[rows], pool.y[rows]))

    return parallel.spread(observe_one, in_axes=(0, 0, None, None))


def observe_chunks(
    key: Key,
    ask: Callable[..., dict[str, Seen]],
    params: Callable[[slice], Params],
    pool: Records,
    index: Array,
    *,
    chunk: int = 8,
    block: int = BLOCK,
) -> Iterator[tuple[slice, dict[str, Seen]]]:
    """``observe_shadows`` of some networks after others: of each chunk what is seen, and nothing of it is kept.

    Args:
        key, pool: as there.
        ask: of ``asking``.
        params: (a slice of the S networks) -> their parameters, leaves [k, ...].
        index: int32 [S, n].
        chunk: networks at once.
        block: records that they are asked about at once.

    Yields:
        slice of S, and name -> seen, NumPy leaves [k, n, ...].
    """
    pool = Records(*(jnp.asarray(leaf) for leaf in pool))

    def observe_part(part: slice, at_once: int):
        some, rows = params(part), index[part]
        seen = [
            jax.tree.map(np.asarray, ask(some, rows[:, records], key, pool))
            for records in by_rows.blocks(max(1, rows.shape[1]), block)
        ]
        return seen[0] if len(seen) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *seen)

    yield from parallel.in_chunks(observe_part, len(index), chunk)


def _models(params: Params) -> int:
    """S, of parameters with leaves [S, ...]."""
    return len(jax.tree.leaves(params)[0])
