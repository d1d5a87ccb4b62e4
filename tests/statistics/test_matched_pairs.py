"""Bounds on epsilon without coins: matched pairs are fair ones, bounds hold, and what cannot be told is not told."""

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from mia_jax.statistics import matched_pairs, one_run
from mia_jax.types import InputError


def halves(rng, targets, n):
    """bool [T, n]: of each target a random half."""
    return rng.permuted(np.tile(np.arange(n) < n // 2, (targets, 1)), axis=1)


def low(score, member, **options):
    return matched_pairs.from_scores(score, member, **{"delta": 0.0, **options})["low"]


def responses(rng, eps, member):
    """Every record tells whether it is a member, truly with probability e^eps / (1 + e^eps): epsilon is ``eps``."""
    return np.where((rng.random(member.shape) < special.expit(eps)) == member, 1.0, -1.0)


# --- the pairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [2, 3])
def test_who_of_a_pair_is_the_member_is_a_fair_coin(members):
    """Scores fixed beforehand, every draw of ``members`` of five records: each pair is right half of the time."""
    score = np.array([0.3, 1.0, -2.0, 0.7, 0.1])
    found = np.zeros((2, 2))
    for inside in itertools.combinations(range(5), members):
        for seed in range(600):
            right = matched_pairs.surest(score, np.isin(np.arange(5), inside), seed)
            assert right.shape == (2,)
            found[tuple(right.astype(int))] += 1
    assert stats.chisquare(found.ravel()).pvalue > 0.001


def test_the_surest_pair_comes_first_and_the_order_of_records_is_no_evidence():
    member = np.arange(400) < 200
    assert matched_pairs.surest(np.where(member, 1.0, 0.0), member).all()
    assert not matched_pairs.surest(np.where(member, 0.0, 1.0), member).any()
    assert not matched_pairs.surest(np.zeros(400), member).any()  # two equal scores are no guess
    assert not matched_pairs.surest(np.full(400, np.inf), member).any()
    few = np.where(np.arange(400) < 20, np.inf, 0.0)  # some members are known for sure
    right = matched_pairs.surest(few, member)
    assert right[:20].all() and not right[20:].all()


# --- the bound -------------------------------------------------------------------------------------------------------


def test_without_delta_the_bound_is_half_of_one_run_s():
    for right in (60, 80, 99, 100):
        assert matched_pairs.one_of_two(400, 100, right) == pytest.approx(
            one_run.steinke(400, 100, right) / 2, abs=1e-8
        )


def test_delta_makes_it_lower_as_group_privacy_says():
    plain, at = matched_pairs.one_of_two(400, 100, 95), matched_pairs.one_of_two(400, 100, 95, delta=1e-5)
    assert 0 < at < plain
    swapped = (1 + math.exp(at)) * 1e-5
    assert one_run.p_value(400, 100, 95, 2 * at, swapped) == pytest.approx(0.05, abs=1e-6)


def test_a_constant_score_proves_nothing_whatever_the_size():
    """With a coin for each tied pair, 1,797 records of which 898 are members "proved" an epsilon of .0193."""
    for n in (1797, *range(50, 400, 7)):
        for score in (np.zeros(n), np.full(n, np.inf)):
            assert not low(score, np.arange(n) < n // 2, delta=1e-5)


NULLS = {
    "constant": lambda rng, n: np.zeros(n),
    "labels": lambda rng, n: (rng.random(n) < 0.7) + 0.0,
    "three values": lambda rng, n: rng.integers(0, 3, n) + 0.0,
    "mostly tied": lambda rng, n: np.where(rng.random(n) < 0.1, rng.random(n), 0.0),
    "continuous": lambda rng, n: rng.normal(size=n),
}


def test_the_largest_of_many_bounds_is_corrected_for_their_number():
    rng = np.random.default_rng(5)
    member = halves(rng, 3, 400)
    score = rng.normal(size=member.shape) + 2 * member
    found = matched_pairs.from_scores(score, member, delta=1e-5, attacks=23)
    stricter = matched_pairs.from_scores(score, member, delta=1e-5, significance=0.05 / 23)
    assert (found["low_joint"], found["provable_joint"]) == (stricter["low"], stricter["provable"])
    assert 0 < found["low_joint"] < found["low"] and found["provable_joint"] < found["provable"]
    one = matched_pairs.from_scores(score, member, delta=1e-5)
    assert (one["low_joint"], one["provable_joint"], one["attacks"]) == (one["low"], one["provable"], 1)
    assert one["low"] == found["low"]


@pytest.mark.slow
def test_the_largest_of_twenty_bounds_errs_in_one_audit_of_twenty():
    rng, wrong = np.random.default_rng(7), np.zeros(2, int)
    for seed in range(300):
        member = halves(rng, 1, 1000)
        options = dict(delta=0.0, seed=seed, attacks=20)
        each = [matched_pairs.from_scores(rng.normal(size=(1, 1000)), member, **options) for _ in range(20)]
        wrong += [any(f[key] > 0 for f in each) for key in ("low", "low_joint")]
    print(f"\nlargest of 20 bounds: {wrong[0] / 300:.3f} of audits err at 95 % each, {wrong[1] / 300:.3f} corrected")
    assert wrong[1] <= stats.binom.isf(0.001, 300, 0.05) < wrong[0]


@pytest.mark.slow
@pytest.mark.parametrize("null", NULLS)
def test_errors_over_seeds_and_sizes(null):
    """Scores that tell nothing, at sizes from 50 to 3,000: at most one audit in twenty proves something.

    Members are drawn anew (as in an audit), or are always the first half and only size and seed differ.
    """
    rng, wrong, count = np.random.default_rng(6), np.zeros(2, int), 0
    for n in np.unique(np.geomspace(50, 3000, 60).astype(int)):
        for seed in range(10):
            for k, member in enumerate((halves(rng, 1, n)[0], np.arange(n) < n // 2)):
                wrong[k] += low(NULLS[null](rng, n), member, seed=seed) > 0
            count += 1
    print(f"\n| {null} | {wrong[0] / count:.4f} | {wrong[1] / count:.4f} | {count} |")
    assert wrong.max() <= stats.binom.isf(0.001, count, 0.05)


@pytest.mark.parametrize("targets", [1, 2, pytest.param(5, marks=pytest.mark.integration)])
def test_nothing_is_proven_on_noise(targets):
    rng = np.random.default_rng(targets)
    wrong = sum(low(rng.normal(size=(targets, 200)), halves(rng, targets, 200), seed=k) > 0 for k in range(400))
    assert wrong <= stats.binom.isf(0.001, 400, 0.05)


@pytest.mark.parametrize(
    "eps", [pytest.param(0.5, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.integration)]
)
def test_randomized_response_is_bounded_from_below(eps):
    """Also where all targets are one and the same: then nothing is learned from their number."""
    rng = np.random.default_rng(0)
    for same in (False, True):
        found = []
        for k in range(300):
            member = halves(rng, 4, 600)
            score = responses(rng, eps, member)
            found.append(low(score[[0] * 4], member[[0] * 4], seed=k) if same else low(score, member, seed=k))
        assert np.sum(np.array(found) > eps) <= stats.binom.isf(0.001, 300, 0.05)
        assert np.median(found) > eps / 4


def test_with_plenty_of_records_the_bound_is_near_the_truth():
    rng = np.random.default_rng(1)
    member = halves(rng, 3, 40_000)
    assert 0.9 < low(responses(rng, 1.0, member), member) < 1


def test_what_is_told():
    rng = np.random.default_rng(3)
    member = halves(rng, 3, 801)
    score = rng.normal(size=member.shape) + 3 * member
    told = matched_pairs.from_scores(score, member, delta=1e-5)
    joint = {"low_joint", "provable_joint", "attacks"}
    assert set(told) == {"low", "provable", "guesses", "right", "pairs", "delta", "confidence", "method"} | joint
    assert 0 < told["low"] < told["provable"] and told["right"] <= told["guesses"] <= told["pairs"] == 400
    assert told["guesses"] in matched_pairs.tries(400) == [6, 25, 100, 400]
    each = [matched_pairs.from_scores(s, m, delta=1e-5)["low"] for s, m in zip(score, member, strict=True)]
    assert told["low"] < max(each) and told == matched_pairs.from_scores(score, member, delta=1e-5)
    perfect = matched_pairs.from_scores(member + 0.0, member, delta=1e-5)
    assert perfect["low"] == perfect["provable"] == told["provable"]


def test_records_that_were_not_judged_play_no_part():
    rng = np.random.default_rng(4)
    member = halves(rng, 2, 400)
    score = member + 0.0
    score[:, 100:] = np.nan
    told = matched_pairs.from_scores(score, member, delta=0.0)
    assert told["pairs"] == min(min(m[:100].sum(), (~m[:100]).sum()) for m in member) and told["low"] > 0.5


@pytest.mark.parametrize("members", [0, 1, 3, 10])
def test_too_few_records_prove_nothing_and_that_is_said(members):
    member = np.arange(10) < members
    told = matched_pairs.from_scores(member + 0.0, member, delta=1e-5)
    assert told["low"] is None and "prove nothing" in told["reason"]


def test_bad_input_is_refused():
    member = np.arange(8) < 4
    for score, options in ((np.zeros(7), {}), (np.zeros(8), {"delta": 1.0}), (np.zeros(8), {"significance": 0.0})):
        with pytest.raises(InputError):
            matched_pairs.from_scores(score, member, **{"delta": 0.0, **options})
