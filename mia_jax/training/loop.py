"""One training run as a pure function; many by ``vmap``, in chunks, dealt out to every local device.

``make_trainer`` writes the training of one network. ``fit_chunks`` and ``fit_many`` train many: epochs in a host loop,
steps in ``scan``, models under ``vmap``. A model's random numbers depend on its own key alone, so results do not depend
on how many are trained, how many at once, or on how many devices.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.training import dense_gradients, parallel
from mia_jax.types import Array, EpochInfo, Key, Model, Params, Records, Trainer, TrainState

Loss = Callable[[jax.Array, jax.Array], jax.Array]
# (key, x [b, *f], y [b], real [b]) -> x and labels, a tuple of pairs of y [b] and the share of the loss that counts for
# it, [b] or one number for all: ((y, 1.0),) is y alone. Only the rows that are real may be mixed into others.
Augment = Callable[[Key, jax.Array, jax.Array, jax.Array], tuple[jax.Array, tuple]]


# --- one network -----------------------------------------------------------------------------------------------------

# On a CPU, what the backward pass remembers of the forward pass should stay in the cache: the CNN trains 1.5
# times as fast in microbatches of 4 records as in one batch of 100 (benchmarks/README.md).
CACHE_BYTES = 3 * 2**20


def make_trainer(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    *,
    loss: Loss = optax.softmax_cross_entropy_with_integer_labels,
    augment: Augment | None = None,
    microbatch: int | None = None,
) -> Trainer:
    """Minibatch training of one network.

    Every epoch takes the records of the training set in a new order, each exactly once. The last batch may be smaller:
    it is padded with records of weight zero. Rows are gathered from the pool and cast batch by batch.

    Args:
        model: init and apply.
        optimizer: with everything that belongs to it: decay, L2, clipping.
        batch_size: b, records per step.
        loss: (logits [b, c], y [b]) -> [b], of which a step minimizes the mean.
        augment: what a batch becomes before it is learned from: ``regularizers.mixing``, flips, ... The accuracy that
            is reported is that of the first labels it gives.
        microbatch: records whose activations exist at once (but what enters dense layers, whose gradient is one matmul
            per batch); the gradients of a batch's microbatches are added up, so it changes results by rounding only
            (and what dropout draws). None: on CPUs as many as fit the cache, elsewhere the batch.

    Returns:
        A Trainer. The index [m] that its epoch takes may hold -1 for "no record": m records padded with -1 train the
        same network as m records without.
    """

    def init(key: Key, x: Array) -> TrainState:
        key_params, key_epochs = jax.random.split(key)
        params = model.init(key_params, x[:1])
        return TrainState(params, optimizer.init(params), key_epochs, jnp.int32(0))

    def sums(params: Params, offsets: dict, x: jax.Array, y, weight: jax.Array, key: Key) -> tuple:
        """The losses, summed; correct answers, summed, and what enters the dense layers that have offsets.

        y [b], or what ``augment`` gives as labels.
        """
        logits, inputs = dense_gradients.apply(model, params, x, offsets, key)
        logits = full_precision(logits)
        labels = y if isinstance(y, tuple) else ((y, 1.0),)
        losses = sum(share * loss(logits, label) for label, share in labels)
        correct = weight @ (top_class(logits) == labels[0][0])
        return weight @ losses, (correct, inputs)

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        key_order, key_steps, key_augment = jax.random.split(jax.random.fold_in(state.key, state.epoch), 3)
        order = _shuffled(key_order, index)
        part = microbatch or _microbatch(sums, state.params, pool, batch_size)
        batches = _padded_to(_padded_to(order, batch_size).reshape(-1, batch_size), part)
        batches = batches.reshape(len(batches), -1, part)  # [steps, microbatches, records]
        some = jax.ShapeDtypeStruct((part, *pool.x.shape[1:]), pool.x.dtype)
        offsets = dense_gradients.offsets(model, state.params, some, key_steps) if part < batch_size else {}

        def augmented(key, rows):
            """The records of a batch's rows [microbatches, records], augmented all together."""
            flat = rows.reshape(-1)
            x, labels = augment(key, pool.x[flat], pool.y[flat], flat >= 0)
            batch = x, tuple((y, jnp.broadcast_to(jnp.asarray(share), y.shape)) for y, share in labels)
            return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), batch)

        def gradient(params, offsets, rows, batch, key):
            """Of a microbatch: the gradient of the summed loss, and the sums; and, for the dense layers that have
            offsets and so are left out of that gradient, their inputs and the gradients at their outputs."""
            x, y = (pool.x[rows], pool.y[rows]) if batch is None else batch
            weight = (rows >= 0).astype(jnp.float32)
            differentiated = jax.value_and_grad(sums, argnums=(0, 1), has_aux=True)
            (total, (correct, inputs)), (grads, outputs) = differentiated(params, offsets, x, y, weight, key)
            return (grads, total, correct), (inputs, outputs)

        def summed(params, *parts):
            """The gradient and the sums over the microbatches of a batch."""
            if len(parts[0]) == 1:
                return gradient(params, {}, *jax.tree.map(lambda leaf: leaf[0], parts))[0]

            def add(so_far, some):
                more, kept = gradient(params, offsets, *some)
                return jax.tree.map(jnp.add, so_far, more), kept

            zero = (jax.tree.map(jnp.zeros_like, params), jnp.zeros(()), jnp.zeros(()))
            (grads, total, correct), kept = jax.lax.scan(add, zero, parts)
            inputs, outputs = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), kept)
            grads = jax.tree.map(jnp.add, grads, dense_gradients.gradients(params, inputs, outputs))
            return grads, total, correct

        def step(carry, at):
            params, opt_state = carry
            t, rows = at
            keys = jax.random.split(jax.random.fold_in(key_steps, t), len(rows))
            batch = None if augment is None else augmented(jax.random.fold_in(key_augment, t), rows)
            grads, total, correct = summed(params, rows, batch, keys)
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
        kept = jax.eval_shape(
            lambda p, x, y, w: jax.vjp(lambda p: sums(p, {}, x, y, w, key), p, has_aux=True)[1], params, x, y, weight
        )
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))

    per_record = residual_bytes(2) - residual_bytes(1)
    parts = math.ceil(batch_size * per_record / CACHE_BYTES)
    return math.ceil(batch_size / max(1, parts))


