"""Augmented images, beside NumPy's for the same draws; what is drawn depends on nothing but the key and the place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax.models import networks
from mia_jax.training import augmentations, many, regularizers, single
from mia_jax.types import InputError, Records

KEY = jax.random.key(3)
SHAPES = [(9, 8, 7, 3), (9, 8, 7)]
TEXTS = ["crop(3)", "crop_zeros(3)", "flip", "cutout(4)", "flip,crop(2),cutout(3)"]


def images(shape=(9, 8, 7, 3), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@functools.cache
def augment(text):
    return jax.jit(augmentations.composed(augmentations.parse(text)))


def augmented(text, x, key=KEY):
    return np.asarray(augment(text)(key, x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("zeros", [False, True])
def test_shifts_are_numpys_crops_of_padded_images(shape, dtype, zeros):
    x, pad = images(shape, dtype), 4
    by = np.random.default_rng(1).integers(-pad, pad + 1, (len(x), 2))
    by[:4] = [(-pad, -pad), (pad, pad), (0, 0), (-pad, pad)]
    moved = np.asarray(jax.jit(functools.partial(augmentations.shifted, zeros=zeros))(x, by))
    wide = [(pad, pad)] * 2 + [(0, 0)] * (len(shape) - 3)
    for image, (i, j), found in zip(x, by + pad, moved, strict=True):
        padded = np.pad(image, wide, **({} if zeros else {"mode": "reflect"}))
        np.testing.assert_array_equal(found, padded[i : i + 8, j : j + 7])
    assert moved.dtype == dtype


def test_crops_move_by_every_offset_alike():
    """A ramp tells by how much it was moved: 9 x 9 offsets, none twice as frequent as it should be."""
    ramp = np.add.outer(100 * np.arange(20), np.arange(20)).astype(np.float32)
    moved = augmented("crop_zeros(4)", np.broadcast_to(ramp, (8100, 20, 20)))[:, 10, 10] - ramp[10, 10]
    values, counts = np.unique(moved, return_counts=True)
    assert len(values) == 81 and values.min() == -404 and values.max() == 404
    assert counts.min() > 50 and counts.max() < 160


def test_a_flip_is_a_mirror_image_of_half_of_the_images():
    x = images((400, 4, 5, 3))
    flipped = augmented("flip", x)
    mirrored = (flipped == x[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(flipped[~mirrored], x[~mirrored])
    assert 160 < mirrored.sum() < 240


def test_cutout_is_a_gray_square_that_may_lie_partly_outside():
    x = images((300, 8, 8, 3))
    cut = augmented("cutout(4)", x)
    gray = np.broadcast_to(np.round(x.mean(axis=(1, 2), keepdims=True)).astype(np.uint8), x.shape)
    sizes = set()
    for before, after, mean in zip(x, cut, gray, strict=True):
        rows, columns = np.nonzero((after != before).any(axis=-1))
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        np.testing.assert_allclose(after[top:bottom, left:right], mean[top:bottom, left:right], atol=1)
        sizes.add((bottom - top, right - left))
    assert max(sizes) == (4, 4) and min(sizes)[0] == 2 and cut.dtype == np.uint8


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_drawn_depends_on_the_key_and_the_place_alone(text, shape):
    """Not on how many images there are, nor on what they show."""
    x = images(shape)
    found = augmented(text, x)
    assert found.dtype == x.dtype and (found != x).any()
    others = np.concatenate([x[:4], 255 - x[4:], x, x])
    np.testing.assert_array_equal(augmented(text, others)[:4], found[:4])
    assert (augmented(text, x, jax.random.key(4)) != found).any()
    lanes = jax.jit(jax.vmap(augment(text)))(jnp.stack([KEY, KEY]), np.stack([x, x]))
    np.testing.assert_array_equal(lanes[1], found)


def test_images_are_augmented_before_they_are_mixed():
    x, y, real = images(), np.arange(9), np.arange(9) < 7
    mixing = regularizers.mixing(0.5)
    both = augmentations.augmenting(augmentations.parse("flip"), mixing)
    mixed, labels = both(KEY, x, y, real)
    key_images, key_then = jax.random.split(KEY)
    alone, labels_alone = mixing(key_then, augmented("flip", x, key_images), y, real)
    np.testing.assert_allclose(mixed, alone, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, labels, labels_alone)
    assert augmentations.augmenting((), mixing) is mixing and augmentations.augmenting(()) is None


def test_padded_training_sets_train_the_same_network():
    """Rows that are no record change neither what is drawn nor what is learned."""
    x = images((40, 6, 6, 2))
    pool = Records(x, (np.arange(40) % 3).astype(np.int32))
    augment = augmentations.augmenting(augmentations.parse("flip,crop(2),cutout(2)"))
    trainer = single.make_trainer(networks.mlp(3, (8,), scale=1 / 255), optax.sgd(0.1), 5, augment=augment)
    keys, rows = jax.random.split(jax.random.key(0), 2), np.stack([np.arange(13), np.arange(20, 33)])
    plain = many.fit_many(trainer, keys, pool, rows, 3)
    padded = many.fit_many(trainer, keys, pool, np.pad(rows, ((0, 0), (0, 9)), constant_values=-1), 3)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), padded, plain)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("crops(4)", (32, 32, 3), r"^there is no image augmentation 'crops'; use crop\(pixels\)"),
        ("crop(1.5)", (32, 32, 3), r"^crop\(1.5\): pixels must be a whole number"),
        ("crop(-1)", (32, 32, 3), r"^crop\(-1\): pixels must be a whole number of at least 0"),
        ("cutout(0)", (32, 32, 3), r"^cutout\(0\): pixels must be a whole number of at least 1"),
        ("crop(4)", (4, 9), r"^crop\(4\): images of 4 by 9 pixels cannot be reflected so far"),
        ("flip", (600,), r"^`image_augmentation` is for images, .* a record here has shape \(600,\): leave it out"),
    ],
)
def test_what_does_not_go_is_refused(text, shape, message):
    with pytest.raises(InputError, match=message) as error:
        augmentations.check(augmentations.parse(text), shape)
    assert "\n" not in str(error.value)
    augmentations.check((), shape)
