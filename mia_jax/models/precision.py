"""In which arithmetic a network computes. Parameters, batch statistics, losses and answers stay in float32."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from mia_jax.models.wrapping import wrapped
from mia_jax.types import InputError, Model, Variables

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS = ("float32", "tf32", "bfloat16")


def computed_in(model: Model, precision: Precision) -> Model:
    """The model, computed in a precision.

    ``float32``: matmuls and convolutions in float32, on GPUs and TPUs too, which otherwise take less. ``tf32``: with
    the factors rounded to 10 bits of mantissa (NVIDIA GPUs since Ampere). ``bfloat16``: parameters and records are cast
    before the forward pass, so that everything in it is bfloat16 but what the network itself keeps in float32, as
    flax's normalization does with its statistics; gradients come back in float32 (Micikevicius et al. 2018, "Mixed
    precision training", without the scaling of losses, which bfloat16 does not need).

    Args:
        model: in any precision; one that fixes a dtype keeps it.
        precision: one of ``PRECISIONS``.

    Returns:
        A Model with the same parameters.

    Raises:
        InputError: there is no such precision, or the device lacks it.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.mlp(num_classes=10), np.zeros((5, 8), np.float32)
    >>> low = mia.models.computed_in(model, "bfloat16")
    >>> params = low.init(jax.random.key(0), x)
    >>> low.apply(params, x).dtype, jax.tree.leaves(params)[0].dtype
    (dtype(bfloat16), dtype('float32'))
    """
    check(precision)
    if precision == "bfloat16":
        low = wrapped(model, x=lambda x: jnp.asarray(x).astype(jnp.bfloat16), params=_low)
        return low._replace(init=model.init)  # which may take its parameters' type from the records
    if jax.default_backend() == "cpu":  # computes in float32 whatever is asked for
        return model
    matmul = {"float32": "float32", "tf32": "tensorfloat32"}[precision]
    return wrapped(model, context=lambda: jax.default_matmul_precision(matmul))


def _low(variables: Any) -> Any:
    """Parameters in bfloat16, where they are float32; batch statistics as they are."""
    if isinstance(variables, Variables):
        return variables._replace(params=_low(variables.params))
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.dtype == jnp.float32 else leaf, variables)


def check(precision: str) -> None:
    """Refuse a precision that is unknown, or that the first device lacks.

    Raises:
        InputError: it is one of these.
    """
    if precision not in PRECISIONS:
        raise InputError(f"there is no precision {precision!r}; use one of {', '.join(PRECISIONS)}")
    device = jax.local_devices()[0]
    capability = float(getattr(device, "compute_capability", "0") or 0)
    if precision == "tf32" and (device.platform != "gpu" or capability < 8):
        raise InputError(f"precision=tf32 is for NVIDIA GPUs since Ampere, and this runs on {device.device_kind}")
    if precision == "bfloat16" and device.platform == "gpu" and capability < 8:
        raise InputError(f"{device.device_kind} has no bfloat16: use precision=float32")
