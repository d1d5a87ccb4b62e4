"""A frozen dataclass for each kind of audit says what a run is; ``presets.py`` has the paper's settings by data set.

``audits/flags.py`` makes flags from its fields. Configuration stops in ``audits/``: nothing below is given one.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from mia_jax import attacks
from mia_jax.audits.brought import Brought
from mia_jax.audits.options import (
    FIRST_OPTIONS,
    AttackOptions,
    GroupOptions,
    ProcessOptions,
    QueryOptions,
    RecipeOptions,
    TableOptions,
    about_field,
    check_value,
    option,
    recipe_of,
)
from mia_jax.audits.presets import preset
from mia_jax.data import by_path
from mia_jax.storage import artifacts, places
from mia_jax.synthesis.parameters import REDRAW_HELP, REDRAWS, Parameters
from mia_jax.training import recipes
from mia_jax.types import InputError

SEARCH = Parameters()
ATTACKS_HELP = "attacks, separated by commas, your own as module:entry"
C = TypeVar("C", bound="AuditConfig")


@dataclasses.dataclass(frozen=True)
class AuditConfig(RecipeOptions, AttackOptions, ProcessOptions, GroupOptions):
    """What every kind of audit has: how models are trained, what defends them, and how attacks learn from them."""

    seed: int = option(0, "seed of everything random", low=0)
    model: str | None = option(
        None,
        "network of the target and the shadows: mlp, logistic; of tables tab_resnet, ft_transformer; of images cnn,"
        " resnet18, wrn28_2, wrn16_4, airbench (small and fast), vgg16; or module:factory (your own)",
    )
    hidden: int | str = option(128, "units of the fully connected layer of mlp, cnn; of several as 128,64", low=1)
    target_kind: str = option(
        "nn",
        "what trains the target and the shadows: nn, logistic, google, amazon or amazon(passes,L2) (stand-ins),"
        " sklearn:<import path>, or module:fit, a function fit(x, y, *, seed) that returns predict (or trainer)",
    )
    defenses: str = option(
        "",
        "what the target does to its answers, as in top_k(3),round_to(2); see mia_jax.targets.defenses",
        key="defences",
    )
    l2: float = option(0.0, "the paper's lambda: lambda * sum(theta^2) is added to the loss", low=0)
    dropout: float = option(0.0, "probability that a hidden unit is dropped in training", low=0)
    mixup: float = option(0.0, "alpha of mixup; 0: none", low=0)
    early_stopping: int = option(0, "epochs without a lower validation loss before training ends; 0: none", low=0)
    dp_noise_multiplier: float | None = option(
        None, "DP-SGD: standard deviation of the noise in units of `dp_clip` (default: no DP-SGD)", low=0
    )
    dp_clip: float = option(1.0, "DP-SGD: the per-example clipping norm", low=0)
    dp_delta: float = option(1e-5, "delta of every epsilon, promised by DP-SGD or proven by an attack", low=0)
    attack_options: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        hash=False,
        metadata=about_field("options of attacks that were registered since, by flag", identity=False, flag=False),
    )
    data_dir: str | None = option(None, "folder with official data files (default: $MIA_JAX_DATA_DIR)", identity=False)
    workdir: str | None = option(None, "folder, or s3://bucket/run (default: runs/<data set>-<hash>)", identity=False)
    chunk: int | None = option(
        None, "shadows trained at once (default: chosen from the model and the memory)", identity=False, low=1
    )
    precision: str = option(
        "float32",
        "arithmetic of the networks: float32, bfloat16 (parameters and answers stay float32), or tf32 (NVIDIA GPUs)",
        choices=("float32", "bfloat16", "tf32"),
        late=True,
    )
    lanes: int | None = option(
        None,
        "networks per compiled program, on accelerators (default: the fastest of a few that are timed)",
        identity=False,
        low=1,
    )


@dataclasses.dataclass(frozen=True)
class Shadows:
    """Where an attacker's shadows come from."""

    num_shadows: int | None = option(
        None, "shadow models; more in the same workdir train only what is missing", identity=False, low=1
    )
    shadow_data: str | None = option(
        "real",
        "what the shadows are trained on: real records, noisy ones, marginal (attributes drawn one by one), or search"
        " (synthesized by querying the target, Algorithm 1)",
        choices=("real", "noisy", "marginal", "search"),
    )
    noise: float = option(0.1, "fraction of the attributes that are changed, for `shadow_data=noisy`", low=0)
    marginals: str | None = option(
        None, "an .npz of marginals, for `shadow_data=marginal` (default: counted in the records that the target lacks)"
    )
    shadow_records: int | None = option(
        None, "records that marginal or search make for all shadows to draw from (default: 4 * train_size)", low=2
    )
    class_prior: str = option(
        "balanced",
        "classes of the synthesized records: balanced, or target (as the target answers random records)",
        choices=("balanced", "target"),
    )
    k_max: int = option(SEARCH.k_max, "search: attributes redrawn at first", low=1)
    k_min: int = option(SEARCH.k_min, "search: attributes redrawn at least", low=1)
    conf_min: float = option(SEARCH.conf_min, "search: confidence below which a record is not sampled", low=0)
    rej_max: int = option(SEARCH.rej_max, "search: rejections in a row before fewer attributes are redrawn", low=0)
    iter_max: int = option(SEARCH.iter_max, "search: queries before a search fails", low=1)
    redraw: str = option(REDRAWS[0], REDRAW_HELP, choices=REDRAWS)
    max_queries: int | None = option(
        None, "queries that the synthesis of shadow data may cost (default: any number)", identity=False, low=1
    )
    adaptive: bool = option(True, "the attacker knows the defenses, and trains and reads the shadows under them")


