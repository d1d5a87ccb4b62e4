"""What the training can do against overfitting, and so against membership inference (Shokri et al. 2017, section VIII).

Pieces for ``single.make_trainer``: ``add_l2`` for the optimizer's chain, ``smoothed`` for its loss, ``mixing`` for
``augment``; ``stopping_early`` goes around a Trainer; dropout belongs to the model. ``make_trainer`` here puts together
what a run asks for, with differentially private steps (``training/dp_sgd.py``) where it asks for those; the optimizer
comes from a recipe (``training/recipes.py``).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from mia_jax.training import averaging, dp_sgd, single
from mia_jax.training.augmentations import ImageAugmentation, augmenting, composed
from mia_jax.types import Array, EpochInfo, InputError, Key, Model, Params, Records, Trainer, TrainState


def add_l2(strength: float, *, biases: bool = True) -> optax.GradientTransformation:
    """The gradient of strength * sum(theta^2), added to the loss's: put it before the optimizer in a chain.

    So it is L2 regularization as the paper and Keras define it (the gradient is 2 * strength * theta), and Adam
    rescales it like the rest of the gradient. It is not decoupled decay (AdamW), for which it would stand behind Adam.
    The loss that a Trainer reports is without it. With strength 0 the identity.

    Args:
        strength: the paper's lambda.
        biases: regularize every parameter, as the paper's formula does; False: those of two axes and more, like Keras's
            ``kernel_regularizer``.
    """
    if not 0 <= strength < math.inf:
        raise InputError(f"l2={strength} must be at least 0")
    if strength == 0:
        return optax.identity()
    return optax.add_decayed_weights(2 * strength, None if biases else of_matrices)


def of_matrices(params: Params) -> Params:
    """Which parameters have two axes and more: kernels, but no biases, and no scales or offsets of norms."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def smoothed(alpha: float) -> single.Loss:
    """Cross-entropy with label smoothing (Szegedy et al. 2016, section 7).

    The true class counts 1 - alpha, and all c classes share alpha evenly. Labels may be distributions [b, c].

    Args:
        alpha: 0 to 1; 0: the plain loss itself.

    Raises:
        InputError: it is out of range.
    """
    loss = single.cross_entropy
    if not 0 <= alpha <= 1:
        raise InputError(f"label_smoothing={alpha} must be from 0 to 1")
    if alpha == 0:
        return loss

    def smooth(logits, y):
        over_classes = jax.nn.logsumexp(logits, axis=-1) - logits.mean(axis=-1)
        return (1 - alpha) * loss(logits, y) + alpha * over_classes

    return smooth


def mixing(alpha: float) -> single.Augment | None:
    """Mixup (Zhang et al. 2018): each record of a batch is mixed with another, x <- a x + (1 - a) x', and so its loss.

    a ~ Beta(alpha, alpha), one of its 4,096 mid-quantiles, is drawn for each record. With alpha 0 every a is 0 or 1 and
    there is nothing to mix: None.
    """
    if not 0 <= alpha < math.inf:
        raise InputError(f"mixup={alpha} must be at least 0")
    if alpha == 0:
        return None
    # jax.random.beta draws by rejection, in a loop: half a training step of the Purchase network; this is a fifth.
    quantiles = scipy.stats.beta.ppf((np.arange(4096) + 0.5) / 4096, alpha, alpha).astype(np.float32)
    if not np.isfinite(quantiles).all():
        raise InputError(f"mixup={alpha:g} is no alpha that Beta(alpha, alpha) can be computed of: 0.1 to 1 is usual")

    def augment(key, x, y, real):
        key_partner, key_share = jax.random.split(key)
        # A permutation of the real rows among themselves: they come first in a batch, and padding last.
        bits = jax.random.bits(key_partner, real.shape, jnp.uint32) >> 1
        other = jnp.argsort(jnp.where(real, bits, jnp.uint32(2**31)))
        a = jnp.asarray(quantiles)[jax.random.randint(key_share, real.shape, 0, len(quantiles))]
        wide = a.reshape(-1, *[1] * (x.ndim - 1))
        return wide * x + (1 - wide) * x[other], ((y, a), (y[other], 1 - a))

    return augment


# --- early stopping --------------------------------------------------------------------------------------------------


class Stopping(NamedTuple):
    """What early stopping remembers, in ``TrainState.opt_state``."""

    params: Params  # as trained so far; TrainState.params are the best
    opt_state: optax.OptState
    best: jax.Array  # [] the least validation loss, nats
    waited: jax.Array  # [] int32, epochs since
    info: EpochInfo  # of the last epoch that counted
    halted: jax.Array  # [] bool


