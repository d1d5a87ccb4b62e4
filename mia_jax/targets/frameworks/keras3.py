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
from mia_jax.types import Array

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
        keras = _keras()
        with _random_state_kept():
            keras.utils.set_random_seed(seed)
            model = self.make_model()
            if not model.built:  # without an Input it does not know its outputs before it has seen a record
                model(np.asarray(x)[:1])
            if getattr(model, "optimizer", None) is None:  # as it comes, where it was compiled
                single = model.output_shape[-1] == 1
                kind = keras.losses.BinaryCrossentropy if single else keras.losses.SparseCategoricalCrossentropy
                optimizer = self.optimizer if isinstance(self.optimizer, str) else self.optimizer()
                model.compile(optimizer=optimizer, loss=kind(from_logits=self.head == "logits"))
            heads.check(np.asarray(model.predict(np.asarray(x)[:32], verbose=0)), self.head, "the model")
            model.fit(np.asarray(x), np.asarray(y), epochs=self.epochs, batch_size=self.batch_size, verbose=0)
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
        InputError: Keras is not installed.
    """
    heads.installed("keras", "keras", "platforms.keras")
    return Trainer(make_model, optimizer, epochs, batch_size, head)


def _keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is first imported; it would be TensorFlow
    import keras

    return keras


@contextlib.contextmanager
def _random_state_kept() -> Generator[None]:
    """Keras seeds Python and NumPy, too: their random states are as before afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the state that Keras seeds)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
