"""Every formula against a plain loop over records, and what leaving out means against refitting."""

import math

import attack_worlds as worlds
import jax
import numpy as np
import pytest
import scipy.stats

from mia_jax.attacks import ATTACKS, base, bavaria, calibrated_loss, common, leave_one_out, lira, queries, rmia
from mia_jax.attacks import attack_r as attack_r_file
from mia_jax.attacks.population import share_below
from mia_jax.attacks.thresholds import best_threshold
from mia_jax.targets import black_box
from mia_jax.types import Answers, InputError, Records, Target

N, K = 40, 14
WORLD = worlds.gaussian(3, N, K, deviation=worlds.uneven)
SHADOWS = worlds.others(WORLD)
MEMBER = WORLD.member[SHADOWS]


def raw(attack, world=WORLD, **how):
    """Scores before the boundary is taken off."""
    state, scores = worlds.play(attack, world, **how)
    return scores + state.boundary


def phi_of(k):
    return np.asarray(common.scaled_logit(worlds.answers(WORLD.phi[k], WORLD.y), WORLD.y)["phi"], np.float64)


def log_p_of(k):
    return np.asarray(common.log_likelihood(worlds.answers(WORLD.phi[k], WORLD.y), WORLD.y)["log_p_y"], np.float64)


def sides(i, values):
    """IN and OUT values of record i over the shadows."""
    return [np.array([values(k)[i] for k in SHADOWS if WORLD.member[k, i] == side]) for side in (True, False)]


# --- LiRA ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [np.mean, np.median])
def test_lira_is_two_gaussians_per_record(center):
    expected = []
    for i in range(N):
        inside, outside = sides(i, phi_of)
        norm = [scipy.stats.norm(center(v), v.std()) for v in (inside, outside)]
        expected.append(norm[0].logpdf(phi_of(0)[i]) - norm[1].logpdf(phi_of(0)[i]))
    np.testing.assert_allclose(raw(ATTACKS["lira"](4, center=center.__name__)), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["lira_fixed", "lira_offline_fixed"])
def test_fixed_variance_is_that_of_residuals_pooled_over_records(name):
    squares, freedom, means = np.zeros(2), np.zeros(2), []
    for i in range(N):
        means.append([v.mean() for v in sides(i, phi_of)])
        for side, v in enumerate(sides(i, phi_of)):
            squares[side] += ((v - v.mean()) ** 2).sum()
            freedom[side] += len(v) - 1
    s_in, s_out = np.sqrt(squares / freedom)
    expected = []
    for phi, (mu_in, mu_out) in zip(phi_of(0), means, strict=True):
        out = scipy.stats.norm(mu_out, s_out)
        if name == "lira_fixed":
            expected.append(scipy.stats.norm(mu_in, s_in).logpdf(phi) - out.logpdf(phi))
        else:
            expected.append(-math.log(-out.logcdf(phi)))
    np.testing.assert_allclose(raw(ATTACKS[name](4)), expected, rtol=1e-9)


def test_offline_lira_is_one_tail_and_keeps_it_apart():
    phi = np.array([-30.0, -3.0, 0.0, 3.0, 7.9, 8.1, 20.0, 60.0])
    gaussians = lira.Gaussians(None, None, np.zeros(8), np.ones(8))
    scores = lira.steps(offline=True).score(gaussians, {"phi": phi}, None)
    with np.errstate(divide="ignore"):
        log_phi = scipy.stats.norm.logcdf(phi)
    np.testing.assert_allclose(np.exp(-scores[:5]), -log_phi[:5], rtol=1e-9)
    assert (np.diff(scores) > 0).all() and np.isfinite(scores).all()
    np.testing.assert_allclose(scores[5:], -scipy.stats.norm.logsf(phi[5:]), rtol=1e-12)


