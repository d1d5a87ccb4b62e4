"""Labels, target and shadows that do not fit each other are noticed, and those that fit are not accused."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits import gate
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import answer_formats, remarks
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.audits.deployed.infer import AnswersWarning, infer
from mia_jax.checks.labels import consistency
from mia_jax.reports import report
from mia_jax.types import InputError

N, C, S = 600, 5, 6


def world(seed, *, n=N, classes=C, shadows=S, skill=1.5, spread=1.0, remembered=2.0, trained=None):
    """Labels, and probabilities of models that know the class, find the same records hard, and remember some.

    trained: which [S + 1, n]; None: half, of which nothing is told.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(2, classes + 2) / np.arange(2, classes + 2).sum())
    right = np.eye(classes)[labels]
    easy = skill + spread * rng.normal(size=(n, 1))
    member = rng.random((shadows + 1, n, 1)) < 0.5 if trained is None else trained[..., None]
    z = right * (easy + remembered * member) + rng.normal(size=(shadows + 1, n, classes))
    p = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
    return labels, p[0], p[1:]


@pytest.mark.parametrize(
    "given",
    [{}, dict(skill=0.6), dict(skill=6.0), dict(classes=2, skill=1.0), dict(n=60), dict(n=4000), dict(shadows=1)],
)
def test_what_fits_is_not_doubted(given):
    for seed in range(20):
        labels, target, shadows = world(seed, **given)
        assert consistency.of_answers(labels, target, shadows) == (), seed
        assert consistency.of_answers(labels, np.round(target, 1), shadows) == (), seed
        assert consistency.of_answers(labels, target, np.round(shadows, 1)) == (), seed
        assert consistency.of_service(labels, target.argmax(axis=1), target.shape[1], 0.5) == (), seed


@pytest.mark.parametrize(
    "given",
    [{}, dict(skill=0.3, remembered=0.3), dict(skill=6.0), dict(classes=2, skill=1.0), dict(n=60), dict(n=4000)],
)
def test_a_target_alone_is_doubted_where_its_columns_are_exchanged_and_not_else(given):
    for seed in range(20):
        trained = np.random.default_rng(seed + 99).random((1, given.get("n", N))) < 0.5
        labels, target, _ = world(seed, shadows=0, trained=trained, **given)
        for member in (None, trained[0]):
            assert consistency.of_target(labels, target, member) == (), seed
            assert consistency.of_target(labels, np.round(target, 1), member) == (), seed
            if given.get("skill", 1.5) < 1 or given.get("n", N) < 100:
                continue
            classes = target.shape[1]
            (said,) = consistency.of_target((labels + 1) % classes, target, member)
            assert re.search(r"the labels do not fit the columns of its answers; they seem to be", said)
            if given.get("skill", 1.5) < 6:
                continue
            swapped = target.copy()
            swapped[:, [0, 1]] = target[:, [1, 0]]
            (said,) = consistency.of_target(labels, swapped, member)
            assert "class 0 is column 1, 1 is column 0" in said
            assert ("its own members" in said) == (member is not None)


