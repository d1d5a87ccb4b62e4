"""Whether numbers, one for each record and model, belong together: one unit, one order, each with its members.

What ``consistency``, ``memorization`` and ``slipped_rows`` ask of class probabilities, of any number that is larger
where a model fits a record better. Records are compared by their ranks within a model, so that tails do not matter, and
only spreads are compared as they are. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import padded_rows, slipped_rows
from mia_jax.checks.membership import memorization, run_ends, slipped_members, unlike_memberships, untold_rows
from mia_jax.checks.models import unlike_shadows
from mia_jax.checks.models.unlike_shadows import Beside
from mia_jax.checks.signals import filled_signals, mixed_signals, repeated_signals, signal_orders, signal_scales
from mia_jax.types import Array

LEVEL = 1e-5  # of each test, over all shadows together
SAMPLE = 1 << 18  # records that are looked at, of more
LEAST = 50  # records without which nothing is said
SIDE, MANY = 30, 150  # records new to a model by which its spread is told, and the shape of it
TIMES = 10.0  # as wide as the shadows' numbers, or as narrow: another unit
WORTH = 0.05  # difference of mean ranks that is worth a word
BENT = 2.0  # times as uneven on both sides of the median: another function of the error
SPREADS = 6.0  # standard deviations of the shadows' among each other, that a target's must lie beyond, too
# Standard errors of rank correlations: among shadows, of a target in another order, and of one with the other sign.
AGREE, APART, OPPOSED, THIRD = 10.0, 3.0, 5.0, 1 / 3


class Sides(NamedTuple):
    """How a number goes with who trained whom: correlations in standard errors."""

    which: np.ndarray  # int [S'], shadows that trained on some of the records and not on others
    z: np.ndarray  # float [S', S'], shadow's numbers against the row of shadow_member
    target: float | None  # the target's numbers against member, where it is known


def doubts(
    target: Array,
    shadows: Array,
    shadow_member: Array,
    member: Array | None = None,
    related: Array | None = None,
) -> tuple[str, ...]:
    """Why numbers of target and shadows may not belong together, in sentences; () where they seem to.

    Args:
        target: float [n], larger where the target fits the record better.
        shadows: float [S, n], the same of the shadows.
        shadow_member: bool [S, n], who trained them.
        member: bool [n], who trained the target, where it is known.
        related: bool [1 + S, 1 + S], ``membership.related`` of the target and the shadows; None: no shadow is looked
            at in the target's place.
    """
    rows = samples.rows(np.size(target), SAMPLE)
    models = np.vstack([np.asarray(target, np.float64)[rows], np.asarray(shadows, np.float64)[:, rows]])
    trained = np.asarray(shadow_member, bool)[:, rows]
    mine = None if member is None or np.all(member) or not np.any(member) else np.asarray(member, bool)[rows]
    if len(rows) < LEAST:
        return ()
    ranks = np.stack([2 * stats.rankdata(row) / (len(row) + 1) - 1 for row in models])
    found = (
        None if mine is None or related is None else beside(models[0], models[1:], trained, mine, np.asarray(related))
    )
    said = (
        _same(models, trained)
        or repeated_signals.doubts(models)
        or repeated_signals.scattered(models, trained, mine)
        or repeated_signals.in_order(models)
        or padded_rows.of_numbers(models, trained, mine, rows)
        or filled_signals.doubts(models, trained, mine, rows)
        or _order(ranks, trained, mine, rows)
        or _spread(models, trained, mine)
        or signal_scales.moved(models, trained, mine)
        or _sides(ranks, trained, mine)
        or signal_scales.doubts(models[1:], trained)
        or (() if mine is None or found is None else slipped_members.of_shadows(found, mine, trained, rows))
        or signal_orders.on_members(models, trained, mine)
        or repeated_signals.running(models, trained, mine)
    )
    if said:
        return said
    odd = signal_orders.odd(models, trained, mine)
    return (
        signal_orders.doubts(odd, rows, least=2)
        or mixed_signals.doubts(models, trained, mine, rows)
        or signal_orders.doubts(odd, rows)
        or (() if mine is None or found is None else _as_shadows(found, trained, mine, rows))
        or (() if mine is None else run_ends.doubts(models[0], models[1:], trained, mine, rows))
        or (() if mine is None or related is None else untold_rows.doubts(models, trained, mine, related, rows))
        or unlike_memberships.doubts(models, trained, mine, rows)
    )


def comparable(models: Array) -> np.ndarray:
    """float [S, n] in (0, 1): numbers' ranks among those of all models, ties on the middle of theirs."""
    models = np.asarray(models, np.float64)
    return (stats.rankdata(models) / (models.size + 1)).reshape(models.shape)


