"""Fields of configurations: what is said of each, those that the options of attacks bring, and those of recipes."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mia_jax import attacks
from mia_jax.attacks.entries import ANSWERS
from mia_jax.models.paper import layer_widths
from mia_jax.training import augmentations, recipes, schedules
from mia_jax.types import InputError

LARGEST = 1e38  # of a number that is given: what computes with it computes in float32


def about_field(
    help: str,
    *,
    identity: bool = True,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    above: float | None = None,
    key: str | None = None,
    flag: bool = True,
    late: bool = False,
) -> dict[str, Any]:
    """Metadata of a field of a configuration.

    Args:
        help: of its flag.
        identity: part of what the run is, so of the workdir's name; the rest is how it is shown or done.
        choices: the values that it may have; any, where there are none.
        low: the least that it may be.
        above: what it must exceed.
        key: its name in JSON, where that is another: results.json keeps its keys.
        flag: whether it has one.
        late: it was added after the first workdirs were written: part of what the run is only where it is not at its
            default.
    """
    return dict(help=help, identity=identity, choices=choices, low=low, above=above, key=key, flag=flag, late=late)


def option(default: Any, help: str, **about: Any) -> Any:
    """A field; ``about`` as of ``about_field``."""
    return dataclasses.field(default=default, metadata=about_field(help, **about))


def check_value(name: str, value: Any, about: Mapping[str, Any]) -> None:
    """Raise InputError for a value that is none of the ``choices``, below ``low``, not ``above``, or no number."""
    if about["choices"] and value not in about["choices"]:
        raise InputError(f"`{name}={value}` is not one of {', '.join(about['choices'])}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"`{name}={value}` must be a finite number")
    if isinstance(value, float) and abs(value) > LARGEST:
        raise InputError(f"`{name}={value}` must be at most {LARGEST:g}, where float32 ends soon")
    least = min(layer_widths(value)) if name == "hidden" and isinstance(value, str) else value
    if isinstance(least, str) and (about["low"], about["above"]) != (None, None):
        raise InputError(f"`{name}={value!r}` is text, and a number is needed: leave the quotation marks out")
    if about["low"] is not None and value is not None and not least >= about["low"]:
        raise InputError(f"`{name}={value}` must be at least {about['low']}")
    if about["above"] is not None and value is not None and not value > about["above"]:
        raise InputError(f"`{name}={value}` must be above {about['above']}")


def _of_attacks(beyond_answers: bool) -> list[tuple[str, Any, Any]]:
    """Fields (name, type, field) for the options of attacks that flags set (``mia_jax.attacks.ATTACKS``).

    Args:
        beyond_answers: those of attacks that need more than plain answers, as queries of their own; or the others.
    """
    fields = {}
    for entry in attacks.ATTACKS.values():
        for flag, o in entry.flags().items():
            if beyond_answers == bool((entry.needed() | o.needs) - ANSWERS):
                kind = o.type if o.default is not None else o.type | None
                field = option(o.default, o.help, choices=o.choices, low=o.low, above=o.above)
                fields[flag] = (flag, kind, field)
    return [*fields.values()]


# Options of attacks that are always part of a run's identity, as they were when the first workdirs were written. One
# that came later counts where it is not at its default: a new attack changes nobody's workdir.
FIRST_OPTIONS = frozenset(
    {
        "attack_batch_size",
        "attack_hidden",
        "attack_l2",
        "attack_learning_rate",
        "attack_rows",
        "attack_steps",
        "augment",
        "num_queries",
    }
)

# ``attack_hidden``, ``attack_steps``, ...
AttackOptions: Any = dataclasses.make_dataclass("AttackOptions", _of_attacks(beyond_answers=False), frozen=True)
# ``augment``, ``num_queries``, ...: where there are models to be asked as often as it takes
if TYPE_CHECKING:  # two bases that may be anything have no order

    class QueryOptions: ...
else:
    QueryOptions = dataclasses.make_dataclass("QueryOptions", _of_attacks(beyond_answers=True), frozen=True)


@dataclasses.dataclass(frozen=True)
class GroupOptions:
    """By what measures are told besides classes."""

    group: str | None = option(
        None,
        "a column of the records by which measures are told, too: its groups are values, or quarters of numbers",
        identity=False,
    )


@dataclasses.dataclass(frozen=True)
class ProcessOptions:
    """In how many processes models of other libraries are trained."""

    jobs: int = option(
        1,
        "processes that train models, each one at a time, with `target_kind=module:fit` or sklearn:...",
        identity=False,
        low=1,
    )


# --- how networks are trained ----------------------------------------------------------------------------------------

RECIPE = tuple(f.name for f in dataclasses.fields(recipes.Recipe))  # settings that a recipe decides
PAPER = recipes.paper()


def of_recipe(name: str, help: str, **about: Any) -> Any:
    """A field whose value is the recipe's, where none is given."""
    of_paper = getattr(PAPER, name)
    shown = {"": "none", True: "yes", False: "no"}.get(of_paper, of_paper) if of_paper != 0 or of_paper is False else 0
    return option(None, f"{help} (default: the recipe's; paper: {shown})", **about)


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """How networks are trained: a recipe, and what is given in its place.

    What a recipe decides (``RECIPE``) is the recipe's where it is not given. Who changes the recipe of a configuration
    makes a new one: ``dataclasses.replace`` keeps the values.
    """

    recipe: str = option(
        "paper",
        "how networks are trained, where no flag says otherwise: paper (Adam, as ever here), lira (Carlini et al."
        " 2022), rmia (Zarifzadeh et al. 2024), fast (after airbench), revisiting (Jebreel et al. 2026, for Purchase)",
        choices=tuple(recipes.RECIPES),
        late=True,
    )
    num_epochs: int = of_recipe("num_epochs", "passes over the training set", low=1)
    batch_size: int = of_recipe("batch_size", "records per training step", low=1)
    learning_rate: float = of_recipe("learning_rate", "learning rate, at the peak of the schedule", above=0)
    learning_rate_decay: float = of_recipe(
        "learning_rate_decay", "the rate at step t is divided by 1 + t * decay; the paper has 1e-7", low=0
    )
    optimizer: str = of_recipe("optimizer", "sgd (the paper's), adam, adamw, lamb, or another of optax by its name")
    momentum: float = of_recipe("momentum", "momentum of sgd", low=0, late=True)
    nesterov: bool = of_recipe("nesterov", "momentum is Nesterov's", late=True)
    schedule: str = of_recipe(
        "schedule",
        f"how the learning rate changes over the training: {', '.join(schedules.SCHEDULES)}; with arguments as in"
        " cosine(0.1), triangular(0.23,0.2,0.07) or piecewise(0.5,0.75)",
        late=True,
    )
    warmup: float = of_recipe("warmup", "share of the steps over which the rate rises from 0", low=0, late=True)
    weight_decay: float = of_recipe(
        "weight_decay",
        "as torch has it: of sgd and adam part of the gradient (half of it is `l2`), of adamw and lamb beside it",
        low=0,
        late=True,
    )
    decay_biases: bool = of_recipe("decay_biases", "weights of one axis, as biases and norms, decay too", late=True)
    grad_clip: float = of_recipe("grad_clip", "the largest norm of a step's gradient; 0: any", low=0, late=True)
    ema: float = of_recipe(
        "ema",
        "the network is the moving average of its parameters with this decay, as 0.999; 0: none",
        low=0,
        late=True,
    )
    image_augmentation: str = of_recipe(
        "image_augmentation",
        f"what training does to images, one after the other: {', '.join(augmentations.AUGMENTATIONS)}, as in"
        " flip,crop(4); none",
        late=True,
    )
    label_smoothing: float = of_recipe("label_smoothing", "share of the label that goes to all classes alike", low=0)

    def __post_init__(self) -> None:
        known = recipes.named(self.recipe) if self.recipe in recipes.RECIPES else PAPER  # ``resolve`` refuses others
        # Another optimizer than the recipe's has no use for its momentum.
        own = known if self.optimizer in (None, known.optimizer) else PAPER
        for name in RECIPE:
            if getattr(self, name) is None:
                value = getattr(own if name in ("momentum", "nesterov") else known, name)
                object.__setattr__(self, name, value)


def recipe_settings(config: RecipeOptions) -> dict[str, Any]:
    """The recipe by its name, and what it came to."""
    return {name: getattr(config, name) for name in ("recipe", *RECIPE)}


def recipe_of(config: RecipeOptions) -> recipes.Recipe:
    """How the networks are trained, without what defends them."""
    return recipes.Recipe(**{name: getattr(config, name) for name in RECIPE})


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """How a user's table (.csv, .parquet) is read; no part of what a run is where nothing is said."""

    label: str | None = option(
        None,
        "column of the labels in a .csv or .parquet (default: the one called label, target, class or y); of a one-hot"
        " code all of its columns, as in is_cat,is_dog,is_eel",
    )
    kinds: str | None = option(
        None,
        "columns of a .csv or .parquet that are not what they look like: number, category, binary or drop, as in"
        " zip:category,id:drop",
    )
