"""Statistics: closed forms, naive twins, coverage in simulated audits."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mia_jax.statistics import low_fpr, metrics, over_targets, resampling, thresholds
from mia_jax.statistics.metrics import Called
from mia_jax.types import InputError


def gaussian_audit(rng, m, n, mu, spread=1.0):
    """Members at distance ``mu`` from others: AUC = Phi(mu / sqrt(1 + spread^2))."""
    return np.concatenate([rng.normal(mu, spread, m), rng.normal(0, 1, n)]), np.arange(m + n) < m


def covers(measure, truth):
    return measure.low <= truth <= measure.high


# scores from a handful of values, so that ties are the rule; at least two of each side
def told(measure):
    """A number within an interval of some width, or a reason."""
    if measure["value"] is None:
        assert measure["reason"] and set(measure) == {"value", "reason"}
    else:
        assert 0 <= measure["low"] <= measure["value"] <= measure["high"] <= 1 and measure["low"] < measure["high"]


audits = st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=4, max_size=30).filter(
    lambda rows: 2 <= sum(member for _, member in rows) <= len(rows) - 2
)


def arrays(rows):
    score, member = zip(*rows, strict=True)
    return np.asarray(score, float), np.asarray(member)


# --- naive twins -----------------------------------------------------------------------------------------------------


@given(audits)
@settings(max_examples=150, deadline=None)
def test_roc_auc_and_tpr_are_what_loops_give(rows):
    score, member = arrays(rows)
    inside, outside = score[member], score[~member]
    curve = metrics.roc(score, member)
    expected = [(0.0, 0.0)] + [((outside >= v).mean(), (inside >= v).mean()) for v in sorted(set(score), reverse=True)]
    np.testing.assert_allclose(np.stack([curve.fpr, curve.tpr], 1), expected)
    for fpr, tpr, threshold in zip(*curve, strict=True):
        c = metrics.call(score, member, threshold)
        assert (c.fp / c.non_members, c.tp / c.members) == (pytest.approx(fpr), pytest.approx(tpr))
    pairs = (inside[:, None] > outside) + (inside[:, None] == outside) / 2
    measure = metrics.auc(score, member)
    assert measure.value == pytest.approx(pairs.mean()) == pytest.approx(np.trapezoid(curve.tpr, curve.fpr))
    assert 0 <= measure.low <= measure.value <= measure.high <= 1 and measure.low < measure.high
    t = metrics.tally(score, member)
    above = low_fpr.above(t.members, t.non_members)
    np.testing.assert_allclose(above, naive_above(inside, outside))
    for rate in (0.1, 0.5):
        reading = low_fpr.read(score, member, rate, above)
        low, high = low_fpr.interval(reading, rate, len(inside), float((reading.influence**2).sum()))
        assert 0 <= low <= reading.tpr <= high <= 1 and low < high
        assert abs(reading.influence.sum()) < 1e-12


def naive_above(inside, outside):
    """Members above the k-th largest of the others, ties broken by a coin: of those tied, k' of b + 1 places."""
    found = [0.0]
    for k, v in enumerate(sorted(outside, reverse=True), 1):
        place, tied = k - (outside > v).sum(), (outside == v).sum()
        found.append((inside > v).mean() + (inside == v).mean() * place / (tied + 1))
    return found


@given(audits)
@settings(max_examples=15, deadline=None)
def test_the_jackknife_is_what_all_halves_give(rows):
    score, member = arrays(rows[:10])
    assume(2 <= member.sum() <= len(member) - 2)
    inside, outside = score[member], score[~member]
    n, half = len(outside), len(outside) // 2
    t = metrics.tally(score, member)
    curve = low_fpr.above(t.members, t.non_members)
    for rate in (0.1, 0.3, 0.7):
        plain = np.interp(rate * (n + 1), np.arange(n + 1), curve)
        halves = [
            np.interp(rate * (half + 1), np.arange(half + 1), naive_above(inside, outside[list(some)]))
            for some in itertools.combinations(range(n), half)
        ]
        expected = (n * plain - half * np.mean(halves)) / (n - half)
        assert low_fpr.jackknifed(curve, rate) == pytest.approx(min(1, max(0, expected)), abs=1e-9)


