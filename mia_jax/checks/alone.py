"""What a target's answers alone tell of whether labels, rows and ``member`` are theirs, where no shadows were given.

On its own members a model is right more often than by chance, wherever they are in the file, and it is no less sure of
them than of others. All else needs other models to compare with, and that is said. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.checks.answers import padded_rows, slipped_rows
from mia_jax.checks.chance import KNOWS, MARGIN, TELLING, Beyond, beyond_chance
from mia_jax.checks.labels import consistency
from mia_jax.checks.membership import own_members, run_ends
from mia_jax.checks.naming import percent
from mia_jax.statistics import metrics
from mia_jax.types import Array

SAMPLE = 1 << 18  # records that are looked at, of more
NEAR = 3  # rows: every slip up to here is tried
LEAST, SIDE = 40, 20  # rows of a run, and members and others among them
OVER = 0.2  # by which a model is surer than right where labels are not its own
STEADY = 0.1  # by which it may be less sure there than elsewhere: else these records are hard
LEARNED = 0.5  # Cohen's kappa elsewhere
NOTHING = 0.05  # kappa on its own members, and share beyond the most frequent class's, of a model that guesses
FITS, LOST = 7.0, 2.5  # standard errors of what fits the row beside, and of what its own membership tells
INVERTED = 4.5  # standard errors below one half
TOLD, APART = 6.0, 6.0  # standard errors by which members are told elsewhere, and between the two AUCs


class _Target(NamedTuple):
    """The records that are looked at."""

    labels: np.ndarray  # int [n]
    answered: np.ndarray  # int [n], the likeliest class
    best: np.ndarray  # float [n], its probability
    sure: np.ndarray  # float [n], the label's
    member: np.ndarray  # bool [n]
    rows: np.ndarray  # int [n], what they are called
    classes: int

    def chosen(self, which: np.ndarray | slice) -> "_Target":
        """Some of them, int or bool [k], or a run."""
        arrays = (self.labels, self.answered, self.best, self.sure, self.member, self.rows)
        return _Target(*(array[which] for array in arrays), self.classes)

    def parted(self, run: slice) -> "tuple[_Target, _Target]":
        """The records of a run, and all others."""
        outside = np.ones(len(self.rows), bool)
        outside[run] = False
        return self.chosen(run), self.chosen(outside)

    @property
    def right(self) -> np.ndarray:
        """bool [n]."""
        return self.answered == self.labels

    def told(self) -> tuple[float, float] | None:
        """The AUC of how sure it is of the label, and its standard error by chance; None of too few."""
        if min(self.member.sum(), (~self.member).sum()) < SIDE:
            return None
        return metrics.area(self.sure, self.member)

    def beyond(self) -> Beyond:
        """How its answers go with the labels, beyond chance."""
        return beyond_chance(self.labels, self.answered, self.classes)


def doubts(labels: Array, target: Array, member: Array | None) -> tuple[str, ...]:
    """Why labels, answers and ``member`` may not belong together, in sentences; () where they seem to.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        member: bool [n], who trained the target; None: not known, and little is told.
    """
    if said := consistency.of_target(labels, target, member):
        return said
    one = None if member is None else _target(labels, target, member)
    return () if one is None else _other_labels(one) or _beside(one) or _inverted(one)


def notes(labels: Array, target: Array, member: Array | None) -> tuple[str, ...]:
    """What is to be said where nothing is doubted, in sentences.

    Args:
        labels, target, member: as of ``doubts``: int [n], probabilities [n, c], bool [n] or None.
    """
    said = padded_rows.of_target(target)
    one = None if member is None else _target(labels, target, member)
    if one is None:
        return said
    assert member is not None
    if never := own_members.never_wrong(labels, target, member):
        return (*said, *never)
    of_rows = _untold_run(one) or run_ends.notes(one.labels, one.sure, one.member, one.rows) or _unknown(one)
    return (*said, *of_rows, *own_members.of_target_alone(labels, target, member))


def _target(labels: Array, target: Array, member: Array) -> _Target | None:
    """What is looked at; None where few are members, or few others."""
    labels, p = np.asarray(labels), np.asarray(target)
    some = samples.rows(len(labels), SAMPLE)
    labels, p, mine = labels[some], p[some], np.asarray(member, bool)[some]
    if min(mine.sum(), (~mine).sum()) < LEAST:
        return None
    answered, at = p.argmax(axis=1), np.arange(len(some))
    sure = p[at, labels].astype(np.float64)
    return _Target(labels, answered, p.max(axis=1).astype(np.float64), sure, mine, some, p.shape[1])


# --- labels ----------------------------------------------------------------------------------------------------------


def _other_labels(one: _Target) -> tuple[str, ...]:
    """A target that is sure of its members and right by chance, on all of them or in a run of rows that it knows."""
    own = one.chosen(one.member)
    if _mistaken(own):
        text = f"The target is right on {percent(own.right.mean())} of its own members, as by chance, and is sure of"
        return (f"{text} its answers (with {own.best.mean():.2f}): {_slipped(one) or _OTHER}.",)
    beyond = own.beyond()
    if one.classes > 2 and beyond.most >= TELLING and beyond.z <= MARGIN:
        return (_learned_nothing(own),)
    expected = np.bincount(own.answered, minlength=one.classes)[own.labels] / len(own.labels)
    gain = own.right - expected
    run = slipped_rows.largest_run(0.5 * gain.mean() - gain)
    here, rest = own.parted(run)
    if min(len(here.labels), len(rest.labels)) < LEAST or not _mistaken(here):
        return ()
    if here.beyond().z < -MARGIN:  # a file in the order of how right it is
        return ()
    if rest.beyond().kappa < LEARNED or here.best.mean() < rest.best.mean() - STEADY:
        return ()
    part = one.chosen((one.rows >= here.rows[0]) & (one.rows <= here.rows[-1]))
    return (
        f"In {naming.rows(here.rows[0], here.rows[-1])} the target is right on {percent(here.right.mean())} of its own"
        f" members, as by chance, and elsewhere on {percent(rest.right.mean())}, and is as sure of its answers:"
        f" {_slipped(part) or _OTHER} there.",
    )


def _learned_nothing(own: _Target) -> str:
    """That a target is right by chance on its own members, in a sentence."""
    frequent = np.bincount(own.labels).max() / len(own.labels)
    return (
        f"The target is right on {percent(own.right.mean())} of its own members, no better than guessing (the most"
        f" frequent class is {percent(frequent)}): it seems to be untrained (weights that were not loaded), or is asked"
        " about records otherwise than in its training, or the labels or answers are of other records."
    )


_OTHER = "the labels, or the answers, seem to be of other records"


def _mistaken(own: _Target) -> bool:
    beyond = own.beyond()
    return beyond.most >= TELLING and beyond.z <= MARGIN and own.best.mean() - own.right.mean() > OVER


def _slipped(one: _Target) -> str | None:
    """How far rows slipped, where the answers fit the labels so many rows on; else None."""
    if not _side_by_side(one):
        return None
    for by in samples.slips(NEAR):
        moved = one._replace(labels=np.roll(one.labels, -by))
        if moved.beyond().z > KNOWS:
            many = naming.so_many_rows(by)
            return f"they fit the labels of the record {naming.beside(by)} each, so one of both is off by {many}"
    return None


def _side_by_side(one: _Target) -> bool:
    """Whether these are all rows from one to another, and no sample, in which the row beside is not."""
    return bool(one.rows[-1] - one.rows[0] == len(one.rows) - 1)


# --- who is a member -------------------------------------------------------------------------------------------------


def _beside(one: _Target) -> tuple[str, ...]:
    """A file, or a run of rows, in which the membership of the row beside fits, and its own does not."""
    if not _side_by_side(one):
        return ()
    ranks, mine = stats.rankdata(one.sure), one.member.astype(np.float64)
    ranks = (ranks - ranks.mean()) / max(ranks.std(), 1e-9)
    best: tuple[float, slice, int, float, float] | None = None
    for by in samples.slips(NEAR):
        run = slipped_rows.largest_run(ranks * (np.roll(mine, -by) - mine))
        part = one.chosen(run)
        own, moved = part.told(), part._replace(member=np.roll(one.member, -by)[run]).told()
        if own is None or moved is None or len(part.rows) < 2 * LEAST:
            continue
        z, here = (moved[0] - 0.5) / moved[1], (own[0] - 0.5) / own[1]
        if z > max(FITS, best[0] if best else 0.0) and here < max(LOST, z / 5):
            best = z, run, by, own[0], moved[0]
    if best is None:
        return ()
    _, run, by, own_area, area = best
    where = "" if run.stop - run.start > 0.95 * len(mine) else f" in {naming.rows(one.rows[run][0], one.rows[run][-1])}"
    many = naming.so_many_rows(by)
    return (
        f"The target's answers{where} tell members with an AUC of {own_area:.2f}, and with {area:.2f} if each row takes"
        f" the membership of the record {naming.beside(by)}: member, or the answers, seem to be off by {many}.",
    )


def _inverted(one: _Target) -> tuple[str, ...]:
    told = one.told()
    if told is None or (told[0] - 0.5) / told[1] > -INVERTED:
        return ()
    return (
        f"The target is less sure of its said members than of others (AUC {told[0]:.2f}; mean probability of the label"
        f" {one.sure[one.member].mean():.2f} and {one.sure[~one.member].mean():.2f}): member seems to be inverted, or"
        " the answers about members to be in another order, or of models that held them out (cross_val_predict), or"
        " members are harder records, no random part of all.",
    )


def _untold_run(one: _Target) -> tuple[str, ...]:
    """The note on a run of rows in which members are told by chance, and elsewhere clearly."""
    ranks, mine = stats.rankdata(one.sure), one.member.astype(np.float64)
    product = (ranks - ranks.mean()) / max(ranks.std(), 1e-9) * (mine - mine.mean())
    run = slipped_rows.largest_run(0.5 * product.mean() - product)
    here, rest = (part.told() for part in one.parted(run))
    if here is None or rest is None or run.stop - run.start < LEAST:
        return ()
    surely = (rest[0] - 0.5) / rest[1] > TOLD and (rest[0] - here[0]) / np.hypot(here[1], rest[1]) > APART
    if not surely or (here[0] - 0.5) / here[1] > LOST:
        return ()
    return (
        f"In {naming.rows(one.rows[run][0], one.rows[run][-1])} members are told by how sure the target is with an AUC"
        f" of {here[0]:.2f}, elsewhere with {rest[0]:.2f}: member, labels or answers may be of other records there, or"
        " these records are as easy for any model. Shadows would tell which.",
    )


def _unknown(one: _Target) -> tuple[str, ...]:
    told, own = one.told(), one.chosen(one.member)
    beyond, frequent = own.beyond(), np.bincount(own.labels).max() / len(own.labels)
    if told is None or told[0] - 0.5 > LOST * told[1]:
        return ()
    guesses = beyond.most >= KNOWS and (beyond.z <= MARGIN or beyond.kappa < NOTHING)
    if guesses and own.right.mean() < frequent + NOTHING:
        return (_learned_nothing(own),)
    less = told[0] - 0.5 < -LOST * told[1]
    return (
        f"The target is {'less sure' if less else 'as sure'} of its said members {'than' if less else 'as'} of others"
        f" (AUC {told[0]:.2f}). Either it remembers little, or member is not that of these answers ("
        f"{'inverted, ' if less else ''}another split, rows in another order): without shadows nothing tells which.",
    )
