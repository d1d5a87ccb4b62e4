"""One shadow whose rows were filled in, copied, replaced or shuffled is named, and what members have in common is."""

import re

import numpy as np
import pytest
import test_slipped_rows
import test_trained_on_all
from test_memorization import as_labels, world
from test_unlike_shadows import ORDER

from mia_jax.audits.deployed import answer_formats, remarks
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.checks import naming
from mia_jax.checks.answers import padded_rows
from mia_jax.checks.labels import unlike_columns
from mia_jax.checks.membership import blind_guesses, memorization, own_members
from mia_jax.checks.models import odd_shadows, unlike_shadows
from mia_jax.plans import membership

N, S, ODD = 600, 8, 3
SOME = np.random.default_rng(1).permutation(N)[: int(0.15 * N)]
BLOCK = np.arange(200, 290)


def said(told):
    asked, known = (
        Answered(*(told[name] for name in ORDER[:3])),
        answer_formats.of_saved(told["target"], told["shadows"]),
    )
    return remarks.of_saved(asked, told["shadow_member"], told["member"], known)


def with_odd(told, change):
    """The file with the answers of one shadow, [n, c], changed."""
    shadows = told["shadows"].copy()
    change(shadows[ODD], shadows, told["target"])
    return told | dict(shadows=shadows)


def filled(p, shadows, target):
    p[BLOCK] = 0.25


def copied(p, shadows, target):
    p[SOME] = shadows[ODD + 1, SOME]


def of_the_target(p, shadows, target):
    p[SOME] = target[SOME]


def shuffled(p, shadows, target):
    p[SOME] = p[np.sort(SOME)]


def replaced(p, shadows, target):
    p[SOME] = np.random.default_rng(0).dirichlet(np.ones(4), len(SOME))


FAULTS = {
    filled: r"Of shadow 3 .* 90 of 600 records \(rows 200 to 289, .*one and the same answer, .* padding",
    copied: "Shadows 3 and 4 .* the same answer, bit by bit, about 90 of 600 records",
    of_the_target: "Shadow 3 and the target .* the same answer, bit by bit, about 90 of 600 records",
    shuffled: r"Shadow 3 is told, in the target's place, with an AUC of 0\.\d+, and the others with 1.00 .* shuffled",
    replaced: r"Shadow 3 is told, in the target's place, with an AUC of 0\.\d+, and the others with 1.00 .*replaced",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_one_shadow_is_noted(fault):
    told = world(0, n=N, shadows=S)
    assert said(told) == ((), ())
    doubted, notes = said(with_odd(told, fault))
    assert doubted == () and any(re.search(FAULTS[fault], note) for note in notes), notes


def half(told, change):
    """The file with the answers, or memberships, of every second shadow changed."""
    told = told | {name: told[name].copy() for name in ("shadows", "shadow_member")}
    change(told, slice(None, None, 2))
    return told


def as_labels_of(told, some):
    told["shadows"][some] = as_labels(told["shadows"][some])


def rounded_of(told, some):
    told["shadows"][some] = np.round(told["shadows"][some], 3)


def rounded_to_sums_of_one(told, some):
    p = np.round(told["shadows"][some], 1)
    told["shadows"][some] = p / p.sum(axis=-1, keepdims=True)


def other_rows(told, some):
    told["shadow_member"][some] = np.random.default_rng(5).random(told["shadow_member"][some].shape) < 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    {
        as_labels_of: r"4 of 8 shadows \(0, 2, 4, 6, counted from 0\) answer with labels alone, and the others do not",
        rounded_of: r"4 of 8 shadows \(0, 2, 4, 6, counted from 0\) are rounded, and the others are not",
        rounded_to_sums_of_one: r"4 of 8 shadows \(0, 2, 4, 6, .*\) have few different answers, and the others do not",
        other_rows: "shadows are of two kinds: shadows 0, 2, 4, 6 .* AUC of 0.[45].*, and the others with (0.99|1.00)",
    }.items(),
)
def test_shadows_of_two_kinds_are_noted(change, words):
    """On real Location LiRA had .744 for .963 beside labels, and .872 beside rows of another seed: without a word."""
    told = world(0, n=N, shadows=S)
    doubts, notes = said(half(told, change))
    assert any(re.search(words, note) for note in (doubts or notes)), (doubts, notes)
    assert bool(doubts) == (change is other_rows)  # no group comes near the other: a gate fails closed


