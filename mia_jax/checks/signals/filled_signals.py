"""Numbers that stand for none: one value for many records, as where nothing was answered, or where all are cut.

NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.types import Array

SHARE, FEW = 0.03, 10  # of the records that have one value, and how many they are, at least
VARIOUS = 0.9  # of the other values differ from each other: else many are equal anyway
ALIKE = 3.0  # standard errors above which equal values are of records that are easy for shadows, too
ALL = 0.98  # of the records with one value are the same in all models
ATOM, TIMES = 0.01, 5  # of the records that failed calls are, and times as often as the second most frequent value
ALONE = 4  # models of which one shadow alone has such records at a bound
SAME_ORDER = 0.999  # rank correlation of models that order all records alike
CUT = 0.1  # of each model's numbers that are one value, which is worth a word
DUE = 6.0  # standard errors by which records at a bound should be easier, or harder, for others than any


def doubts(models: Array, trained: Array, member: Array | None = None, rows: Array | None = None) -> tuple[str, ...]:
    """Why numbers of target or shadows may be filled in or cut, in a sentence; () where they seem not to be.

    A model that fits its own records without an error gives many of them one number: those are left out. So is what is
    as often equal in shadows, on other records: a bound at which numbers are cut.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    models = np.asarray(models, np.float64)
    called = np.arange(models.shape[1]) if rows is None else np.asarray(rows)
    who = np.vstack([np.zeros(models.shape[1], bool) if member is None else member, trained]).astype(bool)
    if member is None:
        who[:] = False
    pairs = list(zip(models, who, strict=True))
    return _of_target(
        models, np.array([_frequent(row, of) for row, of in pairs]), called, member is not None
    ) or _failed(models, np.array([_atom(row, of) for row, of in pairs]), who, called, member is not None)


