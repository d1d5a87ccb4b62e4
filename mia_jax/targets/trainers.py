"""What a platform is, and any function that trains as one: ``fit(x, y, *, seed) -> predict``, in whatever library."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mia_jax import user_code
from mia_jax.data import tables
from mia_jax.targets import predictors, unchanged
from mia_jax.targets.frameworks import keras3
from mia_jax.types import Array, InputError, Records, Target


class Platform(NamedTuple):
    """What trains targets and shadows alike."""

    title: str  # for reports: a stand-in calls itself one
    fit: Callable[..., Target]  # (x [m, *f], y [m] in 0..c-1, *, seed: int = 0) -> Target
    fit_many: Callable[..., Iterator[Target]]  # (pool [N], index [S, m], *, seeds [S]) -> S Targets as they are trained
    trainer: Any = None  # what trains, where it is a user's: its source is part of what names a model


def of_fit(fit: Callable[..., Any], num_classes: int, *, called: str = "") -> Platform:
    """Anything that trains as a platform: ``fit(x, y, *, seed) -> predict``, in whatever library.

    Args:
        fit: (records x [m, *f], labels y int64 [m], *, seed) -> a function of records that gives probabilities [n, c],
            or whatever else ``predictors.answers`` takes, such as an estimator. Labels are a tensor beside a tensor of
            PyTorch, else NumPy's.
        num_classes: c.
        called: what it is called in messages and reports; by default its name.

    Returns:
        A Platform. Its Targets raise InputError where ``fit`` or what it returns does, or for answers that are none.
    """
    _refuse_model(fit, called or "the trainer")
    refuse_without_seed(fit)
    name = called or getattr(fit, "title", "") or getattr(fit, "__name__", type(fit).__name__)

    def trained(x: Any, y: Array, *, seed: int = 0) -> Target:
        rows = predictors.format_rows(len(x))
        kept = tables.take(x, rows)  # predict is asked about records as they were
        try:
            with user_code.guarded(f"{name}(x, y, seed={seed})"):
                model = fit(x, _labels(y, x), seed=seed)
        except ImportError as error:
            raise InputError(f"{name} cannot train: {error}; install what it asks for") from error
        changed = not unchanged.same(kept, tables.take(x, rows))
        called = f"what {name} returns"
        return predictors.as_target(model, kept, num_classes, called=called, records=len(x), changed=changed)

    return Platform(name, trained, in_turn(trained), fit)


def _refuse_model(trainer: Any, called: str) -> None:
    """Refuse a network of Keras or PyTorch, which is one model and trains none. Raises InputError."""
    if keras3.is_model(trainer):
        move = "mia_jax.platforms.keras(lambda: keras.models.clone_model(model)) trains fresh ones of its kind"
        raise InputError(f"{called} is a Keras model, which trains no other: {move}")
    if not isinstance(trainer, type) and any(k.__module__.startswith("torch.nn") for k in type(trainer).__mro__):
        move = "mia_jax.platforms.torch(make_module) trains fresh ones, of a function that makes one"
        raise InputError(f"{called} is a PyTorch module, which trains no other: {move}")


def refuse_without_seed(fit: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called as fit(x, y, seed=0).

    Raises:
        InputError: it cannot; how it is written.
    """
    try:
        inspect.signature(fit).bind(None, None, seed=0)
    except TypeError as error:
        called = getattr(fit, "__name__", type(fit).__name__)
        raise InputError(
            f"{called} is called as {called}(x, y, seed=0), and takes other arguments ({error}): write"
            " def fit(x, y, *, seed), which trains with that seed and returns a function of records"
        ) from None
    except ValueError:  # of a builtin nothing is known
        return


def _labels(y: Array, x: Any) -> Any:
    """Labels as a training loop takes them: whole numbers of 64 bits, on the device of x where that is a tensor."""
    labels = np.asarray(y, np.int64)
    return x.new_tensor(labels).long() if hasattr(x, "new_tensor") else labels


def alone(fit_many: Callable[..., Iterator[Target]]) -> Callable[..., Target]:
    """``Platform.fit`` of a platform that trains many at once."""

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        return next(iter(fit_many(Records(x, y), np.arange(len(y))[None], seeds=[seed])))

    return fit


def in_turn(fit: Callable[..., Target]) -> Callable[..., Iterator[Target]]:
    """``Platform.fit_many`` of a platform that trains one after the other."""

    def fit_many(pool: Records, index: Array, *, seeds: Sequence[int]) -> Iterator[Target]:
        y = np.asarray(pool.y)
        return (
            fit(tables.take(pool.x, rows), y[rows], seed=int(seed))
            for rows, seed in zip(np.asarray(index), seeds, strict=True)
        )

    return fit_many