@dataclasses.dataclass(frozen=True)
class Source(TableOptions):
    """Which records a run is on."""

    dataset: str = option("purchase", "one of mia_jax.data.DATASETS, or a file: .csv, .parquet, or .npz with x, y")
    data_source: str = option(
        "auto",
        "official: real files or nothing; simulated: the look-alike; auto: official if to be had",
        choices=("auto", "official", "simulated"),
    )


@dataclasses.dataclass(frozen=True)
class Config(Source, Shadows, AuditConfig):
    """What a run of the paper's attack is.

    ``None`` is the data set's preset; where there is none, ``train_size`` is a quarter of the records.
    """

    attacks: str = option(
        "shokri,confidence,majority",
        f"{ATTACKS_HELP}: those of mia_jax.attacks.ATTACKS that learn from answers about any records",
        identity=False,
    )
    train_size: int | None = option(
        None, "training records of the target and of each shadow; each has as many test records", low=1
    )


@dataclasses.dataclass(frozen=True)
class BalancedConfig(Source, AuditConfig, QueryOptions):
    """What an audit on the balanced plan is: every model in turn the target, the others its shadows."""

    attacks: str = option("all", f"{ATTACKS_HELP}; all: see mia_jax.attacks.ATTACKS", identity=False)
    num_models: int = option(
        64, "models, in complementary pairs; more train only what is missing", identity=False, low=4
    )
    num_targets: int = option(8, "of them that play the target in turn", identity=False, low=1)
    num_records: int | None = option(
        None, "records asked about; each trains half of the models (default: all but the population)", low=8
    )
    population: int | None = option(
        None, "records that train no model, for the attacks that ask for them (default: a tenth, at most 5,000)", low=0
    )
    query_shadows: int = option(4, "shadows of the attacks that ask many questions about each record", low=2)
    query_records: int = option(1000, "records that these attacks are judged on, at most", low=8)


@dataclasses.dataclass(frozen=True)
class CanaryConfig(Source, AuditConfig):
    """What an audit by canaries is: one training run and what it proves; or several, and what each canary tells."""

    canaries: int = option(
        1000, "audit one training run by so many canaries, each among its records by a coin toss", low=16
    )
    canary_kind: str = option(
        "mislabelled",
        "canaries: mislabelled (records with a label drawn from the other classes), clean (as they are), ood (out of"
        " distribution: each attribute another record's); or several, as in clean,mislabelled,ood, as many of each",
    )
    num_models: int = option(1, "models; of 4 or more LiRA judges each canary, too", identity=False, low=1)
    num_targets: int = option(8, "of several models, those that play the target in turn", identity=False, low=1)
    guesses: int | None = option(
        None,
        "canaries that are guessed, the best half in and the worst half out (default: 1, 1/4, 1/16 and 1/64 of them,"
        " corrected for)",
        low=1,
    )
    train_size: int | None = option(
        None, "records that train beside the canaries (default: the preset's, or a half of the others)", low=1
    )


