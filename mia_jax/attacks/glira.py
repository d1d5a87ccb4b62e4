"""Galichin, Pautov, Zhavoronkin, Rogov, Oseledets, "GLiRA: Black-Box Membership Inference Attack via Knowledge
Distillation", IEEE TIFS 2025 (arXiv 2405.07562).

Offline LiRA whose shadows imitate the target: they are distilled from its answers about the adversary's own records, by
the Kullback-Leibler divergence of their answers from the target's (GLiRA (KL), lambda 0 in the authors' code). They
answer about a candidate as the target would if it had not trained on it; so with phi the scaled logit

    log Phi((phi - mean of the imitators' phi) / s),  s^2 pooled over records from residuals

Checked against the authors' code (github.com/AIRI-Institute/GLiRA, train.py and score.py), for the text of the paper
could not be had (?). Departures:

* Theirs is two-sided, and its fixed variance that of the raw values over records: both as in ``lira``, for its reasons.
* The center is the mean, theirs the median; ten imitators by default, theirs are 128.
* The adversary's own records are the population. Each imitator trains on a half of it, drawn at random, while theirs
  train on as many records as the target did. Where the population is small, they imitate it less well.
* Their second loss, of the logits' squares, is not here: no target tells its logits.
"""

import jax
import numpy as np
import optax

from mia_jax.attacks import imitation
from mia_jax.attacks.imitation import Imitator
from mia_jax.attacks.lira import VARIANCE_FLOOR, Gaussians, one_sided_tail
from mia_jax.types import Array, Attack, Key, Model, Records


def glira(
    num_classes: int,
    *,
    population: Records,
    model: Model,
    count: int = 10,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    num_epochs: int = 100,
) -> Attack:
    """GLiRA: how surely the target answers, beside networks that were distilled from it without the record.

    Args:
        num_classes: not used.
        population: records [N] that trained no model, which the target is asked about.
        model: of the imitators; as a rule the shadows' own.
        count: imitators, 2 at least.
        optimizer, batch_size, num_epochs: of the distillation; by default Adam with 1e-3.

    Returns:
        An Attack. It sees "phi" [n] and the imitators' "imitated" [n, count].

    Raises:
        InputError: as ``imitation.check``.
    """
    del num_classes
    imitation.check("glira", population, count, num_epochs)
    imitator = Imitator(model, optimizer or optax.adam(1e-3), batch_size)

    def imitate(key: Key, population: Records, log_p: Array, candidates: Records) -> dict[str, Array]:
        trainer, pool = imitator.trainer(_divergence, population.y, log_p), imitation.by_row(population)

        def one(key: Key) -> Array:
            key_rows, key_train = jax.random.split(key)
            rows = imitation.half(key_rows, len(population.y))
            state = imitation.epochs(trainer, trainer.init(key_train, pool.x[:1]), pool, rows, num_epochs)
            return imitator.phi(state.params, candidates)

        return {"imitated": jax.vmap(one)(jax.random.split(key, count)).T}

    return imitation.attack(population, imitate, score)


def _divergence(logits: Array, log_p: Array, y: Array) -> jax.Array:
    """The cross-entropy to the target's answer: the Kullback-Leibler divergence, up to a constant."""
    del y
    return -(jax.numpy.exp(log_p) * jax.nn.log_softmax(logits)).sum(axis=-1)


def score(seen: dict[str, np.ndarray]) -> np.ndarray:
    """Offline LiRA with one variance for all records, [n]; -log(-log Phi), which orders as log Phi does.

    Args:
        seen: "phi" [n], of the target; "imitated" [n, count].
    """
    imitated = seen["imitated"].astype(np.float64)
    variance = imitated.var(axis=1, ddof=1).mean()
    known = np.asarray(variance if variance > VARIANCE_FLOOR else 1.0)
    return one_sided_tail(Gaussians(known, known, imitated.mean(axis=1), known), seen)
