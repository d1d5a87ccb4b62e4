"""The training of one network as a pure function, and what a trained one answers. ``many.py`` trains many.

``make_trainer`` reads from the outside in: an epoch is a ``scan`` over batches, a batch a ``scan`` over microbatches
whose gradients are added up, and of a microbatch the summed loss is differentiated.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.training import dense_gradients
from mia_jax.types import Array, EpochInfo, InputError, Key, Model, Params, Records, Trainer, TrainState, Variables

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (logits [b, c], y [b]) -> [b] nats
# (key, x [b, *f], y [b], real [b]) -> x and labels, a tuple of pairs of y [b] and the share of the loss that counts for
# it, [b] or one number for all: ((y, 1.0),) is y alone. Only the rows that are real may be mixed into others.
Augment = Callable[[Key, jax.Array, jax.Array, jax.Array], tuple[jax.Array, tuple]]

# On a CPU, what the backward pass remembers of the forward pass should stay in the cache: the CNN trains 1.5
# times as fast in microbatches of 4 records as in one batch of 100 (benchmarks/README.md).
CACHE_BYTES = 3 * 2**20


class Sums(NamedTuple):
    """Over the records of a batch, or of some of its microbatches."""

    grads: Params  # of the summed loss, with respect to what is trained
    loss: jax.Array  # [] nats
    correct: jax.Array  # [] records


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
    it is padded with records of weight zero. Rows are gathered from the pool and cast batch by batch. Batch statistics
    are those of the real records of the whole batch; an optimizer is told the new ones as ``stats=``, if it asks.

    Args:
        model: init and apply; train, if it keeps batch statistics.
        optimizer: with everything that belongs to it: decay, L2, clipping.
        batch_size: b, records per step.
        loss: (logits [b, c], y [b]) -> [b], of which a step minimizes the mean.
        augment: what a batch becomes before it is learned from: ``regularizers.mixing``, flips, ... The accuracy that
            is reported is that of the first labels it gives.
        microbatch: records whose activations exist at once (but what enters dense layers, whose gradient is one matmul
            per batch); the gradients of a batch's microbatches are added up, so it changes results by rounding only
            (and what dropout draws). None: on CPUs as many as fit the cache, elsewhere the batch, which is never
            divided where there are batch statistics.

    Returns:
        A Trainer. The index [m] that its epoch takes may hold -1 for "no record": m records padded with -1 train the
        same network as m records without.

    Raises:
        InputError: on the first epoch, a ``microbatch`` for a network with batch statistics.

    >>> import jax, numpy as np, optax, mia_jax as mia
    >>> records = mia.Records(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0]))
    >>> trainer = mia.make_trainer(mia.models.mlp(num_classes=3), optax.adam(1e-3), batch_size=2)
    >>> state = trainer.init(jax.random.key(0), records.x)
    >>> state, info = jax.jit(trainer.epoch)(state, records, np.array([0, 2, 3]))  # one pass over three of the records
    >>> int(state.epoch), info.loss.shape
    (1, ())
    """

    summed_loss = _summed_loss(model, loss)
    update = optax.with_extra_args_support(optimizer).update

    def init(key: Key, x: Array) -> TrainState:
        key_params, key_epochs = jax.random.split(key)
        variables = model.init(key_params, x[:1])
        return TrainState(variables, optimizer.init(_parted(variables)[0]), key_epochs, jnp.int32(0))

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        key_order, key_steps, key_augment = jax.random.split(jax.random.fold_in(state.key, state.epoch), 3)
        pool = jax.tree.map(jnp.asarray, pool)  # NumPy's arrays cannot be indexed by traced rows
        params, stats = _parted(state.params)
        if stats is None:
            part = microbatch or microbatch_size(summed_loss, params, pool, batch_size)
        else:
            part = _whole(microbatch, batch_size)
        batches = _batches(shuffled(key_order, index), batch_size, part)
        some = jax.ShapeDtypeStruct((part, *pool.x.shape[1:]), pool.x.dtype)
        offsets = dense_gradients.offsets(model, params, some, key_steps) if part < batch_size else {}
        gradient = functools.partial(_gradient, summed_loss, pool)

        def step(carry, at):
            params, stats, opt_state = carry
            t, rows = at
            keys = jax.random.split(jax.random.fold_in(key_steps, t), len(rows))
            batch = None if augment is None else _augmented(augment, jax.random.fold_in(key_augment, t), pool, rows)
            sums, new_stats = _over_microbatches(gradient, params, stats, offsets, (rows, batch, keys))
            count = (rows >= 0).sum()
            grads = jax.tree.map(lambda g: g / jnp.maximum(count, 1), sums.grads)
            updates, new_opt_state = update(grads, opt_state, params, stats=new_stats)
            new = (optax.apply_updates(params, updates), new_stats, new_opt_state)
            # A batch without a record is no step: momentum would move the parameters even so.
            return jax.tree.map(lambda a, b: jnp.where(count > 0, a, b), new, carry), (sums.loss, sums.correct)

        carry = (params, stats, state.opt_state)
        (params, stats, opt_state), totals = jax.lax.scan(step, carry, (jnp.arange(len(batches)), batches))
        count = jnp.maximum((index >= 0).sum(), 1)
        info = EpochInfo(*(t.sum() / count for t in totals))
        return TrainState(_joined(params, stats), opt_state, state.key, state.epoch + 1), info

    return Trainer(init, epoch)


