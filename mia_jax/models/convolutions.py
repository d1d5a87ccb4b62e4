"""Convolutions that are fast on CPUs where many networks are trained at once.

Under ``vmap`` over kernels ``lax.conv_general_dilated`` becomes a grouped convolution, and inside ``scan`` it leaves
the fast path, which on CPUs costs a factor of 20 and more (benchmarks/README.md). Copies and one matmul become copies
and a batched matmul. ``in_place_of_flax`` puts them in the place of the convolutions of anybody's flax network.
"""

import contextlib
import contextvars
import itertools
import math
from collections.abc import Generator, Sequence
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from mia_jax.models import lax_convolutions

ALIGNED = 16  # float32 numbers of a cache line: matmuls over a multiple of it are faster on CPUs


def conv_same(x: jax.Array, kernel: jax.Array, strides=(1, 1), padding="SAME", **rest) -> jax.Array:
    """2-D convolution as copies and one matmul.

    The taps of a kernel's row are concatenated as channels. Its rows are concatenated, too, where that is less to copy,
    or else are columns of the matmul, whose results are shifted and added.

    Args:
        x: [b, h, w, i].
        kernel: [kh, kw, i, o].
        strides, padding, rest: what flax passes besides; nothing but its defaults is implemented.

    Returns:
        [b, h, w, o], equal to ``lax.conv_general_dilated`` with padding SAME, up to rounding.
    """
    assert tuple(strides) == (1, 1) and padding == "SAME", "see conv"
    kh, kw, i, o = kernel.shape
    b, h, w, _ = x.shape
    above, left = (kh - 1) // 2, (kw - 1) // 2
    x = jnp.concatenate([_shifted(x, left - s, axis=2) for s in range(kw)], axis=-1)
    if kw * i <= o:
        rows = [_shifted(x, above - r, axis=1) for r in range(kh)]
        unaligned = -(kh * kw * i) % ALIGNED
        x = jnp.concatenate([*rows, jnp.zeros((b, h, w, unaligned), x.dtype)], axis=-1)
        kernel = jnp.pad(kernel.reshape(-1, o), ((0, unaligned), (0, 0)))
        return (x.reshape(b * h * w, -1) @ kernel).reshape(b, h, w, o)
    columns = kernel.transpose(1, 2, 0, 3).reshape(kw * i, kh * o)
    y = (x.reshape(b * h * w, kw * i) @ columns).reshape(b, h, w, kh * o)
    # Split, not sliced: so that the gradient is a concatenation, not a sum of padded arrays.
    rows = jax.lax.split(y, [o] * kh, axis=-1)
    return cast(jax.Array, sum(_shifted(row, above - r, axis=1) for r, row in enumerate(rows)))  # of one row at least


def _shifted(x: jax.Array, by: int, axis: int) -> jax.Array:
    """x, moved along an axis; zeros come in, what leaves is lost."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    **rest,
) -> jax.Array:
    """What ``lax.conv_general_dilated`` computes, as flax calls it, up to rounding: as is faster on a CPU.

    By copies and one matmul, or on CPUs by XLA's own convolution where copies are most of the work. With any strides,
    padding and dilation of the kernel. Grouped, transposed and 3-D convolutions, and those with a precision of their
    own, are left to it.

    Args:
        x: [b, *spatial, i].
        kernel: [*spatial, i, o].
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, rest: as of
            ``lax.conv_general_dilated``.
    """
    spatial = kernel.ndim - 2
    dilation = tuple(rhs_dilation or (1,) * spatial)
    strides = tuple(window_strides)
    plain = (
        feature_group_count == 1
        and spatial in (1, 2)
        and all(d == 1 for d in lhs_dilation or ())
        and all(value is None for value in rest.values())
        and dimension_numbers == channels_last(spatial)
        and jnp.issubdtype(x.dtype, jnp.floating)
        and x.size > 0
    )
    if not plain:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            **rest,
        )
    if (counter := _counted.get()) is not None:
        counter.append(1)
    unit = (1,) * spatial
    if spatial == 2 and strides == unit and dilation == unit and padding == "SAME":
        if _mostly_copies(x, kernel):
            pads = tuple(((size - 1) // 2, size // 2) for size in kernel.shape[:2])
            return lax_convolutions.convolve(x, kernel, pads)
        return conv_same(x, kernel)
    return _gathered(x, kernel, strides, padding, dilation)


def _mostly_copies(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether copies are most of the work: few channels out, but enough in (measured: benchmarks/README.md).

    One record at a time is what per-example gradients ask for, by ``vmap``: a kernel's gradient for each record, which
    XLA's convolutions would compute one after the other.
    """
    *_, i, o = kernel.shape
    return jax.default_backend() == "cpu" and len(x) > 1 and i >= 16 and o <= 128


