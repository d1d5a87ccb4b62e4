"""DP-SGD (Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, Algorithm 1), of one network.

Each step takes every record of the training set with probability q, by itself (Poisson sampling), clips each record's
gradient to norm C, adds Gaussian noise of standard deviation sigma * C to their sum, and divides by the expected batch.
Everything after that (L2, momentum, Adam) only processes what is already private.

Networks of dense layers are clipped by their activations (ghost clipping: Goodfellow 2015, "Efficient per-example
gradient computations"; Bu et al. 2023, "Differentially private optimization on large model at small cost"): the
gradient of a record is the outer product of a layer's input a and the gradient d at its output, so its squared norm is
|a|^2 |d|^2, and the clipped sum is one matmul. Others are clipped by ``vmap`` of ``grad``, some records at a time.

The guarantee is that of ``mechanism``, for an accountant. The random numbers come from JAX's generator and 32-bit
floats: good for research, not for a release against an adversary who attacks floating-point noise.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import scipy.stats

from mia_jax.training import dense_gradients, single
from mia_jax.training.augmentations import ImageAugmentation
from mia_jax.types import Array, EpochInfo, InputError, Key, Model, Params, Records, Trainer, TrainState, Variables

# A step has room for so many records that more are drawn with at most this probability; those are left out. It adds
# (1 + e^epsilon) times this to delta for each step: 1e-8 over 10,000 steps.
OVERFLOW = 1e-12
GRADIENT_BYTES = 2**24  # of the gradients that exist at once where each record has one of its own


class Mechanism(NamedTuple):
    """What an accountant must know: Gaussian mechanisms on Poisson samples; neighbors differ by one record."""

    sampling_rate: float  # q
    steps: int
    noise_multiplier: float  # sigma, in units of the clipping norm


class Clipped(NamedTuple):
    """The clipped gradients of a batch's records, summed, and what was computed on the way."""

    grads: Params  # the sum of the records' clipped gradients
    norms: jax.Array  # [b] of their gradients before clipping
    losses: jax.Array  # [b] nats
    correct: jax.Array  # bool [b]


def mechanism(records: int, batch_size: int, num_epochs: int, noise_multiplier: float) -> Mechanism:
    """The mechanism that ``num_epochs`` epochs of a Trainer made with these arguments are.

    Args:
        records: m, of one training set.
        batch_size: b, records per step on average.
        num_epochs: passes over the training set, of ceil(m / b) steps each.
        noise_multiplier: sigma, in units of the clipping norm.
    """
    steps = num_epochs * _steps(batch_size, records)
    return Mechanism(sampling_threshold(batch_size, records) / 2**32, steps, noise_multiplier)


def make_trainer(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    records: int,
    *,
    clip: float,
    noise_multiplier: float,
    loss: single.Loss = optax.softmax_cross_entropy_with_integer_labels,
    augmentation: ImageAugmentation | None = None,
    microbatch: int | None = None,
) -> Trainer:
    """Training of one network by DP-SGD. ``vmap`` over it trains many.

    An epoch is ceil(records / batch_size) steps: as many as a plain epoch has.

    Args:
        model: init and apply. What it computes of a record must not depend on the others of the batch.
        optimizer: of the noised mean gradient.
        batch_size: b, records per step on average. Gradients are divided by it, however many were drawn.
        records: m, of one training set; public, like b. The sampling rate is b / m.
        clip: C, the per-example clipping norm; infinite: no clipping, and so no noise either.
        noise_multiplier: sigma, in units of C; 0: no noise, and no privacy guarantee.
        loss: (logits [b, c], y [b]) -> [b].
        augmentation: of images, each by itself, drawn once for a record of a step: so the gradient that is clipped is
            still one record's. Copies of a record in a step, or records that are mixed, would break the guarantee.
        microbatch: records that have gradients of their own at once, where the network is not of dense layers only.

    Returns:
        A Trainer. An index [m] padded with -1 trains the same network as without. Its EpochInfo (means over the drawn
        records) is not private: it is for whoever may see the data.

    Raises:
        InputError: a value out of range; on init, a network with batch statistics.
    """
    _check(batch_size, records, clip, noise_multiplier)

    def init(key: Key, x: Array) -> TrainState:
        key_params, key_epochs = jax.random.split(key)
        params = model.init(key_params, x[:1])
        if isinstance(params, Variables):
            raise InputError(
                "dp_noise_multiplier: batch statistics mix the records of a batch, so none has a gradient of its own;"
                " use GroupNorm or LayerNorm in the place of BatchNorm, or leave DP-SGD out"
            )
        return TrainState(params, optimizer.init(params), key_epochs, jnp.int32(0))

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        key_steps = jax.random.fold_in(state.key, state.epoch)
        room = capacity(len(index), sampling_threshold(batch_size, records) / 2**32)

        def step(carry, t):
            params, opt_state = carry
            key_sample, key_model, key_noise, key_images = jax.random.split(jax.random.fold_in(key_steps, t), 4)
            rows = poisson_sample(key_sample, index, sampling_threshold(batch_size, records), room)
            x, y, real = pool.x[rows], pool.y[rows], rows >= 0
            x = x if augmentation is None else augmentation(key_images, x)
            clipped = clipped_gradients(
                model, loss, params, x, y, real, clip=clip, key=key_model, microbatch=microbatch
            )
            noised = _noised(key_noise, clipped.grads, noise_multiplier * clip if noise_multiplier else 0.0)
            grads = jax.tree.map(lambda g: g / batch_size, noised)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            sums = real.sum(), jnp.where(real, clipped.losses, 0).sum(), (real & clipped.correct).sum()
            return (optax.apply_updates(params, updates), opt_state), sums

        steps = jnp.arange(_steps(batch_size, records))
        (params, opt_state), (count, total, correct) = jax.lax.scan(step, (state.params, state.opt_state), steps)
        count = jnp.maximum(count.sum(), 1)
        info = EpochInfo(total.sum() / count, correct.sum() / count)
        return TrainState(params, opt_state, state.key, state.epoch + 1), info

    return Trainer(init, epoch)


