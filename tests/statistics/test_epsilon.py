"""Bounds on epsilon: closed forms, brute force, validity in simulated audits, parity."""

import itertools
import math
import sys

import numpy as np
import pytest
from scipy import special, stats

from mia_jax.statistics import epsilon, metrics, one_run
from mia_jax.statistics.metrics import Called
from mia_jax.types import InputError

SPLIT, RANKS = epsilon.Split(), epsilon.Bonferroni()


def randomized_response(rng, eps, m, n):
    """Says the truth with probability e^eps / (1 + e^eps): epsilon is exactly ``eps``."""
    member, truthful = np.arange(m + n) < m, rng.random(m + n) < special.expit(eps)
    return np.where(member == truthful, 1.0, -1.0), member


def coins(rng, canaries, score_of):
    """One run: each canary in or out by a fair coin."""
    member = rng.random(canaries) < 0.5
    return score_of(member), member


def noise(rng, m, n):
    return rng.normal(size=m + n), np.arange(m + n) < m


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_clopper_pearson_by_hand():
    c = Called(tp=80, fp=10, members=100, non_members=200)
    fpr = stats.beta.ppf(0.975, 11, 190)
    fnr = stats.beta.ppf(0.975, 21, 80)
    found, cleared = math.log((1 - fnr - 0.01) / fpr), math.log((1 - fpr - 0.01) / fnr)
    assert epsilon.clopper_pearson(c, delta=0.01, direction="found") == pytest.approx(found)
    assert epsilon.clopper_pearson(c, delta=0.01, direction="cleared") == pytest.approx(cleared)
    assert epsilon.clopper_pearson(c, delta=0.01) == pytest.approx(max(found, cleared))
    mirrored = Called(tp=190, fp=20, members=200, non_members=100)  # members and others change places
    assert epsilon.clopper_pearson(mirrored, delta=0.01, direction="cleared") == pytest.approx(found)
    assert epsilon.clopper_pearson(Called(0, 100, 100, 100)) == 0


def test_gaussian_dp_converts_there_and_back():
    for mu in (0.01, 0.5, 3.0, 20.0):
        for delta in (1e-9, 1e-5, 0.01):
            eps = epsilon.gaussian_epsilon(mu, delta)
            if eps > 0:
                assert epsilon.gaussian_delta(mu, eps) == pytest.approx(delta, rel=1e-5)
            else:
                assert epsilon.gaussian_delta(mu, 0.0) <= delta
    assert epsilon.gaussian_delta(1.0, 0.0) == pytest.approx(2 * stats.norm.cdf(0.5) - 1)  # total variation
    assert epsilon.gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.3771780953, abs=1e-8)  # Balle and Wang's calibration


def test_joint_beta_is_the_quantile_of_draws_and_takes_milliseconds():
    rng = np.random.default_rng(0)
    cases = [Called(1355, 499, 2000, 3000), Called(900, 3, 1000, 1000), Called(90, 50, 100, 100), Called(9, 0, 10, 10)]
    for c, a in itertools.product(cases, (0.5, 1.0)):
        fpr = rng.beta(a + c.fp, 1 - a + c.non_members - c.fp, 400_000)
        fnr = rng.beta(a + c.members - c.tp, 1 - a + c.tp, 400_000)
        for delta in (0.0, 0.05):
            for direction, high, low in (("found", fnr, fpr), ("cleared", fpr, fnr)):
                draws = np.log(np.maximum(1 - delta - high, 1e-300) / low)
                below = (draws <= epsilon.joint_beta(c, delta=delta, direction=direction, prior=a)).mean()
                assert below == pytest.approx(0.05, abs=0.002)
    for nothing in (Called(50, 50, 100, 100), Called(0, 0, 9, 9), Called(9, 9, 9, 9), Called(0, 9, 9, 9)):
        assert epsilon.joint_beta(nothing) == epsilon.joint_beta(nothing, direction="cleared") == 0


