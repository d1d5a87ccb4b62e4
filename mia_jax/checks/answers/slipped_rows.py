"""Rows of a part of a file whose answers are about other records: off by one from somewhere on, or mixed up.

A target of which half of the rows slipped by one is still right far above chance, and every score is wrong. It shows
where answers, row by row, are nearer to what other models say of the record before or after than to what they say of
the row's own; or where a run of rows is right no better than by chance, though shadows know it and the target knows the
rest. NumPy and SciPy; never imports jax.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming, samples
from mia_jax.checks.chance import MARGIN, beyond_chance
from mia_jax.types import Array

SURE = 6.0  # standard errors by which rows must be nearer to others than to their own
NEAR, FAR = 8, 6  # rows: every slip up to here is tried, and of longer ones those that look likeliest
OWN = 0.5  # of what rows gain far away, beside any record, that they must gain beside their own
COLUMNS = 32  # classes, of more of which random sums are compared
COMPARED = 16  # shadows that are looked at
BLOCKS, LEAST = 16, 40  # parts of a file in which rows may be mixed up, of so many rows
TELLING = 8.0  # standard errors above chance that a run of rows should be answered
AS_EASY = 0.7  # times as many as elsewhere, that shadows answer rightly: else a run is hard
PART = 1 / 3  # of what should be right beyond chance: fewer are guesses
FAR_FROM = 5.0  # standard errors between what is right and what should be
SIDE = 30  # rows elsewhere that tell how right a target should be


class Slip(NamedTuple):
    """Rows whose answers are about other records: row i about record i + ``by``."""

    first: int
    last: int
    by: int
    z: float  # standard errors


def of_answers(
    labels: Array,
    target: Array,
    shadows: Array | Sequence[Array],
    shadow_member: Array,
    member: Array | None = None,
) -> tuple[str, ...]:
    """Why some rows of the target, of a shadow or of the labels may be about other records, in sentences; or ().

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
    """
    labels, classes = np.asarray(labels), np.shape(target)[1]
    if not len(shadows):
        return ()
    few = samples.every(len(shadows), COMPARED)
    each = np.stack([features(p) for p in shadows[few]])
    whole, own, said = each.sum(axis=0), features(target), features(np.eye(classes)[labels])
    of_target, of_labels = (slip(model, whole / len(each)) for model in (own, said))
    if of_target and of_labels and slip(own, said) is None:
        rows = f"The shadows' answers in {_rows(of_target)}"
        return (f"{rows} fit the target's answers and the labels {_beside(-of_target.by)}: {_shifted(of_target)}.",)
    if of_target:
        rows = f"The target's answers in {_rows(of_target)}"
        return (f"{rows} fit the shadows' {_beside(of_target.by)}: {_shifted(of_target)}.",)
    if of_labels:
        return (
            f"The labels in {_rows(of_labels)} fit the answers of all models {_beside(of_labels.by)}:"
            f" {_shifted(of_labels)}.",
        )
    if len(each) > 2 and (said := _some_shadows(np.arange(len(shadows))[few], each, own)):
        return (said,)
    answered = np.stack([np.asarray(p).argmax(axis=1) for p in shadows[few]])
    new = ~np.asarray(shadow_member, bool)[few]
    share = np.stack([np.bincount(row, minlength=classes)[labels] for row in answered]) / len(labels)
    usual = (((answered == labels) - share) * new).sum(axis=0) / np.maximum(new.sum(axis=0), 1)
    return _mixed_up(labels, np.asarray(target).argmax(axis=1), usual, classes, member)


def _some_shadows(which: np.ndarray, each: np.ndarray, own: np.ndarray) -> str | None:
    """The sentence on shadows int [K] some of whose rows slipped; features [K, n, k] of them, and [n, k] of the target.

    A group of shadows of which the same row was lost is half of what the mean over shadows is: what is compared with is
    the target and the shadows that none was found of.
    """
    slipped: dict[int, Slip] = {}
    for _ in range(2):  # once more, beside those that are left
        left = [k for k in range(len(each)) if k not in slipped]
        rest = each[left].sum(axis=0) + own
        for k in left:
            if found := slip(each[k], (rest - each[k]) / len(left), far=False):
                slipped[k] = found
        if not slipped:
            for k in left:  # half of all, and as many others: the target alone tells which are which
                if found := slip(each[k], own, far=False):
                    slipped[k] = found
    if not slipped:
        return None
    most = max(slipped.values(), key=lambda one: one.z)
    group = which[[k for k, found in slipped.items() if found.by == most.by]]
    return (
        f"The answers of {naming.shadows(np.sort(group))} in {_rows(most)} fit the other models' {_beside(most.by)}:"
        f" {_shifted(most)}."
    )


def of_service(
    labels: Array, answers: Array, rows: Array, member: Array | None = None, shadow_right: Array | None = None
) -> tuple[str, ...]:
    """The same of a service's answers, beside the labels.

    Args:
        labels: int [n], of the whole file.
        answers: probabilities [m, c], of the records that were asked about.
        rows: int [m], where these are in the file, in the order in which they were asked.
        member: bool [m], where it is known.
        shadow_right: bool [S, m], on which of them shadows are right, none of which trained on any.
    """
    labels, rows, answers = np.asarray(labels), np.asarray(rows), np.asarray(answers)
    classes = answers.shape[1]
    own, said = features(answers), features(np.eye(classes)[labels])
    in_file, asked = slip(own, said, rows), slip(own, said[rows])
    if found := max(in_file, asked, key=lambda one: one.z if one else 0.0):
        told = found._replace(first=int(rows[found.first]), last=int(rows[found.last]))
        where = "" if found is in_file else ", in the order in which they were asked,"
        return (f"The service's answers to {_rows(told)}{where} fit the labels {_beside(found.by)}: {_shifted(told)}.",)
    if shadow_right is None:
        return ()
    answered = answers.argmax(axis=1)
    usual = np.mean(shadow_right, axis=0) - np.bincount(answered, minlength=classes)[labels[rows]] / len(rows)
    return _mixed_up(labels[rows], answered, usual, classes, member, rows)


# --- rows that slipped -----------------------------------------------------------------------------------------------


def features(p: Array) -> np.ndarray:
    """float32 [n, k]: square roots of probabilities [n, c], whose distances are Hellinger's; of many classes sums."""
    root = np.sqrt(np.asarray(p, np.float32))
    if root.shape[1] <= COLUMNS:
        return root
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (root.shape[1], COLUMNS))
    return root @ (signs / np.float32(np.sqrt(COLUMNS)))


