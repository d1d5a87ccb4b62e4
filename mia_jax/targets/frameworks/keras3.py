"""Keras 3 models as trainers, on whatever backend; where none was chosen, on JAX."""

import contextlib
import dataclasses
import os
import random
from collections.abc import Callable, Generator
from typing import Any, ClassVar

import numpy as np

from mia_jax.targets.frameworks import heads
from mia_jax.targets.frameworks.heads import Head
from mia_jax.types import Array, InputError

ASKED = 1024


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained model that answers: records [n, *f] -> probabilities [n, c]."""

    model: Any
    head: Head

    def __call__(self, x: Array) -> np.ndarray:
        """Ask in batches."""
        outputs = np.asarray(self.model.predict(np.asarray(x), batch_size=ASKED, verbose=0))
        heads.check(outputs, self.head, "the model")
        return heads.probabilities(outputs, self.head)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """``fit(x, y, *, seed)`` of a Keras model; what it returns is a Predictor."""

    title: ClassVar[str] = "Keras"
    packages: ClassVar[tuple[str, ...]] = ("keras",)

    make_model: Callable[[], Any]
    optimizer: str | Callable[[], Any]
    epochs: int
    batch_size: int
    head: Head

    def __call__(self, x: Array, y: Array, *, seed: int) -> Predictor:
        """Train a fresh model on records [m, *f] with labels [m]."""
        keras, x, y = _keras(), np.asarray(x), np.asarray(y)
        with _random_state_kept(keras.backend.backend()):
            keras.utils.set_random_seed(seed)
            model = self.make_model()
            if not model.built:  # without an Input it does not know its outputs before it has seen a record
                model(x[:1])
            outputs = _one_output(model.predict(x[:32], verbose=0))
            heads.check(outputs, self.head, "the model")
            single = outputs.ndim == 1 or outputs.shape[1] == 1
            _refuse_labels_beyond(y, 2 if single else outputs.shape[1])
            if getattr(model, "optimizer", None) is None:  # as it comes, where it was compiled
                kind = keras.losses.BinaryCrossentropy if single else keras.losses.SparseCategoricalCrossentropy
                optimizer = self.optimizer if isinstance(self.optimizer, str) else self.optimizer()
                model.compile(optimizer=optimizer, loss=kind(from_logits=self.head == "logits"))
            elif not single:
                _refuse_one_hot_loss(model.loss)
            model.fit(x, y, epochs=self.epochs, batch_size=self.batch_size, verbose=0)
        return Predictor(model, self.head)


def keras(
    make_model: Callable[[], Any],
    *,
    optimizer: str | Callable[[], Any] = "adam",
    epochs: int = 20,
    batch_size: int = 100,
    head: Head = "probabilities",
) -> Trainer:
    """A Keras 3 model as ``fit(x, y, *, seed) -> predict``.

    Args:
        make_model: () -> a fresh model. One that is compiled is trained with its own optimizer and loss.
        optimizer: its name, or () -> one, as ``lambda: keras.optimizers.SGD(0.1)``.
        epochs, batch_size: passes over the records, and records in a step.
        head: what the model gives: "probabilities", as of a softmax or a sigmoid, or "logits".

    Raises:
        InputError: Keras is not installed, or ``make_model`` is a model.
    """
    heads.installed("keras", "keras", "platforms.keras")
    if is_model(make_model):
        raise InputError(
            "make_model is a model, and each shadow needs a fresh one: give lambda: keras.models.clone_model(model)"
        )
    return Trainer(make_model, optimizer, epochs, batch_size, head)


def is_model(given: Any) -> bool:
    """Whether it is a model of Keras, on whatever backend; Keras is not imported for it."""
    kinds = () if isinstance(given, type) else type(given).__mro__
    return any(kind.__module__.startswith("keras.") and kind.__name__ == "Model" for kind in kinds)


def _one_output(outputs: Any) -> np.ndarray:
    """What a model gives, as an array. Raises InputError where it has several outputs."""
    if isinstance(outputs, list | tuple | dict):
        raise InputError(
            f"the model has {len(outputs)} outputs, and one is audited: make keras.Model(model.inputs,"
            " model.outputs[0]) of it, with the labels of that output"
        )
    return np.asarray(outputs)


def _refuse_labels_beyond(y: np.ndarray, classes: int) -> None:
    """Refuse labels [m] of which the model has no output, before it is trained. Raises InputError."""
    if len(y) and y.max() >= classes:
        raise InputError(
            f"the model gives {classes} classes, and there is a label {int(y.max())}: give it an output for each class"
        )


def _refuse_one_hot_loss(loss: Any) -> None:
    """Refuse a loss that takes labels one-hot, where they are numbers of classes. Raises InputError."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    if name in ("categorical_crossentropy", "CategoricalCrossentropy"):
        raise InputError(
            "the model is compiled with categorical_crossentropy, which takes one-hot labels, and they are numbers of"
            " classes: compile it with sparse_categorical_crossentropy"
        )


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is first imported; it would be TensorFlow
    import keras

    return keras


@contextlib.contextmanager
def _random_state_kept(backend: str) -> Generator[None]:
    """Keras seeds Python, NumPy and PyTorch, too: their random states are as before afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the state that Keras seeds)
    try:
        with _of_torch() if backend == "torch" else contextlib.nullcontext():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _of_torch() -> contextlib.AbstractContextManager[None]:
    """A context after which PyTorch's random states are as before."""
    import torch

    return torch.random.fork_rng(devices=[*range(torch.cuda.device_count())] if torch.cuda.is_available() else [])