def test_one_run_p_value_by_brute_force():
    for m, r, v, eps, delta in [(100, 20, 17, 0.5, 1e-3), (100, 20, 17, 2.0, 1e-3), (60, 60, 31, 0.0, 1e-4)]:
        q = math.exp(eps) / (1 + math.exp(eps))
        pmf = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
        beta = sum(pmf[v:])
        alpha = max(sum(pmf[max(0, v - i) : v]) / i for i in range(1, m + 1))
        expected = min(1, beta + 2 * m * delta * alpha)
        assert one_run.p_value(m, r, v, eps, delta) == pytest.approx(expected, rel=1e-9)
    bound = one_run.steinke(1000, 100, 95, delta=1e-5)
    assert one_run.p_value(1000, 100, 95, bound, 1e-5) == pytest.approx(0.05, rel=1e-5)


def test_long_windows_add_nothing_to_the_p_value():
    for r, v, eps in [(5000, 2600, 0.0), (5000, 4000, 3.0), (20_000, 12_000, 0.1)]:
        q, i = special.expit(eps), np.arange(1, v + 1)
        alpha = np.max(np.cumsum(stats.binom.pmf(v - i, r, q)) / i)
        expected = min(1.0, stats.binom.sf(v - 1, r, q) + 2 * r * 1e-5 * alpha)
        assert one_run.p_value(r, r, v, eps, 1e-5) == pytest.approx(expected, rel=1e-9)


def test_gaussian_one_run_by_brute_force():
    """Algorithm 3 of Mahloujifar et al. without the shortcut: refuted just below the bound, not just above."""

    def refuted(mu, m, r, v, tau):
        right, wrong = [0.0] * (v + 1), [0.0] * (v + 1)
        right[v], wrong[v] = tau * v / m, tau * (r - v) / m
        for i in range(v - 1, -1, -1):
            wrong[i] = max(wrong[i + 1], stats.norm.cdf(stats.norm.ppf(right[i + 1]) - mu))
            right[i] = min(1.0, right[i + 1] + i / (r - i) * (wrong[i] - wrong[i + 1]))
        return right[0] + wrong[0] > r / m

    for m, r, v in [(200, 50, 45), (200, 200, 130), (100, 30, 30)]:
        mu = one_run.gaussian_mu(m, r, v)
        assert mu > 0.1
        assert refuted(mu - 1e-4, m, r, v, 0.05) and not refuted(mu + 1e-4, m, r, v, 0.05)
    assert one_run.gaussian_mu(200, 100, 50) == 0


def test_more_evidence_proves_more():
    def along(values):
        assert all(a <= b + 1e-9 for a, b in itertools.pairwise(values)) and values[-1] > values[0]

    along([one_run.steinke(1000, 200, v, delta=1e-5) for v in range(100, 201, 10)])
    along([one_run.gaussian_mu(1000, 200, v) for v in range(100, 201, 20)])
    for bound in (epsilon.clopper_pearson, epsilon.joint_beta):
        along([bound(Called(tp, 5, 100, 100)) for tp in range(5, 101, 5)])
        along([bound(Called(60 * k, 5 * k, 100 * k, 100 * k)) for k in (1, 4, 16, 64)])
        assert bound(Called(80, 5, 100, 100)) > bound(Called(80, 5, 100, 100), significance=0.01)
        assert bound(Called(80, 5, 100, 100)) > bound(Called(80, 5, 100, 100), delta=0.05)


# --- validity: the bound exceeds the truth in at most 5 % of audits, and is near it when data is plentiful -----------

MANY = {
    "fixed": (epsilon.clopper_pearson, epsilon.Fixed()),
    "split": (epsilon.clopper_pearson, SPLIT),
    "ranks": (epsilon.clopper_pearson, RANKS),
    "gaussian split": (epsilon.gaussian, SPLIT),
    "gaussian ranks": (epsilon.gaussian, RANKS),
    "joint beta split": (epsilon.joint_beta, SPLIT),
    "joint beta ranks": (epsilon.joint_beta, RANKS),
}


def exceeding(runs, allowed=0.05):
    """How many of ``runs`` may exceed at a true rate of ``allowed``: exceeded by chance once in a thousand times."""
    return stats.binom.ppf(0.999, runs, allowed)