def twins(models: Array) -> np.ndarray:
    """int [S]: the first of models [S, n] that gives the same numbers, bit by bit; itself where it is the first."""
    models = np.asarray(models, np.float64)
    low, high = models.min(), models.max()
    return memorization.twins(0.1 + 0.8 * (models[..., None] - low) / (high - low or 1.0))  # which reads probabilities


def _same(models: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """The doubt of shadows that give the target's numbers, or each other's, of numbers [1 + S, n]."""
    first = twins(models)
    own = np.flatnonzero(first[1:] == 0)
    if not len(own):
        again = [k for k in range(len(trained)) if first[1 + k] != 1 + k]
        other = [k for k in again if (trained[k] != trained[first[1 + k] - 1]).any()]
        if not other:
            return ()
        return (
            f"Shadows {first[1 + other[0]] - 1} and {other[0]} (counted from 0) give the same numbers, bit by bit,"
            " though other records are said to have trained them: one model was asked twice. Ask again.",
        )
    return (
        f"{naming.shadows(own).capitalize()} {'gives' if len(own) == 1 else 'give'} the target's own numbers, bit by"
        " bit: the target was saved for a shadow, or the wrong model was asked.",
    )


# --- one value, one unit, one order ----------------------------------------------------------------------------------


def _new(models: np.ndarray, trained: np.ndarray, mine: np.ndarray | None) -> list[np.ndarray]:
    """The numbers of each model on records that did not train it; on all, where ``member`` is not known."""
    who = np.zeros(models.shape, bool) if mine is None else np.vstack([mine, trained])
    return [row[~of] for row, of in zip(models, who, strict=True)]


def _spread(models: np.ndarray, trained: np.ndarray, mine: np.ndarray | None) -> tuple[str, ...]:
    """A target whose numbers are of another unit, or another function, than the shadows'."""
    new = _new(models, trained, mine)
    if len(new[0]) < SIDE:
        return ()
    told = [np.percentile(one, (10, 25, 50, 75, 90)) for one in (new[0], *(a for a in new[1:] if len(a) >= SIDE))]
    wide = np.array([high - low for _, low, _, high, _ in told])
    if len(wide) < 2 or not (wide > 0).all():
        return ()
    # Who trained the target may make it narrower, where shadows trained on few of the records, or on none.
    most = TIMES if mine is not None else TIMES**2
    if abs(ratio := _beyond(np.log(wide))) > np.log(most):
        times = float(np.exp(abs(ratio)))
        return (
            f"The target's numbers are spread {times:,.3g} times as {'widely' if ratio > 0 else 'narrowly'} as the"
            " shadows': they seem to be of another unit, or another function of the error (a sum and a mean, an error"
            " and its square, another scaler). Save the same number of all models.",
        )
    halves = np.array([(middle - low, high - middle) for low, _, middle, _, high in told])
    if mine is None or len(told) <= unlike_shadows.LEAST or len(new[0]) < MANY or not (halves > 0).all():
        return ()
    bent = _beyond(np.log(halves[:, 0] / halves[:, 1]))
    every = np.percentile(models, (25, 50, 75), axis=1)  # where who trained whom is wrong, too
    each = np.log(np.maximum(every[1] - every[0], 1e-300) / np.maximum(every[2] - every[1], 1e-300))
    whole = (each[0] - float(np.median(each[1:]))) * np.sign(bent)
    if abs(bent) > np.log(BENT) and whole > np.log(BENT) / 2:
        return (
            "The target's numbers are distributed otherwise than the shadows' (of records new to the models, the lower"
            f" half is {np.exp(abs(bent)):.2g} times as {'wide' if bent > 0 else 'narrow'}, beside the upper one): they"
            " seem to be another function of the error, as its square is, or the target to be another kind of model."
            " Save the same number of all models.",
        )
    return ()


def _beyond(each: np.ndarray) -> float:
    """How far the first lies from the others' median; 0 where it is within what they are spread by."""
    apart = each[0] - np.median(each[1:])
    return float(apart) if abs(apart) > SPREADS * np.std(each[1:]) else 0.0


def _order(ranks: np.ndarray, trained: np.ndarray, mine: np.ndarray | None, rows: np.ndarray) -> tuple[str, ...]:
    """A target whose rows are in another order than the shadows', which agree on what is hard; or of another sign.

    What a model remembers is in an order of its own: where ``member`` is known, records new to each model are compared.
    """
    if len(ranks) < 3:
        return ()
    whole, who = ranks[1:].sum(axis=0), np.zeros(trained.shape, bool) if mine is None else trained
    new = np.ones(ranks.shape[1], bool) if mine is None else ~mine
    if min(new.sum(), (~who).sum(axis=1).min()) < SIDE:
        return ()
    each = [samples.correlation(one[~of], (whole - one)[~of]) for one, of in zip(ranks[1:], who, strict=True)]
    common, root = float(np.median(each)), np.sqrt(new.sum())
    own = samples.correlation(ranks[0][new], whole[new])
    if common * root > AGREE:
        if own * root < -OPPOSED and own < -common * THIRD:
            return (
                "Records that fit the shadows well fit the target badly, and the other way round: one of them has the"
                " other sign. A number is larger where a model fits the record better: minus a loss.",
            )
        if own * root < APART and own < common * THIRD:
            return (
                f"The target's numbers do not go with the shadows' (rank correlation {own:.2f} with their mean, where"
                f" one shadow's with the others' is {common:.2f}): its rows seem to be in another order than theirs"
                f"{'' if mine is not None else ', or it remembers its records as no shadow does'}.",
            )
    mean = whole / (len(ranks) - 1)
    whole_file = rows[-1] - rows[0] == len(rows) - 1  # and no sample, in which the row beside is not
    if whole_file and (found := slipped_rows.slip(ranks[0][:, None], mean[:, None])):
        where = naming.rows(rows[found.first], rows[found.last])
        return (
            f"The target's numbers in {where} fit the shadows' of the record {naming.beside(found.by)} each: they seem"
            " to be shifted there.",
        )
    return ()


# --- who trained whom ------------------------------------------------------------------------------------------------


def _sides(ranks: np.ndarray, trained: np.ndarray, mine: np.ndarray | None) -> tuple[str, ...]:
    """Models that fit their said members worse than others, or the members of another model."""
    which = np.flatnonzero(trained.any(axis=1) & ~trained.all(axis=1))
    if not len(which) or (len(which) > 1 and (trained[which] == trained[which[0]]).all()):
        return ()
    own, rows = (_residuals(a) for a in (ranks[1:][which], trained[which].astype(np.float64)))
    z = own @ rows.T * np.sqrt(ranks.shape[1] - 1)
    known = Sides(which, z, None if mine is None else _of_target(ranks, trained, mine))
    return _of_shadows(known) or (() if known.target is None else _of_member(known))


def _residuals(rows: np.ndarray) -> np.ndarray:
    """Rows [S, n] without each record's mean, of mean 0 and length 1."""
    rows = rows - rows.mean(axis=0) if len(rows) > 1 else rows
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-9)


