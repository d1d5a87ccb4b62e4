"""Who trained on what: what designs give away is found, and then it is not used."""

import jax
import numpy as np
import pytest

from mia_jax.attacks import leave_one_out, lira, rmia
from mia_jax.plans import membership, splits
from mia_jax.types import InputError

N = 400


def halves(rng, models, n=N):
    """Random halves, in pairs."""
    rows = [rng.permutation(n) < n // 2 for _ in range(models // 2)]
    return np.array([half for h in rows for half in (h, ~h)])


def exact(rng, models, n=N, each=None):
    """As the code of Carlini et al. draws them: each record in exactly a half (or ``each``) of the models."""
    return rng.random((models, n)).argsort(axis=0) < (models // 2 if each is None else each)


def independent(rng, models, n=N, share=0.5):
    return rng.random((models, n)) < share


# --- pairs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [21, 22, 101, 400, 4509])
def test_the_pairs_of_the_plan_are_found_in_any_order_and_of_any_number_of_records(n):
    member = splits.membership_matrix(splits.balanced(jax.random.key(0), n, 12), n)
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(membership.related(member[order]), (order[:, None] // 2) == (order // 2))
    np.testing.assert_array_equal(
        membership.unrelated(membership.related(member), range(12), 4, 7), [0, 1, 2, 3, 8, 9, 10, 11]
    )


def test_the_same_records_again_and_halves_that_leave_records_out_are_related():
    rng = np.random.default_rng(1)
    member = independent(rng, 6)
    part = rng.permutation(N)
    member[3] = member[0]
    member[4], member[5] = part < 160, part >= 240  # 160 and 160 of 400
    np.testing.assert_array_equal(np.argwhere(np.triu(membership.related(member), 1)), [[0, 3], [4, 5]])


def test_independent_rows_and_rows_that_say_nothing_are_not_related():
    for seed in range(20):
        member = independent(np.random.default_rng(seed), 16, n=100)
        assert membership.related(member).sum() == 16
    member[:3], member[3:6] = False, True
    assert membership.related(member).sum() == 16


def test_lone_rows_are_those_without_a_partner_where_most_have_one():
    member = halves(np.random.default_rng(2), 10)
    assert membership.unpaired(membership.related(member)).size == 0
    np.testing.assert_array_equal(membership.unpaired(membership.related(member[1:])), [0])
    np.testing.assert_array_equal(membership.unpaired(membership.related(np.delete(member, [0, 5], axis=0))), [0, 3])
    assert membership.unpaired(membership.related(independent(np.random.default_rng(3), 9))).size == 0


# --- fixed counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models, each", [(4, 2), (8, 4), (16, 8), (16, 4), (10, 9)])
def test_fixed_counts_are_recognized_with_and_without_the_target(models, each):
    member = exact(np.random.default_rng(0), models, each=each)
    assert membership.fixed_counts(member)
    assert models == 4 or membership.fixed_counts(member[1:])


def test_independent_rows_and_pairs_have_no_fixed_counts():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert not membership.fixed_counts(independent(rng, 3, n=60))
        assert not membership.fixed_counts(independent(rng, 15, share=0.8))
        assert not membership.fixed_counts(halves(rng, 16))
    assert not membership.fixed_counts(np.zeros((5, N), bool)) and not membership.fixed_counts(np.ones((5, N), bool))


def test_what_is_dealt_is_of_the_record_itself_and_as_much_of_every_record():
    member = exact(np.random.default_rng(0), 16)[1:]
    rows = membership.draw_equal_counts(member, seed=3)
    assert rows.shape == (14, N) and (np.sort(rows, axis=0)[1:] > np.sort(rows, axis=0)[:-1]).all()
    dealt = np.take_along_axis(member, rows, axis=0)
    assert (dealt.sum(axis=0) == 7).all()
    assert np.abs(dealt.mean(axis=1) - 0.5).max() < 0.12  # in random order
    np.testing.assert_array_equal(rows, membership.draw_equal_counts(member, seed=3))


# --- somebody's design -----------------------------------------------------------------------------------------------


def test_the_targets_partner_twin_and_itself_are_left_out_where_membership_is_known():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = np.concatenate([independent(rng, 8)])
        member = independent(rng, 1)[0]
        rows[2], rows[5], rows[6] = ~member, member, member ^ (rng.random(N) < 0.02)
        found = membership.examine(rows, member)
        np.testing.assert_array_equal(found.kept, [0, 1, 3, 4, 7])
        assert len(found.notes) == 2 and not found.fixed_counts
        assert "Shadows 5, 6" in found.notes[0] and "Shadow 2 " in found.notes[1]


@pytest.mark.parametrize("n", [400, 401])
def test_a_lone_half_among_pairs_is_left_out_though_nobody_says_who_is_a_member(n):
    member = splits.membership_matrix(splits.balanced(jax.random.key(1), n, 16), n)
    for known in (None, member[0]):
        found = membership.examine(member[1:], known)
        np.testing.assert_array_equal(found.kept, np.arange(1, 15))
        assert len(found.notes) == 1
    assert membership.examine(member[2:], member[0])[1:] == (False, ())


def test_of_fixed_counts_equal_numbers_are_drawn_and_said():
    member = exact(np.random.default_rng(5), 8)
    for known in (None, member[0]):
        found = membership.examine(member[1:], known)
        assert found.fixed_counts and len(found.kept) == 7 and "3 or 4 of 7 shadows" in found.notes[0]


def test_what_cannot_be_mended_is_refused_with_the_next_move():
    rng = np.random.default_rng(6)
    member = independent(rng, 1)[0]
    part = rng.integers(0, 4, N)
    outside = independent(rng, 6) & ~member  # shadows that trained on non-members alone
    hint = independent(rng, 8)
    hint[3] = np.where(rng.random(N) < 0.4, member, hint[3])
    sums = independent(rng, 6, n=2000)
    weighted = sums[0].astype(int) + sums[1] - sums[2] - sums[3] + rng.integers(-1, 2, 2000) > 0
    for rows, truth in (
        (np.array([part == 1, part == 2, part == 3]), part == 0),
        (outside, member),
        (hint, member),
        (sums, weighted),
    ):
        with pytest.raises(InputError, match=r"^shadow_member tells who trained the target: .*; draw each") as error:
            membership.examine(rows, truth)
        assert "\n" not in str(error.value)
        assert membership.examine(rows, truth, per_example=False).notes == ()
    with pytest.raises(InputError, match="every shadow trained"):
        membership.examine(np.array([member, ~member]), member)


def test_records_that_trained_no_model_are_to_be_left_out():
    """What a validation split held out, once it is marked so: that each shadow be drawn at random was no remedy."""
    drawn = independent(np.random.default_rng(0), 17)
    drawn[:, 320:] = False
    with pytest.raises(InputError, match=r"^80 of 400 records trained neither .*leave them out of all arrays, by keep"):
        membership.examine(drawn[1:], drawn[0])
    keep = drawn[0] | drawn[1:].any(axis=0)
    assert membership.examine(drawn[1:, keep], drawn[0, keep]).notes == ()


def test_honest_designs_pass_untouched():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(10, 300))
        member = rng.random(n) < rng.choice([0.2, 0.5, 0.8])
        draw = [independent, halves, lambda rng, models, n: independent(rng, models, n, 0.8)][seed % 3]
        rows = draw(rng, int(rng.choice([2, 4, 8, 16])), n)
        if member.all() or not member.any():
            continue
        found = membership.examine(rows, member)
        assert n < 60 or found.notes == (), (seed, found)


@pytest.mark.slow
def test_an_honest_design_is_refused_in_less_than_one_of_a_thousand():
    refused = 0
    for seed in range(20_000):
        rng = np.random.default_rng(seed)
        n, share = int(rng.choice([40, 100, 300])), float(rng.choice([0.2, 0.5, 0.8]))
        member, rows = rng.random(n) < share, independent(rng, int(rng.choice([4, 16, 32])), n, share)
        try:
            membership.examine(rows, member)
        except InputError:
            refused += 1
    print(f"{refused} of 20,000 honest designs are refused")
    assert refused <= 10


def test_a_training_share_that_is_not_the_targets_is_said():
    rng = np.random.default_rng(0)
    rows, target = independent(rng, 8), independent(rng, 1, share=0.8)[0]
    assert "78% of these records, and a shadow on 51%" in membership.share_note(rows, target)
    assert membership.share_note(rows, rows[0]) is None
    assert membership.share_note(np.zeros((3, N), bool), target) is None  # trained on other records altogether


# --- what attacks do with it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("again", [4, 5])
def test_leaving_out_is_as_if_the_related_had_never_been(center, again):
    """More than two may be related: model ``again`` was trained on the records of model 0."""
    rng = np.random.default_rng(0)
    member = halves(rng, 10, n=81)
    member[again] = member[0]
    phi = (rng.normal(size=member.shape) + member).astype(np.float32)
    parts = lira.steps(center=center)
    left_out = leave_one_out.LeaveOneOut(parts, {"phi": phi}, member, None)
    gone = np.flatnonzero(left_out.related[0])
    np.testing.assert_array_equal(gone, [0, 1, again])
    rest = np.setdiff1d(np.arange(10), [*gone, 9 - again])  # and the one that lost its partner
    np.testing.assert_array_equal(left_out.lone, [9 - again])
    fresh = parts.fit(parts.aggregate({"phi": phi[rest]}, member[rest], None), ())
    np.testing.assert_allclose(left_out.score(0), parts.score(fresh, {"phi": phi[0]}), rtol=1e-5, atol=1e-5)


def counted(parts):
    """The parts, and the numbers of IN and OUT models that each settling has seen."""
    seen = []

    def aggregate(leaves, member, population):
        seen.append((member.sum(axis=0), (~member).sum(axis=0)))
        return parts.aggregate(leaves, member, population)

    return parts._replace(aggregate=aggregate), seen


def test_with_fixed_counts_every_record_is_judged_by_as_many():
    rng = np.random.default_rng(0)
    member = exact(rng, 9, each=4)[1:]
    log_p = -rng.random(member.shape).astype(np.float32)
    parts, seen = counted(rmia.steps())
    scores = leave_one_out.shadow_scores(parts, {"log_p_y": log_p}, member, {"log_p_y": log_p[:, :50]})
    assert np.isfinite(scores).all() and len(seen) == 2 + 8
    for inside, outside in seen[1:]:
        assert len(set(inside)) == len(set(outside)) == 1
    assert seen[1][0][0] == 3 and seen[1][1][0] == 4 and seen[2][0][0] == 2 and seen[2][1][0] == 3


@pytest.mark.parametrize("sets", [1, 2, 3])
def test_shadows_of_few_different_sets_are_named(sets):
    """Of two and three sets nothing was said, and of one that the columns of shadow_member are in another order."""
    rng = np.random.default_rng(0)
    rows = rng.random((8, 400)) < 0.5
    member = rng.random(400) < 0.5
    assert membership.examine(rows, member).notes == ()
    (note,) = membership.examine(rows[np.arange(8) % sets], member).notes
    one_sided = (rows[:sets] == rows[0]).all(axis=0).mean()
    which = "the same records" if sets == 1 else f"{sets} different sets of records"
    assert note.startswith(f"The 8 shadows were trained on {which}: {one_sided:.0%} of the records trained all of them")
    assert "Draw the records of each shadow anew." in note
    assert membership.examine(np.zeros((8, 400), bool), member).notes == ()  # shadows of other records
