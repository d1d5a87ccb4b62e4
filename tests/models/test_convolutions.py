"""Convolutions in the place of flax's: equal to them wherever they are used, and left to flax elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small_runs import own_module

from mia_jax.audits import train_networks
from mia_jax.audits.config import AuditConfig
from mia_jax.models import convolutions, networks
from mia_jax.types import Field, InputError, Model, Schema

GRID = {  # axes -> kernel, stride, padding, dilation
    1: [(3, 1, "SAME", 1), (2, 2, "SAME", 1), (3, 1, "VALID", 2), (3, 2, ((2, 0),), 1), (3, 1, "CAUSAL", 1)],
    2: [
        *((3, 1, "SAME", 1), (3, 2, "SAME", 1), (2, 2, "SAME", 1), (1, 2, "VALID", 1), (3, 1, "VALID", 1)),
        *((3, 1, "SAME", 2), (3, 2, "CIRCULAR", 1), (3, 1, ((2, 0), (0, 1)), 1), (2, 1, 1, 1)),
    ],
}


def both(layer, x):
    """Value and gradients of the layer as flax computes it and with ours, and how many of ours there were."""
    params = jax.jit(layer.init)(jax.random.key(1), x)

    def value_and_gradients(params, x):
        out, vjp = jax.vjp(layer.apply, params, x)
        return out, vjp(jnp.cos(out))

    theirs = jax.jit(value_and_gradients)(params, x)
    with convolutions.counted() as ours, convolutions.in_place_of_flax():
        return theirs, jax.jit(lambda p, x: value_and_gradients(p, x))(params, x), len(ours)


@pytest.mark.parametrize("spatial", [pytest.param(1, marks=pytest.mark.integration), 2])
def test_they_are_flax_s(spatial):
    """All of the grid in one program, for compiling is what costs."""
    settings = GRID[spatial]

    class All(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = [
                nn.Conv(3, (k,) * spatial, strides=(s,) * spatial, padding=p, kernel_dilation=d)
                for k, s, p, d in settings
            ]
            return jnp.concatenate([layer(x).reshape(len(x), -1) for layer in layers], axis=1)

    x = jax.random.normal(jax.random.key(0), (2, *(7, 6)[:spatial], 2))
    theirs, ours, count = both(All(), x)
    assert count == len(settings)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), ours, theirs)


class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.relu(nn.Conv(4, (3, 3), padding="VALID")(x))
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv(4, (3, 3), feature_group_count=2), (2, 6, 6, 2)),
        (nn.Conv(4, (3, 3), padding=1, input_dilation=2), (2, 6, 6, 2)),
        (nn.Conv(4, (3, 3), precision=jax.lax.Precision.HIGHEST), (2, 6, 6, 2)),
        (nn.Conv(4, (2, 2, 2)), (2, 4, 4, 4, 2)),
        (nn.ConvLocal(4, (3, 3)), (2, 6, 6, 2)),
        (nn.ConvTranspose(4, (3, 3)), (2, 6, 6, 2)),
        (nn.Conv(4, (3, 3), conv_general_dilated=jax.lax.conv_general_dilated), (2, 6, 6, 2)),
    ],
)
def test_others_are_left_to_flax(layer, shape):
    theirs, ours, count = both(layer, jax.random.normal(jax.random.key(0), shape))
    assert count == 0
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_kernel_larger_than_the_record_answers_with_nothing():
    layer, x = nn.Conv(4, (5,), padding="VALID"), jnp.ones((2, 3, 1))
    params = layer.init(jax.random.key(1), x)
    with convolutions.in_place_of_flax():
        assert layer.apply(params, x).shape == layer.apply(params, x).shape == (2, 0, 4)


# --- in a user's network ---------------------------------------------------------------------------------------------

MINE = """
import sys
sys.path.append({folder!r})
from test_convolutions import Net

def net(num_classes, shape):
    return Net(num_classes)
"""
SHAPE = (8, 8, 3)
SCHEMA = Schema("test", "local", "", 3, SHAPE, (Field("x", "pixel", 0, 192, 0.0, 255.0),))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module in the current folder; the name of its factory."""
    name = own_module(tmp_path, monkeypatch, MINE.format(folder=__file__.rpartition("/")[0]))
    return f"{name}:net"


def test_a_user_s_network_is_the_same_and_says_how_it_is_computed(mine):
    model = networks.build(mine, SCHEMA)
    x = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    params = jax.jit(model.init)(jax.random.key(0), x)
    with convolutions.counted() as ours:
        logits = jax.jit(model.apply)(params, x)
    assert len(ours) == 2 and "convolutions are computed in another form" in model.arithmetic
    np.testing.assert_allclose(logits, jax.jit(networks.as_written(model).apply)(params, x), rtol=1e-4, atol=1e-5)


def test_artifacts_are_named_by_the_arithmetic(mine):
    written = Model(*networks.build(mine, SCHEMA)[:2])
    config = AuditConfig(model=mine)
    ours, theirs = (train_networks.description(config, m, "digest") for m in (networks.build(mine, SCHEMA), written))
    assert theirs == train_networks.training_description(config, "digest")
    assert ours == theirs | {"arithmetic": networks.build(mine, SCHEMA).arithmetic}


def test_where_both_do_not_agree_the_network_stays_as_it_was_written(mine, monkeypatch):
    true = convolutions._gathered
    monkeypatch.setattr(convolutions, "_gathered", lambda *args: 1.01 * true(*args))
    model = networks.build(mine, SCHEMA)
    assert model.arithmetic == ""
    with convolutions.counted() as ours:
        model.apply(model.init(jax.random.key(0), np.zeros((1, *SHAPE), np.uint8)), np.zeros((1, *SHAPE), np.uint8))
    assert not ours


def test_a_network_that_does_not_fit_is_refused_as_ever(mine):
    with pytest.raises(InputError, match="does not take records of shape"):
        networks.build(mine, Schema("test", "local", "", 3, (6,), (Field("x", "binary", 0, 6),)))
