"""Settings of estimators, the target's and the shadows', that are not the same, or that no training changes.

What is in hand where both are estimators of scikit-learn's kind: what the answers alone only hint at.
"""

from typing import Any

from mia_jax.types import few_of

FROZEN = "FrozenEstimator"  # of scikit-learn: fit leaves it as it is, and so does clone
NO_MATTER = (  # the last is what XGBoost's fit sets by the classes that it finds
    "random_state",
    "seed",
    "n_jobs",
    "jobs",
    "verbose",
    "verbosity",
    "thread_count",
    "device",
    "copy_x",
    "objective",
)
SHOWN = 4  # settings of a sentence


def notes(target: Any, trainer: Any) -> tuple[str, ...]:
    """What is to be said of the settings of a target and of its shadows, in sentences.

    Args:
        target: what may be an estimator of scikit-learn's kind, or a method of one.
        trainer: of shadows, what may be one, or a class of such.
    """
    target = getattr(target, "__self__", target)
    own, others = _settings(target), _settings(trainer)
    said = []
    if frozen := [name for name, value in others.items() if type(value).__name__ == FROZEN]:
        said.append(
            f"Each shadow holds what {few_of(frozen)} has learned, a {FROZEN}, which no fit trains anew: if that is the"
            " target's, or any that was trained on these records, the shadows know them, and attacks have little to"
            " learn from them. Give shadows= an estimator without it."
        )
    if not own or not others:
        return tuple(said)
    names = (_kind(target), _kind(trainer))
    if names[0] != names[1]:
        return (*said, f"The target is {names[0]}, and the shadows are {names[1]}. {_ADVICE}")
    differ = [name for name in own if _plain(own[name]) and _plain(others.get(name)) and own[name] != others.get(name)]
    differ = [name for name in differ if name.rpartition("__")[2] not in NO_MATTER]
    if differ:
        each = ", ".join(f"{name}={own[name]!r} and {others.get(name)!r}" for name in differ[:SHOWN])
        more = ", ..." if len(differ) > SHOWN else ""
        said.append(f"The target and the shadows are {names[0]} with other settings ({each}{more}). {_ADVICE}")
    return tuple(said)


_ADVICE = (
    "Shadows imitate a target best where they are trained as it was: shadows=sklearn.base.clone(model) does so; an"
    " adversary who does not know the settings is weaker."
)


def _settings(estimator: Any) -> dict[str, Any]:
    """Its settings, and those of what it holds; none of what has no such."""
    try:
        return (estimator() if isinstance(estimator, type) else estimator).get_params()
    except Exception:  # no estimator, or a class that needs arguments
        return {}


def _kind(estimator: Any) -> str:
    return estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__


def _plain(value: Any) -> bool:
    """Whether a value can be compared and shown: no NaN, and not what an estimator holds, whose settings count."""
    return value is None or (isinstance(value, (bool, int, float, str)) and value == value)
