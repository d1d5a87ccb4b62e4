"""Whether all models' numbers are in one order: which records are hard is much the same for all of them.

Models are compared pair by pair, by rank correlations within a run of rows, so that a group in another order is seen
however large it is; and each on its own members beside what the others have on theirs. Rows that are permuted in the
same way in all models, and with who trained them, are seen by nothing. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse, stats
from scipy.sparse import csgraph

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import slipped_rows
from mia_jax.types import Array

LEVEL = 1e-5  # of all tests of a file together
CONFIRMED = 3.0  # standard errors of what others have in common, that another test compared a model with
COMPARED, SAMPLE = 16, 16384  # shadows that are looked at; and records, by which those that trained a model are
NEAR = 32  # rows around, whose mean is taken off: classes that one model finds harder may be side by side
LEAST = 100  # rows of a run, or of each model's members
AGREE = 0.5  # of the strongest pairs' correlation, above which two models are of one order
THIRD = 1 / 3  # of the usual correlation, below which a model has lost it
WIDE = 0.15  # times as widely spread on members as on others: less is known by heart, and of no order


class Odd(NamedTuple):
    """Models that are not in the order of the others."""

    which: np.ndarray  # int, of these
    own: float  # their mean correlation with the others
    usual: float  # the others' with each other
    together: bool  # they agree with each other
    z: float  # standard errors between both, of the farthest


def odd(models: Array, trained: Array, member: Array | None = None) -> list[tuple[Odd, slice]]:
    """The models whose rows may be in another order, or of another sign, and in which run of rows.

    Args:
        models: float [1 + S, n], of target and shadows, larger where a model fits the record better.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target; where it is not known the target is not looked at.
    """
    few = samples.models(len(trained), COMPARED, member is not None)
    who = np.vstack([np.zeros(np.shape(models)[1], bool) if member is None else member, trained])[few].astype(bool)
    numbers = np.asarray(models, np.float64)[few]
    if len(few) < 4 or numbers.shape[1] < LEAST:
        return []
    whole = slice(0, numbers.shape[1])
    runs = [whole, *(run for run in slipped_rows.runs(whole.stop) if run.stop - run.start >= LEAST)]
    bar = float(stats.norm.isf(LEVEL / (len(runs) * len(few))))
    near, far = _near_and_far(numbers, who)
    found = [(one, run) for run in runs if (one := _both(near, far, who, np.arange(whole.stop)[run], bar))]
    found = [(_as_elsewhere(one, near, who, run), run) for one, run in found]
    return [(one._replace(which=few[one.which]), run) for one, run in found if len(one.which)]


def doubts(found: list[tuple[Odd, slice]], rows: np.ndarray, least: int = 1) -> tuple[str, ...]:
    """The same in a sentence; () where nothing was found.

    Args:
        found: of ``odd``.
        rows: int [n], what rows are called.
        least: models without which nothing is said.
    """
    enough = [one for one in found if len(one[0].which) >= least]
    if not enough:
        return ()
    which, run = max(enough, key=lambda one: one[0].z)
    where = f" in {naming.rows(rows[run.start], rows[run.stop - 1])}" if run.stop - run.start < len(rows) else ""
    return (_said(which, where),)


def alone(models: np.ndarray, who: np.ndarray, k: int, rows: np.ndarray) -> bool:
    """Whether model k of [K, n] does not go with the others, which go with each other, on some rows, int.

    Args:
        models: float [K, n].
        who: bool [K, n], who trained them.
        k: the model.
        rows: int, in their order.
    """
    mine = who[:, rows]
    for ranks in _near_and_far(models[:, rows], mine):
        alike = _pairs(ranks, mine)
        rest = np.delete(np.delete(alike, k, axis=0), k, axis=1)
        usual, own = rest.sum() / (len(rest) * (len(rest) - 1)), float(np.delete(alike[k], k).mean())
        if usual * np.sqrt(len(rows)) < CONFIRMED or own > AGREE * usual:
            return False
    return True


def note(models: Array, trained: Array, member: Array) -> tuple[str, ...]:
    """What is to be said where all models' numbers on their own members go with nothing, in a sentence.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained, member: as of ``odd``.
    """
    few, some = samples.models(len(trained), COMPARED), samples.rows(np.shape(models)[1], SAMPLE)
    who = np.vstack([member, trained])[few][:, some].astype(bool)
    numbers = np.asarray(models, np.float64)[few][:, some]
    if len(few) < 4 or min(who.sum(axis=1).min(), (~who).sum(axis=1).min()) < LEAST:
        return ()
    own, root = _with_others(numbers, who), np.sqrt(who.sum(axis=1).mean())
    new = _with_others(numbers, ~who)
    wide = [np.subtract(*np.percentile(a[m], (75, 25))) for a, m in zip(numbers, who, strict=True)]
    wide_new = [np.subtract(*np.percentile(a[~m], (75, 25))) for a, m in zip(numbers, who, strict=True)]
    lost = abs(float(np.mean(own))) * root < 3 and float(np.mean(new)) * root > 4 and np.max(own) < np.min(new) * THIRD
    if not lost or np.median(wide) < WIDE * np.median(wide_new):
        return ()
    return (
        f"On their own members the models' numbers do not go with each other's (rank correlation {np.mean(own):.2f}),"
        f" and on records new to them they do ({np.mean(new):.2f}): members' rows seem to be in an order of each"
        " model's own (a loader that shuffles), unless they are known by heart.",
    )


def _near_and_far(numbers: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(zip(numbers, who, strict=True))
    return np.stack([_ranked(*one, True) for one in pairs]), np.stack([_ranked(*one, False) for one in pairs])


def _both(near: np.ndarray, far: np.ndarray, who: np.ndarray, rows: np.ndarray, bar: float) -> Odd | None:
    """The models that are odd on some rows by ranks near by and on the whole."""
    one, other = (_odd(_pairs(ranks[:, rows], who[:, rows]), len(rows), bar) for ranks in (near, far))
    if not one or not other or not len(which := np.intersect1d(one.which, other.which)):
        return None
    return one._replace(which=which)


def _as_elsewhere(odd: Odd, near: np.ndarray, who: np.ndarray, run: slice) -> Odd:
    """Those of models that are odd on a run of rows which go with the others on the other rows, as these do.

    In a file in the order of how hard records are, a model that prefers other classes goes with no other anywhere near.
    """
    rest = np.ones(near.shape[1], bool)
    rest[run] = False
    if rest.sum() < LEAST:
        return odd
    alike = _pairs(near[:, rest], who[:, rest])
    main = np.setdiff1d(np.arange(len(near)), odd.which)
    usual = alike[np.ix_(main, main)].sum() / max(len(main) * (len(main) - 1), 1)
    return odd._replace(which=odd.which[alike[np.ix_(odd.which, main)].mean(axis=1) > AGREE * usual])


def _ranked(row: np.ndarray, sides: np.ndarray, near: bool) -> np.ndarray:
    """Ranks among members and among others: what is remembered plays no part; near: without the mean of those around.

    Of a file in the order of its classes, or of how hard records are, some models may hold these to be easier.
    """
    out = np.zeros(len(row))
    for side in (sides, ~sides):
        if side.sum() > 1:
            ranks = stats.rankdata(row[side])
            out[side] = _scaled(ranks, max(1, len(ranks) // NEAR) if near else 1)
    return out


def _scaled(ranks: np.ndarray, parts: int) -> np.ndarray:
    """Of mean 0, in each part of a file, and of variance 1."""
    part = np.arange(len(ranks)) * parts // max(1, len(ranks))
    ranks = ranks - (np.bincount(part, ranks) / np.bincount(part))[part]
    return ranks / max(float(ranks.std()), 1e-9)


def _pairs(ranks: np.ndarray, who: np.ndarray) -> np.ndarray:
    """float [K, K]: correlations of models' ranks [K, n], of members and of others each without their mean here."""
    count, total = who.sum(axis=1, keepdims=True), (ranks * who).sum(axis=1, keepdims=True)
    others = (ranks.sum(axis=1, keepdims=True) - total) / np.maximum(ranks.shape[1] - count, 1)
    ranks = ranks - np.where(who, total / np.maximum(count, 1), others)
    ranks = ranks / np.maximum(np.sqrt((ranks**2).sum(axis=1, keepdims=True)), 1e-9)
    alike = ranks @ ranks.T
    np.fill_diagonal(alike, 0.0)
    return alike


