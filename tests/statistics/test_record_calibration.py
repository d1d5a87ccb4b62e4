"""Records with scores of another location and spread have one false-positive rate once they are calibrated."""

import numpy as np

from mia_jax.statistics import over_targets
from mia_jax.statistics.record_calibration import calibrated


def _world(targets: int = 40, n: int = 1500, leak: float = 0.0):
    rng = np.random.default_rng(0)
    half = np.stack([rng.permutation(n) < n // 2 for _ in range(targets // 2)])
    member = np.concatenate([half, ~half])
    place, spread = rng.normal(0, 2, n), rng.uniform(0.5, 1.5, n)
    return place + spread * (rng.normal(size=member.shape) + leak * member), member


def test_each_record_is_accused_as_often_as_the_others():
    score, member = _world()
    made = calibrated(score, member)

    def spread_of_rates(values):
        cut = np.quantile(values[~member], 0.9)
        return np.where(~member, values > cut, 0).sum(axis=0) / (~member).sum(axis=0)

    before, after = (spread_of_rates(values).std() for values in (score, made))
    binomial = (0.1 * 0.9 / 20) ** 0.5
    assert before > 3 * binomial and after < 1.3 * binomial


def test_scores_that_tell_nothing_tell_nothing_afterwards_and_leaks_are_found_better():
    score, member = _world()
    auc = over_targets.auc(calibrated(score, member), member)
    assert auc.low < 0.5 < auc.high
    score, member = _world(leak=2.0)
    before, after = (over_targets.tpr_at_fpr(s, member, 0.1).value for s in (score, calibrated(score, member)))
    assert after > before + 0.2


def test_few_targets_are_not_enough():
    score, member = _world(targets=8)
    assert calibrated(score, member) is None
