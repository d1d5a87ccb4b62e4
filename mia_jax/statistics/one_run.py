"""Lower bounds on epsilon from guesses about the canaries of one training run.

Each canary was in the training set or not by a fair coin of its own; those that score best are guessed to be in, those
that score worst to be out. Every bound exceeds the true epsilon with a probability of at most ``significance``. NumPy
and SciPy in float64; never imports jax.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from mia_jax.statistics import metrics
from mia_jax.statistics.epsilon import SIGNIFICANCE, check, gaussian_epsilon, largest_refuted
from mia_jax.types import InputError


def steinke(
    canaries: int, guesses: int, right: int, *, delta: float = 0.0, significance: float = SIGNIFICANCE
) -> float:
    """The largest epsilon that ``right`` of ``guesses`` refutes, from one training run.

    With q = e^eps / (1 + e^eps), beta = P[Bin(r, q) >= v] and alpha = max_i P[v > Bin(r, q) >= v - i] / i, the p-value
    is min(1, beta + 2 m delta alpha).

    Args:
        canaries: m, each included by a fair coin of its own.
        guesses: r, how many were guessed, fixed before looking at the scores' memberships.
        right: v, how many guesses were right.
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.

    References:
        Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and algorithm 1.
    """
    check(delta, significance)
    _check_counts(canaries, guesses, right)
    return largest_refuted(lambda eps: p_value(canaries, guesses, right, eps, delta) - significance)


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The most that P[at least ``right`` guesses right] is under (epsilon, delta)-DP; arguments as of ``steinke``."""
    q = special.expit(epsilon)
    beta = float(stats.binom.sf(right - 1, guesses, q))
    if delta == 0 or right == 0:
        return beta
    # a mean of P[Bin = k] over k = v - i .. v - 1 falls once k is past the mode: no longer windows are needed
    longest = max(1, right - math.floor(guesses * q)) + 12 * math.sqrt(guesses / 4) + 12
    i = np.arange(1, min(right, int(longest)) + 1)
    alpha = float(np.max(np.cumsum(stats.binom.pmf(right - i, guesses, q)) / i))
    return min(1.0, beta + 2 * canaries * delta * alpha)


def gaussian_mu(canaries: int, guesses: int, right: int, *, significance: float = SIGNIFICANCE) -> float:
    """The largest mu of Gaussian DP that ``right`` of ``guesses`` refutes; arguments as ``steinke``.

    References:
        Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235), algorithm 3, with f Gaussian and two alternatives.
    """
    check(0.0, significance)
    _check_counts(canaries, guesses, right)

    def excess(mu):
        r, h = significance * right / canaries, significance * (guesses - right) / canaries
        for i in range(right - 1, -1, -1):
            more = max(h, math.erfc((mu - special.ndtri(r)) / math.sqrt(2)) / 2)
            if more == h:
                break  # neither changes any more
            r, h = min(1.0, r + i / (guesses - i) * (more - h)), more
        return guesses / canaries - r - h

    return largest_refuted(excess)


def gaussian(canaries: int, guesses: int, right: int, *, delta: float, significance: float = SIGNIFICANCE) -> float:
    """``gaussian_mu`` as an epsilon at ``delta`` > 0: for mechanisms that are Gaussian DP, where it is tighter."""
    return gaussian_epsilon(gaussian_mu(canaries, guesses, right, significance=significance), delta)


class OneRun(NamedTuple):
    """A lower bound from one run and the guesses that gave it."""

    epsilon: float
    guesses: int
    right: int


def from_scores(
    score: np.ndarray,
    member: np.ndarray,
    guesses: int | Sequence[int],
    bound: Callable[..., float] = steinke,
    *,
    two_sided: bool = True,
    delta: float = 0.0,
    significance: float = SIGNIFICANCE,
    seed: int = 0,
) -> OneRun:
    """Guess the canaries of which the scores are surest, and bound epsilon.

    Args:
        score: [m], larger = more likely included; 0 plays no part, only the order does.
        member: [m], included by a fair coin each.
        guesses: how many to guess, fixed beforehand. Of several numbers each is tested at significance / how many they
            are: the best of them uncorrected says epsilon > 0 of noise in 47 % of runs at 5 %.
        bound: ``steinke`` or ``gaussian``.
        two_sided: guess the best half "in" and the worst half "out"; else all of the best "in".
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.
        seed: breaks ties, which must not be broken by the order of records: members often come first. A score that
            would be guessed both ways is no guess, and counts as a wrong one: the order of such canaries is ours, and
            by seed and number alone it would give every constant score a bound above 0 now and then.

    Raises:
        InputError: numbers of guesses out of range; scores as of ``metrics.tally``.
    """
    score, member = np.asarray(score, np.float64), np.asarray(member, bool)
    metrics.tally(score, member)
    tries = [guesses] if isinstance(guesses, int) else list(guesses)
    if not tries or min(tries) < 1 or max(tries) > len(score):
        raise InputError(f"guesses {tries}: give numbers from 1 to {len(score)}, the number of canaries")
    chance = np.random.default_rng(seed).permutation(len(score))
    order = np.lexsort((chance, -score))  # best first
    ranked, score = member[order], score[order]
    found = []
    for r in tries:
        best = (r + 1) // 2 if two_sided else r
        first_out = len(ranked) - (r - best)
        lowest_in, highest_out = score[best - 1], score[first_out] if first_out < len(ranked) else score[-1]
        guessed = score != highest_out if lowest_in == highest_out else np.ones(len(ranked), bool)
        right = int((ranked & guessed)[:best].sum() + (~ranked & guessed)[first_out:].sum())
        found.append(OneRun(bound(len(score), r, right, delta=delta, significance=significance / len(tries)), r, right))
    return max(found, key=lambda b: b.epsilon)


def _check_counts(canaries: int, guesses: int, right: int) -> None:
    if not 0 <= right <= guesses <= canaries or guesses < 1:
        given = f"{right} right of {guesses} guesses on {canaries} canaries"
        raise InputError(f"{given}: give 0 <= right <= guesses <= canaries, and a guess at least")
