"""Queries in a record's place, for ``augment``: (key, x [*f]) -> x [q, *f]."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp

from mia_jax.types import Array, Key


def shifted(pixels: int = 1, *, mirror: bool = True) -> Callable[[Key, Array], Array]:
    """An image [h, w, ch] moved by up to ``pixels`` along each axis, its edges reflected; and all that in the mirror.

    q = (2 pixels + 1)^2, twice that with ``mirror``; 18 by default, as Carlini et al. 2022 query at most. The first
    query is the image itself.
    """

    def augment(key: Key, x: Array) -> Array:
        del key
        h, w, _ = x.shape

        def from_center(move):
            return abs(move[0] - pixels) + abs(move[1] - pixels)

        padded = jnp.pad(x, ((pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
        moves = sorted(itertools.product(range(2 * pixels + 1), repeat=2), key=from_center)
        images = jnp.stack([padded[i : i + h, j : j + w] for i, j in moves])
        return jnp.concatenate([images, images[:, :, ::-1]]) if mirror else images

    return augment
