"""Shadows that an attack has trained for a model in this process, as CMIA does in each of its rounds."""

from collections.abc import Callable
from typing import NoReturn

import numpy as np

from mia_jax.attacks.cmia import Retrain
from mia_jax.audits.config import InProcessConfig
from mia_jax.audits.deployed import infer
from mia_jax.audits.deployed import records as deployed
from mia_jax.audits.deployed.answer_formats import Formats
from mia_jax.audits.deployed.calibration import AS_TARGET
from mia_jax.audits.types import Run
from mia_jax.progress import silent
from mia_jax.targets import defenses
from mia_jax.types import Answers, Key, Records, Seen, Target

# (a run that shows no progress, key, member [R, n]) -> probabilities [R', n, c] of which of the models [R']
Train = Callable[[Run[InProcessConfig], Key, np.ndarray], tuple[np.ndarray, np.ndarray]]


def not_yet(key: Key, member: np.ndarray, observe: Callable[..., Seen]) -> NoReturn:
    """A ``Retrain`` (of ``member`` [R, n]) that says that there will be one: which attacks can run is asked before."""
    raise AssertionError("nothing is trained before the first shadows have answered")


def retraining(run: Run[InProcessConfig], train: Train, asked: infer.Answered, known: Formats) -> Retrain:
    """What trains further shadows and reads their answers as those of the first are read.

    Args:
        run: its defenses, which the shadows' answers go through, too.
        train: what trains them.
        asked: labels [n], and answers of the target [n, c].
        known: the formats of the target's and the first shadows' answers.
    """
    chosen = defenses.parse(run.config.defenses)

    def retrain(key: Key, member: np.ndarray, observe: Callable[..., Seen]) -> tuple[np.ndarray, Seen]:
        run.notify(f"An attack trains {len(member)} models of its own, on {member[0].sum():,} records each")
        p, kept = train(run._replace(progress=silent, seconds={}), key, member)
        if not len(kept):
            return kept, {}
        labels, target = np.asarray(asked.labels), np.asarray(asked.target)
        if chosen and run.config.adaptive:
            saved = deployed.Predictions(labels, target, p, member[kept], None)
            p = deployed.defended(saved, chosen, shadows_too=True).shadows

        def read(log_p, y) -> Seen:
            answers = Answers(log_p.shape[-1])
            return observe(key, Target(lambda x: log_p, answers, traced=True), Records(np.zeros(len(y)), y))

        return kept, infer.read_all(read, infer.Answered(labels, target, p), known)[1][AS_TARGET]

    return retrain
