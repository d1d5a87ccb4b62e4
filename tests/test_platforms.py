"""Platforms: what they train is what they say, over all classes, and the same again for the same seed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax import models, platforms, training
from mia_jax.types import Answers, InputError, Records

CLASSES = 4


def records(n=200, seed=0, side=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, side, 2)).astype(np.float32)
    return x, np.argmax(x.reshape(n, -1)[:, :CLASSES] + 0.3 * rng.normal(size=(n, CLASSES)), axis=1).astype(np.int32)


def test_a_classifier_answers_as_it_does_by_itself():
    from sklearn.linear_model import LogisticRegression

    x, y = records()
    target = platforms.sklearn(LogisticRegression(C=3.0), CLASSES)(x, y)
    alone = LogisticRegression(C=3.0).fit(x.reshape(len(x), -1), y)
    np.testing.assert_allclose(target.ask(x), alone.predict_log_proba(x.reshape(len(x), -1)), rtol=1e-4, atol=1e-6)
    assert target.answers == Answers(CLASSES) and not target.traced


def test_a_class_without_records_has_probability_zero():
    x, y = records()
    rows = y != 1
    target = platforms.platform("sklearn:sklearn.naive_bayes.GaussianNB", CLASSES)(x[rows], y[rows])
    log_p = target.ask(x)
    assert (log_p[:, 1] < -80).all() and not (log_p.argmax(1) == 1).any()
    assert target.answers.kind == "probabilities"
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-4)


def test_a_classifier_without_probabilities_answers_with_labels():
    x, y = records()
    target = platforms.platform("sklearn:sklearn.svm:LinearSVC", CLASSES)(x, y)
    assert target.answers.kind == "labels"
    assert (target.ask(x).argmax(1) == y).mean() > 0.6


def test_the_seed_decides():
    x, y = records()
    fit = platforms.sklearn("sklearn.ensemble.RandomForestClassifier", CLASSES)
    first, again, other = (fit(x, y, seed=seed).ask(records(seed=1)[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("kind", ["sklearn:no.such.Thing", "sklearn:numpy.array", "sklearn:Thing", "azure"])
def test_what_is_no_platform_is_refused(kind):
    with pytest.raises(InputError):
        platforms.platform(kind, CLASSES)


def test_the_google_stand_in_chooses_what_fits_the_data():
    rng = np.random.default_rng(0)
    x, y = records(400)
    unseen = records(400, seed=1)
    linear = platforms.google(CLASSES)(x, y)
    assert (linear.ask(unseen[0]).argmax(1) == unseen[1]).mean() > 0.7
    # Exclusive or: no linear technique and no naive one can tell.
    bits = rng.integers(0, 2, (2, 400, 6)).astype(np.uint8)
    labels = bits[..., 0] ^ bits[..., 1]
    target = platforms.google(2)(bits[0], labels[0])
    assert (target.ask(bits[1]).argmax(1) == labels[1]).mean() > 0.95
    np.testing.assert_array_equal(target.ask(bits[1]), platforms.google(2)(bits[0], labels[0]).ask(bits[1]))


def test_the_google_stand_in_outlives_classes_with_a_single_record():
    x, y = records(60)
    y[0] = 5
    target = platforms.google(6)(x, y)
    assert target.answers.classes == 6 and target.ask(x).shape == (60, 6)


def test_the_amazon_stand_in_learns_from_bins_what_no_line_could():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2, 600, 2)).astype(np.float32)
    y = (np.abs(x[..., 0]) > 0.5).astype(np.int32)  # in the middle or outside
    target = platforms.amazon(2)(x[0], y[0])
    assert target.traced
    assert (np.asarray(jax.jit(target.ask)(x[1])).argmax(1) == y[1]).mean() > 0.9


def test_bins_hold_equally_many_and_bits_stay_bits():
    rng = np.random.default_rng(0)
    x = np.stack([rng.exponential(size=1000), rng.integers(0, 2, 1000) * 3 + 2, np.full(1000, 7.0)], axis=1)
    bins = platforms.quantile_bins(x)
    inputs = np.asarray(platforms.binned(bins, x))
    assert inputs.shape == (1000, 1 + platforms.BINS)
    np.testing.assert_array_equal(inputs[:, 0], x[:, 1] == 5)
    np.testing.assert_array_equal(inputs[:, 1:].sum(0), 100)


def test_the_amazon_stand_in_is_the_loop_over_single_records():
    """Online SGD of multinomial logistic loss with L2, written out."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 2, (40, 5)).astype(np.uint8), rng.integers(0, 3, 40).astype(np.int32)
    many = platforms.amazon_many(3, passes=1, l2=0.01)
    target = many(Records(x, y), np.arange(40)[None], seeds=[0])[0]
    state = training.make_trainer(models.logistic(3), optax.identity(), 1).init(jax.random.key(0), jnp.asarray(x))
    w, b = (np.asarray(leaf, np.float64) for leaf in sorted(jax.tree.leaves(state.params), key=lambda a: -a.ndim))
    key_order, _ = jax.random.split(jax.random.fold_in(state.key, 0))
    order = np.asarray(training._batches(key_order, jnp.arange(40), 1)).reshape(-1)
    start, found = (w, b), []
    for rate in platforms.RATES:
        w, b = start
        for i in order:
            z = x[i] @ w + b
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            gradient = p - np.eye(3)[y[i]]
            w, b = w - rate * (np.outer(x[i], gradient) + 0.01 * w), b - rate * (gradient + 0.01 * b)
        z = x @ w + b
        found.append(z - np.log(np.exp(z).sum(1, keepdims=True)))
    assert min(np.abs(np.asarray(target.ask(x)) - log_p).max() for log_p in found) < 1e-4


def test_shadows_of_the_amazon_stand_in_are_trained_together_as_alone():
    x, y = records(120)
    index = np.stack([np.arange(60), np.arange(60, 120)])
    many = platforms.amazon_many(CLASSES, passes=2)(Records(x, y), index, seeds=[3, 4])
    assert np.abs(many[0].ask(x) - many[1].ask(x)).max() > 0.1
    twins = platforms.amazon_many(CLASSES, passes=2)(Records(x, y), index[[0, 0]], seeds=[3, 3])
    alone = platforms.amazon(CLASSES, passes=2)(x[:60], y[:60], seed=3)
    for twin in twins:
        np.testing.assert_allclose(twin.ask(x), alone.ask(x), rtol=1e-4, atol=1e-5)
