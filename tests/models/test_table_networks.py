"""Networks for tables: sizes, what a token is, several hidden layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.models import networks, tables
from mia_jax.models.paper import layer_widths
from mia_jax.types import Field, InputError, Schema, Variables

FIELDS = (
    Field("age", "numeric", 0, 1, 0.0, 90.0),
    Field("job", "categorical", 1, 4, categories=("a", "b", "c")),
    Field("bits", "binary", 4, 6),
)
SCHEMA = Schema("test", "local", "", 3, (6,), FIELDS)
RECORDS = np.array([[0.5, 0, 1, 0, 1, 0], [0.2, 0, 0, 1, 1, 1]], np.float32)


def made(name, **options):
    model = networks.build(name, SCHEMA, **options)
    return model, jax.eval_shape(model.init, jax.random.key(0), RECORDS)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def dense(i, o):
    return i * o + o


def test_sizes_are_those_of_the_layers():
    """Four attributes in six columns; 192 numbers, 2 blocks and 3, as the authors begin."""
    d = 192
    resnet = dense(6, d) + 2 * (2 * d + dense(d, 2 * d) + dense(2 * d, d)) + 2 * d + dense(d, 3)
    assert size(made("tab_resnet")[1].params) == resnet
    block = 4 * dense(d, d) + dense(d, 2 * 256) + dense(256, d) + 2 * d  # ReGLU of 4 / 3
    transformer = (6 + 4 + 1) * d + 3 * block + 2 * 2 * d + 2 * d + dense(d, 3)
    assert size(made("ft_transformer")[1]) == transformer


def test_a_token_is_an_attribute():
    """A category's row of weights, or a column's, times its value; the first token is the same for all records."""
    module = tables.Tokens(tables.field_groups(FIELDS), 8)
    p = module.init(jax.random.key(0), RECORDS)["params"]
    tokens = np.asarray(module.apply({"params": p}, RECORDS))
    assert tokens.shape == (2, 5, 8)
    w, b = p["weight"], p["bias"]
    expected = [p["record"][0], 0.2 * w[0] + b[0], w[3] + b[1], w[4] + b[2], w[5] + b[3]]
    np.testing.assert_allclose(tokens[1], np.stack(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tokens[0, 0], tokens[1, 0])


@pytest.mark.parametrize("name", ["tab_resnet", "ft_transformer"])
def test_they_train_in_either_precision(name):
    model, variables = made(name, dropout=0.1)
    params = variables.params if isinstance(variables, Variables) else variables
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), params)
    half = Variables(half, variables.stats) if isinstance(variables, Variables) else half
    for given, dtype in ((variables, jnp.float32), (half, jnp.bfloat16)):
        x = jax.ShapeDtypeStruct(RECORDS.shape, dtype)
        train = functools.partial(model.train, key=jax.random.key(0))
        logits, _ = jax.eval_shape(train, given, x, jax.ShapeDtypeStruct((2,), np.float32))
        assert (logits.shape, logits.dtype) == ((2, 3), dtype)


def test_attention_sees_every_attribute():
    model = tables.ft_transformer(3, FIELDS, blocks=1, width=8, heads=2)
    slopes = jax.jit(jax.grad(lambda x: model.apply(model.init(jax.random.key(0), x), x)[0, 0]))(RECORDS)
    assert np.all(np.asarray(slopes[0]) != 0) and not np.any(slopes[1])


@pytest.mark.parametrize(
    ("hidden", "widths"), [(8, (8,)), ("8", (8,)), ("8,4", (8, 4)), ("8, 4,2", (8, 4, 2)), ((8, 4), (8, 4))]
)
def test_hidden_layers(hidden, widths):
    assert layer_widths(hidden) == widths
    _, params = made("mlp", hidden=hidden)
    assert [params[f"Dense_{k}"]["bias"].shape[0] for k in range(len(params))] == [*widths, 3]


@pytest.mark.parametrize(
    ("name", "hidden", "message"),
    [
        ("mlp", "8,", "^`hidden=8,`: give the units of each layer, as 128 or 128,64$"),
        ("mlp", "many", "^`hidden=many`: give the units of each layer"),
        ("mlp", "8,0", "^`hidden=8,0`: each layer must have at least 1 unit$"),
        ("cnn", "8,4", "^`hidden=8,4`: the model cnn has one fully connected layer; give one number$"),
    ],
)
def test_hidden_layers_that_cannot_be(name, hidden, message):
    pixels = Schema("test", "local", "", 3, (8, 8), (Field("x", "pixel", 0, 64, 0.0, 255.0),))
    with pytest.raises(InputError, match=message):
        networks.build(name, pixels, hidden=hidden)
