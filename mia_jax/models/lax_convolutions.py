"""XLA's own convolutions, written so that they are fast inside loops on CPUs.

XLA hands a convolution to its library of kernels only if batch and channels lie as NHWC, HWIO, NHWC. It transposes
what lies otherwise, but at the top of a program alone: inside ``scan``, where training is, the two gradients that JAX
derives are left in the layouts that they come in, and computed by plain loops, 30 times as slow (jax 0.10 to 0.12). So
the gradients are written here, with transposed operands. And ``vmap`` over kernels gives one grouped convolution,
which no library has; here it gives one convolution after the other.
"""

import functools

import jax
import jax.numpy as jnp

LAYOUT = ("NHWC", "HWIO", "NHWC")
MOST_LANES = 8  # as many convolutions as a program has one after the other; of more it becomes long

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Pads, dilation: Pair) -> jax.Array:
    """2-D convolution by ``lax.conv_general_dilated``, with gradients that are fast on CPUs.

    Args:
        x: [b, h, w, i].
        kernel: [kh, kw, i, o].
        strides: steps of the kernel.
        padding: zeros before and after, for each axis, fewer than the (dilated) kernel is long.
        dilation: distance of the kernel's taps.

    Returns:
        [b, h', w', o].
    """
    return _plain(strides, padding, (1, 1), dilation)(x, kernel)


def _forward(x, kernel, strides, padding, dilation):
    return convolve(x, kernel, strides, padding, dilation), (x, kernel)


def _backward(strides, padding, dilation, saved, g):
    x, kernel = saved
    before = tuple(a for a, _ in padding)
    n, k = x.shape[1:3], kernel.shape[:2]
    reach = [(size - 1) * d for size, d in zip(k, dilation, strict=True)]  # a kernel's length, less one
    wide = [(size - 1) * s + 1 for size, s in zip(g.shape[1:3], strides, strict=True)]  # g with zeros between
    pads = tuple((r - a, m - w + a) for r, a, m, w in zip(reach, before, n, wide, strict=True))
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    dx = _plain((1, 1), pads, strides, dilation)(g, flipped)

    after = [r + w - m - a for r, w, m, a in zip(reach, wide, n, before, strict=True)]
    used = x[:, : n[0] + min(after[0], 0), : n[1] + min(after[1], 0)]  # strides may leave a last row out
    pads = tuple((a, max(b, 0)) for a, b in zip(before, after, strict=True))
    dk = _plain(dilation, pads, (1, 1), strides)(used.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3))
    return dx, dk.transpose(1, 2, 0, 3)


convolve.defvjp(_forward, _backward)


@functools.cache
def _plain(strides: Pair, padding: Pads, between: Pair, dilation: Pair):
    """The convolution itself: x with zeros ``between``; under ``vmap`` one after the other."""

    @jax.custom_batching.custom_vmap
    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, strides, padding, lhs_dilation=between, rhs_dilation=dilation, dimension_numbers=LAYOUT
        )

    @plain.def_vmap
    def in_turn(size, batched, x, kernel):
        if not batched[1]:  # one kernel: as one larger batch
            y = plain(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(size, -1, *y.shape[1:]), True
        if size <= MOST_LANES:
            pairs = [(x[i] if batched[0] else x, kernel[i]) for i in range(size)]
            return jnp.stack([plain(*pair) for pair in pairs]), True
        x = x if batched[0] else jnp.broadcast_to(x, (size, *x.shape))
        return jax.lax.map(lambda pair: plain(*pair), (x, kernel)), True

    return plain
