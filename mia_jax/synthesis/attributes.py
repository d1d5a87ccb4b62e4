"""What a schema says of the attributes of a record, and how they are drawn at random: all a synthesizer may know."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.synthesis.subsets import unpack
from mia_jax.types import InputError, Key, Schema


class Attributes(NamedTuple):
    """The columns of a flattened record; those of one kind are drawn together, in the order of ``order``."""

    count: int  # a: a one-hot group is one attribute, any other column is one
    of: np.ndarray  # [f] int: the attribute that a column belongs to
    bits: np.ndarray  # columns of binary attributes
    numbers: np.ndarray  # columns of numeric attributes and pixels
    codes: np.ndarray  # columns of one-hot groups
    order: np.ndarray  # [f] int: where a column is in [bits, numbers, codes]
    low: np.ndarray  # of numbers, inclusive
    high: np.ndarray
    whole: np.ndarray  # of numbers, bool: integers (pixels)
    group: np.ndarray  # of codes: the one-hot group of the column, from 0 on
    code: np.ndarray  # of codes: the category that the column stands for
    sizes: np.ndarray  # of one-hot groups: categories
    dtype: np.dtype  # of a record: uint8 for bits and pixels, float32 as soon as an attribute is numeric
    shape: tuple[int, ...]  # *f


def attributes(schema: Schema) -> Attributes:
    """Read the fields of a schema.

    Raises:
        InputError: the fields do not cover the record in order, or a range is empty.
    """
    f = int(np.prod(schema.shape))
    if [field.start for field in schema.fields] != [0, *(field.stop for field in schema.fields[:-1])] or (
        schema.fields[-1].stop != f
    ):
        raise InputError(f"the fields of the schema {schema.name!r} do not cover its {f} columns; describe them all")
    kind, of, low, high, group, code = (np.zeros(f, t) for t in ("U11", int, float, float, int, int))
    sizes: list[int] = []
    for field in schema.fields:
        columns, width = slice(field.start, field.stop), field.stop - field.start
        if field.kind not in ("binary", "categorical", "numeric", "pixel") or not field.low <= field.high:
            raise InputError(
                f"the field {field.name!r} is {field.kind} in [{field.low}, {field.high}]; mend the schema"
            )
        kind[columns], low[columns], high[columns] = field.kind, field.low, field.high
        first = of[field.start - 1] + 1 if field.start else 0
        if field.kind == "categorical":
            of[columns], group[columns], code[columns] = first, len(sizes), np.arange(width)
            sizes.append(width)
        else:
            of[columns] = first + np.arange(width)
    bits, codes = np.flatnonzero(kind == "binary"), np.flatnonzero(kind == "categorical")
    numbers = np.flatnonzero((kind == "numeric") | (kind == "pixel"))
    bytes_hold = (kind != "numeric").all() and (low >= 0).all() and (high <= 255).all()
    return Attributes(
        count=int(of[-1]) + 1,
        of=of,
        bits=bits,
        numbers=numbers,
        codes=codes,
        order=np.argsort(np.concatenate([bits, numbers, codes])),
        low=low[numbers].astype(np.float32),
        high=high[numbers].astype(np.float32),
        whole=kind[numbers] == "pixel",
        group=group[codes].astype(np.int32),
        code=code[codes].astype(np.int32),
        sizes=np.array(sizes, np.int32),
        dtype=np.dtype(np.uint8 if bytes_hold else np.float32),
        shape=tuple(schema.shape),
    )


def draw(a: Attributes, key: Key, other_than: jax.Array | None = None) -> jax.Array:
    """Every attribute of one record uniform over its values: bits, categories, whole pixels, numbers of the range.

    Args:
        a: the attributes.
        key: of the record.
        other_than: a record [f] from which bits and categories are to differ: bits are flipped, categories drawn among
            the others (the only one of its group stays). Numbers and pixels are drawn from their whole range.

    Returns:
        [f], of ``a.dtype``.
    """
    key_bits, key_numbers, key_codes = (jax.random.fold_in(key, i) for i in range(3))
    parts = []
    if len(a.bits):
        if other_than is None:  # 32 bits to a random word: bit by bit would cost more than the rest of a search
            value = unpack(jax.random.bits(key_bits, (-(-len(a.bits) // 32),)), len(a.bits)).astype(a.dtype)
        else:
            value = 1 - other_than[a.bits]
        parts.append(value)
    if len(a.numbers):
        u, span = jax.random.uniform(key_numbers, (len(a.numbers),)), a.high - a.low
        parts.append(jnp.where(a.whole, a.low + jnp.floor(u * (span + 1)), a.low + u * span).astype(a.dtype))
    if len(a.codes):
        if other_than is None:
            category = jax.random.randint(key_codes, a.sizes.shape, 0, a.sizes)
        else:
            now = jax.ops.segment_sum(other_than[a.codes].astype(jnp.int32) * a.code, a.group, len(a.sizes))
            shift = jax.random.randint(key_codes, a.sizes.shape, 1, np.maximum(a.sizes, 2))
            category = (now + shift) % a.sizes
        parts.append((category[a.group] == a.code).astype(a.dtype))
    return columns(jnp.concatenate(parts), a.order)


def columns(x: jax.Array, index: np.ndarray) -> jax.Array:
    """``x[..., index]``, and nothing at all where that is x."""
    return x if np.array_equal(index, np.arange(x.shape[-1])) else x[..., index]
