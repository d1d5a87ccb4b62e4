"""Columns in units far from one: our networks see them scaled, others and services as they are in the file."""

import jax
import numpy as np
import pytest
from archives import cycle, npz
from small_runs import config, own_module

from mia_jax import audits, data
from mia_jax.audits import common, train_networks
from mia_jax.audits.config import Config
from mia_jax.audits.presets import PRESETS, preset
from mia_jax.audits.types import Run, TrainingJob
from mia_jax.models import networks
from mia_jax.progress import silent
from mia_jax.storage import artifacts
from mia_jax.types import Field, InputError, Records, Schema

N = 120
RNG = np.random.default_rng(0)
Y = cycle(N, 3)
PIXELS = RNG.integers(0, 257, (N, 12)) // np.where(Y[:, None] == np.arange(12) % 3, 1, 2)
PIXELS[:2] = [[0], [256]]
INCOME = np.stack([np.exp(RNG.normal(10, 1, N)), RNG.integers(18, 90, N), RNG.integers(0, 2, N), RNG.normal(size=N)], 1)


def load(tmp_path, x, name="own", **more):
    (tmp_path / f"{name}.npz").write_bytes(npz(x=x, y=Y, **more))
    return data.load(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float64])
def test_columns_in_one_unit_are_scaled_alike_by_the_range_of_all(tmp_path, dtype):
    x = PIXELS.astype(dtype)
    x[:, 3] = np.minimum(x[:, 3], 7)  # a pixel near the border, rarely dark
    load(tmp_path, x)
    said = []
    records, schema = data.load(tmp_path / "own.npz", notify=said.append)
    np.testing.assert_array_equal(records.x, x)  # as they are in the file
    assert {(f.zero, f.one) for f in schema.fields} == {(0, 256)}
    assert schema.fields[3].high == 7  # what may be drawn for it
    assert list(schema.notes) == said == ["For our networks 12 of 12 columns are scaled from [0, 256] to [0, 1]."]


def test_columns_in_several_units_are_scaled_each_by_its_own(tmp_path):
    _, schema = load(tmp_path, INCOME)
    income, age, flag, normal = schema.fields
    assert (income.zero, income.one) == (income.low, income.high) and (age.zero, age.one) == (age.low, age.high)
    assert (flag.zero, flag.one) == (normal.zero, normal.one) == (0, 1)
    assert "2 of 4 columns are scaled to [0, 1], each from its own range (x0 from [" in schema.notes[0]


@pytest.mark.parametrize(
    "x",
    [
        RNG.random((N, 4)),
        RNG.normal(size=(N, 4)),
        np.where(np.arange(N)[:, None] == 3, N**0.5, -(N**-0.5)) * np.ones((1, 4)),  # standardized, and rare
        RNG.integers(-1, 2, (N, 4)),
        RNG.normal(size=(N, 4)) * 2,
    ],
    ids=["unit", "standard", "rare", "signs", "two"],
)
def test_unit_and_standardized_columns_keep_their_bits(tmp_path, x):
    _, schema = load(tmp_path, x)
    assert networks.units(schema) is None and not schema.notes


