"""Signals against their definitions in float64, and in the corner where float32 ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from mia_jax import signals


def naive(name, log_p, y):
    p = np.exp(log_p)
    rows = np.arange(len(y))
    others = log_p.copy()
    others[rows, y] = -np.inf
    q = 1 - p
    masked = p * np.log(q)
    masked[rows, y] = 0
    return {
        "loss": -log_p[rows, y],
        "confidence": p[rows, y],
        "scaled_logit": log_p[rows, y] - logsumexp(others, axis=1),
        "margin": log_p[rows, y] - others.max(axis=1),
        "entropy": -(p * log_p).sum(axis=1),
        "normalized_entropy": -(p * log_p).sum(axis=1) / np.log(p.shape[1]),
        "modified_entropy": -q[rows, y] * log_p[rows, y] - masked.sum(axis=1),
    }[name]


NAMES = ["loss", "confidence", "scaled_logit", "margin", "entropy", "normalized_entropy", "modified_entropy"]
SIGNALS = {name: jax.jit(getattr(signals, name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 10])
def test_definitions(name, classes):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(200, classes))
    y = rng.integers(classes, size=200)
    want = naive(name, log_softmax(logits, axis=1), y)
    got = SIGNALS[name](jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)), y)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_leading_axes(name):
    log_p = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 5, 4)))
    y = jnp.arange(15).reshape(3, 5) % 4
    want = SIGNALS[name](log_p.reshape(15, 4), y.reshape(15)).reshape(3, 5)
    np.testing.assert_allclose(SIGNALS[name](log_p, y), want, rtol=1e-6)


def test_scaled_logit_goes_beyond_one_minus_p():
    """A logit gap of 60: 1 - p is 0 in float32, log(1 - p) would be -inf; the stable form is exact."""
    logits = jnp.array([[60.0, 0.0, 0.0], [-60.0, 0.0, 0.0]])
    log_p = jax.nn.log_softmax(logits)
    np.testing.assert_allclose(
        signals.scaled_logit(log_p, jnp.array([0, 0])), [60 - np.log(2), -60 - np.log(2)], rtol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_certain_answers_are_finite(name):
    """One-hot answers (label-only targets, clipped at 1e-7) and answers of exactly 0 and 1."""
    p = jnp.array([[1 - 2e-7, 1e-7, 1e-7], [1e-7, 1 - 2e-7, 1e-7]])
    assert np.isfinite(np.asarray(SIGNALS[name](jnp.log(p), jnp.array([0, 0])))).all()


def test_modified_entropy_of_a_sure_member_keeps_its_digits():
    """p_y = 1 - 1e-9 (float32 cannot tell it from 1): Mentr = 1e-9 * 1e-9 + ..., dominated by the others' p^2."""
    log_p = jnp.log(jnp.array([[1.0, 5e-10, 5e-10]], jnp.float32))
    np.testing.assert_allclose(signals.modified_entropy(log_p, jnp.array([0])), [5e-19], rtol=1e-3)
