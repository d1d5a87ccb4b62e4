"""Who trained on what, and what that gives away: membership matrices, bool [S, n]. NumPy and SciPy; never imports jax.

An attack that compares a record with itself in other models may use which of the shadows trained on it, and that must
say nothing of the target's own training set. In two designs it does, exactly, whatever the target answers:

* **Complementary pairs.** The target's partner trained on what the target did not. (Of an odd number of records, pairs
  of halves leave one out of both.)
* **Fixed counts.** Each record is in exactly c of K models, as in the code of Carlini et al. 2022, where c = K / 2:
  with the target one of the K, how many of the other K - 1 trained on a record tells whether the target did.

So partners are left out, and where counts are fixed every record is given as many IN and as many OUT models as every
other. The same holds for a shadow that plays the target.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.rows import Rows, rows_of
from mia_jax.statistics import row_groups
from mia_jax.types import Array, InputError, few_of

VERSION = 1  # of who is left out of what: raise it when the same plan would give an attack other shadows
ALIKE = 0.5  # correlation of two rows beyond which they are no independent draws
SURE = 5.5  # standard errors that it must be away from 0, too
SMALL = 32  # records below which a correlation tells nothing, and only exact halves are halves
FEW_SETS = 4  # of records, of which several shadows each are worth little more than one each
CHANCE = 1e-6  # of counts as even as these, were the rows independent
SIGNIFICANCE = 1e-4  # an honest design is refused in one of ten thousand
USUAL = 10.0  # rows of a group, where few shadows do not tell: a refusal must be sure even so
SAMPLE = 2048  # records that are looked at first, of many
TELLS = (
    "shadow_member tells who trained the target: {}; draw each shadow's records at random, whoever trained the target,"
    " or ask only about records that were drawn so"
)


class Design(NamedTuple):
    """What may be used of the shadows."""

    kept: np.ndarray  # int [S'], rows that may be used
    fixed_counts: bool  # among these: of every record as many models on each side are to count (``draw_equal_counts``)
    notes: tuple[str, ...]  # what was left out, in sentences


# --- rows ------------------------------------------------------------------------------------------------------------


def related(member: Array | Rows) -> np.ndarray:
    """Which models trained on the same records, on complementary ones, or on draws that depend on each other.

    Two rows are the same, or complementary, up to the one record that two halves of an odd number leave out; or their
    correlation is above ``ALIKE`` and beyond chance. A model that trained on all records, or on none, tells nothing and
    is related to itself alone.

    Args:
        member: bool [S, n].

    Returns:
        bool [S, S], symmetric, true on the diagonal.
    """
    member = rows_of(member, bool)
    found = np.eye(len(member), dtype=bool)
    size = member.shape[1]
    if len(member) < 2 or size == 0:
        return found
    sample = np.asarray(member[:, np.linspace(0, size - 1, min(size, SAMPLE)).astype(int)], bool)
    near = np.abs(_correlation(sample, sample)) > 0.8 * ALIKE  # all of those that the whole rows can show
    for a, b in zip(*np.nonzero(np.triu(near, 1)), strict=True):
        found[a, b] = found[b, a] = _depend(member[a], member[b])
    return found


def unrelated(relations: np.ndarray, models: Iterable[int], *without: int) -> np.ndarray:
    """The ``models`` that may be shadows when those ``without`` play a part: neither they nor who is related to them.

    Args:
        relations: bool [K, K], ``related`` of all models.
        models: numbers of models.
        without: numbers of models, too.

    Returns:
        int [at most len(models)], in their order.
    """
    models = np.asarray(list(models), int)
    return models[~relations[list(without)][:, models].any(axis=0)]


def unpaired(relations: np.ndarray) -> np.ndarray:
    """Models without a relative where most have one: each is somebody's partner, and perhaps the target's.

    Args:
        relations: bool [K, K], ``related`` of all models.

    Returns:
        int, their numbers; none where fewer than most have a relative.
    """
    alone = relations.sum(axis=1) == 1
    return np.flatnonzero(alone) if 2 * alone.sum() < len(alone) else np.zeros(0, int)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the rows of bool [A, n] and [B, n]: float64 [A, B]; 0 for rows that are constant."""
    n = a.shape[1]
    both = a.astype(np.float32) @ b.astype(np.float32).T  # counts below 2^24: exact
    share_a, share_b = a.mean(axis=1), b.mean(axis=1)
    spread = np.sqrt(np.outer(share_a * (1 - share_a), share_b * (1 - share_b)))
    return np.divide(both / n - np.outer(share_a, share_b), spread, out=np.zeros_like(spread), where=spread > 0)


