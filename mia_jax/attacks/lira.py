"""Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First Principles", S&P 2022: LiRA.

The scaled logit phi of a record is Gaussian over models, with one mean and variance over those that trained on it (IN)
and another over those that did not (OUT).

    online:   log N(phi; mu_in, s_in^2) - log N(phi; mu_out, s_out^2)
    offline:  log Phi((phi - mu_out) / s_out), a one-sided tail

With q queries per record, the mean over queries. Departures from the authors' code, each for its reason:

* Fixed variance is that of the residuals, pooled over records: sum of squares over sum of (n_i - 1). Theirs is the
  variance of the raw values, which counts how records differ as noise, and it takes both sides' from IN.
* Offline, theirs is two-sided: it calls a record a member for an unusually low phi, too.
* The center is the mean, as in the paper; ``center="median"`` is as in their code. Per record, the variance is the
  maximum likelihood one (over n_i), as theirs.

A record without IN models is given its OUT mean plus the mean shift of all records, and the other way round. A variance
that is unknown, for fewer than two models or for identical values, is the pooled one.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from mia_jax.attacks import leave_one_out
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.leave_one_out import Evidence, Moments, Steps
from mia_jax.attacks.queries import AUGMENT
from mia_jax.types import Attack, InputError

OPTIONS = (*python_only("center"), AUGMENT)
FIXED_BELOW = 64  # models: with fewer, one variance for all records is better (section VI-A)
VARIANCE_FLOOR = 1e-10  # nats^2: below what float32 resolves of a scaled logit


class Gaussians(NamedTuple):
    """Per record: mean [n, ...] and variance, [n, ...] or pooled []."""

    mean_in: np.ndarray
    var_in: np.ndarray
    mean_out: np.ndarray
    var_out: np.ndarray


class Aggregated(NamedTuple):
    """The shadows' scaled logits, and what does not change when one is left out."""

    evidence: Evidence
    fallback: list[np.ndarray]  # IN and OUT: variances [] where there are no residuals
    ordered: "list[Ordered] | None"  # IN and OUT, for medians


def lira(num_classes: int, *, center: str = "mean", augment=None) -> Attack:
    """Online, a variance per record and side: at its best with 64 shadows and more.

    Args:
        num_classes: not used.
        center: "mean" or "median" of each side.
        augment: (key, x [*f]) -> x [q, *f]: q queries in each record's place (``mia_jax.attacks.queries``).
    """
    del num_classes
    return leave_one_out.attack(steps(center=center), augment=augment)


def lira_fixed(num_classes: int, *, center: str = "mean", augment=None) -> Attack:
    """Online, one variance per side for all records (section VI-A): better below 64 shadows.

    Arguments as of ``lira``.
    """
    del num_classes
    return leave_one_out.attack(steps(center=center, fixed=True), augment=augment)


def lira_offline(num_classes: int, *, center: str = "mean", augment=None) -> Attack:
    """Offline, by OUT models only.

    Scores are -log(-log Phi), which orders as log Phi does and keeps the tail apart. Arguments as of ``lira``.
    """
    del num_classes
    return leave_one_out.attack(steps(center=center, offline=True), augment=augment)


def lira_offline_fixed(num_classes: int, *, center: str = "mean", augment=None) -> Attack:
    """Offline, one variance for all records; arguments as of ``lira``."""
    del num_classes
    return leave_one_out.attack(steps(center=center, fixed=True, offline=True), augment=augment)


def steps(*, center: str = "mean", fixed: bool = False, offline: bool = False) -> Steps:
    """The four variants, as steps.

    Args:
        center: "mean" or "median" of each side.
        fixed: one variance per side for all records.
        offline: by OUT models only.

    Raises:
        InputError: another center.
    """
    if center not in ("mean", "median"):
        raise InputError(f'center is "mean" or "median", not "{center}"')

    def aggregate(seen, member, population) -> Aggregated:
        del population
        evidence = leave_one_out.aggregate(seen["phi"], member)
        ordered = None
        if center == "median":
            mask = _is_member(evidence, slice(None))
            ordered = [_ordered(np.asarray(evidence.values), side) for side in (mask, ~mask)]
        return Aggregated(evidence, fallback_variances(*leave_one_out.without(evidence, ())), ordered)

    def fit(known: Aggregated, models) -> Gaussians:
        sides = leave_one_out.without(known.evidence, models)
        variance = []
        for side, fallback in zip(sides, known.fallback, strict=True):
            pooled = pooled_variance(side)
            pooled = fallback if pooled is None else pooled
            variance.append(pooled if fixed else variance_per_record(side, pooled))
        mean_in, mean_out = (side.mean for side in sides)
        if known.ordered is not None:
            mean_in, mean_out = _medians(known.evidence, known.ordered, models)
        filled = leave_one_out.filled(mean_in, mean_out), leave_one_out.filled(mean_out, mean_in)
        return Gaussians(filled[0], variance[0], filled[1], variance[1])

    needs = frozenset({"out"} if offline else {"in", "out"})
    return Steps(scaled_logit, aggregate, fit, one_sided_tail if offline else log_likelihood_ratio, needs)


