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
]
