"""One training run as a pure function, many of them by ``vmap``; regularization; DP-SGD."""

from mia_jax.training.many import fit_chunks, fit_many
from mia_jax.training.single import make_trainer, predict

__all__ = ["fit_chunks", "fit_many", "make_trainer", "predict"]
