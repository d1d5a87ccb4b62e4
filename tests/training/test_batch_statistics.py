"""Networks with BatchNorm train as a plain flax loop trains them, padded last batch included."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mia_jax.models import adapters
from mia_jax.storage import artifacts
from mia_jax.training import dp_sgd, many, regularizers, single
from mia_jax.types import InputError, Records, Variables

M, BATCH, EPOCHS, NETWORKS = 22, 8, 2, 4  # the last batch of an epoch has six records


class Network(nn.Module):
    """A convolution and two BatchNorms, one of them on [b, h, w, c], one on [b, c]; dropout where it is asked for."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.7)(nn.Conv(4, (3, 3))(x)))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.7)(nn.Dense(6)(x.mean(axis=(1, 2))))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(3)(nn.relu(x))


def pool(n=40):
    rng = np.random.default_rng(0)
    return Records(rng.normal(size=(n, 6, 6, 2)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32))


def index(networks=NETWORKS):
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(40)[:M] for _ in range(networks)]).astype(np.int32)


OPTIMIZER = optax.sgd(0.1, momentum=0.9)


@jax.jit
def flax_step(params, stats, opt_state, x, y):
    def loss(params):
        variables = {"params": params, "batch_stats": stats}
        logits, new = Network().apply(variables, x, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), new["batch_stats"]

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), stats, opt_state, value


def flax_loop(key, records, rows):
    """The same training as flax's documentation writes it: no vmap, no scan, no padding, no mask."""
    key_params, key_epochs = jax.random.split(key)
    variables = Network().init(key_params, jnp.asarray(records.x[:1]), train=False)
    params, stats, losses = variables["params"], variables["batch_stats"], []
    opt_state = OPTIMIZER.init(params)
    for epoch in range(EPOCHS):
        order = single.shuffled(jax.random.split(jax.random.fold_in(key_epochs, epoch), 3)[0], rows)
        total = 0.0
        for start in range(0, M, BATCH):
            some = order[start : start + BATCH]
            params, stats, opt_state, value = flax_step(params, stats, opt_state, records.x[some], records.y[some])
            total += value * len(some)
        losses.append(total / M)
    variables = {"params": params, "batch_stats": stats}
    return variables, np.array(losses), nn.log_softmax(Network().apply(variables, records.x, train=False))


@pytest.mark.integration
def test_four_networks_at_once_train_as_four_flax_loops_do():
    records, keys = pool(), jax.random.split(jax.random.key(0), NETWORKS)
    model = adapters.from_flax(Network())
    trained, info = many.fit_many(single.make_trainer(model, OPTIMIZER, BATCH), keys, records, index(), EPOCHS)
    assert isinstance(trained, Variables)
    for k in range(NETWORKS):
        variables, losses, log_p = flax_loop(keys[k], records, index()[k])
        own = jax.tree.map(lambda leaf, k=k: leaf[k], trained)
        expected = Variables(variables["params"], variables["batch_stats"])
        for ours, theirs in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        np.testing.assert_allclose(info.loss[k], losses, atol=1e-5)
        np.testing.assert_allclose(single.predict(model, own, records.x), log_p, atol=1e-5, rtol=1e-5)
    moved = np.asarray(jax.tree.leaves(trained.stats)[0])
    assert np.abs(moved - moved[0]).max() > 1e-3, "every network keeps statistics of its own"


def test_records_that_are_none_change_neither_statistics_nor_parameters():
    records, rows = pool(), index(1)[0]
    trainer = single.make_trainer(adapters.from_flax(Network(dropout=0.0)), OPTIMIZER, BATCH)
    state, on_device = trainer.init(jax.random.key(3), records.x[:1]), Records(*map(jnp.asarray, records))
    plain, _ = jax.jit(trainer.epoch)(state, on_device, rows)
    padded, _ = jax.jit(trainer.epoch)(state, on_device, np.concatenate([rows, np.full(11, -1, np.int32)]))
    for one, other in zip(jax.tree.leaves(plain.params), jax.tree.leaves(padded.params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_variables_come_back_from_an_archive():
    model = adapters.from_flax(Network())
    variables = model.init(jax.random.key(0), pool().x[:1])
    back = artifacts.from_arrays(variables, artifacts.to_arrays(variables))
    assert isinstance(back, Variables)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), variables, back))


def test_training_mode_reads_the_batch_and_evaluation_the_running_averages():
    model, x = adapters.from_flax(Network()), pool().x
    variables = model.init(jax.random.key(0), x[:1])
    assert not np.allclose(model.apply(variables, x, key=jax.random.key(1)), model.apply(variables, x))
    half = model.apply(variables, x[:20])
    np.testing.assert_allclose(half, model.apply(variables, x)[:20], atol=1e-6)


@pytest.mark.integration
def test_early_stopping_keeps_the_statistics_of_the_best_epoch():
    model, records = adapters.from_flax(Network()), pool()
    trainer = regularizers.make_trainer(model, OPTIMIZER, BATCH, M, early_stopping=1)
    trained, _ = many.fit_many(
        trainer, jax.random.split(jax.random.key(0), 2), records, index(2), 3, stopped=regularizers.stopped
    )
    assert isinstance(trained, Variables) and np.isfinite(single.predict(model, _first(trained), records.x)).all()


def _first(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def test_a_batch_with_statistics_is_not_divided():
    records = pool()
    trainer = single.make_trainer(adapters.from_flax(Network()), OPTIMIZER, BATCH, microbatch=4)
    with pytest.raises(InputError, match="microbatch=4: a network with batch statistics needs its whole batch of 8"):
        trainer.epoch(trainer.init(jax.random.key(0), records.x[:1]), records, index(1)[0])


def test_dp_sgd_refuses_batch_statistics():
    trainer = dp_sgd.make_trainer(adapters.from_flax(Network()), OPTIMIZER, BATCH, M, clip=1.0, noise_multiplier=1.0)
    with pytest.raises(InputError, match="batch statistics mix the records of a batch"):
        trainer.init(jax.random.key(0), pool().x[:1])


def test_a_batch_norm_of_other_rows_than_the_batch_is_refused():
    class OfPixels(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            rows = nn.BatchNorm(use_running_average=not train)(x.reshape(-1, x.shape[-1]))
            return nn.Dense(3)(rows.reshape(len(x), -1))

    records = pool()
    trainer = single.make_trainer(adapters.from_flax(OfPixels()), OPTIMIZER, BATCH)
    with pytest.raises(InputError, match="BatchNorm_0 sees 288 rows of a batch of 8"):
        trainer.epoch(trainer.init(jax.random.key(0), records.x[:1]), records, index(1)[0])
