"""Answers of two models behind one address, told by their numbers: votes of trees, or rounded ones, among others.

A fallback, an older version or an experiment answers a part of the records, which that model may never have trained on.
NumPy only.
"""

import numpy as np

from mia_jax.types import Array

LATTICES = 1000, 256, 300  # what votes of trees and rounded probabilities are multiples of: one part in so many
OFF = 2e-3  # of such a part, that a multiple is away from it in float32
INSIDE = 1e-3  # from 0 and 1, which all models answer
LEAST, PART = 50, 0.15  # answers between these; share of either kind
ALL, NONE = 0.97, 0.03  # share of multiples in every shadow, or in none


def notes(target: Array, shadows: Array) -> tuple[str, ...]:
    """What is to be said of a target a part of whose numbers is coarse, where no shadow's are so, in a sentence.

    Args:
        target: float [n], probabilities of the true class.
        shadows: float [S, m], the same of shadows.
    """
    for parts in LATTICES:
        if _coarse(target, parts) > 1 - PART:  # all of one kind
            return ()
    for parts in LATTICES:
        share, each = _coarse(target, parts), np.array([_coarse(one, parts) for one in np.asarray(shadows)])
        if share >= PART and len(each) and ((each >= ALL).all() or (each <= NONE).all()):
            return (
                f"Of the target's probabilities {share:.0%} are multiples of {1 / parts:.3g}, as votes of trees or"
                " rounded ones are, and the others are not, and no shadow answers so: two models seem to answer (a"
                " fallback, an older version, an experiment), or its trees have leaves that are mixed, and shadows"
                " have not. Of two models, attacks find less than in the one that is in question: ask that alone,"
                " without what stands before it.",
            )
    return ()


def _coarse(p: Array, parts: int) -> float:
    """The share of probabilities that are multiples of one part in so many; NaN of too few."""
    values = np.asarray(p, np.float64)
    values = parts * values[(values > INSIDE) & (values < 1 - INSIDE)]
    return float((np.abs(values - np.round(values)) < OFF).mean()) if len(values) >= LEAST else np.nan
