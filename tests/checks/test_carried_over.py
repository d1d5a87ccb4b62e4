"""Shadows whose weights go on from one to the next are told by their order; models that are trained anew have none."""

import copy
import dataclasses
import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from small_runs import own_module

import mia_jax as mia
from mia_jax import audits
from mia_jax.checks.models import carried_over
from mia_jax.targets import black_box, server
from mia_jax.types import Answers

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
    """LiRA found far less of such networks, with no word."""
    numbers, trained = sure(0, anew=False)
    (said,) = carried_over.doubts(numbers, trained)
    assert "their weights seem to go on" in said and "Make the network anew for each shadow" in said
    assert carried_over.doubts(np.log(numbers), trained) != ()  # numbers per record
    assert carried_over.doubts(numbers[::-1], trained[::-1]) == ()  # from the last to the first it is none


def test_of_files_and_of_few_shadows_it_is_a_note():
    numbers, trained = sure(0, anew=False)
    (note,) = carried_over.notes(numbers, trained)
    assert "in the order of a setting (epochs, C, depth). Make" in note
    assert carried_over.doubts(numbers[:6], trained[:6]) == ()
    (note,) = carried_over.notes(numbers[:6], trained[:6])
    assert "or, with so few, by chance. Make" in note
    target = sure(0, anew=True)[0][3]
    with pytest.warns(UserWarning, match="where their weights went on"):
        mia.infer("loss", signal=np.log(target), shadow_signal=np.log(numbers), shadow_member=trained)
    p = np.stack([1 - numbers, numbers], axis=-1)
    asked = dict(labels=np.ones(N, int), target=np.stack([1 - target, target], axis=-1), shadows=p)
    with pytest.warns(UserWarning, match="where their weights went on"):
        mia.infer("loss", **asked, shadow_member=trained)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.integration) for k in range(1, 8))])
def test_models_that_are_made_anew_are_not_doubted(seed):
    numbers, trained = sure(seed, anew=True)
    for few in (4, 6, 10):
        assert carried_over.notes(numbers[:few], trained[:few]) == carried_over.doubts(numbers, trained) == ()


def test_larger_training_sets_that_teach_more_are_no_order():
    x, y, _ = world(1)
    trained = np.array([np.random.default_rng(k).permutation(N) < 40 + 20 * k for k in range(8)])
    p = [fitted(network(k), x[mine], y[mine])(x)[np.arange(N), y] for k, mine in enumerate(trained)]
    assert carried_over.notes(np.stack(p), trained) == carried_over.doubts(np.stack(p), trained) == ()


@pytest.mark.parametrize("models", [8, 16])
def test_honest_models_in_no_order(models):
    """SIMULATED: numbers of models that differ in how well they were trained, of halves and of independent draws."""
    rng, said = np.random.default_rng(0), 0
    for k in range(1000):
        trained = np.array([rng.permutation(200) < 100 for _ in range(models)])
        trained = trained if k % 2 else rng.random((models, 200)) < 0.5
        numbers = rng.normal(size=200) + rng.normal(scale=0.5, size=(models, 1)) + rng.normal(size=(models, 200))
        said += carried_over.doubts(numbers + trained, trained) != ()
    assert said <= 2


def test_sizes_that_differ_by_chance_hide_no_order():
    rng = np.random.default_rng(0)
    trained = rng.random((12, 400)) < 0.5
    numbers = rng.normal(size=400) + 0.1 * np.arange(12)[:, None] + rng.normal(size=(12, 400)) + trained
    assert carried_over.doubts(numbers, trained) != ()


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


TRAINER = """
import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

shared = MLPClassifier((64,), learning_rate_init=5e-3, batch_size=32, random_state=0)

def trained(net, x, y):
    for _ in range(30):
        net.partial_fit(x, y, classes=np.arange(10))
    coefs, intercepts = [w.copy() for w in net.coefs_], [b.copy() for b in net.intercepts_]
    def predict(asked):
        z = np.maximum(asked @ coefs[0] + intercepts[0], 0) @ coefs[1] + intercepts[1]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)
    return predict

def goes_on(x, y, *, seed):
    return trained(shared, x, y)

def anew(x, y, *, seed):
    return trained(MLPClassifier((64,), learning_rate_init=5e-3, batch_size=32, random_state=seed), x, y)
"""


@pytest.mark.integration
@pytest.mark.parametrize(("name", "told"), [("goes_on", True), ("anew", False)])
def test_an_audit_of_a_service_says_it(name, told, tmp_path, monkeypatch, no_pages):
    pytest.importorskip("httpx")
    x, y, trained = world(0)
    x, member = x.astype(np.float32), trained[0] & (np.arange(N) % 4 == 0)
    model = fitted(network(1), x[member], y[member])
    np.savez(tmp_path / "mine.npz", x=x, y=y, member=member)
    module = own_module(tmp_path, monkeypatch, TRAINER)
    target = black_box.Target(lambda z: np.log(model(np.asarray(z)) + 1e-30), Answers(10), traced=False)
    config = audits.DeployedConfig(
        data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run"), num_shadows=12, attacks="loss"
    )
    with server.serve(target, x.shape[1:], dtype=np.dtype(np.float32)) as url:
        given = dict(target=url + server.paths()["vertex"], target_kind=f"{module}:{name}")
        found = audits.run(dataclasses.replace(config, **given))
    assert any("their weights seem to go on" in one for one in found.get("doubts") or ()) == told


def test_an_audit_of_numbers_says_it():
    """Of a regression: the network's errors, one number per record."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    y, member = x @ rng.normal(size=8) + rng.normal(size=300), rng.permutation(300) < 150

    def fit(a, b, *, seed):
        for _ in range(30):
            shared.partial_fit(a, b)
        return copy.deepcopy(shared).predict

    shared = MLPRegressor(hidden_layer_sizes=(64,), learning_rate_init=5e-3, batch_size=30, random_state=0)
    target = fit(x[member], y[member], seed=0)
    shared = MLPRegressor(hidden_layer_sizes=(64,), learning_rate_init=5e-3, batch_size=30, random_state=1)
    with pytest.warns(UserWarning, match="their weights seem to go on"):
        found = mia.audit(target, x, y, member, shadows=fit, num_shadows=16, signal="squared_error", attacks="loss")
    assert not any("So it is where" in one for one in found.notes)
