"""What a run is: presets, ranges, and which part of it names the workdir."""

import dataclasses
import math

import pytest

from mia_jax.audits import config as configs
from mia_jax.audits.config import Config
from mia_jax.data import DATASETS
from mia_jax.storage import artifacts
from mia_jax.types import InputError

FIELDS = {f.name: f for f in dataclasses.fields(Config) if f.metadata["flag"]}


# --- presets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "shadows", "train_size", "model"),
    [  # Shokri et al. 2017, section VI
        ("cifar10", 100, 15_000, "cnn"),
        ("cifar100", 100, 10_520, "cnn"),
        ("purchase", 20, 10_000, "mlp"),
        ("purchase2", 20, 10_000, "mlp"),
        ("location", 60, 1_200, "mlp"),
        ("texas", 10, 10_000, "mlp"),
        ("mnist", 50, 10_000, "mlp"),
        ("adult", 20, 10_000, "mlp"),
        ("mine.npz", 20, None, "mlp"),
    ],
)
def test_presets_are_the_papers(dataset, shadows, train_size, model):
    config = configs.resolve(Config(dataset=dataset))
    assert (config.num_shadows, config.train_size, config.model) == (shadows, train_size, model)


@pytest.mark.parametrize("dataset", DATASETS)
def test_presets_fit_their_data(dataset):
    """Target and shadows are disjoint, and each has as many test as training records."""
    assert 4 * configs.resolve(Config(dataset=dataset)).train_size <= DATASETS[dataset].records


def test_what_is_given_goes_before_a_preset():
    config = configs.resolve(Config(dataset="location", num_shadows=2, train_size=7, model="logistic"))
    assert (config.num_shadows, config.train_size, config.model) == (2, 7, "logistic")


def test_two_names_of_one_data_set_are_one_run():
    assert configs.resolve(Config()) == configs.resolve(Config(dataset="purchase100"))


def test_resolving_twice_changes_nothing():
    once = configs.resolve(Config(dataset="texas", target_kind="logistic"))
    assert configs.resolve(once) == once and (once.target_kind, once.model) == ("nn", "logistic")


# --- values out of range ---------------------------------------------------------------------------------------------

LOW = {name: f.metadata["low"] for name, f in FIELDS.items() if f.metadata["low"] is not None}
ABOVE = {name: f.metadata["above"] for name, f in FIELDS.items() if f.metadata["above"] is not None}
BELOW = {name: low - 1 for name, low in LOW.items()} | ABOVE
CHOICES = [name for name, f in FIELDS.items() if f.metadata["choices"]]
FLOATS = [name for name, f in FIELDS.items() if f.type in (float, float | None)]


def refuse(**changed):
    with pytest.raises(InputError) as error:
        configs.resolve(Config(dataset="location", **changed))
    assert all(f"`{name}" in str(error.value) for name in changed) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", BELOW)
def test_too_small(name):
    refuse(**{name: BELOW[name]})


@pytest.mark.parametrize("name", CHOICES)
def test_no_such_choice(name):
    refuse(**{name: "nothing of the kind"})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_no_finite_number(name, value):
    refuse(**{name: value})


def test_every_number_has_a_lower_end():
    numbers = {name for name, f in FIELDS.items() if f.type in (int, int | None, float, float | None)}
    assert numbers <= BELOW.keys()


@pytest.mark.parametrize("name", ["learning_rate", "attack_learning_rate"])
def test_a_learning_rate_of_nothing(name):
    refuse(**{name: 0.0})


def test_seeds_that_would_be_cut_off():
    """A key holds 32 bits of a seed: seed 2**32 + 1 would silently be seed 1."""
    refuse(seed=2**32)
    assert configs.resolve(Config(seed=2**32 - 1)).seed == 2**32 - 1


@pytest.mark.parametrize("name", configs.TRAINING_DEFENSES)
def test_defenses_in_training_are_for_our_own_networks(name):
    value = 1 if name == "early_stopping" else 0.5
    configs.resolve(Config(dataset="location", **{name: value}))
    with pytest.raises(InputError, match=f"`{name}` is for our own networks; google trains as it does"):
        configs.resolve(Config(dataset="location", target_kind="google", **{name: value}))


# --- what a run is ---------------------------------------------------------------------------------------------------

SHOWN = {
    "num_shadows": 7,
    "max_queries": 7,
    "data_dir": "elsewhere",
    "workdir": "elsewhere",
    "chunk": 7,
    "lanes": 7,
    "jobs": 7,
    "attacks": "loss",
    "group": "town",
}


def other(name):
    """Another value of a field."""
    f = FIELDS[name]
    if f.metadata["choices"]:
        return next(choice for choice in f.metadata["choices"] if choice != f.default)
    if f.type is bool:
        return not f.default
    return "other" if f.type in (str, str | None) else (f.default or 0) + 1


@pytest.mark.parametrize("name", FIELDS)
def test_what_decides_the_results_names_the_run(name):
    """The number of shadows, and what is shown or where, do not: more shadows go on in the same workdir."""
    plain, changed = (configs.identity(Config(**given)) for given in ({}, {name: SHOWN.get(name, other(name))}))
    assert (plain == changed) == (name in SHOWN)
    assert (artifacts.digest(plain) == artifacts.digest(changed)) == (name in SHOWN)


def test_where_a_run_lives():
    config = configs.resolve(Config(dataset="some/where/mine.npz"))
    name = f"runs/mine-{artifacts.digest(configs.identity(config))[:8]}"
    assert str(configs.workdir(config)) == name == str(configs.workdir(dataclasses.replace(config, num_shadows=3)))
    assert str(configs.workdir(dataclasses.replace(config, seed=1))) != name
    assert str(configs.workdir(dataclasses.replace(config, workdir="there"))) == "there"
    assert configs.resolve(Config(dataset="./some//where/mine.npz")) == config


def test_an_attacker_who_knows_no_defense():
    config = Config(defenses="top_k(3)", l2=0.1, dropout=0.5, early_stopping=3, dp_noise_multiplier=1.0, num_epochs=7)
    assert configs.undefended(config) == Config(num_epochs=7)


def test_every_setting_is_explained():
    for name, f in FIELDS.items():
        assert len(f.metadata["help"]) > 8, name


def test_options_of_attacks_do_not_name_the_workdir():
    """Models are found again; what the run is, and its results, name them."""
    plain = configs.resolve(Config())
    changed = dataclasses.replace(plain, attack_steps=9, attack_l2=0.5)
    assert configs.workdir(changed) == configs.workdir(plain)
    assert configs.workdir_identity(changed) == configs.workdir_identity(plain) == configs.identity(plain)
    assert configs.identity(changed) == configs.identity(plain) | {"attack_steps": 9, "attack_l2": 0.5}


def test_an_option_of_a_later_attack_changes_no_identity_at_its_default(monkeypatch):
    """Workdirs from before the attack was there are found again."""
    monkeypatch.setattr(configs, "FIRST_OPTIONS", configs.FIRST_OPTIONS - {"attack_steps"})
    before = configs.identity(Config())
    assert "attack_steps" not in before and "attack_hidden" in before
    changed = configs.identity(Config(attack_steps=9))
    assert changed == before | {"attack_steps": 9}
    assert configs.of_identity(Config, before) == Config() and configs.of_identity(Config, changed).attack_steps == 9
