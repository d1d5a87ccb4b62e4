"""A small fast network for CIFAR, after airbench94.

Keller Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, 2024: whitened 2x2 patches, three
groups of two 3x3 convolutions, GELU, batch normalization without scales, logits scaled down.

Departure: there, the first layer is fixed to the principal components of the training set's patches. Here a network
that is made knows one record. So patches are transformed by cosines, which are nearly the principal components of
natural images' patches (of three colors: their sum, first against last, middle against both), and batch statistics,
which are the training set's own, divide each component by its standard deviation. As there, components enter with both
signs, and the biases behind them learn. What else that paper does (rates of their own for biases, alternating flips,
test-time augmentation) is no part of a network.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mia_jax.models.adapters import from_flax
from mia_jax.models.layers import batch_norm, max_pool, with_channels
from mia_jax.types import Model

LEAST = 17  # pixels a side: 16 behind the first layer, which three poolings halve to 2
NOISE = 3e-5  # variance below which a component counts as noise: Jordan's 5e-4, in units of pixels between 0 and 1

_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # as PyTorch's layers begin


class _Airbench(nn.Module):
    num_classes: int
    widths: Sequence[int]
    logit_scale: float

    @nn.compact
    def __call__(self, x, train):
        x = components(with_channels(x))
        x = batch_norm(train, use_scale=False, use_bias=False, epsilon=NOISE)(x)
        x = jnp.concatenate([x, -x], axis=-1)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = nn.gelu(x + bias[None, None, None].astype(x.dtype))
        for width in self.widths:
            x = _normalized(max_pool(_conv(width)(x)), train)
            x = _normalized(_conv(width)(x), train)
        x = x.max(axis=(1, 2))
        return self.logit_scale * nn.Dense(self.num_classes, use_bias=False, kernel_init=_uniform)(x)


def _conv(width: int) -> nn.Conv:
    return nn.Conv(width, (3, 3), use_bias=False, kernel_init=passing_on)


def _normalized(x: jax.Array, train: bool) -> jax.Array:
    return nn.gelu(batch_norm(train, use_scale=False, momentum=0.6)(x))


def passing_on(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Kernels [3, 3, i, o] whose first i outputs are the inputs themselves; the others begin as in PyTorch."""
    i, o = shape[-2:]
    kernel = _uniform(key, shape, dtype)
    same = jnp.zeros(shape, dtype).at[1, 1].set(jnp.eye(i, o, dtype=dtype))
    return jnp.where((jnp.arange(o) < i)[None, None, None], same, kernel)


def components(x: jax.Array) -> jax.Array:
    """2x2 patches in the orthonormal basis of cosines over height, width and channels.

    Args:
        x: [b, h, w, i].

    Returns:
        [b, h - 1, w - 1, 4 i].
    """
    x = x @ jnp.asarray(_cosines(x.shape[-1]), x.dtype)
    for axis in (1, 2):
        first, second = (jax.lax.slice_in_dim(x, start, x.shape[axis] - 1 + start, axis=axis) for start in (0, 1))
        x = math.sqrt(0.5) * jnp.concatenate([first + second, first - second], axis=-1)
    return x


def _cosines(n: int) -> np.ndarray:
    """The orthonormal cosine transform (DCT-II) of n numbers, as a matrix [n, n] whose columns are the components."""
    at, frequency = np.arange(n)[:, None] + 0.5, np.arange(n)[None]
    return np.sqrt(np.where(frequency == 0, 1, 2) / n) * np.cos(np.pi * at * frequency / n)


def airbench(
    num_classes: int, *, widths: Sequence[int] = (64, 256, 256), logit_scale: float = 1 / 9, scale: float = 1 / 255
) -> Model:
    """A small fast network for CIFAR, after airbench94 (Jordan 2024): 2.0 million parameters, six 3x3 convolutions.

    Args:
        num_classes: c.
        widths: channels of each group.
        logit_scale: what logits are multiplied by.
        scale: what records are multiplied by; 1/255 for pixels.

    Returns:
        A Model of images [b, h, w] or [b, h, w, channels] with batch statistics.

    References:
        Jordan 2024, arXiv 2404.00498, section 3; departures in the docstring of the module.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.airbench(10, widths=(4, 8)), np.zeros((5, 8, 8, 3), np.uint8)
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 10)
    """
    return from_flax(_Airbench(num_classes, tuple(widths), logit_scale), scale=scale)