def slip(own: np.ndarray, others: np.ndarray, place: np.ndarray | None = None, *, far: bool = True) -> Slip | None:
    """The rows of one model that are about other records than they should be; None where none seem to be.

    Where models agree at all, answers are nearest to what is said of their own record, and where they do not they are
    as near to any other. So the sum over a run of rows of how much nearer they are to a record beside rises only where
    rows slipped. It is in standard errors of its own terms, which needs no moments: z / sqrt(1 + ...) of a t statistic.
    Where columns were exchanged, or labels are wrong, all others are nearer than the own one: rows must be nearer than
    to the average of such records, too, and, where records are sorted, than to those around.

    Args:
        own: ``features`` [m, k] of a model, or of labels.
        others: the same [n, k] of other models, their mean.
        place: int [m], the record of ``others`` that a row should be about; None: its own.
        far: look for a slip of any length.
    """
    place = np.arange(len(own)) if place is None else place
    if len(own) < LEAST:
        return None
    square, own_square = np.einsum("ic,ic->i", others, others), np.einsum("ic,ic->i", own, own)

    def distance(at: np.ndarray) -> np.ndarray:
        return (own_square + square[at] - 2 * np.einsum("ic,ic->i", own, others[at])).astype(np.float64)

    here, first = distance(place), place[0]

    def average(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
        return (
            own_square[rows] + square[window].mean() - 2 * np.einsum("ic,c->i", own[rows], others[window].mean(axis=0))
        )

    def around(at: np.ndarray) -> np.ndarray:
        steps = [k for k in range(-NEAR, NEAR + 1) if k and at[0] + k != first]
        return np.mean([distance(np.clip(at + k, 0, len(others) - 1)) for k in steps], axis=0)

    best = None
    for by in _likely(own, others, place, FAR if far else 0):
        at = place + by
        there = (at >= 0) & (at < len(others))
        beside = distance(np.where(there, at, 0))
        run = largest_run(np.where(there, here - beside, 0.0))
        rows = np.flatnonzero(there[run]) + run.start
        if len(rows) < SURE**2:  # no sum of so few terms is as many standard errors
            continue
        references = [here[rows], *(average(rows, window[rows]) for window in (place, at))]
        if abs(by) > NEAR and (here[rows] - beside[rows]).sum() < OWN * (references[1] - beside[rows]).sum():
            continue  # rows fit their own record well, and a near copy of it far away
        z = min(_errors(reference - beside[rows]) for reference in references)
        if z > (best.z if best else SURE) and _errors(around(at)[rows] - beside[rows]) > SURE:
            best = Slip(run.start, run.stop - 1, by, z)
    return best


def largest_run(gain: np.ndarray) -> slice:
    """The run of rows over which the sum of ``gain`` [n] is the largest."""
    total = np.concatenate([[0.0], np.cumsum(gain)])
    last = max(int(np.argmax(total - np.minimum.accumulate(total))), 1)
    return slice(int(np.argmin(total[:last])), last)


def _errors(terms: np.ndarray) -> float:
    return float(terms.sum() / np.sqrt(max((terms**2).sum(), 1e-12)))


def _likely(own: np.ndarray, others: np.ndarray, place: np.ndarray, count: int) -> list[int]:
    """By how many rows answers may have slipped: the nearest, and ``count`` where neighbors' differences correlate."""
    n = len(others)
    near = samples.slips(min(NEAR, n - 1))
    if not count:
        return near
    size = 1 << int(np.ceil(np.log2(2 * n)))
    power = np.zeros(size // 2 + 1, complex)
    for a, b in zip(own.T, others.T, strict=True):
        x = np.zeros(n)
        x[place] = np.diff(a, prepend=a[:1])
        power += np.conj(np.fft.rfft(x, size)) * np.fft.rfft(np.diff(b, prepend=b[:1]), size)
    alike = np.fft.irfft(power, size)
    alike[: NEAR + 1] = alike[-NEAR:] = alike[n : size - n + 1] = -np.inf  # tried in any case; beyond the file
    far = [int(k) for k in np.argsort(alike)[-count:] if np.isfinite(alike[k])]
    return near + [by if by < n else by - size for by in far]


def _rows(found: Slip) -> str:
    return naming.rows(found.first, found.last)


def _beside(by: int) -> str:
    return f"of the record {naming.beside(by)} each"


def _shifted(found: Slip) -> str:
    by = "one" if abs(found.by) == 1 else f"{abs(found.by)} rows"
    return f"they seem to be shifted by {by} there, as where a row was lost, or came twice, at row {found.first}"


# --- rows that are mixed up ------------------------------------------------------------------------------------------


def _mixed_up(
    labels: np.ndarray,
    answered: np.ndarray,
    usual: np.ndarray,
    classes: int,
    member: Array | None,
    rows: np.ndarray | None = None,
) -> tuple[str, ...]:
    """The longest run of rows on which the target guesses, where shadows that did not train on them do not.

    Args:
        labels, answered: int [n], and the target's best class.
        usual: float [n], how often beyond chance shadows that a record did not train are right on it.
        classes: their number.
        member: bool [n], where it is known.
        rows: int [n], what rows are called; None: as they are numbered.
    """
    chance = np.bincount(answered, minlength=classes)[labels] / len(labels)
    beyond = (answered == labels) - chance
    sides = [np.ones(len(labels), bool)] if member is None else [np.asarray(member, bool), ~np.asarray(member, bool)]
    for run in runs(len(labels)):
        outside = np.ones(len(labels), bool)
        outside[run] = False
        error = np.sqrt((chance * (1 - chance))[run].sum())
        if error == 0:  # all of one class, there and in all answers: nothing to be right or wrong about
            continue
        gain, due = beyond[run].sum(), usual[run].sum()
        as_elsewhere = sum(
            beyond[outside & side].mean() * side[run].sum() for side in sides if (outside & side).sum() >= SIDE
        )
        due = min(due, as_elsewhere)
        rest = beyond[outside].sum() / np.sqrt(max((chance * (1 - chance))[outside].sum(), 1e-9))
        if gain > MARGIN * error or min(due / error, rest) < TELLING or gain > PART * due:
            continue
        if due - gain < FAR_FROM * np.sqrt(due + error**2):  # of few records, most may be wrong by accident
            continue
        if usual[run].mean() < AS_EASY * usual[outside].mean():
            continue
        if beyond_chance(labels[run], answered[run], classes).most < TELLING:  # a class never learned
            continue
        first, last = (run.start, run.stop - 1) if rows is None else (rows[run.start], rows[run.stop - 1])
        right, known = (naming.percent((labels == answered)[some].mean()) for some in (~outside, outside))
        return (
            f"In {naming.rows(first, last)} the target is right on {right} of the records, no better than"
            f" guessing, on {known} of the others, and shadows know them all. Its answers there seem to be in another"
            " order than the records, or to be about records of another kind.",
        )
    return ()


def runs(n: int) -> Iterator[slice]:
    """Runs of rows, the longest first; never nearly all of them."""
    edges = np.linspace(0, n, min(BLOCKS, max(1, n // LEAST)) + 1).astype(int)
    for length in range(len(edges) - 2, 0, -1):
        for k in range(len(edges) - length):
            yield slice(int(edges[k]), int(edges[k + length]))
