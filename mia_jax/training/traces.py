"""The loss of records along a training: what LT-IQR (``statistics.screens``) reads of the target's own training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import signals
from mia_jax.training import single
from mia_jax.types import Array, Key, Model, Params, Records, Trainer


class Traced(NamedTuple):
    """A trained network, and the losses of records after each of its epochs."""

    params: Params
    losses: np.ndarray  # float32 [epochs, n], nats


def fit_traced(
    trainer: Trainer, model: Model, key: Key, pool: Records, index: Array, num_epochs: int, asked: Records
) -> Traced:
    """Train one network as ``fit_many`` trains each of its, and keep the losses of records along the way.

    Args:
        trainer: of the network.
        model: that it trains.
        key: of the network.
        pool: records [N].
        index: int [m], its training set.
        num_epochs: passes over the training set.
        asked: records [n] whose losses are kept, of the training set or not; each epoch costs a forward pass of them.

    >>> import jax, numpy as np, optax
    >>> import mia_jax as mia
    >>> rng = np.random.default_rng(0)
    >>> y, wrong = rng.integers(4, size=80), rng.random(80) < 0.2  # labels that have to be learned by heart
    >>> x = np.eye(4, 24, dtype=np.float32)[y] + 0.3 * rng.normal(size=(80, 24)).astype(np.float32)
    >>> pool = mia.Records(x, np.where(wrong, (y + 1) % 4, y).astype(np.int32))
    >>> model = mia.models.mlp(num_classes=4, hidden=(64,))
    >>> trainer = mia.make_trainer(model, optax.adam(1e-2), batch_size=10)
    >>> traced = fit_traced(trainer, model, jax.random.key(0), pool, np.arange(80), 30, pool)
    >>> risk = mia.statistics.screens.trace_iqr(traced.losses)
    >>> print("AUC", mia.auc(risk, wrong))  # doctest: +ELLIPSIS
    AUC 0.8... [0.6..., 0.9...]
    """
    pool, asked = (jax.tree.map(jnp.asarray, records) for records in (pool, asked))
    rows = jnp.asarray(index, jnp.int32)

    @jax.jit
    def run(key: Key):
        def epoch(state, _):
            state, _ = trainer.epoch(state, pool, rows)
            return state, signals.loss(single.predict(model, state.params, asked.x), asked.y)

        return jax.lax.scan(epoch, trainer.init(key, pool.x[:1]), None, length=num_epochs)

    state, losses = run(key)
    return Traced(jax.tree.map(np.asarray, state.params), np.asarray(losses))