@pytest.mark.parametrize("offline", [False, True])
def test_several_queries_are_averaged(offline):
    rng = np.random.default_rng(0)
    seen, own = rng.normal(size=(12, N, 5)), rng.normal(size=(N, 5))
    attack = leave_one_out.attack(lira.steps(offline=offline))
    state = attack.fit(None, {"phi": seen}, MEMBER)
    expected = []
    for i in range(N):
        each = []
        for j in range(5):
            inside, outside = (
                scipy.stats.norm(v.mean(), v.std()) for v in (seen[MEMBER[:, i], i, j], seen[~MEMBER[:, i], i, j])
            )
            phi = own[i, j]
            each.append(outside.logcdf(phi) if offline else inside.logpdf(phi) - outside.logpdf(phi))
        expected.append(-math.log(-np.mean(each)) if offline else np.mean(each))
    np.testing.assert_allclose(attack.score(state, {"phi": own}) + state.boundary, expected, rtol=1e-9)


def test_queries_are_asked_in_the_records_place():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 255, (6, 5, 5, 1)).astype(np.uint8)
    images = np.asarray(queries.shifted(1)(None, x[0]))
    assert images.shape == (18, 5, 5, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[0], x[0])
    np.testing.assert_array_equal(images[9], x[0, :, ::-1])
    assert len(np.unique(images.reshape(18, -1), axis=0)) == 18
    weights = rng.normal(size=(25, 3)).astype(np.float32) / 255
    ask = lambda x: jax.nn.log_softmax(x.reshape(len(x), -1).astype(np.float32) @ weights)  # noqa: E731
    attack = ATTACKS["lira"](3, augment=queries.shifted(1))
    assert attack.read is None and "queries" in attack.needs
    records = Records(x, np.arange(6, dtype=np.int32) % 3)
    seen = attack.observe(jax.random.key(0), Target(ask, Answers(3)), records)["phi"]
    host = attack.observe(jax.random.key(0), black_box.from_callable(lambda x: np.exp(ask(x)), 3), records)["phi"]
    assert seen.shape == (6, 18)
    np.testing.assert_allclose(host, seen, atol=1e-4)
    one = common.scaled_logit(ask(np.asarray(queries.shifted(1)(None, x[4]))), np.full(18, 1))["phi"]
    np.testing.assert_allclose(seen[4], one, atol=1e-5)


# --- ratios ----------------------------------------------------------------------------------------------------------


def loop_rmia(ratios_x, ratios_z, gamma, strict):
    """[n] shares; ``ratios_z`` None: of the other records."""
    shares = []
    for i, x in enumerate(ratios_x):
        others = np.delete(ratios_x, i) if ratios_z is None else ratios_z
        shares.append(np.mean([x / z > gamma if strict else x / z >= gamma for z in others]))
    return np.array(shares)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    "gamma, strict, given", [(2.0, False, False), (2.0, False, True), (1.0, True, True), (1.0, True, False)]
)
def test_rmia_is_a_share_of_the_population(offline, gamma, strict, given):
    def average(inside, outside):
        return ((1.3 * np.mean(outside) + 0.7) / 2) if offline else (np.mean(inside) + np.mean(outside)) / 2

    p = lambda k: np.exp(log_p_of(k))  # noqa: E731
    ratios = np.array([p(0)[i] / average(*sides(i, p)) for i in range(N)])
    population, ratios_z = None, None
    if given:
        z = np.log(np.random.default_rng(5).uniform(0.01, 1, (13, 31)))
        population = {"log_p_y": z}
        ratios_z = np.array([np.exp(z[0, i]) / average(np.exp(z[1:, i]), np.exp(z[1:, i])) for i in range(31)])
    name = "rmia_offline" if offline else "rmia"
    scores = raw(ATTACKS[name](4, gamma=gamma, strict=strict), population=population)
    size = 31 if given else N - 1
    expected = loop_rmia(ratios, ratios_z, gamma, strict)
    np.testing.assert_allclose(np.floor(scores * size + 1e-9) / size, expected, atol=1e-12)
    assert (np.diff(scores[np.argsort(ratios)]) > 0).all()  # the ratio itself breaks ties


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("by", [-0.5, 0.0, 0.5])
def test_shares_under_ties(by, strict):
    value = np.array([0.0, 0.5, 0.5, 1.0, 1.0, 1.0, 2.0])
    for population in (None, np.array([0.0, 0.0, 0.5, 1.5])):
        size = 6 if population is None else 4
        shares = np.floor(share_below(value, population, by=by, strict=strict) * size + 1e-9)
        for i, v in enumerate(value):
            others = np.delete(value, i) if population is None else population
            assert shares[i] == sum(z + by < v if strict else z + by <= v for z in others)
    assert np.isfinite(share_below(value[:1])).all()


