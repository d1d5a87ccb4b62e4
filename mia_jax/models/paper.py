"""The networks of the paper, as pairs of pure functions.

Shokri et al. 2017, section VI-B: one hidden layer of 128 tanh units for Purchase, two convolution and max-pooling
layers and a hidden layer of 128 tanh units for CIFAR, multinomial logistic regression for what Amazon trained.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import linen as nn

from mia_jax.models.adapters import from_flax
from mia_jax.models.convolutions import conv_same
from mia_jax.models.layers import max_pool, with_channels
from mia_jax.types import InputError, Model


class _MLP(nn.Module):
    num_classes: int
    hidden: Sequence[int]
    activation: Callable
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(len(x), -1)
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


class _CNN(nn.Module):
    num_classes: int
    channels: Sequence[int]
    kernel: int
    dense: int
    activation: Callable
    dropout: float
    convolution: Callable

    @nn.compact
    def __call__(self, x, train):
        x = with_channels(x)
        for channels in self.channels:
            x = nn.Conv(channels, (self.kernel, self.kernel), conv_general_dilated=self.convolution)(x)
            # Pooling first: activations are monotone, so the result is the same and there is a quarter to activate.
            x = self.activation(max_pool(x))
        x = x.reshape(len(x), -1)
        x = self.activation(nn.Dense(self.dense)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


def layer_widths(hidden: int | str | Sequence[int]) -> tuple[int, ...]:
    """The units of each hidden layer, as mlp takes them: 128, or "128,64", or a sequence.

    Raises:
        InputError: one is no whole number above 0.
    """
    if isinstance(hidden, int):
        hidden = (hidden,)
    try:
        each = tuple(int(width) for width in (hidden.split(",") if isinstance(hidden, str) else hidden))
    except ValueError:
        raise InputError(f"`hidden={hidden}`: give the units of each layer, as 128 or 128,64") from None
    if not each or min(each) < 1:
        raise InputError(f"`hidden={hidden}`: each layer must have at least 1 unit")
    return each


def mlp(
    num_classes: int,
    hidden: Sequence[int] = (128,),
    *,
    activation: Callable = jnp.tanh,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> Model:
    """Fully connected layers on the flattened record (the paper's "local" network for Purchase).

    Args:
        num_classes: c.
        hidden: units of each hidden layer.
        activation: of the hidden layers.
        scale: what records are multiplied by; 1/255 for pixels.
        dropout: probability that a hidden unit is dropped in training.

    Returns:
        A Model of records [b, *f].

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.mlp(num_classes=10, hidden=(64, 32)), np.zeros((5, 8))
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape  # logits
    (5, 10)
    """
    return from_flax(_MLP(num_classes, tuple(hidden), activation, dropout), scale=scale)


def cnn(
    num_classes: int,
    *,
    channels: Sequence[int] = (32, 32),
    kernel: int = 5,
    dense: int = 128,
    activation: Callable = jnp.tanh,
    scale: float = 1 / 255,
    dropout: float = 0.0,
    convolution: Callable | None = None,
) -> Model:
    """Convolution and 2x2 max-pooling layers, a fully connected layer, softmax (the paper's network for CIFAR).

    Channels and kernel size are ours: the paper does not give them. Convolutions keep the height and width.

    Args:
        num_classes: c.
        channels: of each convolution.
        kernel: height and width of each convolution's kernel.
        dense: units of the fully connected layer.
        activation: of every hidden layer; monotone, for pooling comes before it.
        scale: what records are multiplied by.
        dropout: probability that a unit of the fully connected layer is dropped in training.
        convolution: ``conv_same``, which is fast under ``vmap`` over kernels on CPUs, or
            ``jax.lax.conv_general_dilated``, the vendor's own: on an H100 half as fast for 16 networks at once
            (benchmarks/README.md).

    Returns:
        A Model of images [b, h, w] or [b, h, w, channels].

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.cnn(num_classes=10, channels=(4, 4), dense=8), np.zeros((5, 8, 8, 3), np.uint8)
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 10)
    """
    module = _CNN(num_classes, tuple(channels), kernel, dense, activation, dropout, convolution or conv_same)
    return from_flax(module, scale=scale)


def logistic(num_classes: int, *, scale: float = 1.0) -> Model:
    """Multinomial logistic regression: what Amazon's service trained (paper, section VI-B).

    Args:
        num_classes: c.
        scale: what records are multiplied by.

    Returns:
        A Model of records [b, *f].

    >>> import jax, numpy as np, mia_jax as mia
    >>> params = jax.eval_shape(mia.models.logistic(num_classes=3).init, jax.random.key(0), np.zeros((1, 4)))
    >>> sorted(leaf.shape for leaf in jax.tree.leaves(params))
    [(3,), (4, 3)]
    """
    return mlp(num_classes, (), scale=scale)
