"""Regularizers in training: at zero they are identities; above, what their formulas say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax.models import networks
from mia_jax.training import many, regularizers, single
from mia_jax.types import InputError, Records

LOSS = single.cross_entropy  # of classes, optax.softmax_cross_entropy_with_integer_labels
N, M, C = 60, 24, 3
MODEL = networks.mlp(C, (8,))


def pool(n=N, seed=0):
    """Simulated records; a third of the labels is wrong, so that there is something to overfit to."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (n, 7), dtype=np.uint8)
    y = np.where(rng.random(n) < 1 / 3, rng.integers(0, C, n), x[:, :C].argmax(axis=1))
    return Records(x, y.astype(np.int32))


def runs(s=2):
    rng = np.random.default_rng(1)
    return jax.random.split(jax.random.key(0), s), pool(), np.stack([rng.permutation(N)[:M] for _ in range(s)])


def trained(trainer, epochs=3, s=2, **options):
    return many.fit_many(trainer, *runs(s), epochs, **options)


PLAIN = single.make_trainer(MODEL, optax.adam(1e-2), 6)


@functools.cache
def plain():
    return trained(PLAIN)


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual, expected, rtol=1e-4, atol=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_all_at_zero_are_the_plain_training_to_the_last_bit():
    zeros = dict(l2=0.0, label_smoothing=0.0, mixup=0.0, early_stopping=0, dp_noise_multiplier=None)
    assert_equal(trained(regularizers.make_trainer(MODEL, optax.adam(1e-2), 6, M, **zeros)), plain())


def test_l2_0_and_dropout_0_are_identities():
    model, x = networks.mlp(C, (8,), dropout=0.0), pool().x
    params = model.init(jax.random.key(0), x)
    none = regularizers.add_l2(0.0)
    assert none.update(params, none.init(params), params)[0] is params
    np.testing.assert_array_equal(model.apply(params, x, key=jax.random.key(1)), MODEL.apply(params, x))


def test_smoothing_0_and_mixup_0_leave_nothing_to_do():
    assert regularizers.smoothed(0.0) is LOSS
    assert regularizers.mixing(0.0) is None


def test_mixing_nothing_is_an_identity():
    """The hook itself changes nothing: neither orders nor sums."""
    nothing = lambda key, x, y, real: (x, ((y, jnp.ones(y.shape)),))  # noqa: E731
    trainer = single.make_trainer(MODEL, optax.adam(1e-2), 6, augment=nothing, microbatch=2)
    assert_close(trained(trainer), plain(), rtol=1e-4, atol=1e-5)


def test_mixup_with_vanishing_alpha_is_none():
    """Beta(1e-3, 1e-3) is a coin: a record is itself or another one of the batch, hardly ever between."""
    x, y = jnp.arange(12.0).reshape(6, 2), jnp.arange(6)
    mixed, ((one, a), (other, b)) = regularizers.mixing(1e-3)(jax.random.key(0), x, y, jnp.ones(6, bool))
    np.testing.assert_allclose(a + b, 1, atol=1e-6)
    np.testing.assert_allclose(mixed, np.where(np.asarray(a > 0.5)[:, None], x[one], x[other]), atol=0.05)


# --- L2, label smoothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biases", [True, False])
def test_l2_is_the_gradient_of_the_penalized_loss(biases):
    keys, records, index = runs(1)
    optimizer = optax.chain(regularizers.add_l2(0.03, biases=biases), optax.sgd(0.5))
    trainer = single.make_trainer(MODEL, optimizer, M)
    state = trainer.init(keys[0], records.x[:1])
    params = jax.tree.map(lambda leaf: leaf + 0.1, state.params)
    x, y = jnp.asarray(records.x[index[0]]), jnp.asarray(records.y[index[0]])

    def penalized(params):
        kept = [leaf for leaf in jax.tree.leaves(params) if biases or leaf.ndim > 1]
        return LOSS(MODEL.apply(params, x), y).mean() + 0.03 * sum(jnp.square(leaf).sum() for leaf in kept)

    after, _ = jax.jit(trainer.epoch)(state._replace(params=params), Records(*map(jnp.asarray, records)), index[0])
    assert_close(after.params, jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.jit(jax.grad(penalized))(params)))


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_smoothing_is_cross_entropy_with_smoothed_labels(alpha):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(5, C)), jnp.float32)
    y = jnp.asarray([0, 1, 2, 0, 1])
    soft = (1 - alpha) * jax.nn.one_hot(y, C) + alpha / C
    np.testing.assert_allclose(
        regularizers.smoothed(alpha)(z, y), optax.softmax_cross_entropy(z, soft), rtol=1e-5, atol=1e-6
    )