def test_without_shadows_the_doubt_comes_first_and_a_gate_fails_closed(tmp_path):
    trained = np.random.default_rng(5).random((1, N)) < 0.5
    labels, target, _ = world(1, shadows=0, trained=trained, remembered=4.0)
    turned = (labels + 1) % C
    with pytest.warns(AnswersWarning, match="do not fit the columns of its answers"):
        found = mia.audit(target, np.zeros((N, 1)), turned, trained[0], attacks="loss")
    assert repr(found).startswith("The numbers below are in doubt. The target is right on")
    text = repr(found).replace("\n", " ")
    assert "something is inverted (member), labels are in another order than the answers' columns, or" in text
    path = tmp_path / "preds.npz"
    np.savez(path, labels=turned, target=target, member=trained[0])
    results = audits.run(DeployedConfig(predictions=str(path), attacks="loss", workdir=str(tmp_path / "run")))
    assert results["doubts"] == found.results["doubts"]
    with pytest.raises(gate.GateExceeded):
        gate.enforce(gate.parse("auc>0.99"), results)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_each_misfit_is_named(seed, spread):
    labels, target, shadows = world(seed, spread=spread)
    order = np.random.default_rng(seed).permutation(N)
    around = np.roll(np.arange(C), 1)
    swapped = [1, 0, 4, 2, 3]
    moved = np.empty(N, int)
    for k in range(C):
        rows = np.flatnonzero(labels == k)
        moved[rows] = np.random.default_rng(seed).permutation(rows)
    cases = [
        (
            ((labels + 1) % C, target, shadows),
            "labels do not fit the columns; they seem to be shifted: .* column k - 1",
        ),
        (((labels - 1) % C, target, shadows), r"seem to be shifted: .* column k \+ 1"),
        ((labels[order], target, shadows), "labels seem to be in another order than the answers"),
        ((labels, target[:, around], shadows), r"its columns do not fit the labels; .* shifted: .* k \+ 1"),
        ((labels, target[:, swapped], shadows), "its columns do not fit the labels; they seem to be in another order"),
        ((labels, target, shadows[:, :, around]), "their columns do not fit the labels; .* shifted"),
        ((labels, target[order], shadows), "its rows seem to be in another order"),
        ((labels, target, shadows[:, order]), "their rows seem to be in another order"),
        ((labels, target, np.concatenate([shadows[:5], shadows[5:, order]])), r"Shadow 5 \(counted from 0\) is right"),
        ((labels, np.full_like(target, 1 / C), shadows), "the answer is class 0 everywhere"),
        *(
            [((labels, target[moved], shadows), "target's rows seem to be in another order than theirs")]
            * (spread == 1)
        ),
    ]
    for (y, p, q), said in cases:
        found = consistency.of_answers(y, p, q)
        assert len(found) == 1, (said, found)
        assert re.search(said, found[0]), found[0]


def test_two_classes_exchanged_are_noticed_though_most_answers_are_right():
    labels, target, shadows = world(0, skill=4.0)
    (found,) = consistency.of_answers(labels, target[:, [1, 0, 2, 3, 4]], shadows)
    assert "class 0 is column 1, 1 is column 0" in found


def test_two_classes_and_models_of_a_few_leaves():
    """Two classes are exchanged, not shifted; trees of one split that took different features are no shuffled rows."""
    labels, target, shadows = world(0, classes=2)
    (found,) = consistency.of_answers(1 - labels, target, shadows)
    assert "class 0 is column 1, 1 is column 0" in found
    rng = np.random.default_rng(0)
    y = np.arange(N) % 10
    split, other = ((y == k) ^ (rng.random(N) < 0.1) for k in (3, 6))
    leaves = [np.where(np.arange(10) == k, 0.91, 0.01) for k in range(10)]
    trees = [np.where(rows[:, None], leaves[a], leaves[b]) for rows, a, b in ((split, 3, 1), (other, 6, 2))]
    assert consistency.of_answers(y, trees[1], np.stack([trees[0]] * 5)) == ()


def test_labels_of_a_file_that_are_not_the_services_classes():
    labels, target, _ = world(0)
    (found,) = consistency.of_service((labels + 1) % C, target.argmax(axis=1), C, 0.6)
    assert "the file's labels do not fit the service's classes" in found and "shifted" in found
    (found,) = consistency.of_service(labels[::-1], target.argmax(axis=1), C, 0.6)
    assert "see whether the service was trained on such records" in found
    assert consistency.of_service(labels[::-1], target.argmax(axis=1), C, 0.3) == ()  # the shadows know nothing, either


