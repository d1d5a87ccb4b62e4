"""Many networks are trained exactly as one is: whatever the chunk, the devices, the padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mia_jax.models import adapters, networks
from mia_jax.storage import artifacts
from mia_jax.training import dp_sgd, many, parallel, single
from mia_jax.types import Records

S, N, M, EPOCHS = 5, 60, 23, 3  # M is no multiple of any batch size below
MODELS = {
    "mlp": ((7,), networks.mlp(3, (8,))),
    "dropout": ((7,), networks.mlp(3, (8,), dropout=0.5)),
    "cnn": ((8, 8, 2), networks.cnn(3, channels=(4, 8), kernel=3, dense=8, scale=1.0)),
}
# A program takes seconds to compile, and networks unlike each other share none: the others are integration tests.
INTEGRATION = pytest.mark.integration
EACH = ["mlp", *(pytest.param(name, marks=INTEGRATION) for name in MODELS if name != "mlp")]


def make_pool(shape=(7,), n=N):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (n, *shape), dtype=np.uint8)
    return Records(x, x.reshape(n, -1)[:, :3].argmax(axis=1).astype(np.int32))


def make_trainer(model, batch_size=5, **options):
    return single.make_trainer(model, optax.adam(1e-2), batch_size, **options)


def make_runs(s=S, n=N, m=M):
    rng = np.random.default_rng(1)
    return jax.random.split(jax.random.key(0), s), np.stack([rng.permutation(n)[:m] for _ in range(s)])


def looped(trainer, keys, pool, index, num_epochs):
    """Every network on its own, without vmap."""
    epoch, runs = jax.jit(trainer.epoch), []
    for key, rows in zip(keys, index, strict=True):
        state, infos = trainer.init(key, pool.x[:1]), []
        for _ in range(num_epochs):
            state, info = epoch(state, Records(*map(jnp.asarray, pool)), rows)
            infos.append(info)
        runs.append((state.params, jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos)))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *runs)


@functools.cache
def reference(name):
    shape, model = MODELS[name]
    trainer = make_trainer(model)
    return trainer, many.fit_many(trainer, *arguments(shape), EPOCHS, chunk=S)


def arguments(shape):
    keys, index = make_runs()
    return keys, make_pool(shape), index


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_close(actual, expected, rtol=1e-4, atol=1e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


# --- one network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, pytest.param(23, marks=INTEGRATION), pytest.param(100, marks=INTEGRATION)])
def test_epoch_is_the_plain_loop_over_its_batches(batch_size):
    """Partial batches included; the optimizer, too, is told nothing of padding."""
    shape, model = MODELS["mlp"]
    pool, (keys, index), optimizer = make_pool(shape), make_runs(1), optax.adam(1e-2)
    trainer = single.make_trainer(model, optimizer, batch_size)
    state = trainer.init(keys[0], pool.x[:1])
    after, info = jax.jit(trainer.epoch)(state, Records(*map(jnp.asarray, pool)), index[0])

    order = np.asarray(single.shuffled(jax.random.split(jax.random.fold_in(state.key, 0))[0], index[0]))
    assert sorted(order) == sorted(index[0]) and list(order) != list(index[0])

    @jax.value_and_grad
    def objective(params, x, y):
        return -jax.nn.log_softmax(model.apply(params, x))[jnp.arange(len(y)), y].mean()

    @jax.jit
    def step(params, opt_state, x, y):
        loss, grads = objective(params, x, y)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    params, opt_state, losses = state.params, state.opt_state, []
    for first in range(0, M, batch_size):
        rows = order[first : first + batch_size]
        params, opt_state, loss = step(params, opt_state, pool.x[rows], pool.y[rows])
        losses += [loss] * len(rows)
    assert_close(after.params, params)
    np.testing.assert_allclose(info.loss, np.mean(losses), rtol=1e-5)
    assert int(after.epoch) == 1


def test_accuracy_and_loss_are_means_over_records_before_the_step():
    shape, model = MODELS["mlp"]
    pool, (keys, index) = make_pool(shape), make_runs(1)
    trainer = make_trainer(model, batch_size=M)
    state = trainer.init(keys[0], pool.x[:1])
    _, info = jax.jit(trainer.epoch)(state, Records(*map(jnp.asarray, pool)), index[0])
    x, y = pool.x[index[0]], pool.y[index[0]]
    log_p = single.predict(model, state.params, x)
    np.testing.assert_allclose(info.accuracy, np.mean(log_p.argmax(axis=1) == y), rtol=1e-6)
    np.testing.assert_allclose(info.loss, -log_p[np.arange(M), y].mean(), rtol=1e-5)


def test_orders_differ_between_epochs_and_keys():
    orders = {tuple(np.asarray(single.shuffled(jax.random.key(k), np.arange(20)))) for k in range(10)}
    assert len(orders) == 10


def test_every_order_is_equally_likely():
    keys = jax.random.split(jax.random.key(0), 6000)
    orders = np.asarray(jax.vmap(single.shuffled, (0, None))(keys, np.arange(3)))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6 and np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000 * 5 / 6))


@pytest.mark.parametrize("name", EACH)
def test_padding_the_index_changes_nothing(name):
    trainer, expected = reference(name)
    keys, pool, index = arguments(MODELS[name][0])
    padded = np.pad(index, ((0, 0), (0, 17)), constant_values=-1)
    assert_close(many.fit_many(trainer, keys, pool, padded, EPOCHS, chunk=S), expected, rtol=1e-5, atol=1e-6)


def test_an_empty_training_set_leaves_the_network_as_it_was():
    keys, pool, index = arguments((7,))
    trainer, _ = reference("mlp")
    params, info = many.fit_many(trainer, keys, pool, np.full_like(index, -1), 2)
    assert_close(params, jax.jit(jax.vmap(trainer.init, (0, None)))(keys, pool.x[:1]).params)
    np.testing.assert_array_equal(info.loss, 0)


@pytest.mark.parametrize("name", EACH[:1] + EACH[2:])  # dropout draws another mask for each microbatch
@pytest.mark.parametrize("microbatch", [2, pytest.param(1, marks=INTEGRATION), pytest.param(4, marks=INTEGRATION)])
def test_microbatches_add_up_to_the_batch(name, microbatch):
    shape, model = MODELS[name]
    whole, parts = (many.fit_many(make_trainer(model, microbatch=m), *arguments(shape), 1) for m in (5, microbatch))
    assert_close(parts, whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", EACH)
def test_what_the_compiler_is_asked_for_changes_no_bit(monkeypatch, name):
    trainer, expected = reference(name)
    monkeypatch.setattr(parallel, "CPU_OPTIONS", None)
    parallel.program.cache_clear()
    assert_equal(many.fit_many(trainer, *arguments(MODELS[name][0]), EPOCHS, chunk=S), expected)
    parallel.program.cache_clear()


def test_the_cache_decides_microbatches():
    def microbatch(model, shape):
        sums = lambda p, stats, offsets, x, y, w, k: (model.apply(p, x, key=k).sum(), w.sum())  # noqa: E731
        pool = make_pool(shape, 3)
        params = jax.eval_shape(model.init, jax.random.key(0), pool.x[:1])
        return single.microbatch_size(sums, params, pool, 100)

    assert microbatch(networks.mlp(100), (600,)) == 100
    assert 1 <= microbatch(networks.cnn(10), (32, 32, 3)) <= 10


def test_the_top_class_is_the_first_of_the_largest():
    logits = np.random.default_rng(0).integers(0, 3, (200, 7)).astype(np.float32)  # many ties
    logits[0] = -np.inf
    np.testing.assert_array_equal(single.top_class(jnp.asarray(logits)), logits.argmax(axis=1))


def test_networks_learn():
    trainer, (_, info) = reference("mlp")
    _, longer = many.fit_many(trainer, *arguments((7,)), 40)
    np.testing.assert_allclose(longer.loss[:, :EPOCHS], info.loss, rtol=1e-5)
    assert np.all(longer.loss[:, -1] < 0.2 * longer.loss[:, 0]) and np.all(longer.accuracy[:, -1] > 0.95)


def test_the_loss_can_be_chosen():
    """Twice the usual one: Adam takes the same steps."""
    twice = lambda logits, y: 2.0 * optax.softmax_cross_entropy_with_integer_labels(logits, y)  # noqa: E731
    _, info = many.fit_many(make_trainer(MODELS["mlp"][1], loss=twice), *arguments((7,)), EPOCHS)
    _, (_, plain) = reference("mlp")
    np.testing.assert_allclose(info.loss, 2 * plain.loss, rtol=1e-4)


@pytest.mark.parametrize(
    "given",
    [
        lambda y: ((y, 1.0),),
        pytest.param(lambda y: ((y, jnp.float32(1)),), marks=pytest.mark.integration),
        lambda y: ((y, 0.5), (y, 0.5)),
    ],
)
def test_labels_of_an_augmented_batch_may_share_one_weight(given):
    """As the type of ``Augment`` says."""
    plain = many.fit_many(reference("mlp")[0], *arguments((7,)), 1, chunk=S)
    trainer = make_trainer(MODELS["mlp"][1], augment=lambda key, x, y, real: (x, given(y)), microbatch=3)
    assert_close(many.fit_many(trainer, *arguments((7,)), 1), plain, rtol=1e-3, atol=1e-4)


class Half(nn.Module):
    """Computes and keeps its parameters in bfloat16."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(8, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)(x))
        return nn.Dense(3, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)(x)


