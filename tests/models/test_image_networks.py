"""Networks for images: parameters as published, any size and layout, batch statistics, any precision."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.models import fast, networks, resnets, vgg16
from mia_jax.types import Field, InputError, Schema, Variables

NAMES = ("resnet18", "wrn28_2", "wrn16_4", "airbench", "vgg16")


def schema(shape, num_classes=10):
    return Schema("test", "local", "", num_classes, shape, (Field("x", "pixel", 0, int(np.prod(shape)), 0.0, 255.0),))


@functools.cache
def made(name, shape=(32, 32, 3)):
    """The network, and the shapes of its variables and of its logits of 2 records."""
    model, x = networks.build(name, schema(shape)), jax.ShapeDtypeStruct((2, *shape), np.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    return model, variables, jax.eval_shape(model.apply, variables, x)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


# Of a kernel k x k from i to o channels, of batch normalization, of a dense layer with biases.
def kernel(k, i, o):
    return k * k * i * o


def norm(channels):
    return 2 * channels


def dense(i, o):
    return i * o + o


def basic(i, o, strided=False):
    projection = kernel(1, i, o) + norm(o) if strided or i != o else 0
    return kernel(3, i, o) + norm(o) + kernel(3, o, o) + norm(o) + projection


def wide(i, o):
    return norm(i) + kernel(3, i, o) + norm(o) + kernel(3, o, o) + (kernel(1, i, o) if i != o else 0)


def wide_resnet(blocks, k):
    widths = (16, 16 * k, 32 * k, 64 * k)
    stages = sum(wide(i, o) + (blocks - 1) * wide(o, o) for i, o in itertools.pairwise(widths))
    return kernel(3, 3, 16) + stages + norm(64 * k) + dense(64 * k, 10)


def vgg():
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(kernel(3, i, o) + o + norm(o) for i, o in itertools.pairwise(widths))
    return convolutions + dense(512, 10)


RESNET18 = kernel(3, 3, 64) + norm(64) + 2 * basic(64, 64) + dense(512, 10)
RESNET18 += sum(basic(c, 2 * c, True) + basic(2 * c, 2 * c) for c in (64, 128, 256))
# Kernels, biases of batch normalization, biases behind the 24 components (12 of each sign), the last layer.
AIRBENCH = sum(kernel(3, i, o) for i, o in ((24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)))
AIRBENCH += 2 * 64 + 4 * 256 + 24 + 256 * 10


@pytest.mark.parametrize(
    ("name", "by_layer", "published"),
    [
        ("resnet18", RESNET18, 11_173_962),
        ("wrn28_2", wide_resnet(4, 2), 1_467_610),
        ("wrn16_4", wide_resnet(2, 4), 2_748_890),
        ("vgg16", vgg(), 14_728_266),
        ("airbench", AIRBENCH, 1_971_352),  # airbench94: 1.97 million
    ],
)
def test_parameters_are_as_published(name, by_layer, published):
    assert size(made(name)[1].params) == by_layer == published


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_image_is_refused(name):
    with pytest.raises(InputError, match=f"^the model {name} needs images, and records of test have shape .12,."):
        networks.build(name, schema((12,)))
    with pytest.raises(InputError, match=rf"^the model {name} needs images of at least (\d+)x\1 pixels, .* have 32x7"):
        networks.build(name, schema((32, 7, 3)))
    with pytest.raises(InputError, match=r"channels seem to come first: write np.moveaxis\(x, 1, -1\) as x, or"):
        networks.build(name, schema((3, 32, 32)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_images_that_are_taken(name):
    least = networks.LEAST[name]
    assert made(name, (least, least, 3))[2].shape == (2, 10)


def test_dropout_is_for_networks_that_have_some():
    with pytest.raises(InputError, match=r"^dropout=0\.3 is for mlp, .*wrn28_2, wrn16_4; a network"):
        networks.build("resnet18", schema((8, 8, 3)), dropout=0.3)


SMALL = {
    "resnet": lambda: resnets.resnet(3, widths=(4, 8), blocks=(1, 1)),
    "wide_resnet": lambda: resnets.wide_resnet(3, depth=10, widen=1, dropout=0.3),
    "airbench": lambda: fast.airbench(3, widths=(12,), logit_scale=1.0),
    "vgg": lambda: vgg16.vgg(3, widths=((4,), (8, 8))),
}
X = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 1), dtype=np.uint8)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(28, 28), (33, 30, 1), (40, 40, 3)])
def test_images_of_any_size(name, shape):
    model, x = SMALL[name](), jax.ShapeDtypeStruct((2, *shape), np.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert isinstance(variables, Variables)
    assert jax.eval_shape(model.apply, variables, x).shape == (2, 3)


@pytest.mark.integration  # compiling takes ten seconds each
@pytest.mark.parametrize("name", SMALL)
def test_two_side_by_side_train_and_answer(name):
    model = SMALL[name]()

    def both(key, x):
        variables = model.init(key, x)
        logits, stats = model.train(variables, x, np.ones(len(x), np.float32), key=key)
        return variables.stats, logits, stats, model.apply(Variables(variables.params, stats), x)

    before, logits, after, answers = jax.jit(jax.vmap(both, (0, None)))(jax.random.split(jax.random.key(0), 2), X)
    assert logits.shape == answers.shape == (2, 6, 3)
    assert np.abs(logits[0] - logits[1]).max() > 1e-2 and np.abs(logits - answers).max() > 1e-2
    jax.tree.map(lambda a, b: np.testing.assert_(np.all(np.asarray(a) != b)), before, after)


@pytest.mark.parametrize("name", SMALL)
def test_they_compute_in_the_type_that_they_are_given(name):
    model = SMALL[name]()
    params, stats = jax.eval_shape(model.init, jax.random.key(0), X)
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), params)
    x, weight = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16), jax.ShapeDtypeStruct((len(X),), np.float32)

    def train(params, stats, x, weight):
        return model.train(Variables(params, stats), x, weight, key=jax.random.key(0))

    traced, (logits, new) = jax.make_jaxpr(train, return_shape=True)(half, stats, x, weight)
    matmuls = [e for e in traced.jaxpr.eqns if e.primitive.name in ("dot_general", "conv_general_dilated")]
    assert matmuls and all(v.aval.dtype == jnp.bfloat16 for e in matmuls for v in e.invars)
    assert logits.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {np.dtype("float32")}


def test_components_are_an_orthonormal_basis_of_patches():
    patches = np.eye(12, dtype=np.float32).reshape(12, 2, 2, 3)
    basis = np.asarray(fast.components(patches)).reshape(12, 12)
    np.testing.assert_allclose(basis @ basis.T, np.eye(12), atol=1e-6)
    flat = np.abs(basis.sum(axis=0)) > 1e-6  # what a patch of one gray consists of
    assert flat.sum() == 1
    x = np.random.default_rng(0).random((2, 5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(fast.components(x)[1, 2, 1], x[1, 2:4, 1:3].reshape(12) @ basis, rtol=1e-4, atol=1e-6)


def test_convolutions_of_the_fast_network_begin_by_passing_on():
    kernel = jax.jit(fast.passing_on, static_argnums=1)(jax.random.key(0), (3, 3, 8, 12))
    np.testing.assert_array_equal(kernel[1, 1, :, :8], np.eye(8))
    assert not kernel[[0, 0, 2], [0, 2, 1], :, :8].any() and np.all(np.asarray(kernel[..., 8:]) != 0)
