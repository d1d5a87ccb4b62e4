"""A signal function that gives a record a number of all records is refused, or told; what scales all numbers is not."""

import functools

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

import mia_jax as mia
from mia_jax.checks.signals import lone_signals

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5))
Y = X[:, 0] + np.abs(X[:, 1]) + 0.3 * RNG.normal(size=200)
MEMBER = RNG.permutation(200) < 100


def fit(x, y, *, seed):
    model = RandomForestRegressor(5, random_state=seed).fit(x, np.ravel(y))
    return lambda x: model.predict(x)[:, None]


audit = functools.partial(mia.audit, fit(X[MEMBER], Y[MEMBER], seed=9), X, Y, MEMBER, attacks="loss", num_shadows=4)
FLAT = fit(X[MEMBER], Y[MEMBER], seed=9)(X)[:, 0]


@pytest.mark.parametrize("axis", [0, -1, None])
def test_columns_beside_rows_are_refused_by_their_shapes(axis):
    with pytest.raises(mia.InputError, match=r"prediction \[200, 1\] beside y \[200\] gives \[200, 200\].*reshape"):
        audit(shadows=fit, signal=lambda p, y: -((p - y) ** 2).mean(axis) if axis is not None else -((p - y) ** 2))


@pytest.mark.parametrize(("axis", "what"), [(0, "prediction"), (1, "y")])
def test_a_mean_over_all_pairs_is_refused_where_shapes_are_alike(axis, what):
    def of(p, y):
        return -((p[:, None] - y) ** 2).mean(axis)

    with pytest.raises(mia.InputError, match=f"not on its own {what}"):
        lone_signals.mixes(of, FLAT, Y, of(FLAT, Y))


ALONE = {
    "squared": lambda p, y: -((p - y) ** 2),
    "scaled by all": lambda p, y: -(((p - y) / y.std()) ** 2),
    "one level off": lambda p, y: -np.abs(p - y) + np.abs(y - y.mean()).mean(),
    "right or wrong": lambda p, y: (np.abs(p - y) < 0.3) * 1.0,
    "the prediction": lambda p, y: p,
    "float32": lambda p, y: (-((p - y) ** 2)).astype(np.float32),
    "takes all alone": lambda p, y: -((p - y.reshape(200)) ** 2),
    "tailed": lambda p, y: -np.exp(8 * np.abs(p - y)),
}


@pytest.mark.parametrize("of", ALONE.values(), ids=ALONE)
def test_numbers_of_a_record_alone_are_not_accused(of):
    assert not lone_signals.mixes(of, FLAT, Y, np.asarray(of(FLAT, Y), np.float64))


def test_ranks_among_all_are_noted():
    def ranks(p, y):
        return -(np.argsort(np.argsort(np.abs(np.ravel(p) - y))) ** 2.0)

    notes = audit(shadows=fit, signal=ranks).results["shadows"]["notes"]
    assert notes.count(lone_signals.MIXES) == 1
    right = audit(shadows=fit, signal=lambda p, y: -((p[:, 0] - y) ** 2))
    assert lone_signals.MIXES not in right.results["shadows"]["notes"]
