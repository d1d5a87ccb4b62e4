"""One shadow whose rows were filled in, copied, replaced or shuffled is named, and what members have in common is."""

import re

import numpy as np
import pytest
import test_slipped_rows
import test_trained_on_all
from test_memorization import world
from test_unlike_shadows import ORDER

from mia_jax.audits.deployed import answer_formats, remarks
from mia_jax.audits.deployed.checks import Answered
from mia_jax.plans import membership
from mia_jax.statistics import blind_guesses, odd_shadows, unlike_shadows

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
    filled: r"Shadow 3 .* gives 90 of 600 records \(rows 200 to 289, .*\) one and the same answer, .* padding",
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


def test_shadows_that_were_all_padded_are_noted():
    told = world(0, n=N, shadows=S)
    told["shadows"][:, BLOCK] = 0.25
    assert any("Shadows 0, 1, 2, 3, 4, 5, 6, 7" in note and "the target does not" in note for note in said(told).notes)


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
    return (
        *(odd_shadows.equal_rows(target, shadows, related, kind.digits) if kind.kind == "probabilities" else ()),
        *(odd_shadows.of_levels(found, level=kind.kind == "probabilities") if found else ()),
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
