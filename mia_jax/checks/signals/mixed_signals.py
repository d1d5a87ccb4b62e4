"""Rows of a part of a model's numbers that are in another order, or about other records, than those of the others.

A number per record is the same kind of thing in all models, and what is hard for the others is hard for a model that
did not train on it. Where that holds elsewhere, and for the others there, a run of rows in which it does not is mixed
up. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import slipped_rows
from mia_jax.checks.signals import signal_orders
from mia_jax.types import Array

LEAST = 40  # rows of a run
COMPARED = 16  # shadows that are looked at
GOES = 5.0  # standard errors of the correlation that a run should have, by what others have there
LOST, THIRD = 3.0, 1 / 3  # standard errors that the model's own is below, and its share of what others have
SURE = 6.0  # standard errors between both


def doubts(models: Array, trained: Array, member: Array | None = None, rows: Array | None = None) -> tuple[str, ...]:
    """Why rows of a part of the target, or of a shadow, may be mixed up, in a sentence; () where they seem not to be.

    Args:
        models: float [1 + S, n], of target and shadows, larger where a model fits the record better.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target; where it is not known parts are not looked at, for its members may
            be a run of rows that it knows by heart, nor is the target.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    called = np.arange(np.shape(models)[1]) if rows is None else np.asarray(rows)
    few = samples.models(len(trained), COMPARED, member is not None)
    if len(few) < 4:
        return ()
    who = np.vstack([np.zeros(np.shape(models)[1], bool) if member is None else member, trained])[few].astype(bool)
    ranks = np.stack([_scaled(stats.rankdata(row)) for row in np.asarray(models)[few]])
    hard = np.stack([_scaled(_others(ranks, who, k)) for k in range(len(few))])
    numbers = np.asarray(models, np.float64)[few]
    for k, number in enumerate(few):
        whose = "The target's numbers" if number == 0 else f"The numbers of {naming.shadows([number - 1])}"
        if number and (found := slipped_rows.slip(ranks[k][:, None], hard[k][:, None], far=False)):
            where = naming.rows(called[found.first], called[found.last])
            return (
                f"{whose} in {where} fit the others' of the record {naming.beside(found.by)} each: they seem to be"
                " shifted there.",
            )
        sides = [np.flatnonzero(~who[k]), np.flatnonzero(who[k]), np.arange(len(who[k]))]
        if _is_lost(ranks, hard, who, k, sides[0], sides[0][:0]):
            return (_said(whose, None),)
        for side in sides if member is not None else ():
            run = _run(ranks, hard, who, k, side)
            # In a file in the order of its classes, or of how hard records are, models may differ in a part.
            if len(run) and signal_orders.alone(numbers, who, k, run):
                return (_said(whose, called[run]),)
    return ()


def _scaled(row: np.ndarray) -> np.ndarray:
    row = row - row.mean()
    return row / max(float(row.std()), 1e-9)


def _others(ranks: np.ndarray, who: np.ndarray, k: int) -> np.ndarray:
    """float [n]: how well records fit the other models, the median, without those that trained on them if there are."""
    counted = ~who
    counted[k] = False
    rest = np.arange(len(ranks)) != k
    counted |= ~counted.any(axis=0) & rest[:, None]
    with np.errstate(all="ignore"):
        return np.nanmedian(np.where(counted, ranks, np.nan), axis=0)


def _said(whose: str, run: np.ndarray | None) -> str:
    where = "" if run is None else f" in {naming.rows(run[0], run[-1])}"
    return (
        f"{whose}{where} do not go with the others', which agree on which records are hard{' there' if where else ''}:"
        " rows seem to be in another order, or about other records. Ask this model again, or leave it out."
    )


def _run(ranks: np.ndarray, hard: np.ndarray, who: np.ndarray, k: int, rows: np.ndarray) -> np.ndarray:
    """int: the run of the rows in which model k alone does not go with the others; empty where there is none."""
    products = ranks[k][rows] * hard[k][rows]
    if len(rows) < 2 * LEAST:
        return rows[:0]
    run = rows[slipped_rows.largest_run(max(0.1, float(np.mean(products))) / 2 - products)]
    rest = np.setdiff1d(rows, run)
    found = min(len(run), len(rest)) >= LEAST and _is_lost(ranks, hard, who, k, run, rest)
    return run if found else rows[:0]


def _is_lost(ranks: np.ndarray, hard: np.ndarray, who: np.ndarray, k: int, run: np.ndarray, rest: np.ndarray) -> bool:
    """Whether model k does not go with the others in ``run``, rows in which they agree, and does in ``rest``.

    What is known by heart goes with nobody: of a run that trained model k, others are looked at on what trained them.
    """
    if len(run) < LEAST:
        return False
    own, each, sides = _correlation(ranks[k][run], hard[k][run]), [], np.unique(who[k][run])
    for j in range(len(ranks)):
        like = run[np.isin(who[j][run], sides)]
        if j != k and len(like) >= LEAST / 2:
            each.append(_correlation(ranks[j][like], hard[j][like]))
    common, root = float(np.median(each)) if each else 0.0, np.sqrt(len(run))
    for side in (rest[who[k][rest]], rest[~who[k][rest]]):  # who knows its members by heart goes with nobody on them
        if len(side):
            common = min(common, _correlation(ranks[k][side], hard[k][side]))
    apart = (np.arctanh(min(common, 0.999)) - np.arctanh(np.clip(own, -0.999, 0.999))) * root
    return bool(common * root > GOES and own * root < LOST and own < THIRD * common and apart > SURE)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = _scaled(stats.rankdata(a)), _scaled(stats.rankdata(b))
    return float((a * b).mean())