def _odd(alike: np.ndarray, rows: int, bar: float) -> Odd | None:
    """The models that do not go with the largest group of such as do; None where all are of one order, or of none."""
    strong = float(np.quantile(alike[np.triu_indices(len(alike), 1)], 0.9))
    if strong * np.sqrt(rows) < bar:
        return None
    _, group = csgraph.connected_components(sparse.csr_matrix(alike > AGREE * strong), directed=False)
    size = np.bincount(group)
    main, rest = np.flatnonzero(group == size.argmax()), np.flatnonzero(group != size.argmax())
    if len(main) < 3 or not len(rest):
        return None
    usual = float(alike[np.ix_(main, main)].sum() / (len(main) * (len(main) - 1)))
    own = alike[np.ix_(rest, main)].mean(axis=1)
    apart = (np.arctanh(min(usual, 0.999)) - np.arctanh(np.clip(own, -0.999, 0.999))) * np.sqrt(rows - 3)
    lost = (own < THIRD * usual) & (own * np.sqrt(rows) < 3) & (apart > bar)
    if not lost.any():
        return None
    which = rest[lost]
    among = alike[np.ix_(which, which)]
    together = len(which) > 1 and among.sum() / (len(which) * (len(which) - 1)) > AGREE * usual
    return Odd(which, float(own[lost].mean()), usual, bool(together), float(apart.max()))