def test_base_is_the_log_ratio_to_the_mean_answer():
    p = np.exp([log_p_of(k) for k in SHADOWS])
    np.testing.assert_allclose(raw(ATTACKS["base"](4)), log_p_of(0) - np.log(p.mean(axis=0)), rtol=1e-9, atol=1e-12)
    outside = [np.mean(sides(i, lambda k: np.exp(log_p_of(k)))[1]) for i in range(N)]
    np.testing.assert_allclose(
        raw(ATTACKS["base_offline"](4, c=0.4)), log_p_of(0) - 0.4 * np.log(outside), rtol=1e-9, atol=1e-12
    )


def test_rmia_orders_as_base_does():
    np.testing.assert_array_equal(np.argsort(raw(ATTACKS["rmia"](4))), np.argsort(raw(ATTACKS["base"](4))))


def test_calibrated_loss_is_the_mean_out_loss_less_the_targets():
    expected = [np.mean(-sides(i, log_p_of)[1]) + log_p_of(0)[i] for i in range(N)]
    np.testing.assert_allclose(raw(ATTACKS["calibrated_loss"](4)), expected, rtol=1e-9)


def test_attack_p_is_the_share_of_larger_losses():
    for population in (None, {"log_p_y": np.log(np.random.default_rng(5).uniform(0.01, 1, (13, 31)))}):
        scores, losses = raw(ATTACKS["attack_p"](4), population=population), -log_p_of(0)
        size = N - 1 if population is None else 31
        for i, own in enumerate(losses):
            others = np.delete(losses, i) if population is None else -population["log_p_y"][0]
            assert math.floor(scores[i] * size + 1e-9) == sum(z >= own for z in others)


def test_attack_r_is_a_smoothed_share_of_out_models():
    outside = [sides(i, phi_of)[1] for i in range(N)]
    pooled = math.sqrt(sum(((v - v.mean()) ** 2).sum() for v in outside) / sum(len(v) - 1 for v in outside))
    plain, smooth = raw(ATTACKS["attack_r"](4, bandwidth=0)), raw(ATTACKS["attack_r"](4))
    for i, v in enumerate(outside):
        share = (np.sum(phi_of(0)[i] >= v) + 0.5) / (len(v) + 1)
        assert plain[i] == pytest.approx(math.log(share / (1 - share)), rel=1e-9)
        kernel = scipy.stats.norm(v, 1.06 * pooled * len(v) ** -0.2)
        expected = math.log(kernel.cdf(phi_of(0)[i]).mean()) - math.log(kernel.sf(phi_of(0)[i]).mean())
        assert smooth[i] == pytest.approx(expected, rel=1e-6)


