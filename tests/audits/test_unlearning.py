"""Unlearning judged from answers and from functions."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.unlearning import unlearning
from mia_jax.audits.unlearning_functions import audit_unlearning
from mia_jax.plans import splits
from mia_jax.types import InputError

K, N = 16, 120
RNG = np.random.default_rng(0)
FORGOTTEN = splits.membership_matrix(splits.balanced(jax.random.key(0), N, K), N)
HARD = RNG.normal(size=N)
RETRAINED = HARD + RNG.normal(size=(K, N))
PLAIN = HARD + RNG.normal(size=(K, N))
Y = RNG.integers(2, size=N)


def answers(signal):
    """Probabilities of two classes [K, n, 2], whose scaled logit is the signal."""
    p = 1 / (1 + np.exp(-signal))
    return np.where(Y[:, None] == np.arange(2), p[..., None], 1 - p[..., None])


def test_models_that_forgot_nothing_are_caught_by_both_games():
    found = unlearning(PLAIN + 2 * FORGOTTEN, RETRAINED, forgotten=FORGOTTEN, original=PLAIN + 2 * FORGOTTEN)
    assert found.privacy.auc.low > 0.8 and found.efficacy.auc.low > 0.8 and found.before == found.privacy
    assert np.median(found.privacy_by_record) > 1 and np.median(found.efficacy_by_record) > 1
    assert "can be told from records that the model never saw" in found.verdict
    assert "too little is forgotten" in found.verdict and "Before unlearning" in found.verdict
    assert (found.models, found.retrained, found.targets) == (K, K, 8)


def test_what_is_pushed_too_far_is_told_too():
    found = unlearning(PLAIN - 2 * FORGOTTEN, RETRAINED, forgotten=FORGOTTEN)
    assert found.privacy.auc.low > 0.8 and "less sure: too much is" in found.verdict and found.before is None


def test_retrained_models_that_know_as_much_as_models_before_are_named():
    knowing = dict(forgotten=np.ones_like(FORGOTTEN), original=PLAIN + 2)
    for retrained in (RETRAINED + 2, PLAIN[::-1] + 2):  # trained on the forget set, or in the place of unlearned ones
        found = unlearning(PLAIN, retrained, **knowing)
        assert "less sure: too much is forgotten" in found.verdict
        assert "the retrained ones were trained on these records, too, or are in the place of" in found.verdict
    assert "in the place of" not in unlearning(PLAIN + 1, RETRAINED, **knowing).verdict


def test_a_model_that_is_worse_as_a_whole_leaks_no_record():
    found = unlearning(PLAIN - 2, RETRAINED, forgotten=FORGOTTEN)
    assert found.privacy.auc.low < 0.5 < found.privacy.auc.high and found.efficacy.auc.low > 0.8


def test_retrained_models_are_not_accused():
    found = unlearning(PLAIN, RETRAINED, forgotten=FORGOTTEN)
    for judged in (found.privacy, found.efficacy):
        assert judged.auc.low < 0.5 < judged.auc.high and judged.accuracy.low < 0.5 < judged.accuracy.high
    assert found.verdict.count("not told") == 2 and str(found).startswith(found.verdict)
    assert found.json()["efficacy"]["auc"]["value"] == found.efficacy.auc.value


def test_answers_are_read_in_whatever_form():
    unlearned = PLAIN + FORGOTTEN
    p, q = answers(unlearned), answers(RETRAINED)
    expected = unlearning(unlearned, RETRAINED, forgotten=FORGOTTEN)
    for of_unlearned, of_retrained in ((p, q), (np.log(p), np.log(q)), (p[..., 1], q[..., 1])):
        found = unlearning(of_unlearned, of_retrained, Y, forgotten=FORGOTTEN)
        assert found.privacy.auc.value == pytest.approx(expected.privacy.auc.value, abs=1e-3)
        right = (p.argmax(-1) == Y)[~FORGOTTEN].mean()
        assert found.accuracy["unlearned"] == pytest.approx(right) and "Accuracy" in found.verdict


def test_one_model_of_somebodys_is_judged_alone():
    found = unlearning(PLAIN + 3 * FORGOTTEN, RETRAINED, forgotten=FORGOTTEN, targets=1)
    assert found.privacy.auc.low > 0.8 and found.efficacy.auc.low is None
    assert "judge several" in found.verdict


def test_without_records_that_were_never_seen_there_is_one_game():
    found = unlearning(PLAIN + 2, RETRAINED)
    assert found.privacy is None and found.privacy_by_record is None and found.efficacy.auc.low > 0.8
    assert "none to tell the forgotten ones from" in found.verdict


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(retrained=RETRAINED[:, :5]), "about the same records"),
        (dict(unlearned=answers(PLAIN)[..., None]), "answers of several models"),
        (dict(forgotten=FORGOTTEN[:3]), "forgotten is bool"),
        (dict(forgotten=np.zeros((K, N), bool)), "unlearned model 0 forgot none"),
        (dict(targets=15), "two more of each"),
        (dict(unlearned=np.full((K, N), np.nan)), "finite numbers"),
        (dict(original=PLAIN[:2]), "same models and records"),
        (dict(unlearned=answers(PLAIN), retrained=answers(RETRAINED)), "no labels"),
        (dict(unlearned=answers(PLAIN), retrained=answers(RETRAINED), labels=Y + 1), "between 0 and 1"),
        (dict(unlearned=answers(PLAIN), retrained=answers(RETRAINED), labels=Y[:3]), "labels are integers"),
        (dict(unlearned=answers(PLAIN), retrained=answers(PLAIN) * np.nan, labels=Y), "retrained, model 0"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(changed, message):
    with pytest.raises(InputError, match=message) as caught:
        unlearning(**dict(unlearned=PLAIN, retrained=RETRAINED, forgotten=FORGOTTEN) | changed)
    assert "\n" not in str(caught.value)


X, LABELS = np.random.default_rng(1).random((400, 4)), np.arange(400) % 2


def tree(x, y, *, seed):
    return DecisionTreeClassifier(random_state=seed, max_features=2).fit(x, y)


def test_functions_train_and_unlearn_and_retraining_is_the_control():
    told = []

    def nothing(model, retain, forget, *, seed):
        told.append((len(retain[0]), len(forget[1]), seed))
        return model

    found = mia.audit_unlearning(tree, nothing, X, LABELS, num_models=8)
    assert found.privacy.auc.low > 0.5 and found.before == found.privacy
    assert {t[:2] for t in told} == {(360, 20)} and len({t[2] for t in told}) == 8
    control = audit_unlearning(
        tree, lambda model, retain, forget, *, seed: tree(*retain, seed=seed), X, LABELS, num_models=8
    )
    assert control.privacy.auc.low < 0.5 < control.privacy.auc.high
    asked = audit_unlearning(
        tree, nothing, X, LABELS.astype(str), num_models=8, predict=lambda model, x: model.predict_proba(x)
    )
    assert asked.privacy == found.privacy and asked.accuracy == found.accuracy


def forest(x, y, *, seed):
    return RandomForestClassifier(10, random_state=seed).fit(x, y)


def test_an_unlearner_that_keeps_what_it_should_forget_is_doubted():
    """Its parameters' names say nothing; it was a perfect unlearner that was condemned, without a word."""
    honest = audit_unlearning(forest, lambda model, a, b, seed: forest(*a, seed=seed), X, LABELS, num_models=8)
    found = audit_unlearning(forest, lambda model, a, b, seed: forest(*b, seed=seed), X, LABELS, num_models=8)
    (doubt,) = found.doubts
    assert "are forget and retain exchanged?" in doubt and honest.doubts == () and str(found).startswith("Doubt: ")


