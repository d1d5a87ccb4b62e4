"""Faults that other tools have in statistics, and that are not made here (docs/comparison.md)."""

import json

import numpy as np
import pytest
from scipy import stats
from test_epsilon import RANKS, SPLIT, coins, exceeding, noise
from test_metrics import covers, gaussian_audit, told

from mia_jax.statistics import epsilon, metrics, one_run


def test_leakpro_a_label_only_score_keeps_its_area():
    """All 1,000 members answered rightly, 678 of 1,000 others: AUC .661; with one end of each tie kept, .339."""
    score = np.concatenate([np.ones(1000), np.ones(678), np.zeros(322)])
    member = np.arange(2000) < 1000
    for order in (np.arange(2000), np.arange(2000)[::-1], np.random.default_rng(8).permutation(2000)):
        assert metrics.auc(score[order], member[order]).value == pytest.approx(0.661)
    assert len(metrics.roc(score, member).fpr) == 3


def test_leakpro_no_rate_is_nan():
    """Attack and data at their poorest: every number is one, or says why it is not (LeakPro #393: TPR is NaN)."""
    rng = np.random.default_rng(9)
    for score in (np.zeros(40), np.full(40, np.inf), rng.normal(size=40), np.where(np.arange(40) < 20, 1.0, -1.0)):
        for member in (np.arange(40) < 20, np.arange(40) < 1, np.ones(40, bool), np.zeros(40, bool)):
            block = metrics.evaluate(score, member, np.arange(40) % 3, 4)
            text = json.dumps(block, allow_nan=False)
            assert json.loads(text) == block
            for name in ("accuracy", "precision", "recall", "auc", "balanced_accuracy"):
                told(block[name])
            for measure in [*block["tpr_at_fpr"].values(), *block["ppv_at_prior"].values()]:
                told(measure)
    assert metrics.evaluate(np.zeros(0), np.zeros(0, bool), np.zeros(0, int), 2)["accuracy"]["value"] is None


def test_jax_privacy_noise_has_an_area_of_one_half():
    """Of the convex hull of the ROC it is .559 on 100 + 100 scores of pure noise."""
    rng = np.random.default_rng(10)
    areas = [metrics.auc(*gaussian_audit(rng, 100, 100, 0.0)).value for _ in range(400)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.01)


def test_clopper_pearson_on_a_tpr_alone_is_too_sure():
    """The threshold was estimated too: an interval that ignores it covers .37 here, ours .94."""
    rng, truth = np.random.default_rng(11), stats.norm.sf(stats.norm.isf(0.01) - 2)
    ours = alone = 0
    for _ in range(400):
        score, member = gaussian_audit(rng, 2000, 1000, 2.0)
        measure = metrics.tpr_at_fpr(score, member, 0.01)
        ours += covers(measure, truth)
        alone += covers(metrics.proportion(round(measure.value * 2000), 2000), truth)
    assert alone < 0.75 * 400 and 0.92 * 400 <= ours <= 0.98 * 400, (alone, ours)


def test_privacy_meter_guess_counts_are_corrected_for():
    """On noise, the best of a grid of guess counts proves epsilon > 0 in about half of the runs; corrected, in 5 %."""
    rng, grid = np.random.default_rng(5), list(range(20, 1001, 20))
    uncorrected = corrected = 0
    for _ in range(100):
        score, member = coins(rng, 1000, lambda m: rng.normal(size=1000))
        ours = one_run.from_scores(score, member, grid)
        each = [one_run.from_scores(score, member, r).epsilon for r in grid]
        uncorrected += max(each) > 0
        corrected += ours.epsilon > 0
    assert corrected <= exceeding(100) and uncorrected > 0.2 * 100, (corrected, uncorrected)


def test_privacyguard_a_threshold_picked_on_the_same_scores_is_corrected_for():
    rng, runs, picked, ours = np.random.default_rng(6), 500, 0, np.zeros(2)
    upper = np.append(stats.beta.ppf(0.975, np.arange(1000) + 1, 1000 - np.arange(1000)), 1.0)
    for _ in range(runs):
        score, member = noise(rng, 1000, 1000)
        curve = metrics.roc(score, member)
        fpr, fnr = (upper[np.rint(1000 * x).astype(int)] for x in (curve.fpr, 1 - curve.tpr))
        picked += np.max((1 - fnr) / fpr) > 1
        ours += [epsilon.from_scores(score, member, choose=choose).epsilon > 0 for choose in (SPLIT, RANKS)]
    assert picked > 0.055 * runs and np.all(ours <= exceeding(runs)), (picked, ours)


def test_the_order_of_records_is_no_evidence():
    """A constant score, members first: ties broken by position would guess everybody right."""
    member = np.arange(1000) < 500
    for seed in range(20):
        for tries, two_sided in ((1000, True), ([15, 62, 250, 1000], True), (250, False)):
            found = one_run.from_scores(np.zeros(1000), member, tries, two_sided=two_sided, seed=seed)
            assert found.epsilon == found.right == 0  # a coin of ours is no guess
    for choose in (SPLIT, RANKS, epsilon.Fixed()):
        assert epsilon.from_scores(np.zeros(1000), member, choose=choose).epsilon == 0
    few = np.where(np.arange(1000) < 40, 1.0, 0.0)  # some are told, the others tied: guessed both ways where all are
    assert one_run.from_scores(few, member, 60, two_sided=False).right == 40
    assert one_run.from_scores(few, member, 1000).right == 40
