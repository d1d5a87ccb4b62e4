"""Lower bounds on the epsilon of differential privacy from an attack, and the accountant's epsilon of a training run.

Every lower bound exceeds the true epsilon with a probability of at most ``significance``, if what the docstring asks to
be fixed beforehand was. 0 says nothing about epsilon. NumPy and SciPy in float64; never imports jax.

Three ways to have an audit. **Many runs** (or many independent records), here: members and non-members are scored
independently, a threshold calls some members, and the two error rates bound epsilon. **One run** in which each record
was a member by a fair coin of its own: ``one_run``. One run in which a fixed number of records was drawn:
``matched_pairs``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from mia_jax.statistics import metrics
from mia_jax.statistics.metrics import Called
from mia_jax.types import InputError

SIGNIFICANCE = 0.05
Direction = Literal[
    "found", "cleared"
]  # which of DP's two inequalities: on calling members, or on clearing non-members
INSTALL = "pip install 'mia-jax[dp]'"


# --- from the two error rates ----------------------------------------------------------------------------------------


def clopper_pearson(c: Called, *, delta: float = 0.0, significance: float = SIGNIFICANCE, direction="either") -> float:
    """eps >= log((1 - FNR+ - delta) / FPR+), and its mirror, with both upper limits at significance / 2.

    Args:
        c: counts at a threshold that was not chosen on these scores.
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.
        direction: "found" as above, "cleared" with the two rates exchanged, or "either", the better of them: both
            follow from the same two limits, so that it costs nothing.

    References:
        Jagielski, Ullman and Oprea 2020, section 4.
    """
    fpr, fnr = _upper_rates(c, delta, significance)
    found, cleared = _log_ratio(1 - fnr - delta, fpr), _log_ratio(1 - fpr - delta, fnr)
    return {"found": found, "cleared": cleared, "either": max(found, cleared)}[direction]


def gaussian_mu(c: Called, *, significance: float = SIGNIFICANCE) -> float:
    """mu >= Phi^-1(1 - FPR+) - Phi^-1(FNR+): for mechanisms that are mu-Gaussian DP, such as composed Gaussian noise.

    ``c`` as in ``clopper_pearson``. Tighter than it, and wrong for a mechanism whose trade-off curve is not Gaussian.

    References:
        Nasr et al. 2023 (arXiv 2302.07956), section 4; Dong, Roth and Su 2022, equation 6.
    """
    fpr, fnr = _upper_rates(c, 0.0, significance)
    if fpr >= 1 or fnr >= 1:
        return 0.0
    return max(0.0, float(special.ndtri(1 - fpr) - special.ndtri(fnr)))


def gaussian(c: Called, *, delta: float, significance: float = SIGNIFICANCE, direction="either") -> float:
    """``gaussian_mu`` as an epsilon at ``delta`` > 0; the Gaussian trade-off curve has no direction."""
    del direction
    return gaussian_epsilon(gaussian_mu(c, significance=significance), delta)


def joint_beta(
    c: Called,
    *,
    delta: float = 0.0,
    significance: float = SIGNIFICANCE,
    direction: Direction = "found",
    prior: float = 1.0,
) -> float:
    """The ``significance`` quantile of epsilon's posterior.

    With FPR ~ Beta(a + FP, 1 - a + TN) and FNR ~ Beta(a + FN, 1 - a + TP), P(eps <= e) = P(1 - delta - FNR <= e^e FPR),
    by quadrature over the rate whose logarithm is known better: given it, the other's distribution function is smooth.
    Tighter than ``clopper_pearson``, which divides the significance between the two rates.

    Args:
        c: counts at a threshold that was not chosen on these scores.
        delta: of (epsilon, delta)-DP.
        significance: as above.
        direction: must be fixed before looking; the better of both is no bound at this level, so it is not offered.
        prior: a, from 1/2 to 1. 1 gives each rate the law whose quantiles are Clopper and Pearson's upper limits; at
            epsilon 0 that is Fisher's exact test (Altham 1969), and it holds at ranks, too; at other epsilons no error
            above its level was found, computed exactly for 5 to 250 scores a side. 1/2 is Jeffreys' prior, as
            published: it holds at its level on average over rates, and errs up to .08 at single ones.

    Raises:
        InputError: a value is out of range, or members or non-members are missing.

    References:
        Zanella-Béguelin et al. 2023 (arXiv 2206.05199), section 5.
    """
    check(delta, significance)
    if direction not in ("found", "cleared"):
        raise InputError(f"direction {direction!r}: fix 'found' or 'cleared' beforehand; the better of both errs")
    if not 0.5 <= prior <= 1:
        raise InputError(f"prior {prior}: give one from 1/2 (Jeffreys, as published) to 1 (the default)")
    _check_both(c)
    if prior == 1 and (c.tp == 0 or c.fp == c.non_members):  # an error rate of 1 refutes nothing
        return 0.0
    false_alarm, miss = (c.fp + prior, c.non_members - c.fp + 1 - prior), (c.members - c.tp + prior, c.tp + 1 - prior)
    low, high = (false_alarm, miss) if direction == "found" else (miss, false_alarm)  # log((1 - delta - high) / low)
    spread_low, spread_high = low[0] ** -0.5, (high[0] / high[1] / sum(high)) ** 0.5
    if spread_high < spread_low:
        above = np.maximum(1 - delta - special.betaincinv(*high, NODES), 0)

        def below(eps):  # P(eps <= e) - significance
            return WEIGHTS @ special.betaincc(*low, np.minimum(above * math.exp(-eps), 1.0)) - significance
    else:
        rate = special.betaincinv(*low, NODES)

        def below(eps):
            return WEIGHTS @ special.betaincc(*high, np.clip(1 - delta - rate * math.exp(eps), 0, 1)) - significance

    return largest_refuted(below)


_X, _W = np.polynomial.legendre.leggauss(64)  # over the logit of a quantile: nodes crowd where a Beta has its tails
NODES = special.expit(14 * _X)
WEIGHTS = _W * NODES * (1 - NODES) / (_W @ (NODES * (1 - NODES)))


# --- from scores: how the threshold is chosen -----------------------------------------------------------------------


@dataclass(frozen=True)
class Fixed:
    """A threshold that was known beforehand, such as 0, or one chosen on shadows."""

    threshold: float = 0.0


@dataclass(frozen=True)
class Split:
    """The best threshold on a share of members and non-members, drawn at random; the bound on the rest."""

    share: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Bonferroni:
    """Thresholds at ranks 1, 2, 4, 8, ... of the side whose errors must be few, each at significance / their number.

    Ranks are known beforehand although values are not: the error rate beyond the (j + 1)-th score of a side has the
    upper limit that j errors have at a fixed threshold (it is Beta(j + 1, n - j), as ``joint_beta`` takes it), and the
    other side is independent of it. Ties are broken as by a coin, of which the mean is taken
    (rounded down): a coin of ours would give constant scores a bound above 0 now and then.
    """


class Bound(NamedTuple):
    """A lower bound and the threshold that gave it."""

    epsilon: float
    threshold: float
    counts: Called


def from_scores(
    score: np.ndarray,
    member: np.ndarray,
    bound: Callable[..., float] = clopper_pearson,
    choose: Fixed | Split | Bonferroni = Split(),
    *,
    delta: float = 0.0,
    significance: float = SIGNIFICANCE,
    direction: Direction = "found",
) -> Bound:
    """A lower bound from scores of independent members and non-members, the threshold chosen so that it stays valid.

    Args:
        score: [n], larger = more likely a member.
        member: [n].
        bound: ``clopper_pearson``, ``gaussian`` or ``joint_beta``.
        choose: how the threshold is chosen.
        delta: of (epsilon, delta)-DP.
        significance: probability of a bound that is too high.
        direction: which inequality, fixed beforehand.

    Raises:
        InputError: a score is NaN, or members or non-members are missing.
    """
    score, member = np.asarray(score, np.float64), np.asarray(member, bool)
    metrics.tally(score, member)
    check(delta, significance)
    options = dict(delta=delta, direction=direction)
    match choose:
        case Fixed(threshold):
            c = metrics.call(score, member, threshold)
            return Bound(bound(c, significance=significance, **options), threshold, c)
        case Split(share, seed):
            first = _stratified(member, share, seed)
            threshold = _best(score[first], member[first], bound, significance, options)
            c = metrics.call(score[~first], member[~first], threshold)
            return Bound(bound(c, significance=significance, **options), threshold, c)
        case Bonferroni():
            candidates = _ranked(score, member, direction)
            found = [
                Bound(bound(c, significance=significance / len(candidates), **options), threshold, c)
                for threshold, c in candidates
            ]
            return max(found, key=lambda b: b.epsilon)


def _stratified(member: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = np.zeros(len(member), bool)
    for side in (np.flatnonzero(member), np.flatnonzero(~member)):
        if len(side) < 2:
            raise InputError("a split needs at least two members and two non-members: give more, or fix the threshold")
        take = min(max(1, round(share * len(side))), len(side) - 1)
        first[rng.permutation(side)[:take]] = True
    return first


def _best(score: np.ndarray, member: np.ndarray, bound: Callable[..., float], significance: float, options) -> float:
    """The threshold with the highest bound; for ``joint_beta`` too the Clopper-Pearson one, which is vectorized."""
    t = metrics.tally(score, member)
    m, n = int(t.members.sum()), int(t.non_members.sum())
    fpr = _upper(np.cumsum(t.non_members), n, significance / 2)
    fnr = _upper(m - np.cumsum(t.members), m, significance / 2)
    if bound is gaussian:
        value = special.ndtri(1 - fpr) - special.ndtri(fnr)
        value[(fpr >= 1) | (fnr >= 1)] = -np.inf
    else:
        few, miss = (fpr, fnr) if options["direction"] == "found" else (fnr, fpr)
        value = np.maximum(1 - miss - options["delta"], 0) / few
    k = int(np.argmax(value))
    return float(t.value[k + 1] if k + 1 < len(t.value) else -np.inf)  # above the next value: this one and better


def _ranked(score: np.ndarray, member: np.ndarray, direction: Direction) -> list[tuple[float, Called]]:
    m, n = int(member.sum()), int((~member).sum())
    sign, few = (1, ~member) if direction == "found" else (-1, member)
    side, other = np.sort(sign * score[few])[::-1], np.sort(sign * score[~few])  # of the side whose errors must be few
    out = []
    for j in [0, *(2**k for k in range(len(side).bit_length()) if 2**k < len(side))]:
        below, until = (int(np.searchsorted(other, side[j], side=end)) for end in ("left", "right"))
        place, tied = j + 1 - int((side > side[j]).sum()), int((side == side[j]).sum())
        right = len(other) - until + (until - below) * place // (tied + 1)  # of the other side, beyond the same record
        c = Called(right, j, m, n) if direction == "found" else Called(m - j, n - right, m, n)
        out.append((sign * float(side[j]), c))
    return out


# --- Gaussian DP -----------------------------------------------------------------------------------------------------


def gaussian_delta(mu: float, epsilon: float) -> float:
    """delta = Phi(-eps / mu + mu / 2) - e^eps Phi(-eps / mu - mu / 2), in logarithms (Dong et al. 2022, cor. 2.13)."""
    if mu <= 0:
        return 0.0
    first, second = special.log_ndtr(-epsilon / mu + mu / 2), epsilon + special.log_ndtr(-epsilon / mu - mu / 2)
    return float(-math.exp(first) * math.expm1(min(0.0, second - first)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon at which mu-Gaussian DP has this ``delta``; 0 where it has less already."""
    if not 0 < delta < 1:
        raise InputError(f"delta {delta}: Gaussian DP has an epsilon for 0 < delta < 1 only, such as 1e-5")
    return largest_refuted(lambda eps: delta - gaussian_delta(mu, eps))


