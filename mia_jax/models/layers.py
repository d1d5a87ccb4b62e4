"""What the networks for images have in common: channels, pooling, convolutions, batch statistics."""

import jax
from flax import linen as nn

# He et al. 2015, "Delving deep into rectifiers", section 2.2, backward case, as the ResNets of 2016 begin.
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def with_channels(x: jax.Array) -> jax.Array:
    """Images [b, h, w] or [b, h, w, channels] as the latter."""
    return x[..., None] if x.ndim == 3 else x


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling of [b, h, w, i] with stride 2; an odd last row or column is dropped, as by flax and PyTorch.

    By reshaping: the gradient of ``lax.reduce_window`` is slow on CPUs.
    """
    b, h, w, i = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, i).max(axis=(2, 4))


def conv(channels: int, size: int = 3, strides: int = 1) -> nn.Conv:
    """A convolution without biases that keeps height and width, divided by its strides; as PyTorch pads it."""
    return nn.Conv(
        channels,
        (size, size),
        strides=(strides, strides),
        padding="SAME" if strides == 1 else size // 2,
        use_bias=False,
        kernel_init=he_normal,
    )


def batch_norm(
    train: bool, *, momentum: float = 0.9, epsilon: float = 1e-5, use_scale: bool = True, use_bias: bool = True
) -> nn.BatchNorm:
    """Batch normalization that begins as PyTorch's does, whose momentum of .1 is .9 in flax."""
    return nn.BatchNorm(not train, momentum=momentum, epsilon=epsilon, use_scale=use_scale, use_bias=use_bias)