def test_a_services_own_members_show_the_other_class_where_shadows_know_no_new_records():
    """A score of class 0: shadows of few records were right on half of new ones, and nothing was doubted."""
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.4).astype(int)
    answered = np.where(rng.random(300) < 0.95, labels, 1 - labels)
    assert consistency.of_service(labels, 1 - answered, 2, 0.6) == ()  # of all records: the shadows guess, too
    assert consistency.of_service(labels, answered, 2, 0.99, own=True) == ()
    (found,) = consistency.of_service(labels, 1 - answered, 2, 0.99, own=True)
    assert "The file's labels do not fit the service's classes: they seem to be in another order: class 0 is" in found
    (found,) = consistency.of_service(labels, rng.permutation(answered), 2, 0.99, own=True)
    assert "of its said members, no better than guessing" in found and "on 99% of their own" in found
    assert "see whether the service was trained on such records" in found


@pytest.mark.parametrize("skill", [0.5, 1.5, 4.0])
def test_columns_of_all_models_sorted_as_text_are_named(skill):
    """Of twelve classes two stay where they are, so that no model is at chance; it was "shadow_member is inverted"."""
    labels, target, shadows = world(0, n=1500, classes=12, skill=skill)
    labels, target, shadows = 11 - labels, target[:, ::-1], shadows[:, :, ::-1]  # the first classes are frequent
    assert consistency.of_answers(labels, target, shadows) == ()
    order = [int(k) for k in sorted(map(str, range(12)))]
    (found,) = consistency.of_answers(labels, target[:, order], shadows[:, :, order])
    assert "columns of all models; they seem to be in another order: class 2 is column 4, " in found
    assert "as numbers sorted as text are" in found
    (found,) = consistency.of_service(labels, target[:, order].argmax(axis=1), 12, 0.5)
    assert "The file's labels do not fit the service's classes" in found and "class 2 is column 4, " in found
    assert consistency.of_service(labels, target.argmax(axis=1), 12, 0.5) == ()


def test_answers_that_are_sorted_or_smallest_for_the_true_class_are_named():
    """All sorted: "shadow_member seems to be inverted"; 1 - p: "they seem to be shifted"."""
    labels, target, shadows = world(0)
    fall, turned = (lambda p: -np.sort(-p, axis=-1)), (lambda p: (1 - p) / (C - 1))
    for change, said in ((fall, "they seem to be sorted"), (turned, "distances, losses or 1 - p")):
        for whose, p, q in (
            ("target and shadows", change(target), change(shadows)),
            ("the target", change(target), shadows),
            ("the shadows", target, change(shadows)),
        ):
            (found,) = consistency.of_answers(labels, p, q)
            assert found.startswith(f"The answers of {whose} ") and said in found


def unequal(seed, *, n=3000, rare=0.06, skill=1.0, balanced=True, memory=0.5, shadows=6, classes=2):
    """Labels of which most are of one class, and models that weigh the classes alike, or as they are."""
    rng = np.random.default_rng(seed)
    shares = np.full(classes, rare / (classes - 1))
    shares[0] = 1 - rare
    labels = rng.choice(classes, n, p=shares)
    right, hard = np.eye(classes)[labels], rng.normal(size=(n, 1))
    member = rng.random((shadows + 1, n, 1)) < 0.5
    z = right * (skill + hard + memory * member) + rng.normal(size=(n, classes))
    z = z + 0.3 * rng.normal(size=(shadows + 1, n, classes)) + (0 if balanced else np.log(shares))
    p = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
    return labels, p[0], p[1:]


@pytest.mark.parametrize("share", [0.5, 0.58, 0.75])
@pytest.mark.parametrize("classes", [2, 3])
def test_models_that_know_the_shares_alone_are_not_said_to_be_sorted(share, classes):
    """Their answers fall from column to column, too, where classes are numbered by how frequent they are: SIMULATED."""
    rng, shares = (
        np.random.default_rng(0),
        np.array([share, *((1 - share) * np.array([[1.0], [0.6, 0.4]][classes - 2]))]),
    )
    labels = rng.choice(classes, N, p=shares)
    models = np.stack([rng.dirichlet(1000 * shares, N) for _ in range(5)])
    models = -np.sort(-models)
    for said in (consistency.of_answers(labels, models[0], models[1:]), consistency.of_target(labels, models[0])):
        assert not any("sorted" in text for text in said)


