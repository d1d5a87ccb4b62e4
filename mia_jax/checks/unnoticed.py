"""Mistakes that the checks would not notice in these very answers, found by making them in copies.

Models that remember little look the same with memberships of another run, or with rows in another order: no statistic
tells such a file from an honest one, and a low score may come from either. So what the checks can see is measured in
each file where memories are weak: a few usual mistakes are made in copies of it, and the checks are asked again. NumPy
and SciPy; never imports jax.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from mia_jax.checks import samples
from mia_jax.statistics import metrics

STRONG = 10.0  # standard errors by which shadows go with who trained them, from which on no mistake is tried
LARGEST = 1_000_000  # numbers of all shadows together; of more, trials would take longer than attacks
PART = 5  # a fifth of the records, the last one
LOST = 5  # rows, as those with missing values
START = "What the checks cannot see"  # how the note begins


class Given(NamedTuple):
    """What models said, and who trained them: what mistakes are made in."""

    labels: np.ndarray | None  # int [n]; None: numbers, which have none
    target: np.ndarray  # [n, ...]
    shadows: np.ndarray  # [S, n, ...]
    trained: np.ndarray  # bool [S, n], who trained the shadows
    member: np.ndarray | None  # bool [n], who trained the target, where that is known


def note(given: Given, sure: np.ndarray, noticed: Callable[[Given], bool]) -> tuple[str, ...]:
    """Which usual mistakes would not be noticed, in a sentence; () where all would be, or memories are strong.

    Args:
        given: of a file of which the checks say nothing; S is 0 where there are no shadows.
        sure: float [S, n], larger where a shadow fits the record better.
        noticed: whether the checks say anything of a copy.
    """
    if given.shadows.size > LARGEST:
        return ()
    both = given.trained.any(axis=1) & ~given.trained.all(axis=1)
    own, who = sure[both], given.trained[both]
    if len(own) and _strength(own, who) > STRONG:
        return ()
    tried = list(mistakes(given))
    missed = [what for what, copy in tried if not noticed(copy)]
    if not missed:
        return ()
    areas = [metrics.area(*each)[0] for each in zip(own, who, strict=True)]
    told = f" (shadows tell their members from others with an AUC of {np.median(areas):.2f})" if areas else ""
    why, lists = f"The models remember too little, or the records are too few{told}", ""
    if not len(given.shadows):
        why = "Without shadows there is little to compare with"
        lists = ", and that member names all records that trained the target (a later release may have had more)"
    what = "numbers" if given.labels is None else "answers"
    return (
        f"{START} in these {what}: of {len(tried)} mistakes, each made in a copy of them, they"
        f" missed {len(missed)}: {'; '.join(missed)}. {why}: {what} with such a mistake look as these do, and a low"
        f" score may come from it. See for yourself that rows and memberships are in one order{lists}.",
    )


def _strength(sure: np.ndarray, trained: np.ndarray) -> float:
    """How far shadows [S, n] go with who trained them [S, n]: the median over shadows, in standard errors."""
    own, who = stats.rankdata(sure, axis=1), trained.astype(np.float64)
    if len(own) > 1:  # what makes a record hard for all is no memory
        own, who = own - own.mean(axis=0), who - who.mean(axis=0)
    each = [samples.correlation(*both) for both in zip(own, who, strict=True)]
    return float(np.median(each) * np.sqrt(own.shape[1]))


def mistakes(given: Given, seed: int = 0) -> Iterator[tuple[str, Given]]:
    """Usual mistakes, each in words and made in a copy; those that would change nothing are left out.

    Args:
        given: what they are made in.
        seed: of what is drawn.
    """
    rng, n = np.random.default_rng(seed), len(given.target)
    mixed, member = np.arange(n), given.member
    last = slice(n - n // PART, n)
    mixed[last] = rng.permutation(mixed[last])
    lost = np.linspace(0, n - 1, LOST + 2).astype(int)[1:-1]
    by_place = np.r_[np.delete(np.arange(n), lost), lost]
    if member is not None and member.any() and not member.all():
        yield "member of another split", given._replace(member=rng.permutation(member))
        yield f"member by place where {LOST} rows were lost", given._replace(member=member[by_place])
    if (given.trained != given.trained[:, :1]).any():
        rows = np.stack([rng.permutation(row) for row in given.trained])
        yield "shadow_member of other runs", given._replace(trained=rows)
    yield "the target's answers to a fifth of the records in another order", given._replace(target=given.target[mixed])
    who = given._replace(trained=given.trained[:, mixed], member=None if member is None else member[mixed])
    yield "memberships of a fifth of the records in another order than all answers", who
    if given.labels is not None:
        yield "labels of a fifth of the records exchanged", given._replace(labels=given.labels[mixed])
