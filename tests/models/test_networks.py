"""Networks: equal to flax's own layers, checked before any work, and no statistics of batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small_runs import own_module

from mia_jax.models import adapters, convolutions, layers, networks
from mia_jax.types import Field, InputError, Model, Schema


def schema(shape, num_classes=3, kind="binary", high=1.0):
    return Schema("test", "local", "", num_classes, shape, (Field("x", kind, 0, int(np.prod(shape)), 0.0, high),))


def randn(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


# Channels in and out on both sides of the choice between gathering rows of the kernel and adding shifted results.
@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 32), (8, 4)])
@pytest.mark.parametrize("kernel", [(5, 5), (2, 4)])
def test_convolution_is_the_vendors(kernel, channels_in, channels_out):
    x, k = randn(0, 2, 7, 6, channels_in), randn(1, *kernel, channels_in, channels_out)

    def vendors(x, k):
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(convolution, x, k):
        out, vjp = jax.vjp(convolution, x, k)
        return out, *vjp(out)

    for ours, theirs in zip(
        value_and_gradients(convolutions.conv_same, x, k), value_and_gradients(vendors, x, k), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 7, 5, 3)])
def test_max_pool_is_flax_s(shape):
    x = randn(0, *shape)
    np.testing.assert_array_equal(layers.max_pool(x), nn.max_pool(x, (2, 2), (2, 2)))


class Plain(nn.Module):
    """The CNN as one writes it in flax; layers are numbered as in ours."""

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.max_pool(jnp.tanh(nn.Conv(4, (5, 5))(x)), (2, 2), (2, 2))
        x = jnp.tanh(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


@pytest.mark.parametrize("convolution", [None, jax.lax.conv_general_dilated])
def test_cnn_is_the_plain_flax_network(convolution):
    x = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    model = networks.cnn(10, channels=(4, 4), dense=16, convolution=convolution)
    params = jax.jit(model.init)(jax.random.key(0), x)
    expected = jax.jit(Plain().apply)({"params": params}, x / np.float32(255))
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, rtol=1e-4, atol=1e-5)


def test_mlp_is_its_formula():
    model = networks.mlp(3, (4,), scale=0.5)
    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(0), x))
    w, v = params["Dense_0"], params["Dense_1"]
    hidden = jnp.tanh(0.5 * x.reshape(2, 6) @ w["kernel"] + w["bias"][None])
    np.testing.assert_allclose(model.apply(params, x), hidden @ v["kernel"] + v["bias"][None], rtol=1e-5, atol=1e-6)


def test_grayscale_images_need_no_channel_axis():
    x = np.zeros((2, 8, 8), np.uint8)
    model = networks.cnn(10, channels=(4,), dense=8)
    assert model.apply(model.init(jax.random.key(0), x), x).shape == (2, 10)


def test_dropout_only_with_a_key():
    x = np.asarray(randn(0, 4, 5))
    model, without = networks.mlp(3, dropout=0.5), networks.mlp(3)
    params = model.init(jax.random.key(0), x)
    plain = model.apply(params, x)
    np.testing.assert_array_equal(plain, without.apply(params, x))
    first, again, other = (model.apply(params, x, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, plain) and not np.allclose(first, other)
    np.testing.assert_array_equal(without.apply(params, x, key=jax.random.key(1)), plain)  # dropout 0 is the identity


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(2)(x) + 100.0 * train


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic):
        return nn.Dense(2)(x) + 100.0 * (1 - deterministic)


@pytest.mark.parametrize("module", [Train(), Deterministic()])
def test_flax_modules_are_told_whether_they_train(module):
    model = adapters.from_flax(module)
    x = np.ones((1, 3), np.float32)
    params = model.init(jax.random.key(0), x)
    difference = model.apply(params, x, key=jax.random.key(1)) - model.apply(params, x)
    np.testing.assert_allclose(difference, 100.0, rtol=1e-5)


def test_state_other_than_batch_statistics_is_refused():
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            calls = self.variable("calls", "count", jnp.zeros, ())
            return nn.Dense(2)(x) + calls.value

    with pytest.raises(InputError, match="Counting keeps calls: a model is a function of its parameters"):
        adapters.from_flax(Counting()).init(jax.random.key(0), np.ones((2, 3), np.float32))


def test_what_is_no_linen_module_is_refused_in_a_line():
    from flax import nnx

    class Own(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.layer(x)

    for module, message in (
        (Own(), r"type Own is no flax linen module: from_nnx takes it$"),
        (nn.Dense, r"^Dense is no flax linen module: it is a class, so give an instance of it, as Dense\(...\)$"),
        (len, "is no flax linen module: give a flax.linen module or a mia_jax.Model"),
    ):
        with pytest.raises(InputError, match=message):
            adapters.from_flax(module)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "high"),
    [
        ("mlp", (6,), "binary", 1.0),
        ("logistic", (6,), "numeric", 9.0),
        ("cnn", (8, 8, 3), "pixel", 255.0),
        ("cnn", (8, 8), "pixel", 255.0),
    ],
)
def test_build(name, shape, kind, high):
    model = networks.build(name, schema(shape, kind=kind, high=high), hidden=5)
    x = np.ones((2, *shape), np.uint8 if kind != "numeric" else np.float32)
    params, logits = jax.eval_shape(lambda x: (p := model.init(jax.random.key(0), x), model.apply(p, x)), x)
    assert logits.shape == (2, 3)
    sizes = [leaf.shape[-1] for leaf in jax.tree.leaves(params)]
    assert (5 in sizes) == (name != "logistic")


def test_pixels_are_scaled_to_one():
    pixels = networks.build("mlp", schema((6,), kind="pixel", high=255.0))
    params = pixels.init(jax.random.key(0), np.zeros((1, 6), np.uint8))
    bits = networks.build("mlp", schema((6,)))
    np.testing.assert_allclose(
        pixels.apply(params, np.full((1, 6), 255, np.uint8)), bits.apply(params, np.ones((1, 6), np.uint8)), rtol=1e-5
    )


MINE = """
from flax import linen as nn
import jax.numpy as jnp
from mia_jax.types import Model

