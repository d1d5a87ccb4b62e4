"""Models whose training diverged: how they are found, and how an audit goes on without them.

A network has diverged when its loss or a parameter is no finite number any more (``many.diverged``); a model of
another library when it answers with what is no probability.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mia_jax.audits.config import AuditConfig
from mia_jax.audits.types import C, Extra, Models, Observation, Observed, Run, Trained
from mia_jax.types import MiaError


class Diverged(MiaError, RuntimeError):
    """Models whose training ended in numbers that are none: nobody can observe them.

    Args:
        title: what they are, as in "shadow models".
        lost: model -> what became of it, in words.
        total: how many models there are of that title.
        advice: what to change.
    """

    def __init__(self, title: str, lost: Mapping[int, str], total: int, advice: str):
        first, what = next(iter(lost.items()))
        others = f", and {len(lost) - 1} more of {total}" if len(lost) > 1 else ""
        super().__init__(f"{called(title, first, total)} {what}{others}: {advice}")
        self.lost = lost


def called(title: str, k: int, total: int) -> str:
    """The k-th model of a title, for people: the target model, shadow model 3 of 20."""
    one = title.removesuffix("s")
    return f"the {one}" if total == 1 else f"{one} {k + 1} of {total}"


def refuse(models: Models, title: str, config: AuditConfig) -> None:
    """Raises Diverged if one of the models has."""
    if models.lost:
        raise Diverged(title, models.lost, len(models.names), advice(config))


def without_diverged(
    run: Run[C], trained: Trained[Extra], attempt: Callable[[Trained[Extra]], Observed]
) -> tuple[Trained[Extra], Observed]:
    """Do what needs trained models without those that have diverged; anew, if some show only then that they have.

    Args:
        run: told how many models are left.
        trained: all of them.
        attempt: what is to be done with the models that are left.

    Returns:
        The models that were left, and what ``attempt`` gave.

    Raises:
        Diverged: fewer than ``trained.least`` are left.
    """
    models, title = trained.models, trained.title
    while True:
        known, total = len(models.lost), len(models.names)
        which = trained.choose(models.left)
        if len(which) < trained.least:
            refuse(models, title, run.config)
        if len(which) < total:
            run.notify(f"Going on with {len(which)} of {total} {title}")
        left = trained._replace(models=_only(models, which) if known else models, which=which)
        try:
            observed = attempt(left)
            return left._replace(left_out=block(models, which)), observed
        except Diverged:
            if len(models.lost) == known:  # it was another's
                raise


def block(models: Models, which: np.ndarray) -> dict[str, Any]:
    """What results.json says of models [K] of which only some were of use; nothing where all were.

    ``diverged``: the number of each, counted from 1, and what became of it. ``unused``: how many more were left out.
    """
    if len(which) == len(models.names):
        return {}
    lost = [{"model": int(k) + 1, "what": what} for k, what in sorted(models.lost.items())]
    return {"diverged": lost, "unused": len(models.names) - len(which) - len(lost)}


def _only(models: Models, which: np.ndarray) -> Models:
    """These [K'] of the models, renumbered."""

    def among(observation: Observation) -> Observation:
        some = observation.which
        return observation._replace(which=which if some is None else which[np.asarray(some)])

    return models._replace(
        names=[models.names[k] for k in which],
        target=lambda k: models.target(int(which[k])),
        observe=lambda *observations: models.observe(*map(among, observations)),
        curves=models.curves and (models.curves[0][which], models.curves[1][which]),
        lost={},
    )


def named(config: AuditConfig, title: str, k: int, total: int, what: str) -> str:
    """The line that says that a network has diverged."""
    return f"warning: {called(title, k, total)} {what}: {advice(config)}"


def advice(config: AuditConfig) -> str:
    """What to change where training diverges: the learning rate first, and whatever else was asked for."""
    if config.target_kind != "nn":
        return f"give {config.target_kind} other settings, or scale the records"
    extremes = ("l2", "dp_noise_multiplier", "mixup", "learning_rate_decay")
    values = {name: getattr(config, name) for name in extremes if getattr(config, name)}
    others = "".join(f", or `{name}={value:g}`" for name, value in values.items())
    return f"its numbers are not finite any more; lower `learning_rate={config.learning_rate:g}`{others}"