def audits(count, name, world, truth, **options):
    bound, choose = MANY[name]
    rng = np.random.default_rng(1)
    found = [
        epsilon.from_scores(*world(rng), bound, choose, significance=0.05, **options).epsilon for _ in range(count)
    ]
    wrong = sum(eps > truth + 1e-9 for eps in found)
    print(f"\n{name}: {wrong / count:.3f} of {count} audits exceed {truth:.3f}; median {np.median(found):.3f}")
    return wrong, float(np.median(found))


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("direction", ["found", "cleared"])
@pytest.mark.parametrize("name", MANY)
def test_nothing_is_proven_on_noise(name, direction, count):
    wrong, _ = audits(count, name, lambda rng: noise(rng, 200, 300), 0.0, direction=direction, delta=1e-5)
    assert wrong <= exceeding(count)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["fixed", "split", "ranks", "joint beta ranks"])
def test_randomized_response_is_bounded_from_below(name, count):
    wrong, _ = audits(count, name, lambda rng: randomized_response(rng, 1.0, 500, 500), 1.0)
    assert wrong <= exceeding(count)
    wrong, median = audits(20, name, lambda rng: randomized_response(rng, 1.0, 50_000, 50_000), 1.0)
    assert wrong <= exceeding(20) and median > 0.8


@pytest.mark.integration
def test_joint_beta_errs_at_most_at_its_level_and_as_published_it_does_not():
    """Exactly, from the law of the counts: on noise, for randomized response, and on the edge of epsilon 1."""
    m, n, counts, delta = 30, 40, np.arange(41), 0.05
    fisher = [
        [stats.fisher_exact([[tp, m - tp], [fp, n - fp]], "greater").pvalue for tp in counts[: m + 1]] for fp in counts
    ]

    def bounds(**options):
        return np.array(
            [[epsilon.joint_beta(Called(tp, fp, m, n), **options) for tp in counts[: m + 1]] for fp in counts]
        )

    worst = {}
    for prior in (0.5, 1.0):
        found = bounds(prior=prior)
        if prior == 1:
            np.testing.assert_array_equal(found > 0, np.array(fisher) < 0.05)  # Altham 1969
        errors = [
            stats.binom.pmf(counts, n, fpr) @ (found > eps + 1e-6) @ stats.binom.pmf(counts[: m + 1], m, tpr)
            for eps in (0.0, 1.0)
            for fpr in (*np.linspace(0.01, 0.99, 50) / math.exp(eps), special.expit(-eps))
            for tpr in [math.exp(eps) * fpr]
        ]
        worst[prior] = max(errors)
    found = bounds(delta=delta)
    for fpr in np.linspace(0.01, 0.94, 40) / math.e:  # (1, delta): the edge is e fpr + delta
        law = stats.binom.pmf(counts[: m + 1], m, math.e * fpr + delta)
        assert stats.binom.pmf(counts, n, fpr) @ (found > 1 + 1e-6) @ law <= 0.05
    print(f"\nworst error of joint beta by prior: {worst}")
    assert worst[1.0] <= 0.05 < 0.06 < worst[0.5]


def test_joint_beta_holds_at_each_rank_and_as_published_it_does_not():
    """Exactly: beyond the (j + 1)-th of n others lies a rate of Beta(j + 1, n - j), of members e^eps times as much."""
    m, n, tp = 30, 40, np.arange(31)
    worst = {}
    for prior in (0.5, 1.0):
        errors = []
        for j, eps in itertools.product((0, 1, 2, 4, 8, 16), (0.0, 1.0)):
            found = np.array([epsilon.joint_beta(Called(k, j, m, n), prior=prior) for k in tp])
            rates = special.betaincinv(j + 1, n - j, (np.arange(4000) + 0.5) / 4000)
            law = stats.binom.pmf(tp, m, np.minimum(math.exp(eps) * rates, 1)[:, None]).mean(axis=0)
            errors.append(law @ (found > eps + 1e-6))
        worst[prior] = max(errors)
    print(f"\nworst error of joint beta at a rank by prior: {worst}")
    assert worst[1.0] <= 0.05 < worst[0.5]


