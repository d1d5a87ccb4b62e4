"""A network that answers with the moving average of its parameters over the steps of its training.

``follow`` makes an optimizer keep the average; ``averaged`` goes around a Trainer and gives the average as the network,
as ``regularizers.stopping_early`` does with the best. Training itself is as without: the same parameters are trained,
and the losses that are reported are theirs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mia_jax.types import Array, EpochInfo, InputError, Key, Params, Records, Trainer, TrainState, Variables


class Following(NamedTuple):
    """An optimizer's state, and the average of what it has made."""

    opt_state: optax.OptState
    total: Params  # (1 - decay) * sum over the steps of decay^(steps since) * parameters
    weight: jax.Array  # [] 1 - decay^steps: what the shares in ``total`` sum to


class Averaged(NamedTuple):
    """What ``averaged`` keeps in ``TrainState.opt_state``, for TrainState.params are the average."""

    params: Params  # as trained so far
    opt_state: Following


def follow(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformationExtraArgs:
    """The optimizer, which keeps an exponential moving average of the parameters that it makes.

    And of the batch statistics that its ``update`` is told as ``stats``, where the total has a place for them.

    Args:
        optimizer: all of it.
        decay: share of the average that stays at each step; .999 averages over the last 1,000 steps or so. Above 0 and
            below 1.

    Raises:
        InputError: it is not.
    """
    if not 0 < decay < 1:
        raise InputError(f"`ema={decay:g}` must be above 0 and below 1, as 0.999 (0: no average)")

    def init(params: Params) -> Following:
        return Following(optimizer.init(params), jax.tree.map(jnp.zeros_like, params), jnp.float32(0))

    def update(
        updates: Params, state: Any, params: Params | None = None, *, stats: Any = None, **more: Any
    ) -> tuple[Params, Following]:
        updates, opt_state = optimizer.update(updates, state.opt_state, params)
        assert params is not None, "an average of parameters needs the parameters"
        new = optax.apply_updates(params, updates)
        new = new if stats is None else Variables(new, stats)
        total = jax.tree.map(lambda t, p: t + (1 - decay) * (p - t), state.total, new)
        return updates, Following(opt_state, total, state.weight + (1 - decay) * (1 - state.weight))

    return optax.GradientTransformationExtraArgs(init, update)


def averaged(trainer: Trainer) -> Trainer:
    """The network is at any time the average of its parameters so far, without bias towards zero (debiased).

    Running batch statistics are averaged alike, as in LiRA's code (objax). Before the first step the network is the one
    that it starts as.

    Args:
        trainer: whose optimizer ``follow`` made.
    """

    def init(key: Key, x: Array) -> TrainState:
        state = trainer.init(key, x)
        nothing = jax.tree.map(jnp.zeros_like, state.params)  # of all that the network is: statistics, too
        return state._replace(opt_state=Averaged(state.params, state.opt_state._replace(total=nothing)))

    def epoch(state: TrainState, pool: Records, index: Array) -> tuple[TrainState, EpochInfo]:
        before: Averaged = state.opt_state
        after, info = trainer.epoch(state._replace(params=before.params, opt_state=before.opt_state), pool, index)
        return after._replace(params=_average(after), opt_state=Averaged(after.params, after.opt_state)), info

    return Trainer(init, epoch)


def _average(state: TrainState) -> Params:
    following: Following = state.opt_state
    weight = following.weight

    def average(total: jax.Array, trained: jax.Array) -> jax.Array:
        return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), trained).astype(trained.dtype)

    return jax.tree.map(average, following.total, state.params)
