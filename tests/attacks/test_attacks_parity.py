"""Beside the reference implementations, whose formulas are written down here again, in our words: not their code.

* LiRA: tensorflow/privacy, research/mi_lira_2021/plot.py (Carlini et al.), four variants.
* RMIA: privacytrustlab/ml_privacy_meter, modules/mia/attacks/rmia.py.

Where one of them errs, the test shows by how much, and matches what is left.
"""

import attack_worlds as worlds
import numpy as np
import pytest
import scipy.stats

from mia_jax.attacks import ATTACKS, common, lira, rmia
from mia_jax.plans import membership
from mia_jax.statistics import metrics

N, K = 300, 34
WORLD = worlds.gaussian(21, N, K, shift=1.5, deviation=worlds.uneven)
SHADOWS = worlds.others(WORLD)
MEMBER = WORLD.member[SHADOWS]
PHI = worlds.see(ATTACKS["lira"](4), WORLD, SHADOWS)["phi"].astype(np.float64)
OWN = worlds.see(ATTACKS["lira"](4), WORLD, 0)["phi"].astype(np.float64)


def reference_lira(fixed, offline):
    """Center and standard deviation of each side, and the score, larger = member: the sign of theirs is turned."""
    sides = [np.stack([PHI[mask[:, j], j] for j in range(N)]) for mask in (MEMBER, ~MEMBER)]  # [n, models of the side]
    center = [np.median(side, axis=1) for side in sides]
    if not fixed:
        deviation = [side.std(axis=1) for side in sides]
    elif offline:
        deviation = [None, sides[1].std()]
    else:
        deviation = [sides[0].std()] * 2  # of IN for both, of raw values
    density = [
        None if s is None else scipy.stats.norm.logpdf(OWN, m, s + 1e-30)
        for m, s in zip(center, deviation, strict=True)
    ]
    return center, deviation, -density[1] if offline else density[0] - density[1]


def ours(**how):
    parts = lira.steps(center="median", **how)
    fitted = parts.fit(parts.aggregate({"phi": PHI}, MEMBER, None), ())
    return fitted, parts.score(fitted, {"phi": OWN}, None)


def test_online():
    _, _, expected = reference_lira(False, False)
    np.testing.assert_allclose(ours()[1], expected, rtol=1e-9)


def test_online_fixed_differs_by_their_variance_alone():
    (mu_in, mu_out), deviation, expected = reference_lira(True, False)
    fitted, scores = ours(fixed=True)
    np.testing.assert_allclose([fitted.mean_in, fitted.mean_out], [mu_in, mu_out], rtol=1e-12)
    same = lira.Gaussians(fitted.mean_in, deviation[0] ** 2, fitted.mean_out, deviation[1] ** 2)
    np.testing.assert_allclose(lira.steps(fixed=True).score(same, {"phi": OWN}, None), expected, rtol=1e-9)
    # Records differ by 2, models by 1: theirs says sqrt(5) where the truth is 1.
    assert np.sqrt([fitted.var_in, fitted.var_out]) == pytest.approx([1, 1], abs=0.1)
    assert deviation[0] == pytest.approx(np.sqrt(5), rel=0.1)
    assert not np.allclose(scores, expected, rtol=0.1)


@pytest.mark.parametrize("fixed", [False, True])
def test_offline_is_theirs_on_the_side_of_members(fixed):
    """Theirs orders by |z|, so that an unusually low phi counts as a member; above the center both order alike."""
    (_, mu_out), deviation, theirs = reference_lira(fixed, True)
    fitted, scores = ours(fixed=fixed, offline=True)
    if fixed:
        assert np.sqrt(fitted.var_out) == pytest.approx(1, abs=0.1) and deviation[1] == pytest.approx(
            np.sqrt(5), rel=0.1
        )
        deviation[1] = np.sqrt(fitted.var_out)
        theirs = -scipy.stats.norm.logpdf(OWN, mu_out, deviation[1])
    np.testing.assert_allclose(np.sqrt(fitted.var_out), deviation[1], rtol=1e-9)
    z = (OWN - mu_out) / deviation[1]
    size = np.sqrt(2 * (theirs - np.log(deviation[1]) - np.log(2 * np.pi) / 2))
    np.testing.assert_allclose(size, np.abs(z), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(-scores), -scipy.stats.norm.logcdf(z), rtol=1e-6)
    member = WORLD.member[0]
    assert metrics.auc(scores, member).value > metrics.auc(theirs, member).value + 0.02


def meter_rmia(own, answers, member, z_own, z_answers, a):
    """Privacy Meter's RMIA: gamma 1, a strict inequality, references OUT of each record.

    Of population records, OUT of all models, theirs keeps the larger half of the answers only.
    """
    half = len(answers) // 2
    x = np.array([answers[~member[:, i], i].mean() for i in range(len(own))])
    z = np.array([np.sort(column)[-half:].mean() for column in z_answers.T])
    ratio_x, ratio_z = ((p / ((1 + a) / 2 * m + (1 - a) / 2)) for p, m in ((own, x), (z_own, z)))
    return np.array([np.mean([r / other > 1 for other in ratio_z]) for r in ratio_x])


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_rmia_is_privacy_meters_with_its_gamma_inequality_and_references(a):
    population = worlds.gaussian(22, 200, K, silent=range(K))
    log_p, log_z = (worlds.see(ATTACKS["rmia"](4), w, [0, *SHADOWS])["log_p_y"] for w in (WORLD, population))
    p, z = np.exp(log_p.astype(np.float64)), np.exp(log_z.astype(np.float64))
    expected = meter_rmia(p[0], p[1:], MEMBER, z[0], z[1:], a)

    half = np.sort(log_z[1:], axis=0)[-len(SHADOWS) // 2 :]  # their references of the population
    attack = ATTACKS["rmia_offline"](4, gamma=1.0, strict=True, a=a)
    state = attack.fit(None, {"log_p_y": log_p[1:]}, MEMBER, {"log_p_y": np.concatenate([log_z[:1], half, half])})
    scores = attack.score(state, {"log_p_y": log_p[0]}) + state.boundary
    np.testing.assert_array_equal(np.floor(scores * 200 + 1e-9), np.round(expected * 200))

    # With all of the population's references the shares are others: theirs take it for surer than it is.
    parts = rmia.steps(gamma=1.0, strict=True, offline=True, a=a)
    known = parts.aggregate({"log_p_y": log_p[1:]}, MEMBER, {"log_p_y": log_z[1:]})
    full = parts.score(parts.fit(known, ()), {"log_p_y": log_p[0]}, {"log_p_y": log_z[0]})
    assert np.abs(full - expected).max() > 0.02 or a == 0


def test_our_leaving_out_is_their_plan_of_pairs():
    """Theirs takes the target's partner (2p, 2p + 1) away as well; ours finds it from the membership matrix."""
    np.testing.assert_array_equal(membership.related(WORLD.member), np.kron(np.eye(K // 2), np.ones((2, 2))))
    np.testing.assert_array_equal(MEMBER.sum(axis=0), len(SHADOWS) // 2)
    assert common.LIMIT < 87.34
