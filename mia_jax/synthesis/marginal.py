"""Statistics-based synthesis: Shokri et al. 2017, section V-C. The adversary knows the marginal of each attribute.

Attributes are drawn independently, each from its marginal; the label is what the target answers.
"""

import functools
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.data import npz
from mia_jax.storage import artifacts
from mia_jax.synthesis import attributes as attrs
from mia_jax.types import Array, InputError, Key, Records, Sampler, Schema, Target

_TOLERANCE = 1e-3  # of shares that are to sum to one: a table may be rounded


class Marginals(NamedTuple):
    """How often an attribute takes each of its values; what the columns mean is the schema's matter."""

    share: np.ndarray  # [f] in [0, 1]: of ones in a binary column, of its category in a one-hot column; else not read
    values: np.ndarray  # [v, columns of numbers and pixels, in order]: v values each, equally likely


class SynthesisInfo(NamedTuple):
    """What synthesis from marginals came to."""

    queries: int  # one per record: its label
    answered: np.ndarray  # [c] int: records of each class


# --- the table -------------------------------------------------------------------------------------------------------


def marginals(records: Records, schema: Schema, *, max_values: int = 1024) -> Marginals:
    """The marginals of these records.

    Args:
        records: of which only x is looked at.
        schema: what their columns mean.
        max_values: v; where there are more records, a number's marginal is that many evenly spaced order statistics.

    Raises:
        InputError: no records, or of another shape than the schema says.
    """
    a = attrs.attributes(schema)
    if not len(records.x) or tuple(records.x.shape[1:]) != tuple(schema.shape):
        raise InputError(
            f"marginals are counted in records of shape {tuple(schema.shape)}; these have shape {records.x.shape}"
        )
    x = np.asarray(records.x).reshape(len(records.x), -1)
    share = np.zeros(x.shape[1])
    for column in np.concatenate([a.bits, a.codes]):
        share[column] = x[:, column].mean(dtype=np.float64)
    v = min(len(x), max_values)
    ranks = ((np.arange(v) + 0.5) * len(x) / v).astype(int)
    values = np.zeros((v, len(a.numbers)), np.float32)
    for i, column in enumerate(a.numbers):  # one by one: images need not be held twice
        values[:, i] = np.sort(x[:, column])[ranks]
    return Marginals(share, values)


def save_marginals(path: str | os.PathLike, table: Marginals) -> None:
    """Write a table as an .npz with the arrays of ``Marginals``."""
    try:
        artifacts.write_npz(pathlib.Path(path), table._asdict())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another path") from None


def load_marginals(path: str | os.PathLike, schema: Schema) -> Marginals:
    """Read a table that ``save_marginals`` or ``np.savez(path, share=share)`` wrote.

    ``values`` may be left out where no attribute is a number or a pixel.

    Raises:
        InputError: no such file, or not a table of marginals for this schema; what is wrong with it.
    """
    arrays = npz.read_own(pathlib.Path(path), Marginals._fields, "np.savez(path, share=share)")
    if "share" not in arrays:
        raise InputError(
            f"{path} has no array 'share', one number per column; write it with np.savez(path, share=share)"
        )
    table = Marginals(arrays["share"], arrays.get("values", np.zeros((1, 0), np.float32)))
    try:
        return check_marginals(table, schema)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def check_marginals(table: Marginals, schema: Schema) -> Marginals:
    """The table, as float64 and float32 and with the shares of each one-hot group summing to one.

    Raises:
        InputError: it cannot be the marginals of records of this schema; which column is wrong, and what it should be.
    """
    a = attrs.attributes(schema)
    share, values = (np.asarray(array) for array in table)
    if share.shape != a.of.shape or share.dtype.kind not in "fiub":
        raise InputError(
            f"share has shape {share.shape} and type {share.dtype}; needed: numbers [{len(a.of)}], one per column"
        )
    share = share.astype(np.float64)
    read = np.concatenate([a.bits, a.codes])
    wrong = read[~((share[read] >= 0) & (share[read] <= 1))]  # this way round NaN is wrong, too
    if len(wrong):
        raise InputError(f"the share of column {wrong[0]} is {share[wrong[0]]}; needed: a number from 0 to 1")
    if len(a.codes):
        total = np.bincount(a.group, share[a.codes])
        wrong = np.flatnonzero(np.abs(total - 1) > _TOLERANCE)
        if len(wrong):
            at = a.codes[a.group == wrong[0]]
            raise InputError(
                f"the shares of columns {at[0]} to {at[-1]}, one attribute, sum to {total[wrong[0]]:.6g}, not to 1"
            )
        share[a.codes] /= total[a.group]
    if values.ndim != 2 or values.shape[1] != len(a.numbers) or values.dtype.kind not in "fiub" or not len(values):
        raise InputError(
            f"values has shape {values.shape} and type {values.dtype}; needed: numbers [v, {len(a.numbers)}], a column"
            " for each number or pixel of a record"
        )
    values = values.astype(np.float32)
    for fits, what in (
        ((values >= a.low[None]) & (values <= a.high[None]), "outside its range"),
        (~a.whole[None] | (values == np.floor(values)), "no whole number"),
    ):
        if not fits.all():
            row, i = np.argwhere(~fits)[0]
            raise InputError(
                f"column {a.numbers[i]} has the value {values[row, i]}, which is {what}"
                f" ([{a.low[i]:g}, {a.high[i]:g}]); mend the table"
            )
    return Marginals(share, values)


