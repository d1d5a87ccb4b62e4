"""Prediction services over HTTP, as Targets."""

from mia_jax.remote.client import connect
from mia_jax.remote.options import Options
from mia_jax.remote.protocols import PROTOCOLS

__all__ = ["PROTOCOLS", "Options", "connect"]