def full_precision(logits: jax.Array) -> jax.Array:
    """The same logits in float32 at least: networks may compute in bfloat16, losses and answers must not."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def top_class(logits: jax.Array) -> jax.Array:
    """The class that a network predicts, [b] of [b, c]; of equal ones the first; c, which is none, where one is NaN.

    By two plain reductions: XLA's argmax is a slow loop on CPUs, a twelfth of a step of the Purchase network.
    """
    c = logits.shape[-1]
    return jnp.where(logits == logits.max(axis=-1, keepdims=True), jnp.arange(c), c).min(axis=-1)


def predict(model: Model, params: Params, x: Array, *, batch_size: int | None = None) -> jax.Array:
    """Log-probabilities, float32 [n, c], of records [n, *f]; the memory of one batch of activations at a time.

    A batch has 1,024 records, or as many as hold half a million numbers where these are fewer.
    """
    n, x = len(x), jnp.asarray(x)
    batch_size = batch_size or min(1024, max(32, 2**19 // max(1, math.prod(x.shape[1:]))))
    if n == 0:
        logits = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype))
        return jnp.zeros((0, logits.shape[1]))
    if n <= batch_size:
        return jax.nn.log_softmax(full_precision(model.apply(params, x)))
    rows = jnp.minimum(jnp.arange(-(-n // batch_size) * batch_size), n - 1).reshape(-1, batch_size)
    log_p = jax.lax.map(lambda rows: jax.nn.log_softmax(full_precision(model.apply(params, x[rows]))), rows)
    return log_p.reshape(-1, log_p.shape[-1])[:n]


# --- many networks ---------------------------------------------------------------------------------------------------


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
    devices = tuple(devices or jax.local_devices())
    total = len(index)
    if chunk is None:
        chunk = choose_chunk(trainer, pool, index, devices) if lanes is None else total
    pools = parallel.copies(Records(pool.x, pool.y), devices)
    told = on_epoch or (lambda part, epochs, info: None)

    def fit(part: slice, at_once: int) -> tuple[Params, EpochInfo]:
        some = jax.tree.map(lambda leaf: leaf[part], (keys, np.asarray(index, np.int32)))
        dealt = [parallel.deal(each, parallel.lanes_per_program(at_once, lanes, devices), devices) for each in some]
        return _fit_chunk(trainer, *dealt, pools, num_epochs, part, told, stopped)

    for part, (params, history) in parallel.in_chunks(fit, total, chunk, least=lanes or parallel.LANES):
        yield part, params, history


def _fit_chunk(trainer, keys: list, index: list, pools: list, num_epochs: int, part: slice, on_epoch, stopped):
    """Parameters [k, ...] and EpochInfo [k, num_epochs] of one chunk, whose keys and rows are dealt to the programs."""
    k = part.stop - part.start
    pools = [pools[i % len(pools)] for i in range(len(keys))]
    init, epoch = parallel.program(trainer.init, (0, None)), parallel.program(trainer.epoch, (0, None, 0), donate=(0,))
    states = [init(key, pool.x[:1]) for key, pool in zip(keys, pools, strict=True)]
    infos: list[tuple[EpochInfo, ...]] = []  # by epoch, then by program
    halted: list[list[jax.Array]] = []
    for e in range(num_epochs):
        done = [epoch(*each) for each in zip(states, pools, index, strict=True)]
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
    """
    options = dict(chunk=chunk, lanes=lanes, devices=devices, on_epoch=on_epoch, stopped=stopped)
    chunks = [(params, info) for _, params, info in fit_chunks(trainer, keys, pool, index, num_epochs, **options)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *chunks)


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
        finite = np.isfinite(np.asarray(leaf, np.float32)).reshape(len(loss), -1).all(axis=1)
        wrong[:, -1:] |= ~finite[:, None]
    return np.where(wrong.any(axis=1), wrong.argmax(axis=1) + 1, 0)


def choose_chunk(trainer: Trainer, pool: Records, index: Array, devices: Sequence[jax.Device]) -> int:
    """Networks at once.

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
    x, y = (jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in pool)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    state = jax.eval_shape(
        lambda keys: jax.vmap(trainer.init, (0, None))(keys, jnp.zeros((1, *x.shape[1:]), x.dtype)), keys
    )
    index = jax.ShapeDtypeStruct((2, m), np.int32)
    compiled = jax.jit(jax.vmap(trainer.epoch, (0, None, 0))).lower(state, Records(x, y), index).compile()
    memory = compiled.memory_analysis()
    return (memory.temp_size_in_bytes + 2 * memory.output_size_in_bytes) // 2