# --- mixup -----------------------------------------------------------------------------------------------------------


def test_mixup_mixes_real_records_and_their_labels_alike():
    x, y = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3, 2)), jnp.float32), jnp.arange(8)
    real = jnp.arange(8) < 5
    mix, shares = jax.jit(regularizers.mixing(0.4)), []
    for k in range(30):
        mixed, ((one, a), (other, b)) = mix(jax.random.key(k), x, y, real)
        np.testing.assert_array_equal(one, y)
        assert sorted(np.asarray(other)[:5]) == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(a + b, 1, atol=1e-6)
        expected = np.asarray(a)[:, None, None] * x[one] + np.asarray(b)[:, None, None] * x[other]
        np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-6)
        shares.extend(np.asarray(a).tolist())
    assert abs(np.mean(shares) - 0.5) < 0.12 and abs(np.var(shares) - 1 / (4 * 1.8)) < 0.04  # Beta(.4, .4)


def test_mixup_does_not_depend_on_microbatches_and_reports_the_mixed_loss():
    a, b = (
        single.make_trainer(MODEL, optax.adam(1e-2), 6, augment=regularizers.mixing(0.5), microbatch=m) for m in (6, 4)
    )
    a, b = trained(a), trained(b)
    assert_close(a, b)
    assert np.abs(a[1].loss - plain()[1].loss).max() > 0.01


def test_mixup_keeps_members_from_being_learned_by_heart():
    mixed = trained(regularizers.make_trainer(MODEL, optax.adam(3e-2), 6, M, mixup=1.0), 60)[0]
    free = trained(regularizers.make_trainer(MODEL, optax.adam(3e-2), 6, M), 60)[0]
    _, records, index = runs()
    x = jnp.asarray(records.x)

    def loss(params):
        log_p = jax.jit(jax.vmap(lambda p, rows: single.predict(MODEL, p, x[rows])))(params, index)
        return -np.take_along_axis(np.asarray(log_p), records.y[index][..., None], axis=2).mean()

    assert loss(mixed) > 3 * loss(free)


# --- early stopping --------------------------------------------------------------------------------------------------


@functools.cache  # so that the tests share what is compiled
def stopping():
    inner = single.make_trainer(MODEL, optax.adam(3e-2), 6)
    return regularizers.stopping_early(inner, MODEL, 2, validation=0.25), inner


@jax.jit
def mean_loss(params, x, y):
    return LOSS(MODEL.apply(params, x), y).mean()


def stopped_by_hand(key, index, patience, epochs):
    """A plain loop over epochs that ends."""
    _, inner = stopping()
    epoch, init = jax.jit(inner.epoch), jax.jit(inner.init)
    records = Records(*map(jnp.asarray, pool()))
    state = init(key, records.x[:1])
    learn, held = regularizers.held_out_rows(jax.random.fold_in(state.key, jnp.uint32(2**32 - 1)), index, 0.25)
    held = np.asarray(held)[np.asarray(held) >= 0]
    best, waited, kept, told = np.inf, 0, None, []
    for _ in range(epochs):
        state, info = epoch(state, records, learn)
        told.append(info)
        loss = float(mean_loss(state.params, records.x[held], records.y[held]))
        best, waited, kept = (loss, 0, state.params) if loss < best else (best, waited + 1, kept)
        if waited == patience:
            break
    return kept, told


