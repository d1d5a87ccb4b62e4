"""XLA's own convolutions, written so that they are fast inside loops on CPUs.

XLA hands a convolution to its library of kernels only if batch and channels lie as NHWC, HWIO, NHWC. It transposes
what lies otherwise, but at the top of a program alone: inside ``scan``, where training is, the two gradients that JAX
derives are left in the layouts that they come in, and computed by plain loops, 30 to 80 times as slow (jax 0.10.2 and
0.12.0). So the gradients are written here, with transposed operands. And ``vmap`` over kernels gives one grouped
convolution, which no library has; here it gives one convolution after the other.
"""

import functools

import jax
import jax.numpy as jnp

LAYOUT = ("NHWC", "HWIO", "NHWC")
MOST_LANES = 8  # as many convolutions as a program has one after the other; of more it becomes long

Pads = tuple[tuple[int, int], tuple[int, int]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, padding: Pads) -> jax.Array:
    """2-D convolution by ``lax.conv_general_dilated``, with gradients that are fast on CPUs.

    The gradients are such convolutions, too, so they have gradients again; what it has not is a forward mode
    (``jax.jvp``).

    Args:
        x: [b, h, w, i].
        kernel: [kh, kw, i, o].
        padding: zeros before and after, for each axis, fewer than the kernel is long.

    Returns:
        [b, h', w', o].
    """
    return _plain(padding)(x, kernel)


def _forward(x, kernel, padding):
    return convolve(x, kernel, padding), (x, kernel)


def _backward(padding, saved, g):
    x, kernel = saved
    rest = tuple((size - 1 - a, size - 1 - b) for size, (a, b) in zip(kernel.shape[:2], padding, strict=True))
    dx = convolve(g, kernel[::-1, ::-1].transpose(0, 1, 3, 2), rest)
    dk = convolve(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), padding)
    return dx, dk.transpose(1, 2, 0, 3)


convolve.defvjp(_forward, _backward)


@functools.cache
def _plain(padding: Pads):
    """The convolution itself; under ``vmap`` one after the other."""

    @jax.custom_batching.custom_vmap
    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=LAYOUT)

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