def test_delong_s_variance_is_that_of_pairs():
    """The interval is on the logit scale, so its half-width there gives the variance back."""
    score, member = gaussian_audit(np.random.default_rng(0), 70, 110, 1.0)
    score = np.round(score, 1)
    pairs = np.sign(score[member][:, None] - score[~member]) / 2 + 0.5
    variance = pairs.mean(1).var(ddof=1) / 70 + pairs.mean(0).var(ddof=1) / 110
    area = metrics.auc(score, member)
    half = np.log(area.high / (1 - area.high)) - np.log(area.value / (1 - area.value))
    expected = stats.norm.ppf(0.975) * math.sqrt(variance) / (area.value * (1 - area.value))
    assert half == pytest.approx(expected, rel=1e-9)


def at_rank(inside, outside, rate):
    """``naive_above`` at rank r (n + 1), between two of the others."""
    ordered, rank = np.sort(outside)[::-1], rate * (len(outside) + 1)

    def found(k):
        v = ordered[k - 1]
        place, tied = k - (outside > v).sum(), (outside == v).sum()
        return (inside > v).mean() + (inside == v).mean() * place / (tied + 1)

    low = math.floor(rank)
    return found(low) + (rank - low) * (found(low + 1) - found(low))


def test_bootstrap_is_a_bootstrap():
    """Its law is that of drawing records with replacement; the closed forms say what it says."""
    rng = np.random.default_rng(1)
    for digits in (8, 0):  # without ties, and with hardly anything else
        score, member = gaussian_audit(rng, 500, 700, 1.0)
        score = np.round(score, digits)
        inside, outside = score[member], score[~member]
        ours = resampling.bootstrap(score, member, (0.1, 0.02), resamples=2000)
        naive = []
        for _ in range(400):
            s = np.concatenate([rng.choice(inside, 500), rng.choice(outside, 700)])
            curve = metrics.roc(s, member)
            at = [at_rank(s[member], s[~member], rate) for rate in (0.1, 0.02)]
            naive.append([np.trapezoid(curve.tpr, curve.fpr), *at])
        naive = np.array(naive)
        for a, b in zip([ours.auc, *ours.tpr.T], naive.T, strict=True):
            assert abs(a.mean() - b.mean()) < 4 * b.std() / 20 + 1e-9
            assert a.std() == pytest.approx(b.std(), rel=0.15)
        area = metrics.auc(score, member)
        assert np.quantile(ours.auc, [0.025, 0.975]) == pytest.approx([area.low, area.high], abs=0.005)
    again = resampling.bootstrap(score, member, (0.1, 0.02), resamples=2000)
    np.testing.assert_array_equal(again.auc, ours.auc)


def test_paired_samples_are_the_same_for_each_score():
    """Each score's own draws are a bootstrap's, and the difference of two that agree is sharper than that of others."""
    rng = np.random.default_rng(4)
    score, member = gaussian_audit(rng, 300, 300, 1.0)
    near = score + rng.normal(0, 0.2, 600)
    order = rng.permutation(600)
    one, two, three = resampling.paired([score[order], near[order], score[order]], member[order], (0.1,))
    np.testing.assert_array_equal(one.auc, three.auc)
    np.testing.assert_array_equal(one.tpr, three.tpr)
    alone = resampling.bootstrap(score, member, (0.1,))
    assert one.auc.std() == pytest.approx(alone.auc.std(), rel=0.15)
    assert one.auc.mean() == pytest.approx(alone.auc.mean(), abs=0.005)
    assert (one.auc - two.auc).std() < 0.4 * np.hypot(one.auc.std(), two.auc.std())


@pytest.mark.slow
def test_paired_intervals_cover_the_difference_as_often_as_they_say():
    covered, rng = 0, np.random.default_rng(5)
    truth = stats.norm.cdf(1.0 / np.sqrt(2)) - stats.norm.cdf(1.0 / np.sqrt(2 + 0.5))  # noise of variance 1/4 on either
    for k in range(60):
        score, member = gaussian_audit(rng, 80, 80, 1.0)
        one, two = resampling.paired([score, score + rng.normal(0, 0.5, 160)], member, (0.1,), resamples=200, seed=k)
        low, high = np.quantile(one.auc - two.auc, [0.025, 0.975])
        covered += low <= truth <= high
    assert covered >= 52  # 60 times .95; fewer by chance once in 500


@pytest.mark.parametrize("digits", [8, 1])  # of one digit more are tied than there are false alarms
def test_interval_of_a_rate_is_the_bootstrap_s(digits):
    score, member = gaussian_audit(np.random.default_rng(2), 4000, 4000, 1.0)
    score = np.round(score, digits)
    draws = resampling.bootstrap(score, member, (0.1, 0.01), resamples=2000).tpr
    for rate, column in zip((0.1, 0.01), draws.T, strict=True):
        measure = metrics.tpr_at_fpr(score, member, rate)
        low, high = np.quantile(column, [0.025, 0.975])
        assert measure.low == pytest.approx(low, abs=0.2 * (high - low))
        assert measure.high == pytest.approx(high, abs=0.2 * (high - low))


