"""Prediction services over HTTP, as Targets."""

from mia_jax.remote.client import connect, names_classes
from mia_jax.remote.earlier import Earlier, forget, held
from mia_jax.remote.options import Options
from mia_jax.remote.urls import PROTOCOLS

__all__ = ["PROTOCOLS", "Earlier", "Options", "connect", "forget", "held", "names_classes"]