def test_the_network_sees_what_it_would_of_scaled_records(tmp_path):
    raw, schema = load(tmp_path, PIXELS)
    unit, unit_schema = load(tmp_path, PIXELS / 256)
    for name in ("mlp", "logistic"):
        scaled, plain = networks.build(name, schema), networks.build(name, unit_schema)
        params = plain.init(jax.random.key(0), unit.x[:1])
        for ours, theirs in zip(
            *map(jax.tree.leaves, (scaled.init(jax.random.key(0), raw.x[:1]), params)), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(scaled.apply(params, raw.x), plain.apply(params, unit.x))


def test_a_constant_column_far_from_one_is_seen_as_zero(tmp_path):
    x = np.concatenate([PIXELS / 256, np.full((N, 1), 123456789.0)], axis=1)
    records, schema = load(tmp_path, x)
    zero, span = networks.units(schema)
    assert ((records.x - zero) / span)[:, -1].tolist() == [0] * N and np.isfinite(span).all() and (span > 0).all()


FACTORIES = """
import jax.numpy as jnp
from flax import linen as nn

from mia_jax.types import Model


def of_flax(num_classes, shape):
    return nn.Dense(num_classes)


def of_functions(num_classes, shape):
    return Model(lambda key, x: {"w": jnp.zeros(())}, lambda params, x, key=None: x[:, :num_classes] + params["w"])
"""


def test_flax_modules_are_scaled_and_functions_see_the_records(tmp_path, monkeypatch):
    raw, schema = load(tmp_path, PIXELS)
    mine = own_module(tmp_path, monkeypatch, FACTORIES)
    own = networks.build(f"{mine}:of_functions", schema)
    np.testing.assert_array_equal(own.apply({"w": 0}, raw.x), raw.x[:, :3])
    module = networks.build(f"{mine}:of_flax", schema)
    params = module.init(jax.random.key(0), raw.x[:1])
    kernel = jax.tree.leaves(params)[1]
    np.testing.assert_allclose(module.apply(params, raw.x), PIXELS / 256 @ kernel, rtol=1e-4, atol=1e-5)


def test_fields_that_a_user_describes_are_scaled_by_the_range_that_they_tell(tmp_path):
    fields = (Field("pixels", "numeric", 0, 12, 0.0, 300.0),)
    data.save(tmp_path / "s.npz", Records(PIXELS.astype(np.float32), Y), Schema("a", "local", "", 3, (12,), fields))
    _, schema = data.load(tmp_path / "s.npz")
    assert (schema.fields[0].zero, schema.fields[0].one) == (0, 300) and "[0, 300]" in schema.notes[-1]
    data.save(tmp_path / "t.npz", Records(PIXELS[:5].astype(np.float32), Y[:5]), schema)  # such as synthesized ones
    again = data.load(tmp_path / "t.npz")[1]
    assert again.fields == schema.fields and again.notes == schema.notes


@pytest.mark.slow
def test_a_run_on_pixels_gives_the_scores_of_one_on_scaled_pixels(tmp_path):
    found = {}
    for name, x in (("raw", PIXELS), ("unit", PIXELS / 256)):
        (tmp_path / f"{name}.npz").write_bytes(npz(x=x, y=Y))
        said = []
        audits.run(config(tmp_path / f"{name}.npz", tmp_path / name), notify=said.append)
        found[name] = dict(np.load(tmp_path / name / "scores.npz"))
        assert ("are scaled from [0, 256]" in said[0]) == (name == "raw")
    for column in found["raw"]:
        np.testing.assert_array_equal(found["raw"][column], found["unit"][column])


def test_the_unit_is_part_of_what_names_a_model(tmp_path, monkeypatch):
    named = []

    def stopped(job, model):
        named.append(job.digest)
        raise InterruptedError

    monkeypatch.setattr(train_networks, "describe_each", stopped)
    _, schema = load(tmp_path, PIXELS)
    for fields in (schema.fields, tuple(f._replace(one=255.0) for f in schema.fields), (Field("a", "numeric", 0, 12),)):
        of_fields = schema._replace(fields=fields)
        pool, key = Records(PIXELS, Y), jax.random.key(0)
        job = TrainingJob("models", Config(model="mlp"), of_fields, pool, "digest", key[None], np.zeros((1, 1), int))
        run = Run(job.config, job.config, artifacts.Workdir(tmp_path, {}), key, print, silent, {})
        with pytest.raises(InterruptedError):
            train_networks.networks(run, job)
    assert len(set(named)) == 3 and named[2] == "digest"


# --- presets, and values that are missing ----------------------------------------------------------------------------


def test_a_file_of_ones_own_is_no_data_set_of_the_paper(tmp_path):
    assert preset("purchase20") == preset("purchase") == preset("purchase100")
    assert preset("purchase")["train_size"] == PRESETS["purchase"]["train_size"]
    for name in ("purchases_2024.npz", "purchase.npz", "purchase100.npz", "purchase_2024", "./purchase10.npz"):
        assert "train_size" not in preset(name), name
    assert load(tmp_path, PIXELS, name="location")[1].name == "location.npz"


def test_missing_values_are_for_models_that_take_them(tmp_path, no_pages):
    x = np.where(RNG.random((N, 12)) < 0.1, np.nan, PIXELS)
    _, schema = load(tmp_path, x)
    assert "values are missing (NaN), in" in schema.notes[0]
    assert not any(np.isnan([f.low, f.high, f.zero, f.one]).any() for f in schema.fields)
    own = tmp_path / "own.npz"
    said = []
    for kind in ("nn", "google", "amazon"):
        records, schema = common.read_records(Config(dataset=str(own), target_kind=kind), said.append)
        assert not np.isnan(records.x).any() and "filled in with the median" in schema.notes[-1] == said[-1]
    tree = "sklearn:sklearn.tree.DecisionTreeClassifier"
    run = Config(dataset=str(own), workdir=str(tmp_path / "b"), target_kind=tree, num_shadows=2, attack_steps=20)
    with pytest.raises(InputError, match="which `shadow_data=noisy` cannot make: fill them in"):
        audits.run(Config(dataset=str(own), workdir=str(tmp_path / "n"), target_kind=tree, shadow_data="noisy"))
    summary = audits.run(run)
    assert summary["target"]["train_accuracy"] == 1 and np.isfinite(summary["attacks"]["shokri"]["auc"]["value"])
