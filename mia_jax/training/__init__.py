"""One training run as a pure function, many by ``vmap``; ``recipes``; ``regularizers``; DP-SGD in ``dp_sgd``."""

from mia_jax.training import augmentations, dp_sgd, recipes, regularizers, schedules
from mia_jax.training.many import fit_chunks, fit_many
from mia_jax.training.single import make_trainer, predict
from mia_jax.training.traces import fit_traced

__all__ = [
    "augmentations",
    "dp_sgd",
    "fit_chunks",
    "fit_many",
    "fit_traced",
    "make_trainer",
    "predict",
    "recipes",
    "regularizers",
    "schedules",
]
