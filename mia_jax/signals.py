"""One number per record from a model's answer (ATTACKS: "Signals").

Every signal takes log-probabilities ``log_p`` [..., c] and true classes ``y`` [...], and returns float [...]. Nothing
here forms ``1 - p`` of a probability near one: in float32 that stops near 16.6 nats, which is where members are.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mia_jax.types import Array


def _at(log_p: Array, y: Array) -> jax.Array:
    return jnp.take_along_axis(log_p, jnp.asarray(y)[..., None], axis=-1)[..., 0]


def _without(log_p: Array, y: Array) -> jax.Array:
    """``log_p`` with the true class's entry at -inf."""
    classes = jax.lax.broadcasted_iota(jnp.int32, log_p.shape, log_p.ndim - 1)
    return jnp.where(classes == jnp.asarray(y)[..., None], -jnp.inf, log_p)


def loss(log_p: Array, y: Array) -> jax.Array:
    """Cross-entropy, -log p_y; in nats, [...]."""
    return -_at(log_p, y)


def confidence(log_p: Array, y: Array) -> jax.Array:
    """p_y, the probability of the true class, [...]."""
    return jnp.exp(_at(log_p, y))


def scaled_logit(log_p: Array, y: Array) -> jax.Array:
    """log p_y - log sum_{j != y} p_j, [...]: LiRA's statistic (Carlini et al. 2022, section IV-C), in a stable form."""
    return _at(log_p, y) - jax.nn.logsumexp(_without(log_p, y), axis=-1)


def tempered_losses(log_p: Array, y: Array, temperatures: Sequence[float]) -> jax.Array:
    """-log softmax(log p / t)_y at each temperature t [g]; in nats, [..., g]."""
    return jnp.stack([loss(jax.nn.log_softmax(jnp.asarray(log_p) / t), y) for t in temperatures], axis=-1)


def margin(log_p: Array, y: Array) -> jax.Array:
    """log p_y - max_{j != y} log p_j, [...]: positive where the answer is right, and the same from logits."""
    return _at(log_p, y) - jnp.max(_without(log_p, y), axis=-1)


def entropy(log_p: Array, y: Array | None = None) -> jax.Array:
    """-sum_j p_j log p_j; in nats, [...].

    ``y`` is not used: it is there so that all signals are called alike.
    """
    del y
    return -jnp.sum(jnp.exp(log_p) * jnp.where(jnp.isneginf(log_p), 0.0, log_p), axis=-1)


def normalized_entropy(log_p: Array, y: Array | None = None) -> jax.Array:
    """Entropy over its maximum log c: the paper's prediction uncertainty, [...] in [0, 1] (section VI-E)."""
    return entropy(log_p, y) / jnp.log(jnp.asarray(log_p.shape[-1], jnp.float32))


def modified_entropy(log_p: Array, y: Array) -> jax.Array:
    """-(1 - p_y) log p_y - sum_{j != y} p_j log(1 - p_j), [...] (Song & Mittal 2021, equation 8)."""
    top = jnp.argmax(log_p, axis=-1)
    log_rest = jax.nn.logsumexp(_without(log_p, top), axis=-1)  # log(1 - p_top), with the digits that 1 - p_top lacks
    is_top = jax.lax.broadcasted_iota(jnp.int32, log_p.shape, log_p.ndim - 1) == top[..., None]
    # Below the top class p_j <= 1/2, where log1p is exact.
    log_one_minus = jnp.where(is_top, log_rest[..., None], jnp.log1p(-jnp.exp(jnp.where(is_top, -1.0, log_p))))
    own = -jnp.exp(_at(log_one_minus, y)) * _at(log_p, y)
    others = jnp.exp(_without(log_p, y)) * log_one_minus
    return own - jnp.sum(jnp.where(jnp.isneginf(log_one_minus), 0.0, others), axis=-1)
