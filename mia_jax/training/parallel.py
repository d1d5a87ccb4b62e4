"""Programs over lanes: a pure function of one network, compiled for a few at once, distributed over local devices.

A *lane* is the place of one network in a compiled program, one row of its ``vmap``.

``spread`` does so for any function; ``many.fit_chunks`` for training. ``in_chunks`` is long work in parts that
become smaller where the memory ends.
"""

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mia_jax.types import MiaError

T = TypeVar("T")

# --- lanes -----------------------------------------------------------------------------------------------------------

# A program is compiled for one device and a fixed number of lanes, and dispatched to each device in turn before any is
# waited for. How the compiler fuses, and with it the last bits of a result, depends on the number of lanes and, where
# one program is partitioned over the devices (``shard_map``), on their number: so neither may depend on how many
# networks there are, on what an interrupted run had finished, or on the machine. With two lanes nothing is lost on
# CPUs: networks per second are the same with two to six. A single lane would be compiled away, to other bits.
LANES = 2

# XLA's CPU compiler is told to see that Adam's moments, which both their own update and that of the parameters read,
# can be overwritten in place. By default it copies them at every step: a tenth of the Purchase network's time. The
# results are the same.
CPU_OPTIONS = {"xla_cpu_copy_insertion_use_region_analysis": True}


def spread(fn: Callable, *, in_axes: int | Sequence = 0, devices: Sequence[jax.Device] | None = None) -> Callable:
    """``jit(vmap(fn))`` over a leading axis that is distributed over the local devices, ``LANES`` at a time on CPUs.

    Args:
        fn: pure function of arrays.
        in_axes: as of ``vmap``: 0 for arguments that are spread, None for arguments that all share. Shared arguments
            are copied to each device at each call, unless ``replicate`` has put them there before.
        devices: by default ``jax.local_devices()``.

    Returns:
        A function of the same arguments, whose results are NumPy arrays with the leading axis.
    """
    local = tuple(devices or jax.local_devices())

    def call(*args: Any) -> Any:
        axes = (in_axes,) * len(args) if isinstance(in_axes, int) else tuple(in_axes)
        size = len(jax.tree.leaves([a for a, axis in zip(args, axes, strict=True) if axis == 0])[0])
        lanes = lanes_per_program(size, None, local)
        distributed = [
            itertools.cycle(copies(a, local)) if axis is None else distribute(a, lanes, local)
            for a, axis in zip(args, axes, strict=True)
        ]
        return gather([program(fn, axes)(*some) for some in zip(*distributed, strict=False)], size)

    return call


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """The arrays of a tree, on every device once: for arguments that many calls of a ``spread`` function share."""
    mesh = Mesh(np.array(devices or jax.local_devices()), ("devices",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def lanes_per_program(size: int, wanted: int | None, devices: Sequence[jax.Device]) -> int:
    """How many of ``size`` networks a program computes: ``wanted``, or ``LANES`` on CPUs, or a device's share."""
    return wanted or (LANES if devices[0].platform == "cpu" else max(LANES, math.ceil(size / len(devices))))


@functools.lru_cache(maxsize=64)
def program(fn: Callable, axes: tuple, donate: tuple = ()) -> Callable:
    """``jit(vmap(fn))``, the same for the same function: compiled once. ``donate``: arguments that it overwrites."""
    options = CPU_OPTIONS if jax.default_backend() == "cpu" else None
    return jax.jit(jax.vmap(fn, in_axes=axes), donate_argnums=donate, compiler_options=options)


def distribute(tree: Any, lanes: int, devices: Sequence[jax.Device]) -> list[Any]:
    """Leaves [k, ...] as trees with leaves [lanes, ...], on the devices in turn; the first element fills up."""
    size = len(jax.tree.leaves(tree)[0])
    rows = np.arange(math.ceil(size / lanes) * lanes)
    each = np.where(rows < size, rows, 0).reshape(-1, lanes)
    return [
        jax.device_put(jax.tree.map(lambda leaf, at=at: leaf[at], tree), device)
        for at, device in zip(each, itertools.cycle(devices), strict=False)
    ]


def copies(tree: Any, devices: Sequence[jax.Device]) -> list[Any]:
    """One copy of a tree per device, without copying what ``replicate`` has put there."""

    def on(leaf, device):
        if isinstance(leaf, jax.Array) and leaf.is_fully_replicated and device in leaf.devices():
            return next(shard.data for shard in leaf.addressable_shards if shard.device == device)
        return jax.device_put(leaf, device)

    return [jax.tree.map(lambda leaf, d=d: on(leaf, d), tree) for d in devices]


def gather(trees: Sequence[Any], size: int) -> Any:
    """One tree with NumPy leaves [size, ...] from the trees of the programs."""
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[:size], *trees)


# --- memory ----------------------------------------------------------------------------------------------------------


class OutOfMemory(MiaError, RuntimeError):
    """The least that can be computed at once needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there is no memory left: Python's and NumPy's MemoryError, or XLA's RESOURCE_EXHAUSTED."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


def in_chunks(
    work: Callable[[slice, int], T], total: int, chunk: int, *, least: int = LANES
) -> Iterator[tuple[slice, T]]:
    """Do ``work`` part after part; where the memory ends, in parts of half the size from there.

    Args:
        work: (a slice of ``total``, how many at once now) -> its results; begun anew where it failed.
        total: networks.
        chunk: of them at once, at first.
        least: networks that are computed together in any case.

    Raises:
        OutOfMemory: a part of ``least`` is too much.
    """
    start, chunk = 0, min(chunk, total)
    while start < total:
        part = slice(start, min(start + chunk, total))
        k = part.stop - part.start
        try:
            done = work(part, chunk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if k <= least:
                raise OutOfMemory(
                    f"there is not memory enough for {k} network{'s' * (k > 1)} at once: use a smaller batch, a"
                    " smaller network or fewer records; what was finished is kept"
                ) from error
            chunk = max(least, k // 2)
            warnings.warn(
                f"there is not memory enough for {k} networks at once: going on with {chunk}; chunk={chunk} does so"
                " from the beginning",
                stacklevel=3,
            )
            continue
        yield part, done
        start = part.stop
