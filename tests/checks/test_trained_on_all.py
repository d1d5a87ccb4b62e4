"""A target, or shadows, that trained on all of the records are noticed, and those that did not are not accused."""

import re

import numpy as np
import pytest
from test_memorization import HONEST, as_labels, audited, world

from mia_jax.audits import gate
from mia_jax.audits.deployed.infer import AnswersWarning, infer
from mia_jax.checks.membership import trained_on_all
from mia_jax.reports import report

ORDER = ("labels", "target", "shadows", "shadow_member", "member")


def probabilities(z):
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def models(seed, trained, *, classes=4, skill=0.6, memory=6.0):
    """Labels, of which a fifth is noise, and probabilities [M, n, c] of models that remember their records [M, n]."""
    rng = np.random.default_rng(seed)
    count, n = trained.shape
    truth = rng.integers(classes, size=n)
    labels = np.where(rng.random(n) < 0.2, rng.integers(classes, size=n), truth)
    hard = rng.normal(size=n)
    z = np.eye(classes)[truth] * (skill + hard)[:, None] + rng.normal(size=(count, n, classes))
    return labels, probabilities(z + np.eye(classes)[labels] * (memory * trained)[..., None])


def given(seed, *, target=None, shadows=None, n=600, count=8, **options):
    """A file whose models trained on halves, as it says; ``target``, ``shadows`` trained on something else."""
    said = np.random.default_rng(seed).random((count + 1, n)) < 0.5
    trained = said.copy()
    if target is not None:
        trained[0] = target
    if shadows is not None:
        trained[1:] = shadows
    labels, p = models(seed, trained, **options)
    return dict(labels=labels, target=p[0], shadows=p[1:], shadow_member=said[1:], member=said[0])


def as_service(told):
    """What ``of_service`` takes: shadows trained on other records than those in question."""
    labels = told["labels"]
    right, sure = (told["target"].argmax(1) == labels), told["target"][np.arange(len(labels)), labels]
    each, of_each = told["shadows"].argmax(2) == labels, told["shadows"][:, np.arange(len(labels)), labels]
    return right, sure, told["member"], each, of_each, told["shadow_member"]


def formed(told, form):
    """The answers in full, as labels, or rounded to one digit."""
    change = {"full": lambda p: p, "labels": as_labels, "rounded": lambda p: np.round(p, 1)}[form]
    return {name: change(told[name]) for name in ("target", "shadows")}


def of_answers(told):
    return trained_on_all.of_answers(*(told[name] for name in ORDER))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["full", "labels", "rounded"])
def test_a_target_that_trained_on_all_is_named(seed, form):
    honest, slip = ({**told, **formed(told, form)} for told in (given(seed), given(seed, target=True)))
    assert of_answers(honest) == trained_on_all.of_service(*as_service(honest)) == ()
    for (said,) in (of_answers(slip), trained_on_all.of_service(*as_service(slip))):
        assert re.search("right on (9[5-9]|100).*shadows are on .* It seems to have trained on all", said), said
        assert ("far better model" in said) == (form != "full" and "its own answers" not in said)


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_are_the_targets_own_answers_are_named(seed):
    told = given(seed)
    told["labels"] = told["target"].argmax(axis=1)
    (said,) = of_answers(told)
    assert "the labels seem to be the target's own answers. Give the labels that the models were trained on." in said
    (said,) = trained_on_all.of_service(*as_service(told))
    assert "right on 100% of the records" in said and "or the labels to be its own answers" in said


def test_labels_that_are_the_targets_own_are_named_where_shadows_are_good_too():
    """Nothing was said where shadows are right on .8 of new records, or more: RMIA had .70 for .85 (forest, Adult)."""
    told = given(0, skill=4.0, memory=8.0)
    new = told["shadows"].argmax(axis=2) == told["labels"]
    assert new[~told["shadow_member"]].mean() > 0.78 and of_answers(told) == ()
    told["labels"] = told["target"].argmax(axis=1)
    (said,) = of_answers(told)
    assert re.search(r"shadows are not right on \d\d of the target's non-members and \d of its members that", said), (
        said
    )


