"""Prediction services over HTTP, as Targets."""

from mia_jax.targets.remote.client import (
    answers_one_number,
    ask_oldest_again,
    connect,
    names_classes,
    unsteady,
    warnings,
)
from mia_jax.targets.remote.earlier import Earlier, answered, forget, kept
from mia_jax.targets.remote.options import Options
from mia_jax.targets.remote.urls import PROTOCOLS

__all__ = [
    "PROTOCOLS",
    "Earlier",
    "Options",
    "answered",
    "answers_one_number",
    "ask_oldest_again",
    "connect",
    "forget",
    "kept",
    "names_classes",
    "unsteady",
    "warnings",
]
