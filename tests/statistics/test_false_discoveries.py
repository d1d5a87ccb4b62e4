"""Lists of members at a false discovery rate: p-values, Benjamini and Hochberg, and the level in simulated audits."""

import numpy as np
import pytest

from mia_jax.statistics import false_discoveries
from mia_jax.statistics.false_discoveries import discoveries, find, p_values


def test_p_values_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    score, calibration = rng.integers(5, size=30).astype(float), rng.integers(5, size=40).astype(float)
    loop = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in score]
    np.testing.assert_allclose(p_values(score, calibration), loop)


def test_discoveries_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    for _ in range(50):
        p = np.round(rng.random(20) ** 3, 2)
        count = max((k for k in range(1, 21) if np.sort(p)[k - 1] <= 0.1 * k / 20), default=0)
        np.testing.assert_array_equal(discoveries(p), p <= (np.sort(p)[count - 1] if count else -1))
    assert not discoveries([]).any()


def _audit(rng, n: int, targets: int, power: float, exposed: float = 0.3):
    """Scores of three attacks of which the last tells nothing; some members are exposed."""
    member = np.stack([rng.permutation(2 * n) < n for _ in range(targets)])
    risk = rng.random(2 * n) < exposed
    scores = {
        name: rng.normal(size=member.shape) * rng.gamma(2, 0.5, 2 * n) + power * k * member * risk
        for name, k in (("strong", 1.0), ("weak", 0.4), ("none", 0.0))
    }
    return scores, member


def test_members_are_named_and_the_strong_attack_is_chosen():
    scores, member = _audit(np.random.default_rng(2), 600, 2, 8.0)
    found = find(scores, member)
    assert found.attack == "strong" and found.listed[member].mean() > 0.2
    assert not np.isfinite(found.p[~found.tested]).any() and found.tested[member].all()
    columns = {"score": scores["strong"], "score_weak": scores["weak"], "member": member, "index": np.arange(1200) + 7}
    said, more = false_discoveries.block(columns)
    assert said["attack"] == "shokri" and said["records"][0]["index"] >= 7
    assert said["records"][0]["told"] == said["records"][0]["trained"] == 2
    np.testing.assert_array_equal(more["told"] == 1, found.listed)


def test_nobody_is_named_where_scores_tell_nothing_or_are_few():
    scores, member = _audit(np.random.default_rng(3), 600, 1, 0.0)
    assert find(scores, member).listed.sum() <= 2
    assert find({"one": scores["none"][:, :80]}, member[:, :80]) is None  # too few calibrate
    gaps = np.where(np.arange(1200) == 5, np.nan, scores["strong"])
    assert find({"one": gaps}, member) is None


@pytest.mark.slow
@pytest.mark.parametrize(("n", "targets", "power"), [(100, 1, 0.0), (100, 1, 6.0), (400, 1, 3.0), (400, 4, 6.0)])
def test_lists_hold_their_level_in_simulated_audits(n, targets, power):
    rng, rates = np.random.default_rng(4), []
    for seed in range(1000):
        scores, member = _audit(rng, n, targets, power)
        found = find(scores, member, seed=seed)
        wrong = (found.listed & ~member).sum(axis=1) / np.maximum(found.listed.sum(axis=1), 1)
        rates.append(wrong.mean())
    mean, error = np.mean(rates), np.std(rates) / np.sqrt(len(rates))
    print(f"n {n}, targets {targets}, power {power}: rate of false discoveries {mean:.4f} +- {error:.4f}")
    assert mean <= 0.1 + 2 * error
