"""Settings of estimators, the target's and the shadows', that are not the same, or that no training changes.

What is in hand where both are estimators of scikit-learn's kind: what the answers alone only hint at.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.types import few_of

FROZEN = "FrozenEstimator"  # of scikit-learn: fit leaves it as it is, and so does clone
NO_MATTER = {  # to what a model learns; the fit of XGBoost sets the objective by the classes that it finds
    *("random_state", "seed", "n_jobs", "jobs", "verbose", "verbosity", "thread_count", "device", "objective"),
    *("cache_size", "memory", "oob_score", "algorithm", "warm_start", "copy_x", "pre_dispatch"),
}
AUTOMATIC = {"ensemble": {"auto", True}}  # of CalibratedClassifierCV: the same, but around a FrozenEstimator
SHOWN, LONGEST = 4, 40  # settings of a sentence, and characters of each


def notes(target: Any, trainer: Any) -> tuple[str, ...]:
    """What is to be said of the settings of a target and of its shadows, in sentences.

    Args:
        target: what may be an estimator of scikit-learn's kind, or a method of one.
        trainer: of shadows, what may be one, or a class of such.
    """
    target = getattr(target, "__self__", target)
    if kind(target) != kind(trainer):
        target = getattr(target, "best_estimator_", target)  # of a search, what answers
    own, others = settings(target), settings(trainer)
    said = []
    if frozen := [name for name, value in others.items() if type(value).__name__ == FROZEN]:
        said.append(
            f"Each shadow holds what {few_of(frozen)} has learned, a {FROZEN}, which no fit trains anew: if that is the"
            " target's, or any that was trained on these records, the shadows know them, and attacks have little to"
            " learn from them. Give shadows= an estimator without it."
        )
    if not own or not others:
        return tuple(said)
    names = (_called(target), _called(trainer))
    if names[0] != names[1]:
        return (*said, f"The target is {names[0]}, and the shadows are {names[1]}. {_ADVICE}")
    both = [name for name in own if name in others and name.rpartition("__")[2].lower() not in NO_MATTER]
    differ = [name for name in both if _plain(own[name]) and _plain(others[name]) and own[name] != others[name]]
    differ = [name for name in differ if {own[name], others[name]} != AUTOMATIC.get(name.rpartition("__")[2])]
    if differ:
        each = ", ".join(f"{name}={_shown(own[name])} and {_shown(others[name])}" for name in differ[:SHOWN])
        more = ", ..." if len(differ) > SHOWN else ""
        said.append(f"The target and the shadows are {names[0]} with other settings ({each}{more}). {_ADVICE}")
    return tuple(said)


_ADVICE = (
    "Shadows imitate a target best where they are trained as it was: shadows=sklearn.base.clone(model) does so; an"
    " adversary who does not know the settings is weaker."
)


def settings(estimator: Any) -> dict[str, Any]:
    """An estimator's settings by their names, and those of what it holds; none of what has no such."""
    try:
        found = (estimator() if isinstance(estimator, type) else estimator).get_params()
    except Exception:  # no estimator, or a class that needs arguments
        return {}
    return found if isinstance(found, dict) and all(isinstance(name, str) for name in found) else {}


def kind(estimator: Any) -> str:
    """The name of an estimator's class, or of a class."""
    return estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__


def _called(estimator: Any) -> str:
    """What an estimator is, and what it holds: a pipeline's steps, or what a search or a calibration is of."""
    steps = getattr(estimator, "named_steps", None)  # of a pipeline
    held = [*steps.values()] if isinstance(steps, Mapping) else [settings(estimator).get("estimator")]
    held = [kind(one) for one in held if hasattr(one, "get_params")]
    return kind(estimator) + (f" of {few_of(held)}" if held else "")


def _plain(value: Any) -> bool:
    """Whether a value can be compared and shown: no NaN, and not what an estimator holds, whose settings count."""
    return value is None or (isinstance(value, (bool, int, float, str, np.number)) and value == value)


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.number) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
