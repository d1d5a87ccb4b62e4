"""How many networks an accelerator trains at once, and by which convolutions: what is fastest, found by timing.

Under ``vmap`` over kernels a convolution is a grouped one, which vendors compute slowly, or, by patches, a batched
matmul; large networks fill a device one by one, small ones do not. Which of these a network is on a device is measured
on a few steps, never guessed. CPUs have their own rule (``parallel.LANES``), for the sake of bits.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from mia_jax.training import parallel
from mia_jax.types import Array, Key, Records, Trainer

STEP = 4  # each number of networks at once that is tried is so many times the one before
WORTH = 1.1  # a larger one must be faster by this much, or the search ends
RECORDS = 4096  # of a training set, that a candidate is timed on at most


class Way(NamedTuple):
    """How networks are trained on an accelerator."""

    name: str  # of the trainer
    lanes: int  # networks per device at once
    rate: float  # records a second, over all lanes of a device


def fastest(
    trainers: Mapping[str, Trainer],
    keys: Key,
    pool: Records,
    index: Array,
    *,
    device: jax.Device | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Way:
    """Time the first steps of each trainer with 1, 4, 16, ... networks at once, until more are no faster.

    Args:
        trainers: by name; they train the same networks in different ways.
        keys: [S], as of ``many.fit_chunks``.
        pool: records [N].
        index: int32 [S, m], the training sets; at most S networks are tried at once.
        device: by default the first.
        notify: told of each candidate, and of what was chosen.

    Returns:
        The fastest. Candidates that do not fit the memory are passed over.

    Raises:
        parallel.OutOfMemory: none fits.
    """
    on = device or jax.local_devices()[0]
    pool, index = parallel.copies(Records(pool.x, pool.y), [on])[0], np.asarray(index, np.int32)[:, :RECORDS]
    best: Way | None = None
    for name, trainer in trainers.items():
        own = 0.0
        for lanes in itertools.takewhile(lambda n: n <= len(index), (STEP**i for i in itertools.count())):
            rate = records_per_second(trainer, keys[:lanes], pool, index[:lanes], on)
            if rate is None:
                notify(f"{lanes} at once by {name}: not enough memory")
                break
            notify(f"{lanes} at once by {name}: {rate:,.0f} records/s")
            if best is None or rate > best.rate:
                best = Way(name, lanes, rate)
            if rate < WORTH * own:
                break
            own = rate
    if best is None:
        raise parallel.OutOfMemory(
            "there is not memory enough for one network: use a smaller batch, a smaller network or fewer records"
        )
    notify(f"fastest: {best.lanes} network{'s' * (best.lanes > 1)} at once by {best.name}")
    return best


def records_per_second(
    trainer: Trainer, keys: Key, pool: Records, index: np.ndarray, device: jax.Device
) -> float | None:
    """Records a second of some networks' epoch, compiled before; None where they do not fit the memory.

    Args:
        trainer: of one network.
        keys: of each network [S].
        pool: records [N].
        index: rows of the pool [S, m].
        device: where they train.
    """
    init, epoch = parallel.program(trainer.init, (0, None)), parallel.program(trainer.epoch, (0, None, 0))
    rows = jax.device_put(index, device)
    try:
        state = init(jax.device_put(keys, device), pool.x[:1])
        jax.block_until_ready(epoch(state, pool, rows))
        began = time.perf_counter()
        jax.block_until_ready(epoch(state, pool, rows))
        return index.size / (time.perf_counter() - began)
    except Exception as error:
        if not parallel.is_out_of_memory(error):
            raise
        return None
