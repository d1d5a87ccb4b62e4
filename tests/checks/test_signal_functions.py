"""Predictions of a regression that are a function of y are told by which one; honest ones are not."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

import mia_jax as mia
from mia_jax.audits.deployed import numbers
from mia_jax.checks.signals import signal_scales

X, Y = load_diabetes(return_X_y=True)
Y = Y / 60
MEMBER = np.random.default_rng(0).permutation(len(Y)) < len(Y) // 2
FUNCTIONS = {
    "np.expm1": np.log1p,
    "np.exp": np.log,
    "p**2": np.sqrt,
    "mean 0 and deviation 1": lambda y: (y - y.mean()) / y.std(),
    "scaled to 0..1": lambda y: (y - y.min()) / np.ptp(y),
}


@pytest.mark.parametrize(("undo", "function"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_a_function_that_was_not_undone_is_told(undo, function):
    p = RandomForestRegressor(40, random_state=0).fit(X[MEMBER], function(Y[MEMBER])).predict(X)
    (said,) = signal_scales.of_functions(p, Y, MEMBER)
    assert undo in said and "not in its unit" in said


MODELS = {
    "forest": RandomForestRegressor(20, random_state=0),
    "leaves": RandomForestRegressor(20, min_samples_leaf=30, random_state=0),
    "boosted": GradientBoostingRegressor(random_state=0),
    "too few trees": GradientBoostingRegressor(n_estimators=10, max_depth=10, learning_rate=0.05, random_state=0),
    "quantile": GradientBoostingRegressor(loss="quantile", alpha=0.9, random_state=0),
    "ridge": Ridge(),
    "shrunk": Ridge(1000),
    "no level": Ridge(fit_intercept=False),
    "neighbors": KNeighborsRegressor(1),
}


@pytest.mark.parametrize("data", ["diabetes", "friedman", "heavy tails"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_honest_models_are_not_accused(model, data):
    x, y = (X, Y) if data == "diabetes" else make_friedman1(442, noise=1, random_state=2)
    y = np.exp(y / 5) + np.random.default_rng(0).pareto(1.5, 442) if data == "heavy tails" else y
    p = model.fit(x[MEMBER], y[MEMBER]).predict(x)
    assert signal_scales.of_functions(p, y, MEMBER) == signal_scales.of_functions(p, y, None) == ()


def test_one_output_of_another_unit_is_noted():
    """A sum of squared errors of two outputs, one a thousand times as large, was that one's alone."""
    x, y = X, np.stack([Y, np.random.default_rng(0).permutation(Y)], axis=1)
    given = dict(shadows=RandomForestRegressor(10), num_shadows=4, signal="squared_error", attacks="loss")
    said = []
    for scale in ((1, 1), (1, 1000)):
        model = RandomForestRegressor(10, random_state=0).fit(x[MEMBER], (y * scale)[MEMBER])
        report = mia.audit(model.predict, x, y * scale, MEMBER, **given)
        said.append([note for note in report.notes if "of the target's error" in note])
    assert said[0] == [] and said[1][0].startswith("Output 1 of 2, counted from 0, makes 100.0% of the target's error")
    assert "divide y and predictions by y.std(axis=0)" in said[1][0]


def test_outputs_of_other_shapes_say_nothing():
    y = np.stack([Y, 1000 * Y], axis=1)
    chosen = numbers.SIGNALS["squared_error"]
    assert numbers.of_outputs(np.zeros_like(y), y, chosen) != ()
    for p in (None, np.zeros(len(y)), np.zeros((len(y), 1)), np.zeros((2, len(y), 2))):
        assert numbers.of_outputs(p, y, chosen) == ()
    assert numbers.of_outputs(np.zeros_like(y), y, numbers.SAVED) == ()
