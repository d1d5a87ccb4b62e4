"""Brännvall, "Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA", 2026 (arXiv 2603.11799).

LiRA whose means and variances are not estimated but averaged over: per record and side a normal-inverse-gamma prior

    s^2 ~ IG(a_0, b_0),  mu | s^2 ~ N(m_0, s^2 / k_0)

and, after n models with mean xbar and sum of squared residuals SS,

    k_n = k_0 + n,  m_n = (k_0 m_0 + n xbar) / k_n,  a_n = a_0 + n/2,
    b_n = b_0 + SS/2 + k_0 n (xbar - m_0)^2 / (2 k_n),

which predicts phi by a Student t with 2 a_n degrees of freedom, location m_n, squared scale b_n (k_n + 1) / (a_n k_n).

    online:   log t(phi)_IN - log t(phi)_OUT
    offline:  log of the lower tail of t_OUT, one-sided as in LiRA

The prior is ours, by empirical Bayes over the records (theirs was not at hand):

* a_0, b_0 from the mean and variance of log SS/(n - 1) (Smyth, "Linear Models and Empirical Bayes Methods", 2004).
* m_0 of one side, online: the record's mean on the other side, plus the mean shift of all records. It says how hard the
  record is. Its variance is that of the shift over records, plus that of the other side's mean; k_0 is s^2 over it.
* m_0 offline, and for a record without models on the other side: the mean over records, with their variance.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, polygamma, stdtr

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.leave_one_out import Evidence, Moments, Steps
from mia_jax.attacks.lira import VARIANCE_FLOOR, over_queries
from mia_jax.attacks.queries import AUGMENT
from mia_jax.types import Attack

OPTIONS = (AUGMENT,)
SHAPES = (0.5, 1e4)  # a_0 stays within: from Cauchy tails to a variance that is the same for all records


class Prior(NamedTuple):
    """The normal-inverse-gamma prior of one side, and what it was made from."""

    shape: float  # a_0
    rate: float  # b_0
    variance: float  # over models, pooled
    level: float  # mean over records of their means
    between: float  # variance over records of their means


class Aggregated(NamedTuple):
    """The shadows' scaled logits, and the priors that they give."""

    evidence: Evidence
    inside: Prior
    outside: Prior
    shift: float  # IN - OUT, mean over records
    spread: float  # its variance over records


class Student(NamedTuple):
    """A Student t for each record: the posterior predictive distribution of phi."""

    freedom: np.ndarray  # [n] or [n, 1]
    location: np.ndarray  # [n] or [n, q]
    scale: np.ndarray  # [n] or [n, q]


def bavaria(num_classes: int, *, augment=None) -> Attack:
    """BaVarIA online, for few shadows.

    Args:
        num_classes: not used.
        augment: (key, x [*f]) -> x [q, *f]: q queries in each record's place; their scores are averaged.
    """
    del num_classes
    return leave_one_out.attack(steps(), augment=augment)


def bavaria_offline(num_classes: int, *, augment=None) -> Attack:
    """BaVarIA offline, by OUT models only.

    Scores are -log(-log tail), which orders as the tail does. Arguments as of ``bavaria``.
    """
    del num_classes
    return leave_one_out.attack(steps(offline=True), augment=augment)


def steps(*, offline: bool = False) -> Steps:
    """Both variants, as steps."""

    def aggregate(seen, member, population) -> Aggregated:
        del population
        evidence = leave_one_out.aggregate(seen["phi"], member)
        inside, outside = leave_one_out.without(evidence, ())
        difference = inside.mean - outside.mean
        there = np.isfinite(difference)
        priors = [_prior(side, difference[there]) for side in (inside, outside)]
        shift = difference[there].mean() if there.any() else priors[0].level - priors[1].level
        noise = sum(p.variance * _mean_inverse(s.count) for p, s in zip(priors, (inside, outside), strict=True))
        spread = max(difference[there].var() - noise, 0.0) if there.any() else 0.0
        return Aggregated(evidence, *priors, float(shift), float(spread))

    def fit(known: Aggregated, models) -> tuple[Student, Student]:
        inside, outside = leave_one_out.without(known.evidence, models)
        from_out = _OtherSide(outside, known.outside.variance, known.shift, known.spread)
        from_in = None if offline else _OtherSide(inside, known.inside.variance, -known.shift, known.spread)
        return _posterior(known.inside, inside, from_out), _posterior(known.outside, outside, from_in)

    needs = frozenset({"out"} if offline else {"in", "out"})
    return Steps(scaled_logit, aggregate, fit, _one_sided_tail if offline else _log_density_ratio, needs)