def _parted(variables: Params) -> tuple[Params, Any]:
    """What is trained, and the batch statistics: None where a network keeps none."""
    return (variables.params, variables.stats) if isinstance(variables, Variables) else (variables, None)


def _joined(params: Params, stats: Any) -> Params:
    return params if stats is None else Variables(params, stats)


# --- batches ---------------------------------------------------------------------------------------------------------


def _batches(order: jax.Array, batch_size: int, microbatch: int) -> jax.Array:
    """The order [m] as [steps, microbatches, records], filled up with -1."""
    rows = _padded_to(_padded_to(order, batch_size).reshape(-1, batch_size), microbatch)
    return rows.reshape(len(rows), -1, microbatch)


def shuffled(key: Key, index: Array) -> jax.Array:
    """The index [m] in random order; -1 comes last."""
    # Random bits of position i depend on the key and i alone, so the order of the records does not depend on padding.
    bits = jax.random.bits(key, index.shape, jnp.uint32) >> 1
    return jnp.asarray(index, jnp.int32)[jnp.argsort(jnp.where(index >= 0, bits, jnp.uint32(2**31)))]


def _padded_to(rows: jax.Array, multiple: int) -> jax.Array:
    """The last axis, padded with -1 to a multiple."""
    padding = [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % multiple)]
    return jnp.pad(rows, padding, constant_values=-1)


def microbatch_size(summed_loss: Callable, params: Params, pool: Records, batch_size: int) -> int:
    """Records whose residuals (what the backward pass remembers of the forward pass) fit the cache."""
    if jax.default_backend() != "cpu":
        return batch_size

    def residual_bytes(n):
        x, y = (jax.ShapeDtypeStruct((n, *leaf.shape[1:]), leaf.dtype) for leaf in pool)
        weight = jax.ShapeDtypeStruct((n,), np.float32)
        key = jax.random.key(0)
        kept = jax.eval_shape(
            lambda p, x, y, w: jax.vjp(lambda p: summed_loss(p, {}, None, x, y, w, key), p, has_aux=True)[1],
            params,
            x,
            y,
            weight,
        )
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))

    per_record = residual_bytes(2) - residual_bytes(1)
    parts = math.ceil(batch_size * per_record / CACHE_BYTES)
    return math.ceil(batch_size / max(1, parts))


def _whole(microbatch: int | None, batch_size: int) -> int:
    """The batch, undivided: its statistics are not those of its parts. Raises InputError."""
    if microbatch not in (None, batch_size):
        raise InputError(
            f"microbatch={microbatch}: a network with batch statistics needs its whole batch of {batch_size} at once;"
            " leave microbatch out, or give a smaller batch_size"
        )
    return batch_size


def _augmented(augment: Augment, key: Key, pool: Records, rows: jax.Array) -> tuple[jax.Array, tuple]:
    """The records of a batch's rows [microbatches, records], augmented all together."""
    flat = rows.reshape(-1)
    x, labels = augment(key, pool.x[flat], pool.y[flat], flat >= 0)
    batch = x, tuple((y, jnp.broadcast_to(jnp.asarray(share), y.shape[:1])) for y, share in labels)
    return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), batch)


# --- gradients -------------------------------------------------------------------------------------------------------


