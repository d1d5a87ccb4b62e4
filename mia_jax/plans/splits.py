"""Who trains on what, from a key. Two protocols (BUILD_NOTES, "Two plans").

The paper's plan: the target's records and the shadows' are disjoint; each shadow draws its own training and test set
from the shadow pool, so different shadows overlap (Shokri et al. 2017, section V).

The balanced plan: every record trains half of the models, in complementary pairs; LiRA and its heirs need it.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.types import Array, InputError, Key, Plan


def reserve(key: Key, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Set ``count`` of ``size`` records aside at random.

    Returns:
        reserved [count] and rest [size - count]: disjoint int32 indices, in random order.

    Raises:
        InputError: if there are fewer than ``count`` records.
    """
    if count > size:
        raise InputError(f"{count:,} records are asked for, but there are only {size:,}; ask for fewer")
    order = np.asarray(jax.random.permutation(key, size), np.int32)
    return order[:count], order[count:]


def shokri(key: Key, pool_size: int, m: int, num_models: int) -> Plan:
    """The paper's plan for ``num_models`` models over one pool.

    Model k draws 2m distinct records with ``fold_in(key, k)``: the first m train it, the others test it. So model k's
    sets do not depend on how many models there are.

    Args:
        key: of all draws.
        pool_size: N, records of the pool.
        m: records of each training set, and of each test set.
        num_models: S.

    Returns:
        Plan with train [num_models, m] and test [num_models, m], indices into the pool.

    Raises:
        InputError: if the pool holds fewer than 2m records.

    >>> import jax, mia_jax as mia
    >>> plan = mia.plans.shokri(jax.random.key(0), 1000, m=300, num_models=5)
    >>> plan.train.shape, plan.test.shape
    ((5, 300), (5, 300))
    """
    if 2 * m > pool_size:
        raise InputError(
            f"a model with {m:,} training and {m:,} test records needs {2 * m:,} records, but its pool holds"
            f" {pool_size:,}; use train_size={pool_size // 2} or less"
        )

    def draw(k):
        return jax.random.permutation(jax.random.fold_in(key, k), pool_size)[: 2 * m]

    drawn = np.asarray(jax.lax.map(draw, jnp.arange(num_models)), np.int32)
    return Plan(train=drawn[:, :m], test=drawn[:, m:])


def balanced(key: Key, size: int, num_models: int) -> Plan:
    """The balanced plan: models 2p and 2p + 1 train on complementary halves of all ``size`` records.

    Every record is IN exactly half of the models, and adding models changes nobody's sets. When a model plays the
    target, its partner must not be among its shadows: counts over the others would give the membership away.

    Args:
        key: of all draws.
        size: n, the records.
        num_models: K, even.

    Returns:
        Plan with train [num_models, size // 2] and test [num_models, size // 2]; of an odd ``size`` one record per
        pair is left out of both.

    Raises:
        InputError: if ``num_models`` is odd.

    >>> import jax, mia_jax as mia
    >>> plan = mia.plans.balanced(jax.random.key(0), 1000, num_models=4)
    >>> sorted([*plan.train[0], *plan.train[1]]) == list(range(1000))  # a pair: two halves of all records
    True
    """
    _refuse_odd(num_models)
    half = size // 2
    pairs = np.asarray(jax.lax.map(_halves(key, size), jnp.arange(num_models // 2)), np.int32)  # [K/2, 2, half]
    return Plan(train=pairs.reshape(num_models, half), test=pairs[:, ::-1].reshape(num_models, half))


def balanced_pairs(key: Key, size: int, num_models: int) -> Iterator[np.ndarray]:
    """The training sets of ``balanced``, int32 [2, size // 2] of one pair of models after the other.

    Args:
        key: of all draws.
        size: n, the records.
        num_models: K, even.

    Raises:
        InputError: if ``num_models`` is odd.
    """
    _refuse_odd(num_models)
    pair = jax.jit(_halves(key, size))
    return (np.asarray(pair(p), np.int32) for p in np.arange(num_models // 2))


def _refuse_odd(num_models: int) -> None:
    if num_models % 2:
        raise InputError(
            f"the balanced plan makes models in pairs; use {num_models + 1} models instead of {num_models}"
        )


def halves(key: Key, size: int) -> jax.Array:
    """Two halves of ``size`` records that share none, drawn at random: int32 [2, size // 2]."""
    return jax.random.permutation(key, size)[: size // 2 * 2].reshape(2, size // 2)


def _halves(key: Key, size: int) -> Callable[[Array], jax.Array]:
    """(number of a pair) -> the training sets of its two models, [2, size // 2]."""
    return lambda p: halves(jax.random.fold_in(key, p), size)


def partners(models: np.ndarray) -> np.ndarray:
    """The models [K] that train on the complements of these in the balanced plan: 2p for 2p + 1, and 2p + 1 for 2p."""
    return np.asarray(models) ^ 1


def membership_matrix(plan: Plan, size: int) -> np.ndarray:
    """Bool [S, size]: True where the record trained the model.

    Args:
        plan: of S models.
        size: records of the pool.

    Returns:
        NumPy, bool [S, size].

    >>> import numpy as np, mia_jax as mia
    >>> plan = mia.Plan(train=np.array([[0, 2], [1, 3]]), test=np.array([[1, 3], [0, 2]]))
    >>> mia.plans.membership_matrix(plan, 4).astype(int).tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1]]
    """
    member = np.zeros((len(plan.train), size), bool)
    np.put_along_axis(member, np.asarray(plan.train), True, axis=1)
    return member
