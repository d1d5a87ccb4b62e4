"""One training run as a pure function; many by ``vmap``, in chunks, sharded over every local device.

``make_trainer`` writes the training of one network. ``fit_chunks`` and ``fit_many`` train many: epochs in a host loop,
steps in ``scan``, models under ``vmap``. A model's random numbers depend on its own key alone, so results do not depend
on how many are trained, how many at once, or on how many devices.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mia_jax.types import Array, EpochInfo, Key, Model, Params, Records, Trainer, TrainState

Loss = Callable[[jax.Array, jax.Array], jax.Array]


# --- one network -----------------------------------------------------------------------------------------------------

# On a CPU, what the backward pass remembers of the forward pass should stay in the cache: the CNN trains twice as fast
# in microbatches of 3 records as in one batch of 100 (benchmarks/README.md).
CACHE_BYTES = 2**22


def make_trainer(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    *,
    loss: Loss = optax.softmax_cross_entropy_with_integer_labels,
    microbatch: int | None = None,
) -> Trainer:
    """Minibatch training of one network.

    Every epoch takes the records of the training set in a new order, each exactly once. The last batch may be smaller:
    it is padded with records of weight zero. Rows are gathered from the pool and cast batch by batch.

    Args:
        model: init and apply.
        optimizer: with everything that belongs to it: decay, L2, clipping.
        batch_size: b, records per step.
        loss: (logits [b, c], y [b]) -> [b], of which a step minimises the mean.
        microbatch: records whose activations exist at once; the gradients of a batch's microbatches are added up, so it
            changes results by rounding only (and what dropout draws). None: on CPUs as many as fit the cache, elsewhere
            the batch.

    Returns:
        A Trainer. The index [m] that its epoch takes may hold -1 for "no record": m records padded with -1 train the
        same network as m records without.
    """

    def init(key: Key, x: Array) -> TrainState:
        key_params, key_epochs = jax.random.split(key)
        params = model.init(key_params, x[:1])
        return TrainState(params, optimizer.init(params), key_epochs, jnp.int32(0))

    def sums(params: Params, x: jax.Array, y: jax.Array, weight: jax.Array, key: Key) -> tuple[jax.Array, jax.Array]:
        """Loss and correct answers, summed over the records."""
        logits = model.apply(params, x, key=key)
        return weight @ loss(logits, y), weight @ (jnp.argmax(logits, axis=-1) == y)

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        key_order, key_steps = jax.random.split(jax.random.fold_in(state.key, state.epoch))
        order = _shuffled(key_order, index)
        part = microbatch or _microbatch(sums, state.params, pool, batch_size)
        batches = _padded_to(_padded_to(order, batch_size).reshape(-1, batch_size), part)
        batches = batches.reshape(len(batches), -1, part)  # [steps, microbatches, records]

        def gradient(params, rows, key):
            """The gradient of the summed loss, and the sums."""
            x, y, weight = pool.x[rows], pool.y[rows], (rows >= 0).astype(jnp.float32)
            (total, correct), vjp = jax.vjp(lambda params: sums(params, x, y, weight, key), params)
            return vjp((jnp.ones_like(total), jnp.zeros_like(correct)))[0], total, correct

        def step(carry, at):
            params, opt_state = carry
            t, rows = at
            keys = jax.random.split(jax.random.fold_in(key_steps, t), len(rows))
            added = gradient(params, rows[0], keys[0])
            if len(rows) > 1:
                added, _ = jax.lax.scan(
                    lambda added, some: (jax.tree.map(jnp.add, added, gradient(params, *some)), None),
                    added,
                    (rows[1:], keys[1:]),
                )
            grads, total, correct = added
            count = (rows >= 0).sum()
            grads = jax.tree.map(lambda g: g / jnp.maximum(count, 1), grads)
            updates, new_opt_state = optimizer.update(grads, opt_state, params)
            new = (optax.apply_updates(params, updates), new_opt_state)
            # A batch without a record is no step: momentum would move the parameters even so.
            return jax.tree.map(lambda a, b: jnp.where(count > 0, a, b), new, carry), (total, correct)

        carry = (state.params, state.opt_state)
        (params, opt_state), totals = jax.lax.scan(step, carry, (jnp.arange(len(batches)), batches))
        count = jnp.maximum((index >= 0).sum(), 1)
        info = EpochInfo(*(t.sum() / count for t in totals))
        return TrainState(params, opt_state, state.key, state.epoch + 1), info

    return Trainer(init, epoch)


def _shuffled(key: Key, index: Array) -> jax.Array:
    """The index [m] in random order; -1 comes last."""
    # Random bits of position i depend on the key and i alone, so the order of the records does not depend on padding.
    bits = jax.random.bits(key, index.shape, jnp.uint32) >> 1
    return jnp.asarray(index, jnp.int32)[jnp.argsort(jnp.where(index >= 0, bits, jnp.uint32(2**31)))]


def _padded_to(rows: jax.Array, multiple: int) -> jax.Array:
    """The last axis, padded with -1 to a multiple."""
    padding = [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % multiple)]
    return jnp.pad(rows, padding, constant_values=-1)


def _microbatch(sums: Callable, params: Params, pool: Records, batch_size: int) -> int:
    """Records whose residuals (what the backward pass remembers of the forward pass) fit the cache."""
    if jax.default_backend() != "cpu":
        return batch_size

    def residual_bytes(n):
        x, y = (jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype) for leaf in pool)
        weight = jax.ShapeDtypeStruct((n,), np.float32)
        key = jax.random.key(0)
        kept = jax.eval_shape(lambda p, x, y, w: jax.vjp(lambda p: sums(p, x, y, w, key), p)[1], params, x, y, weight)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))

    per_record = residual_bytes(2) - residual_bytes(1)
    parts = math.ceil(batch_size * per_record / CACHE_BYTES)
    return math.ceil(batch_size / max(1, parts))


def predict(model: Model, params: Params, x: Array, *, batch_size: int = 1024) -> jax.Array:
    """Log-probabilities, float32 [n, c], of records [n, *f]; the memory of one batch of activations at a time."""
    n = len(x)
    batch_size = max(1, min(batch_size, n))
    x = jnp.asarray(x)
    rows = jnp.minimum(jnp.arange(-(-n // batch_size) * batch_size), n - 1).reshape(-1, batch_size)
    log_p = jax.lax.map(lambda rows: jax.nn.log_softmax(model.apply(params, x[rows])), rows)
    return log_p.reshape(-1, log_p.shape[-1])[:n]


# --- many networks ---------------------------------------------------------------------------------------------------


def spread(fn: Callable, *, in_axes: int | Sequence = 0, devices: Sequence[jax.Device] | None = None) -> Callable:
    """``jit(vmap(fn))`` over a leading axis that is sharded over every local device.

    The axis is padded with copies of its first element to a whole number of lanes per device, and at least two: a
    batch dimension of one is compiled away, and results would differ in the last bits. Padding is cut off the results.

    Args:
        fn: pure function of arrays.
        in_axes: as of ``vmap``: 0 for arguments that are spread, None for arguments that all share. Shared arguments
            are copied to each device at each call, unless ``replicate`` has put them there before.
        devices: by default ``jax.local_devices()``.

    Returns:
        A function of the same arguments, whose results have the leading axis.
    """
    devices = tuple(devices or jax.local_devices())

    def call(*args):
        axes = _axes(in_axes, args)
        lanes = len(jax.tree.leaves([a for a, axis in zip(args, axes, strict=True) if axis == 0])[0])
        width = _padded(lanes, len(devices))
        args = [a if axis is None else _widen(a, width) for a, axis in zip(args, axes, strict=True)]
        out = _shard(fn, axes, devices)(*_place(args, axes, devices))
        return jax.tree.map(lambda leaf: leaf[:lanes], out)

    return call


def replicate(tree, devices: Sequence[jax.Device] | None = None):
    """The arrays of a tree, on every device once: for arguments that many calls of a ``spread`` function share."""
    return jax.device_put(tree, NamedSharding(_mesh(devices or jax.local_devices()), PartitionSpec()))


def fit_chunks(
    trainer: Trainer,
    keys: Key,
    pool: Records,
    index: Array,
    num_epochs: int,
    *,
    chunk: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    on_epoch: Callable[[slice, int, EpochInfo], None] | None = None,
) -> Iterator[tuple[slice, Params, EpochInfo]]:
    """Train S networks, some at once, and give each chunk away as soon as it is trained.

    Args:
        trainer: of one network.
        keys: [S].
        pool: records [N].
        index: int32 [S, m], the training set of each network in the pool; -1 is no record.
        num_epochs: passes over the training set.
        chunk: networks at once, over all devices; None: see ``choose_chunk``.
        devices: by default ``jax.local_devices()``.
        on_epoch: told (chunk, epochs done, EpochInfo with leaves [k]) while the next epoch runs.

    Yields:
        slice of S, parameters with NumPy leaves [k, ...], EpochInfo with NumPy leaves [k, num_epochs].
    """
    devices = tuple(devices or jax.local_devices())
    total = len(index)
    if chunk is None:
        chunk = choose_chunk(trainer, pool, index, devices)
    width = _padded(min(chunk, total), len(devices))
    pool = replicate(Records(pool.x, pool.y), devices)
    init = _shard(trainer.init, (0, None), devices)
    epoch = _shard(trainer.epoch, (0, None, 0), devices, donate=(0,))
    for start in range(0, total, chunk):
        part = slice(start, min(start + chunk, total))
        k = part.stop - part.start
        wide = [_widen(a, width) for a in (keys[part], np.asarray(index[part], np.int32))]
        some_keys, some_index = _place(wide, (0, 0), devices)
        state = init(some_keys, pool.x[:1])
        infos: list[EpochInfo] = []
        for e in range(num_epochs):
            state, info = epoch(state, pool, some_index)
            infos.append(info)
            if on_epoch is not None and e > 0:
                on_epoch(part, e, _host(infos[e - 1], k))
        history = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *(_host(info, k) for info in infos))
        if on_epoch is not None:
            on_epoch(part, num_epochs, jax.tree.map(lambda leaf: leaf[:, -1], history))
        yield part, _host(state.params, k), history


def fit_many(*args, **kwargs) -> tuple[Params, EpochInfo]:
    """``fit_chunks``, put together: parameters with NumPy leaves [S, ...], EpochInfo with leaves [S, num_epochs]."""
    chunks = [(params, info) for _, params, info in fit_chunks(*args, **kwargs)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *chunks)


def choose_chunk(trainer: Trainer, pool: Records, index: Array, devices: Sequence[jax.Device]) -> int:
    """Networks at once.

    On CPUs 3 to 6 per device, whichever leaves the fewest lanes empty in the last chunk: more are not faster, and a
    chunk is what an interruption costs. Elsewhere as many as fit half of the device's free memory.
    """
    total, stats = len(index), devices[0].memory_stats()
    if stats is None:
        return min((math.ceil(total / (k * len(devices))) * k, k) for k in (3, 4, 5, 6))[1] * len(devices)
    free = stats["bytes_limit"] - stats["bytes_in_use"] - sum(leaf.nbytes for leaf in pool)
    fit = int(free / 2 // lane_bytes(trainer, pool, index.shape[1]))
    return min(total, max(1, fit) * len(devices))


def lane_bytes(trainer: Trainer, pool: Records, m: int) -> int:
    """Bytes that training one more network takes on a device: its state, twice, and its work space.

    Compiles the training of two networks to find out.
    """
    x, y = (jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in pool)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    state = jax.eval_shape(
        lambda keys: jax.vmap(trainer.init, (0, None))(keys, jnp.zeros((1, *x.shape[1:]), x.dtype)), keys
    )
    index = jax.ShapeDtypeStruct((2, m), np.int32)
    compiled = jax.jit(jax.vmap(trainer.epoch, (0, None, 0))).lower(state, Records(x, y), index).compile()
    memory = compiled.memory_analysis()
    return (memory.temp_size_in_bytes + 2 * memory.output_size_in_bytes) // 2


# --- lanes -----------------------------------------------------------------------------------------------------------


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.array(devices), ("lanes",))


def _axes(in_axes: int | Sequence, args: Sequence) -> tuple:
    return (in_axes,) * len(args) if isinstance(in_axes, int) else tuple(in_axes)


def _padded(lanes: int, num_devices: int) -> int:
    return num_devices * max(2, math.ceil(lanes / num_devices))


def _widen(tree, width: int):
    """Leaves [k, ...] as [width, ...]: the first element fills up."""
    rows = np.arange(width)

    def widen(leaf):
        return leaf if len(leaf) == width else leaf[np.where(rows < len(leaf), rows, 0)]

    return jax.tree.map(widen, tree)


def _place(args: Sequence, axes: Sequence, devices: Sequence[jax.Device]) -> list:
    mesh = _mesh(devices)
    return [jax.device_put(a, NamedSharding(mesh, _spec(axis))) for a, axis in zip(args, axes, strict=True)]


def _spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec("lanes")


@functools.lru_cache(maxsize=64)
def _shard(fn: Callable, axes: tuple, devices: tuple, donate: tuple = ()) -> Callable:
    sharded = jax.shard_map(
        jax.vmap(fn, in_axes=tuple(axes)),
        mesh=_mesh(devices),
        in_specs=tuple(_spec(axis) for axis in axes),
        out_specs=PartitionSpec("lanes"),
        check_vma=False,
    )
    return jax.jit(sharded, donate_argnums=donate)


def _host(tree, lanes: int):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:lanes], tree)