# --- closed forms and coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 3.0])
def test_gaussian_closed_forms(mu):
    score, member = gaussian_audit(np.random.default_rng(3), 200_000, 200_000, mu)
    assert metrics.auc(score, member).value == pytest.approx(stats.norm.cdf(mu / math.sqrt(2)), abs=0.003)
    for rate in metrics.RATES:
        truth = stats.norm.sf(stats.norm.isf(rate) - mu)
        assert metrics.tpr_at_fpr(score, member, rate).value == pytest.approx(truth, rel=0.1, abs=0.0005)


WORLDS = [  # m, n, distance, spread of the members, rate
    (1000, 1000, 1.0, 1.0, 0.01),
    (1000, 1000, 0.0, 1.0, 0.1),
    (100, 100, 1.0, 1.0, 0.1),
    (500, 1000, 3.0, 1.0, 0.01),
    (200, 10_000, 0.5, 1.0, 0.01),
    (200, 10_000, 0.5, 1.0, 0.001),
    (2000, 2000, 0.5, 2.0, 0.01),
    (200, 10_000, -0.3, 1.0, 0.001),  # in one of ten audits a member is found
    (200, 100_000, 0.25, 1.0, 0.01),  # a steady threshold, and a count that is now and then below five
]


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(WORLDS[0], marks=pytest.mark.integration),
        *(pytest.param(w, marks=pytest.mark.slow) for w in WORLDS[1:]),
    ],
)
def test_intervals_cover(world):
    """95 % intervals of a thousand simulated audits contain the truth in 92-98 % of them.

    Where fewer than five members are found the interval is Clopper and Pearson's, and may contain it more often.
    """
    m, n, mu, spread, rate = world
    rng = np.random.default_rng(4)
    area, found = stats.norm.cdf(mu / math.hypot(1, spread)), stats.norm.sf((stats.norm.isf(rate) - mu) / spread)
    hits = np.zeros(2)
    for _ in range(1000):
        score, member = gaussian_audit(rng, m, n, mu, spread)
        hits += covers(metrics.auc(score, member), area), covers(metrics.tpr_at_fpr(score, member, rate), found)
    print(f"\n{world}: AUC {hits[0] / 1000:.3f}, TPR {hits[1] / 1000:.3f}")
    assert 920 <= hits[0] <= 980 and 920 <= hits[1] <= (1000 if m * found < low_fpr.FEW else 980), hits / 1000
    assert hits[1] >= 950 or m * found > 2  # Clopper and Pearson's alone


@pytest.mark.parametrize(("m", "n", "mu"), [(1000, 1000, 5.0), (30, 3000, 3.0), (100, 100, 5.0), (20, 20, 2.0)])
def test_areas_near_one_are_not_overclaimed(m, n, mu):
    """DeLong's interval alone covers .90, .85, .98 and .95 here: the sample rarely shows the records that count."""
    rng, truth = np.random.default_rng(5), stats.norm.cdf(mu / math.sqrt(2))
    hits = sum(covers(metrics.auc(*gaussian_audit(rng, m, n, mu)), truth) for _ in range(400))
    assert hits >= 0.94 * 400


def test_intervals_of_ties_cover():
    """A label-only attack: one bit per record."""
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(600):
        score = np.concatenate([rng.random(300) < 0.9, rng.random(300) < 0.6]).astype(float)
        hits += covers(metrics.auc(score, np.arange(600) < 300), 0.65)
    assert 0.92 * 600 <= hits <= 0.98 * 600


@pytest.mark.parametrize("trials", [1, 7, 60])
def test_clopper_pearson_covers_at_least_95_percent(trials):
    """Exactly: summed over every outcome, at rates that include the limits themselves."""
    limits = [metrics.proportion(k, trials) for k in range(trials + 1)]
    low, high = (np.array([getattr(x, end) for x in limits]) for end in ("low", "high"))
    for p in np.concatenate([np.linspace(0, 1, 101), low + 1e-9, high - 1e-9]):
        inside = stats.binom.pmf(np.arange(trials + 1), trials, p)[(low <= p) & (p <= high)].sum()
        assert inside >= 0.95 - 1e-9
    assert limits[0].low == 0 and limits[-1].high == 1