def _depend(a: np.ndarray, b: np.ndarray) -> bool:
    n = len(a)
    correlation = abs(float(_correlation(a[None], b[None])[0, 0]))
    if correlation == 0:
        return False
    apart = np.count_nonzero(a != b)
    exact = min(apart, n - apart) <= _aside(n)
    return bool(exact or (n >= SMALL and correlation > max(ALIKE, SURE / np.sqrt(n))))


def _aside(n: int) -> int:
    """Records in which two halves may differ from halves: the one that is left out of an odd number."""
    return 1 if n % 2 or n >= SMALL else 0


# --- counts ----------------------------------------------------------------------------------------------------------


def fixed_counts(member: Array | Rows) -> bool:
    """Whether every record is in as many models as every other, one more or less, though the rows are no pairs.

    ``member`` is bool [K, n], which of n records trained each model. Independent draws have that with a
    probability below ``CHANCE``.
    """
    member = rows_of(member, bool)
    if len(member) < 3:
        return False
    count = np.zeros(member.shape[1], np.int64)
    for row in member:
        count += row
    low, high = int(count.min()), int(count.max())
    if high - low > 1:
        return False
    share = np.ones(1)  # of records that are in 0, 1, ... of the models, were these independent
    for p in (np.mean(row) for row in member):
        share = np.convolve(share, [1 - p, p])
    likely = max(share[max(c, 0) : c + 2].sum() for c in ({low} if low < high else {low - 1, low}))
    if member.shape[1] * np.log(np.clip(likely, 1e-300, 1.0)) > np.log(CHANCE):
        return False
    return bool((related(member).sum(axis=1) == 1).any())


def draw_equal_counts(member: Array, seed: int = 0) -> np.ndarray:
    """For each record as many IN and as many OUT models as every record has at least, drawn at random.

    What is taken of the models then says nothing of a model that is not among them, as far as counts go.

    Args:
        member: bool [S, n].
        seed: of the draw.

    Returns:
        int [I + O, n]: rows of ``member``, each column in random order.
    """
    member = np.asarray(member, bool)
    rng = np.random.default_rng(seed)
    count = member.sum(axis=0)
    draw = rng.random(member.shape, np.float32)
    sides = [
        np.argsort(np.where(side, draw, 2.0), axis=0)[:size]
        for side, size in ((member, count.min()), (~member, len(member) - count.max()))
    ]
    return rng.permuted(np.concatenate(sides), axis=0)


# --- somebody else's design ------------------------------------------------------------------------------------------


