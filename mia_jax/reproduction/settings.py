"""The runs that experiments ask for, in one place: who asks for the same run must get equal Configs.

``paper``: the paper's sizes and numbers of shadows (``presets.PRESETS``). ``cpu``: the same with fewer shadows, and for
images fewer epochs and smaller training sets; the largest that 2 cores finish in about two hours. ``quick``: smaller
again, to see an experiment work in a few minutes.
"""

from typing import Any

from mia_jax.audits.config import Config
from mia_jax.reproduction.base import Scale

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
CPU: dict[str, dict[str, Any]] = {  # where nothing is said, as in the paper
    "purchase": dict(num_shadows=10),
    "texas": dict(num_shadows=4),
    "location": {},
    "mnist": dict(num_shadows=10),
    "adult": dict(num_shadows=10),
    "cifar10": dict(num_shadows=4, num_epochs=25, train_size=2_500),
    "cifar100": dict(num_shadows=4, num_epochs=25, train_size=4_600),
}
PURCHASES = tuple(f"purchase{classes}" for classes in (2, 10, 20, 50, 100))


def ours(dataset: str, scale: Scale, **changed: Any) -> Config:
    """Our own network as target and shadows."""
    family = "purchase" if dataset.startswith("purchase") else dataset
    settings: dict[str, Any] = {"paper": {}, "cpu": CPU[family], "quick": {"num_epochs": EPOCHS} | QUICK[family]}[scale]
    return Config(dataset=dataset, **(settings | changed))


def service(dataset: str, kind: str, scale: Scale) -> Config:
    """A stand-in for a prediction service as target and shadows, and any other kind beside it at the same size."""
    if scale == "paper":
        return Config(dataset=dataset, target_kind=kind)
    if scale == "cpu":
        return ours(dataset, scale) if kind == "nn" else ours(dataset, scale, target_kind=kind, num_shadows=4)
    size = 1_200 if dataset == "location" else 2_500
    return Config(dataset=dataset, target_kind=kind, train_size=size, num_shadows=4)