def log_likelihood_ratio(g: Gaussians, seen, population=None) -> np.ndarray:
    """log N(phi; IN) - log N(phi; OUT) of seen["phi"] [n] or [n, q], a mean over queries: [n]."""
    del population
    phi = np.asarray(seen["phi"], np.float64)
    inside = (phi - g.mean_in) ** 2 / g.var_in + np.log(g.var_in)
    outside = (phi - g.mean_out) ** 2 / g.var_out + np.log(g.var_out)
    return over_queries((outside - inside) / 2)


def one_sided_tail(g: Gaussians, seen, population=None) -> np.ndarray:
    """-log(-mean over queries of log Phi(z)), [n], z the distance of seen["phi"] from OUT in standard deviations.

    Far in the tail log Phi(z) is -Phi(-z), which log_ndtr(-z) gives.
    """
    del population
    z = (np.asarray(seen["phi"], np.float64) - g.mean_out) / np.sqrt(g.var_out)
    far = z > 8
    log_surprise = np.where(far, log_ndtr(-z), np.log(-log_ndtr(np.where(far, 0.0, z))))
    if log_surprise.ndim == 1:
        return -log_surprise
    return np.log(log_surprise.shape[1]) - np.logaddexp.reduce(log_surprise, axis=1)


def over_queries(score: np.ndarray) -> np.ndarray:
    """The mean over queries: [n] of scores [n] or [n, q]."""
    return score if score.ndim == 1 else score.mean(axis=1)


# --- variances and centers -------------------------------------------------------------------------------------------


def variance_per_record(side: Moments, pooled: np.ndarray) -> np.ndarray:
    """A variance for each record [n, ...]; the pooled one [] where its own is not known."""
    variance = side.scatter / np.maximum(side.count, 1)
    return np.where((side.count >= 2) & (variance > VARIANCE_FLOOR), variance, pooled)


def pooled_variance(side: Moments) -> np.ndarray | None:
    """The variance [] of a side's residuals over all records; None where there are none."""
    freedom = np.maximum(side.count - 1, 0).sum() * (side.scatter.size / max(side.count.size, 1))
    variance = side.scatter.sum() / freedom if freedom > 0 else 0.0
    return np.asarray(variance) if variance > VARIANCE_FLOOR else None


def fallback_variances(inside: Moments, outside: Moments) -> list[np.ndarray]:
    """Variances of IN and OUT, [] each, for where leaving out leaves no residuals.

    That of all shadows' residuals on that side, or on the other; or half the variance of IN - OUT over records; or 1.
    """
    difference = (inside.mean - outside.mean)[np.isfinite(inside.mean - outside.mean)]
    between = difference.var() / 2 if difference.size > 1 else 0.0
    known = [pooled_variance(side) for side in (inside, outside)]
    last = next((v for v in known if v is not None), np.asarray(between if between > VARIANCE_FLOOR else 1.0))
    return [last if v is None else v for v in known]


class Ordered(NamedTuple):
    """One side's values of each record in ascending order, then +inf: [S, n, ...], and how many [n, ...]."""

    values: np.ndarray
    count: np.ndarray


def _ordered(values: np.ndarray, mask: np.ndarray) -> Ordered:
    return Ordered(np.sort(np.where(mask, values, np.inf), axis=0), np.broadcast_to(mask.sum(axis=0), values.shape[1:]))


def _medians(evidence: Evidence, ordered: list[Ordered], models) -> list[np.ndarray]:
    """[IN, OUT] medians [n, ...] over all models but ``models``; NaN where there are none.

    A model and its partner take one value at most from each side of a record: the order of the rest stays. Where more
    are left out, the rest is put in order anew.
    """
    if len(models) > 2 or (len(models) == 2 and (evidence.member[models[0]] == evidence.member[models[1]]).any()):
        kept = np.setdiff1d(np.arange(len(evidence.values)), models)
        mask = _is_member(evidence, kept)
        ordered, models = [_ordered(evidence.values[kept], side) for side in (mask, ~mask)], ()
    medians = []
    for inside, side in zip((True, False), ordered, strict=True):
        gone = np.full(side.count.shape, np.inf)
        for k in models:
            gone = np.where(_is_member(evidence, k) == inside, evidence.values[k], gone)
        rank = (side.values < gone).sum(axis=0)  # of the value that is taken; as large as the count if none is
        count = side.count - np.isfinite(gone)
        half = [np.maximum(count + shift, 0) // 2 for shift in (-1, 0)]
        at = [np.minimum(j + (j >= rank), len(side.values) - 1)[None] for j in half]
        low, high = (np.take_along_axis(side.values, j, axis=0)[0].astype(np.float64) for j in at)
        medians.append(np.where(count > 0, (low + np.where(count > 0, high, 0)) / 2, np.nan))
    return medians


def _is_member(evidence: Evidence, models) -> np.ndarray:
    member = evidence.member[models]
    return member if evidence.member.ndim == evidence.values.ndim else member[..., None]
