"""What several attacks find together, against counting; and ensembles that are none."""

import numpy as np
import pytest

from mia_jax.statistics import overlap

RNG = np.random.default_rng(0)
MEMBER = np.arange(3000) % 2 == 0
RISK = 3.0 * MEMBER * (RNG.random((4, 3000)) < 0.3)
SCORES = {f"run {k}": RISK[k] + RNG.normal(size=3000) for k in range(4)}


def called_by_hand(score, member, rate):
    """As many false alarms as the rate allows, one record after the other."""
    allowed = int(rate * (~member).sum() + 1e-9)
    order = np.argsort(-score)
    called, alarms = np.zeros(len(score), bool), 0
    for i in order:
        alarms += not member[i]
        if alarms > allowed:
            break
        called[i] = True
    return called


def test_every_set_is_counted_as_by_hand():
    found = overlap.compare(SCORES, MEMBER, 0.01)
    calls = {name: called_by_hand(score, MEMBER, 0.01) for name, score in SCORES.items()}
    count = np.sum([*calls.values()], axis=0)
    for name, called in calls.items():
        assert found["attacks"][name]["tpr"]["value"] == pytest.approx(called[MEMBER].mean())
        assert found["attacks"][name]["only"]["value"] == pytest.approx((called & (count == 1))[MEMBER].mean())
    for name, chosen in {"any": count >= 1, "most": count >= 3, "all": count == 4}.items():
        assert found[name]["tpr"]["value"] == pytest.approx(chosen[MEMBER].mean())
        assert found[name]["fpr"]["value"] == pytest.approx(chosen[~MEMBER].mean())
        alone = [called_by_hand(score, MEMBER, chosen[~MEMBER].mean())[MEMBER].mean() for score in SCORES.values()]
        assert found[name]["best_alone"] == pytest.approx(max(alone))
    a, b = calls["run 0"] & MEMBER, calls["run 1"] & MEMBER
    assert found["jaccard"][0][1] == pytest.approx((a & b).sum() / (a | b).sum()) and found["jaccard"][0][0] == 1
    for combination in found["combinations"]:
        same = np.all([c == (name in combination["attacks"]) for name, c in calls.items()], axis=0)
        assert combination["members"] == pytest.approx(same[MEMBER].mean())
    assert found["any"]["tpr"]["value"] > found["any"]["best_alone"]  # they find other members, so together more


def test_targets_have_thresholds_of_their_own_and_their_mean_an_interval():
    scores = {name: np.stack([score, 10 + score[::-1]]) for name, score in SCORES.items()}
    member = np.stack([MEMBER, MEMBER[::-1]])
    found, one = overlap.compare(scores, member, 0.01), overlap.compare(SCORES, MEMBER, 0.01)
    for name in ("any", "most", "all"):
        assert found[name]["tpr"]["value"] == pytest.approx(one[name]["tpr"]["value"])
        assert found[name]["best_alone"] == pytest.approx(one[name]["best_alone"])
    assert found["combinations"] == one["combinations"]


def test_where_ties_let_nobody_be_called_a_higher_rate_is_taken():
    """Of 30 trees' answers 4 % of the non-members have the highest score: all numbers were 0 % at 1 %."""
    tied = np.where(np.arange(3000) % 25 < 5, 9.0, np.minimum(SCORES["run 0"], 8))
    found = overlap.block({"member": MEMBER, "score_loss": tied, "score_entropy": 2 * tied, "score_gap": 1.0 * MEMBER})
    assert found["rate"] == 0.01 and found["attacks"]["loss"]["tpr"]["value"] == 0  # gap calls members here
    both = {"member": MEMBER, "score_loss": np.where(MEMBER & (RISK[0] > 0), 10, tied), "score_entropy": tied}
    both["score_loss"][1:201:2] = 11  # 100 of 1,500 non-members
    found = overlap.block(both)
    assert found["rate"] == 0.1 and found["any"]["tpr"]["value"] > 0.2
    assert overlap.block({"member": MEMBER, "score_a": np.ones(3000), "score_b": np.zeros(3000)}) == {}


def test_tied_scores_are_called_together_or_not():
    member = np.arange(200) < 100
    assert not overlap.calls(np.ones(200), member, 0.05).any()
    score = np.where(np.arange(200) < 150, 1.0, 0.0)
    assert not overlap.calls(score, member, 0.4).any()  # 50 of 100 non-members share the larger score
    assert overlap.calls(score, member, 0.5).sum() == 150


def test_runs_that_tell_nothing_find_no_more_together_than_their_false_alarms():
    noise = {f"run {k}": np.random.default_rng(k).normal(size=3000) for k in range(4)}
    found = overlap.compare(noise, MEMBER, 0.01)
    for name in ("any", "most", "all"):
        tpr, fpr = found[name]["tpr"], found[name]["fpr"]
        assert tpr["low"] <= fpr["high"] and fpr["low"] <= tpr["high"]


def test_a_block_has_the_attacks_that_judged_all_records():
    scores = {f"score_{name.replace(' ', '_')}": score for name, score in SCORES.items()}
    some = np.where(np.arange(3000) < 100, 1.0, np.nan)
    made = overlap.block({**scores, "score_some": some, "score_majority": np.ones(3000), "member": MEMBER})
    assert made["left_out"] == ["some"] and [*made["attacks"]] == ["run_0", "run_1", "run_2", "run_3"]
    assert made["rate"] == 0.01
    assert overlap.block(scores) == {} == overlap.block({**scores, "member": np.ones(3000, bool)})
    few = {name: score[:150] for name, score in scores.items()}
    assert overlap.block({**few, "member": MEMBER[:150]}) == {}  # not even .1 can be resolved
