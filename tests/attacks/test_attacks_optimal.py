"""Simulated worlds with a known best attack, and worlds with nothing to be found."""

import attack_worlds as worlds
import numpy as np
import pytest
import scipy.stats

from mia_jax.attacks import ATTACKS, base, bavaria, leave_one_out, lira, rmia
from mia_jax.statistics import metrics, over_targets

AUC_AT_SHIFT = scipy.stats.norm.cdf(1.5 / np.sqrt(2))  # Neyman-Pearson's, of N(mu, 1) against N(mu + 1.5, 1)


def areas(parts, world, targets):
    seen = worlds.see(
        ATTACKS["rmia" if parts.read is not lira.steps().read else "lira"](4), world, np.arange(len(world.phi))
    )
    scores = leave_one_out.shadow_scores(parts, seen, world.member)
    return np.array([metrics.auc(scores[k], world.member[k]).value for k in targets])


@pytest.mark.parametrize("fixed", [True, False])
def test_lira_reaches_the_neyman_pearson_area(fixed):
    world = worlds.gaussian(31, 1500, 258)
    found = over_targets.mean(areas(lira.steps(fixed=fixed), world, range(0, 40, 2)))
    assert found.low <= AUC_AT_SHIFT <= found.high and found.high - found.low < 0.02


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_no_attack_beats_neyman_pearson(name):
    world = worlds.gaussian(32, 2000, 66)
    _, scores = worlds.play(ATTACKS[name](4), world)
    assert metrics.auc(scores, world.member[0]).low <= AUC_AT_SHIFT


def test_with_four_shadows_bavaria_is_better_than_lira():
    """Records differ in mean, variance and nothing else; 24 targets in as many worlds, compared pair by pair."""
    gains = {"lira": [], "lira_fixed": [], "rmia": []}
    others = {"lira": lira.steps(), "lira_fixed": lira.steps(fixed=True), "rmia": rmia.steps()}
    for seed in range(24):
        world = worlds.gaussian(seed, 600, 6, deviation=worlds.uneven)
        (ours,) = areas(bavaria.steps(), world, [0])
        for name, parts in others.items():
            gains[name].append(ours - areas(parts, world, [0])[0])
    for name in gains:
        assert over_targets.mean(gains[name], within=(-1, 1)).low > 0, name


def test_what_leaks_through_counts_is_seen_by_these_tests_and_closed():
    """With the target's partner among its shadows, the counts of IN models give the membership away: AUC is not 1/2."""
    leaks, closed = [], []
    parts = base.steps()
    for seed in range(12):
        world = worlds.gaussian(seed, 400, 4, shift=4.0, spread=0.2, silent=(0,))
        shadows = np.array([1, 2, 3])
        known = parts.aggregate(worlds.see(ATTACKS["base"](4), world, shadows), world.member[shadows], None)
        scores = parts.score(parts.fit(known, ()), worlds.see(ATTACKS["base"](4), world, 0), None)
        leaks.append(metrics.auc(scores, world.member[0]))
        closed.append(metrics.auc(worlds.play(ATTACKS["base"](4), world, shadows=shadows)[1], world.member[0]))
    assert sum(not m.low <= 0.5 <= m.high for m in leaks) >= 10
    assert sum(not m.low <= 0.5 <= m.high for m in closed) <= 3


def nothing_found(name, shadows, seeds, n):
    """In how many seeds the 95 % interval of the AUC holds 1/2, for a target that never saw the candidates."""
    attack, count = ATTACKS[name](4, **({"num_steps": 200} if name == "shokri" else {})), 0
    for seed in seeds:
        world = worlds.gaussian(1000 + seed, n, shadows + 2, silent=(0,))
        _, scores = worlds.play(attack, world)
        area = metrics.auc(scores, world.member[0])
        count += area.low <= 0.5 <= area.high
    return count


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_nothing_is_found_where_nothing_is(name):
    assert nothing_found(name, 4, range(25), 240) >= 21  # P(fewer) < 1 in 100 if intervals cover 95 %


@pytest.mark.slow
@pytest.mark.parametrize("shadows", [4, 16, 64])
@pytest.mark.parametrize("name", worlds.FROM_ANSWERS)
def test_nothing_is_found_where_nothing_is_in_88_of_100_seeds(name, shadows):
    count = nothing_found(name, shadows, range(100), 400)
    print(f"{name}, {shadows} shadows: 1/2 within the interval in {count} of 100 seeds")
    assert count >= 88


def test_the_plan_of_these_worlds_is_the_balanced_one():
    member = worlds.gaussian(0, 40, 8).member
    assert (member.sum(axis=1) == 20).all()
    for k in range(8):
        np.testing.assert_array_equal(member[worlds.partner(k)], ~member[k])
