"""What images become before a network learns from them: cropped, flipped, with a hole; inside the jitted step.

An ``ImageAugmentation`` is a function (key, images [b, h, w] or [b, h, w, channels]) -> images of that shape and dtype.
Each image is augmented **by itself**: image i depends on the key, on its place i and on itself alone, whatever stands
beside or behind it. So what is drawn does not depend on padding, and a record's gradient under DP-SGD stays its own;
``regularizers.mixing``, which puts records into each other, is none of these.

``AUGMENTATIONS`` has them by name, ``parse`` reads them from text, ``augmenting`` makes of them what
``single.make_trainer`` takes.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from mia_jax import calls
from mia_jax.training import single
from mia_jax.types import InputError, Key

ImageAugmentation = Callable[[Key, jax.Array], jax.Array]


def crop(pixels: int = 4, *, zeros: bool = False) -> ImageAugmentation:
    """Pad images on all sides and crop them to their size at random: they move by up to ``pixels`` each way.

    Args:
        pixels: of padding on each side.
        zeros: pad with zeros (He et al. 2016, section 4.2; torchvision's RandomCrop); else by reflection without the
            edge itself, as LiRA's code does (``tf.pad`` with REFLECT, ``numpy.pad`` with "reflect").

    Returns:
        An ImageAugmentation. With reflection, images must have more pixels than are padded.
    """
    pixels = _whole("crop", pixels)

    def augment(key: Key, x: jax.Array) -> jax.Array:
        if not zeros and min(x.shape[1:3]) <= pixels:
            raise InputError(
                f"crop({pixels}): images of {x.shape[1]} by {x.shape[2]} pixels cannot be reflected so far"
            )
        return shifted(x, jax.random.randint(key, (len(x), 2), -pixels, pixels + 1), zeros=zeros)

    return augment


def shifted(x: jax.Array, by: jax.Array, *, zeros: bool = False) -> jax.Array:
    """Images whose pixel (i, j) is what was at (i, j) + by, with the image reflected at its edges or zeros beyond them.

    Args:
        x: [b, h, w] or [b, h, w, channels].
        by: int [b, 2], of rows and columns; by less than h and w.
        zeros: beyond the edges.
    """
    h, w = x.shape[1:3]
    rows, columns = (jnp.arange(size)[None] + by[:, axis, None] for axis, size in enumerate((h, w)))
    # One gather, which XLA fuses with what computes the places; slices of padded images under ``vmap`` are one, too, of
    # more bytes (docs/measurements.md, "Crops").
    moved = x[jnp.arange(len(x))[:, None, None], _reflected(rows, h)[:, :, None], _reflected(columns, w)[:, None, :]]
    if not zeros:
        return moved
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    return jnp.where(_wide(inside, x), moved, jnp.zeros((), x.dtype))


def _reflected(place: jax.Array, size: int) -> jax.Array:
    """Places beyond the edges of 0 to size - 1, reflected there."""
    return size - 1 - jnp.abs(size - 1 - jnp.abs(place))


def flip() -> ImageAugmentation:
    """Half of the images, drawn one by one, become their mirror images: left is right."""

    def augment(key: Key, x: jax.Array) -> jax.Array:
        return jnp.where(_wide(_coins(key, len(x)), x), x[:, :, ::-1], x)

    return augment


def cutout(pixels: int = 16) -> ImageAugmentation:
    """A square of ``pixels`` by ``pixels`` becomes gray (DeVries and Taylor 2017; 16 is theirs for CIFAR-10).

    Its center is anywhere in the image, so part of it may lie outside. Gray is the mean of the image, by channel, where
    theirs is the mean of the data set.
    """
    pixels = _whole("cutout", pixels, low=1)

    def augment(key: Key, x: jax.Array) -> jax.Array:
        keys = jax.random.split(key)
        near = []
        for k, size in zip(keys, x.shape[1:3], strict=True):
            first = jax.random.randint(k, (len(x), 1), 0, size) - pixels // 2
            place = jnp.arange(size)[None]
            near.append((place >= first) & (place < first + pixels))
        hole = near[0][:, :, None] & near[1][:, None, :]
        gray = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)
        gray = jnp.round(gray) if jnp.issubdtype(x.dtype, jnp.integer) else gray
        return jnp.where(_wide(hole, x), gray.astype(x.dtype), x)

    return augment


AUGMENTATIONS: dict[str, Callable[..., ImageAugmentation]] = {
    "crop": lambda pixels=4: crop(pixels),
    "crop_zeros": lambda pixels=4: crop(pixels, zeros=True),
    "flip": flip,
    "cutout": cutout,
}


def parse(text: str) -> tuple[ImageAugmentation, ...]:
    """Read augmentations from text, the first first; "none", or nothing, is none.

    Raises:
        InputError: an unknown name, arguments that it does not take, or text that is no list of calls.

    >>> len(parse("flip,crop(4),cutout(8)")), parse("none")
    (3, ())
    """
    if text.strip().lower() == "none":
        return ()
    found = calls.parse(
        text, AUGMENTATIONS, setting="image_augmentation", noun="image augmentation", example="flip,crop(4)"
    )
    return tuple(found)


def check(augmentations: Sequence[ImageAugmentation], shape: Sequence[int]) -> None:
    """Refuse to augment records that are no images, or too small ones.

    Args:
        augmentations: one after the other.
        shape: of a record, *f.

    Raises:
        InputError: records are of one axis, or of more than three; or an augmentation refuses their size.
    """
    if not augmentations:
        return
    if len(shape) not in (2, 3):
        raise InputError(
            f"`image_augmentation` is for images, [h, w] or [h, w, channels], and a record here has shape"
            f" {tuple(shape)}: leave it out"
        )
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    jax.eval_shape(lambda x: composed(augmentations)(jax.random.key(0), x), x)


def composed(augmentations: Sequence[ImageAugmentation]) -> ImageAugmentation:
    """One after the other, each with a key of its own."""

    def augment(key: Key, x: jax.Array) -> jax.Array:
        for k, each in enumerate(augmentations):
            x = each(jax.random.fold_in(key, k), x)
        return x

    return augment


def augmenting(augmentations: Sequence[ImageAugmentation], then: single.Augment | None = None) -> single.Augment | None:
    """What ``single.make_trainer`` takes as ``augment``: images augmented one by one, and ``then`` mixed.

    Args:
        augmentations: one after the other; none: ``then`` itself.
        then: ``regularizers.mixing``, or nothing more.
    """
    if not augmentations:
        return then
    images = composed(augmentations)

    def augment(key: Key, x: jax.Array, y: jax.Array, real: jax.Array) -> tuple[jax.Array, tuple]:
        key_images, key_then = jax.random.split(key)
        x = images(key_images, x)
        return (x, ((y, 1.0),)) if then is None else then(key_then, x, y, real)

    return augment


def _coins(key: Key, b: int) -> jax.Array:
    """Fair coins, bool [b]; that of place i does not depend on b."""
    return (jax.random.bits(key, (b,), jnp.uint32) >> 31).astype(bool)


def _wide(mask: jax.Array, x: jax.Array) -> jax.Array:
    """A mask [b] or [b, h, w] with axes of one behind, as many as x [b, h, w, ...] has."""
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def _whole(name: str, pixels: float, *, low: int = 0) -> int:
    """Pixels as an int. Raises InputError."""
    if not math.isfinite(pixels) or pixels != int(pixels) or pixels < low:
        raise InputError(f"{name}({pixels:g}): pixels must be a whole number of at least {low}")
    return int(pixels)