def examine(
    shadow_member: Array, member: Array | None = None, *, per_example: bool = True, twins: Array | None = None
) -> Design:
    """What of the shadows may be used against a target, so that nothing but its answers tells who trained it.

    Args:
        shadow_member: bool [S, n].
        member: bool [n], who trained the target, where that is known: then it is tested, too.
        per_example: the attack compares a record with itself in other models.
        twins: int [S], the first shadow that gives the very same answers (``memorization.twins``); one that is said to
            have trained on the same records, too, counts once.

    Raises:
        InputError: the design tells who trained the target, and that cannot be mended here.
    """
    shadow_member = np.asarray(shadow_member, bool)
    kept, notes = np.arange(len(shadow_member)), []

    def leave_out(rows: np.ndarray, why: str) -> None:
        nonlocal kept
        rows = np.intersect1d(rows, kept)
        if len(rows):
            notes.append(f"{_shadows(rows)} left out: {why}.")
            kept = np.setdiff1d(kept, rows)

    if twins is not None:
        again = (twins != kept) & (shadow_member == shadow_member[twins]).all(axis=1)
        leave_out(np.flatnonzero(again), "the answers, bit by bit, and the training records are those of one before")
    if member is not None:
        member = np.asarray(member, bool)
        like = related(np.concatenate([member[None], shadow_member]))[0, 1:]
        agree = (shadow_member == member).sum(axis=1)
        if like.all() and not per_example:  # who looks at no single record learns from shadows of other records, too
            like = np.minimum(agree, len(member) - agree) <= _aside(len(member))
        same = 2 * agree > len(member)
        leave_out(
            np.flatnonzero(like & same), "trained on the target's own records, or nearly, which tells who they are"
        )
        leave_out(np.flatnonzero(like & ~same), "trained on what the target did not, which tells who its members are")
        if not len(kept):
            raise InputError(TELLS.format("every shadow trained on its very records, or on others alone"))
    leave_out(
        kept[unpaired(related(shadow_member[kept]))],
        "the others trained on complementary halves, and its half may be the target's complement, which would tell",
    )
    rows = shadow_member[kept]
    count = rows.sum(axis=0)
    fixed = fixed_counts(rows) and count.min() < count.max() and bool(count.min() > 0 and count.max() < len(rows))
    if fixed:
        notes.append(
            f"Every record trained {count.min()} or {count.max()} of {len(rows)} shadows, so that the count tells who"
            f" trained the target if it was drawn with them: of each record {count.min()} shadows that trained on it"
            f" and {len(rows) - count.max()} others, drawn at random, are used."
        )
    elif member is not None and per_example and (told := _association(rows, member, kept)):
        together = row_groups.size(rows)
        known = together > 1 or len(row_groups.independent(rows)) > row_groups.FEW
        if sure := _association(rows, member, kept, together if known else USUAL):
            raise InputError(_of_idle(rows, member, kept) or TELLS.format(sure))
        if not known:
            notes.append(
                f"shadow_member may tell who trained the target: {told}. That is beyond chance if each row was drawn"
                " for itself; where rows were drawn in groups, as all visits of a patient, so few shadows do not tell"
                f" it from chance, and {row_groups.FEW + 1} do. Draw each shadow's records whoever trained the target."
            )
    if note := _few_sets(rows):
        notes.append(note)
    return Design(kept, fixed, tuple(notes))


def _of_idle(rows: np.ndarray, member: np.ndarray, numbers: np.ndarray) -> str | None:
    """What is wrong where only records that trained no model at all tell members from others; None elsewhere."""
    idle = ~(rows.any(axis=0) | member)
    if not idle.any() or idle.all() or _association(rows[:, ~idle], member[~idle], numbers):
        return None
    return (
        f"{int(idle.sum()):,} of {len(idle):,} records trained neither the target nor any shadow, which tells that they"
        " are no members: leave them out of all arrays, by keep = member | shadow_member.any(axis=0)"
    )


def _few_sets(rows: np.ndarray) -> str | None:
    """A sentence where most shadows, bool [S, n], were trained on the very records of another; None elsewhere."""
    rows = rows[rows.any(axis=1) & ~rows.all(axis=1)]
    sets = len(np.unique(rows, axis=0))
    if not len(rows) or sets > min(FEW_SETS, len(rows) / 2):
        return None
    count = rows.sum(axis=0)
    one_sided = float(((count == 0) | (count == len(rows))).mean())
    which = "the same records" if sets == 1 else f"{sets} different sets of records"
    lacking = f": {one_sided:.0%} of the records trained all of them or none, and have nothing to be compared with"
    return (
        f"The {len(rows)} shadows were trained on {which}{lacking if one_sided else ''}. Models of one set count as one"
        " when thresholds are chosen, and its accidents as many. Draw the records of each shadow anew."
    )


