"""The plans of audits: what each kind does at each step of ``audits/pipeline.py``, as a value."""

from typing import Any

from mia_jax.audits.config import AuditConfig, BalancedConfig, CanaryConfig, Config, DeployedConfig, InProcessConfig
from mia_jax.audits.plans import balanced, canaries, in_process, numbers, saved, service, shokri, without_shadows
from mia_jax.audits.types import AuditPlan
from mia_jax.types import InputError


def plan_of(config: AuditConfig) -> AuditPlan[Any, Any, Any, Any, Any]:
    """The plan that a configuration asks for.

    Raises:
        InputError: a deployed model is named by nothing, or twice; a file holds answers of two kinds.
    """
    match config:
        case Config():
            return shokri.PLAN
        case BalancedConfig():
            return balanced.PLAN
        case CanaryConfig():
            return canaries.PLAN
        case InProcessConfig(brought=brought) if brought is not None and brought.signal is not None:
            return numbers.PLAN
        case InProcessConfig(brought=brought):
            return in_process.PLAN if brought is not None and brought.has_shadows else without_shadows.PLAN
        case DeployedConfig():
            if (config.target is None) == (config.predictions is None):
                raise InputError("give `target=URL` with `data=mine.npz`, or `predictions=preds.npz`")
            return service.PLAN if config.predictions is None else saved.plan(config.predictions)
    raise TypeError(f"{type(config).__name__} is no kind of audit")