def test_votes_of_trees_of_which_some_have_a_mixed_leaf_are_not_called_rounded():
    """Of a forest two of eight shadows were said to be rounded, where none of their records fell into a mixed leaf."""
    rng = np.random.default_rng(0)
    votes = rng.multinomial(100, [0.5, 0.3, 0.2], (4, 400)) / 100
    votes[2:, ::40] = rng.dirichlet(np.ones(3), (2, 10))
    assert answer_formats.mixed_note(votes) is None
    votes[2:] = rng.dirichlet(np.ones(3), (2, 400))
    assert "shadows (0, 1, counted from 0) are rounded, and the others are not" in answer_formats.mixed_note(votes)


@pytest.mark.parametrize("which", [[2], [0, 1, 2, 3], list(range(S))])
def test_a_class_that_models_never_saw_is_named(which):
    """A column of zeros was inserted: half of the shadows so took RMIA from .946 to .885 without a word."""
    told = world(0, n=N, shadows=S)
    lacking = np.where(np.arange(4) == 1, 0, told["shadows"])
    told["shadows"][which] = (lacking / lacking.sum(axis=2, keepdims=True))[which]
    (doubt,) = said(told).doubts
    whose = (
        "all shadows"
        if len(which) == S
        else f"shadow{'s' * (len(which) > 1)} {', '.join(map(str, which))} (counted from 0)"
    )
    assert doubt.startswith(f"The column of class 1 of {whose} is 0 in every row, though members are of that class")


def test_all_shadows_that_remember_little_are_named():
    """Three of four were: of the fourth a little more was told by chance."""
    weak, told = (world(0, n=400, shadows=8, memory=memory) for memory in (0.3, 2.0))
    told["shadows"] = np.where((np.arange(8) % 2 == 0)[:, None, None], weak["shadows"], told["shadows"])
    (note,) = memorization.unrelated_rows(told["labels"], told["shadows"], told["shadow_member"])
    assert note.startswith("The answers of shadows 0, 2, 4, 6 (counted from 0) do not depend on")


def test_a_small_difference_of_one_of_many_shadows_is_not_noted():
    """A split has few of some class's records, and its model is a little less sure: of 16 shadows one is."""
    even = unlike_shadows.Told(np.zeros(1), 0.84, 0.0, 0.0, (0.9, 0.7))
    shadows = [even._replace(outside=0.004 * (k % 3)) for k in range(16)]
    for off, noted in ((-0.04, False), (-0.1, True)):
        shadows[5] = even._replace(outside=off)
        notes = odd_shadows.of_levels(unlike_shadows.Beside(even, tuple(shadows), numbers=tuple(range(16))))
        assert bool(notes) == noted
    assert notes[0].startswith("Shadow 5 is less sure of new records than the others are (by 0.10 in the mean")


def test_rows_of_another_seed_show_where_models_remember_little():
    """On real Adult and MNIST LiRA had .568 for .603 and .629 for .731, with half of the rows of another seed."""
    told = world(0, n=1200, shadows=S, memory=0.7)
    assert said(told) == ((), ())
    (note,) = said(half(told, other_rows)).notes
    assert note.startswith(
        "The answers of shadows 0, 2, 4, 6 (counted from 0) do not depend on what shadow_member says"
    )


@pytest.mark.parametrize("shadows", [4, 8])
def test_few_shadows_tell_a_target_that_is_told_otherwise(shadows):
    """LiRA had .481 for .731 beside four undertrained shadows, on real MNIST: AUCs are spread as the records are."""
    told = world(3, n=1200, shadows=shadows, memory=1.5)
    assert said(told) == ((), ())
    stronger = world(3, n=1200, shadows=shadows, memory=1.5, of_target=3.0)
    assert any("They are not alike" in note for note in said(stronger).notes)
    off = said(told | dict(member=np.roll(told["member"], 1)))
    assert "np.roll(member, -1)" in " ".join(off.doubts)


