"""The population of ``mia.audit`` beside the records in question: it is of records that trained no model."""

from typing import Any

import numpy as np

from mia_jax.audits.config import Brought
from mia_jax.audits.deployed import records
from mia_jax.checks.records import other_units
from mia_jax.data import duplicates, near_copies, near_twins, plain_features, tables


def notes(given: Brought) -> list[str]:
    """What is to be said of it, in sentences: its units, and copies of records in question.

    Args:
        given: what the audit was given; of records that are no table of numbers nothing is told.
    """
    if given.population is None:
        return []
    x, other = _numbers(given.x), _numbers(given.population[0])
    if x is None or other is None or x.shape[1:] != other.shape[1:]:
        return []
    names = [str(name) for name in getattr(given.x, "columns", ())]
    names = names or plain_features.names(int(np.prod(x.shape[1:])), ())
    unlike = other_units.found(x, other, names, ("x", "the population"))
    copies = ~records.apart(other, x)
    if not copies.all():
        unit = (None, 0.0) if unlike is None else (unlike.scale, unlike.offset)
        copies[~copies] = near_copies.found(other[~copies], x, *unit)
    said = [] if unlike is None else [unlike.note]
    group = duplicates.groups(x)
    alike = float((np.bincount(group)[group] > 1).mean())
    if copies.any() and alike <= near_copies.CHANCE:  # or else records are equal by chance, as of few categories
        move = "leave them out, for members among them make members look like others"
        said.append(
            f"{int(copies.sum()):,} of the {len(other):,} records of the population are records in question, and a"
            f" population is of records that trained no model: {move}."
        )
    if unlike is None and not copies.any():
        move = "Members among them make members look like others: leave them out."
        twins = near_twins.note(other, x, ("the population", "the records x"), move)
        said += [twins] if twins else []
    return said


def _numbers(x: Any) -> np.ndarray | None:
    """Records [n, *f], where they are numbers."""
    if tables.is_frame(x) and not hasattr(x, "columns"):
        return None
    array = np.asarray(x) if tables.is_frame(x) else tables.plain(x)
    return array if array.dtype.kind in "biuf" and array.ndim > 1 and array.size else None