def _association(rows: np.ndarray, member: np.ndarray, numbers: np.ndarray, together: float = 1.0) -> str | None:
    """How rows tell membership beyond chance, in words; None if they do not.

    Any row (hypergeometric, Bonferroni's correction), their number (its mean over members, a permutation's variance),
    a linear combination (the F test), each at a third of ``SIGNIFICANCE``. Where so many rows go ``together``
    (``row_groups.size``), there are so many times fewer draws, and normal laws of these.
    """
    level, n = SIGNIFICANCE / 3, len(member)
    inside, size = (rows & member).sum(axis=1), rows.sum(axis=1)
    law = stats.hypergeom(n, int(member.sum()), size)
    p = 2 * np.minimum(law.cdf(inside), law.sf(inside - 1)) * max(len(rows), 1)
    if together > 1:
        p = 2 * stats.norm.sf(np.abs(_correlation(member[None], rows)[0]) * np.sqrt(n / together)) * max(len(rows), 1)
    if len(p) and (k := int(p.argmin())) >= 0 and p[k] < level:
        return (
            f"shadow {numbers[k]} (counted from 0) trained on {inside[k] / max(member.sum(), 1):.0%} of the members and"
            f" on {(size[k] - inside[k]) / max(n - member.sum(), 1):.0%} of the others (p = {p[k]:.1g})"
        )
    count, taken = rows.sum(axis=0), int(member.sum())
    if count.min() < count.max() and 0 < taken < n:
        error = np.sqrt(together * count.var(ddof=1) / taken * (1 - taken / n))
        p = 2 * stats.norm.sf(abs(count[member].mean() - count.mean()) / error)
        if p < level:
            return (
                f"members trained {count[member].mean():.2f} of {len(rows)} shadows on average, and others"
                f" {count[~member].mean():.2f} (p = {p:.1g})"
            )
    return _combination(rows, member, level, together)


def _combination(rows: np.ndarray, member: np.ndarray, level: float, together: float) -> str | None:
    n = len(member)
    if n < 10 * len(rows) + 50 or member.all() or not member.any():
        return None
    x = np.concatenate([np.ones((1, n)), rows]).astype(np.float64)
    fit, _, rank, _ = np.linalg.lstsq(x @ x.T, x @ member, rcond=None)
    k = rank - 1  # of complementary rows one tells all
    free = n / together - 1 - k
    if k < 1 or free < 10:
        return None
    total = ((member - member.mean()) ** 2).sum()
    left = max(float(((member - fit @ x) ** 2).sum()), 1e-12)
    p = stats.f.sf((total - left) / k / (left / free), k, free)
    if p >= level:
        return None
    return f"a sum of its rows, weighted, explains {1 - left / total:.0%} of the variance of membership (p = {p:.1g})"


def share_note(shadow_member: Array, member: Array) -> str | None:
    """A sentence where shadows trained on another share of the records than the target did; None: on the same, or none.

    Attacks learn from the shadows how strongly a model remembers, and a model of more records remembers each of them
    less.

    Args:
        shadow_member: bool [S, n], which records trained each shadow.
        member: bool [n], which of them trained the target.
    """
    shadows, target = float(np.mean(shadow_member)), float(np.mean(member))
    by_chance = 3 * np.sqrt(target * (1 - target) / max(np.size(member), 1))  # where each record was drawn for itself
    if shadows == 0 or abs(shadows - target) <= max(0.05 * target, by_chance):
        return None
    return (
        f"The target was trained on {target:.0%} of these records, and a shadow on {shadows:.0%} on average. Attacks"
        " find most, and their boundaries are right, where shadows train on as large a share as the target."
    )


def _shadows(rows: np.ndarray) -> str:
    names = few_of(rows)
    return f"Shadow {names} (counted from 0) is" if len(rows) == 1 else f"Shadows {names} (counted from 0) are"