@pytest.mark.parametrize("bound", [one_run.steinke, one_run.gaussian], ids=["steinke", "f-dp"])
@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_one_run_never_errs_more_than_its_level(eps, bound):
    """Exactly: of 500 canaries, all guessed, a binomial number is guessed right."""
    delta = 1e-5
    truth = eps if bound is one_run.steinke else epsilon.gaussian_epsilon(2 * stats.norm.ppf(special.expit(eps)), delta)
    right = next(v for v in range(251, 501) if bound(500, 500, v, delta=delta) > truth + 1e-9)
    error = stats.binom.sf(right - 1, 500, special.expit(eps))
    print(f"\none run, epsilon {eps}: {error:.4f} exceed, exactly")
    loose = eps and bound is one_run.gaussian  # the Gaussian through the corner of epsilon 1 allows far more
    assert error <= 0.05 and (loose or error > 0.02)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_joint_beta_errs_at_its_level_in_a_fixed_direction(count):
    wrong, median = audits(count, "joint beta split", lambda rng: randomized_response(rng, 1.0, 4000, 4000), 1.0)
    assert wrong <= exceeding(count) and median > 0.8
    with pytest.raises(InputError, match="fix 'found' or 'cleared' beforehand"):
        epsilon.joint_beta(Called(8, 1, 10, 10), direction="either")


@pytest.mark.integration
def test_the_better_of_both_directions_errs_too_often():
    rng, m, wrong = np.random.default_rng(2), 50_000, 0
    for _ in range(1000):
        c = Called(rng.binomial(m, special.expit(1.0)), rng.binomial(m, special.expit(-1.0)), m, m)
        wrong += max(epsilon.joint_beta(c, direction=d) for d in ("found", "cleared")) > 1.0
    print(f"\nthe better of both directions: {wrong / 1000} exceed")
    assert wrong > 70


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_gaussian_mechanism_is_bounded_from_below(count):
    """Scores at distance mu are what a mu-Gaussian mechanism gives away."""
    truth = epsilon.gaussian_epsilon(1.0, 1e-5)

    def world(m):
        return lambda rng: (np.concatenate([rng.normal(1, 1, m), rng.normal(0, 1, m)]), np.arange(2 * m) < m)

    for name in ("gaussian split", "gaussian ranks"):
        wrong, _ = audits(count, name, world(500), truth, delta=1e-5)
        assert wrong <= exceeding(count)
        wrong, median = audits(20, name, world(20_000), truth, delta=1e-5)
        assert wrong <= exceeding(20) and median > 0.8 * truth


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bound", [one_run.steinke, one_run.gaussian], ids=["steinke", "f-dp"])
@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_one_run_is_bounded_from_below(eps, bound, count):
    rng, delta, wrong = np.random.default_rng(3), 1e-5, 0
    for _ in range(count):
        score, member = coins(
            rng, 500, lambda m: np.where(rng.random(500) < special.expit(eps), 2 * m - 1.0, 1 - 2.0 * m)
        )
        truth = eps
        if bound is one_run.gaussian:  # its Gaussian: the one whose curve passes randomized response's corner
            truth = epsilon.gaussian_epsilon(2 * stats.norm.ppf(special.expit(eps)), delta)
        wrong += one_run.from_scores(score, member, 500, bound, delta=delta).epsilon > truth
    print(f"\none run, epsilon {eps}: {wrong / count:.3f} exceed")
    assert wrong <= exceeding(count)


def test_one_run_with_plenty_of_canaries_is_near_the_truth():
    rng = np.random.default_rng(4)
    score, member = coins(
        rng, 50_000, lambda m: np.where(rng.random(50_000) < special.expit(1.0), 2 * m - 1.0, 1 - 2.0 * m)
    )
    bound = one_run.from_scores(score, member, 20_000, delta=1e-7).epsilon
    assert 0.8 < bound <= 1.0


@pytest.mark.parametrize("direction", ["found", "cleared"])
def test_ranks_count_what_their_threshold_does(direction):
    rng = np.random.default_rng(7)
    score, member = np.concatenate([rng.normal(2, 1, 300), rng.normal(0, 1, 400)]), np.arange(700) < 300
    bound = epsilon.from_scores(score, member, choose=RANKS, direction=direction)
    above = metrics.call(score, member, bound.threshold)
    at = metrics.call(score, member, np.nextafter(bound.threshold, -np.inf))
    assert bound.counts == (above if direction == "found" else at)
    assert bound.epsilon > 1


