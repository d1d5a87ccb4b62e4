"""Records that are changed a little, each kind of field in its own way."""

import itertools

import jax
import numpy as np
import pytest
from test_attacks_more import KEY, schema_of

from mia_jax.attacks import perturbation
from mia_jax.types import Field


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_digest_is_of_the_content(dtype):
    x = np.random.default_rng(0).integers(0, 2, (2000, 3, 11)).astype(dtype)
    digests = np.asarray(perturbation.digest(x))
    assert digests.dtype == np.uint32 and len(np.unique(digests)) == len(np.unique(x, axis=0))
    np.testing.assert_array_equal(jax.jit(perturbation.digest)(x[::-1]), digests[::-1])
    changed = x.copy()
    changed[:, 1, 4] = 1 - changed[:, 1, 4]
    flipped = np.unpackbits((digests ^ np.asarray(perturbation.digest(changed))).view(np.uint8)).mean()
    assert abs(flipped - 0.5) < 0.01  # half of the bits, of 64,000


def test_every_kind_of_field_is_perturbed_in_its_own_way():
    fields = (
        Field("bits", "binary", 0, 50),
        Field("job", "categorical", 50, 55, categories=tuple("abcde")),
        Field("age", "numeric", 55, 56, 10.0, 90.0),
    )
    schema = schema_of(*fields)
    perturb = perturbation.perturbation(schema)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 2, 50), np.eye(5)[2], [50.0]]).astype(np.float32)
    many = np.asarray(jax.jit(jax.vmap(perturb, in_axes=(0, None, None)))(jax.random.split(KEY, 4000), x, 0.1))
    assert many.dtype == np.float32 and many.shape == (4000, 56)
    assert abs((many[:, :50] != x[None, :50]).mean() - 0.1) < 0.003  # 200,000 flips: 4 standard deviations
    assert (many[:, 50:55].sum(axis=1) == 1).all() and abs((many[:, 52] == 0).mean() - 0.1) < 0.02
    others = many[:, [50, 51, 53, 54]].sum(axis=0)
    assert others.min() > 60  # a quarter of 400 each
    assert abs(many[:, 55].std() - 8.0) < 0.4 and many[:, 55].min() >= 10 and many[:, 55].max() <= 90
    np.testing.assert_array_equal(jax.jit(perturb)(KEY, x, 0.0), x)


def test_an_image_is_moved_and_stays_in_its_pixels():
    schema = schema_of(Field("pixels", "pixel", 0, 60, 0.0, 255.0), shape=(5, 4, 3))
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    keys = jax.random.split(KEY, 200)
    still = perturbation.perturbation(schema, shift=0)
    np.testing.assert_array_equal(jax.jit(still)(KEY, x, 0.0), x)
    noisy = jax.jit(jax.vmap(still, in_axes=(0, None, None)))(keys, np.full_like(x, 128), 0.05)
    assert noisy.dtype == np.uint8 and abs(np.asarray(noisy, float).std() - 0.05 * 255) < 0.5
    moving = jax.vmap(perturbation.perturbation(schema, shift=1, mirror=True), in_axes=(0, None, None))
    moved = jax.jit(moving)(keys, x, 0.0)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    places = [padded[i : i + 5, j : j + 4] for i, j in itertools.product(range(3), repeat=2)]
    allowed = {image.tobytes() for place in places for image in (place, np.ascontiguousarray(place[:, ::-1]))}
    found = {image.tobytes() for image in np.asarray(moved)}
    assert found == allowed  # all 18 of them, in 200 draws