def test_models_of_rare_events_that_never_answer_them_are_not_said_to_be_sorted():
    """Of a file that keeps all positives and few of the others: SIMULATED."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 12, size=20 * N)
    event = rng.random(20 * N) < p
    kept = event | (rng.random(20 * N) < 0.05)
    labels, p = event[kept].astype(int), np.clip(p[kept] + 0.01 * rng.normal(size=(4, kept.sum())), 1e-3, 0.49)
    both = np.stack([1 - p, p], axis=-1)
    assert both[0, :, 0].mean() > (labels == 0).mean() + consistency.SURER
    for said in (consistency.of_answers(labels, both[0], both[1:]), consistency.of_target(labels, both[0])):
        assert not any("sorted" in text for text in said)


@pytest.mark.parametrize("seed", range(3))
def test_a_sigmoid_of_probabilities_is_told_and_models_of_such_a_share_are_not(seed):
    """Attacks found less without shadows, and a gate passed; SIMULATED."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=N)
    p = np.clip(labels + (1 - 2 * labels) * rng.beta(1, 4, size=(4, N)), 0, 1)
    twice = 1 / (1 + np.exp(-p))
    for models, told in ((p, False), (twice, True)):
        both = np.stack([1 - models, models], axis=-1)
        for said in (consistency.of_answers(labels, both[0], both[1:]), consistency.of_target(labels, both[0])):
            assert any("a sigmoid makes them of probabilities" in text for text in said) is told
    share = 0.5 + 0.231 * rng.beta(0.8, 0.8, size=(4, N))  # honest: class 1 is as frequent as they say
    labels = (rng.random(N) < share[0]).astype(int)
    both = np.stack([1 - share, share], axis=-1)
    for said in (consistency.of_answers(labels, both[0], both[1:]), consistency.of_target(labels, both[0])):
        assert not any("sigmoid" in text for text in said)


def test_logits_that_were_reshaped_by_columns_are_told():
    labels, target, shadows = world(0)

    def by_columns(p):
        z = np.log(p).ravel().reshape(C, -1).T
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    (said,) = consistency.of_answers(labels, by_columns(target), np.stack([by_columns(p) for p in shadows]))
    assert "yet they agree" in said and "or all answers were reshaped by columns where rows were meant" in said


@pytest.mark.parametrize("seed", range(3))
def test_models_of_balanced_weights_are_not_accused(seed):
    """Right on 75 %, where 94 % are of one class: "the labels seem to be in another order", it was said."""
    labels, target, shadows = unequal(seed)
    assert (target.argmax(axis=1) == labels).mean() < 0.85 < (labels == 0).mean()
    assert consistency.of_answers(labels, target, shadows) == ()
    assert consistency.of_service(labels, target.argmax(axis=1), 2, 0.99) == ()
    order = np.random.default_rng(seed).permutation(len(labels))
    (found,) = consistency.of_answers(labels[order], target, shadows)
    assert "labels seem to be in another order than the answers" in found
    (found,) = consistency.of_answers(labels, target[order], shadows)
    assert "its rows seem to be in another order" in found
    (found,) = consistency.of_answers(1 - labels, target, shadows)
    assert "class 0 is column 1, 1 is column 0" in found


def accused(seeds):
    """Honest files that are doubted, and how many were looked at."""
    kinds = [
        dict(rare=rare, skill=skill, balanced=balanced, classes=classes, n=n)
        for rare in (0.01, 0.06, 0.3)
        for skill in (0.5, 1.0, 3.0)
        for balanced in (True, False)
        for classes in (2, 12)
        for n in (300, 2000)
    ]
    found, looked = [], 0
    for options in kinds:
        for seed in seeds:
            labels, target, shadows = unequal(seed, **options)
            known = (shadows.argmax(axis=2) == labels).mean()
            looked += 2
            if said := consistency.of_answers(labels, target, shadows):
                found.append((options, seed, said))
            if said := consistency.of_service(labels, target.argmax(axis=1), target.shape[1], known):
                found.append((options, seed, said))
    return found, looked


