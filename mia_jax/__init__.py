"""Membership inference in JAX: shadow models, attacks and honest statistics, as pure functions."""

from mia_jax.config import Config
from mia_jax.types import Answers, Attack, InputError, MiaError, Model, Records, Schema, Target, Trainer

__version__ = "0.1.0"

__all__ = [
    "Answers",
    "Attack",
    "Config",
    "InputError",
    "MiaError",
    "Model",
    "Records",
    "Schema",
    "Target",
    "Trainer",
    "infer",
]


def __getattr__(name: str):
    """``infer`` brings every attack, and with them flax and optax: it is imported when it is asked for."""
    if name == "infer":
        from mia_jax.saved import infer

        return infer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