def recurring(sure: Array, trained: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of models of which each gives some records one answer of its own, in a sentence.

    Args:
        sure: float [1 + S, n], the probability of the true class, of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target.
    """
    sure, who = np.asarray(sure, np.float64), np.vstack([member, trained]).astype(bool)
    each = np.array([_atom(row, of) for row, of in zip(sure, who, strict=True)])
    inner = [k for k, rows in enumerate(each) if rows.any() and sure[k].min() < sure[k][rows][0] < sure[k].max()]
    if len(inner) < len(each) / 2 or any(_copies(each[k], np.delete(sure, k, axis=0)) for k in inner):
        return ()
    value, count = sure[inner[0]][each[inner[0]]][0], int(each[inner[0]].sum())
    return (
        f"In {len(inner)} of {len(each)} models one probability of the true class recurs, for other records in each,"
        f" and no other does ({value:.4g} {count:,} times): answers seem to be filled in where there were none. Ask"
        " again, or leave such records out.",
    )


def cut(models: Array, trained: Array, member: Array | None = None) -> tuple[str, ...]:
    """What is to be said of models of which each has one number for many records, other ones each, in a sentence.

    0 and 1 are left out, which an error, an overlap or a probability can reach, and what models know by heart.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
    """
    models = np.asarray(models, np.float64)
    who = np.vstack([np.zeros(models.shape[1], bool) if member is None else member, trained]).astype(bool)
    each = np.array([_frequent(row, of) for row, of in zip(models, who, strict=True)])
    shares = each.mean(axis=1)
    if shares.min() < CUT or each.all(axis=0).sum() >= ALL * each.any(axis=0).sum():
        return ()
    values = np.array([row[of][0] for row, of in zip(models, each, strict=True)])
    if np.isin(values, (0, 1)).any():
        return ()
    low, high = values == models.min(axis=1), values == models.max(axis=1)
    words = "smallest" if low.all() else "largest" if high.all() else "most frequent"
    least, most = values.min(), values.max()
    value = f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
    rows = np.flatnonzero(each.any(axis=0))
    run = len(rows) and rows[0] > models.shape[1] * CUT  # else they are from the whole file
    where = f", all from row {rows[0]} on (counted from 0)" if run else ""
    return (
        f"Each model's {words} number ({value}) is that of {shares.min():.0%} of the records or more ({shares[0]:.0%}"
        f" in the target){where}, and nearly all others differ: numbers seem to be cut there, unless what they"
        " measure ends there, which hides how much better a model fits its members. Save them uncut.",
    )


def _frequent(row: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """bool [n]: the records that have the most frequent value, where it is frequent and all others differ."""
    values, counts = np.unique(row[~trained], return_counts=True)
    k = int(np.argmax(counts)) if len(counts) else 0
    many = len(counts) > 1 and counts[k] >= max(FEW, SHARE * counts.sum())
    rest = counts.sum() - counts[k] if len(counts) else 0
    there = many and rest > 0 and len(counts) - 1 >= VARIOUS * rest
    return (row == values[k]) if there else np.zeros(len(row), bool)


def _of_target(models: np.ndarray, each: np.ndarray, called: np.ndarray, known: bool) -> tuple[str, ...]:
    """One value for many records, the same ones in all models, or of the target alone; bool each [1 + S, n]."""
    if not each[0].any():
        return ()
    shares = np.mean(each, axis=1)
    value, share = models[0][each[0]][0], shares[0]
    where = naming.some_rows(called[each[0]])
    said = f"the number of {share:.0%} of the records ({where}) is {value:.4g}, and all others differ"
    if each[1:].any(axis=1).all() and each.all(axis=0).sum() >= ALL * each.any(axis=0).sum():
        return (
            f"In target and shadows {said}: these, the same ones in all models, seem to be filled in, as where nothing"
            " was answered. Leave them out of all arrays.",
        )
    usual = 2 * shares[1:].max() + SHARE
    for bound, beyond, side in (
        (models[0].min(), models[1:] < value, "below"),
        (models[0].max(), models[1:] > value, "above"),
    ):
        if value == bound and beyond.mean() > share / 3 and share > usual:
            return (
                f"No number of the target is {side} {value:.4g}, which {share:.0%} of the records have, and"
                f" {beyond.mean():.0%} of the shadows' are: the target's seem to be cut. Cut all models'"
                " numbers, or none.",
            )
    bound = value in (models[0].min(), models[0].max())
    if bound and (not known or _goes_with(each[0], models[1:])):  # a target that is surer than shadows are
        return ()
    if share > usual:
        return (
            f"Of the target {said}; the shadows' are no such value there: these seem to be filled in, as where nothing"
            " was answered. Leave them out of all arrays, or ask again.",
        )
    return ()


def _atom(row: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """bool [n]: the records that have a value which recurs where no other does.

    Records that trained the model count where it is no bound: what is known by heart may be the best that there is.
    """
    inner = (row > row.min()) & (row < row.max())
    trained = trained & ~inner
    values, counts = np.unique(row[~trained], return_counts=True)
    if len(counts) < 3:
        return np.zeros(len(row), bool)
    k = int(np.argmax(counts))
    second, rest = np.delete(counts, k).max(), counts.sum() - counts[k]
    there = counts[k] >= max(FEW, ATOM * counts.sum(), TIMES * second) and len(counts) - 1 >= VARIOUS * rest
    return (row == values[k]) & ~trained if there else np.zeros(len(row), bool)


def _failed(models: np.ndarray, each: np.ndarray, who: np.ndarray, called: np.ndarray, known: bool) -> tuple[str, ...]:
    """A value of each model's own that recurs for records that are not the easiest or the hardest of the others."""
    if (low := _each_its_bound(models)) is not None:
        return (
            f"The same {int(low.sum()):,} records ({naming.some_rows(called[low])}) have, in target and shadows, each"
            f" model's {_bound_name(models, low)} number, and no other number recurs: these seem to be filled in, as"
            " where nothing was answered. Leave them out of all arrays, or ask again.",
        )
    odd, at_bound = [], []
    plain = np.array([not rows.any() for rows in each])  # models by which is told how easy records are
    for k, rows in enumerate(each):
        if not rows.any() or _copies(rows, np.delete(models, k, axis=0)):
            continue
        if models[k][rows][0] in (models[k].min(), models[k].max()):
            at_bound.append(k)
        else:
            odd.append(k)
    if known and at_bound:
        due, found = np.array([_easy(models, k, each[k], ~who[k], plain) for k in at_bound]).T
        together = due.sum() > DUE * np.sqrt(len(due)) and found.sum() < ALIKE * np.sqrt(len(due))
        odd += [k for k, one, other in zip(at_bound, due, found, strict=True) if together or (one > DUE > 2 * other)]
    if known and len(at_bound) <= len(models) / ALONE and not odd:  # where all are cut, all have it
        others = [(np.delete(models, k, axis=0) == models[k][each[k]][0]).mean() for k in at_bound]
        odd += [k for k, share in zip(at_bound, others, strict=True) if k and share < each[k].mean() / 10]
    odd.sort()
    if not odd:
        return ()
    k = odd[0]
    value = models[k][each[k]][0]
    return (
        f"One value recurs among the numbers of {naming.models(odd)}, and no other does ({value:.4g} in"
        f" {int(each[k].sum()):,} records, {naming.some_rows(called[each[k]])}): it seems to be filled in where nothing"
        " was answered. Ask again, or leave such records out.",
    )


def _each_its_bound(models: np.ndarray) -> np.ndarray | None:
    """bool [n]: records that have each model's own smallest number, or largest, the same ones in all; None: none are.

    Of records that are cut at a bound, some would be others from model to model; a number that all models share may be
    such a bound. Models that order all records alike may be constants.
    """
    for bound in (models.min(axis=1), models.max(axis=1)):
        at = models == bound[:, None]
        rows, rest = at.all(axis=0), ~at.any(axis=0)
        enough = rows.sum() >= max(FEW, ATOM * len(rows)) and rows.sum() >= ALL * (at.any(axis=0).sum() - len(models))
        if len(models) < 3 or not enough or np.ptp(bound) == 0 or rest.sum() < FEW:
            continue
        various = min(len(np.unique(one[rest])) for one in models) >= VARIOUS * rest.sum()
        ranks = [stats.rankdata(one[rest]) for one in models[:2]]
        if various and abs(samples.correlation(*ranks)) < SAME_ORDER:
            return rows
    return None


def _bound_name(models: np.ndarray, rows: np.ndarray) -> str:
    return "smallest" if models[0][rows][0] == models[0].min() else "largest"


def _easy(models: np.ndarray, k: int, rows: np.ndarray, new: np.ndarray, plain: np.ndarray) -> tuple[float, float]:
    """How easy records at model k's bound, bool [n], should be for others, as the rest is, and are: in errors.

    The others are those of ``plain``, bool [1 + S], in which no value recurs, where there are two.
    """
    others = models[plain] if plain.sum() > 1 else np.delete(models, k, axis=0)
    others = np.mean([stats.rankdata(one) for one in others], axis=0)
    others = (others - others[new].mean()) / max(float(others[new].std()), 1e-9)
    rest = new & ~rows
    agreed = max(0.0, samples.correlation(stats.rankdata(models[k][rest]), others[rest]))
    sign = 1 if models[k][rows][0] == models[k].max() else -1
    root = np.sqrt(rows.sum())  # the mean rank of the easiest is sqrt(3) (1 - share) standard deviations
    due = agreed * np.sqrt(3) * (1 - rows.sum() / new.sum()) * root
    return float(due), float(sign * others[rows].mean() * root)


def _copies(rows: np.ndarray, others: np.ndarray) -> bool:
    """Whether the same records have one value in the other models, too: they are copies of one record."""
    return all(np.unique(one[rows], return_counts=True)[1].max() > rows.sum() / 2 for one in others)


def _goes_with(rows: np.ndarray, shadows: np.ndarray) -> bool:
    """Whether some records, bool [n], are easier or harder than others for shadows [S, n]."""
    hard = np.mean([stats.rankdata(one) for one in shadows], axis=0)
    return abs(samples.correlation(rows.astype(np.float64), hard)) * np.sqrt(len(rows)) > ALIKE