def test_early_stopping_is_the_loop_that_ends_and_keeps_the_best():
    trainer, _ = stopping()
    keys, records, index = runs(3)
    params, info = many.fit_many(trainer, keys, records, index, 25)
    lengths = []
    for s in range(3):
        kept, told = stopped_by_hand(keys[s], index[s], 2, 25)
        lengths.append(len(told))
        assert_close(jax.tree.map(lambda leaf, s=s: leaf[s], params), kept, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(info.loss[s, : len(told)], [i.loss for i in told], rtol=1e-3)
        np.testing.assert_array_equal(info.loss[s, len(told) :], info.loss[s, len(told) - 1])
    assert len(set(lengths)) > 1 and max(lengths) < 25  # they ended, at different times


def test_a_chunk_ends_when_all_have_stopped_and_the_epochs_spared_change_nothing():
    trainer, _ = stopping()
    run = functools.partial(many.fit_many, trainer, *runs(3), 25, chunk=3)
    ran, told = [], []

    def on_epoch(part, epoch, info):
        told.append((epoch, info.loss))

    def stopped(state):
        jax.debug.callback(lambda e: ran.append(int(e)), state.epoch)
        return regularizers.stopped(state)

    spared = run(stopped=stopped, on_epoch=on_epoch)
    full = run()
    assert_equal(spared, full)
    assert max(ran) < 25 and [epoch for epoch, _ in told] == list(range(1, 26))
    for epoch, loss in told:
        np.testing.assert_array_equal(loss, full[1].loss[:, epoch - 1])


def test_nobody_waits_for_a_training_that_cannot_stop():
    state = PLAIN.init(jax.random.key(0), pool().x[:1])
    assert not regularizers.stopped(state)
    assert_equal(trained(PLAIN, stopped=regularizers.stopped), plain())


def test_what_is_held_out_is_a_share_of_the_real_records():
    index = np.pad(np.arange(100, 120), (0, 7), constant_values=-1).astype(np.int32)
    learn, held = (np.asarray(a) for a in regularizers.held_out_rows(jax.random.key(0), index, 0.1))
    assert sorted(learn[learn >= 0].tolist() + held[held >= 0].tolist()) == list(range(100, 120))
    assert (held >= 0).sum() == 2
    _, one = regularizers.held_out_rows(jax.random.key(0), index[:3], 0.01)
    assert (np.asarray(one) >= 0).sum() == 1


# --- all together ----------------------------------------------------------------------------------------------------


def test_dropout_reaches_the_networks_by_name():
    from mia_jax.types import Field, Schema

    schema = Schema("test", "simulated", "", C, (7,), (Field("bits", "binary", 0, 7),))
    x = pool().x[:4]
    model = networks.build("mlp", schema, dropout=0.5)
    params = model.init(jax.random.key(0), x)
    assert np.abs(model.apply(params, x, key=jax.random.key(1)) - model.apply(params, x)).max() > 1e-3
    for name, rate in (("logistic", 0.5), ("mlp", 1.0), ("mlp", -0.1)):
        with pytest.raises(InputError, match=r"^dropout"):
            networks.build(name, schema, dropout=rate)


@pytest.mark.slow  # each alone is tested above
def test_everything_at_once_trains():
    trainer = regularizers.make_trainer(
        networks.mlp(C, (8,), dropout=0.2), optax.adam(1e-2), 6, M, l2=1e-3, label_smoothing=0.1, mixup=0.2,
        early_stopping=5,
    )  # fmt: skip
    _, info = trained(trainer, 10)
    assert np.all(np.isfinite(info.loss)) and np.all(info.loss[:, -1] < info.loss[:, 0])
    private = dict(l2=1e-3, label_smoothing=0.1, dp_noise_multiplier=0.3, dp_clip=1.0)
    trainer = regularizers.make_trainer(networks.mlp(C, (8,), dropout=0.2), optax.adam(1e-2), 6, M, **private)
    _, info = trained(trainer, 20)
    assert np.all(np.isfinite(info.loss)) and np.all(info.loss[:, -1] < info.loss[:, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(l2=-1.0), "^l2=-1.0 must be at least 0"),
        (dict(label_smoothing=1.5), "^label_smoothing=1.5"),
        (dict(mixup=-0.1), "^mixup=-0.1"),
        (dict(early_stopping=-2), "^early_stopping=-2"),
        (dict(mixup=0.2, dp_noise_multiplier=1.0), "^mixup mixes records"),
        (dict(early_stopping=3, dp_noise_multiplier=1.0), "^early_stopping reads records"),
        (dict(dp_noise_multiplier=1.0, dp_clip=-1.0), "^clip"),
    ],
)
def test_what_does_not_go_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        regularizers.make_trainer(MODEL, optax.adam(1e-2), 6, M, **options)


@pytest.mark.parametrize("smoothing", [pytest.param(0.0, marks=pytest.mark.integration), 0.1])
def test_labels_may_be_distributions(smoothing):
    """Sure ones give the network that classes give, to rounding; others the loss of the formula."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(3, size=30)
    model, index = networks.mlp(3, (8,)), np.arange(30)[None]
    given = dict(label_smoothing=smoothing, mixup=0.2)
    trained = []
    for labels in (y.astype(np.int32), np.eye(3, dtype=np.float32)[y]):
        trainer = regularizers.make_trainer(model, optax.sgd(0.1), 10, 30, **given)
        trained.append(many.fit_many(trainer, jax.random.key(0)[None], Records(x, labels), index, num_epochs=3))
    (params, info), (other, of_other) = trained
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), params, other)
    np.testing.assert_allclose(info.accuracy, of_other.accuracy)
    logits, soft = rng.normal(size=(5, 3)).astype(np.float32), rng.dirichlet(np.ones(3), 5).astype(np.float32)
    log_p = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(single.cross_entropy(jnp.asarray(logits), soft), -(soft * log_p).sum(1), rtol=1e-5)