# --- parity ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def auditing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        return pytest.importorskip("jax_privacy.auditing", reason="parity: pip install jax-privacy==2.0.0")


def test_parity_with_jax_privacy(auditing):
    rng = np.random.default_rng(8)
    x, y = rng.normal(1.5, 1, 800), rng.normal(0, 1, 1200)
    score, member = np.concatenate([x, y]), np.arange(2000) < 800
    auditor = auditing.CanaryScoreAuditor(x, y)
    for threshold in (0.0, 1.0, 2.0):
        c, theirs = metrics.call(score, member, threshold), auditing.Explicit(threshold)
        for delta in (0.0, 0.01):
            a = auditor.epsilon_clopper_pearson(0.05, delta, threshold_strategy=theirs)
            assert epsilon.clopper_pearson(c, delta=delta, direction="found") == pytest.approx(a, abs=1e-9)
            a = auditor.epsilon_clopper_pearson(0.05, delta, False, threshold_strategy=theirs)
            assert epsilon.clopper_pearson(c, delta=delta) == pytest.approx(a, abs=1e-9)
        ours = one_run.steinke(2000, c.tp + c.fp, c.tp, delta=1e-4)
        assert ours == pytest.approx(auditor.epsilon_one_run(0.05, 1e-4, threshold_strategy=theirs), abs=1e-5)
        ours = one_run.gaussian(2000, c.tp + c.fp, c.tp, delta=1e-4)
        assert ours == pytest.approx(auditor.epsilon_one_run_fdp(0.05, 1e-4, threshold_strategy=theirs), abs=1e-5)
    curve = metrics.roc(score, member)  # theirs is of the convex hull, never below ours
    assert 0 <= auditor.attack_auroc() - metrics.auc(score, member).value < 0.01
    assert np.all(auditor.tpr_at_given_fpr(curve.fpr) >= curve.tpr - 1e-12)


def test_accountant_of_full_batches_is_gaussian_dp():
    pytest.importorskip("dp_accounting", reason="the accountant: pip install 'mia-jax[dp]'")
    exact = epsilon.gaussian_epsilon(math.sqrt(10) / 2, 1e-5)
    assert exact <= epsilon.accountant(2.0, 1.0, 10, 1e-5) < exact + 1e-4


def test_accountant_is_tighter_than_moments():
    """q .1, sigma 1.1, 1,000 steps: 22.8 by Renyi, 21.1 by privacy loss distributions."""
    pytest.importorskip("dp_accounting", reason="the accountant: pip install 'mia-jax[dp]'")
    assert epsilon.accountant(1.1, 0.1, 1000, 1e-5) == pytest.approx(21.09, abs=0.02)


def test_a_missing_accountant_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"pip install 'mia-jax\[dp\]'"):
        epsilon.accountant(1.0, 0.1, 10, 1e-5)
    assert epsilon.accountant(0.0, 0.1, 10, 1e-5) == math.inf


def test_bad_input_is_refused():
    c, score, member = Called(8, 1, 10, 10), np.arange(10.0), np.arange(10) < 5
    for wrong in (
        lambda: epsilon.clopper_pearson(c, delta=1.0),
        lambda: epsilon.clopper_pearson(c, significance=0.5),
        lambda: epsilon.clopper_pearson(Called(0, 0, 0, 10)),
        lambda: epsilon.gaussian(c, delta=0.0),
        lambda: one_run.steinke(10, 11, 5),
        lambda: one_run.steinke(10, 5, 6),
        lambda: one_run.gaussian_mu(10, 0, 0),
        lambda: one_run.from_scores(score, member, 11),
        lambda: one_run.from_scores(score, member, []),
        lambda: epsilon.joint_beta(c, prior=0.4),
        lambda: epsilon.joint_beta(Called(0, 0, 0, 5)),
        lambda: epsilon.from_scores(score[:2], np.array([True, False])),
        lambda: epsilon.from_scores(np.full(10, np.nan), member),
        lambda: epsilon.accountant(1.0, 0.0, 10, 1e-5),
    ):
        with pytest.raises(InputError):
            wrong()