# --- the accountant's epsilon ----------------------------------------------------------------------------------------


def accountant(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Upper bound on the epsilon of DP-SGD with Poisson sampling, one record added or removed, by dp-accounting's PLD.

    Args:
        noise_multiplier: standard deviation of the noise / clipping norm.
        sampling_rate: probability of a record to be in a batch.
        steps: number of updates.
        delta: of (epsilon, delta)-DP.

    Raises:
        InputError: a value is out of range, or dp-accounting is not installed.
    """
    if noise_multiplier < 0 or not 0 < sampling_rate <= 1 or steps < 1 or not 0 < delta < 1:
        given = f"noise {noise_multiplier}, sampling rate {sampling_rate}, steps {steps}, delta {delta}"
        raise InputError(f"{given}: give noise >= 0, rate in (0, 1], steps >= 1, delta in (0, 1)")
    if noise_multiplier == 0:
        return math.inf
    try:
        import dp_accounting
        from dp_accounting import pld
    except ImportError as error:
        raise InputError(f"the accountant's epsilon needs dp-accounting, an optional extra: {INSTALL}") from error
    step = dp_accounting.PoissonSampledDpEvent(sampling_rate, dp_accounting.GaussianDpEvent(noise_multiplier))
    return float(pld.PLDAccountant().compose(step, steps).get_epsilon(delta))


# --- small pieces ----------------------------------------------------------------------------------------------------


def _upper(successes: int | np.ndarray, trials: int, tail: float) -> np.ndarray:
    """Clopper and Pearson's upper limits, for many counts at once."""
    inside = np.minimum(successes, trials - 1)
    return np.where(successes < trials, special.betaincinv(inside + 1, trials - inside, 1 - tail), 1.0)


def _upper_rates(c: Called, delta: float, significance: float) -> tuple[float, float]:
    check(delta, significance)
    _check_both(c)
    tail = significance / 2
    return float(_upper(c.fp, c.non_members, tail)), float(_upper(c.members - c.tp, c.members, tail))


def _check_both(c: Called) -> None:
    if not c.members or not c.non_members:
        raise InputError(f"{c.members} members and {c.non_members} non-members: a bound needs both")


def _log_ratio(above: float, below: float) -> float:
    return max(0.0, math.log(above / below)) if above > 0 else 0.0


def largest_refuted(excess: Callable[[float], float]) -> float:
    """The largest value that is refuted: where a rising function crosses zero, to 1e-9; 0 if nothing is."""
    if excess(0.0) >= 0:
        return 0.0
    top = 1.0
    while excess(top) < 0:
        top *= 2
    return float(optimize.brentq(excess, 0.0, top, xtol=1e-9))


def check(delta: float, significance: float) -> None:
    """Raise InputError where a delta or a significance is out of range."""
    if not 0 <= delta < 1 or not 0 < significance < 0.5:
        raise InputError(f"delta {delta}, significance {significance}: give delta in [0, 1), significance in (0, 0.5)")