@pytest.mark.integration
def test_logits_are_float32_where_they_enter():
    model = adapters.from_flax(Half())
    keys, pool, index = arguments((7,))
    params, info = many.fit_many(make_trainer(model, microbatch=2), keys, pool, index, 20)
    assert info.loss.dtype == np.float32 and np.all(info.loss[:, -1] < info.loss[:, 0])
    one = jax.tree.map(lambda leaf: leaf[0], params)
    for x in (pool.x, pool.x[:0]):
        assert single.predict(model, one, x).dtype == jnp.float32
    np.testing.assert_allclose(np.exp(single.predict(model, one, pool.x, batch_size=7)).sum(axis=1), 1, rtol=1e-5)
    private = dp_sgd.make_trainer(model, optax.sgd(0.1), 5, M, clip=1.0, noise_multiplier=0.1)
    assert many.fit_many(private, keys, pool, index, 1)[1].loss.dtype == np.float32
    kept = artifacts.from_arrays(one, artifacts.to_arrays(one))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(kept))
    assert_equal(kept, one)


# --- many networks ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_neither_chunk_nor_devices_change_a_bit(name, devices, chunk):
    trainer, expected = reference(name)
    run = (*arguments(MODELS[name][0]), EPOCHS)
    assert_equal(many.fit_many(trainer, *run, chunk=chunk, devices=jax.local_devices()[:devices]), expected)