@pytest.mark.parametrize(
    "unlearn",
    [
        lambda model, forget, retain, *, seed: model,
        lambda model, to_delete, x, *, seed: model,
        lambda model, data, kept, seed: model,
        lambda model, forgottenSet, all_but_forgotten, seed: model,
    ],
)
def test_an_unlearner_that_takes_forget_first_is_refused_before_any_work(unlearn):
    def no_fit(x, y, *, seed):
        raise AssertionError("it trained")

    with pytest.raises(InputError, match=r"by position, .*Exchange the two parameters, or give unlearn=lambda"):
        audit_unlearning(no_fit, unlearn, X, LABELS, num_models=8)


@pytest.mark.parametrize(
    "unlearn",
    [
        lambda model, retain, forget, *, seed: model,
        lambda model, keep, deleted, seed: model,
        lambda model, all_but_forgotten, forgotten, seed: model,
        lambda model, first, second, seed: model,
        lambda *given, seed: given[0],
        lambda model, not_forgotten, rows, seed: model,
    ],
)
def test_an_unlearner_whose_names_are_in_order_or_say_nothing_is_taken(unlearn):
    assert audit_unlearning(tree, unlearn, X, LABELS, num_models=8).doubts == ()


def test_several_models_that_are_all_told_are_no_model_beside_one():
    """Four of eight were judged, each with an AUC of 1.000, and it said that one model tells nothing yet."""
    found = unlearning(PLAIN + 50, RETRAINED, forgotten=FORGOTTEN)
    assert found.efficacy.auc.value == 1 and found.efficacy.auc.low is None and found.targets == 8
    assert "unlearned models can be told from retrained ones, AUC 1.000, without an interval (all 8" in found.verdict
    assert "judge several" not in found.verdict and "too little is forgotten" in found.verdict


