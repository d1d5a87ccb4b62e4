"""What attacks share: what they read from plain answers, and from ``read`` to ``observe``.

What is seen is a dictionary of leaves, and a leaf's name says what it is, everywhere: "phi" the scaled logit, "log_p_y"
minus the loss, "confidence", "entropy", "modified_entropy", "correct", "y" the true class, "log_p" the whole answer. So
the union of what several attacks see can be kept once and handed to each of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import signals
from mia_jax.attacks.perturbation import record_keys
from mia_jax.types import Array, Attack, Key, Records, Remember, Target

# -log of the smallest normal float32, where targets clip what they answer: no attack sees an infinity, whatever a
# defense did to the answer.
LIMIT = 87.3

Augment = Callable[[Key, Array], Array]  # (key, x [*f]) -> x [q, *f]: queries in a record's place


def scaled_logit(log_p: Array, y: Array) -> dict[str, Array]:
    """{"phi" [n]}: log p_y - log sum_{j != y} p_j, within +-87.3, of log_p [n, c] and y [n]."""
    return {"phi": jnp.clip(signals.scaled_logit(log_p, y), -LIMIT, LIMIT)}


def log_likelihood(log_p: Array, y: Array) -> dict[str, Array]:
    """{"log_p_y" [n]}: minus the loss, from -87.3 to 0, of log_p [n, c] and y [n]."""
    return {"log_p_y": jnp.clip(-signals.loss(log_p, y), -LIMIT, 0.0)}


def reporting(done: Callable[[float], None]) -> Remember:
    """A ``Remember`` that keeps nothing and calls ``done`` after each part, as ``stages.remembering`` does."""

    def kept(part: str, work: Callable[[], dict]) -> dict:
        del part
        made = work()
        done(0.0)
        return made

    return lambda about: kept


def from_answers(
    read, fit, score, *, augment: Augment | None = None, needs: frozenset[str] = frozenset(), **properties
) -> Attack:
    """An Attack that needs nothing but plain answers: ``observe`` asks once and reads.

    Args:
        read, fit, score: of the Attack.
        augment: (key, x [*f]) -> x [q, *f], further queries in a record's place (``mia_jax.attacks.queries``); then the
            leaves are [n, q], and the attack needs "queries": answers saved earlier will not do.
        needs, properties: of the Attack.
    """

    def observe(key: Key, target: Target, records: Records):
        del key
        return read(target.ask(records.x), records.y)

    if augment is None:
        return Attack(observe=observe, fit=fit, score=score, read=read, needs=needs, **properties)

    def observe_augmented(key: Key, target: Target, records: Records):
        x = jax.vmap(augment)(record_keys(key, records.x), jnp.asarray(records.x))  # [n, q, *f]
        n, q = x.shape[:2]
        flat = x.reshape(n * q, *x.shape[2:])
        seen = read(target.ask(flat if target.traced else np.asarray(flat)), jnp.repeat(jnp.asarray(records.y), q))
        return jax.tree.map(lambda leaf: leaf.reshape(n, q, *leaf.shape[1:]), seen)

    return Attack(observe=observe_augmented, fit=fit, score=score, needs=needs | {"queries"}, **properties)
