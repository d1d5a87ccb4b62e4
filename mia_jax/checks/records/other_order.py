"""Whether records that shadows are to learn from have their columns, and classes, in the order of those in question.

Populations may differ, so columns count as exchanged only where several are far from where they were, are like no other
of their file, and have the very distribution of another one in the second; classes only where both files tell the same
ones apart and another numbering makes them agree, and their own does not. NumPy and SciPy; never imports jax.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from mia_jax.checks import naming, samples

ROWS, COLUMNS = 500, 100  # records that are looked at; columns, beyond which they are not compared with one another
FEW = 50  # records of each file
APART, SAME, ALONE = 0.6, 0.12, 0.3  # Kolmogorov-Smirnov distances: from their place, their match, their like
RECORDS = 10  # of each class, in both files
KNOWN, AS_WELL, WRONG = 0.4, 0.8, 0.4  # how classes are told, above chance; renumbered, in terms of it; as they are


def of_columns(mine: np.ndarray, other: np.ndarray, names: Sequence[str], called: tuple[str, str]) -> str | None:
    """That columns of another file seem to be in another order, in a sentence; None where they do not.

    Args:
        mine: records [n, *f].
        other: records [N, *f].
        names: [f], of the columns of flattened records.
        called: the two files, in words.
    """
    a, b = (_some(x.reshape(len(x), -1)) for x in (mine, other))
    if min(len(a), len(b)) < FEW or not 2 <= a.shape[1] <= COLUMNS:
        return None
    apart = _distances(a, b)
    _, match = optimize.linear_sum_assignment(apart)
    own, found = np.diag(apart), apart[np.arange(len(match)), match]
    near = SAME + 1.4 * np.sqrt(1 / len(a) + 1 / len(b))
    far = own >= APART
    if far.sum() < 2:
        return None
    like = _distances(a, a) + 2.0 * np.eye(len(far))
    alone = far & (like.min(axis=1) >= ALONE)
    if alone.sum() < 2 or (found > near).any() or (match[far] == np.flatnonzero(far)).any():
        return None
    some = np.flatnonzero(alone)[:3]
    told = ", ".join(f"what is {names[k]} in {called[0]} is in the place of {names[match[k]]}" for k in some)
    k = int(some[0])
    ranges = naming.ranges(names[k], *((np.nanmin(x[:, k]), np.nanmax(x[:, k])) for x in (a, b)), called)
    return (
        f"The columns of {called[1]} seem to be in another order than in {called[0]}: {told} ({ranges}). Give them in"
        " the order in which the target is asked, or shadows learn from other numbers."
    )


def _some(x: np.ndarray) -> np.ndarray:
    return x[samples.rows(len(x), ROWS)].astype(np.float64)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[f, f], the Kolmogorov-Smirnov distance of each column of a [n, f] from each of b [N, f]."""
    a, b = np.sort(a, axis=0), np.sort(b, axis=0)
    out = np.zeros((a.shape[1], b.shape[1]))
    for j in range(a.shape[1]):
        at = np.unique(a[:, j])
        mine = np.searchsorted(a[:, j], at, side="right") / len(a)
        before = np.searchsorted(a[:, j], at, side="left") / len(a)
        for k in range(b.shape[1]):
            right = np.searchsorted(b[:, k], at, side="right") / len(b)
            left = np.searchsorted(b[:, k], at, side="left") / len(b)
            out[j, k] = max(np.abs(right - mine).max(), np.abs(left - before).max())
    return out


def of_classes(
    mine: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], called: tuple[str, str]
) -> str | None:
    """That the classes of another file seem to be numbered otherwise, in a sentence; None where they do not.

    Args:
        mine: records [n, *f] and labels [n].
        other: records [N, *f] and labels [N].
        called: the two files, in words.
    """
    both = [_labeled(*each) for each in (mine, other)]
    classes = 1 + max(int(y.max()) for _, y in both)
    if min(len(y) for _, y in both) < max(FEW, 5 * classes):
        return None
    count = np.stack([np.bincount(y, minlength=classes) for _, y in both])
    if ((count > 0) & (count < RECORDS)).any() or ((count[0] > 0) != (count[1] > 0)).any() or classes < 2:
        return None
    pairs = ((0, 0), (1, 1), (0, 1))
    told = [_table(both[one], both[two], classes, own=one == two) for one, two in pairs]
    chance = max(table.sum(axis=1).max() / table.sum() for table in told)
    right = [float(np.trace(table) / table.sum()) for table in told]
    rows, match = optimize.linear_sum_assignment(-told[2])
    best = float(told[2][rows, match].sum() / told[2].sum())
    known = min(right[:2])
    over = known - chance
    if over < KNOWN * (1 - chance) or best - chance < AS_WELL * over or right[2] > WRONG * best:
        return None
    moved = [k for k in range(classes) if match[k] != k and told[2][k].sum()]
    some = ", ".join(f"class {k} is as {match[k]} there" for k in moved[:3]) + (", ..." if len(moved) > 3 else "")
    return (
        f"The classes of {called[1]} seem to be numbered otherwise than those of {called[0]}: {some}; {right[2]:.0%} of"
        f" its records are nearest to their own class there, and {best:.0%} with the other numbers. Number them as the"
        " target does."
    )


def _labeled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some records [k, f], 0 for what is missing, and their labels [k]."""
    rows = samples.rows(len(y), 4 * ROWS)
    return np.nan_to_num(x.reshape(len(x), -1)[rows].astype(np.float64)), np.asarray(y)[rows]


def _table(
    one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray], classes: int, own: bool
) -> np.ndarray:
    """int [c, c], of the classes of records which mean of another file's class they are nearest to; of its own, of half
    of its records, to the means of the others."""
    if own:
        one, two = (one[0][::2], one[1][::2]), (one[0][1::2], one[1][1::2])
    (x, y), (x_new, y_new) = one, two
    here = np.bincount(y, minlength=classes) > 0
    means = np.stack([x[y == k].mean(axis=0) if here[k] else np.zeros(x.shape[1]) for k in range(classes)])
    sd = (x - means[y]).std(axis=0) + 1e-3 * x.std(axis=0)
    weight = np.divide(1, sd, out=np.zeros_like(sd), where=sd > 0)
    center = x.mean(axis=0)
    new, known = (x_new - center) * weight, (means - center) * weight
    new, known = np.clip(new, -5, 5), np.clip(known, -5, 5)
    distance = (known**2).sum(axis=1) - 2 * new @ known.T + np.where(here, 0.0, np.inf)
    table = np.zeros((classes, classes), int)
    np.add.at(table, (y_new, distance.argmin(axis=1)), 1)
    return table
