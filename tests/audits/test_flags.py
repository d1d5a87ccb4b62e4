"""Flags: made from what a run is, read back, and refused where they mean nothing."""

import dataclasses
import functools
import types

import pytest
from absl import flags as absl_flags

from mia_jax.audits import flags as given
from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig, resolve
from mia_jax.synthesis.parameters import Parameters
from mia_jax.types import InputError

AUDITS = (BalancedConfig, DeployedConfig, CanaryConfig)
NAMES = {f.name for kind in (Config, *AUDITS) for f in dataclasses.fields(kind)}


def defined(*kinds):
    """Flags of their own, away from the process's, and what reads them back."""
    values = absl_flags.FlagValues()
    define = {
        name: functools.partial(getattr(absl_flags, name), flag_values=values)
        for name in ("DEFINE_bool", "DEFINE_integer", "DEFINE_float", "DEFINE_string", "DEFINE_alias")
    }
    return values, given.define_flags(types.SimpleNamespace(**define, FLAGS=values), *kinds)


@pytest.fixture
def parse():
    def parse(*argv, kinds=(Config,)):
        values, read = defined(*kinds)
        values(["script", *argv])
        return read

    return parse


def shown(error):
    """The line as scripts print it."""
    return given.as_flags(str(error.value), NAMES)


def test_flags_without_arguments_are_the_defaults(parse):
    assert parse()(Config) == Config()


def test_flags_are_read_back(parse):
    config = parse("--dataset=adult", "--num_shadows=3", "--learning_rate=.5", "--l2=.1", "--noadaptive")
    assert config(Config) == Config(dataset="adult", num_shadows=3, learning_rate=0.5, l2=0.1, adaptive=False)


@pytest.mark.parametrize("kind", [Config, BalancedConfig, DeployedConfig])
def test_what_trains_has_two_names(parse, kind):
    where = ["--target=http://host/v1/models/m", "--data=mine.npz"] if kind is DeployedConfig else []
    for name in ("target_kind", "trainer"):
        assert parse(f"--{name}=mine:fit", *where, kinds=(kind,))(kind).target_kind == "mine:fit"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`l2=-1.0` must be at least 0", "--l2=-1.0 must be at least 0"),
        ("`target` needs `data`: an .npz", "--target needs --data: an .npz"),
        ("`defenses='temperature(2)'` divides", "--defenses='temperature(2)' divides"),
        ("the service says `nothing` of `x=1`", "the service says `nothing` of `x=1`"),
    ],
)
def test_settings_that_messages_name_are_shown_as_flags(text, shown):
    assert given.as_flags(text, {"l2", "target", "data", "defenses"}) == shown


def test_help_names_flags():
    values, _ = defined(Config, *AUDITS)
    assert "for --shadow_data=noisy" in values["noise"].help
    assert "`" not in "".join(values[name].help for name in values)


def test_single_flags_override_a_recipe(parse):
    config = parse("--recipe=fast", "--batch_size=100", "--nonesterov", "--label_smoothing=0", "--warmup=.1")(Config)
    assert (config.batch_size, config.nesterov, config.label_smoothing, config.warmup) == (100, False, 0.0, 0.1)
    assert (config.momentum, config.image_augmentation) == (0.85, "flip,crop(2)")


def test_hidden_layers_are_one_number_or_several(parse):
    assert [parse(*argv)(Config).hidden for argv in ([], ["--hidden=64"], ["--hidden=64,32"])] == [128, 64, "64,32"]
    with pytest.raises(InputError, match=r"^`hidden=64,x`: give the units of each layer, as 128 or 128,64$"):
        resolve(parse("--hidden=64,x")(Config))
    with pytest.raises(InputError, match=r"^`hidden=0` must be at least 1$"):
        resolve(parse("--hidden=0")(Config))


@pytest.mark.parametrize("argv", [["--nothing=1"], ["--num_shadows=many"], ["--learning_rate=fast"]])
def test_flags_that_absl_refuses(parse, argv):
    with pytest.raises(absl_flags.Error):
        parse(*argv)


@pytest.mark.parametrize(
    ("flag", "kind", "where"),
    [
        ("num_records", CanaryConfig, "with --canaries"),
        ("target", CanaryConfig, "with --canaries"),
        ("dataset", DeployedConfig, "with --target or --predictions"),
        ("guesses", BalancedConfig, "without --canaries"),
        ("rate", BalancedConfig, "without --target"),
        ("predictions", BalancedConfig, "without --predictions"),
    ],
)
def test_a_flag_of_another_kind_of_audit(parse, flag, kind, where):
    read = parse("--seed=3", kinds=AUDITS)
    assert read(kind) == kind(seed=3)
    with pytest.raises(InputError) as error:
        parse("--seed=3", f"--{flag}=7", kinds=AUDITS)(kind)
    assert shown(error) == f"--{flag} has no meaning {where}: leave it out"