@dataclasses.dataclass(frozen=True)
class DeployedConfig(TableOptions, Shadows, AuditConfig):
    """What the audit of a model is that somebody else has trained: behind a URL, or known by saved predictions."""

    target: str | None = option(None, "URL of the model under audit")
    protocol: str = option(
        "auto",
        "how it is spoken to; auto: told by the URL; json: a POST of instances to the URL as it is",
        choices=("auto", "oip", "vertex", "sagemaker", "mlflow", "json", "google", "amazon"),
    )
    num_classes: int | None = option(None, "classes, where the answers do not show how many there are", low=2)
    class_names: str | None = option(
        None, "names of all classes in the order of the labels 0, 1, ..., separated by commas, where answers have names"
    )
    data: str | None = option(None, "a file with x, y, member (.npz, .csv, .parquet): the records to ask about")
    predictions: str | None = option(
        None,
        "an .npz with labels, target, shadows, shadow_member and perhaps member, without shadows, or with signal,"
        " shadow_signal and shadow_member; or a folder of a plan: all answers were obtained elsewhere",
    )
    shadow_data: str | None = option(
        None,
        "what the shadows are trained on: noisy, marginal, search, or a data set (a name, or a file as `data` is) less"
        " the records of `data` (default: a half of the non-members of `data`, which then are not asked about)",
    )
    shadow_labels: str = option(
        "own",
        "labels of the records that shadows train on: own, which these records have; target: the class that the target"
        " answers, which costs a query for each; target_probabilities: all that it answers",
        choices=("own", "target", "target_probabilities"),
        late=True,
    )
    attacks: str = option("all", f"{ATTACKS_HELP}; all: those that can run on what there is", identity=False)
    max_queries: int | None = option(
        None,
        "records that the target may be asked about, all runs in this workdir together: those of `data` first, then"
        " what labels of shadows and attacks that imitate it need, and the synthesis of shadow data gets the rest. What"
        " reached the service counts, answered or refused, and each further try (default: any number)",
        identity=False,
        low=1,
    )
    rate: float | None = option(None, "requests a second, at most (default: any)", identity=False, low=1e-6)
    rows_per_request: int = option(256, "records in a request, at most", identity=False, low=1)
    in_flight: int = option(4, "requests at once", identity=False, low=1)
    recheck: int = option(
        8,
        "answers of an earlier run that are asked for again before they are used, more where answers are labels or have"
        " one digit; the run ends where the model was replaced. 0: they are trusted",
        identity=False,
        low=0,
    )
    fresh: bool = option(False, "forget the answers of earlier runs and ask all again", identity=False)


@dataclasses.dataclass(frozen=True)
class InProcessConfig(DeployedConfig):
    """What the audit of a model in this process is, as ``mia_jax.audit`` makes it."""

    name: str = option("your records", "what the records are called", flag=False)
    records: str = option("", "digest of records, labels, members, population and saved answers", flag=False)
    brought: Brought | None = dataclasses.field(
        default=None,
        hash=False,
        compare=False,
        metadata=about_field("the model, the records, what trains shadows", identity=False, flag=False),
    )


def resolve(given: C) -> C:
    """Fill in the data set's preset and check every value.

    Raises:
        InputError: for a value out of range, naming the setting.
    """
    settings = {f.name for f in dataclasses.fields(given)}
    dataset = getattr(given, "dataset", "")
    if dataset == "purchase":
        given = dataclasses.replace(given, dataset="purchase100")
    elif by_path.is_file(dataset) and "://" not in dataset:  # ./mine.npz is mine.npz
        given = dataclasses.replace(given, dataset=str(pathlib.Path(dataset)))
    missing = {
        name: value for name, value in preset(dataset).items() if name in settings and getattr(given, name) is None
    }
    config = dataclasses.replace(given, **missing)
    for f in dataclasses.fields(given):
        check_value(f.name, getattr(config, f.name), f.metadata)
    _check_attack_options(config, settings)
    if config.seed >= 2**32:
        raise InputError(f"`seed={config.seed}` must be below 2**32, the seeds that give different random numbers")
    if config.dp_delta >= 1:
        raise InputError(f"`dp_delta={config.dp_delta}` must be below 1; 1e-5 is usual")
    if config.target_kind == "logistic":  # one of our networks
        config = dataclasses.replace(config, target_kind="nn", model="logistic")
    recipes.check(recipe_of(config))
    if config.target_kind != "nn":
        ours = [name for name in TRAINING_DEFENSES if getattr(config, name) != getattr(off(config), name)]
        if ours:
            raise InputError(
                f"`{ours[0]}` is for our own networks; {config.target_kind} trains as it does: leave it out"
            )
    return config


