"""Simulated worlds in which the best attack is known: Gaussian scaled logits, put into answers of four classes."""

from typing import NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS
from mia_jax.attacks.entries import ANSWERS

CLASSES = 4
FROM_ANSWERS = [name for name, entry in ATTACKS.items() if entry.needed() <= ANSWERS and name != "majority"]
LEARNED = [name for name in FROM_ANSWERS if name != "shokri"]  # without networks: quick


class World(NamedTuple):
    y: np.ndarray  # [n]
    phi: np.ndarray  # [K, n]
    member: np.ndarray  # [K, n]; models in complementary pairs


def answers(phi, y):
    """float32 log-probabilities [..., c] with these scaled logits; the other classes share what is left."""
    own, rest = -np.logaddexp(0, -phi), -np.logaddexp(0, phi) - np.log(CLASSES - 1)
    own, rest = own[..., None], rest[..., None]
    return np.where(np.arange(CLASSES) == y[:, None], own, rest).astype(np.float32)


def in_pairs(rng, num_models, n):
    """Bool [K, n], as ``splits.balanced`` plans it: models 2p and 2p + 1 train on complementary halves."""
    half = np.arange(n) < n // 2
    rows = np.stack([rng.permutation(half) for _ in range(num_models // 2)])
    return np.stack([rows, ~rows], axis=1).reshape(num_models, n)


def gaussian(seed, n, num_models, *, shift=1.5, spread=2.0, level=0.0, deviation=None, silent=()):
    """phi ~ N(mu_i, s_i^2), and N(mu_i + shift, s_i^2) where the model trained on record i; mu_i ~ N(level, spread^2).

    ``deviation`` [n]: s_i, 1 by default. ``silent``: models that never saw any record, whatever ``member`` says.
    """
    rng = np.random.default_rng(seed)
    member = in_pairs(rng, num_models, n)
    mu = level + spread * rng.normal(size=n)
    deviation = np.ones(n) if deviation is None else deviation(rng, n)
    trained = member & ~np.isin(np.arange(num_models), silent)[:, None]
    phi = mu + shift * trained + deviation * rng.normal(size=(num_models, n))
    return World(rng.permutation(np.arange(n) % CLASSES), phi, member)


def uneven(rng, n):
    """Standard deviations that differ between records: s^2 is inverse gamma with mean 1."""
    return np.sqrt(2 / rng.gamma(3.0, size=n))


def others(world, target=0):
    """All models but the target and its partner."""
    return np.delete(np.arange(len(world.phi)), [target, partner(target)])


def partner(k):
    """The model that trained on what model k did not."""
    return k ^ 1


def see(attack, world, models):
    """What the attack sees of these models, leaves [S, n]; or of one model, leaves [n]."""
    if np.ndim(models) == 0:
        return jax.tree.map(np.asarray, attack.read(answers(world.phi[models], world.y), world.y))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *[see(attack, world, int(k)) for k in models])


def play(attack, world, *, target=0, shadows=None, population=None):
    """State and scores of one model as the target."""
    shadows = others(world, target) if shadows is None else shadows
    state = attack.fit(jax.random.key(7), see(attack, world, shadows), world.member[shadows], population)
    return state, np.asarray(attack.score(state, see(attack, world, target)), np.float64)