def test_labels_that_are_one_shadows_own_are_named_where_others_are_good_too():
    """Nothing was said of forests on digits, of which others are wrong on 3 to 5 % of new records: too few."""
    told = given(1, skill=4.0, memory=8.0)
    assert of_answers(told) == ()
    told["labels"] = told["shadows"][5].argmax(axis=1)
    (said,) = of_answers(told)
    assert re.search(r"Shadow 5 .* other shadows are not right on \d\d of its non-members and \d of its members", said)


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_non_members_that_are_the_targets_own_answers_are_named(seed):
    """Filled in for records that had none: RMIA had .61 for .72 (forest, Adult), without a word."""
    told = given(seed, skill=4.0, memory=2.0, n=2000)
    told["labels"] = np.where(told["member"], told["labels"], told["target"].argmax(axis=1))
    said = "The labels of non-members seem to be the target's own answers"
    assert any(said in one for one in of_answers(told))
    assert any(said in one for one in trained_on_all.of_service(*as_service(told)))


@pytest.mark.parametrize("seed", range(3))
def test_an_inverted_member_is_tried_before_labels_that_are_answers(seed):
    """Of a forest, which is right on all of its members, it was "labels of non-members are the target's answers"."""
    told = given(seed, memory=40.0)
    assert of_answers(told) == () and (told["target"].argmax(1) == told["labels"])[told["member"]].all()
    inverted = told | dict(member=~told["member"])
    for (said,) in (of_answers(inverted), trained_on_all.of_service(*as_service(inverted))):
        assert "member seems to be inverted, or the labels of non-members" in said


@pytest.mark.parametrize("seed", range(3))
def test_shadows_that_trained_on_all_are_named(seed):
    (said,) = of_answers(given(seed, shadows=True, memory=8.0))
    assert "The shadows seem to have trained on all of the records" in said
    everyone = given(seed, shadows=True, target=True, memory=9.0)
    everyone["shadows"] = 0.5 * everyone["shadows"] + 0.125  # right, and not sure of it, as forests are in sample
    (said,) = of_answers(everyone)
    assert "would be wrong by their own probabilities: they seem to have trained on all" in said


def accused(seeds):
    """Honest files that are doubted, and how many were looked at."""
    found, looked = [], 0
    kinds = {f"world {name}": lambda seed, o=options: world(seed, **o) for name, options in HONEST.items()}
    kinds |= {
        "noise": lambda seed: given(seed),
        "null": lambda seed: given(seed, target=False),
        "no memory": lambda seed: given(seed, memory=0.0, skill=2.5),
        "robust": lambda seed: given(seed, memory=0.0, skill=9.0),
        "all robust": lambda seed: world(seed, memory=0.0, skill=7.0),
        "far better": lambda seed: world(seed, n=1500, memory=8.0, of_target=0.0, better=4.0),
        "better": lambda seed: world(seed, n=1500, memory=8.0, of_target=0.0, better=2.0),
        "best of few": lambda seed: given(seed, n=60, count=2),
    }
    for name, make in kinds.items():
        for seed in seeds:
            whole = make(seed)
            for form in ("full", "labels", "rounded"):
                if form != "full" and name == "far better":  # there it can be told by nothing, and is said so
                    continue
                told = whole | formed(whole, form)
                for said in (of_answers(told), trained_on_all.of_service(*as_service(told))):
                    looked += 1
                    if said:
                        found.append((name, seed, said))
    return found, looked


def test_labels_that_shadows_answer_together_are_doubted():
    """The labels were the mean of all shadows' answers: RMIA had .542 for .723 on real diabetes, without a word."""
    told = given(0, memory=0.8, skill=0.4)
    assert of_answers(told) == ()
    votes = np.eye(4)[told["shadows"].argmax(axis=2)].sum(axis=0)
    for together in (told["shadows"].mean(axis=0), votes):
        (said,) = of_answers(told | dict(labels=together.argmax(axis=1)))
        assert "labels seem to be the shadows' own answers" in said


def test_honest_files_are_not_doubted():
    found, looked = accused(range(2))
    assert found == [] and looked > 200


@pytest.mark.slow
def test_many_honest_files_are_not_doubted():
    found, looked = accused(range(100, 130))
    assert looked > 4000 and len(found) <= 1, found


# --- in an audit -----------------------------------------------------------------------------------------------------


def test_an_audit_says_it_first_and_the_gate_closes(tmp_path):
    """It was "no leak was found", with an AUC of one half."""
    told = given(0, target=True)
    results = audited(tmp_path, told)
    assert results["attacks"]["loss"]["auc"]["value"] == pytest.approx(0.5, abs=0.06)
    (doubt,) = results["doubts"]
    assert "It seems to have trained on all of the records" in doubt
    assert report.terminal_table(results).startswith("The numbers below are in doubt. The target is right on")
    with pytest.raises(gate.GateExceeded, match=r"cannot tell .*trained on all"):
        gate.enforce(gate.parse("auc>0.99"), results)
    with pytest.warns(AnswersWarning, match="trained on all"):
        infer("loss", **told)