def guessing(known, n=600, classes=10, seed=0):
    """Labels, and answers of models that know a share of the records each, and guess the others."""
    rng = np.random.default_rng(seed)
    labels, shape = rng.integers(classes, size=n), (len(known), n)
    answered = np.where(rng.random(shape) < np.array(known)[:, None], labels, rng.integers(classes, size=shape))
    p = np.eye(classes)[answered] * 0.5 + 0.05
    return labels, p[0], p[1:]


def test_models_that_hardly_learned_are_not_accused_of_guessing():
    """Digits, five epochs: half of the honest files had a doubt of the target or of a shadow, and no gate passed."""
    known = [0.15, 0.1, 0.3, 0.01, 0.2, 0.12, 0.02, 0.25, 0.18]
    for order in (np.arange(9), np.roll(np.arange(9), -3)):  # a shadow guesses; the target does, too
        told = guessing(np.array(known)[order])
        assert consistency.of_answers(*told) == consistency.notes(*told) == ()
    even = guessing([0.2] * 4 + [0.0] + [0.2] * 12)  # a shadow that is no such model as the others: a note
    (note,) = consistency.notes(*even)
    assert note.startswith("Shadow 3 (counted from 0) is right on") and consistency.of_answers(*even) == ()
    (doubt,) = consistency.of_answers(*guessing([0.9] * 4 + [0.0] + [0.9] * 4))
    assert doubt.startswith("Shadow 3 (counted from 0) is right on")
    (doubt,) = consistency.of_answers(*guessing([0.0] + [0.2] * 12))
    assert doubt.startswith("The target is right on")


def real(seed, model, count=9):
    """Answers of real models of digits, each trained on its own half, and who trained them."""
    x, labels = (each[:600] for each in load_digits(return_X_y=True))
    member = np.array([np.random.default_rng([seed, k]).permutation(600) < 300 for k in range(count)])
    p = np.stack([model(100 * seed + k).fit(x[m] / 16, labels[m]).predict_proba(x / 16) for k, m in enumerate(member)])
    return labels, p[0], p[1:], member[1:], member[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["5 epochs", "15 epochs", "few trees", "shallow trees"])
def test_real_models_of_short_trainings_are_not_doubted(kind):
    """Half of the files of networks of five epochs were, 2026-11-28."""
    models = {
        "5 epochs": lambda seed: MLPClassifier((32,), max_iter=5, random_state=seed),
        "15 epochs": lambda seed: MLPClassifier((32,), max_iter=15, random_state=seed),
        "few trees": lambda seed: RandomForestClassifier(3, max_samples=0.15, random_state=seed),
        "shallow trees": lambda seed: RandomForestClassifier(10, max_depth=2, random_state=seed),
    }
    doubted = []
    for seed in range(60):
        labels, target, shadows, trained, member = real(seed, models[kind])
        known = answer_formats.of_saved(target, shadows)
        if said := remarks.of_saved(Answered(labels, target, shadows), trained, member, known).doubts:
            doubted.append((seed, said))
    assert len(doubted) <= 1, doubted


@pytest.mark.slow
def test_files_of_unequal_classes_are_not_doubted():
    found, looked = accused(range(10))
    assert looked > 1400 and len(found) <= 1, found


def test_a_gate_fails_closed_where_there_is_doubt():
    found = {"attacks": {"lira": {"auc": {"value": 0.5}, "epsilon": {"low": 0.0, "provable": 3.0}}}}
    conditions = gate.parse("auc>0.9, lira:auc>0.9, epsilon>1")
    assert len(gate.enforce(conditions, found | {"doubts": []})) == 3
    with pytest.raises(gate.GateExceeded, match=r"auc>0\.9: any attack cannot tell \(labels shifted\); .*epsilon>1"):
        gate.enforce(conditions, found | {"doubts": ["labels shifted"]})


