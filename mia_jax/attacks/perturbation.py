"""Queries around a record, drawn from its content: the same for the target and every shadow, wherever the record lies.

The key of a record is folded from a digest of its bytes, not from its row. So query j of a record is the same query
everywhere, and a permutation of records permutes what is seen of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.synthesis import attributes as attrs
from mia_jax.types import Array, InputError, Key, Schema, Target


def digest(x: Array) -> jax.Array:
    """32 bits of each record of ``x`` [n, *f]: uint32 [n].

    Records that share a digest share their perturbations and nothing else: collisions do no harm.
    """
    x = jnp.asarray(x)
    x = x.reshape(len(x), -1)
    content = jax.lax.bitcast_convert_type(x, jnp.uint32) if x.dtype == jnp.float32 else x.astype(jnp.uint32)
    position = _mixed(jax.lax.broadcasted_iota(jnp.uint32, content.shape, 1) + jnp.uint32(0x9E3779B9))
    return _mixed(jnp.sum(_mixed(content ^ position), axis=1, dtype=jnp.uint32))


def _mixed(h: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3 (Appleby 2011): a bijection of 32 bits that changes half of them for each one."""
    h = (h ^ (h >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> jnp.uint32(16))


def record_keys(key: Key, x: Array) -> Key:
    """A key for each record of ``x`` [n, *f], by its content."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, digest(x))


def perturbation(schema: Schema, *, shift: int = 2, mirror: bool = False) -> Callable[[Key, Array, Array], jax.Array]:
    """How a record is perturbed, by the kinds of its fields (Choquette-Choo et al. 2021, section 4).

    Binary attributes are flipped, each with probability ``strength``; one-hot groups take another category, likewise;
    numbers and pixels get Gaussian noise of ``strength`` times their range and stay within it. An image is moved, too,
    by whole pixels up to ``shift`` in both directions (its border is repeated), and mirrored half of the time.

    Args:
        schema: of the records. They are images where every field is a pixel and ``shape`` has two or three axes.
        shift: pixels an image moves at most, each way.
        mirror: whether images are mirrored left to right; not for digits.

    Returns:
        (key, record [*f], strength) -> record [*f], of the record's dtype.

    Raises:
        InputError: the fields do not cover the record (``attributes``).
    """
    a = attrs.attributes(schema)
    image = len(schema.shape) in (2, 3) and all(field.kind == "pixel" for field in schema.fields)

    def perturb(key: Key, x: Array, strength: Array) -> jax.Array:
        key_move, key_which, key_what, key_noise = jax.random.split(key, 4)
        x = jnp.asarray(x)
        if image:
            x = _moved(key_move, x, shift, mirror)
        flat = x.reshape(-1)
        if len(a.bits) or len(a.codes):
            # 16 random bits an attribute: strengths are met to 1 in 65,536, at half of the price.
            bound = jnp.round(jnp.asarray(strength, jnp.float32) * 2**16).astype(jnp.uint32)
            chosen = jax.random.bits(key_which, (a.count,), jnp.uint16).astype(jnp.uint32) < bound
            chosen = attrs.columns(chosen, a.of)
            if len(a.numbers):
                chosen = chosen.at[a.numbers].set(False)
            flat = jnp.where(chosen, attrs.draw(a, key_what, other_than=flat).astype(flat.dtype), flat)
        if len(a.numbers):
            noise = strength * (a.high - a.low) * jax.random.normal(key_noise, a.low.shape)
            value = jnp.clip(flat[a.numbers].astype(jnp.float32) + noise, a.low, a.high)
            value = jnp.where(a.whole, jnp.round(value), value).astype(flat.dtype)
            flat = value if len(a.numbers) == len(flat) else flat.at[a.numbers].set(value)
        return flat.reshape(x.shape)

    return perturb


def _moved(key: Key, x: jax.Array, shift: int, mirror: bool) -> jax.Array:
    key_shift, key_mirror = jax.random.split(key)
    dy, dx = jax.random.randint(key_shift, (2,), -shift, shift + 1)
    rows = jnp.clip(jnp.arange(x.shape[0]) - dy, 0, x.shape[0] - 1)
    cols = jnp.clip(jnp.arange(x.shape[1]) - dx, 0, x.shape[1] - 1)
    if mirror:
        cols = jnp.where(jax.random.bernoulli(key_mirror), cols[::-1], cols)
    return x[rows][:, cols]


def check_width(schema: Schema, x: Array, attack: str) -> None:
    """Refuse records ``x`` [n, *f] that the schema does not describe, with an InputError that names the attack."""
    if tuple(x.shape[1:]) != tuple(schema.shape):
        raise InputError(
            f"{attack} was made for records of shape {tuple(schema.shape)} ({schema.name}) and is given"
            f" {tuple(x.shape[1:])}; pass the schema of these records"
        )


def labels(target: Target, x: Array) -> Array:
    """The class the target names for each record of ``x`` [b, *f]: int [b]; NumPy from a host target."""
    log_p = target.ask(x)
    return jnp.argmax(log_p, axis=-1) if target.traced else np.argmax(np.asarray(log_p), axis=-1)


def in_blocks(look: Callable, target: Target, arrays: tuple, block: int):
    """``look(*arrays)`` block by block of rows: leaves [n, ...], NumPy from a host target.

    Inside ``jit`` blocks are padded to one size with copies of the first row.

    Args:
        look: of arrays with ``block`` rows; pure if the target is traced.
        target: whose ``traced`` says whether the loop is ``lax.map`` or Python's.
        arrays: with n rows each.
        block: rows at once.
    """
    n = len(arrays[0])
    block = max(1, min(block, n))
    if not target.traced:  # nothing is padded: every question costs
        each = [look(*(np.asarray(a)[first : first + block] for a in arrays)) for first in range(0, n, block)]
        return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *each)
    arrays = tuple(jnp.asarray(a) for a in arrays)
    rows = np.arange(-(-n // block) * block)
    rows = np.where(rows < n, rows, 0).reshape(-1, block)
    seen = jax.lax.map(lambda some: look(*(a[some] for a in arrays)), rows)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:n], seen)
