"""Whole runs, from data to report: ``run``, and a configuration for each kind of audit.

>>> from mia_jax import audits
>>> results = audits.run(audits.Config(dataset="location", num_shadows=10))  # doctest: +SKIP
"""

from collections.abc import Callable
from typing import Any

from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig
from mia_jax.progress import Progress, silent

__all__ = ["BalancedConfig", "CanaryConfig", "Config", "DeployedConfig", "run"]


def run(
    config: Config | BalancedConfig | DeployedConfig | CanaryConfig,
    *,
    command: str = "",
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """``mia_jax.audits.pipeline.run``, with all that it needs imported when it is called."""
    from mia_jax.audits import pipeline

    return pipeline.run(config, command=command, notify=notify, progress=progress)