def channels_last(spatial: int) -> jax.lax.ConvDimensionNumbers:
    """Where batch and channels are in x, kernel and result, as flax lays them out."""
    outer, inner = (0, spatial + 1, *range(1, spatial + 1)), (spatial + 1, spatial, *range(spatial))
    return jax.lax.ConvDimensionNumbers(outer, inner, outer)


def _gathered(x: jax.Array, kernel: jax.Array, strides, padding, dilation) -> jax.Array:
    """The records at every tap of the kernel, concatenated as channels, and one matmul."""
    *sizes, i, o = kernel.shape
    windows = [(size - 1) * d + 1 for size, d in zip(sizes, dilation, strict=True)]
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:-1], windows, strides, padding)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((a, b, 0) for a, b in padding), (0, 0, 0)])
    out = [(n - window) // stride + 1 for n, window, stride in zip(x.shape[1:-1], windows, strides, strict=True)]

    if min(out) < 1:  # a kernel that is larger than what it is laid on
        return jnp.zeros((len(x), *(max(n, 0) for n in out), o), x.dtype)

    def at(tap: tuple[int, ...]) -> jax.Array:
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        stop = [s + (n - 1) * stride + 1 for s, n, stride in zip(start, out, strides, strict=True)]
        return jax.lax.slice(x, (0, *start, 0), (len(x), *stop, i), (1, *strides, 1))

    taps = [at(tap) for tap in itertools.product(*map(range, sizes))]
    unaligned = -(math.prod(sizes) * i) % ALIGNED
    columns = jnp.concatenate([*taps, jnp.zeros((len(x), *out, unaligned), x.dtype)], axis=-1)
    flat = jnp.pad(kernel.reshape(-1, o), ((0, unaligned), (0, 0)))
    return (columns.reshape(-1, columns.shape[-1]) @ flat).reshape(len(x), *out, o)


# --- in anybody's network --------------------------------------------------------------------------------------------

_counted: contextvars.ContextVar[list | None] = contextvars.ContextVar("counted", default=None)
# Whether ``conv`` takes the place of flax's convolutions; None: on CPUs only.
_replaced: contextvars.ContextVar[bool | None] = contextvars.ContextVar("replaced", default=None)


@contextlib.contextmanager
def as_written() -> Generator[None]:
    """Networks that are traced in the block compute as their authors wrote."""
    token = _replaced.set(False)
    try:
        yield
    finally:
        _replaced.reset(token)


@contextlib.contextmanager
def by_patches() -> Generator[None]:
    """Networks that are traced in the block compute plain convolutions by ``conv``, on accelerators, too."""
    token = _replaced.set(True)
    try:
        yield
    finally:
        _replaced.reset(token)


@contextlib.contextmanager
def counted() -> Generator[list]:
    """Gives a list that has an element for each convolution that is put in flax's place in the block."""
    token = _counted.set(calls := [])
    try:
        yield calls
    finally:
        _counted.reset(token)


def are_ours() -> bool:
    """Whether ``conv`` is to take the place of others' convolutions.

    On CPUs it is, elsewhere within ``by_patches``, and nowhere within ``as_written``.
    """
    chosen = _replaced.get()
    return jax.default_backend() == "cpu" if chosen is None else chosen


@contextlib.contextmanager
def in_place_of_flax() -> Generator[None]:
    """Where ``are_ours``, ``nn.Conv`` layers that were not given a convolution compute by ``conv``."""
    if not are_ours():
        yield
        return
    with nn.intercept_methods(_with_conv):
        yield


def _with_conv(next_method, args, kwargs, context):
    layer = context.module
    other = type(layer) is not nn.Conv or layer.conv_general_dilated or layer.conv_general_dilated_cls
    if other or context.method_name != "__call__":
        return next_method(*args, **kwargs)
    object.__setattr__(layer, "conv_general_dilated", conv)  # a bound layer is this call's own, and frozen
    try:
        return next_method(*args, **kwargs)
    finally:
        object.__setattr__(layer, "conv_general_dilated", None)
