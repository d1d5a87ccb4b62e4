"""Networks as pairs of pure functions: those of the paper, logistic regression, and anybody's flax module."""

from mia_jax.models.adapters import from_flax
from mia_jax.models.networks import build, cnn, logistic, mlp
from mia_jax.models.precision import computed_in

__all__ = ["build", "cnn", "computed_in", "from_flax", "logistic", "mlp"]