def _check(batch_size: int, records: int, clip: float, noise_multiplier: float) -> None:
    """Refuse values out of range. Raises InputError."""
    if not 1 <= batch_size <= records:
        raise InputError(f"batch_size={batch_size} must be from 1 to the {records:,} training records")
    if not clip > 0:
        raise InputError(f"clip={clip} must be above 0")
    if not 0 <= noise_multiplier < math.inf:
        raise InputError(f"noise_multiplier={noise_multiplier} must be at least 0 and finite")
    if noise_multiplier and math.isinf(clip):
        raise InputError("noise is measured in units of the clipping norm: give a finite clip")
    if noise_multiplier * clip > 1e38:
        raise InputError(
            f"noise_multiplier={noise_multiplier:g} times clip={clip:g} is more than float32 holds: lower one"
        )


# --- clipping --------------------------------------------------------------------------------------------------------


def clipped_gradients(
    model: Model,
    loss: single.Loss,
    params: Params,
    x: jax.Array,
    y: jax.Array,
    real: jax.Array,
    *,
    clip: float,
    key: Key | None = None,
    microbatch: int | None = None,
    ghost: bool | None = None,
) -> Clipped:
    """The sum over the records of their gradients, each scaled to a norm of at most ``clip``.

    Whatever the records, taking one away moves the sum by at most ``clip`` (and 1e-6 of it by rounding). A record whose
    gradient is not finite adds nothing.

    Args:
        model, loss, params: (params, x [b, *f]) -> logits [b, c] -> losses [b].
        x, y: [b, *f], [b].
        real: bool [b]; the others add nothing.
        clip: the per-example clipping norm; may be infinite.
        key: means training mode.
        microbatch: records that have gradients of their own at once, without ghost clipping; None: some megabytes.
        ghost: clip by the activations; None: where the network allows it.

    Raises:
        InputError: ``ghost`` is asked for, and the network does not allow it.
    """
    batch = _Batch(jnp.asarray(x), jnp.asarray(y), jnp.asarray(real), key)
    offsets = dense_gradients.offsets(model, params, batch.x, key) if ghost is None or ghost else {}
    if offsets and dense_gradients.are_all(model, params, batch.x, offsets, key):
        return _ghost(model, loss, offsets, params, batch, clip)
    if ghost:
        raise InputError("ghost clipping is for networks of dense layers, each used once for each record")
    return _one_by_one(model, loss, params, batch, clip, microbatch)


class _Batch(NamedTuple):
    """Records to clip the gradients of."""

    x: jax.Array  # [b, *f]
    y: jax.Array  # [b]
    real: jax.Array  # bool [b]: the others add nothing
    key: Key | None  # means training mode