def test_nearly_the_same_answers_are_one_model():
    told = world(0, n=N, shadows=S)
    told["shadows"][ODD] = told["target"] * (1 - 1e-4) + 1e-4 / 4
    assert any("Shadow 3 and the target (counted from 0) answer nearly the same" in note for note in said(told).notes)


def test_one_shuffled_shadow_of_three_is_noted():
    """Too few shadows to tell by how sure they are: LiRA had .921 for .956 on real Location, with four."""
    told = world(0, n=N, shadows=3, memory=9.0)
    assert said(told) == ((), ())
    told["shadows"][2, SOME] = told["shadows"][2, np.sort(SOME)]
    assert any(
        re.match(r"Shadow 2 \(counted from 0\) is wrong on 1\d\.\d% of its own members", n) for n in said(told).notes
    )


@pytest.mark.parametrize("side", ["members", "non-members"])
def test_other_labels_on_one_side_are_noted(side):
    told = world(0, n=1200, shadows=S, memory=9.0)
    which = (told["member"] == (side == "members")) & (np.random.default_rng(0).random(1200) < 0.1)
    doubted, notes = said(told | dict(labels=np.where(which, (told["labels"] + 1) % 4, told["labels"])))
    assert doubted == () and any(f"of the target's {side}, and of 0.0% of the others" in note for note in notes), notes


def test_a_target_of_other_priors_is_noted():
    """LiRA had .922 for .963 on real Location."""
    told = world(0, n=N, shadows=S)
    told["target"] = told["target"] * [0.3, 1, 1, 3]
    told["target"] /= told["target"].sum(axis=1, keepdims=True)
    (note,) = unlike_columns.notes(told["target"], told["shadows"])
    assert note.startswith("The target favors other classes than the shadows do, whatever the record: 3 most")
    assert " and 0 least " in note and any(re.search("not alike|favors other classes", n) for n in said(told).notes)


def test_failed_calls_that_each_model_has_of_its_own_are_noted():
    """Answers that say nothing, filled in for other records in each model, were taken for answers."""
    told = world(0, n=N, shadows=S)
    failed = np.random.default_rng(2).random((S + 1, N)) < 0.06
    told["target"][failed[0]] = 0.25
    told["shadows"][failed[1:]] = 1 / told["target"].shape[1]
    assert any("models one probability of the true class recurs" in note for note in said(told).notes), said(told)


def test_shadows_are_named_by_their_rows_or_their_models():
    """The first is left out, as the target's partner is: what was shadow 3 was called 2, counted among those used."""
    told = with_odd(world(0, n=N, shadows=S), shuffled)
    asked, known = (
        Answered(*(told[name] for name in ORDER[:3])),
        answer_formats.of_saved(told["target"], told["shadows"]),
    )
    given = asked, told["shadow_member"], told["member"], known, np.arange(1, S)
    assert remarks.of_saved(*given).notes[-1].startswith("Shadow 3 ")
    assert remarks.of_saved(*given, numbers=np.arange(S) + 10).notes[-1].startswith("Shadow 13 ")
    text = "shadow 0's answers fit row 1; Shadows 1, 2, ... (counted from 0) and 2 of 3 shadows (0, 2, counted from 0)"
    said = "shadow 5's answers fit row 7; Shadows 7, 9, ... (counted from 0) and 2 of 3 shadows (5, 9, counted from 0)"
    assert naming.with_numbers(text, [5, 7, 9]) == said
    assert (
        naming.with_numbers("and the shadows 76.1% in rows 0 to 2", [5, 7, 9]) == "and the shadows 76.1% in rows 0 to 2"
    )


def test_shadows_that_were_all_padded_are_noted():
    told = world(0, n=N, shadows=S)
    told["shadows"][:, BLOCK] = 0.25
    (doubt,) = said(told).doubts
    assert "Of shadows 0, 1, 2, 3, 4, 5, 6, 7 " in doubt and "rows 200 to 289" in doubt