# --- the sampler -----------------------------------------------------------------------------------------------------


def sampler(target: Target, schema: Schema, table: Marginals, *, batch: int = 1024) -> Sampler:
    """(key, n) -> n records drawn from the marginals and labeled by the target, with n queries.

    A record depends on the key and its number alone, not on ``batch``.

    Args:
        target: the black box; its most probable class is the label.
        schema: what columns mean.
        table: from ``marginals`` or ``load_marginals``.
        batch: records asked about at a time.

    Raises:
        InputError: as ``check_marginals``; the sampler, when asked for less than one record.
    """
    table = check_marginals(table, schema)
    a = attrs.attributes(schema)
    draw_some = jax.jit(functools.partial(draw, a, table))
    ask = jax.jit(target.ask) if target.traced else target.ask

    def sample(key: Key, n: int) -> tuple[Records, SynthesisInfo]:
        if n < 1:
            raise InputError(f"{n} records are wanted; ask for at least 1")
        x, y, b = np.zeros((n, *a.shape), a.dtype), np.zeros(n, np.int32), min(batch, n)
        for start in range(0, n, b):
            some = np.asarray(draw_some(key, np.arange(start, start + b))).reshape(-1, *a.shape)
            if not target.traced:
                some = some[: n - start]  # a remote target is not asked about padding
            x[start : start + b] = some[: n - start]
            y[start : start + b] = np.asarray(ask(some))[: n - start].argmax(axis=1)
        return Records(x, y), SynthesisInfo(n, np.bincount(y, minlength=schema.num_classes))

    return sample


def draw(a: attrs.Attributes, table: Marginals, key: Key, rows: Array) -> jax.Array:
    """Records [rows, f], each attribute independently from its marginal; row i from ``fold_in(key, i)``."""
    share = np.asarray(table.share[a.bits], np.float32)
    below, above = _intervals(table.share[a.codes], a.group)

    def one(key):
        key_bits, key_numbers, key_codes = (jax.random.fold_in(key, i) for i in range(3))
        parts = []
        if len(a.bits):
            parts.append((jax.random.uniform(key_bits, share.shape) < share).astype(a.dtype))
        if len(a.numbers):
            v, columns = table.values.shape
            at = jax.random.randint(key_numbers, (columns,), 0, v)
            parts.append(jnp.asarray(table.values)[at, np.arange(columns)].astype(a.dtype))
        if len(a.codes):
            u = jax.random.uniform(key_codes, a.sizes.shape)[a.group]
            parts.append(((below <= u) & (u < above)).astype(a.dtype))
        return attrs.columns(jnp.concatenate(parts), a.order)

    return jax.vmap(one)(jax.vmap(lambda row: jax.random.fold_in(key, row))(rows))


def _intervals(share: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of [0, 1) that belongs to each category of its group: from, to; float32, without gap or overlap."""
    below, above = np.zeros(len(share), np.float32), np.zeros(len(share), np.float32)
    for g in np.unique(group):
        cdf = np.cumsum(share[group == g])
        cdf = (cdf / cdf[-1]).astype(np.float32)  # exactly 1 from the last category that occurs on
        below[group == g], above[group == g] = np.concatenate([[0], cdf[:-1]]), cdf
    return below, above