@pytest.mark.parametrize("name", EACH)
def test_many_are_trained_as_one_by_one(name):
    trainer, expected = reference(name)
    assert_close(looped(trainer, *arguments(MODELS[name][0]), EPOCHS), expected, rtol=1e-3, atol=1e-4)


def test_a_network_depends_on_its_own_key_and_records_only():
    trainer, (params, info) = reference("dropout")
    keys, pool, index = arguments((7,))
    some = np.array([4, 1])
    fewer = many.fit_many(trainer, keys[some], pool, index[some], EPOCHS, chunk=1)
    assert_equal(fewer, jax.tree.map(lambda leaf: leaf[some], (params, info)))


def test_chunks_come_one_by_one_and_tell_their_epochs():
    trainer, (params, info) = reference("mlp")
    told, chunks = [], []
    for part, some, history in many.fit_chunks(
        trainer, *arguments((7,)), EPOCHS, chunk=2, on_epoch=lambda part, epoch, info: told.append((part, epoch, info))
    ):
        chunks.append(part)
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((some, history)))
        assert_equal((some, history), jax.tree.map(lambda leaf, part=part: leaf[part], (params, info)))
        assert len(told) == EPOCHS * len(chunks)
    assert chunks == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert [(part, epoch) for part, epoch, _ in told] == [(part, e + 1) for part in chunks for e in range(EPOCHS)]
    for part, epoch, now in told:
        assert_equal(now, jax.tree.map(lambda leaf, part=part, epoch=epoch: leaf[part, epoch - 1], info))


