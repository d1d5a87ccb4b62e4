"""Whatever a network does with its dense layers: microbatches train as the batch does, ghost clipping clips records."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mia_jax.models import adapters
from mia_jax.training import dense_gradients, dp_sgd, single
from mia_jax.types import Model, Records

B, F, C = 10, 6, 3
LOSS = optax.softmax_cross_entropy_with_integer_labels


class Plain(nn.Module):
    """Two dense layers, built by whatever is given."""

    first: object = nn.Dense
    options: tuple = ()

    @nn.compact
    def __call__(self, x):
        return nn.Dense(C, use_bias=False, name="last")(jnp.tanh(self.first(F, name="first", **dict(self.options))(x)))


class Twice(nn.Module):
    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(F, name="first")
        return nn.Dense(C, name="last")(layer(jnp.tanh(layer(x))))


class TwiceInTraining(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        layer = nn.Dense(F, name="first")
        x = jnp.tanh(layer(x))
        return nn.Dense(C, name="last")(layer(x) if train else x)


class NotInTraining(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        logits = nn.Dense(C, name="last")(x)
        return logits if train else logits + nn.Dense(C, name="first")(x)


class Tied(nn.Module):
    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(4, name="first")
        return nn.Dense(C, name="last")(jnp.tanh(layer(x)) @ layer.variables["params"]["kernel"].T)


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(C, name="last")(x) * self.param("scale", nn.initializers.ones, (C,))[None]


class RowByRow(nn.Module):
    """The first layer sees several rows of a record."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(C, name="last")(nn.Dense(4, name="first")(x.reshape(-1, 2)).reshape(len(x), -1))