@pytest.mark.parametrize(("tpr", "fpr"), [(0.7, 0.2), (0.05, 0.01), (0.99, 0.9)])
def test_derived_proportions_cover(tpr, fpr):
    rng = np.random.default_rng(7)
    hits = np.zeros(2)
    for tp, fp in zip(rng.binomial(400, tpr, 500), rng.binomial(600, fpr, 500), strict=True):
        c = Called(int(tp), int(fp), 400, 600)
        hits += (
            covers(metrics.balanced_accuracy(c), (tpr + 1 - fpr) / 2),
            covers(metrics.ppv(c, 0.1), 0.1 * tpr / (0.1 * tpr + 0.9 * fpr)),
        )
    assert np.all(hits >= 0.93 * 500), hits / 500  # nominal 95 %, three standard errors of 500 audits below


def test_precision_at_a_prior():
    c = Called(80, 10, 100, 100)
    assert metrics.ppv(c, 0.5).value == pytest.approx(80 / 90)
    assert metrics.ppv(c, 0.01).value == pytest.approx(0.008 / (0.008 + 0.099))
    assert metrics.ppv(Called(5, 0, 100, 100), 0.01).value == 1 and metrics.ppv(Called(5, 0, 100, 100), 0.01).low < 0.05


def test_t_interval_over_targets():
    values = [0.71, 0.69, 0.74, 0.70]
    measure = over_targets.mean(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (measure.low, measure.high) == pytest.approx(expected)
    assert over_targets.mean([0.0, 0.003]).low == 0 > over_targets.mean([0.0, 0.003], within=(-1, 1)).low
    assert over_targets.mean([0.997, 1.0]).high == 1
    for few in ([0.7], [0.7, 0.7]):
        assert over_targets.mean(few).value == pytest.approx(0.7) and over_targets.mean(few).low is None
        assert over_targets.mean(few).reason


# --- conventions -----------------------------------------------------------------------------------------------------


def test_a_score_of_zero_is_not_called_a_member():
    score, member = np.array([1.0, 0.0, -0.0, -1.0, 1e-300]), np.array([True, True, False, False, True])
    assert metrics.call(score, member) == Called(tp=2, fp=0, members=3, non_members=2)
    block = metrics.evaluate(score, member, np.zeros(5, int), 1)
    assert block["accuracy"]["value"] == pytest.approx(0.8) and block["recall"]["value"] == pytest.approx(2 / 3)


def test_rates_that_cannot_be_resolved_are_not_given():
    score, member = gaussian_audit(np.random.default_rng(12), 2000, 2000, 1.0)
    assert metrics.tpr_at_fpr(score, member, 0.005).value is not None  # 10 false alarms: just enough
    few = metrics.tpr_at_fpr(score, member, 0.001)
    assert few.value is None and "2,000 non-members x 0.001 = 2 false alarms" in few.reason
    assert not over_targets.tpr_at_fpr(score[None], member[None], 0.001).value


def test_a_tied_group_is_a_straight_piece_of_the_roc():
    """Three in ten others tie with eight in ten members: a third of such a group at FPR .1, as a coin would choose."""
    score = np.concatenate([np.ones(80), np.zeros(20), np.ones(30), np.zeros(70)])
    member = np.arange(200) < 100
    assert metrics.tpr_at_fpr(score, member, 0.1).value == pytest.approx(0.8 * 10.1 / 31)
    assert metrics.tpr_at_fpr(score, member, 0.3).value == pytest.approx(0.8, abs=0.03)
    for rate in (0.1, 0.01):  # who tells nothing finds as many as are accused
        measure = metrics.tpr_at_fpr(np.zeros(4000), np.arange(4000) < 2000, rate)
        assert measure.value == pytest.approx(rate) and measure.low < rate < measure.high


@pytest.mark.parametrize(("mu", "rate"), [(3.0, 0.001), (1.0, 0.01)])
def test_a_tpr_is_neither_too_high_nor_too_low_on_average(mu, rate):
    """Ten false alarms. The largest TPR of FPR <= r is .0057 and .0046 too high here, rank r (n + 1) .0052 too low."""
    rng, truth = np.random.default_rng(15), stats.norm.sf(stats.norm.isf(rate) - mu)
    found = []
    for _ in range(100 if rate < 0.01 else 400):
        score, member = gaussian_audit(rng, 2000, round(10 / rate), mu)
        found.append(metrics.tpr_at_fpr(score, member, rate).value)
    assert np.mean(found) == pytest.approx(truth, abs=3.3 * np.std(found) / len(found) ** 0.5)


def test_thresholds_chosen_on_shadows():
    rng = np.random.default_rng(13)
    shadow, target = gaussian_audit(rng, 3000, 3000, 1.5), gaussian_audit(rng, 3000, 3000, 1.5)
    for rate in (0.1, 0.01):
        threshold = thresholds.threshold_at_fpr(*shadow, rate)
        c = metrics.call(*shadow, threshold)
        assert c.fp == pytest.approx(3000 * rate)
        assert c.tp / 3000 == pytest.approx(metrics.tpr_at_fpr(*shadow, rate).value, abs=0.02)
        found = thresholds.realized(threshold, *target)
        told(found["fpr"]), told(found["tpr"])
        assert found["fpr"]["value"] == pytest.approx(rate, rel=0.5)
    assert thresholds.threshold_at_fpr(np.zeros(40), np.arange(40) < 20, 0.1) == 0  # nobody is above the only score
    assert thresholds.threshold_at_fpr(np.zeros(10), np.arange(10) < 5, 0.1) == np.inf  # nor could any be of five
    top = np.where(np.arange(40) < 25, np.inf, -np.inf)
    assert thresholds.threshold_at_fpr(top, np.arange(40) < 20, 0.1) == np.inf


@pytest.mark.parametrize(("n", "rate"), [(99, 0.0125), (99, 0.02), (150, 0.047)])
def test_a_threshold_set_on_a_shadow_keeps_its_false_alarms_on_average(n, rate):
    """With the lowest threshold of FPR <= r they were .020, .020 and .053."""
    rng = np.random.default_rng(16)
    member = np.arange(2 * n) < n
    raised = [stats.norm.sf(thresholds.threshold_at_fpr(rng.normal(size=2 * n), member, rate)) for _ in range(4000)]
    assert 0.9 * rate < np.mean(raised) < 1.03 * rate


def test_a_permutation_changes_nothing_nor_does_a_monotone_map():
    rng = np.random.default_rng(14)
    score, member = gaussian_audit(rng, 300, 500, 1.0)
    label, order = rng.integers(0, 5, 800), rng.permutation(800)
    block = metrics.evaluate(score, member, label, 5)
    assert metrics.evaluate(score[order], member[order], label[order], 5) == block
    assert metrics.evaluate(np.sinh(score), member, label, 5) == block  # sinh keeps the sign


def test_classes_with_their_support():
    score = np.array([1.0, -1, 1, 1, -1, -1])
    member = np.array([True, True, False, True, False, False])
    rows = metrics.per_class(score, member, np.array([0, 0, 0, 1, 1, 3]), 4)
    assert [(r["class"], r["members"], r["non_members"]) for r in rows] == [(0, 2, 1), (1, 1, 1), (2, 0, 0), (3, 0, 1)]
    assert [r["precision"]["value"] for r in rows] == [0.5, 1.0, None, None]
    assert [r["recall"]["value"] for r in rows] == [0.5, 1.0, None, None]
    assert rows[3]["precision"]["reason"] == "no record was called a member"
    block = metrics.evaluate(score, member, np.array([0, 0, 0, 1, 1, 3]), 4)
    assert block["median_precision"] == 0.75 and block["per_class"] == rows


def test_bad_input_is_refused():
    member = np.arange(4) < 2
    with pytest.raises(InputError, match="1 of 4 scores are NaN"):
        metrics.auc(np.array([0, 1, np.nan, 2]), member)
    with pytest.raises(InputError, match="give one of each"):
        metrics.roc(np.zeros(3), member)
    with pytest.raises(InputError, match="needs both"):
        metrics.roc(np.zeros(4), np.ones(4, bool))
    with pytest.raises(InputError, match="labels are 0-based"):
        metrics.evaluate(np.zeros(4), member, np.array([0, 1, 2, 3]), 3)
    with pytest.raises(InputError, match="give one of each"):
        metrics.evaluate(np.zeros(4), member, np.zeros(3, int), 3)


def test_a_rate_is_read_at_its_rank_as_from_the_whole_curve():
    for seed in range(300):
        members, others = np.random.default_rng(seed).integers(0, 4, (2, 8))
        curve = low_fpr.above(members, others) if members.sum() and others.sum() else None
        for rate in (0.0, 0.001, 0.1, 0.5, 0.999, 1.0) if curve is not None else ():
            sums, rank = (np.cumsum(members), np.cumsum(others)), rate * (others.sum() + 1)
            assert low_fpr.at_rank(members, others, *sums, rank) == low_fpr.plain(curve, rate)
