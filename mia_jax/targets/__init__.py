"""Whatever can be asked, as a ``Target``: networks, callables, saved predictions, services; output ``defenses``."""

from mia_jax.targets import defenses, platforms
from mia_jax.targets.black_box import (
    Budget,
    as_target,
    budgeted,
    cached,
    defend,
    from_callable,
    from_predictions,
)
from mia_jax.targets.observation import observe, observe_shadows

__all__ = [
    "Budget",
    "as_target",
    "budgeted",
    "cached",
    "defend",
    "defenses",
    "from_callable",
    "from_predictions",
    "observe",
    "observe_shadows",
    "platforms",
]