def test_a_default_of_each_kind_is_its_own(parse):
    read = parse("--seed=3", kinds=AUDITS)
    assert (read(BalancedConfig).num_models, read(CanaryConfig).num_models) == (64, 1)
    read = parse("--num_models=16", kinds=AUDITS)
    assert (read(BalancedConfig).num_models, read(CanaryConfig).num_models) == (16, 16)


# --- flags that mean nothing beside the others -----------------------------------------------------------------------

VALUES = {
    "shadow_labels": "target",
    "model": "cnn",
    "class_prior": "target",
    "data_source": "official",
    "data_dir": "d",
    "optimizer": "sgd",
}
VALUES |= {"recipe": "lira", "schedule": "cosine", "image_augmentation": "flip"}
VALUES |= {"marginals": "m.npz", "shadow_data": "noisy", "num_shadows": "3", "protocol": "oip", "dataset": "adult"}
SEARCH = ("class_prior", "k_max", "k_min", "conf_min", "rej_max", "iter_max")
TRAINED = ("num_epochs", "batch_size", "learning_rate", "learning_rate_decay", "optimizer", "chunk", "l2", "dropout")
TRAINED += ("recipe", "momentum", "schedule", "weight_decay", "ema", "image_augmentation")
NETWORKS = ("attack_hidden", "attack_steps", "attack_batch_size", "attack_learning_rate", "attack_l2")