def _said(found: Odd, where: str) -> str:
    names = found.which
    whose = naming.models(names, " and of ")
    why = "of the other sign" if found.own < -THIRD * found.usual else "in another order, or of other records"
    return (
        f"The numbers of {whose}{where} do not go with the other models' (rank correlation {found.own:.2f}, where the"
        f" others' with each other is {found.usual:.2f}){', but with each other' if found.together else ''}: they seem"
        f" to be {why}{' there' if where else ''}. Ask {'these models' if len(names) > 1 else 'this model'} again, or"
        f" leave {'them' if len(names) > 1 else 'it'} out."
    )


# --- on their own members ------------------------------------------------------------------------------------------


def _with_others(numbers: np.ndarray, rows: np.ndarray, near: bool = True) -> np.ndarray:
    """float [K]: each model's mean rank correlation with the others, on rows bool [K, n] of its own; near: nearby."""
    out = np.zeros(len(numbers))
    for k, of in enumerate(rows):
        ranks = np.stack([_ranked(one[of], of[of], near) for one in numbers])
        out[k] = np.delete(ranks @ ranks[k] / max(int(of.sum()), 1), k).mean()
    return out


def on_members(models: Array, trained: Array, member: Array | None = None) -> tuple[str, ...]:
    """Why one side's rows of a few models may be in another order, in a sentence: the others' go together on theirs.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained, member: as of ``odd``.
    """
    few, some = samples.models(len(trained), COMPARED, member is not None), samples.rows(np.shape(models)[1], SAMPLE)
    who = np.vstack([np.zeros(np.shape(models)[1], bool) if member is None else member, trained])
    who, numbers = who[few][:, some].astype(bool), np.asarray(models, np.float64)[few][:, some]
    if len(few) < 4:
        return ()
    bar = float(stats.norm.isf(LEVEL / (2 * len(few))))
    for rows, words in ((who, "its own members"), (~who, "records new to it")):
        count = rows.sum(axis=1)
        if count.min() < LEAST:
            continue
        odd = np.ones(len(few), bool)
        for near in (False, True):
            each = _with_others(numbers, rows, near)
            usual, root = float(np.median(each)), np.sqrt(count - 3)
            apart = (np.arctanh(min(usual, 0.999)) - np.arctanh(np.clip(each, -0.999, 0.999))) * root
            odd &= (each < THIRD * usual) & (each * root < 3) & (apart > bar) & (usual * root > bar)
        other = _with_others(numbers, ~rows, False)
        odd &= other > AGREE * np.median(other)  # where both sides are lost it is no loader of members
        if not odd.any() or 2 * odd.sum() >= len(each):
            continue
        return (
            f"On {words} the numbers of {naming.models(few[odd], ' and of ')} do not go with other models' (rank"
            f" correlation {each[odd].mean():.2f}, where the others' is {usual:.2f}): the order of these rows seems to"
            " be lost (a loader that shuffles), or they are known by heart, as no other model knows its own.",
        )
    return ()
