"""Shadows whose weights go on from one to the next are told by their order; models that are trained anew have none."""

import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import mia_jax as mia
from mia_jax.checks.models import carried_over

N, S = 400, 10


@functools.cache
def world(seed):
    """Digits with wrong labels, and who trained ten models."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[:N]
    x, y = x[rows] / 16, y[rows].copy()
    wrong = rng.random(N) < 0.2
    y[wrong] = rng.integers(0, 10, wrong.sum())
    return x, y, np.array([rng.permutation(N) < N // 2 for _ in range(S)])


def network(seed):
    return MLPClassifier((64,), learning_rate_init=5e-3, batch_size=40, random_state=seed)


def fitted(net, x, y):
    for _ in range(30):
        net.partial_fit(x, y, classes=np.arange(10))
    return net.predict_proba


@functools.cache
def sure(seed, anew):
    """The probability of the true class in ten networks, each made anew or all of them one."""
    x, y, trained = world(seed)
    shared, out = network(seed), []
    for k, mine in enumerate(trained):
        out.append(fitted(network(k) if anew else shared, x[mine], y[mine])(x)[np.arange(N), y])
    return np.stack(out), trained


def test_weights_that_go_on_are_a_doubt():
    """LiRA .555 instead of .796 on such networks, with no word."""
    numbers, trained = sure(0, anew=False)
    (said,) = carried_over.doubts(numbers, trained)
    assert "better from one to the next" in said and "Make the network anew for each shadow" in said
    assert carried_over.doubts(np.log(numbers), trained) != ()  # numbers per record
    assert carried_over.doubts(numbers[::-1], trained[::-1]) == ()  # from the last to the first it is none
    assert carried_over.doubts(numbers[:5], trained[:5]) == ()  # too few


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.integration) for k in range(1, 8))])
def test_models_that_are_made_anew_are_not_doubted(seed):
    assert carried_over.doubts(*sure(seed, anew=True)) == ()


def test_larger_training_sets_that_teach_more_are_no_order():
    x, y, _ = world(1)
    trained = np.array([np.random.default_rng(k).permutation(N) < 40 + 20 * k for k in range(8)])
    p = [fitted(network(k), x[mine], y[mine])(x)[np.arange(N), y] for k, mine in enumerate(trained)]
    assert carried_over.doubts(np.stack(p), trained) == ()


@pytest.mark.integration
def test_an_honest_order_is_one_in_ten_thousand():
    """SIMULATED: numbers of models that differ in how well they were trained, in no order."""
    rng, said = np.random.default_rng(0), 0
    for _ in range(2000):
        trained = rng.random((8, 200)) < 0.5
        numbers = rng.normal(size=200) + rng.normal(scale=0.5, size=(8, 1)) + trained + rng.normal(size=(8, 200))
        said += carried_over.doubts(numbers, trained) != ()
    assert said <= 3


def test_an_audit_says_it():
    x, y, trained = world(0)
    shared = network(5)

    def fit(a, b, *, seed):
        model = fitted(shared, a, b)
        p = model(x)
        known = {row.tobytes(): k for k, row in enumerate(x)}
        return lambda z: p[[known[row.tobytes()] for row in np.asarray(z)]]

    target = fitted(network(1), x[trained[0]], y[trained[0]])
    audit = functools.partial(mia.audit, target, x, y, trained[0], num_shadows=12, attacks="loss")
    with pytest.warns(UserWarning, match="their weights seem to go on"):
        assert audit(shadows=fit).results["doubts"]
    assert not audit(shadows=lambda a, b, *, seed: fitted(network(seed), a, b)).results.get("doubts")