def _of_target(ranks: np.ndarray, trained: np.ndarray, mine: np.ndarray) -> float:
    """How the target's ranks go with ``member`` among records that are as hard for shadows, in standard errors."""
    count = (~trained).sum(axis=0)
    rows = count > 0
    if rows.sum() < LEAST:
        return 0.0
    hard = (ranks[1:] * ~trained).sum(axis=0)[rows] / count[rows]
    explained = np.stack([np.ones(len(hard)), hard, hard**2], axis=1)
    both = np.stack([ranks[0][rows], mine[rows].astype(np.float64)], axis=1)
    both = both - explained @ np.linalg.lstsq(explained, both, rcond=None)[0]
    return samples.correlation(*both.T) * float(np.sqrt(len(hard) - 3))


def _bar(tests: int) -> float:
    return float(stats.norm.isf(LEVEL / tests))


def _of_shadows(known: Sides) -> tuple[str, ...]:
    z, count = known.z, len(known.which)
    own, bar = np.diag(z), _bar(count**2)
    fits, rows = optimize.linear_sum_assignment(z, maximize=True)
    best = z[fits, rows]
    moved = (rows != fits) & (best > bar) & (best - own > 1.5 * bar) & (best > 1.5 * np.abs(own))
    if moved.sum() > 1:
        pairs = [f"shadow {known.which[k]}'s numbers fit row {known.which[rows[k]]}" for k in np.flatnonzero(moved)[:4]]
        return (
            f"The rows of shadow_member seem to be in another order than the shadows: {', '.join(pairs)}"
            f"{', ...' if moved.sum() > 4 else ''} (counted from 0).",
        )
    together = own.sum() / np.sqrt(2 * count)
    if together < -_bar(1) and (own < 0).mean() > 0.8:
        said = "The shadows' numbers are smaller on the records that shadow_member says trained them than on others"
        loss = "the loss seems to have been saved where minus the loss is asked, for a number is larger where a model"
        if known.target is not None and known.target > 2.5:
            return (f"{said}, and the target's are larger on its members: shadow_member seems to be inverted.",)
        if known.target is not None and known.target < -2.5:
            return (f"{said}, and so are the target's: {loss} fits the record better (or a signed error).",)
        return (f"{said}: {loss} fits the record better; or shadow_member is inverted.",)
    inverted = own < -_bar(count)
    if not inverted.any():
        return ()
    return (
        f"The numbers of {naming.shadows(known.which[inverted])} are smaller on the records that"
        " shadow_member says trained it than on others, and those of the other shadows are not: these rows of"
        " shadow_member seem to be inverted, or the loss to have been saved for minus the loss.",
    )


