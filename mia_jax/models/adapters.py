"""A network that was written with another library, as a ``Model``. Only this room and ``dense_gradients`` know flax."""

import inspect
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from mia_jax.models import convolutions
from mia_jax.types import InputError, Model


def from_flax(module: nn.Module, *, scale: float = 1.0) -> Model:
    """A flax linen module as a ``Model``.

    Records are cast to float32 and multiplied by ``scale`` before the module sees them. If its ``__call__`` has an
    argument ``train`` or ``training``, that tells whether it is trained; ``deterministic`` tells the opposite. Dropout
    draws from the random stream "dropout". On CPUs plain convolutions are computed by ``convolutions.conv``: the same
    up to rounding, and ten times as fast where many networks are trained.

    Args:
        module: an instance whose ``__call__`` takes x [b, *f] and gives logits [b, c].
        scale: what records are multiplied by; 1/255 for pixels.

    Raises:
        InputError: it is no linen module; on init, if the module keeps statistics of batches (or any state other than
            parameters).

    >>> import jax, numpy as np, mia_jax as mia
    >>> from flax import linen as nn
    >>> model = mia.models.from_flax(nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(3)]))
    >>> jax.eval_shape(lambda x: model.apply(model.init(jax.random.key(0), x), x), np.zeros((2, 4))).shape
    (2, 3)
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"{_named(module)} is no flax linen module: {instead(module)}")
    arguments = inspect.signature(module.__call__).parameters

    def mode(train: bool) -> dict[str, Any]:
        modes = {"train": train, "training": train, "deterministic": not train}
        return {name: value for name, value in modes.items() if name in arguments}

    def cast(x):
        x = jnp.asarray(x).astype(jnp.float32)
        return x if scale == 1 else x * scale

    def init(key, x):
        variables = module.init(key, cast(x), **mode(False))
        if state := set(variables) - {"params"}:
            raise InputError(
                f"{type(module).__name__} keeps {', '.join(sorted(state))}: models are functions of their parameters;"
                " use GroupNorm or LayerNorm instead of BatchNorm"
            )
        return variables.get("params", {})

    def apply(params, x, *, key=None):
        rngs = None if key is None else {"dropout": key}
        with convolutions.in_place_of_flax():
            return module.apply({"params": params}, cast(x), **mode(key is not None), rngs=rngs)

    return Model(init, apply)


def _named(module) -> str:
    return module.__name__ if isinstance(module, type) else f"an object of type {type(module).__name__}"


def instead(module) -> str:
    """What to give in the place of what is no linen module."""
    if isinstance(module, type) and issubclass(module, nn.Module):
        return f"it is a class, so give an instance of it, as {module.__name__}(...)"
    from flax import nnx

    kind = module if isinstance(module, type) else type(module)
    nnx_too = "flax.nnx is not supported yet, " if issubclass(kind, nnx.Module) else ""
    return f"{nnx_too}give a flax.linen module or a mia_jax.Model(init, apply)"
