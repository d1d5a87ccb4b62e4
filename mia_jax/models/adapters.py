"""A network that was written with another library, as a ``Model``. Only this room and ``dense_gradients`` know flax."""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mia_jax.models import convolutions
from mia_jax.types import Array, InputError, Model, Variables


def from_flax(module: nn.Module, *, scale: float = 1.0) -> Model:
    """A flax linen module as a ``Model``.

    Records are cast to float32 and multiplied by ``scale`` before the module sees them. If its ``__call__`` has an
    argument ``train`` or ``training``, that tells whether it is trained; ``deterministic`` and ``use_running_average``
    tell the opposite. Dropout draws from the random stream "dropout". BatchNorm's statistics are those of the records
    of a batch, not of what pads it. On CPUs plain convolutions are computed by ``convolutions.conv``: the same up to
    rounding, and ten times as fast where many networks are trained.

    Args:
        module: an instance whose ``__call__`` takes x [b, *f] and gives logits [b, c].
        scale: what records are multiplied by; 1/255 for pixels.

    Raises:
        InputError: it is no linen module; on init, if the module keeps any state but parameters and batch statistics;
            in training, if a BatchNorm sees rows that are not those of the batch.

    >>> import jax, numpy as np, mia_jax as mia
    >>> from flax import linen as nn
    >>> model = mia.models.from_flax(nn.Sequential([nn.Dense(16), nn.relu, nn.Dense(3)]))
    >>> jax.eval_shape(lambda x: model.apply(model.init(jax.random.key(0), x), x), np.zeros((2, 4))).shape
    (2, 3)
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"{_named(module)} is no flax linen module: {instead(module)}")

    def init(key, x):
        variables = module.init(key, cast(x, scale), **modes(module, train=False))
        if state := set(variables) - {"params", "batch_stats"}:
            raise InputError(
                f"{type(module).__name__} keeps {', '.join(sorted(state))}: a model is a function of its parameters and"
                " batch statistics"
            )
        params = variables.get("params", {})
        return Variables(params, variables["batch_stats"]) if "batch_stats" in variables else params

    def forward(variables, x, weight, key):
        """Logits, and the new batch statistics; of a network without the latter, and without ``weight``, None."""
        stateful = isinstance(variables, Variables)
        collections = (
            {"params": variables.params, "batch_stats": variables.stats} if stateful else {"params": variables}
        )
        mutable = ["batch_stats"] if stateful and key is not None else False
        rngs = None if key is None else {"dropout": key}
        weighted = contextlib.nullcontext() if weight is None else nn.intercept_methods(_masking(weight != 0))
        with convolutions.in_place_of_flax(), weighted:
            mode = modes(module, train=key is not None)
            out = module.apply(collections, cast(x, scale), **mode, rngs=rngs, mutable=mutable)
        return (out[0], out[1]["batch_stats"]) if mutable else (out, None)

    def apply(params, x, *, key=None):
        return forward(params, x, None, key)[0]

    def train(variables, x, weight, *, key):
        return forward(variables, x, weight, key)

    return Model(init, apply, train=train)


def _masking(real: jax.Array) -> Callable:
    """An interceptor that has BatchNorm layers leave rows of a batch that are no records, ``real`` [b], out."""

    def intercept(next_method, args, kwargs, context):
        if (
            not isinstance(context.module, nn.BatchNorm)
            or context.method_name != "__call__"
            or kwargs.get("mask") is not None
        ):
            return next_method(*args, **kwargs)
        x = args[0] if args else kwargs["x"]
        return next_method(*args, **{**kwargs, "mask": row_mask(x, real, "/".join(context.module.path))})

    return intercept


def _named(module) -> str:
    return module.__name__ if isinstance(module, type) else f"an object of type {type(module).__name__}"


def instead(module) -> str:
    """What to give in the place of what is no linen module."""
    kinds = (module if isinstance(module, type) else type(module)).mro()
    library = next((kind.__module__ for kind in kinds if kind.__module__.startswith(("flax", "equinox"))), "")
    if library and isinstance(module, type):
        return f"it is a class, so give an instance of it, as {module.__name__}(...)"
    if library.startswith(("flax.nnx", "equinox")):
        return f"from_{'nnx' if 'nnx' in library else 'equinox'} takes it"
    return "give a flax.linen module or a mia_jax.Model(init, apply)"


# --- what adapters of all libraries share ----------------------------------------------------------------------------


def cast(x: Array, scale: float) -> jax.Array:
    """Records x [b, *f] as networks see them: float32 (or bfloat16 as they are), multiplied by ``scale``."""
    x = jnp.asarray(x)
    x = x if x.dtype == jnp.bfloat16 else x.astype(jnp.float32)
    return x if scale == 1 else x * scale


def called(module: Callable) -> frozenset[str]:
    """The names of the arguments that a module is called with."""
    return frozenset(inspect.signature(type(module).__call__).parameters)


def modes(module: Callable, train: bool) -> dict[str, Any]:
    """Those arguments of a module that tell whether it is trained, with their values."""
    known = {"train": train, "training": train, "deterministic": not train, "use_running_average": not train}
    known["inference"] = not train
    return {name: value for name, value in known.items() if name in called(module)}


def row_mask(x: jax.Array, real: jax.Array, name: str) -> jax.Array:
    """Which rows of x [b, ...] are records, ``real`` [b], in the form that flax's BatchNorm takes: [b, 1, ...].

    Raises:
        InputError: x has other rows than the batch.
    """
    if len(x) != len(real):
        raise InputError(
            f"BatchNorm {name} sees {len(x)} rows of a batch of {len(real)}: give it arrays whose first axis is the"
            " batch"
        )
    return real.reshape(-1, *[1] * (x.ndim - 1))