def flax(num_classes, shape):
    return nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(num_classes)])

def plain(num_classes, shape):
    def init(key, x):
        return jnp.zeros((shape[0], num_classes))
    def apply(params, x, *, key=None):
        return x.astype(jnp.float32) @ params
    return Model(init, apply)

def number(num_classes, shape):
    return 3

def nnx(num_classes, shape):
    from flax import nnx
    return nnx.Linear

def too_many(num_classes, shape):
    return nn.Dense(num_classes + 1)

def broken(num_classes, shape):
    return nn.Conv(num_classes, (3, 3, 3, 3))

def raising(num_classes, shape):
    raise OSError("no weights here")

def other_arguments(classes):
    return nn.Dense(classes)

constant = 1
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module in the current folder; its name."""
    return own_module(tmp_path, monkeypatch, MINE)


@pytest.mark.parametrize("factory", ["flax", "plain"])
def test_a_user_s_factory(mine, factory):
    model = networks.build(f"{mine}:{factory}", schema((6,)))
    assert isinstance(model, Model)
    x = np.ones((2, 6), np.uint8)
    assert model.apply(model.init(jax.random.key(0), x), x).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "there is no model 'resnet'; use mlp, logistic, .*, cnn, resnet18, .*, or module:factory"),
        ("no_such_module:f", "^model=no_such_module:f cannot be imported.*is no_such_module.py in this folder"),
        ("MINE:nothing", "has no 'nothing'"),
        ("MINE:constant", "'constant' of mine_.* is int, no function"),
        ("MINE:number", "returned int; a factory returns"),
        ("MINE:nnx", "returned a class; a factory returns .*: it is a class, so give an instance"),
        ("MINE:too_many", r"answers 2 records of test with \(2, 4\), not with logits \(2, 3\)"),
        ("MINE:broken", "does not take records of shape"),
        ("MINE:raising", "called with num_classes= and shape=, raised OSError: no weights here"),
        ("MINE:other_arguments", r"called with num_classes= and shape=, raised TypeError: .*argument"),
        ("cnn", "needs images.*use model=mlp"),
    ],
)
def test_models_that_cannot_be_used(mine, name, message):
    with pytest.raises(InputError, match=message) as error:
        networks.build(name.replace("MINE", mine), schema((6,)))
    assert "\n" not in str(error.value)


def test_checking_computes_nothing(mine):
    """A network of 400 GB is checked without being made."""
    assert callable(networks.build("mlp", schema((100_000,)), hidden=1_000_000).apply)