def stopping_early(trainer: Trainer, model: Model, patience: int, *, validation: float = 0.1) -> Trainer:
    """Train on a part of the training set, end when the loss on the rest of it has stopped falling, keep the best.

    Each network puts ``validation`` of its training set aside, drawn from its own key. After ``patience`` epochs
    without a lower validation loss it stands still: under ``vmap`` it is computed further but changes no more, so what
    it becomes does not depend on its neighbors. The parameters are at any time those of the least validation loss.

    The records put aside belong to the training set: an audit counts them among the members, though no gradient was
    taken of them.

    Args:
        trainer: of one network.
        model: that it trains.
        patience: epochs, at least 1.
        validation: share of the training set, above 0 and below 1; at least one record.

    Returns:
        A Trainer; give ``stopped`` to ``many.fit_chunks`` to be spared the epochs after all have stopped.
    """
    if patience < 1 or patience != int(patience):
        raise InputError(f"early_stopping={patience} must be a whole number of epochs, at least 1 (0: none)")
    if not 0 < validation < 1:
        raise InputError(f"the validation share {validation} must be above 0 and below 1")

    def init(key: Key, x: Array) -> TrainState:
        state = trainer.init(key, x)
        zero = jnp.float32(0)
        waiting = Stopping(
            state.params, state.opt_state, jnp.float32(jnp.inf), jnp.int32(0), EpochInfo(zero, zero), jnp.asarray(False)
        )
        return state._replace(opt_state=waiting)

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        before: Stopping = state.opt_state
        learn, aside = held_out_rows(jax.random.fold_in(state.key, jnp.uint32(2**32 - 1)), index, validation)
        after, info = trainer.epoch(TrainState(before.params, before.opt_state, state.key, state.epoch), pool, learn)
        log_p = single.predict(model, after.params, pool.x[aside])
        y = pool.y[aside]
        losses = -jnp.take_along_axis(log_p, y[:, None], axis=1)[:, 0] if y.ndim == 1 else -(y * log_p).sum(axis=1)
        value = jnp.where(aside >= 0, losses, 0).sum() / jnp.maximum((aside >= 0).sum(), 1)
        better = value < before.best
        waited = jnp.where(better, 0, before.waited + 1)
        best_params = jax.tree.map(lambda new, old: jnp.where(better, new, old), after.params, state.params)
        now = Stopping(after.params, after.opt_state, jnp.minimum(value, before.best), waited, info, waited >= patience)
        moved = TrainState(best_params, now, state.key, state.epoch + 1)
        moved = jax.tree.map(lambda new, old: new if new is old else jnp.where(before.halted, old, new), moved, state)
        return moved, moved.opt_state.info

    return Trainer(init, epoch)


def stopped(state: TrainState) -> jax.Array:
    """Whether early stopping has ended this network's training, bool []; for ``many.fit_chunks``."""
    return state.opt_state.halted if isinstance(state.opt_state, Stopping) else jnp.asarray(False)


def learned(records: int, *, validation: float = 0.1) -> int:
    """Records of a training set that are learned from where early stopping puts a share aside."""
    return records - math.ceil(validation * records - 1e-4)


def held_out_rows(key: Key, index: Array, share: float) -> tuple[jax.Array, jax.Array]:
    """The index [m] without the records put aside, and those; both padded with -1."""
    order = single.shuffled(key, index)
    count = jnp.ceil(share * (order >= 0).sum() - 1e-4).astype(jnp.int32)  # as ``learned`` counts
    aside = jnp.arange(len(order)) < count
    room = math.ceil(share * len(order))
    return jnp.where(aside, -1, order), jnp.where(aside, order, -1)[:room]


# --- all together ----------------------------------------------------------------------------------------------------


def make_trainer(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    records: int,
    *,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    mixup: float = 0.0,
    augmentation: Sequence[ImageAugmentation] = (),
    ema: float = 0.0,
    early_stopping: int = 0,
    dp_noise_multiplier: float | None = None,
    dp_clip: float = 1.0,
) -> Trainer:
    """A Trainer with regularization and DP-SGD; where all are off, ``single.make_trainer``'s own.

    Args:
        model: with its dropout, if any.
        optimizer: what follows L2 in the chain.
        batch_size: b, records per step; with DP on average.
        records: m, of one training set. Only DP needs it.
        l2, label_smoothing, mixup: see ``add_l2``, ``smoothed``, ``mixing``; 0: none.
        augmentation: of images, one after the other, before they are mixed (``augmentations``).
        ema: decay of the average of the parameters that is the network (``averaging``); 0: none.
        early_stopping: patience of ``stopping_early`` in epochs; 0: none.
        dp_noise_multiplier: sigma of DP-SGD, in units of ``dp_clip``; None: no DP-SGD; 0: clips only, no guarantee.
        dp_clip: the per-example clipping norm of DP-SGD.

    Raises:
        InputError: a value out of range, or DP together with what would break its guarantee.
    """
    optimizer = optax.chain(add_l2(l2), optimizer) if l2 else optimizer
    optimizer = averaging.follow(optimizer, ema) if ema else optimizer
    loss, mixed = smoothed(label_smoothing), mixing(mixup)
    if dp_noise_multiplier is None:
        augment = augmenting(augmentation, mixed)
        trainer = single.make_trainer(model, optimizer, batch_size, loss=loss, augment=augment)
    else:
        for name, value in (("mixup", mixup), ("early_stopping", early_stopping)):
            if value:
                reason = (
                    "mixes records, so none has a gradient of its own" if name == "mixup" else "reads records unnoised"
                )
                raise InputError(f"{name} {reason}: leave it out, or dp_noise_multiplier")
        trainer = dp_sgd.make_trainer(
            model,
            optimizer,
            batch_size,
            records,
            clip=dp_clip,
            noise_multiplier=dp_noise_multiplier,
            loss=loss,
            augmentation=composed(augmentation) if augmentation else None,
        )
    trainer = averaging.averaged(trainer) if ema else trainer
    return stopping_early(trainer, model, early_stopping) if early_stopping else trainer