def _ghost(
    model: Model,
    loss: single.Loss,
    offsets: dict[dense_gradients.Path, jax.Array],
    params: Params,
    batch: _Batch,
    clip: float,
) -> Clipped:
    """``clipped_gradients`` by the activations."""
    x, y, real, key = batch

    def objective(offsets):
        logits, inputs = dense_gradients.apply(model, params, x, offsets, key)
        logits = single.full_precision(logits)
        losses = loss(logits, y)
        return losses.sum(), (inputs, losses, single.is_right(logits, y))

    outputs, (inputs, losses, correct) = jax.grad(objective, has_aux=True)(offsets)
    squares = 0.0
    for path, d in outputs.items():
        # A bias is a weight of an input that is always one.
        ones = 1.0 if dense_gradients.has_bias(params, path) else 0.0
        squares += (jnp.square(inputs[path]).sum(axis=1) + ones) * jnp.square(d).sum(axis=1)
    norms, scale, finite = _scale(squares, real, clip)
    inputs = {path: jnp.where(finite[:, None], a, 0) for path, a in inputs.items()}
    outputs = {path: jnp.where(finite[:, None], scale[:, None] * d, 0) for path, d in outputs.items()}
    return Clipped(dense_gradients.gradients(params, inputs, outputs), norms, losses, correct)


def _one_by_one(
    model: Model, loss: single.Loss, params: Params, batch: _Batch, clip: float, microbatch: int | None
) -> Clipped:
    """``clipped_gradients`` by the gradient of each record."""
    x, y, real, key = batch

    def one(params, x, y, key):
        logits = single.full_precision(model.apply(params, x[None], key=key))
        return loss(logits, y[None])[0], single.is_right(logits, y[None])[0]

    def some(added, records):
        x, y, real, key = records
        each = jax.vmap(jax.value_and_grad(one, has_aux=True), (None, 0, 0, None if key is None else 0))
        (losses, correct), grads = each(params, x, y, key)
        squares = sum(jnp.square(leaf).reshape(len(leaf), -1).sum(axis=1) for leaf in jax.tree.leaves(grads))
        norms, scale, finite = _scale(squares, real, clip)

        def clipped_sum(leaf):
            flat = jnp.where(finite[:, None], leaf.reshape(len(leaf), -1), 0)
            return (scale @ flat).reshape(leaf.shape[1:]).astype(leaf.dtype)

        return jax.tree.map(lambda total, leaf: total + clipped_sum(leaf), added, grads), (norms, losses, correct)

    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    b = len(x)
    part = min(b, microbatch or max(1, GRADIENT_BYTES // size))
    parts = -(-b // part)
    keys = None if key is None else jax.random.split(key, b)
    rows = jnp.arange(parts * part)  # the last part is filled up with records that add nothing
    x, y, real, keys = jax.tree.map(
        lambda leaf: leaf[rows % b].reshape(parts, part, *leaf.shape[1:]), (x, y, real, keys)
    )
    records = (x, y, real & (rows < b).reshape(parts, part), keys)
    grads, each = jax.lax.scan(some, jax.tree.map(jnp.zeros_like, params), records)
    return Clipped(grads, *(leaf.reshape(-1)[:b] for leaf in each))


def _scale(squares: jax.typing.ArrayLike, real: jax.Array, clip: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Norms, what each gradient is multiplied by, and whether it is finite; [b] each, of squared norms [b]."""
    norms = jnp.sqrt(squares)
    finite = jnp.isfinite(norms)
    scale = jnp.where(norms > clip, clip / norms, 1.0) if math.isfinite(clip) else jnp.ones_like(norms)
    return norms, jnp.where(finite & real, scale, 0.0), finite


# --- sampling and noise ----------------------------------------------------------------------------------------------


def capacity(records: int, rate: float) -> int:
    """Room for the records that one step draws: more are drawn with probability at most ``OVERFLOW``."""
    return records if rate >= 1 else max(1, min(records, int(scipy.stats.binom.isf(OVERFLOW, records, rate))))


def sampling_threshold(batch_size: int, records: int) -> int:
    """A record is drawn when its 32 random bits are below this: the rate b / m, to 2^-33."""
    return round(batch_size / records * 2**32)


def _steps(batch_size: int, records: int) -> int:
    return -(-records // batch_size)


def poisson_sample(key: Key, index: Array, threshold: int, room: int) -> jax.Array:
    """A Poisson sample of the index [m], in its order, padded with -1 to [room]."""
    index = jnp.asarray(index, jnp.int32)
    taken = index >= 0
    if threshold < 2**32:
        # The bits of position i depend on the key and i alone, so the sample does not depend on padding.
        taken &= jax.random.bits(key, index.shape, jnp.uint32) < jnp.uint32(threshold)
    count = jnp.cumsum(taken, dtype=jnp.int32)
    wanted = jnp.arange(1, room + 1, dtype=jnp.int32)
    at = jnp.searchsorted(count, wanted)
    return jnp.where(wanted <= count[-1], index[jnp.minimum(at, len(index) - 1)], -1)


def _noised(key: Key, grads: Params, std: float) -> Params:
    if std == 0:
        return grads
    leaves, structure = jax.tree.flatten(grads)
    keys = jax.random.split(key, len(leaves))
    noise = [std * jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, [leaf + n for leaf, n in zip(leaves, noise, strict=True)])