def _of_member(known: Sides) -> tuple[str, ...]:
    assert known.target is not None
    each = np.diag(known.z)
    if known.target < -max(_bar(1), each.mean() / 2) and each.sum() / np.sqrt(2 * len(each)) > _bar(1):
        return (
            "The target's numbers are smaller on its said members than on others, and the shadows' are larger on"
            " theirs: member seems to be inverted, or the numbers of members to be those of models that held them out.",
        )
    return ()


def beside(target: Array, shadows: Array, shadow_member: Array, member: Array, related: Array) -> Beside | None:
    """Each model in the target's place, by ranks among all numbers; None where too few can be.

    Args:
        target, shadows: float [n] and [S, n].
        shadow_member, member, related: as of ``doubts``.
    """
    p = comparable(np.vstack([target, shadows]))
    return unlike_shadows.beside(p[0], member, p[1:], shadow_member, related)


def notes(found: Beside | None) -> tuple[str, ...]:
    """How the target is unlike its shadows where nothing is doubted, in sentences.

    Args:
        found: of ``beside``.
    """
    if found is None:
        return ()
    if said := unlike_shadows.notes(found, level=False):
        return said
    names = {"inside": "its members", "outside": "others", "both": "all records"}
    off = next(((where, by) for name, where in names.items() if (by := found.off(name, WORTH))), None)
    if off is None:
        return ()
    where, by = off
    return (
        f"The target fits {where} {'better' if by > 0 else 'worse'} than shadows fit the same records (by"
        f" {abs(by):.2f} in the mean rank of the number, from 0 to 1), which differ less among each other: it may be"
        " trained otherwise, on more or fewer records, a mean of several models, or member may lack some of its"
        " records. Attacks that compare them can be weaker: train the shadows as the target was.",
    )


def _as_shadows(found: Beside, trained: np.ndarray, mine: np.ndarray, rows: np.ndarray) -> tuple[str, ...]:
    """A target, or a part of it, that is told by chance, or far worse, where each shadow in its place is told."""
    return (
        unlike_shadows.doubts(found, mine)
        or slipped_members.of_target(found, mine, trained, rows)
        or unlike_shadows.gross(found)
    )
