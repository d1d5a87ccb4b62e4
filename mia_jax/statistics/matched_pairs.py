"""Lower bounds on epsilon where a fixed number of records was drawn at random, all of one training run.

The bound of one run (Steinke et al. 2023) asks for a fair coin per record. A plan that trains on exactly a half of the
records, or a random split into training and test set, tosses none: how many are members is fixed, and Clopper and
Pearson's limits over independent records do not hold either, for one model was trained on all of them. What there is:
match members with non-members at random. Every choice of one record of each pair then belongs to as many draws with as
many matchings, so **given the pairs, which of the two is the member is a fair coin of its own**, exactly. The pairs are
the canaries, and a guess says which of the two. (These are pairs of records; the balanced plan's are pairs of models.)

The other record of a pair means one taken away and one added. (epsilon, delta)-DP of one record added or removed
is (2 epsilon, (1 + e^epsilon) delta)-DP of that, and so the bounds here are on the accountant's epsilon of DP-SGD.
NumPy and SciPy in float64; never imports jax.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from mia_jax.statistics import epsilon, one_run
from mia_jax.statistics.epsilon import SIGNIFICANCE
from mia_jax.types import InputError

SHARES = (1, 1 / 4, 1 / 16, 1 / 64)  # of the pairs (or canaries) that are guessed; fixed here, and corrected for
METHOD = "one training run, matched pairs of a member and another; one record added or removed"


class Guessed(NamedTuple):
    """A lower bound on epsilon, and the guesses that gave it."""

    epsilon: float
    guesses: int
    right: int


def tries(count: int) -> list[int]:
    """How many of ``count`` pairs or canaries are guessed: all of them and ``SHARES`` of them."""
    return sorted({max(1, round(count * share)) for share in SHARES})


def one_of_two(
    pairs: int, guesses: int, right: int, *, delta: float = 0.0, significance: float = SIGNIFICANCE
) -> float:
    """The largest epsilon, of one record added or removed, that ``right`` of ``guesses`` about pairs refutes.

    Args:
        pairs: k, of each of which one record was in the training set, by a fair coin.
        guesses: r, how many were guessed, fixed beforehand; which ones may depend on the model.
        right: v.
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.

    References:
        Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2; group privacy: Dwork and Roth 2014, theorem
        2.2 and, with delta, Vadhan 2017, lemma 2.2.
    """

    def excess(eps: float) -> float:
        swapped = min(1.0, (1 + math.exp(eps)) * delta)
        return one_run.p_value(pairs, guesses, right, 2 * eps, swapped) - significance

    return epsilon.largest_refuted(excess)


def surest(score: np.ndarray, member: np.ndarray, seed: int | tuple[int, ...] = 0) -> np.ndarray:
    """Pair members with non-members at random and guess that the one with the higher score is the member.

    Args:
        score: [n], larger = more likely a member; infinities are scores.
        member: bool [n].
        seed: of the pairs, and of the order of those that are equally sure.

    Returns:
        bool [k], which guesses are right, the surest first: by the difference of the two scores. k is the number of the
        fewer side. Two equal scores are no guess: such pairs come last and count as wrong. (How many guesses there may
        be is fixed beforehand, and fewer are allowed; a coin of ours, tossed by seed and size, would give every
        constant score of an unlucky size a bound above 0.)
    """
    score, member = np.clip(np.asarray(score, np.float64), -1e300, 1e300), np.asarray(member, bool)
    rng = np.random.default_rng(seed)
    inside, outside = (rng.permutation(np.flatnonzero(side)) for side in (member, ~member))
    count = min(len(inside), len(outside))
    ahead = score[inside[:count]] - score[outside[:count]]
    return (ahead > 0)[np.lexsort((rng.permutation(count), -np.abs(ahead)))]


def from_scores(
    score: np.ndarray,
    member: np.ndarray,
    *,
    delta: float,
    significance: float = SIGNIFICANCE,
    seed: int = 0,
    attacks: int = 1,
) -> dict[str, Any]:
    """The ``epsilon`` of an attack in results.json: a lower bound of the way in which the targets were trained.

    Several numbers of guesses are tried (``SHARES``), each at ``significance`` over their number. Of T targets the
    middle bound is told: of bounds that are each too high with a probability of ``significance`` h / T, h at once are
    with one of ``significance`` at most, whatever they have to do with each other, and h is the half of T, rounded up.

    Args:
        score: [T, n] or [n], of what one attack made of each target; NaN: not judged.
        member: bool, as ``score``. Of each target, any of its records was as likely to be a member as any other, and
            the scores were computed without knowing it.
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.
        seed: as ``surest``.
        attacks: how many there are in this audit, of whose bounds somebody may tell the largest.

    Returns:
        JSON values. "low": the bound, at least 0; "provable": the largest certifiable epsilon, which it would be if
        every guess were right; "guesses" and "right": those of the target in the middle that gave the bound;
        "low_joint", "provable_joint", "attacks": the same at ``significance`` / ``attacks``, so that the largest of the
        audit holds, too; "pairs": fewest of a target; "delta", "confidence" and "method". Without a
        bound "low" is None, and "reason" says why.

    Raises:
        InputError: shapes that differ, delta or significance out of range.

    References:
        Meinshausen, Meier and Buehlmann 2009 ("p-values for high-dimensional regression"), theorem 3.1: twice the
        median of p-values.
    """
    epsilon.check(delta, significance)
    about = {"delta": delta, "confidence": 1 - significance, "method": METHOD}
    rights = _guesses(score, member, seed)
    pairs = min(len(right) for right in rights)
    bound, certifiable = _middle(rights, delta, significance)
    if certifiable == 0:
        few = f"not resolvable: {pairs:,} pairs of a member and a non-member prove nothing, whatever is guessed"
        return {"low": None, "reason": few, "pairs": pairs, **about}
    joint, joint_certifiable = _middle(rights, delta, significance / attacks) if attacks > 1 else (bound, certifiable)
    return {
        "low": bound.epsilon,
        "provable": certifiable,
        "guesses": bound.guesses,
        "right": bound.right,
        "low_joint": joint.epsilon,
        "provable_joint": joint_certifiable,
        "attacks": attacks,
        "pairs": pairs,
        **about,
    }


def _guesses(score: np.ndarray, member: np.ndarray, seed: int) -> list[np.ndarray]:
    """``surest`` of each target [T, n], over the records that were judged."""
    score, member = np.atleast_2d(np.asarray(score, np.float64)), np.atleast_2d(np.asarray(member, bool))
    if score.shape != member.shape:
        raise InputError(f"scores {score.shape} and membership {member.shape}: give one of each, [T, n]")
    rights = []
    for t, (values, truth) in enumerate(zip(score, member, strict=True)):
        judged = ~np.isnan(values)
        rights.append(surest(values[judged], truth[judged], (seed, t)))
    return rights


def _middle(rights: list[np.ndarray], delta: float, significance: float) -> tuple[Guessed, float]:
    """The bound of the target in the middle, and what it would be if every guess were right."""
    targets = len(rights)
    half = (targets + 1) // 2
    level = significance * half / targets
    each = sorted((_best(right, delta, level) for right in rights), reverse=True)
    ideal = sorted((_best(np.ones_like(right), delta, level).epsilon for right in rights), reverse=True)
    return each[half - 1], ideal[half - 1]


def _best(right: np.ndarray, delta: float, significance: float) -> Guessed:
    """The best of the numbers of guesses, corrected for how many they are."""
    if not len(right):
        return Guessed(0.0, 0, 0)
    counts = tries(len(right))
    found = []
    for r in counts:
        v = int(right[:r].sum())
        found.append(Guessed(one_of_two(len(right), r, v, delta=delta, significance=significance / len(counts)), r, v))
    return max(found)
