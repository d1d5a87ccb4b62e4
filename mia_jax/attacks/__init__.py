"""Membership inference attacks, one paper per file. ``ATTACKS``: name -> factory, (num_classes, **options) -> Attack."""

from mia_jax.attacks.shokri import shokri
from mia_jax.attacks.thresholds import confidence, majority, threshold

ATTACKS = {
    "shokri": shokri,
    "confidence": confidence,
    "majority": majority,
}

__all__ = ["ATTACKS", "confidence", "majority", "shokri", "threshold"]
