"""U-LiRA's two games against loops of their formulas, and against models that were really retrained."""

import numpy as np
import pytest
from scipy import stats

from mia_jax.attacks import u_lira
from mia_jax.statistics import over_targets
from mia_jax.types import InputError


def halves(rng, models, n):
    """Who forgot what, bool [K, n]: pairs of models forget complementary halves."""
    forgotten = np.zeros((models, n), bool)
    for pair in range(0, models, 2):
        forgotten[pair, rng.permutation(n)[: n // 2]] = True
        forgotten[pair + 1] = ~forgotten[pair]
    return forgotten


def world(seed, models, n, shift=0.0, apart=0.3):
    """Simulated signals of unlearned models, who forgot what, and of retrained ones; models differ as wholes, too."""
    rng = np.random.default_rng(seed)
    hard, spread = 2 * rng.normal(size=n), np.exp(0.3 * rng.normal(size=n))

    def signals():
        return hard + apart * rng.normal(size=(models, 1)) + spread * rng.normal(size=(models, n))

    forgotten = halves(rng, models, n)
    return signals() + shift * forgotten, forgotten, signals()


def log_ratio(x, inside, outside, spreads):
    """log N(x; inside) - log N(x; outside), by hand."""
    return stats.norm.logpdf(x, np.mean(inside), spreads[0]) - stats.norm.logpdf(x, np.mean(outside), spreads[1])


@pytest.mark.parametrize("fixed", [True, False])
def test_efficacy_is_a_loop_over_records(fixed):
    phi, forgotten, retrained = world(0, 10, 12, shift=1.0)
    found = u_lira.efficacy(phi, forgotten, retrained, 4, fixed=fixed)
    residuals = [[], []]
    for j in range(12):
        for side, values in zip(residuals, (phi[4:][forgotten[4:, j], j], retrained[4:, j]), strict=True):
            side.append(values - values.mean())
    pooled = [np.sqrt(sum((r**2).sum() for r in side) / sum(len(r) - 1 for r in side)) for side in residuals]
    for k in range(4):
        for j in range(12):
            inside, outside = phi[4:][forgotten[4:, j], j], retrained[4:, j]
            own = [np.std(inside) if len(inside) > 1 else pooled[0], np.std(outside)]
            for column, value, truth in ((j, phi[k, j], True), (12 + j, retrained[k, j], False)):
                assert found.unlearned[k, column] == truth
                if forgotten[k, j]:
                    expected = log_ratio(value, inside, outside, pooled if fixed else own)
                    assert found.score[k, column] == pytest.approx(expected)
                else:
                    assert np.isnan(found.score[k, column])


def test_privacy_is_a_loop_over_records_without_the_partner():
    phi, forgotten, _ = world(1, 8, 12, shift=1.0)
    found = u_lira.privacy(phi, forgotten, 3, fixed=False)
    np.testing.assert_array_equal(found.unlearned, forgotten[:3])
    for k in range(3):
        others = np.array([i for i in range(8) if i not in (k, k ^ 1)])
        for j in range(12):
            inside, outside = (phi[others[forgotten[others, j] == side], j] for side in (True, False))
            expected = log_ratio(phi[k, j], inside, outside, [np.std(inside), np.std(outside)])
            assert found.score[k, j] == pytest.approx(expected)


def test_a_record_that_no_shadow_forgot_is_refused():
    phi, forgotten, retrained = world(2, 8, 12)
    forgotten[4:] = False
    with pytest.raises(InputError, match="no shadow did"):
        u_lira.efficacy(phi, forgotten, retrained, 4, fixed=True)
    with pytest.raises(InputError, match="all 8 models forgot the same records"):
        u_lira.privacy(phi, np.tile(np.arange(12) < 6, (8, 1)), 4, fixed=True)
    few = np.tile(np.arange(12) < 6, (8, 1))
    few[0] = ~few[0]
    with pytest.raises(InputError, match="too few"):
        u_lira.privacy(phi, few, 4, fixed=True)


def holds(scores, truth=0.5):
    """Whether the interval of the AUC holds a value."""
    found = over_targets.auc(scores.score, scores.unlearned)
    return found.low <= truth <= found.high


@pytest.mark.slow
@pytest.mark.parametrize("models", [8, 16, 64])
@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
def test_models_that_were_retrained_are_not_told_from_retrained_ones(models, apart):
    right = [0, 0]
    for seed in range(100):
        phi, forgotten, retrained = world(seed, models, 200, apart=apart)
        targets, fixed = min(8, models // 2), models < 64
        right[0] += holds(u_lira.privacy(phi, forgotten, targets, fixed=fixed))
        right[1] += holds(u_lira.efficacy(phi, forgotten, retrained, targets, fixed=fixed))
    assert min(right) >= 88, right
