"""How well an attack tells members from non-members, how sure that is, bounds on epsilon. Never imports jax.

``evaluate`` has all measures of one attack on one target, ``over_targets`` means over several targets;
``matched_pairs``, ``one_run`` and ``epsilon`` have lower bounds on epsilon from scores; ``overlap`` compares what
several attacks find, or one attack several times; ``screens`` needs no shadow model.
"""

from mia_jax.statistics import epsilon, matched_pairs, one_run, over_targets, overlap, screens
from mia_jax.statistics.metrics import Measure, Roc, auc, evaluate, roc, tpr_at_fpr

__all__ = [
    "Measure",
    "Roc",
    "auc",
    "epsilon",
    "evaluate",
    "matched_pairs",
    "one_run",
    "over_targets",
    "overlap",
    "roc",
    "screens",
    "tpr_at_fpr",
]
