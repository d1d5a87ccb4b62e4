"""The runs that experiments ask for, in one place: who asks for the same run must get equal Configs.

``paper``: the paper's sizes and numbers of shadows (``config.PRESETS``). ``quick``: fewer shadows, fewer epochs and
smaller training sets, ours; chosen to show the finding on 2 cores.
"""

from typing import Any

from mia_jax.config import Config
from mia_jax.experiments.base import Scale

EPOCHS = 30  # of quick runs
QUICK: dict[str, dict[str, Any]] = {
    "purchase": dict(num_shadows=5, train_size=5_000),
    "texas": dict(num_shadows=5, train_size=5_000),
    "location": dict(num_shadows=20, train_size=1_200),
    "mnist": dict(num_shadows=4, train_size=5_000),
    "adult": dict(num_shadows=4, train_size=10_000),
    "cifar10": dict(num_shadows=4, train_size=2_500),
    "cifar100": dict(num_shadows=4, train_size=2_500),
}
PURCHASES = tuple(f"purchase{classes}" for classes in (2, 10, 20, 50, 100))


def ours(dataset: str, scale: Scale, **changed: Any) -> Config:
    """Our own network as target and shadows."""
    if scale == "paper":
        return Config(dataset=dataset, **changed)
    family = "purchase" if dataset.startswith("purchase") else dataset
    return Config(dataset=dataset, **(dict(num_epochs=EPOCHS) | QUICK[family] | changed))


def service(dataset: str, kind: str, scale: Scale) -> Config:
    """A stand-in for a prediction service as target and shadows, and any other kind beside it at the same size."""
    if scale == "paper":
        return Config(dataset=dataset, target_kind=kind)
    size = 1_200 if dataset == "location" else 2_500
    return Config(dataset=dataset, target_kind=kind, train_size=size, num_shadows=4)
