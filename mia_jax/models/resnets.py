"""Residual networks for small images: ResNet-18 as it is used on CIFAR, and wide residual networks.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Deep residual learning for image recognition", CVPR 2016.
Sergey Zagoruyko, Nikos Komodakis, "Wide residual networks", BMVC 2016.

Both are written as published, with batch statistics; nothing in them fixes a type, so that they compute in that of
their parameters and records (statistics of batches are float32 in any case).
"""

from collections.abc import Sequence

from flax import linen as nn

from mia_jax.models.adapters import from_flax
from mia_jax.models.layers import batch_norm, conv, with_channels
from mia_jax.types import Model

LEAST = 8  # pixels a side: three stages halve it, and something is to be left


class _ResNet(nn.Module):
    """Stages of basic blocks (He et al., figure 5 left); the first of each stage but the first halves the image."""

    num_classes: int
    widths: Sequence[int]
    blocks: Sequence[int]

    @nn.compact
    def __call__(self, x, train):
        x = conv(self.widths[0])(with_channels(x))
        x = nn.relu(batch_norm(train)(x))
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for block in range(blocks):
                x = _basic_block(x, width, 2 if stage > 0 and block == 0 else 1, train)
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


def _basic_block(x, width: int, strides: int, train: bool):
    """Two 3x3 convolutions with batch statistics beside the identity, or a projection where the shape changes."""
    y = nn.relu(batch_norm(train)(conv(width, strides=strides)(x)))
    y = batch_norm(train)(conv(width)(y))
    if y.shape != x.shape:
        x = batch_norm(train)(conv(width, 1, strides)(x))
    return nn.relu(x + y)


class _WideResNet(nn.Module):
    """Three stages of pre-activation blocks (Zagoruyko and Komodakis, table 1)."""

    num_classes: int
    depth: int
    widen: int
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = conv(16)(with_channels(x))
        for stage in range(3):
            for block in range((self.depth - 4) // 6):
                strides = 2 if stage > 0 and block == 0 else 1
                x = self._block(x, 16 * self.widen * 2**stage, strides, train)
        x = nn.relu(batch_norm(train)(x))
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))

    def _block(self, x, width: int, strides: int, train: bool):
        active = nn.relu(batch_norm(train)(x))
        y = nn.relu(batch_norm(train)(conv(width, strides=strides)(active)))
        y = conv(width)(nn.Dropout(self.dropout, deterministic=not train)(y))
        if y.shape != x.shape:  # projected after the activation, as in the authors' program
            x = conv(width, 1, strides)(active)
        return x + y


def resnet(
    num_classes: int,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    scale: float = 1 / 255,
) -> Model:
    """A residual network of basic blocks whose first convolution is 3x3 with stride 1, without pooling (for CIFAR).

    The defaults are ResNet-18. With the first layer of 7x7 with stride 2 and the pooling that ImageNet needs, images of
    32x32 pixels would enter the first block at 8x8. Departure: records are not standardized per channel, but multiplied
    by ``scale``; the batch normalization behind the first convolution takes care of the rest.

    Args:
        num_classes: c.
        widths: channels of each stage.
        blocks: basic blocks of each stage.
        scale: what records are multiplied by; 1/255 for pixels.

    Returns:
        A Model of images [b, h, w] or [b, h, w, channels] with batch statistics.

    References:
        He et al. 2016, section 3.3 and table 1; parameters as of the usual PyTorch program for CIFAR, 11,173,962.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.resnet(10, widths=(4, 8), blocks=(1, 1)), np.zeros((5, 8, 8, 3), np.uint8)
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 10)
    """
    return from_flax(_ResNet(num_classes, tuple(widths), tuple(blocks)), scale=scale)


def wide_resnet(
    num_classes: int, *, depth: int = 28, widen: int = 2, dropout: float = 0.0, scale: float = 1 / 255
) -> Model:
    """A wide residual network, WRN-depth-widen; by default WRN-28-2, LiRA's network for CIFAR-10.

    Departure: records are not standardized per channel, but multiplied by ``scale``.

    Args:
        num_classes: c.
        depth: convolutions in all; 4 more than a multiple of 6.
        widen: k; stages have 16 k, 32 k and 64 k channels.
        dropout: probability that a unit between a block's two convolutions is dropped in training.
        scale: what records are multiplied by; 1/255 for pixels.

    Returns:
        A Model of images [b, h, w] or [b, h, w, channels] with batch statistics.

    References:
        Zagoruyko and Komodakis 2016, section 2 and table 1.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.wide_resnet(10, depth=10, widen=1), np.zeros((5, 8, 8, 3), np.uint8)
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 10)
    """
    assert depth % 6 == 4 and depth > 4, "blocks have two convolutions, and there are three stages of as many blocks"
    return from_flax(_WideResNet(num_classes, depth, widen, dropout), scale=scale)
