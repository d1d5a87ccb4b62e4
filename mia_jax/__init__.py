"""Membership inference in JAX: shadow models, attacks and honest statistics, as pure functions.

Begin here:

    mia_jax.infer("lira", labels=y, target=p, shadows=q, shadow_member=m)
        Scores from answers that were had elsewhere: one call, no model, no query.
    mia_jax.models.from_flax(module), mia_jax.training.make_trainer(model, optimizer, batch_size)
        A network, and how one is trained.
    mia_jax.training.fit_many(trainer, keys, records, index, num_epochs)
        Many of them, at once.
    mia_jax.plans.shokri, mia_jax.plans.balanced
        Who trains on what.
    mia_jax.targets.as_target, from_callable, from_predictions; mia_jax.targets.remote.connect(url, x)
        Whatever can be asked, as a Target.
    mia_jax.targets.observe_shadows(...), mia_jax.attacks.ATTACKS["rmia"](num_classes)
        Observe the shadows as the target is observed; learn an attack from them, and score records.
    mia_jax.statistics.evaluate(...), mia_jax.statistics.matched_pairs.from_scores(...)
        Measures with their intervals, and lower bounds on epsilon.
    mia_jax.data.load(name)
        Records and their schema.

Whole runs, with their report: mia_jax.audits.run(config), which scripts/train.py and scripts/audit.py call. The kind of
the configuration says which audit it is: Config (the paper's attack), BalancedConfig, DeployedConfig (somebody's model)
or CanaryConfig.

>>> from mia_jax import attacks, data, models, plans, statistics, targets, training  # rooms are imported by name
"""

from typing import TYPE_CHECKING

from mia_jax.audits.config import Config
from mia_jax.types import Answers, Attack, InputError, MiaError, Model, Records, Schema, Target, Trainer

if TYPE_CHECKING:
    from mia_jax.audits.deployed.infer import infer

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
    "infer",
]


def __getattr__(name: str):
    """``infer`` brings every attack, and with them flax and optax: it is imported when it is asked for."""
    if name == "infer":
        from mia_jax.audits.deployed.infer import infer

        return infer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