@pytest.mark.usefixtures("two_devices")
def test_traced_once_whatever_the_number_of_chunks_and_calls():
    trainer, traced = make_trainer(MODELS["mlp"][1]), []

    def epoch(*args):
        traced.append(1)
        return trainer.epoch(*args)

    counting = trainer._replace(epoch=epoch)
    for _ in range(2):
        many.fit_many(counting, *arguments((7,)), EPOCHS, chunk=2)
    assert len(traced) == 1


@pytest.mark.integration
def test_memory_does_not_grow_with_the_data():
    trainer, (params, _) = reference("mlp")
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(params)) == S * 4 * (7 * 8 + 8 + 8 * 3 + 3)
    small, large = (many.lane_bytes(trainer, make_pool(n=n), M) for n in (N, 100 * N))
    assert small == large
    assert many.lane_bytes(make_trainer(networks.mlp(3, (800,))), make_pool(), M) > 10 * small


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("total", [1, 4, 50])
def test_a_chunk_on_cpus_is_a_program_per_device(total):
    trainer, index = make_trainer(MODELS["mlp"][1]), np.zeros((total, 3), np.int32)
    for devices in (jax.local_devices(), jax.local_devices()[:1]):
        assert many.choose_chunk(trainer, make_pool(), index, devices) == parallel.LANES * len(devices)


# --- lanes, predictions ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("lanes", [1, 2, 3, 7])
def test_spread_is_vmap(lanes):
    a, b = np.arange(lanes * 3.0, dtype=np.float32).reshape(lanes, 3), np.arange(3.0, dtype=np.float32)
    out = parallel.spread(lambda a, b: {"sum": a + b, "dot": a @ b}, in_axes=(0, None))(a, b)
    assert_equal(out, {"sum": a + b[None], "dot": a @ b})
    assert_equal(parallel.spread(lambda a: 2 * a)(a), 2 * a)


@pytest.mark.usefixtures("two_devices")
def test_what_is_replicated_is_not_copied_again():
    # Off the 64-byte grid: memory that happens to lie on it is taken over by every CPU device, without a copy.
    x = parallel.replicate(np.arange(5, dtype=np.float32)[1:])
    again = parallel.replicate(x)
    pointers = [{s.data.unsafe_buffer_pointer() for s in array.addressable_shards} for array in (x, again)]
    assert pointers[0] == pointers[1] and len(pointers[0]) == len(jax.local_devices())


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_predictions_do_not_depend_on_batches(batch_size):
    shape, model = MODELS["cnn"]
    x = make_pool(shape, 10).x
    params = jax.jit(model.init)(jax.random.key(0), x)
    log_p = jax.jit(lambda p, x: single.predict(model, p, x, batch_size=batch_size))(params, x)
    assert log_p.dtype == jnp.float32
    at_once = jax.jit(lambda p, x: jax.nn.log_softmax(model.apply(p, x)))(params, x)
    np.testing.assert_allclose(log_p, at_once, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-5)


def test_predictions_of_many():
    shape, model = MODELS["mlp"]
    _, (params, _) = reference("mlp")
    x = make_pool(shape).x
    ask = parallel.spread(lambda params, x: single.predict(model, params, x, batch_size=8), in_axes=(0, None))
    log_p = ask(params, x)
    assert log_p.shape == (S, N, 3)
    for s in range(S):
        one = single.predict(model, jax.tree.map(lambda leaf, s=s: leaf[s], params), x)
        np.testing.assert_allclose(log_p[s], one, rtol=1e-5, atol=1e-6)
    assert single.predict(model, jax.tree.map(lambda leaf: leaf[0], params), x[:0]).shape == (0, 3)
