"""Plans: disjoint where they must be, stable when models are added."""

import jax
import numpy as np
import pytest

from mia_jax.plans import splits
from mia_jax.types import InputError


def test_reserve_parts_the_pool():
    mine, rest = splits.reserve(jax.random.key(0), 50, 20)
    assert len(mine) == 20
    np.testing.assert_array_equal(np.sort(np.concatenate([mine, rest])), np.arange(50))
    with pytest.raises(InputError, match="only 50"):
        splits.reserve(jax.random.key(0), 50, 51)


def test_shokri_trains_and_tests_on_disjoint_records():
    plan = splits.shokri(jax.random.key(1), 100, 30, 5)
    assert plan.train.shape == plan.test.shape == (5, 30)
    for train, test in zip(plan.train, plan.test, strict=True):
        assert len({*train.tolist(), *test.tolist()}) == 60
    assert len({tuple(sorted(row)) for row in plan.train.tolist()}) == 5


def test_adding_models_changes_nobody():
    few, many = (splits.shokri(jax.random.key(2), 40, 10, k) for k in (3, 9))
    np.testing.assert_array_equal(few.train, many.train[:3])
    np.testing.assert_array_equal(few.test, many.test[:3])
    few, many = (splits.balanced(jax.random.key(2), 40, k) for k in (4, 10))
    np.testing.assert_array_equal(few.train, many.train[:4])


def test_shokri_refuses_more_than_there_is_and_says_what_fits():
    with pytest.raises(InputError, match="use train_size=24 or less"):
        splits.shokri(jax.random.key(0), 49, 30, 2)


@pytest.mark.parametrize("size", [40, 41])
def test_balanced_pairs_are_complementary(size):
    plan = splits.balanced(jax.random.key(3), size, 6)
    member = splits.membership_matrix(plan, size)
    assert (member.sum(axis=1) == size // 2).all()
    for k in range(6):
        np.testing.assert_array_equal(plan.train[k], plan.test[k ^ 1])
        assert not (member[k] & member[k ^ 1]).any()
    if size % 2 == 0:
        assert (member.sum(axis=0) == 3).all()
    with pytest.raises(InputError, match="use 8 models instead of 7"):
        splits.balanced(jax.random.key(0), 10, 7)


def test_every_record_is_drawn_equally_often():
    plan = splits.shokri(jax.random.key(4), 20, 5, 4000)
    counts = np.bincount(plan.train.reshape(-1), minlength=20)
    expected, sd = 1000.0, np.sqrt(4000 * 0.25 * 0.75)
    assert np.abs(counts - expected).max() < 4.5 * sd


def test_partners_train_on_complementary_halves():
    member = splits.membership_matrix(splits.balanced(jax.random.key(0), 10, 6), 10)
    np.testing.assert_array_equal(member[splits.partners(np.arange(6))], ~member)