def _summed_loss(model: Model, loss: Loss) -> Callable:
    """A function (params, offsets, stats, x, y, weight, key) -> summed loss, (correct answers, inputs, new stats).

    y is [b], or what an ``Augment`` gives as labels; ``weight`` [b] is 0 for rows that are no record. The inputs are
    those of the dense layers that have ``offsets``.
    """

    def summed(params: Params, offsets: dict, stats: Any, x: jax.Array, y, weight: jax.Array, key: Key) -> tuple:
        if stats is None:
            logits, inputs = dense_gradients.apply(model, params, x, offsets, key)
        else:
            assert model.train is not None, "a model whose init gives Variables has a train, see types.Model"
            inputs: dict = {}
            logits, stats = model.train(Variables(params, stats), x, weight, key=key)
        logits = full_precision(logits)
        labels = y if isinstance(y, tuple) else ((y, 1.0),)
        losses = sum(share * loss(logits, label) for label, share in labels)
        correct = weight @ is_right(logits, labels[0][0])
        return weight @ losses, (correct, inputs, stats)

    return summed


def _gradient(
    summed_loss: Callable, pool: Records, params: Params, stats: Any, offsets: dict, rows, batch, key: Key
) -> tuple:
    """The Sums of one microbatch; (inputs, gradients at the outputs) of the dense layers with offsets; new statistics.

    The gradient leaves these layers out.

    Args:
        summed_loss: ``_summed_loss``.
        pool: records [N].
        params, stats, offsets: of the network.
        rows: [b] of the pool; -1 is no record.
        batch: what these rows have become by augmentation; None: the records as they are.
        key: of the forward pass.
    """
    x, y = (pool.x[rows], pool.y[rows]) if batch is None else batch
    weight = (rows >= 0).astype(jnp.float32)
    differentiated = jax.value_and_grad(summed_loss, argnums=(0, 1), has_aux=True)
    (total, (correct, inputs, stats)), (grads, outputs) = differentiated(params, offsets, stats, x, y, weight, key)
    return Sums(grads, total, correct), (inputs, outputs), stats


def _over_microbatches(gradient: Callable, params: Params, stats: Any, offsets: dict, parts: tuple) -> tuple[Sums, Any]:
    """The Sums of a batch, those of its microbatches added up, and the new batch statistics.

    ``parts`` is (rows, batch, keys), with leaves [microbatches, ...]; a single one where there are statistics. The
    gradients of dense layers that have offsets are not added up: their inputs and the gradients at their outputs are
    kept, and multiplied once for the batch.
    """
    if len(parts[0]) == 1:
        sums, _, stats = gradient(params, stats, {}, *jax.tree.map(lambda leaf: leaf[0], parts))
        return sums, stats

    def add(so_far, some):
        more, kept, _ = gradient(params, None, offsets, *some)
        return jax.tree.map(jnp.add, so_far, more), kept

    zero = Sums(jax.tree.map(jnp.zeros_like, params), jnp.zeros(()), jnp.zeros(()))
    sums, kept = jax.lax.scan(add, zero, parts)
    inputs, outputs = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), kept)
    dense = dense_gradients.gradients(params, inputs, outputs)
    return sums._replace(grads=jax.tree.map(jnp.add, sums.grads, dense)), None


# --- answers ---------------------------------------------------------------------------------------------------------


def full_precision(logits: jax.Array) -> jax.Array:
    """The same logits [..., c] in float32 at least: networks may compute in bfloat16, losses and answers must not."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def top_class(logits: jax.Array) -> jax.Array:
    """The class that a network predicts, [b] of [b, c]; of equal ones the first; c, which is none, where one is NaN.

    By two plain reductions: XLA's argmax is a slow loop on CPUs, a twelfth of a step of the Purchase network.
    """
    c = logits.shape[-1]
    return jnp.where(logits == logits.max(axis=-1, keepdims=True), jnp.arange(c), c).min(axis=-1)


def is_right(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Whether networks predict the class of the label, bool [b], of logits [b, c].

    Labels y are classes [b], or distributions over them [b, c], whose class is the most probable one.
    """
    return top_class(logits) == (y if y.ndim < logits.ndim else top_class(y))


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """The cross-entropy of logits [b, c], [b] nats; labels as of ``is_right``."""
    if y.ndim < logits.ndim:
        return optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return optax.softmax_cross_entropy(logits, y)


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
