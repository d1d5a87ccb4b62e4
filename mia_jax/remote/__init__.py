"""Prediction services over HTTP, as Targets."""

from mia_jax.remote.client import connect
from mia_jax.remote.earlier import Earlier, forget, held
from mia_jax.remote.options import Options
from mia_jax.remote.urls import PROTOCOLS

__all__ = ["PROTOCOLS", "Earlier", "Options", "connect", "forget", "held"]
