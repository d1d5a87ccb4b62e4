"""One training run as a pure function, many of them by ``vmap``; ``regularizers``; DP-SGD in ``dp_sgd``."""

from mia_jax.training import dp_sgd, regularizers
from mia_jax.training.many import fit_chunks, fit_many
from mia_jax.training.single import make_trainer, predict

__all__ = ["dp_sgd", "fit_chunks", "fit_many", "make_trainer", "predict", "regularizers"]
