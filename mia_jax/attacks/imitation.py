"""Networks that imitate a target: trained on records of the adversary's own with what the target answers about them.

``glira`` and ``imia`` stand on these. The records are the population, of which no model trained on any: they are asked
about once, and so are the candidates, which is all that both attacks ask the target.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import Option, python_only
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.training import single
from mia_jax.types import Array, Attack, InputError, Key, Model, Params, Records, Target, Trainer, TrainState

NEEDS = frozenset({"in", "out", "population", "queries", "features", "trainer"})
OPTIONS = (
    Option("population", source="population"),
    Option("model", source="model"),
    *python_only("count", "optimizer", "batch_size", "num_epochs"),
)

# (logits [b, c], log-probabilities of the target [b, c], y [b]) -> [b]
Loss = Callable[[Array, Array, Array], jax.Array]
# (key, population, log-probabilities of the target about it [N, c], candidates) -> seen, leaves [n, ...]
Imitate = Callable[[Key, Records, Array, Records], dict[str, Array]]


class Imitator(NamedTuple):
    """How an imitator is trained."""

    model: Model
    optimizer: optax.GradientTransformation
    batch_size: int

    def trainer(self, loss: Loss, y: Array, log_p: Array) -> Trainer:
        """A Trainer whose labels are rows of the population: y [N] and log_p [N, c] of a row are looked up."""

        def of_rows(logits: Array, row: Array) -> jax.Array:
            return loss(logits, jnp.asarray(log_p)[row], jnp.asarray(y)[row])

        return single.make_trainer(self.model, self.optimizer, self.batch_size, loss=of_rows)

    def phi(self, params: Params, records: Records) -> Array:
        """Scaled logits of records, [n]."""
        return scaled_logit(single.predict(self.model, params, records.x), records.y)["phi"]


def by_row(population: Records) -> Records:
    """The population [N], with its rows for labels."""
    return Records(jnp.asarray(population.x), jnp.arange(len(population.y)))


def epochs(trainer: Trainer, state: TrainState, pool: Records, rows: Array, count: int) -> TrainState:
    """The state after ``count`` passes over the rows [m]."""
    return jax.lax.scan(lambda s, _: (trainer.epoch(s, pool, rows)[0], None), state, None, length=count)[0]


def half(key: Key, total: int) -> jax.Array:
    """Half of the rows of a population, drawn at random: int32 [total // 2], one at least."""
    return jax.random.permutation(key, total)[: max(1, total // 2)]


def check(name: str, population: Records, count: int, num_epochs: int) -> None:
    """Refuse a population [N] and numbers with which no target can be imitated.

    Raises:
        InputError: no population record, no imitator, no epoch.
    """
    if len(population.y) < 1 or count < 2 or num_epochs < 1:
        raise InputError(f"{name} needs population records, at least two imitators, and at least one epoch")


def attack(population: Records, imitate: Imitate, score: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Attack:
    """An Attack that imitates every model that it observes, the target and each shadow that plays it.

    Args:
        population: records [N] that trained no model.
        imitate: what is seen of the imitators; "phi" is the model's own.
        score: of what is seen [n] to scores [n]; 0 is put where the shadows' members are told best. Without shadows
            there is no boundary, and scores are as they are.
    """
    compiled = jax.jit(imitate)

    def observe(key: Key, target: Target, records: Records):
        log_p, own = target.ask(population.x), target.ask(records.x)
        phi = scaled_logit(own, records.y)["phi"]
        if target.traced:
            return {"phi": phi, **imitate(key, population, log_p, records)}
        return jax.tree.map(np.asarray, {"phi": phi, **compiled(key, population, log_p, records)})

    def fit(key: Key, seen, member: Array, population=None) -> float:
        del key, population
        if len(member) == 0:
            return np.nan
        each = [score({name: np.asarray(leaf[k]) for name, leaf in seen.items()}) for k in range(len(member))]
        return best_threshold(np.ravel(each), np.ravel(member))

    def scored(threshold: float, seen) -> np.ndarray:
        return beyond(score({name: np.asarray(leaf) for name, leaf in seen.items()}), threshold)

    return Attack(observe, fit, scored, needs=NEEDS)
