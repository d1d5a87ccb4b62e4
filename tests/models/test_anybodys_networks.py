"""One network, written in linen, nnx, equinox and plain JAX: the same logits, statistics and training; refusals."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_runs import environment, own_module, python, write_data

from mia_jax.models import convolutions, from_equinox, from_nnx, networks
from mia_jax.types import Field, InputError, Schema, Variables

eqx = pytest.importorskip("equinox")

SOURCE = """
import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from mia_jax.types import Model, Variables

RATE = {rate}

class Linen(nn.Module):
    c: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5)(nn.Dense(8)(x)))
        return nn.Dense(self.c)(nn.Dropout(RATE, deterministic=not train)(x))

def linen(num_classes, shape):
    return Linen(num_classes)

class Nnx(nnx.Module):
    def __init__(self, c, f, rngs):
        self.layers = nnx.List([nnx.Linear(f, 8, rngs=rngs), nnx.Linear(8, c, rngs=rngs)])
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(RATE, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.layers[0](x)))
        return self.layers[1](self.dropout(x))

def nnx_(num_classes, shape, rngs):
    return Nnx(num_classes, *shape, rngs)

class Equinox(eqx.Module):
    layers: list
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout

    def __init__(self, c, f, key):
        first, second = jax.random.split(key)
        self.layers = [eqx.nn.Linear(f, 8, key=first), eqx.nn.Linear(8, c, key=second)]
        self.norm = eqx.nn.BatchNorm(8, "batch", momentum=0.9, mode="batch")
        self.dropout = eqx.nn.Dropout(RATE)

    def __call__(self, x, state, *, key):
        x, state = self.norm(self.layers[0](x), state)
        return self.layers[1](self.dropout(jax.nn.relu(x), key=key)), state

def equinox(num_classes, shape, key):
    return Equinox(num_classes, *shape, key)

def plain(num_classes, shape):
    def init(key, x):
        first, second = jax.random.split(key)
        params = dict(
            w=jax.random.normal(first, (*shape, 8)) / shape[0] ** 0.5, b=jnp.zeros(8),
            v=jax.random.normal(second, (8, num_classes)) / 8 ** 0.5, d=jnp.zeros(num_classes),
            scale=jnp.ones(8), bias=jnp.zeros(8),
        )
        return Variables(params, dict(mean=jnp.zeros(8), var=jnp.ones(8)))

    def rest(p, x, mean, var, key):
        x = p["scale"][None] * (x - mean[None]) / jnp.sqrt(var[None] + 1e-5) + p["bias"][None]
        x = jax.nn.relu(x)
        if key is not None:
            x = jnp.where(jax.random.bernoulli(key, 1 - RATE, x.shape), x / (1 - RATE), 0)
        return x @ p["v"] + p["d"][None]

    def apply(variables, x, *, key=None):
        p, stats = variables
        return rest(p, x.astype(jnp.float32) @ p["w"] + p["b"][None], stats["mean"], stats["var"], None)

    def train(variables, x, weight, *, key):
        p, stats = variables
        x = x.astype(jnp.float32) @ p["w"] + p["b"][None]
        real = (weight != 0) / (weight != 0).sum()
        mean = real @ x
        var = real @ (x - mean[None]) ** 2
        new = dict(mean=0.9 * stats["mean"] + 0.1 * mean, var=0.9 * stats["var"] + 0.1 * var)
        return rest(p, x, mean, var, key), new

    return Model(init, apply, train=train)

class Hidden(nnx.Module):
    def __init__(self, c, f, rngs):
        self.layer = nnx.Linear(f, c, rngs=rngs)
        self.calls = nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        self.calls[...] += 1
        return self.layer(x)

def hidden(num_classes, shape, rngs):
    return Hidden(num_classes, *shape, rngs)

def same(num_classes, shape):
    return nnx.Linear(*shape, num_classes, rngs=nnx.Rngs(0))

def same_equinox(num_classes, shape):
    return eqx.nn.make_with_state(Equinox)(num_classes, *shape, key=jax.random.key(0))

def functions(num_classes, shape):
    return lambda key, x: jnp.ones((*shape, num_classes)), lambda params, x: x.astype(jnp.float32) @ params
"""
WRITTEN_IN = ("linen", "nnx_", "equinox", "plain")
SCHEMA = Schema("test", "local", "", 3, (4,), (Field("x", "numeric", 0, 4),))
X = np.asarray(jax.random.normal(jax.random.key(1), (6, 4)))
REAL = np.array([1, 1, 1, 1, 0, 0], np.float32)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module, without dropout; its name."""
    return own_module(tmp_path, monkeypatch, SOURCE.format(rate=0.0))


