"""Liu, Zhao, Backes, Zhang, "Membership Inference Attacks by Exploiting Loss Trajectory", CCS 2022.

The target is distilled into a network of the adversary's on population records; how a candidate's loss falls along the
epochs of that distillation, and what it is at the target, tell members from non-members. Every shadow is distilled in
the same way, with the same random numbers, and a small network learns from the shadows' trajectories.

Departure: the trajectory is of scaled logits phi rather than of losses, log(1 + exp(-phi)), in which all sure answers
look alike.
"""

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
from mia_jax.types import Array, Attack, InputError, Key, Model, Params, Records, Target

NEEDS = frozenset({"in", "out", "population", "queries", "features", "trainer"})
OPTIONS = (
    Option("population", source="population"),
    Option("model", source="model"),
    *python_only("optimizer", "batch_size", "num_epochs", "hidden", "attack_epochs", "max_rows"),
)


class State(NamedTuple):
    params: Params
    mean: np.ndarray  # [epochs + 1]
    spread: np.ndarray  # [epochs + 1]
    threshold: float  # of the log-odds


def distil(
    key: Key,
    model: Model,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    x: Array,
    log_p: Array,
    candidates: Records,
    num_epochs: int,
) -> jax.Array:
    """Train a network to answer as another did, and look at the candidates after every epoch.

    Args:
        key: the network's own.
        model, optimizer, batch_size: of the network.
        x: the population's records [N, *f].
        log_p: what was answered about them [N, c].
        candidates: [n].
        num_epochs: passes over the population.

    Returns:
        Scaled logits of the candidates, float32 [n, num_epochs]. A pure function of arrays: ``vmap`` it over log_p.
    """
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
    """The loss trajectory.

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
        raise InputError("trajectory needs population records to distil the target on, and at least one epoch")
    optimizer = optimizer or optax.adam(1e-3)
    judge = networks.mlp(2, (hidden,), activation=jax.nn.relu)
    trainer = single.make_trainer(judge, optax.adam(1e-3), 128)

    def look(key: Key, log_p: Array, own: Array, records: Records) -> jax.Array:
        along = distil(key, model, optimizer, batch_size, population.x, log_p, records, num_epochs)
        return jnp.concatenate([along, scaled_logit(own, records.y)["phi"][:, None]], axis=1)

    looking = jax.jit(look)

    def observe(key: Key, target: Target, records: Records):
        log_p, own = target.ask(population.x), target.ask(records.x)
        if target.traced:
            return {"trajectory": look(key, log_p, own, records)}
        return {"trajectory": np.asarray(looking(key, log_p, own, records))}

    def standard(phi: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return ((phi - mean) / spread).astype(np.float32)

    @jax.jit
    def log_odds(params: Params, phi: Array) -> jax.Array:
        logits = judge.apply(params, phi)
        return logits[:, 1] - logits[:, 0]

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del population
        key_rows, key_train = jax.random.split(key)
        phi, member = np.asarray(seen["trajectory"]), np.asarray(member)
        shadows, n = member.shape
        rows = np.asarray(jax.random.permutation(key_rows, shadows * n))[:max_rows]
        fold = (rows // n if shadows > 1 else np.arange(len(rows))) % min(max(shadows, 2), _FOLDS)
        phi, member = phi.reshape(shadows * n, -1)[rows], member.reshape(-1)[rows]
        mean, spread = phi.mean(axis=0), np.maximum(phi.std(axis=0), 1e-6)
        pool = Records(standard(phi, mean, spread), member.astype(np.int32))
        # The last network learns from all rows, each of the others from those of the other folds.
        folds = np.arange(fold.max() + 2)
        index = np.where(fold != folds[:, None], np.arange(len(rows)), -1)
        keys = jax.vmap(lambda k: jax.random.fold_in(key_train, k))(folds)
        params, _ = many.fit_many(trainer, keys, pool, index, attack_epochs)
        each = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in folds]
        odds = np.stack([log_odds(params, pool.x) for params in each[:-1]])[fold, np.arange(len(rows))]
        return State(each[-1], mean, spread, best_threshold(odds, member))

    def score(state: State, seen) -> np.ndarray:
        phi = standard(np.asarray(seen["trajectory"]), state.mean, state.spread)
        return beyond(np.asarray(log_odds(state.params, phi), np.float64), state.threshold)

    return Attack(observe, fit, score, needs=NEEDS)


_FOLDS = 4
