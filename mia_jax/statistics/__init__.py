"""How well an attack tells members from non-members, how sure that is, bounds on epsilon. Never imports jax."""

from mia_jax.statistics.metrics import auc, evaluate, roc, tpr_at_fpr

__all__ = ["auc", "evaluate", "roc", "tpr_at_fpr"]
