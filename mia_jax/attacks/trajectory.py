"""Liu, Zhao, Backes, Zhang, "Membership Inference Attacks by Exploiting Loss Trajectory", CCS 2022.

The target is distilled into a network of the adversary's on population records; how a candidate's loss falls along the
epochs of that distillation, and what it is at the target, tell members from non-members. Every shadow is distilled in
the same way, with the same random numbers, and a small network learns from the shadows' trajectories.

Departure: the trajectory is of scaled logits phi rather than of losses, log(1 + exp(-phi)), in which all sure answers
look alike.
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
from mia_jax.models import networks
from mia_jax.training import many, single
from mia_jax.types import Array, Attack, InputError, Key, Model, Params, Records, Target, Trainer

NEEDS = frozenset({"in", "out", "population", "queries", "features", "trainer"})
OPTIONS = (
    Option("population", source="population"),
    Option("model", source="model"),
    *python_only("optimizer", "batch_size", "num_epochs", "hidden", "attack_epochs", "max_rows"),
)
_FOLDS = 4


class State(NamedTuple):
    """The attack network, the standardization of its inputs, and its threshold."""

    params: Params
    mean: np.ndarray  # [epochs + 1]
    spread: np.ndarray  # [epochs + 1]
    threshold: float  # of the log-odds

    def standardized(self, phi: np.ndarray) -> np.ndarray:
        """Trajectories [n, epochs + 1] as the network takes them, float32."""
        return ((phi - self.mean) / self.spread).astype(np.float32)


def distiller(
    model: Model, optimizer: optax.GradientTransformation, batch_size: int, num_epochs: int
) -> Callable[[Key, Array, Array, Records], jax.Array]:
    """What trains a network to answer as another did, and observes the candidates after every epoch.

    Args:
        model, optimizer, batch_size: of the network.
        num_epochs: passes over the population.

    Returns:
        distill (key, x, log_p, candidates) -> scaled logits of the candidates, float32 [n, num_epochs]; x [N, *f] are
        the population's records, log_p [N, c] what was answered about them. It is a pure function of arrays: ``vmap``
        it over log_p.
    """

    def distill(key: Key, x: Array, log_p: Array, candidates: Records) -> jax.Array:
        p = jnp.exp(log_p)

        def loss(logits: Array, row: Array) -> jax.Array:
            """Cross-entropy to what was answered: the Kullback-Leibler divergence, up to a constant."""
            return -jnp.sum(p[row] * jax.nn.log_softmax(logits), axis=-1)

        # A record's label here is its row number: a trainer's labels are integers, what was answered is looked up.
        trainer = single.make_trainer(model, optimizer, batch_size, loss=loss)
        pool = Records(jnp.asarray(x), jnp.arange(len(x)))

        def epoch(state, _):
            state, _ = trainer.epoch(state, pool, jnp.arange(len(x)))
            return state, scaled_logit(single.predict(model, state.params, candidates.x), candidates.y)["phi"]

        _, along = jax.lax.scan(epoch, trainer.init(key, pool.x[:1]), None, length=num_epochs)
        return along.T

    return distill


def trajectory(
    num_classes: int,
    *,
    population: Records,
    model: Model,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    num_epochs: int = 20,
    hidden: int = 64,
    attack_epochs: int = 30,
    max_rows: int = 65536,
) -> Attack:
    """The loss trajectory of a candidate along the distillation of the target, judged by a network.

    Args:
        num_classes: c.
        population: records [N] that trained no model, which the target is asked about; their labels are not used.
        model: of the distilled networks; as a rule the shadows' own.
        optimizer, batch_size, num_epochs: of the distillation; by default Adam with 1e-3.
        hidden: ReLU units of the attack network.
        attack_epochs: of Adam with 1e-3, in batches of 128.
        max_rows: rows of the shadows that the attack network learns from, sampled where there are more.

    Returns:
        An Attack. It sees ``trajectory`` float32 [n, num_epochs + 1], the last of the target itself. Zero is where the
        log-odds of networks that left out a shadow (or, of a single shadow, half of its rows) tell members best.

    Raises:
        InputError: no population record, or no epoch.
    """
    if len(population.x) < 1 or num_epochs < 1:
        raise InputError("trajectory needs population records to distill the target on, and at least one epoch")
    distill = distiller(model, optimizer or optax.adam(1e-3), batch_size, num_epochs)
    network = networks.mlp(2, (hidden,), activation=jax.nn.relu)
    trainer = single.make_trainer(network, optax.adam(1e-3), 128)

    def trajectories(key: Key, log_p: Array, own: Array, records: Records) -> jax.Array:
        along = distill(key, population.x, log_p, records)
        return jnp.concatenate([along, scaled_logit(own, records.y)["phi"][:, None]], axis=1)

    compiled = jax.jit(trajectories)

    def observe(key: Key, target: Target, records: Records):
        log_p, own = target.ask(population.x), target.ask(records.x)
        if target.traced:
            return {"trajectory": trajectories(key, log_p, own, records)}
        return {"trajectory": np.asarray(compiled(key, log_p, own, records))}

    @jax.jit
    def log_odds(params: Params, phi: Array) -> jax.Array:
        logits = network.apply(params, phi)
        return logits[:, 1] - logits[:, 0]

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del population
        key_rows, key_train = jax.random.split(key)
        phi, member, fold = _rows(key_rows, np.asarray(seen["trajectory"]), np.asarray(member), max_rows)
        state = State(None, phi.mean(axis=0), np.maximum(phi.std(axis=0), 1e-6), np.nan)
        pool = Records(state.standardized(phi), member.astype(np.int32))
        *left_out, params = _cross_fit(key_train, trainer, pool, fold, attack_epochs)
        odds = np.stack([log_odds(each, pool.x) for each in left_out])[fold, np.arange(len(fold))]
        return state._replace(params=params, threshold=best_threshold(odds, member))

    def score(state: State, seen) -> np.ndarray:
        phi = state.standardized(np.asarray(seen["trajectory"]))
        return beyond(np.asarray(log_odds(state.params, phi), np.float64), state.threshold)

    return Attack(observe, fit, score, needs=NEEDS)


def _rows(key: Key, phi: np.ndarray, member: np.ndarray, max_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the shadows' trajectories [S, n, epochs + 1] to learn from: trajectory, bool, and fold of each.

    A shadow's rows lie in one fold; those of a single shadow in two.
    """
    shadows, n = member.shape
    rows = np.asarray(jax.random.permutation(key, shadows * n))[:max_rows]
    fold = (rows // n if shadows > 1 else np.arange(len(rows))) % min(max(shadows, 2), _FOLDS)
    return phi.reshape(shadows * n, -1)[rows], member.reshape(-1)[rows], fold


def _cross_fit(key: Key, trainer: Trainer, pool: Records, fold: np.ndarray, num_epochs: int) -> list[Params]:
    """A network for each fold, trained on the rows of the other folds, and last one that learned from all rows."""
    folds = np.arange(fold.max() + 2)  # no row is in the last
    index = np.where(fold != folds[:, None], np.arange(len(fold)), -1)
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(folds)
    params, _ = many.fit_many(trainer, keys, pool, index, num_epochs)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in folds]
