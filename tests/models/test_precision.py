"""bfloat16 in the forward and backward pass, float32 in everything that is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mia_jax.audits import config
from mia_jax.models import adapters, networks, precision
from mia_jax.storage import artifacts
from mia_jax.training import many, single
from mia_jax.types import Field, InputError, Records, Schema, Variables


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(16)(x)))
        self.sow("intermediates", "hidden", x)
        return nn.Dense(3)(x)


X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
POOL = Records(X, (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0.5))


def test_the_forward_pass_is_in_bfloat16_and_what_is_kept_in_float32():
    model = precision.computed_in(adapters.from_flax(Normed()), "bfloat16")
    variables = model.init(jax.random.key(0), X[:1])
    assert isinstance(variables, Variables)
    program = str(jax.make_jaxpr(model.apply)(variables, X))
    assert "dot_general" in program and "bf16[60,16] = dot_general" in program
    logits, stats = model.train(variables, X, jnp.ones(60), key=jax.random.key(1))
    assert logits.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((variables, stats)))


def test_networks_learn_in_bfloat16_as_in_float32_up_to_rounding():
    trained = {}
    for name in ("float32", "bfloat16"):
        model = precision.computed_in(networks.mlp(3, (16,)), name)
        trainer = single.make_trainer(model, optax.adam(1e-2), 20)
        keys = jax.random.split(jax.random.key(0), 2)
        params, info = many.fit_many(trainer, keys, POOL, np.tile(np.arange(60), (2, 1)), 20)
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
        trained[name] = single.predict(model, jax.tree.map(lambda leaf: leaf[0], params), X), info.loss
    np.testing.assert_allclose(trained["bfloat16"][0], trained["float32"][0], atol=0.1)
    np.testing.assert_allclose(trained["bfloat16"][1], trained["float32"][1], atol=0.02)
    assert trained["bfloat16"][0].dtype == np.float32, "answers are float32"
    assert np.abs(trained["bfloat16"][0] - trained["float32"][0]).max() > 1e-5, "the precision is another"


def test_float32_on_a_cpu_is_the_model_itself():
    model = networks.mlp(3)
    assert precision.computed_in(model, "float32") is model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float16", "there is no precision 'float16'; use one of float32, tf32, bfloat16"),
        ("tf32", "tf32 is for NVIDIA"),
    ],
)
def test_what_the_device_lacks_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        precision.computed_in(networks.mlp(3), name)


def test_units_are_taken_before_numbers_are_rounded():
    """A year 2001 is 2000 in bfloat16; minus 2000, it is 1."""
    years = Field("year", "numeric", 0, 1, low=1990.0, high=2010.0, zero=2000.0, one=2001.0)
    schema = Schema("years", "local", "", 2, (1,), (years,))
    x = np.array([[2000.0], [2001.0], [2002.0]], np.float32)
    model = networks.build("logistic", schema, precision="bfloat16")
    params = model.init(jax.random.key(0), x[:1])
    logits = np.asarray(model.apply(params, x), np.float32)
    assert np.abs(np.diff(logits, axis=0)).min() > 0


def test_precision_is_part_of_a_run_where_it_is_given():
    names = {
        artifacts.digest(config.identity(config.resolve(config.Config(dataset="location", **given))))
        for given in ({}, {"precision": "float32"}, {"precision": "bfloat16"})
    }
    assert len(names) == 2