def _log_density_ratio(sides: tuple[Student, Student], seen, population=None) -> np.ndarray:
    del population
    phi = np.asarray(seen["phi"], np.float64)
    return over_queries(_log_density(sides[0], phi) - _log_density(sides[1], phi))


def _log_density(t: Student, phi: np.ndarray) -> np.ndarray:
    constant = gammaln((t.freedom + 1) / 2) - gammaln(t.freedom / 2) - np.log(np.pi * t.freedom) / 2
    z = (phi - t.location) / t.scale
    return constant - np.log(t.scale) - (t.freedom + 1) / 2 * np.log1p(z * z / t.freedom)


def _one_sided_tail(sides: tuple[Student, Student], seen, population=None) -> np.ndarray:
    del population
    t = sides[1]
    z = (np.asarray(seen["phi"], np.float64) - t.location) / t.scale
    smaller = np.maximum(stdtr(t.freedom, -np.abs(z)), 1e-300)  # the smaller tail keeps its digits
    surprise = np.where(z > 0, -np.log1p(-smaller), -np.log(smaller))
    return -np.log(over_queries(surprise))


# --- prior and posterior ---------------------------------------------------------------------------------------------


class _OtherSide(NamedTuple):
    """What the means on the other side (OUT for IN) say of those on this side."""

    side: Moments
    variance: float  # over models
    shift: float  # this side's mean - the other's, mean over records
    spread: float  # its variance


def _posterior(prior: Prior, side: Moments, other: _OtherSide | None) -> Student:
    m_0, variance = np.asarray(prior.level), np.asarray(prior.between)
    if other is not None:
        there = other.side.count > 0
        m_0 = np.where(there, np.nan_to_num(other.side.mean) + other.shift, m_0)
        variance = np.where(there, other.spread + other.variance / np.maximum(other.side.count, 1), variance)
    k_0 = prior.variance / np.maximum(variance, VARIANCE_FLOOR)
    n, xbar = side.count, np.where(side.count > 0, side.mean, m_0)
    k_n = k_0 + n
    m_n = (k_0 * m_0 + n * xbar) / k_n
    a_n = prior.shape + n / 2
    b_n = prior.rate + side.scatter / 2 + k_0 * n * (xbar - m_0) ** 2 / (2 * k_n)
    return Student(2 * a_n, m_n, np.sqrt(b_n * (k_n + 1) / (a_n * k_n)))


def _prior(side: Moments, difference: np.ndarray) -> Prior:
    """By moments. ``difference``: IN - OUT means, which tell how models differ if no side has two models."""
    freedom = np.broadcast_to(np.maximum(side.count - 1, 0), side.scatter.shape)
    some = freedom > 0
    means = side.mean[np.isfinite(side.mean)]
    level, total = (means.mean(), means.var()) if means.size else (0.0, 1.0)
    if not some.any():
        variance = max(difference.var() / 2 if difference.size > 1 else 1.0, VARIANCE_FLOOR)
        return Prior(2.0, 2.0 * variance, variance, float(level), max(total - variance, variance))
    freedom = freedom[some]
    variance = max(side.scatter.sum() / freedom.sum(), VARIANCE_FLOOR)
    log_variance = np.log(np.maximum(side.scatter[some] / freedom, VARIANCE_FLOOR))
    log_variance += np.log(freedom / 2) - digamma(freedom / 2)  # now its mean is log s_0^2 + log(a_0) - digamma(a_0)
    excess = log_variance.var() - polygamma(1, freedom / 2).mean()
    shape = float(np.clip(inverse_trigamma(excess), *SHAPES)) if excess > 0 else SHAPES[1]
    rate = float(np.exp(log_variance.mean() + digamma(shape)))
    between = max(total - variance * _mean_inverse(side.count), variance)
    return Prior(shape, max(rate, shape * VARIANCE_FLOOR), float(variance), float(level), float(between))


def inverse_trigamma(y: float) -> float:
    """x with trigamma(x) = y > 0: Newton's method on 1 / trigamma, which is nearly linear (Smyth 2004, appendix)."""
    x = 0.5 + 1 / y
    for _ in range(50):
        value = polygamma(1, x)
        step = value * (1 - value / y) / polygamma(2, x)
        x += step
        if abs(step) < 1e-10 * x:
            break
    return float(x)


def _mean_inverse(count: np.ndarray) -> float:
    return float(np.mean(1 / count[count > 0])) if (count > 0).any() else 0.0