class ByKeyword(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(C, name="last")(inputs=x)


class Looped(nn.Module):
    @nn.compact
    def __call__(self, x):
        loop = nn.scan(
            lambda layer, x, _: (jnp.tanh(layer(x)), None),
            variable_broadcast="params",
            split_rngs={"params": False},
            length=2,
        )
        return nn.Dense(C, name="last")(loop(nn.Dense(F, name="first"), x, None)[0])


class Mapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        rows = nn.vmap(nn.Dense, variable_axes={"params": None}, split_rngs={"params": False}, in_axes=1, out_axes=1)
        return nn.Dense(C, name="last")(rows(4, name="first")(x.reshape(len(x), -1, 2)).reshape(len(x), -1))


class Shifted(nn.Module):
    """The first layer's bias is not the parameter as it is."""

    @nn.compact
    def __call__(self, x):
        def shift(variables):
            return {"params": {**variables["params"], "bias": 3 * variables["params"]["bias"] + 1}} if variables else {}

        starts = self.is_initializing()
        first = nn.map_variables(nn.Dense, "params", trans_in_fn=shift, init=starts, mutable=starts)
        return nn.Dense(C, name="last")(jnp.tanh(first(F, name="first")(x)))


def doubled(a, kernel, dimensions, precision=None, preferred_element_type=None):
    return jax.lax.dot_general(a, 2 * kernel, dimensions)


def centerd(x, kernel, bias, dtype=None):
    return x, kernel - kernel.mean(axis=0, keepdims=True), bias


def by_hand(apply):
    """A Model that is not made by ``from_flax``, though of flax layers."""
    module = Plain()
    init = lambda key, x: module.init(key, x)["params"]  # noqa: E731
    return Model(init, lambda params, x, *, key=None: apply(lambda x: module.apply({"params": params}, x), params, x))


BOTH, LAST, NONE = {("first",), ("last",)}, {("last",)}, set()
PARTITIONED = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
NETWORKS = {  # name -> network, its layers whose gradient is known, and whether that is all of the gradient
    "plain": (Plain(), BOTH, True),
    "bare": (nn.Dense(C), {()}, True),
    "dtype": (Plain(options=(("dtype", jnp.bfloat16),)), BOTH, True),
    "param_dtype": (Plain(options=(("param_dtype", jnp.bfloat16),)), BOTH, True),
    "used twice": (Twice(), LAST, False),
    "used twice in training": (TwiceInTraining(), LAST, False),
    "not used in training": (NotInTraining(), LAST, True),
    "tied": (Tied(), BOTH, False),
    "scaled": (Scaled(), LAST, False),
    "several rows of a record": (RowByRow(), LAST, False),
    "called by keyword": (ByKeyword(), NONE, False),
    "in a loop": (Looped(), LAST, False),
    "vmapped": (Mapped(), NONE, False),
    "rematerialized": (Plain(first=nn.remat(nn.Dense)), LAST, False),
    "shifted": (Shifted(), LAST, False),
    "dot_general": (Plain(options=(("dot_general", doubled),)), LAST, False),
    "promote_dtype": (Plain(options=(("promote_dtype", centerd),)), LAST, False),
    "boxed parameters": (Plain(options=(("kernel_init", PARTITIONED),)), LAST, False),
    "by hand": (by_hand(lambda network, params, x: network(x)), BOTH, True),
    "in a jit of its own": (by_hand(lambda network, params, x: jax.jit(network)(x)), NONE, False),
    "in a checkpoint": (by_hand(lambda network, params, x: jax.checkpoint(network)(x)), NONE, False),
    "and another use": (by_hand(lambda network, params, x: network(x) + x @ params["last"]["kernel"]), BOTH, False),
}


def setting(name):
    module, *expected = NETWORKS[name]
    model = module if isinstance(module, Model) else adapters.from_flax(module)
    rng = np.random.default_rng(0)
    pool = Records(rng.normal(size=(B, F)).astype(np.float32), rng.integers(0, C, B).astype(np.int32))
    return model, pool, *expected


@functools.cache
def initialized(name):
    model, pool, *_ = setting(name)
    return jax.jit(model.init)(jax.random.key(0), pool.x)


def assert_close(name, actual, expected):
    coarse = "dtype" in name  # bfloat16
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.float32(a), np.float32(e), atol=2e-2 if coarse else 1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_what_is_left_and_what_is_known(name):
    model, pool, known, whole = setting(name)
    params, key = initialized(name), jax.random.key(1)
    offsets = dense_gradients.offsets(model, params, pool.x, key)
    assert set(offsets) == known
    assert dense_gradients.are_all(model, params, pool.x, offsets, key) is whole

    def loss(params, offsets):
        logits, inputs = dense_gradients.apply(model, params, pool.x, offsets, key)
        return LOSS(logits, pool.y).sum(), inputs

    @jax.jit
    def both(params):
        plain = jax.grad(lambda params: LOSS(model.apply(params, pool.x, key=key), pool.y).sum())(params)
        (left, outputs), inputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, offsets)
        return plain, left, dense_gradients.gradients(params, inputs, outputs)

    plain, left, gradients = both(params)
    assert_close(name, jax.tree.map(jnp.add, left, gradients), plain)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(left)) is whole


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "used twice in training",
        *(
            pytest.param(k, marks=pytest.mark.integration)
            for k in ("param_dtype", "tied", "vmapped", "in a checkpoint")
        ),
    ],
)
def test_microbatches_add_up_to_the_batch(name):
    model, pool, _, _ = setting(name)

    @functools.partial(jax.jit, static_argnums=0)
    def trained(microbatch):
        trainer = single.make_trainer(model, optax.adam(0.1), 5, microbatch=microbatch)
        state, info = trainer.epoch(trainer.init(jax.random.key(0), pool.x), Records(*map(jnp.asarray, pool)), rows)
        return state.params, info

    rows = jnp.arange(B)

    assert_close(name, trained(2), trained(5))


@pytest.mark.parametrize("name", ["plain", "bare", "param_dtype", "used twice in training", "tied", "scaled"])
def test_records_are_clipped_one_by_one_or_by_what_is_known(name):
    model, pool, _, _ = setting(name)
    real, key = np.ones(B, bool), jax.random.key(1)

    @functools.partial(jax.jit, static_argnums=1)
    def clipped(params, ghost):
        return dp_sgd.clipped_gradients(model, LOSS, params, *pool, real, clip=0.5, key=key, ghost=ghost).grads

    params = initialized(name)
    assert_close(name, clipped(params, None), clipped(params, False))
