"""Queries in a record's place, for ``augment``: (key, x [*f]) -> x [q, *f]."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from mia_jax.attacks.common import Augment
from mia_jax.attacks.entries import Option
from mia_jax.types import Array, InputError, Key


def shifted(pixels: int = 1, *, mirror: bool = True) -> Augment:
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


def _moved_by(pixels: int, run: Mapping[str, Any]) -> Augment | None:
    """``shifted`` for the records of a run; None for 0 pixels. Raises InputError where these are no images."""
    if not pixels:
        return None
    schema = run["schema"]
    if len(schema.shape) != 3:
        raise InputError(f"augment moves images [h, w, channels], and records of {schema.name} are {schema.shape}")
    return shifted(pixels)


AUGMENT = Option(
    "augment",
    int,
    0,
    "augmented queries of lira and bavaria: images moved by up to so many pixels, and mirrored",
    flag="augment",
    low=0,
    make=_moved_by,
    needs=frozenset({"queries"}),
)
