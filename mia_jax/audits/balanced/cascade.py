"""Shadows that an attack of a balanced audit has trained for one target, as CMIA does in each of its rounds."""

from collections.abc import Callable

import numpy as np

from mia_jax.attacks import sources
from mia_jax.attacks.cmia import Retrain
from mia_jax.audits import common, stages
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.config import BalancedConfig
from mia_jax.audits.divergence import Diverged
from mia_jax.audits.types import Observation, Observers, Run, TrainingJob
from mia_jax.progress import silent
from mia_jax.types import Key, Seen

TITLE = "models of a cascade"


def retraining(run: Run[BalancedConfig], setting: BalancedSetting) -> Retrain:
    """What trains models on rows of the candidates, as the audit trains its own; each is an artifact of the workdir."""
    candidates = setting.candidates

    def retrain(key: Key, member: np.ndarray, observe: Callable[..., Seen]) -> tuple[np.ndarray, Seen]:
        rows = np.stack([candidates[own] for own in member]).astype(np.int32)
        keys, digest = stages.keys(key, len(rows)), setting.schema.digest
        run.notify(f"An attack trains {len(rows)} models of its own, on {rows.shape[1]:,} records each")
        job = TrainingJob(TITLE, run.config, setting.schema, setting.pool, digest, keys, rows)
        models = common.train_models(run._replace(progress=silent, shard=None), job)
        observers = Observers(key, {"seen": observe}, setting.defenses, {"attacks": sources(["cmia"])})
        kept = models.left
        while len(kept):
            asked = np.broadcast_to(candidates, (len(kept), len(candidates)))
            try:
                [seen] = models.observe(Observation(observers, setting.pool, asked, kept))
            except Diverged as error:  # other libraries' models show it when they are asked
                kept = kept[~np.isin(kept, list(error.lost))]
            else:
                return kept, seen["seen"]
        return kept, {}

    return retrain