def uniform(n, classes):
    return np.full((n, classes), 1 / classes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(num_forget=200), "fewer than half"),
        (dict(num_models=5), "use 6 models"),
        (dict(num_models=2), "two more of each"),
        (dict(unlearn=lambda model, retain, forget: model), "unlearn.*raised TypeError"),
        (dict(unlearn=lambda model, retain, forget, seed: None), "unlearned, model 0"),
        (dict(y=LABELS[:9]), "400 records"),
        (dict(predict=lambda model, x: uniform(len(x), 2 + (len(x) == 40))), "retrained, model 0, answers with 3"),
    ],
)
def test_functions_that_do_not_fit_are_refused_in_a_line(changed, message):
    given = dict(fit=tree, unlearn=lambda model, retain, forget, seed: model, x=X, y=LABELS, num_models=8) | changed
    with pytest.raises(InputError, match=message) as caught:
        audit_unlearning(**given)
    assert "\n" not in str(caught.value)


# --- the command -----------------------------------------------------------------------------------------------------


def command(*argv):
    """Of ``mia-jax unlearning``: exit code and what it printed."""
    program = [sys.executable, "-m", "mia_jax", "unlearning", *argv]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.integration
def test_the_command_says_of_a_file_what_python_says(tmp_path):
    path, out = tmp_path / "answers.npz", tmp_path / "found.json"
    arrays = dict(unlearned=answers(PLAIN + FORGOTTEN), retrained=answers(RETRAINED), labels=Y, forgotten=FORGOTTEN)
    np.savez(path, **arrays)
    code, printed, _ = command(f"--answers={path}", f"--out={out}", "--targets=6")
    expected = unlearning(**arrays, targets=6)
    assert code == 0 and printed.startswith(str(expected))
    assert json.loads(out.read_text(encoding="utf-8")) == expected.json()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arrays", "argv", "line"),
    [
        (dict(unlearned=PLAIN), [], "cannot be used: it has no array 'retrained', only 'unlearned'"),
        (dict(unlearned=PLAIN, retrained=RETRAINED[:1]), [], "give two more of each at least"),
        (dict(unlearned=PLAIN, retrained=RETRAINED), ["--out=found.txt"], "must be a .json in a folder that is there"),
        (None, [], "there is no file"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_line(tmp_path, arrays, argv, line):
    path = tmp_path / "answers.npz"
    if arrays is not None:
        np.savez(path, **arrays)
    code, printed, said = command(f"--answers={path}", *argv)
    assert code == 2 and printed == "" and line in said and said.startswith("error: ") and said.count("\n") == 1
