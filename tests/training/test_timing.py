"""The fastest way to train networks on an accelerator is found by timing candidates; here they run on the CPU."""

import jax
import numpy as np
import optax
import pytest

from mia_jax.models import networks
from mia_jax.training import parallel, single, timing
from mia_jax.types import Records, Trainer

POOL = Records(np.zeros((40, 6, 6, 1), np.uint8), np.arange(40, dtype=np.int32) % 3)
KEYS, INDEX = jax.random.split(jax.random.key(0), 5), np.tile(np.arange(40), (5, 1))


def trainer():
    return single.make_trainer(networks.mlp(3, (4,)), optax.sgd(0.1), 20)


def rates(monkeypatch, table):
    """Of candidates that take the time that a table says, by trainer and networks at once; None: too large."""
    names = {id(each): name for name, each in TRAINERS.items()}
    tried = []

    def rate(trainer, keys, pool, index, device):
        tried.append((names[id(trainer)], len(keys)))
        assert index.shape == (len(keys), 40)
        return table[tried[-1]]

    monkeypatch.setattr(timing, "records_per_second", rate)
    return tried


TRAINERS = {"patches": trainer(), "the vendor's convolutions": trainer()}


def test_more_are_tried_until_they_are_no_faster(monkeypatch):
    tried = rates(monkeypatch, {
        ("patches", 1): 10.0, ("patches", 4): 30.0,
        ("the vendor's convolutions", 1): 31.0, ("the vendor's convolutions", 4): 12.0,
    })  # fmt: skip
    lines = []
    way = timing.fastest(TRAINERS, KEYS, POOL, INDEX, notify=lines.append)
    assert way == ("the vendor's convolutions", 1, 31.0)
    assert tried == [("patches", 1), ("patches", 4), ("the vendor's convolutions", 1), ("the vendor's convolutions", 4)]
    assert lines[-1] == "fastest: 1 network at once by the vendor's convolutions"


def test_candidates_too_large_are_passed_over(monkeypatch):
    rates(monkeypatch, {("patches", 1): 10.0, ("patches", 4): None, ("the vendor's convolutions", 1): None})
    assert timing.fastest(TRAINERS, KEYS, POOL, INDEX) == ("patches", 1, 10.0)
    rates(monkeypatch, {("patches", 1): None, ("the vendor's convolutions", 1): None})
    with pytest.raises(parallel.OutOfMemory, match="not memory enough for one network"):
        timing.fastest(TRAINERS, KEYS, POOL, INDEX)


def test_candidates_are_really_trained():
    way = timing.fastest({"it": TRAINERS["patches"]}, KEYS[:1], POOL, INDEX[:1])
    assert way.name == "it" and way.lanes == 1 and way.rate > 0


def test_memory_that_ends_is_no_error_and_others_are():
    def raising(error):
        def epoch(state, pool, index):
            raise error

        return Trainer(TRAINERS["patches"].init, epoch)

    assert timing.records_per_second(raising(MemoryError()), KEYS[:1], POOL, INDEX[:1], jax.local_devices()[0]) is None
    with pytest.raises(ValueError, match="mine"):
        timing.records_per_second(raising(ValueError("mine")), KEYS[:1], POOL, INDEX[:1], jax.local_devices()[0])
