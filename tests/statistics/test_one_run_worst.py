"""One-run bounds against the worst mechanism that there is, found exactly by a linear program for few canaries.

All m canaries are guessed. A mechanism that outputs guesses is, by symmetry, probabilities of their distance from the
truth; that no flipped coin changes it more than (epsilon, delta) or Gaussian DP allow is linear in them.
"""

import numpy as np
import pytest
from scipy import optimize, special, stats

from mia_jax.statistics import one_run


def gaussian_delta(mu, epsilon):
    """Delta of mu-Gaussian DP at each epsilon."""
    return stats.norm.cdf(-epsilon / mu + mu / 2) - np.exp(epsilon) * stats.norm.cdf(-epsilon / mu - mu / 2)


def neighbors(m):
    """Rows (distance under the coins, distance with one flipped, how many outputs) of the 2 m classes of outputs."""
    return [(*pair, special.comb(m - 1, d)) for d in range(m) for pair in ((d, d + 1), (d + 1, d))]


def excess(p, epsilon):
    """Hockey-stick divergence of a mechanism with probabilities p [m + 1] of distances from its neighbor's."""
    density = p / special.comb(len(p) - 1, np.arange(len(p)))
    return sum(count * max(density[a] - np.exp(epsilon) * density[b], 0) for a, b, count in neighbors(len(p) - 1))


def worst(m, wrong, epsilons, deltas):
    """The largest P[at most ``wrong`` guesses wrong], and the mechanism."""
    classes = neighbors(m)
    size = m + 1 + len(epsilons) * len(classes)  # probabilities, and positive parts by epsilon and class
    rows, limits = [], []
    for k, (epsilon, delta) in enumerate(zip(epsilons, deltas, strict=True)):
        total = np.zeros(size)
        for j, (a, b, count) in enumerate(classes, m + 1 + k * len(classes)):
            row = np.zeros(size)
            row[a] += count / special.comb(m, a)
            row[b] -= np.exp(epsilon) * count / special.comb(m, b)
            row[j], total[j] = -1, 1
            rows.append(row)
            limits.append(0.0)
        rows.append(total)
        limits.append(delta)
    gain = np.where(np.arange(size) <= wrong, -1.0, 0.0)
    one = np.where(np.arange(size) <= m, 1.0, 0.0)[None]
    found = optimize.linprog(gain, A_ub=np.array(rows), b_ub=limits, A_eq=one, b_eq=[1.0], method="highs")
    return -found.fun, found.x[: m + 1]


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (0.0, 0.01), (0.5, 0.01), (1.0, 0.001)])
def test_no_mechanism_errs_more_often_than_steinke_says(epsilon, delta):
    for m in (5, 10):
        for wrong in range(m // 2):
            most, _ = worst(m, wrong, [epsilon], [delta])
            assert most <= one_run.p_value(m, m, m - wrong, epsilon, delta) + 1e-9
            if delta == 0:  # where it is exact
                assert most == pytest.approx(one_run.p_value(m, m, m - wrong, epsilon, delta))


@pytest.mark.parametrize(("m", "mu"), [(10, 0.5), (10, 1.0)])
def test_no_gaussian_mechanism_errs_more_often_than_f_dp_says(m, mu):
    epsilons = np.linspace(0, 6 * mu + 1, 40)
    for wrong in range(m // 2):
        most, _ = worst(m, wrong, epsilons, gaussian_delta(mu, epsilons))
        if most > 0.05:  # mu cannot be refuted at 5 %
            assert one_run.gaussian_mu(m, m, m - wrong) <= mu


def test_canaries_that_share_their_luck_break_the_bound_of_independent_ones():
    """Why the order-statistics bound of arXiv 2509.08704 (theorem 2) is not offered: it is of independent canaries.

    With all guesses released it is Bin(m, Phi(-mu / 2)). A mechanism that is Gaussian DP in every coin, too, has at
    most 4 of 20 guesses wrong more than twice as often.
    """
    m, wrong, mu = 20, 4, 0.5
    epsilons = np.linspace(0, 3, 30)
    most, p = worst(m, wrong, epsilons, gaussian_delta(mu, epsilons))
    between = np.linspace(0, 6, 600)
    assert max(excess(p, e) - gaussian_delta(1.02 * mu, e) for e in between) < 1e-9  # it is 1.02 mu-Gaussian DP
    independent = stats.binom.cdf(wrong, m, stats.norm.cdf(-1.02 * mu / 2))
    assert independent < 0.06 and most > 0.12
    assert one_run.gaussian_mu(m, m, m - wrong) <= mu