@pytest.mark.parametrize(("area", "plain"), [(0.65, False), (0.95, True)])
def test_members_of_some_classes_are_told_by_the_class(area, plain):
    """Two classes of four have a share ``area`` of members, and two the rest: that is the AUC of the class alone."""
    told = world(0, n=1200, shadows=S)
    assert blind_guesses.notes(told["labels"], told["member"]) == []
    member = np.random.default_rng(3).random(1200) < np.where(told["labels"] < 2, area, 1 - area)
    guess = blind_guesses.by_class(told["labels"], member)
    assert guess.area == pytest.approx(area, abs=2 * guess.error)
    (note,) = blind_guesses.notes(told["labels"], member)
    assert note.startswith(f"The class alone tells who is a member with an AUC of {guess} ")
    doubted, _ = said(told | dict(member=member, target=told["target"]))
    assert bool(blind_guesses.doubts(told["labels"], member)) == plain and doubted  # nor are they the answers'


def test_members_that_are_harder_than_others_are_noted():
    told = world(0, n=1200, shadows=S)
    harder = world(0, n=1200, shadows=S, harder=0.3)
    assert said(told) == ((), ())
    assert any(re.match(r"Shadows .* less sure of members than of others \(AUC 0\.[67]", n) for n in said(harder).notes)


# --- honest files ----------------------------------------------------------------------------------------------------

KINDS = {
    name: make
    for name, make in test_slipped_rows.HONEST.items()
    if not any(
        word in name for word in ("null", "better", "hard", "class", "differ", "consistency")
    )  # no draws, or unlike
}
for count in (4, 8, 16):
    KINDS[f"{count} shadows"] = lambda seed, count=count: world(seed, shadows=count)
    KINDS[f"{count} shadows, unequal"] = lambda seed, count=count: world(seed, shadows=count, memory=2.0, unequal=0.1)
    KINDS[f"{count} shadows in pairs"] = lambda seed, count=count: world(seed, shadows=count, pairs=True)


def named(told):
    """What is said of single shadows, and of what members have in common."""
    labels, target, shadows, trained, member = (told[name] for name in ORDER)
    related = membership.related(np.concatenate([member[None], trained]))
    sure, of_target = shadows[:, np.arange(len(labels)), labels], target[np.arange(len(labels)), labels]
    found = unlike_shadows.beside(of_target, member, sure, trained, related)
    kind = answer_formats.of_saved(target, shadows).shadows
    right, of_target_right = shadows.argmax(axis=2) == labels, target.argmax(axis=1) == labels
    plain = kind.kind == "probabilities"
    return (
        *(odd_shadows.shared_rows(target, shadows, related, kind.digits) if plain else ()),
        *(padded_rows.of_answers(labels, target, shadows) if plain else ()),
        *(odd_shadows.near_copies(sure, of_target, related) if plain else ()),
        *(unlike_columns.notes(target, shadows) if plain else ()),
        *odd_shadows.wrong_members(right, trained, of_target_right, member),
        *own_members.of_one_side(right, trained, member),
        *memorization.unrelated_rows(labels, shadows, trained),
        *filter(None, [answer_formats.mixed_note(shadows)]),
        *(odd_shadows.of_levels(found, level=plain) if found else ()),
        *blind_guesses.notes(labels, member, sure, trained),
    )


def accused(seeds):
    found, looked = [], 0
    for name, make in KINDS.items():
        for seed in seeds:
            told = make(seed)
            for form in ("full", "labels", "rounded"):
                looked += 1
                if words := named(told | test_trained_on_all.formed(told, form)):
                    found.append((name, form, seed, words))
    return found, looked


def test_honest_files_are_not_accused():
    found, looked = accused(range(1))
    assert found == [] and looked > 60


@pytest.mark.slow
def test_many_honest_files_are_not_accused():
    """Of 1,000 honest files one may have a note."""
    found, looked = accused(range(100, 140))
    print(f"something is said of {len(found)} of {looked} honest files")
    assert looked > 2000 and len(found) <= max(3, looked / 1000), found