def shared(name, p, stats):
    """The variables of the network as it is written in ``name``, from arrays of the plain one."""
    dense, last = dict(kernel=p["w"], bias=p["b"]), dict(kernel=p["v"], bias=p["d"])
    norm = dict(scale=p["scale"], bias=p["bias"])
    if name == "linen":
        return Variables({"Dense_0": dense, "BatchNorm_0": norm, "Dense_1": last}, {"BatchNorm_0": stats})
    if name == "nnx_":
        return Variables({"layers": {"0": dense, "1": last}, "norm": norm}, {"norm": stats})
    if name == "equinox":  # kernels [o, i]; statistics: how many batches, mean, variance
        layers = {str(k): dict(weight=each["kernel"].T, bias=each["bias"]) for k, each in enumerate((dense, last))}
        params = {"layers": layers, "norm": dict(weight=p["scale"], bias=p["bias"])}
        return Variables(params, {"0000": jnp.array(0), "0001": stats["mean"], "0002": stats["var"]})
    return Variables(p, stats)


def test_the_same_network_in_four_libraries(mine):
    """From the same parameters: logits in evaluation and in training, where two rows are no records, and statistics."""
    found = {}
    for name in WRITTEN_IN:
        model = networks.build(f"{mine}:{name}", SCHEMA)
        before = networks.build(f"{mine}:plain", SCHEMA).init(jax.random.key(0), X)
        p = jax.tree.map(lambda leaf: leaf + 0.1, before.params)
        variables = shared(name, p, dict(mean=jnp.full(8, 0.3), var=jnp.full(8, 2.0)))
        own = jax.eval_shape(model.init, jax.random.key(0), X)
        assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, variables)
        logits, stats = jax.jit(model.train)(variables, X, REAL, key=jax.random.key(2))
        arrays = [leaf for leaf in jax.tree.leaves(stats) if leaf.ndim]
        found[name] = [jax.jit(model.apply)(variables, X), logits[:4], *arrays]
    for name in WRITTEN_IN:
        for ours, theirs in zip(found[name], found["plain"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", WRITTEN_IN)
def test_networks_begin_and_drop_units_by_their_keys(name, tmp_path, monkeypatch):
    mine = own_module(tmp_path, monkeypatch, SOURCE.format(rate=0.5))
    model = networks.build(f"{mine}:{name}", SCHEMA)
    init, train = jax.jit(model.init), jax.jit(model.train)
    one, same, other = (init(jax.random.key(k), X) for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    first, again, third = (train(one, X, REAL, key=jax.random.key(k))[0] for k in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, third)
    assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_two_functions_are_a_network(mine):
    model = networks.build(f"{mine}:functions", SCHEMA)
    np.testing.assert_allclose(
        model.apply(model.init(jax.random.key(0), X), X, key=jax.random.key(0))[:, 0], X.sum(axis=1)
    )


@pytest.mark.parametrize(("name", "argument"), [("same", "rngs"), ("same_equinox", "key")])
def test_a_module_that_is_made_already_is_every_networks_beginning(mine, name, argument):
    with pytest.warns(UserWarning, match=f"every network begins with the parameters .* take {argument}"):
        model = networks.build(f"{mine}:{name}", SCHEMA)
    one, other = (model.init(jax.random.key(k), X) for k in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_an_nnx_module_that_keeps_hidden_state_is_refused(mine):
    with pytest.raises(InputError, match=r"^Hidden changes calls when it is called: .* cannot keep hidden state"):
        networks.build(f"{mine}:hidden", SCHEMA)


class Sowing(nnx.Module):
    """With what is no state: a constant, what it sows; a convolution; and its own way to be told of training."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 2, (3, 3), rngs=rngs)
        self.linear = nnx.Linear(2, 3, rngs=rngs)
        self.weights = jnp.array([1.0, 2.0])

    def __call__(self, x, train, rngs):
        x = self.conv(x).mean(axis=(1, 2)) * self.weights[None]
        self.sow(nnx.Intermediate, "seen", x)
        return self.linear(x) + 100.0 * train + rngs.noise.normal((len(x), 1))


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
def test_what_an_nnx_module_may_have():
    model, x = from_nnx(lambda rngs: Sowing(rngs)), np.ones((2, 5, 5, 1), np.float32)
    params = model.init(jax.random.key(0), x)
    assert sorted(params) == ["conv", "linear"]
    answers = model.apply(params, x)
    np.testing.assert_allclose(answers, networks.as_written(model).apply(params, x), rtol=1e-5)
    noisy = [model.apply(params, x, key=jax.random.key(k)) for k in (1, 2)]
    assert np.all(np.asarray(noisy) > 50) and not np.allclose(*noisy)


class Convolutions(eqx.Module):
    layers: list

    def __init__(self, key):
        self.layers = [
            eqx.nn.Conv2d(1, 4, 3, padding=1, key=key),
            eqx.nn.Conv2d(4, 4, 3, stride=2, padding="SAME", use_bias=False, key=key),
            eqx.nn.Conv2d(4, 3, 2, dilation=2, key=key),
            eqx.nn.Conv2d(3, 3, 1, groups=3, key=key),
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.mean(axis=(1, 2))


@pytest.mark.integration
def test_convolutions_of_equinox_are_computed_as_fits_the_device():
    model, x = (
        from_equinox(lambda key: Convolutions(key)),
        np.asarray(jax.random.normal(jax.random.key(0), (2, 1, 9, 8))),
    )
    with convolutions.counted() as ours:
        answers = jax.jit(lambda x: model.apply(model.init(jax.random.key(1), x), x))(x)
    assert len(ours) == 3  # all but the grouped one
    theirs = jax.jit(lambda x: jax.vmap(Convolutions(jax.random.key(1)))(x))(x)
    np.testing.assert_allclose(answers, theirs, rtol=1e-4, atol=1e-5)


class OwnStatistics(nnx.Module):
    def __init__(self, rngs):
        self.mean = nnx.BatchStat(jnp.zeros(4))

    def __call__(self, x):
        return x - self.mean[...][None]


class Counting(eqx.Module):
    calls: eqx.nn.StateIndex

    def __init__(self, key):
        self.calls = eqx.nn.StateIndex(jnp.array(0))

    def __call__(self, x, state):
        return x, state.set(self.calls, state.get(self.calls) + 1)


def two_axes(key):
    return eqx.nn.Sequential([eqx.nn.BatchNorm(4, name, mode="batch") for name in ("a", "b")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: from_nnx(lambda rngs: OwnStatistics(rngs)),
            r"batch statistics in OwnStatistics \(mean\).* nnx.BatchNorm$",
        ),
        (lambda: from_nnx(lambda rngs: 3), "makes int, no nnx module"),
        (lambda: from_nnx(nnx.Linear), "takes an nnx module, or a function of random streams"),
        (lambda: from_equinox(lambda key: Counting(key)), "Counting keeps state outside of eqx.nn.BatchNorm"),
        (lambda: from_equinox(two_axes), "name the axes a, b"),
        (lambda: from_equinox(lambda key: 3), "makes int, no equinox module"),
        (lambda: from_equinox(Counting), "takes an equinox module, or a function of a key"),
    ],
)
def test_what_cannot_be_a_network(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_without_equinox_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(InputError, match=r"^from_equinox needs the package equinox: pip install equinox$"):
        from_equinox(lambda key: None)


# --- from the command line -------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_shadows_of_every_library_from_the_command_line(tmp_path, monkeypatch):
    """A last batch that is filled up, too: 200 of 400 records, in batches of 30."""
    name, data = own_module(tmp_path, monkeypatch, SOURCE.format(rate=0.1)), write_data(tmp_path / "own.npz")
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), str(environment(tmp_path).get("PYTHONPATH", ""))]))
    flags = ["--num_models=8", "--num_targets=1", "--num_epochs=3", "--batch_size=30", "--attacks=lira"]
    import mia_jax

    audit = str(next(iter(mia_jax.__path__)).removesuffix("mia_jax") + "scripts/audit.py")
    for written_in in WRITTEN_IN:
        own = [f"--dataset={data}", f"--model={name}:{written_in}", f"--workdir={tmp_path / written_in}"]
        done = python(tmp_path, audit, *flags, *own)
        assert done.returncode == 0, done.stderr
        results = json.loads((tmp_path / written_in / "results.json").read_text())
        assert 0 < results["attacks"]["lira"]["auc"]["value"] <= 1
    done = python(tmp_path, audit, *flags, f"--dataset={data}", f"--model={name}:hidden", f"--workdir={tmp_path / 'h'}")
    assert done.returncode == 2 and "cannot keep hidden state" in done.stderr.strip().splitlines()[-1]
