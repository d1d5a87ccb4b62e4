"""One frozen dataclass is what a run is; presets per data set hold the paper's settings; flags are generated from it.

Configuration stops at ``audit.py``: nothing below it receives a ``Config``.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from mia_jax import artifacts
from mia_jax.types import InputError

# Sizes of training sets and numbers of shadows are the paper's (section VI). Its optimiser (SGD, learning rate 1e-3, decay
# 1e-7, up to 100 or 200 epochs, batch size not told) is not enough: Adam 1e-3, batches of 100, 100 epochs are ours.
PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": dict(num_shadows=100, train_size=15_000, model="cnn"),
    "cifar100": dict(num_shadows=100, train_size=29_540, model="cnn"),
    "purchase": dict(num_shadows=20, train_size=10_000),
    "location": dict(num_shadows=60, train_size=1_200),
    "texas": dict(num_shadows=10, train_size=10_000),
    "mnist": dict(num_shadows=50, train_size=10_000),
    "adult": dict(num_shadows=20, train_size=10_000),
}


OTHERS = dict(num_shadows=20, model="mlp")  # for everybody's own data, and where a preset is silent


def preset(dataset: str) -> dict[str, Any]:
    """The settings for a data set where the user gives none; ``purchase20`` and the like share Purchase's."""
    return OTHERS | PRESETS.get("purchase" if dataset.startswith("purchase") else dataset, {})


def _option(
    default: Any, help: str, *, identity: bool = True, choices: tuple[str, ...] = (), low: float | None = None
) -> Any:
    """A field. ``identity``: part of what the run is, so of the workdir's name; the rest is how it is shown or done."""
    return dataclasses.field(default=default, metadata=dict(help=help, identity=identity, choices=choices, low=low))


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run is. ``None``: the data set's preset; without a preset, ``train_size`` is a quarter of the records."""

    dataset: str = _option(
        "purchase", "data set: one of mia_jax.data.DATASETS, or the path of an .npz with arrays x, y"
    )
    data_source: str = _option(
        "auto",
        "official: real files or nothing; simulated: the look-alike; auto: official if to be had",
        choices=("auto", "official", "simulated"),
    )
    seed: int = _option(0, "seed of everything random", low=0)
    train_size: int | None = _option(
        None, "training records of the target and of each shadow; each has as many test records", low=1
    )
    model: str | None = _option(
        None, "network of the target and the shadows: mlp, cnn, logistic, or module:factory (your own)"
    )
    hidden: int = _option(128, "units of the fully connected layer of mlp and cnn", low=1)
    num_epochs: int = _option(100, "passes over the training set", low=1)
    batch_size: int = _option(100, "records per training step", low=1)
    learning_rate: float = _option(1e-3, "learning rate", low=0)
    learning_rate_decay: float = _option(
        0.0, "the rate at step t is learning_rate / (1 + t * decay); the paper has 1e-7", low=0
    )
    optimizer: str = _option("adam", "optimizer; the paper has sgd", choices=("adam", "sgd"))
    attack_hidden: int = _option(64, "ReLU units of each class's attack network", low=1)
    attack_epochs: int = _option(30, "passes over the attack's training rows", low=1)
    attack_batch_size: int = _option(128, "rows per training step of the attack networks", low=1)
    attack_learning_rate: float = _option(1e-3, "Adam's learning rate for the attack networks", low=0)
    attack_rows: int = _option(
        8192, "rows per class that the attack networks learn from; sampled where there are more", low=2
    )
    num_shadows: int | None = _option(
        None, "shadow models; more in the same workdir train only what is missing", identity=False, low=1
    )
    data_dir: str | None = _option(None, "folder with official data files (default: $MIA_JAX_DATA_DIR)", identity=False)
    workdir: str | None = _option(
        None, "folder of this run (default: runs/<dataset>-<hash of the configuration>)", identity=False
    )
    chunk: int | None = _option(
        None, "shadows trained at once (default: chosen from the model and the memory)", identity=False, low=1
    )


def resolve(given: Config) -> Config:
    """Fill in the data set's preset and check every value.

    Raises:
        InputError: for a value out of range, naming the flag.
    """
    if given.dataset == "purchase":
        given = dataclasses.replace(given, dataset="purchase100")
    missing = {name: value for name, value in preset(given.dataset).items() if getattr(given, name) is None}
    config = dataclasses.replace(given, **missing)
    for f in dataclasses.fields(Config):
        value, meta = getattr(config, f.name), f.metadata
        if meta["choices"] and value not in meta["choices"]:
            raise InputError(f"--{f.name}={value} is not one of {', '.join(meta['choices'])}")
        if meta["low"] is not None and value is not None and not value >= meta["low"]:
            raise InputError(f"--{f.name}={value} must be at least {meta['low']}")
    if config.learning_rate <= 0 or config.attack_learning_rate <= 0:
        raise InputError("--learning_rate and --attack_learning_rate must be above 0")
    return config


def identity(config: Config) -> dict[str, Any]:
    """The part of a configuration that the results depend on, except for the number of shadows."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(Config) if f.metadata["identity"]}


def workdir(config: Config) -> pathlib.Path:
    """Where the run lives: ``--workdir``, or ``runs/<dataset>-<hash>``."""
    if config.workdir:
        return pathlib.Path(config.workdir)
    name = pathlib.Path(config.dataset).stem
    return pathlib.Path("runs") / f"{name}-{artifacts.digest(identity(config))[:8]}"


def define_flags(flags) -> Callable[[], Config]:
    """Define one absl flag per field in ``flags`` (the module ``absl.flags``); returns what reads them back.

    Scripts call this; importing the library defines no flag.
    """
    define = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    for f in dataclasses.fields(Config):
        kind = next(k for k in (int, float, str) if f.type in (k, k | None))
        define[kind](f.name, f.default, f.metadata["help"])
    return lambda: Config(**{f.name: flags.FLAGS[f.name].value for f in dataclasses.fields(Config)})