MODES = [  # a kind of run, flags that set the mode, flags without a meaning there, words, flags that give it one
    (Config, "", ("noise",), "without --shadow_data=noisy", "--shadow_data=noisy"),
    (Config, "--shadow_data=search", ("noise",), "without --shadow_data=noisy", "--shadow_data=noisy"),
    (Config, "", ("marginals",), "without --shadow_data=marginal", "--shadow_data=marginal"),
    (Config, "", SEARCH, "without --shadow_data=search", "--shadow_data=search"),
    (Config, "--shadow_data=marginal", SEARCH, "without --shadow_data=search", "--shadow_data=search"),
    (Config, "", ("shadow_records", "max_queries"), "without --shadow_data=marginal or search", "--shadow_data=search"),
    (Config, "--target_kind=google", ("model", "hidden", *TRAINED), "without --target_kind=nn", "--target_kind=nn"),
    (Config, "--target_kind=logistic", ("model",), "with --target_kind=logistic", ""),
    (Config, "--target_kind=logistic", ("hidden",), "without --model=mlp or cnn", "--model=cnn"),
    (Config, "--model=mine:net", ("hidden",), "without --model=mlp or cnn", "--model=mlp"),
    (Config, "", ("dp_clip", "dp_delta"), "without --dp_noise_multiplier", "--dp_noise_multiplier=1"),
    (Config, "", ("adaptive",), "without a defense", "--defenses=label_only"),
    (Config, "--dataset=mine.npz", ("data_dir", "data_source"), "with a file as --dataset", "--dataset=texas"),
    (BalancedConfig, "--target_kind=amazon", TRAINED, "without --target_kind=nn", "--target_kind=logistic"),
    (
        BalancedConfig,
        "--target_kind=amazon --attacks=loss",
        ("model", "hidden"),
        "without --target_kind=nn, our own networks, or trajectory, glira, imia or imia_adaptive among --attacks",
        "--target_kind=amazon --attacks=trajectory",
    ),
    (BalancedConfig, "", ("dp_clip",), "without --dp_noise_multiplier", "--dp_noise_multiplier=1"),
    (BalancedConfig, "--attacks=lira,rmia", NETWORKS, "without shokri among --attacks", "--attacks=loss,shokri"),
    (BalancedConfig, "--attacks=loss", ("num_queries",), "without label_only among", "--attacks=label_only"),
    (BalancedConfig, "--attacks=loss", ("augment",), "without lira, ", "--attacks=bavaria_offline"),
    (BalancedConfig, "--attacks=loss", ("query_shadows", "query_records"), "without label_only, boundary", ""),
    (BalancedConfig, "--attacks=all", ("cascade_rounds",), "without cmia among --attacks", "--attacks=all,cmia"),
    (CanaryConfig, "--canaries=100", (*NETWORKS, "attack_rows", "chunk"), "with --canaries", None),
    (CanaryConfig, "--canaries=100", ("dp_clip",), "without --dp_noise_multiplier", "--dp_noise_multiplier=1"),
    (
        DeployedConfig,
        "--predictions=p.npz",
        ("target", "data", "model", "num_epochs", "shadow_data", "num_shadows", "max_queries", "rate"),
        "with --predictions",
        "--target=u",
    ),
    (DeployedConfig, "--predictions=p.npz", ("adaptive",), "without --predictions and --defenses", None),
    (
        DeployedConfig,
        "--target=u --defenses=label_only",
        ("adaptive",),
        "without --predictions and --defenses",
        "--predictions=p.npz --defenses=label_only",
    ),
    (DeployedConfig, "--target=u", (*SEARCH, "shadow_records"), "without --shadow_data=", "--shadow_data=search"),
    (DeployedConfig, "--target=u --attacks=loss", NETWORKS, "without shokri among --attacks", "--target=u"),
    (DeployedConfig, "--target=u --target_kind=google", ("model", *TRAINED), "without --target_kind=nn", "--target=u"),
    (
        DeployedConfig,
        "--target=u --target_kind=google --attacks=all",
        ("hidden",),
        "without --target_kind=nn, our own networks, or glira or imia among --attacks",
        "--target=u --target_kind=google --attacks=all,imia",
    ),
    (DeployedConfig, "--target=u --shadow_data=search", ("shadow_labels",), "with --shadow_data=", "--target=u"),
    (DeployedConfig, "--target=u", ("data_dir",), "without the name of a data set", "--target=u --shadow_data=adult"),
    (DeployedConfig, "--target=u --shadow_data=o.npz", ("data_dir",), "without the name of a data set", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mode", "flag", "where", "meant"),
    [(kind, mode, flag, where, meant) for kind, mode, flags, where, meant in MODES for flag in flags],
)
def test_a_flag_that_means_nothing_is_refused(parse, kind, mode, flag, where, meant):
    kinds = AUDITS if kind in AUDITS else (Config,)
    value = VALUES.get(flag, "1")
    argument = f"--{flag}" if flag == "adaptive" else f"--{flag}={value}"
    with pytest.raises(InputError) as error:
        parse(*mode.split(), argument, kinds=kinds)(kind)
    assert shown(error).startswith(f"--{flag} has no meaning {where}")
    assert shown(error).endswith(": leave it out") and "\n" not in shown(error)
    parse(*mode.split(), kinds=kinds)(kind)  # the mode alone can be
    if meant is not None:
        assert str(getattr(parse(*meant.split(), argument, kinds=kinds)(kind), flag)) in (value, f"{value}.0", "True")


def test_given_values_count_and_not_their_difference_from_the_default(parse):
    """``--noise=0.1`` is refused although 0.1 it is; in Python the same value is none that was given."""
    with pytest.raises(InputError, match=r"^`noise` has no meaning without `shadow_data=noisy`: leave it out$"):
        parse(f"--noise={Config().noise}")(Config)


@pytest.mark.parametrize("kind", given.RULES)
def test_the_tables_speak_of_fields(kind):
    told = {name for rule in given.RULES[kind] for name in rule.flags} - {"give_up", "searches"}
    assert told - {f.name for f in dataclasses.fields(kind)} == set()


def test_every_parameter_of_the_search_is_in_the_table():
    assert {*Parameters._fields} < {*given.SEARCH}


@pytest.mark.parametrize(
    ("rules", "values", "idle"),
    [
        (given.SYNTHESIZE, dict(method="search"), {"noise", "marginals"}),
        (given.SYNTHESIZE, dict(method="marginal"), {"noise", *given.SEARCH}),
        (given.SYNTHESIZE, dict(method="noisy"), {"marginals", "max_queries", *given.SEARCH}),
        (given.SERVE, dict(label_only=True), {"top_k", "digits"}),
        (given.SERVE, dict(label_only=False), set()),
        (given.REPRODUCE, dict(list=True, all=False), {"experiment", "all", "scale", "root", "data_dir"}),
        (given.REPRODUCE, dict(list=False, all=True), {"experiment"}),
        (given.REPRODUCE, dict(list=False, all=False), set()),
    ],
)
def test_the_other_scripts(rules, values, idle):
    names = {name for rule in rules for name in rule.flags} - {"shadow_records"}  # train.py's
    assert given.idle(rules, sorted(names), types.SimpleNamespace(**values)).keys() == idle