# --- BaVarIA ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [False, True])
def test_bavaria_is_conjugate(offline):
    """The posterior by quadrature over (mu, s^2), one record at a time."""
    scores = raw(ATTACKS["bavaria_offline" if offline else "bavaria"](4))
    known = bavaria.steps(offline=offline).aggregate({"phi": np.stack([phi_of(k) for k in SHADOWS])}, MEMBER, None)
    sigma = np.exp(np.linspace(-3.5, 3.5, 500))
    for i in range(5):
        values, densities = sides(i, phi_of), []
        for side in (0, 1):
            prior, other = (known.inside, known.outside)[:: 1 - 2 * side]
            if offline:
                m_0, spread = prior.level, prior.between
            else:
                m_0 = values[1 - side].mean() + (1 - 2 * side) * known.shift
                spread = known.spread + other.variance / len(values[1 - side])
            k_0 = prior.variance / spread
            mu = np.linspace(-25, 25, 2001)[:, None]
            log_w = scipy.stats.invgamma.logpdf(sigma**2, prior.shape, scale=prior.rate) + 2 * np.log(sigma)
            log_w = log_w + scipy.stats.norm.logpdf(mu, m_0, sigma / math.sqrt(k_0))
            log_w = log_w + sum(scipy.stats.norm.logpdf(v, mu, sigma) for v in values[side])
            w = np.exp(log_w - log_w.max())
            f = scipy.stats.norm.cdf if offline else scipy.stats.norm.pdf
            densities.append(math.log((w * f(phi_of(0)[i], mu, sigma)).sum() / w.sum()))
        expected = -math.log(-densities[1]) if offline else densities[0] - densities[1]
        assert scores[i] == pytest.approx(expected, abs=5e-3)


def test_bavaria_recovers_the_world():
    rng = np.random.default_rng(0)
    n = 20_000
    member = np.repeat([True, True, True, False, False, False], n).reshape(6, n)
    s = np.sqrt(2.0 / rng.gamma(5.0, size=n))  # s^2 ~ IG(5, 2)
    shift = 1.0 + 0.7 * rng.normal(size=n)
    phi = 3 * rng.normal(size=n) + shift * member + s * rng.normal(size=(6, n))
    known = bavaria.steps().aggregate({"phi": phi}, member, None)
    for prior in (known.inside, known.outside):
        assert prior.shape == pytest.approx(5, rel=0.15) and prior.rate == pytest.approx(2, rel=0.15)
        assert prior.variance == pytest.approx(0.5, rel=0.05)
    assert known.shift == pytest.approx(1, abs=0.03) and known.spread == pytest.approx(0.49, rel=0.1)
    assert known.outside.between == pytest.approx(9, rel=0.05)


def test_inverse_trigamma():
    for x in (1e-3, 0.5, 1.0, 20.0, 1e4):
        assert bavaria.inverse_trigamma(float(scipy.special.polygamma(1, x))) == pytest.approx(x, rel=1e-6)


# --- thresholds ------------------------------------------------------------------------------------------------------


def test_gap_needs_nothing_but_the_label():
    state, scores = worlds.play(ATTACKS["gap"](4), WORLD)
    right = worlds.answers(WORLD.phi[0], WORLD.y).argmax(axis=1) == WORLD.y
    assert state is None
    np.testing.assert_array_equal(scores, np.where(right, 0.5, -0.5))


@pytest.mark.parametrize(
    "name, leaf, sign", [("loss", "log_p_y", 1), ("entropy", "entropy", -1), ("confidence", "confidence", 1)]
)
@pytest.mark.parametrize("per_class", [False, True])
def test_a_threshold_maximizes_balanced_accuracy_on_the_shadows(name, leaf, sign, per_class):
    attack = ATTACKS[name](4, per_class=per_class)
    seen = worlds.see(attack, WORLD, SHADOWS)
    state, scores = worlds.play(attack, WORLD)
    values = sign * seen[leaf].astype(np.float64)
    for c in range(4) if per_class else [slice(None)]:
        rows = WORLD.y == c if per_class else c
        v, m = values[:, rows].reshape(-1), MEMBER[:, rows].reshape(-1)
        gain = lambda tau: (v > tau)[m].mean() - (v > tau)[~m].mean()  # noqa: E731, B023
        tau = state.threshold[c] if per_class else state.threshold
        assert gain(tau) == max(map(gain, [*v, -np.inf]))
        np.testing.assert_allclose(scores[rows], sign * worlds.see(attack, WORLD, 0)[leaf][rows] - tau, rtol=1e-6)


def test_thresholds_ties_and_empty_sides():
    assert best_threshold([1, 1, 2, 2], [0, 1, 1, 1]) == 1.5
    assert np.isnan(best_threshold([1.0, 2.0], [0, 0])) and np.isnan(best_threshold([3.0, 1.0], [1, 1]))
    tau = best_threshold([5.0, 5.0], [0, 1])
    assert tau >= 5.0


