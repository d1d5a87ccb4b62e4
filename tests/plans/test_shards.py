"""Which models a process makes, by what it was given or by the scheduler's numbers."""

import numpy as np
import pytest

from mia_jax.plans import shards
from mia_jax.plans.shards import Given, Shard
from mia_jax.types import InputError


@pytest.mark.parametrize("total", [1, 2, 7, 16, 101])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 120])
def test_each_model_is_one_shards(total, count):
    dealt = [shards.dealt(Shard(i, count), total) for i in range(count)]
    np.testing.assert_array_equal(np.sort(np.concatenate(dealt)), np.arange(total))
    most = max(map(len, dealt))
    assert most <= -(-total // count) + 1
    if total >= 2 * count:  # pairs stay together
        assert all(k + 1 in models for models in dealt for k in models if k % 2 == 0 and k + 1 < total)


def test_without_a_shard_all_models():
    np.testing.assert_array_equal(shards.dealt(None, 3), [0, 1, 2])


def slurm(task, count, least, most):
    values = dict(ID=task, COUNT=count, MIN=least, MAX=most)
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


SLURM, KUBERNETES, PBS = "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "PBS_ARRAY_INDEX"


@pytest.mark.parametrize(
    "text, environ, expected",
    [
        (None, {}, None),
        ("off", slurm(1, 2, 0, 1), None),
        ("1/8", slurm(1, 2, 0, 1), Given(Shard(1, 8), "")),
        (None, slurm(5, 4, 3, 6), Given(Shard(2, 4), SLURM)),  # --array=3-6
        (None, slurm(8, 8, 0, 14), Given(Shard(4, 8), SLURM)),  # --array=0-14:2
        (None, slurm(5, 1, 5, 5), None),  # a task that is alone makes all
        (None, {KUBERNETES: "3", "JOB_COMPLETIONS": "4"}, Given(Shard(3, 4), KUBERNETES)),
        ("/9", {KUBERNETES: "3"}, Given(Shard(3, 9), KUBERNETES)),
        ("/9", {PBS: "8"}, Given(Shard(8, 9), PBS)),
        ("/1", {PBS: "0"}, Given(Shard(0, 1), PBS)),
    ],
)
def test_what_a_process_is_given(text, environ, expected):
    assert shards.parse(text, environ) == expected
    assert shards.count(text, environ) == (1 if expected is None else expected.shard.count)


def test_of_how_many_shards_one_is_can_be_told_before_there_is_a_scheduler():
    """As --plan_only --shard=/8 asks."""
    assert shards.count("/8", {}) == 8
    with pytest.raises(InputError, match="there must be one at least"):
        shards.count("/0", {})


@pytest.mark.parametrize(
    "text, environ, line",
    [
        ("8/8", {}, r"`shard=8/8` is no shard of 8: they are 0/8 to 7/8"),
        ("0/0", {}, "there must be one at least"),
        ("1", {}, "must be like 0/8, or off"),
        ("-1/8", {}, "must be like 0/8, or off"),
        ("/8", {}, "wants the number of a scheduler's task, and there is none: give 0/8"),
        ("/8", {PBS: "8"}, "PBS_ARRAY_INDEX=8 is no shard of 8: they are 0/8 to 7/8"),  # numbered from 1
        (None, {PBS: "2"}, "PBS_ARRAY_INDEX=2 says which task this is and not of how many: give `shard=/n`"),
        (None, {KUBERNETES: "2"}, "not of how many"),
        (None, slurm(2, 3, 0, 9), "are no range .3 of 0 to 9.: give `shard=i/n`, or `shard=off`"),
    ],
)
def test_what_is_no_shard(text, environ, line):
    with pytest.raises(InputError, match=line):
        shards.parse(text, environ)
