"""Who trains on what: the paper's plan, the balanced plan, and what a membership matrix gives away."""

from mia_jax.plans.membership import examine, related, unrelated
from mia_jax.plans.splits import balanced, membership_matrix, reserve, shokri

__all__ = ["balanced", "examine", "membership_matrix", "related", "reserve", "shokri", "unrelated"]
