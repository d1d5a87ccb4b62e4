"""A model that predicts no class is asked: of each record and model there is one number (``numbers``)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax import user_code
from mia_jax.audits.deployed.numbers import SIGNALS, Signal
from mia_jax.checks.answers import other_answers
from mia_jax.checks.answers.other_answers import Apart
from mia_jax.checks.signals import lone_signals
from mia_jax.data import tables
from mia_jax.targets import asked_again, unchanged
from mia_jax.types import InputError


class Numbers(NamedTuple):
    """A model's numbers, and how it came to them."""

    values: np.ndarray  # float64 [n], larger where it fits better
    apart: Apart | None = None  # how it predicts otherwise, asked again
    in_place: bool = False  # it changed the records, of which it had a copy
    mixed: bool = False  # a record's number depends on the other records
    prediction: np.ndarray | None = None  # [n, ...], what it predicted


def of_model(model: Any, x: Any, y: np.ndarray, chosen: Signal, *, called: str, again: bool = False) -> Numbers:
    """The number of each record [n] that a model predicts: larger where it fits better.

    Args:
        model: a function of records, an estimator that has ``predict``, or what was predicted before, [n, ...].
        x, y: records [n, *f], and what is to be predicted [n, ...].
        chosen: how a prediction becomes a number.
        called: what the model is called in messages.
        again: ask a function about a few records once more.

    Raises:
        InputError: it raises, predicts another shape, or a number is not finite.
    """
    predict, apart, in_place = model.predict if hasattr(model, "predict") else model, None, False
    if callable(predict):
        given, in_place = unchanged.ask(predict, x, called)
        prediction = tables.plain(given)
        apart = _apart(predict, x, prediction, called) if again else None
    elif np.ndim(model) == 0 or len(prediction := tables.plain(model)) != len(y):
        what = (
            type(model).__name__ if np.ndim(model) == 0 else f"{len(model):,} saved predictions for {len(y):,} records"
        )
        raise InputError(f"{called} is {what}, which predicts nothing: give a function of records, or [{len(y)}, ...]")
    if chosen in SIGNALS.values():
        if prediction.size != y.size or len(prediction) != len(y):
            raise InputError(_unlike_values(prediction, y, called))
        prediction = prediction.reshape(y.shape).astype(np.float64)
    with user_code.guarded(f"signal of what {called} predicts"):
        numbers = tables.plain(chosen.of(prediction, y)).astype(np.float64)
    if numbers.shape != (len(y),):
        why = lone_signals.unlike_shapes(prediction, y)
        raise InputError(
            f"signal gives an array of shape {numbers.shape}; needed: [{len(y)}], a number for each record"
            + (f": {why}" if why else "")
        )
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise InputError(f"{called}, record {row}: its signal is {numbers[row]}, no finite number")
    mixed = chosen not in SIGNALS.values() and lone_signals.mixes(chosen.of, prediction, y, numbers)
    return Numbers(numbers, apart, in_place, mixed, prediction)


def _unlike_values(prediction: np.ndarray, y: np.ndarray, called: str) -> str:
    """What is wrong with predictions of another shape than y [n, ...] has, and what to do."""
    text = (
        f"{called} predicts an array of shape {prediction.shape} for y of shape {y.shape}: as many numbers are needed"
        " as y has"
    )
    if prediction.size != 2 * y.size or prediction.dtype.kind not in "fiu":
        return text
    for move, shape, axis in (("p[0]", (2, *y.shape), 0), ("p[..., 0]", (*y.shape, 2), -1)):
        if prediction.shape == shape and (np.take(prediction, 1, axis) >= 0).all():
            return (
                f"{text}; these seem to be means and standard deviations, as predict(x, return_std=True) gives them:"
                f" return the means alone, {move}"
            )
    return text


def _apart(predict: Callable[[Any], Any], x: Any, prediction: np.ndarray, called: str) -> Apart | None:
    """How predictions [n, ...] are others when a few records are asked about again; None of what is no number."""
    if prediction.dtype.kind not in "biuf" or prediction.shape[:1] != (len(x),) or not np.isfinite(prediction).all():
        return None
    again = asked_again.ask(lambda some: tables.plain(unchanged.ask(predict, some, called).answer), x, prediction)
    return None if again is None else other_answers.of_numbers(*again, float(np.std(prediction)))