# --- leaving out -----------------------------------------------------------------------------------------------------

PARTS = {
    "lira": lira.steps(),
    "lira_median": lira.steps(center="median"),
    "lira_fixed": lira.steps(fixed=True),
    "lira_offline": lira.steps(offline=True),
    "rmia": rmia.steps(),
    "rmia_offline": rmia.steps(offline=True),
    "base": base.steps(),
    "base_offline": base.steps(c=0.33),
    "calibrated_loss": calibrated_loss.steps(),
    "attack_r": attack_r_file.steps(),
}


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_leaving_out_is_refitting(name, paired):
    parts, attack = PARTS[name], leave_one_out.attack(PARTS[name])
    seen, member = worlds.see(attack, WORLD, np.arange(K)), WORLD.member.copy()
    if not paired:
        member = np.random.default_rng(0).random((K, N)) < 0.5
        member[:3, :2] = True, False
        member[3:, :2] = True, False  # records without a side
    population = {"log_p_y": np.log(np.random.default_rng(5).uniform(0.01, 1, (K, 9)))} if name == "rmia" else None
    scores = leave_one_out.shadow_scores(parts, seen, member, population)
    for k in range(K):
        rest = np.delete(np.arange(K), [k, k ^ 1] if paired else [k])
        theirs = None if population is None else {"log_p_y": population["log_p_y"][[k, *rest]]}
        state = attack.fit(None, {name: leaf[rest] for name, leaf in seen.items()}, member[rest], theirs)
        again = attack.score(state, {name: leaf[k] for name, leaf in seen.items()}) + state.boundary
        np.testing.assert_allclose(scores[k], again, rtol=1e-7, atol=1e-9)
    state = attack.fit(
        None, seen, member, None if population is None else {"log_p_y": population["log_p_y"][[0, *range(K)]]}
    )
    assert state.boundary == pytest.approx(best_threshold(scores.reshape(-1), member.reshape(-1)), rel=1e-9)


def test_bavaria_leaves_out_but_keeps_its_prior():
    """The prior stands on all records of all shadows: one shadow less moves it little."""
    world = worlds.gaussian(1, 2000, 18, deviation=worlds.uneven)
    attack = ATTACKS["bavaria"](4)
    scores = leave_one_out.shadow_scores(bavaria.steps(), worlds.see(attack, world, np.arange(18)), world.member)
    again = raw(attack, world)
    assert np.abs(scores[0] - again).max() < 0.35 and np.corrcoef(scores[0], again)[0, 1] > 0.999


@pytest.mark.parametrize("name", ["lira", "lira_offline"])
def test_a_side_that_no_shadow_has_is_refused(name):
    attack = ATTACKS[name](4)
    seen = {"phi": np.zeros((3, 5))}
    with pytest.raises(InputError, match="no shadow model trained" if name == "lira" else "every shadow model"):
        attack.fit(None, seen, np.full((3, 5), name != "lira"))


def test_a_center_that_is_none_is_refused():
    with pytest.raises(InputError, match="mode"):
        ATTACKS["lira"](4, center="mode")


def test_a_boundary_from_four_shadows_takes_each_sides_own_variance():
    """One left out of four, there is one model a side and no residual: the sides' variances are those of all four."""
    world = worlds.gaussian(8, 2000, 6)
    trained = world.member
    world = world._replace(
        phi=world.phi + np.where(trained, 0, 2 * np.random.default_rng(1).normal(size=trained.shape))
    )
    shadows = worlds.others(world)
    parts = lira.steps(fixed=True)
    known = parts.aggregate(worlds.see(ATTACKS["lira"](4), world, shadows), trained[shadows], None)
    left = parts.fit(known, (0, 1))
    np.testing.assert_allclose([left.var_in, left.var_out], [1, 5], rtol=0.1)
    whole = parts.fit(known, ())
    assert (left.var_in, left.var_out) == (whole.var_in, whole.var_out)
