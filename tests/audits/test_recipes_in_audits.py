"""Recipes as settings of an audit: what a flag overrides, what names the run, what is refused, what is told."""

import dataclasses

import pytest
from small_runs import config

from mia_jax import audits
from mia_jax.audits import config as configs
from mia_jax.audits import options, train_networks
from mia_jax.audits.config import BalancedConfig, Config
from mia_jax.training import recipes
from mia_jax.types import InputError


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_configuration_has_its_recipes_values(name):
    assert options.recipe_of(Config(recipe=name)) == recipes.named(name)


def test_single_settings_override_the_recipe_even_by_the_papers_values():
    config = Config(recipe="fast", batch_size=100, nesterov=False, ema=0.5, label_smoothing=0.0, image_augmentation="")
    changed = dict(batch_size=100, nesterov=False, ema=0.5, label_smoothing=0.0, image_augmentation="")
    assert options.recipe_of(config) == dataclasses.replace(recipes.fast(), **changed)
    assert configs.resolve(dataclasses.replace(config, dataset="location")).momentum == 0.85


def test_another_optimizer_has_no_use_for_the_recipes_momentum():
    config = Config(recipe="fast", optimizer="adamw", learning_rate=1e-3)
    recipes.check(options.recipe_of(config))
    assert (config.momentum, config.nesterov, config.weight_decay) == (0, False, recipes.fast().weight_decay)
    assert Config(recipe="fast", optimizer="rmsprop", momentum=0.5).momentum == 0.5


def test_the_papers_recipe_names_runs_and_networks_as_before_there_were_recipes():
    """Settings that came later are part of what a run is where they are not as they were."""
    late = {f.name for f in dataclasses.fields(Config) if f.metadata["late"]}
    assert {"recipe", "momentum", "image_augmentation"} <= late and "batch_size" not in late
    assert not late & {*configs.identity(Config())}
    assert not late & {*train_networks.training_description(Config(model="mlp"), "digest")}
    assert {"recipe", "momentum", "nesterov"} <= {*configs.identity(Config(recipe="lira"))}
    assert late & {*configs.identity(Config(weight_decay=1e-3))} == {"weight_decay"}


@pytest.mark.parametrize("given", [{}, dict(recipe="lira", momentum=0.0), dict(ema=0.9), dict(recipe="rmia")])
def test_an_identity_is_read_back(given):
    config = Config(**given)
    found = configs.of_identity(Config, configs.identity(config), num_shadows=config.num_shadows)
    assert configs.identity(found) == configs.identity(config) and found.momentum == config.momentum


def test_a_network_is_named_by_what_trained_it_and_not_by_the_recipes_name():
    by_hand = {name: getattr(recipes.lira(), name) for name in options.RECIPE}
    one, other = (
        train_networks.training_description(Config(model="mlp", **given), "")
        for given in (dict(recipe="lira"), by_hand)
    )
    assert one == other and one["momentum"] == 0.9


def test_who_does_not_know_the_defenses_knows_the_recipe():
    undefended = configs.undefended(Config(recipe="fast", label_smoothing=0.5, mixup=0.2))
    assert (undefended.label_smoothing, undefended.mixup) == (0.2, 0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(recipe="lyra"), "`recipe=lyra` is not one of paper, lira, rmia, fast, revisiting"),
        (dict(optimizer="sdg"), "^there is no optimizer 'sdg'"),
        (dict(schedule="cosin"), "^there is no schedule 'cosin'"),
        (dict(momentum=0.9), "^`momentum` is for sgd, and the optimizer adam has none"),
        (dict(weight_decay=-1.0), "`weight_decay=-1.0` must be at least 0"),
        (dict(image_augmentation="crops"), "^there is no image augmentation 'crops'"),
    ],
)
def test_what_is_refused_before_any_work(given, message):
    with pytest.raises(InputError, match=message) as error:
        configs.resolve(BalancedConfig(dataset="location", **given))
    assert "\n" not in str(error.value)


def test_images_are_augmented_and_tables_are_not():
    table, image = (446,), (32, 32, 3)
    lira, asked = Config(recipe="lira"), Config(image_augmentation="flip")
    told = []
    lira = dataclasses.replace(lira, ema=0.0)
    assert train_networks.fitting(lira, table, 1000, told.append).image_augmentation == ""
    assert len(told) == 1 and told[0].startswith("`recipe=lira` augments images")
    assert train_networks.fitting(lira, image, 1000, told.append) == lira and len(told) == 1
    with pytest.raises(InputError, match=r"^`image_augmentation` is for images, .* shape \(446,\): leave it out"):
        train_networks.fitting(asked, table, 1000)


def test_an_average_over_more_steps_than_there_are_is_told():
    told = []
    train_networks.fitting(Config(recipe="lira", num_epochs=6, batch_size=32), (32, 32, 3), 200, told.append)
    assert len(told) == 1 and told[0].startswith(
        "note: `ema=0.999` averages over 1,000 steps, and the training has 42:"
    )
    train_networks.fitting(Config(recipe="lira"), (32, 32, 3), 25_000, told.append)
    train_networks.fitting(Config(), (32, 32, 3), 200, told.append)
    assert len(told) == 1


def test_an_augmentation_of_a_table_ends_an_audit_before_it_trains(own, tmp_path):
    with pytest.raises(InputError, match=r"^`image_augmentation` is for images"):
        audits.run(config(own, tmp_path / "run", image_augmentation="flip"))
    assert not list((tmp_path / "run").rglob("*.npz"))


@pytest.mark.integration
def test_results_say_what_the_recipe_came_to(own, tmp_path):
    """A run by a recipe, to its report."""
    given = dict(recipe="lira", num_epochs=2, batch_size=10, attacks="confidence", num_shadows=2)
    results = audits.run(config(own, tmp_path / "run", **given))
    found = results["config"]
    assert (found["recipe"], found["schedule"], found["momentum"], found["batch_size"]) == ("lira", "fixmatch", 0.9, 10)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "fixmatch" in page and "lira" in page
    assert 0.2 < results["target"]["train_accuracy"] <= 1
