"""DP-SGD: gradients against a plain loop and jax-privacy, clipping, sampling and noise as promised, limits."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from mia_jax.models import networks
from mia_jax.training import dense_gradients, dp_sgd, many, single
from mia_jax.types import InputError, Model, Records

LOSS = optax.softmax_cross_entropy_with_integer_labels
C, B, KEY = 4, 9, jax.random.key(0)
NETWORKS = {
    "logistic": ((6,), networks.logistic(C)),
    "mlp": ((6,), networks.mlp(C, (8, 5))),
    "relu": ((6,), networks.mlp(C, (8,), activation=jax.nn.relu)),
    "cnn": ((6, 6, 2), networks.cnn(C, channels=(3, 4), kernel=3, dense=5, scale=1.0)),
}


LINEAR = Model(  # no flax module, so clipped one by one
    init=lambda key, x: {"w": 0.3 * jax.random.normal(key, (6, C))},
    apply=lambda params, x, *, key=None: x.astype(jnp.float32) @ params["w"],
)


def batch(shape, b=B, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(b, *shape)), jnp.float32), jnp.asarray(rng.integers(0, C, b), jnp.int32)


@functools.cache
def network(name):
    shape, model = NETWORKS[name]
    x, y = batch(shape)
    return model, jax.jit(lambda x: jax.tree.map(lambda leaf: leaf + 0.1, model.init(KEY, x)))(x), x, y


@functools.cache
def clipping(name, clip, **options):
    model = network(name)[0]
    return jax.jit(
        lambda params, x, y, real: dp_sgd.clipped_gradients(model, LOSS, params, x, y, real, clip=clip, **options)
    )


def clipped(name, clip, real=None, **options):
    _, params, x, y = network(name)
    return clipping(name, clip, **options)(params, x, y, np.ones(B, bool) if real is None else real)


def norm(tree):
    return np.sqrt(sum(np.square(np.float64(leaf)).sum() for leaf in jax.tree.leaves(tree)))


@functools.cache
def gradients(name):
    """Of each record, by jax.grad, one after the other."""
    model, params, x, y = network(name)
    gradient = jax.jit(jax.grad(lambda params, x, y: LOSS(model.apply(params, x[None]), y[None])[0]))
    return [jax.tree.map(np.float64, gradient(params, *record)) for record in zip(x, y, strict=True)]


def plain_sum(name, clip, real=None):
    each = [g for g, r in zip(gradients(name), np.ones(B, bool) if real is None else real, strict=True) if r]
    scaled = [jax.tree.map(lambda leaf, g=g: leaf * min(1, clip / norm(g)), g) for g in each]
    return jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *scaled)


def assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "name"),
    [
        pytest.param(clip, name, marks=[] if clip == "some" or name == "mlp" else [pytest.mark.integration])
        for clip, name in itertools.product(["none", "some", "all"], NETWORKS)
    ],
)
def test_gradients_are_the_plain_loop_s(name, clip):
    norms = [norm(g) for g in gradients(name)]
    value = {"none": np.inf, "some": np.mean(norms), "all": 0.1}[clip]
    out = clipped(name, value)
    assert_close(out.grads, plain_sum(name, value))
    np.testing.assert_allclose(out.norms, norms, rtol=1e-5)
    assert np.mean(np.array(norms) > value) in {"none": [0], "all": [1]}.get(clip, np.arange(1, B) / B)


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated")  # they use it
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_gradients_are_jax_privacy_s(name):
    jax_privacy = pytest.importorskip("jax_privacy", reason="pip install jax-privacy==2.0.0 (it pins attrs < 24)")
    model, params, x, y = network(name)
    theirs = jax_privacy.clipped_grad(
        lambda params, x, y: LOSS(model.apply(params, x), y).mean(), l2_clip_norm=2.5, batch_argnums=(1, 2)
    )
    assert_close(clipped(name, 2.5).grads, jax.jit(theirs)(params, x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("microbatch", [1, 4, 9])
def test_one_by_one_is_ghost_clipping(microbatch):
    real = np.arange(B) % 3 > 0
    expected = clipped("mlp", 2.5, real=real)
    assert_close(expected.grads, plain_sum("mlp", 2.5, real))
    assert_close(clipped("mlp", 2.5, real=real, ghost=False, microbatch=microbatch), expected)


def test_ghost_clipping_is_for_networks_of_dense_layers():
    model, params, x, _ = network("mlp")
    offsets = dense_gradients.offsets(model, params, x)
    assert set(offsets) == {("Dense_0",), ("Dense_1",), ("Dense_2",)} and dense_gradients.are_all(
        model, params, x, offsets
    )
    model, params, x, _ = network("cnn")
    assert not dense_gradients.are_all(model, params, x, dense_gradients.offsets(model, params, x))
    with pytest.raises(InputError, match="dense layers"):
        clipped("cnn", 1.0, ghost=True)


def test_a_network_that_is_no_flax_module():
    x, y = batch((6,))
    params = LINEAR.init(KEY, x)
    assert not dense_gradients.offsets(LINEAR, params, x)
    out = dp_sgd.clipped_gradients(LINEAR, LOSS, params, x, y, np.ones(B, bool), clip=0.5)
    p = np.float64(jax.nn.softmax(x @ params["w"])) - np.eye(C)[y]
    each = np.float64(x)[:, :, None] * p[:, None]
    each *= np.minimum(1, 0.5 / np.sqrt(np.square(each).sum(axis=(1, 2))))[:, None, None]
    np.testing.assert_allclose(out.grads["w"], each.sum(axis=0), rtol=1e-5, atol=1e-6)


# --- what clipping promises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ghost", [True, False])
def test_no_record_moves_the_sum_by_more_than_the_clip(ghost):
    model, params, x, y = network("mlp")
    one = jax.jit(
        lambda x, y: dp_sgd.clipped_gradients(model, LOSS, params, x, y, np.ones(1, bool), clip=0.7, ghost=ghost).grads
    )
    for scale, i in itertools.product((1e-3, 1.0, 1e4), range(B)):
        assert norm(one(scale * x[i : i + 1], y[i : i + 1])) <= 0.7 * (1 + 1e-6)


@pytest.mark.parametrize("ghost", [True, False])
def test_a_record_without_a_finite_gradient_adds_nothing(ghost):
    model, params, x, y = network("relu")
    broken = x.at[2, 0].set(jnp.nan).at[5].set(jnp.inf).at[7].set(1e38)
    real = np.ones(B, bool)

    @jax.jit
    def run(x, real):
        return dp_sgd.clipped_gradients(model, LOSS, params, x, y, real, clip=0.7, ghost=ghost).grads

    rest = np.isin(np.arange(B), [2, 5, 7], invert=True)
    out = run(broken, real)
    assert_close(out, run(x, rest))
    assert norm(out) > 0.1


# --- sampling and noise ----------------------------------------------------------------------------------------------


def test_samples_are_independent_draws_of_the_promised_rate():
    index, rate, draws = np.arange(7, 207, dtype=np.int32), 0.1, 4000
    room = dp_sgd.capacity(len(index), rate)
    assert scipy.stats.binom.sf(room, len(index), rate) <= dp_sgd.OVERFLOW < scipy.stats.binom.sf(room - 1, 200, rate)
    keys = jax.random.split(jax.random.key(0), draws)
    rows = np.asarray(
        jax.jit(jax.vmap(lambda k: dp_sgd.poisson_sample(k, index, dp_sgd.sampling_threshold(20, 200), room)))(keys)
    )
    taken = np.zeros((draws, 207), bool)
    np.put_along_axis(taken, np.where(rows < 0, 0, rows), rows >= 0, axis=1)
    taken = taken[:, 7:]
    assert np.all(taken.sum(axis=1) == (rows >= 0).sum(axis=1))  # none twice
    z = (taken.mean(axis=0) - rate) / np.sqrt(rate * (1 - rate) / draws)
    assert np.abs(z).max() < 4.5 and 0.8 < z.std() < 1.2
    sizes = taken.sum(axis=1)
    assert abs(sizes.var() / (200 * rate * (1 - rate)) - 1) < 5 * np.sqrt(2 / draws)
    assert abs(np.corrcoef(taken[:, 0], taken[:, 1])[0, 1]) < 5 / np.sqrt(draws)


def test_a_sample_does_not_depend_on_padding():
    index = np.arange(50, dtype=np.int32)
    padded = np.pad(index, (0, 30), constant_values=-1)
    one, other = (
        np.asarray(dp_sgd.poisson_sample(jax.random.key(1), i, dp_sgd.sampling_threshold(10, 50), 40))
        for i in (index, padded)
    )
    np.testing.assert_array_equal(one, other)
    assert 0 < (one >= 0).sum() < 25 and np.all(np.diff(one[one >= 0]) > 0)
    everybody = dp_sgd.poisson_sample(jax.random.key(1), padded, dp_sgd.sampling_threshold(50, 50), 50)
    np.testing.assert_array_equal(everybody, index)


def test_noise_has_the_promised_spread():
    shape, model = NETWORKS["mlp"]
    clip, sigma, size, runs = 0.5, 3.0, 10, 400
    pool, index = Records(*batch(shape, 20)), np.full(20, -1, np.int32)  # nobody: a step is noise alone
    trainer = dp_sgd.make_trainer(model, optax.sgd(1.0), size, 20, clip=clip, noise_multiplier=sigma)

    def moved(key):
        state = trainer.init(key, pool.x[:1])
        after, info = trainer.epoch(state, pool, index)
        return jax.tree.map(lambda a, b: (a - b).reshape(-1), after.params, state.params), info.loss

    tree, losses = jax.jit(jax.vmap(moved))(jax.random.split(jax.random.key(3), runs))
    noise = np.concatenate([np.asarray(leaf) for leaf in jax.tree.leaves(tree)], axis=1) / np.sqrt(2)  # two steps
    assert np.all(losses == 0)
    n, std = noise.size, sigma * clip / size
    assert abs(noise.std() / std - 1) < 5 / np.sqrt(2 * n) and abs(noise.mean()) < 5 * std / np.sqrt(n)
    assert scipy.stats.kstest(noise[:, ::7].reshape(-1) / std, "norm").pvalue > 1e-3
    correlations = np.corrcoef(noise.T)[np.triu_indices(noise.shape[1], 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(runs)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [NETWORKS["mlp"][1], LINEAR], ids=["ghost", "one by one"])
def test_without_clip_and_noise_a_step_on_the_same_batch_is_the_plain_one(model):
    pool, keys = Records(*batch((6,), 12)), jax.random.split(jax.random.key(0), 2)
    index = np.stack([np.arange(12), np.arange(12)[::-1]]).astype(np.int32)
    optimizer = optax.sgd(0.3, momentum=0.9)
    plain = single.make_trainer(model, optimizer, 12)  # a batch is the training set: drawn at rate 1
    private = dp_sgd.make_trainer(model, optimizer, 12, 12, clip=np.inf, noise_multiplier=0.0)
    (expected, info), (actual, told) = (many.fit_many(t, keys, pool, index, 3) for t in (plain, private))
    assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    assert_close(told, info, rtol=1e-5, atol=1e-6)


@pytest.mark.integration
def test_networks_learn_and_depend_on_their_own_key_only():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (400, 6), dtype=np.uint8)
    pool = Records(x, x[:, :C].argmax(axis=1).astype(np.int32))
    keys, index = jax.random.split(jax.random.key(0), 3), np.stack([rng.permutation(400)[:200] for _ in range(3)])
    trainer = dp_sgd.make_trainer(networks.mlp(C, (8,)), optax.adam(0.05), 20, 200, clip=1.0, noise_multiplier=0.5)
    fit_many = many.fit_many
    params, info = fit_many(trainer, keys, pool, index, 8)
    assert np.all(info.accuracy[:, -1] > 0.85) and np.all(info.loss[:, -1] < info.loss[:, 0])
    alone, _ = fit_many(trainer, keys[2:], pool, index[2:], 8)
    assert_close(alone, jax.tree.map(lambda leaf: leaf[2:], params), rtol=0, atol=0)


def test_the_mechanism_is_what_the_trainer_does():
    mechanism = dp_sgd.mechanism(1200, 100, 50, 1.1)
    assert mechanism == (pytest.approx(100 / 1200, rel=1e-8), 50 * 12, 1.1)
    assert dp_sgd.mechanism(10, 10, 3, 1.0) == (1.0, 3, 1.0)
    counting = optax.GradientTransformation(lambda params: jnp.int32(0), lambda g, s, p: (g, s + 1))
    trainer = dp_sgd.make_trainer(networks.logistic(C), counting, 30, 100, clip=1.0, noise_multiplier=1.0)
    pool = Records(*batch((6,), 100))
    state = trainer.init(jax.random.key(0), pool.x[:1])
    state, _ = jax.jit(trainer.epoch)(state, pool, np.arange(100))
    assert int(state.opt_state) == dp_sgd.mechanism(100, 30, 1, 1.0).steps == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(clip=0.0), "^clip=0.0 must be above 0"),
        (dict(clip=float("nan")), "^clip=nan"),
        (dict(noise_multiplier=-1.0), "^noise_multiplier=-1.0"),
        (dict(clip=np.inf), "give a finite clip"),
        (dict(batch_size=101), "^batch_size=101 must be from 1 to the 100"),
    ],
)
def test_values_out_of_range_are_refused(change, message):
    given = dict(batch_size=10, records=100, clip=1.0, noise_multiplier=1.0) | change
    with pytest.raises(InputError, match=message):
        dp_sgd.make_trainer(networks.logistic(C), optax.sgd(0.1), **given)
