"""Many training runs at once: ``vmap`` over a Trainer, in chunks, distributed over the local devices.

Epochs run in a host loop, steps in ``scan``, networks under ``vmap``. A network's random numbers depend on its own key
alone, so results do not depend on how many are trained, how many at once, or on how many devices.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.training import parallel
from mia_jax.types import Array, EpochInfo, Key, Params, Records, Trainer, TrainState


def fit_chunks(
    trainer: Trainer,
    keys: Key,
    pool: Records,
    index: Array,
    num_epochs: int,
    *,
    chunk: int | None = None,
    lanes: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    on_epoch: Callable[[slice, int, EpochInfo], None] | None = None,
    stopped: Callable[[TrainState], Array] | None = None,
) -> Iterator[tuple[slice, Params, EpochInfo]]:
    """Train S networks, some at once, and give each chunk away as soon as it is trained.

    Where the memory ends, the chunk is halved, with a warning, and begun anew. A network may diverge: ``diverged``
    tells which did. A chunk all of whose networks' losses have ceased to be finite ends there.

    Args:
        trainer: of one network.
        keys: [S]; or what else the trainer's ``init`` takes in the place of a key, a tree with leaves [S, ...].
        pool: records [N].
        index: int32 [S, m], the training set of each network in the pool; -1 is no record.
        num_epochs: passes over the training set.
        chunk: networks at once, over all devices; None: see ``choose_chunk``.
        lanes: networks per compiled program; None: ``parallel.LANES`` on CPUs, elsewhere the device's share of the
            chunk. The last bits of results depend on it.
        devices: by default ``jax.local_devices()``.
        on_epoch: told (chunk, epochs done, EpochInfo with leaves [k]) while the next epoch runs.
        stopped: (state of one network) -> bool []: whether further epochs will change nothing, neither the network nor
            the EpochInfo (``regularizers.stopped``). A chunk ends when all of its networks have stopped; the EpochInfo
            of the epochs that it was spared is that of the last.

    Yields:
        slice of S, parameters with NumPy leaves [k, ...], EpochInfo with NumPy leaves [k, num_epochs].

    Raises:
        parallel.OutOfMemory: two networks at once are too much.
    """
    local = tuple(devices or jax.local_devices())
    total = len(index)
    if chunk is None:
        chunk = choose_chunk(trainer, pool, index, local) if lanes is None else total
    pools = parallel.copies(Records(pool.x, pool.y), local)
    notify = on_epoch or (lambda part, epochs, info: None)

    def fit(part: slice, at_once: int) -> tuple[Params, EpochInfo]:
        some = jax.tree.map(lambda leaf: leaf[part], (keys, np.asarray(index, np.int32)))
        width = parallel.lanes_per_program(at_once, lanes, local)
        distributed = zip(*(parallel.distribute(each, width, local) for each in some), strict=True)
        shares = [_Share(own, rows, pools[i % len(pools)]) for i, (own, rows) in enumerate(distributed)]
        return _fit_chunk(trainer, shares, num_epochs, part, notify, stopped)

    for part, (params, history) in parallel.in_chunks(fit, total, chunk, least=lanes or parallel.LANES):
        yield part, params, history


class _Share(NamedTuple):
    """What one program trains, on its device."""

    keys: Key  # [lanes]
    index: jax.Array  # int32 [lanes, m]
    pool: Records  # [N]


def _fit_chunk(
    trainer: Trainer,
    shares: Sequence[_Share],
    num_epochs: int,
    part: slice,
    on_epoch: Callable[[slice, int, EpochInfo], None],
    stopped: Callable[[TrainState], Array] | None,
) -> tuple[Params, EpochInfo]:
    """Parameters [k, ...] and EpochInfo [k, num_epochs] of the networks of one chunk, in shares of the programs."""
    k = part.stop - part.start
    init, epoch = parallel.program(trainer.init, (0, None)), parallel.program(trainer.epoch, (0, None, 0), donate=(0,))
    states = [init(share.keys, share.pool.x[:1]) for share in shares]
    infos: list[tuple[EpochInfo, ...]] = []  # by epoch, then by program
    halted: list[list[jax.Array]] = []
    for e in range(num_epochs):
        done = [epoch(state, share.pool, share.index) for state, share in zip(states, shares, strict=True)]
        states, info = zip(*done, strict=True)
        infos.append(info)
        if stopped is not None:
            halted.append([parallel.program(stopped, (0,))(state) for state in states])
        if e > 0:  # read while this epoch runs
            last = parallel.gather(infos[e - 1], k)
            on_epoch(part, e, last)
            if not np.isfinite(last.loss).any():
                break
            if stopped is not None and all(np.all(flags) for flags in halted[e - 1]):
                break
    ran = len(infos)
    infos += [infos[-1]] * (num_epochs - ran)
    history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *(parallel.gather(info, k) for info in infos))
    for e in range(ran - 1, num_epochs):
        on_epoch(part, e + 1, jax.tree.map(lambda leaf, e=e: leaf[:, e], history))
    return parallel.gather([state.params for state in states], k), history


def fit_many(
    trainer: Trainer,
    keys: Key,
    pool: Records,
    index: Array,
    num_epochs: int,
    *,
    chunk: int | None = None,
    lanes: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    on_epoch: Callable[[slice, int, EpochInfo], None] | None = None,
    stopped: Callable[[TrainState], Array] | None = None,
) -> tuple[Params, EpochInfo]:
    """Train S networks: ``fit_chunks``, whose arguments these are, put together.

    Args:
        trainer: of one network, as ``make_trainer`` makes it.
        keys: [S], as of ``jax.random.split``; each network depends on its own alone.
        pool: records [N].
        index: int32 [S, m], the training set of each network in the pool; -1 is no record.
        num_epochs: passes over the training set.
        chunk: networks at once, over all devices; None: see ``choose_chunk``.
        lanes: networks per compiled program; None: ``parallel.LANES`` on CPUs.
        devices: by default ``jax.local_devices()``.
        on_epoch: told (chunk, epochs done, EpochInfo with leaves [k]).
        stopped: (state of one network) -> bool []: whether further epochs will change nothing.

    Returns:
        Parameters with NumPy leaves [S, ...], EpochInfo (nats, and accuracies in [0, 1]) with leaves [S, num_epochs].
        Of a network that ``diverged`` both may be NaN.

    Raises:
        parallel.OutOfMemory: two networks at once are too much.

    >>> import jax, numpy as np, optax, mia_jax as mia
    >>> records = mia.Records(np.eye(6, dtype=np.float32), np.arange(6) % 3)
    >>> trainer = mia.make_trainer(mia.models.mlp(num_classes=3), optax.adam(1e-2), batch_size=4)
    >>> index = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])  # two networks, each trained on four of the records
    >>> params, info = mia.fit_many(trainer, jax.random.split(jax.random.key(0), 2), records, index, num_epochs=50)
    >>> info.accuracy.shape, info.accuracy[:, -1].tolist()
    ((2, 50), [1.0, 1.0])
    """
    chunks = fit_chunks(
        trainer,
        keys,
        pool,
        index,
        num_epochs,
        chunk=chunk,
        lanes=lanes,
        devices=devices,
        on_epoch=on_epoch,
        stopped=stopped,
    )
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *((params, info) for _, params, info in chunks))


def diverged(params: Params, loss: Array) -> np.ndarray:
    """The epoch, counted from 1, at which each network ceased to be one of finite numbers, int [S]; 0: it did not.

    Args:
        params: leaves [S, ...].
        loss: [S, epochs], of each epoch. A network whose losses are finite and whose parameters are not diverged in
            the last epoch.
    """
    loss = np.asarray(loss)
    wrong = ~np.isfinite(loss)
    for leaf in jax.tree.leaves(params):
        finite = np.isfinite(np.asarray(leaf, np.float32)).reshape(len(loss), -1)
        wrong[:, -1:] |= ~finite.all(axis=1, keepdims=True)
    return np.where(wrong.any(axis=1), wrong.argmax(axis=1) + 1, 0)


def choose_chunk(trainer: Trainer, pool: Records, index: Array, devices: Sequence[jax.Device]) -> int:
    """How many networks to train at once, of the index [S, m].

    On CPUs a program per device: more are not faster, and a chunk is what an interruption costs. Elsewhere as many as
    fit half of the device's free memory.
    """
    total, stats = len(index), devices[0].memory_stats()
    if stats is None:
        return parallel.LANES * len(devices)
    free = stats["bytes_limit"] - stats["bytes_in_use"] - sum(leaf.nbytes for leaf in pool)
    fit = int(free / 2 // lane_bytes(trainer, pool, index.shape[1]))
    return min(total, max(1, fit) * len(devices))


def lane_bytes(trainer: Trainer, pool: Records, m: int) -> int:
    """Bytes that training one more network takes on a device: its state, twice, and its work space.

    Compiles the training of two networks to find out.
    """
    records = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), pool)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    state = jax.eval_shape(
        lambda keys: jax.vmap(trainer.init, (0, None))(keys, jnp.zeros((1, *pool.x.shape[1:]), pool.x.dtype)), keys
    )
    index = jax.ShapeDtypeStruct((2, m), np.int32)
    compiled = jax.jit(jax.vmap(trainer.epoch, (0, None, 0))).lower(state, records, index).compile()
    memory = compiled.memory_analysis()
    assert memory is not None, "devices that say how much memory they have say how much a program takes"
    return (memory.temp_size_in_bytes + 2 * memory.output_size_in_bytes) // 2
