"""Measures by group: thresholds, tests against the rest, and intervals that cover what they say."""

import numpy as np
import pytest
from scipy import stats

from mia_jax.statistics import metrics, over_targets, subgroups
from mia_jax.statistics.subgroups import compare, holm


def _scores(rng, n: int, shifts, targets: int = 1):
    """Scores of n members and n others, of groups of the same size whose members are shifted; non-members alike."""
    group = np.arange(2 * n) % len(shifts)
    member = np.stack([rng.permutation(2 * n) < n for _ in range(targets)])
    return rng.normal(size=member.shape) + np.array(shifts)[group] * member, member, group


def test_the_worst_group_is_first_and_alone_differs():
    score, member, group = _scores(np.random.default_rng(0), 3000, [0.0, 2.0, 0.0])
    found = compare(score, member, group, ["a", "b", "c"], 0.1)
    assert found[0].name == "b" and found[0].p < 1e-6 and found[0].json()["differs"]
    mine = group == 1
    assert found[0].auc == metrics.auc(score[0][mine], member[0][mine])
    assert found[0].tpr_at_fpr["0.1"] == metrics.tpr_at_fpr(score[0][mine], member[0][mine], 0.1)
    everybody = mine | ~member[0]
    assert found[0].common_tpr == metrics.tpr_at_fpr(score[0][everybody], member[0][everybody], 0.1)


def test_own_and_common_thresholds_differ_where_non_members_do():
    """Group b's records score higher, member or not: the common threshold accuses them, its own finds as many."""
    rng = np.random.default_rng(1)
    score, member, group = _scores(rng, 4000, [1.0, 1.0])
    found = {one.name: one for one in compare(score + 1.5 * (group == 1), member, group, ["a", "b"], 0.1)}
    assert found["b"].common_fpr.low > 0.15 and found["a"].common_fpr.high < 0.05
    assert abs(found["a"].tpr_at_fpr["0.1"].value - found["b"].tpr_at_fpr["0.1"].value) < 0.08


def test_groups_that_are_too_small_say_so_and_are_last():
    score, member, group = _scores(np.random.default_rng(2), 500, [0.0, 1.0])
    group[:10] = 2
    last = compare(score, member, group, ["a", "b", "tiny"], 0.1)[-1]
    assert last.name == "tiny" and "fewer than 20" in last.json()["reason"] and "auc" not in last.json()


def test_holm_is_that_of_a_loop():
    p = np.random.default_rng(3).random(7)
    order = np.argsort(p)
    expected = np.empty(7)
    for place, k in enumerate(order):
        expected[k] = max(min(1.0, (7 - j) * p[order[j]]) for j in range(place + 1))
    np.testing.assert_allclose(holm(list(p)), expected)


def test_several_targets_are_means_over_them():
    score, member, group = _scores(np.random.default_rng(4), 1500, [0.0, 1.5], targets=4)
    found = compare(score, member, group, ["a", "b"], 0.1)[0]
    own = np.where(group == 1, score, np.nan)
    assert found.name == "b" and found.auc == over_targets.auc(own, member) and found.p < 1e-3
    assert found.tpr_at_fpr["0.1"] == over_targets.tpr_at_fpr(own, member, 0.1)


def test_the_block_is_of_the_attack_that_finds_most():
    score, member, group = (a[0] if a.ndim == 2 else a for a in _scores(np.random.default_rng(5), 800, [0.5, 2.0]))
    columns = {"member": member, "score_weak": np.zeros(1600), "score_lira": score}
    attacks = {name: metrics.evaluate(columns[f"score_{name}"], member) for name in ("weak", "lira")}
    (column,) = subgroups.block(columns, attacks, [("town", group, ["Ulm", "Bonn"], "a note")])
    assert (column["attack"], column["rate"], column["note"]) == ("lira", 0.1, "a note")
    assert [one["group"] for one in column["groups"]] == ["Bonn", "Ulm"]
    assert subgroups.block({"score_lira": score}, attacks, []) == []


def _realized(score, member, rate):
    """The mean over targets of what the common threshold calls of N(0, 1): it lies between two non-members."""
    shares = []
    for s, m in zip(score, member, strict=True):
        others = np.sort(s[~m])[::-1]
        rank = rate * (len(others) + 1)
        k = int(rank)
        shares.append(np.interp(rank, [k, k + 1], stats.norm.sf(others[k - 1 : k + 1])))
    return np.mean(shares)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [1, 8])
def test_intervals_cover_and_tests_accuse_as_often_as_they_say(targets):
    """Common threshold, own threshold, FPR and AUC of a group among four; then none differs, and few are told to."""
    rng = np.random.default_rng(6)
    big = rng.normal(size=(2, 2_000_000))
    shift = 1.2
    cut = np.quantile(big[0], 0.9)
    truth = {
        "common_tpr": float((big[1] + shift > cut).mean()),
        "own": float((big[1] + shift > cut).mean()),
        "auc": float((big[1] + shift > big[0]).mean()),
    }
    covered, told, runs = dict.fromkeys([*truth, "common_fpr"], 0), 0, 400
    for _ in range(runs):
        score, member, group = _scores(rng, 1000, [shift, 0.3, 0.6, 0.0], targets)
        one = next(g for g in compare(score, member, group, list("abcd"), 0.1) if g.name == "a")
        found = {
            "common_tpr": one.common_tpr,
            "own": one.tpr_at_fpr["0.1"],
            "auc": one.auc,
            "common_fpr": one.common_fpr,
        }
        for name, measure in found.items():
            true = truth[name] if name in truth else _realized(score, member, 0.1)
            covered[name] += measure.low <= true <= measure.high
        score, member, group = _scores(rng, 400, [1.0, 1.0, 1.0, 1.0], targets)
        told += any(g.p <= 0.05 for g in compare(score, member, group, list("abcd"), 0.1))
    shares = {name: count / runs for name, count in covered.items()}
    print(f"targets {targets}: covered {shares}, groups accused where none differs {told / runs:.3f}")
    assert all(0.92 <= share <= 0.98 + 2 * (0.02 * 0.98 / runs) ** 0.5 for share in shares.values())
    assert told / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.01])
@pytest.mark.parametrize("size", [20, 50, 100, 250, 500, 900])
def test_a_groups_fpr_is_that_of_the_threshold_used_and_exact(rate, size):
    """Of 1,000 non-members, ``size`` in the group: 95 % at least, and below .98 where ten false alarms are expected."""
    rng, covered, runs = np.random.default_rng(7), 0, 600
    for _ in range(runs):
        score, member = rng.normal(size=(1, 1100)), np.arange(1100)[None] >= 1000
        group = np.where(member[0], np.arange(1100) % 2, np.arange(1100) >= size)
        one = next(g for g in compare(score, member, group, ["a", "b"], rate) if g.name == "a")
        covered += one.common_fpr.low <= _realized(score, member, rate) <= one.common_fpr.high
    error = (0.05 * 0.95 / runs) ** 0.5
    print(f"FPR {rate}, {size} of 1,000 non-members: covered {covered / runs:.3f}")
    assert covered / runs >= 0.95 - 2 * error
    if rate * size >= metrics.RESOLVABLE:
        assert covered / runs <= 0.98 + 2 * error
