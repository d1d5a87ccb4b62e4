"""The tables and figures of Shokri et al. 2017, one file each: ``EXPERIMENTS``, in the order of the paper.

python scripts/reproduce.py --list
"""

from mia_jax.reproduction import (
    class_size,
    noisy_shadows,
    num_classes,
    num_shadows,
    overfitting,
    per_class,
    synthetic_shadows,
    table1,
    table2,
    table3,
    train_size,
    uncertainty,
)
from mia_jax.reproduction.base import Experiment, Finding, Run
from mia_jax.reproduction.run import execute

__all__ = ["EXPERIMENTS", "Experiment", "Finding", "Run", "execute"]

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        table1,
        table2,
        table3,
        train_size,
        per_class,
        noisy_shadows,
        synthetic_shadows,
        num_classes,
        class_size,
        overfitting,
        num_shadows,
        uncertainty,
    )
}
