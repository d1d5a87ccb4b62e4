"""How networks are trained, as values: optimizer, learning rate, weight decay, augmentation, by the papers that say so.

A ``Recipe`` is data; optax does the work. ``RECIPES`` has those of papers by name, ``dataclasses.replace`` changes one,
and ``make_trainer`` puts it together with a network and with what defends it (``regularizers.make_trainer``):

>>> import mia_jax as mia
>>> recipe = dataclasses.replace(lira(), num_epochs=20, ema=0.0)
>>> trainer = make_trainer(mia.models.cnn(num_classes=10), recipe, records=25_000, mixup=0.2)
"""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mia_jax.training import augmentations, regularizers, schedules
from mia_jax.types import InputError, Model, Trainer

DECOUPLED = "weight_decay"  # the argument of optax's optimizers that decay weights beside the gradient


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained; with the defaults as this library does where nothing else is asked for."""

    optimizer: str = "adam"  # of optax, by name
    learning_rate: float = 1e-3  # at the peak of the schedule
    learning_rate_decay: float = 0.0  # by the step: the rate at step t is divided by 1 + t * this
    momentum: float = 0.0  # of optimizers that have it
    nesterov: bool = False
    schedule: str = "constant"  # as ``schedules.parse`` reads it
    warmup: float = 0.0  # share of the steps over which the rate rises from 0
    # sgd, adam: the gradient of weight_decay / 2 * sum(theta^2), added to the loss's, as torch does (so l2, which has
    # no 1 / 2, is half of it). Optimizers that decay by themselves (adamw, lamb, lion): theirs.
    weight_decay: float = 0.0
    decay_biases: bool = False  # and scales and offsets of norms: whatever has one axis
    grad_clip: float = 0.0  # the largest global norm of a step's gradient, before decay; 0: any
    ema: float = 0.0  # decay of the average of parameters that answers; 0: none, the parameters as trained
    label_smoothing: float = 0.0
    image_augmentation: str = ""  # as ``augmentations.parse`` reads it
    batch_size: int = 100
    num_epochs: int = 100

    def steps(self, records: int) -> int:
        """Steps of the whole training on so many records."""
        return self.num_epochs * -(-records // max(1, min(self.batch_size, records)))


# --- recipes of papers -----------------------------------------------------------------------------------------------


def paper() -> Recipe:
    """Adam 1e-3 on batches of 100 for 100 epochs, ours, where the paper's own (Shokri et al. 2017) is too little.

    Section VI-B has SGD with a learning rate of 1e-3, a decay of 1e-7 by the step and up to 100 epochs (200 for Texas);
    of batches it says nothing. That is ``optimizer="sgd", learning_rate_decay=1e-7``.
    """
    return Recipe()


def lira() -> Recipe:
    """The recipe of LiRA (Carlini et al. 2022, "Membership Inference Attacks From First Principles").

    As ``research/mi_lira_2021/train.py`` of github.com/tensorflow/privacy has it, for a Wide ResNet 28-2 on CIFAR-10
    (``--epochs=100`` in its demo): SGD with momentum .9 on batches of 256, a rate of .1 that falls by cos(7 pi / 16 p)
    and rises over the first hundredth of the steps, 5e-4 / 2 * sum(theta^2) over kernels in the loss, flips and crops
    of images padded by 4 reflected pixels. The average of the network over the steps (.999, debiased) answers.

    Departure: pixels are in [-1, 1] there, and in [0, 1] here.
    """
    return Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.9,
        schedule="fixmatch",
        warmup=0.01,
        weight_decay=5e-4,
        ema=0.999,
        image_augmentation="flip,crop(4)",
        batch_size=256,
        num_epochs=100,
    )


def rmia() -> Recipe:
    """The recipe of RMIA (Zarifzadeh et al. 2024, "Low-Cost High-Power Membership Inference Attacks"): LiRA's.

    ``research/2024_rmia/scripts/train.py`` of github.com/privacytrustlab/ml_privacy_meter (commit d327341) is LiRA's
    script, with the same defaults for CIFAR-10, CIFAR-100 and CINIC-10. On Purchase-100 it trains layers of 512, 256,
    128 and 64 ReLU units for 50 epochs, without augmentation: ``num_epochs=50, image_augmentation=""``. (Version 2 of
    their tool trains otherwise: SGD without momentum, decay and augmentation, at the same rates.)
    """
    return lira()


def fast() -> Recipe:
    """A few epochs at a large rate, after airbench94 (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU").

    ``legacy/airbench94.py`` of github.com/KellerJordan/cifar10-airbench: SGD with Nesterov momentum .85 on batches of
    1,024 for 9.9 epochs; a rate of 11.5 per 1,024 records, decoupled from the momentum, which is 11.5 / (1 + 1 / .15) =
    1.5 for the mean loss; a decay of .0153 / 11.5; a triangle from .2 of the rate at .23 of the steps to .07; label
    smoothing .2; flips, and moves by up to 2 reflected pixels.

    The rate is for a network of its kind: batch normalization without scales, logits times 1/9. Left out: the 64 times
    larger rate of the offsets of norms, frozen whitening filters, Lookahead, flips that alternate by epoch, and answers
    averaged over views.
    """
    return Recipe(
        optimizer="sgd",
        learning_rate=1.5,
        momentum=0.85,
        nesterov=True,
        schedule="triangular(0.23,0.2,0.07)",
        weight_decay=0.0153 / 11.5,
        decay_biases=True,
        label_smoothing=0.2,
        image_augmentation="flip,crop(2)",
        batch_size=1024,
        num_epochs=10,
    )


def revisiting() -> Recipe:
    """The recipe for Purchase-100 of Jebreel et al. 2026, "Revisiting the LiRA Membership Inference Attack ...".

    ``configs/benchmarks/purchase100_baseline.yaml`` of github.com/najeebjebreel/lira_analysis, for layers of 1,024 and
    512 tanh units: SGD with Nesterov momentum .9 on batches of 128, a rate of .01 that falls to 0 along half a cosine
    in 100 epochs, a decay of 5e-4 of all parameters.

    Departures: their rate falls once an epoch, to 1e-6; theirs ends early after 20 epochs without a better accuracy
    on held-out records (``early_stopping`` here puts a tenth of the training set aside for that).
    """
    return Recipe(
        optimizer="sgd",
        learning_rate=0.01,
        momentum=0.9,
        nesterov=True,
        schedule="cosine",
        weight_decay=5e-4,
        decay_biases=True,
        batch_size=128,
        num_epochs=100,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "paper": paper,
    "lira": lira,
    "rmia": rmia,
    "fast": fast,
    "revisiting": revisiting,
}


def named(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        InputError: there is none.
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}; use {', '.join(RECIPES)}")
    return RECIPES[name]()


# --- a recipe at work ------------------------------------------------------------------------------------------------


def make_trainer(model: Model, recipe: Recipe, records: int, *, early_stopping: int = 0, **defenses: Any) -> Trainer:
    """A Trainer by a recipe; how many epochs of it are trained is told to ``fit_many`` (``recipe.num_epochs``).

    Args:
        model: with its dropout, if any.
        recipe: of its training.
        records: m, of one training set; a batch has at most so many.
        early_stopping: patience in epochs; 0: none. What it puts aside takes no step, so the schedule is that much
            shorter.
        defenses: ``l2``, ``mixup``, ``dp_noise_multiplier``, ``dp_clip``, as of ``regularizers.make_trainer``.

    Returns:
        A Trainer. Its network is the average of its parameters, where the recipe has ``ema``.

    Raises:
        InputError: a value out of range, or a defense that does not go with the recipe.
    """
    learned = regularizers.learned(records) if early_stopping else records
    return regularizers.make_trainer(
        model,
        make_optimizer(recipe, recipe.steps(learned)),
        min(recipe.batch_size, records),
        records,
        label_smoothing=recipe.label_smoothing,
        augmentation=augmentations.parse(recipe.image_augmentation),
        ema=recipe.ema,
        early_stopping=early_stopping,
        **defenses,
    )


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """The optimizer of a recipe: clipping, decay that is part of the gradient, then optax's own, at its rates.

    Args:
        recipe: its values but those of the data and of the average.
        steps: of the whole training, for the schedule.

    Raises:
        InputError: a value out of range, or one that the optimizer does not take.
    """
    check(recipe)
    shape = schedules.warmed_up(schedules.parse(recipe.schedule), recipe.warmup)
    rate: float | optax.Schedule = recipe.learning_rate
    if recipe.schedule.strip() != "constant" or recipe.warmup or recipe.learning_rate_decay:
        rate = schedules.rate(recipe.learning_rate, shape, steps, decay=recipe.learning_rate_decay)
    factory, options = _of_optax(recipe)
    parts = [factory(learning_rate=rate, **options)]
    if recipe.weight_decay and DECOUPLED not in options:
        parts.insert(0, regularizers.add_l2(recipe.weight_decay / 2, biases=recipe.decay_biases))
    if recipe.grad_clip:
        parts.insert(0, optax.clip_by_global_norm(recipe.grad_clip))
    return optax.chain(*parts) if parts[1:] else parts[0]


def check(recipe: Recipe) -> None:
    """Refuse values that no training can have, before any.

    Raises:
        InputError: it names the value.
    """
    if not 0 < recipe.learning_rate < math.inf:
        raise InputError(f"`learning_rate={recipe.learning_rate:g}` must be above 0")
    for name in ("learning_rate_decay", "momentum", "weight_decay", "grad_clip", "ema"):
        value = getattr(recipe, name)
        if not 0 <= value < (1 if name in ("momentum", "ema") else math.inf):
            below = " and below 1" if name in ("momentum", "ema") else ""
            raise InputError(f"`{name}={value:g}` must be at least 0{below}")
    for name in ("batch_size", "num_epochs"):
        if getattr(recipe, name) < 1:
            raise InputError(f"`{name}={getattr(recipe, name)}` must be at least 1")
    if recipe.nesterov and not recipe.momentum and recipe.optimizer == "sgd":
        raise InputError("`nesterov` is a kind of momentum: give one, as `momentum=0.9`")
    schedules.warmed_up(schedules.parse(recipe.schedule), recipe.warmup)
    augmentations.parse(recipe.image_augmentation)
    regularizers.smoothed(recipe.label_smoothing)
    _of_optax(recipe)


def _of_optax(recipe: Recipe) -> tuple[Callable[..., optax.GradientTransformation], dict[str, Any]]:
    """The optimizer of optax that a recipe names, and what it is given beside the rate. Raises InputError."""
    factory = _optimizer(recipe.optimizer)
    takes = inspect.signature(factory).parameters
    options: dict[str, Any] = {}
    for name in ("momentum", "nesterov"):
        if (value := getattr(recipe, name)) and name not in takes:
            raise InputError(f"`{name}` is for sgd, and the optimizer {recipe.optimizer} has none: leave it out")
        if value:
            options[name] = value
    if DECOUPLED in takes:  # said even where it is 0: optax's adamw has one by default
        options[DECOUPLED] = recipe.weight_decay
        mask = next((name for name in ("mask", "weight_decay_mask") if name in takes), None)
        if mask and not recipe.decay_biases:
            options[mask] = regularizers.of_matrices
    return factory, options


def _optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    """An optimizer of optax by its name, if it needs nothing but a rate and gradients. Raises InputError."""
    factory: Any = getattr(optax, name, None)
    try:
        takes = inspect.signature(factory).parameters if inspect.isfunction(factory) else {}
        alone = "learning_rate" in takes and all(
            p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in takes.values() if p.name != "learning_rate"
        )
        if not alone:
            raise TypeError("it takes no learning rate")
        made = factory(learning_rate=1e-3)
        x = jnp.zeros((2, 2))
        jax.eval_shape(lambda x: made.update(x, made.init(x), x), x)
    except Exception:  # whatever it needs: a loss, a key, a model
        raise InputError(
            f"there is no optimizer {name!r}; use sgd, adam, adamw, lamb, or another of optax that needs nothing but a"
            " learning rate and gradients"
        ) from None
    return factory
