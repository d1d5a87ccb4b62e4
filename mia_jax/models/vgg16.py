"""VGG for small images, with batch statistics: 3x3 convolutions and poolings alone.

Karen Simonyan, Andrew Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
"""

from collections.abc import Sequence

from flax import linen as nn

from mia_jax.models.adapters import from_flax
from mia_jax.models.layers import batch_norm, he_normal, max_pool, with_channels
from mia_jax.types import Model

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # table 1, D
LEAST = 16  # pixels a side: four poolings leave one


class _VGG(nn.Module):
    num_classes: int
    widths: Sequence[Sequence[int]]

    @nn.compact
    def __call__(self, x, train):
        x = with_channels(x)
        for stage in self.widths:
            for width in stage:
                x = nn.relu(batch_norm(train)(nn.Conv(width, (3, 3), kernel_init=he_normal)(x)))
            x = max_pool(x) if min(x.shape[1:3]) > 1 else x
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


def vgg(num_classes: int, *, widths: Sequence[Sequence[int]] = WIDTHS, scale: float = 1 / 255) -> Model:
    """VGG-16 for small images, as it is used on CIFAR: batch statistics, and one dense layer in the place of three.

    Args:
        num_classes: c.
        widths: channels of each convolution, by stage; a pooling ends each.
        scale: what records are multiplied by; 1/255 for pixels.

    Returns:
        A Model of images [b, h, w] or [b, h, w, channels] with batch statistics. Images below 32 pixels are pooled
        until a pixel is left.

    References:
        Simonyan and Zisserman 2015, table 1, column D; 14,728,266 parameters, as of the usual PyTorch program.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.vgg(10, widths=((4,), (8,))), np.zeros((5, 8, 8, 3), np.uint8)
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 10)
    """
    return from_flax(_VGG(num_classes, tuple(map(tuple, widths))), scale=scale)
