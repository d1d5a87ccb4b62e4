"""Whether the target's members were drawn in groups, as all visits of a patient, and the shadows' row by row.

Such shadows know the rest of a group, and a target that never saw it does not: they are no shadows of this target.
Groups are told by neighbours in the file, or by rows that shadows answer nearly alike. NumPy; never imports jax.
"""

import numpy as np

from mia_jax.checks import samples
from mia_jax.checks.models.unlike_shadows import logits
from mia_jax.statistics import row_groups
from mia_jax.types import Array

RUNS = 40  # of members or others: fewer are parts of a file
ALIKE, CHANCE = 0.8, 4.0  # share of pairs on one side, at least; standard errors that chance may make
COMPARED, SAMPLE = 4, 2048  # shadows that are looked at, and rows
CAUSE = (
    " Or the target's members were drawn in groups, as all rows of a person together, and the shadows' row by row:"
    " {}. Then draw the shadows' in groups, too."
)


def cause(member: Array | None, trained: Array, shadows: Array) -> str:
    """The likely cause, to be added to a doubt about shadows that are unlike the target; "".

    Args:
        member: bool [n], who trained the target; None: not known.
        trained: bool [S, n].
        shadows: probabilities [S, n, c].
    """
    if member is None or not len(trained):
        return ""
    member, trained = np.asarray(member, bool), np.asarray(trained, bool)[:COMPARED]
    together = row_groups.in_runs(member[None])
    runs = 1 + int((member[1:] != member[:-1]).sum())
    if together > 1 and runs >= RUNS and all(row_groups.in_runs(row[None]) == 1 for row in trained):
        return CAUSE.format(f"members, and others, stand side by side, {len(member) / runs:.0f} at a time")
    rows = samples.rows(len(member), SAMPLE)
    answers = logits(np.asarray([np.asarray(p)[rows] for p in shadows], np.float64))
    share, error = _on_one_side(member[rows], answers)
    if share < ALIKE or error < CHANCE:
        return ""
    others = (_on_one_side(row[rows], np.delete(answers, k, axis=0))[1] for k, row in enumerate(trained))
    if len(answers) < 2 or any(sure > CHANCE for sure in others):
        return ""
    return CAUSE.format(f"of rows that shadows answer most alike, {share:.0%} are both members or neither")


def _on_one_side(side: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """How often the row that is answered most alike is on the same side, and by how many standard errors beyond chance.

    Args:
        side: bool [n].
        answers: float [K, n, c].
    """
    x = np.moveaxis(answers, 0, 1).reshape(len(side), -1)
    x = x - x.mean(axis=0)
    square = (x**2).sum(axis=1)
    apart = square[:, None] + square - 2 * x @ x.T
    np.fill_diagonal(apart, np.inf)
    share = float((side[apart.argmin(axis=1)] == side).mean())
    usual = float(side.mean() ** 2 + (1 - side.mean()) ** 2)
    return share, (share - usual) / max(np.sqrt(2 * usual * (1 - usual) / len(side)), 1e-9)  # pairs count twice