def _check_attack_options(config: AuditConfig, fields: Collection[str]) -> None:
    options = attacks.flags()
    for flag, value in config.attack_options.items():
        if flag in fields:
            raise InputError(f"{flag} is a setting of its own: give {flag}=, not attack_options")
        if flag not in options:
            raise InputError(f"attack_options: no attack has an option with the flag {flag}: register yours first")
        check_value(flag, value, options[flag]._asdict())


TRAINING_DEFENSES = ("l2", "dropout", "label_smoothing", "mixup", "early_stopping", "dp_noise_multiplier")


def off(config: AuditConfig) -> AuditConfig:
    """A configuration without defenses, but with what belongs to the recipe."""
    return AuditConfig(recipe=config.recipe)


def undefended(config: C) -> C:
    """What an attacker believes who does not know of the defenses."""
    return dataclasses.replace(config, defenses="", **{name: getattr(off(config), name) for name in TRAINING_DEFENSES})


def identity(config: AuditConfig) -> dict[str, Any]:
    """The part of a configuration that the results depend on, except for the number of shadows."""
    fields = [f for f in dataclasses.fields(config) if f.metadata["identity"]]
    values = {f.metadata["key"] or f.name: getattr(config, f.name) for f in fields} | dict(config.attack_options)
    options = attacks.flags()
    late = {f.name for f in dataclasses.fields(TableOptions) if values.get(f.name) is None}
    late |= {flag for flag in options if flag not in FIRST_OPTIONS and values.get(flag) == options[flag].default}
    of_recipe = {f.name for f in dataclasses.fields(AuditConfig)}
    late |= {f.name for f in fields if f.metadata["late"] and f.name not in of_recipe and values[f.name] == f.default}
    if config.recipe == "paper":
        late |= {
            f.name
            for f in fields
            if f.metadata["late"] and f.name in of_recipe and getattr(config, f.name) == getattr(off(config), f.name)
        }
    return {name: value for name, value in values.items() if name not in late}


def workdir_identity(config: AuditConfig) -> dict[str, Any]:
    """The identity of a run's workdir: attacks' options count as at their defaults, for no model depends on them.

    So another value of an option finds the models trained; what depends on it names it (``attacks.changed_options``).
    """
    defaults = {flag: option.default for flag, option in attacks.flags().items() if hasattr(config, flag)}
    return identity(dataclasses.replace(config, **defaults, attack_options={}))


def of_identity(kind: type[C], identity: Mapping[str, Any], **rest: Any) -> C:
    """The configuration that has this ``identity``.

    Raises:
        TypeError: a key is no field's.
    """
    fields = {f.name for f in dataclasses.fields(kind)}
    names = {f.metadata["key"]: f.name for f in dataclasses.fields(kind) if f.metadata["key"]}
    values = {names.get(key, key): value for key, value in identity.items()}
    of_attacks = {flag: values.pop(flag) for flag in attacks.flags() if flag in values and flag not in fields}
    return kind(**values, attack_options=of_attacks, **rest)


def attack_settings(config: AuditConfig) -> dict[str, Any]:
    """The values of all options of attacks by flag, as ``attacks.build`` takes them.

    Those that have no field and were not given are left out.
    """
    return {flag: getattr(config, flag) for flag in attacks.flags() if hasattr(config, flag)} | dict(
        config.attack_options
    )


def attack_run(config: AuditConfig, **has: Any) -> dict[str, Any]:
    """What attacks' options may be of a run (``Option.source``).

    These are its settings but for ``model`` and ``population``, and what it ``has``: "schema", "population" (Records),
    "model", "remember".
    """
    return {name: value for name, value in vars(config).items() if name not in ("model", "population")} | has


def network(config: AuditConfig) -> str:
    """The network to train, which a resolved configuration names."""
    assert config.model is not None
    return config.model


def workdir(config: AuditConfig) -> places.Place:
    """Where the run lives: ``config.workdir``, or ``runs/<data>-<hash>``."""
    if config.workdir:
        return places.place(config.workdir)
    deployed = isinstance(config, DeployedConfig)
    about = config.predictions or config.data if deployed else getattr(config, "dataset", None)
    name = pathlib.Path(str(about)).stem
    return pathlib.Path("runs") / f"{name}-{artifacts.digest(workdir_identity(config))[:8]}"
