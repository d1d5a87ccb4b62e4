"""Noisy real data: Shokri et al. 2017, section VI-C. Records of the population, of which the adversary has some wrong.

A fraction of the attributes of each record, chosen at random, is changed: bits are flipped, categories become another
one, numbers and pixels are redrawn from their range. Labels stay.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.synthesis import attributes as attrs
from mia_jax.synthesis import subsets
from mia_jax.types import Array, InputError, Key, Records, Sampler, Schema


class SynthesisInfo(NamedTuple):
    """How much of the records was changed."""

    noise: float  # the fraction asked for
    changed: float  # the fraction of attributes that differ now; a number redrawn may be what it was


def flip(key: Key, x: Array, schema: Schema, noise: float) -> jax.Array:
    """Change a fraction of the attributes of each record; may be called inside ``jit``.

    Of a attributes, ``noise * a`` distinct ones are changed; where that is no whole number it is rounded up or down at
    random, record by record, so that its mean is exact. What happens to row i depends on the key, i and row i alone.

    Args:
        key: of the rows.
        x: records [n, *f].
        schema: what their columns mean: a one-hot group is one attribute.
        noise: in [0, 1]. 0 is the identity.

    Returns:
        [n, *f], of the dtype of ``x``.

    Raises:
        InputError: ``noise`` is no fraction, or the records have another shape than the schema says.
    """
    a = _check(x, schema, noise)
    return _flipping(schema)(key, np.arange(len(x)), jnp.asarray(x), *_count(a, noise))


def noisy(
    key: Key, records: Records, schema: Schema, noise: float, *, batch: int = 4096
) -> tuple[Records, SynthesisInfo]:
    """All records of a pool with a fraction of their attributes changed, once, and their labels: see ``flip``.

    Args:
        key, schema, noise: as of ``flip``.
        records: n of them.
        batch: records changed at a time; decides the memory, and nothing else.

    Returns:
        (Records of NumPy arrays, SynthesisInfo).

    Raises:
        InputError: as ``flip``.
    """
    a = _check(records.x, schema, noise)
    count = _count(a, noise)
    before, n = np.asarray(records.x), len(records.x)
    after, differ = before.copy(), 0
    batch = min(batch, n)
    for start in range(0, n if noise else 0, batch):
        rows = np.minimum(np.arange(start, start + batch), n - 1)  # padded: compiled once
        after[start : start + batch] = np.asarray(_flipping(schema)(key, rows, before[rows], *count))[: n - start]
        differ += _differing(a, before[start : start + batch], after[start : start + batch])
    return Records(after, np.asarray(records.y, np.int32)), SynthesisInfo(float(noise), differ / max(1, n * a.count))


def sampler(records: Records, schema: Schema, noise: float) -> Sampler:
    """(key, n) -> n distinct records, drawn at random and made noisy.

    Raises:
        InputError: as ``flip``; the sampler, when asked for more records than there are.
    """
    _check(records.x, schema, noise)

    def sample(key: Key, n: int) -> tuple[Records, SynthesisInfo]:
        if not 1 <= n <= len(records.x):
            raise InputError(f"{n:,} noisy records are wanted of {len(records.x):,}; ask for 1 to {len(records.x):,}")
        key_rows, key_noise = jax.random.split(key)
        rows = np.asarray(jax.random.permutation(key_rows, len(records.x)))[:n]
        drawn = Records(np.asarray(records.x)[rows], np.asarray(records.y)[rows])
        return noisy(key_noise, drawn, schema, noise)

    return sample


def _check(x: Array, schema: Schema, noise: float) -> attrs.Attributes:
    if not 0 <= noise <= 1:
        raise InputError(f"noise is {noise}; give the fraction of attributes to change, from 0 to 1")
    if tuple(x.shape[1:]) != tuple(schema.shape):
        raise InputError(
            f"these records have shape {tuple(x.shape[1:])} and those of {schema.name!r} {tuple(schema.shape)};"
            " give the schema that came with the records"
        )
    return attrs.attributes(schema)


def _count(a: attrs.Attributes, noise: float) -> tuple[np.int32, np.float32]:
    """Attributes to change: how many, and the chance of one more."""
    return np.int32(noise * a.count), np.float32(noise * a.count % 1)


@functools.lru_cache(maxsize=8)
def _flipping(schema: Schema):
    return jax.jit(functools.partial(_flip_rows, attrs.attributes(schema)))


def _flip_rows(
    a: attrs.Attributes, key: Key, rows: jax.Array, x: jax.Array, whole: jax.Array, more: jax.Array
) -> jax.Array:
    keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(key, row), 3))(rows)
    key_count, key_features, key_values = keys.T
    count = whole + (jax.vmap(jax.random.uniform)(key_count) < more)
    chosen = attrs.columns(subsets.choose(key_features, count, a.count), a.of)
    flat = x.reshape(len(x), -1)
    other = jax.vmap(lambda key, row: attrs.draw(a, key, other_than=row))(key_values, flat)
    return jnp.where(chosen, other.astype(flat.dtype), flat).reshape(x.shape)


def _differing(a: attrs.Attributes, before: np.ndarray, after: np.ndarray) -> int:
    """Attributes that differ; a one-hot group counts once."""
    columns = (before != after).reshape(len(before), -1)
    first = np.flatnonzero(np.diff(a.of, prepend=-1))  # of each attribute
    return int(np.logical_or.reduceat(columns, first, axis=1).sum())