# --- in an audit -----------------------------------------------------------------------------------------------------


def audited(tmp_path, labels, target, shadows, shadow_member, member, **given):
    np.savez(
        tmp_path / "preds.npz",
        labels=labels,
        target=target,
        shadows=shadows,
        shadow_member=shadow_member,
        **({} if member is None else {"member": member}),
    )
    told = []
    given = dict(attacks="loss,lira", workdir=str(tmp_path / "run")) | given
    results = audits.run(DeployedConfig(predictions=str(tmp_path / "preds.npz"), **given), notify=told.append)
    return results, report.terminal_table(results), told


def test_doubts_come_first_in_an_audit(tmp_path):
    """In results.json, on the terminal and on the page; ``infer`` warns."""
    labels, target, shadows = world(0)
    rng = np.random.default_rng(1)
    member, shadow_member = rng.random(N) < 0.5, rng.random((S, N)) < 0.5
    results, table, told = audited(tmp_path, (labels + 1) % C, target, shadows, shadow_member, member)
    assert len(results["doubts"]) == 1 and any(line == f"warning: {results['doubts'][0]}" for line in told)
    assert table.startswith("The numbers below are in doubt. The target is right on")
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.index("The numbers below are in doubt.") < page.index("Can somebody who may only put questions")
    with pytest.raises(gate.GateExceeded, match=r"cannot tell .*seem to be shifted"):
        gate.enforce(gate.parse("auc>0.99"), results)
    with pytest.warns(AnswersWarning, match="seem to be shifted"):
        infer("loss", labels=(labels + 1) % C, target=target, shadows=shadows, shadow_member=shadow_member)


@pytest.mark.parametrize("known", [True, False])
def test_what_a_design_gives_away_is_not_used_and_said(tmp_path, known):
    """The target's partner, and a share that is not its own."""
    rng = np.random.default_rng(2)
    halves = [rng.permutation(N) < N // 2 for _ in range(4)]
    plan = np.array([side for h in halves for side in (h, ~h)])
    labels, target, shadows = world(0, shadows=7, trained=plan)
    results, table, told = audited(tmp_path, labels, target, shadows, plan[1:], plan[0] if known else None)
    (note,) = results["shadows"]["notes"]
    assert results["shadows"]["count"] == 6 and note.startswith("Shadow 0 (counted from 0) is left out: ")
    assert " ".join(table.split()).count(note) == 1 and f"warning: {note}" in told and results["doubts"] == []
    if known:
        assert note.removesuffix(".") in (tmp_path / "run" / "report.html").read_text().replace("&#39;", "'")
    asked = dict(labels=labels, target=target, shadows=shadows, shadow_member=plan[1:])
    with pytest.warns(AnswersWarning, match="Shadow 0 .* is left out"):
        score = infer("lira", **asked)
    np.testing.assert_array_equal(score, infer("lira", **asked | {"shadows": shadows[1:], "shadow_member": plan[2:]}))


def test_another_share_is_said_and_what_tells_is_refused(tmp_path):
    rng = np.random.default_rng(3)
    member, shadow_member = rng.random(N) < 0.8, rng.random((S, N)) < 0.5
    labels, target, shadows = world(0, trained=np.concatenate([member[None], shadow_member]))
    results, table, _ = audited(tmp_path, labels, target, shadows, shadow_member, member)
    assert results["shadows"]["notes"][0].startswith("The target was trained on 8") and "Attacks find most" in table
    with pytest.warns(AnswersWarning, match="The target was trained on 8"):
        infer("loss", labels=labels, target=target, shadows=shadows, shadow_member=shadow_member, member=member)
    hidden = shadow_member & ~member
    with pytest.raises(InputError, match="shadow_member tells who trained the target"):
        audited(tmp_path, labels, target, shadows, hidden, member, workdir=str(tmp_path / "other"))
    with pytest.raises(InputError, match="shadow_member tells who trained the target"):
        infer("lira", labels=labels, target=target, shadows=shadows, shadow_member=hidden, member=member)
