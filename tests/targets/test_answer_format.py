"""What answers are: their format is recognized, wrong ones are refused, and logarithms are as exact as answers are."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mia_jax.reports import words
from mia_jax.targets import answer_format, defenses
from mia_jax.types import Answers


def answers_of(rows, classes=4, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


def test_recognizes_full_precision_rounding_top_k_and_labels():
    p = answers_of(16)
    assert answer_format.recognize(p) == Answers(4, "probabilities", None)
    assert answer_format.recognize(p.astype(np.float32)) == Answers(4, "probabilities", None)
    for digits in range(1, 7):
        assert answer_format.recognize(p.round(digits)).digits == digits
        assert answer_format.recognize(p.round(digits).astype(np.float32)).digits == digits
    best = np.where(p >= np.sort(p)[:, -2:-1], p, 0)
    assert answer_format.recognize(best) == Answers(4, "top_k", k=2)
    assert answer_format.recognize(answer_format.one_hot(p.argmax(1), 4)) == Answers(4, "labels", None)


def test_a_class_that_was_never_learned_is_not_a_hidden_one():
    p = np.insert(answers_of(16), 2, 0, axis=1)
    assert answer_format.recognize(p) == Answers(5, "probabilities", None)
    assert answer_format.recognize(p[:1, [0, 1, 2]]).kind == "top_k"  # one row of them, and they do not sum to one


@pytest.mark.parametrize("least", [0.1, 0.2])
@pytest.mark.parametrize("digits", [None, 2])
def test_classes_below_a_threshold_may_not_be_told(least, digits):
    p = answers_of(400, classes=5) if digits is None else answers_of(400, classes=5).round(digits)
    told = np.where(p >= least, p, 0)[(p >= least).any(axis=1)]
    found = answer_format.recognize(told)
    assert found == Answers(5, "thresholded", digits, None, told[told > 0].min())
    assert not answer_format.faults(told, found)
    assert answer_format.faults(np.array([[0.5, 0.3, 0.4, 0, 0]]), found)
    log_p = answer_format.log_probabilities(told, found)
    assert log_p.min() == np.float32(np.log(found.least / 2))
    np.testing.assert_allclose(defenses.probabilities(log_p, found), told, atol=1e-6)
    rounded = ", rounded to 2 decimal digits" if digits else ""
    assert words.answers(found._asdict()) == f"those probabilities alone that are at least {found.least:.3g}{rounded}"


@pytest.mark.parametrize("chosen", ["temperature(2)", "round_to(1)", "bounded_noise(0.5)", "top_k(2)", "label_only()"])
def test_a_defense_of_thresholded_answers_leaves_a_format_that_has_words(chosen):
    """A report of a model behind temperature(2) could not be written."""
    after = defenses.compose(defenses.parse(chosen)).after(Answers(5, "thresholded", least=0.05))
    assert after.kind != "thresholded" and words.answers(after._asdict())
    finer = defenses.compose(defenses.parse("round_to(2)")).after(Answers(5, "thresholded", least=0.05))
    assert finer == Answers(5, "thresholded", 2, None, 0.05)


def test_rows_that_tell_no_class_or_more_than_there_is_are_not_thresholded():
    p = answers_of(400, classes=5)
    told = np.where(p >= 0.2, p, 0)
    for other in (np.where(np.arange(400)[:, None] == 3, 0, told), told + 0.3 * (np.arange(400)[:, None] == 3)):
        assert answer_format.recognize(other).kind == "probabilities"


@pytest.mark.parametrize("votes", [5, 7, 20])
def test_a_class_whose_column_is_missing_is_not_below_a_threshold_where_models_vote(votes):
    p = np.random.default_rng(0).multinomial(votes, np.ones(20) / 20, 600) / votes
    p = p[:, :-1][p[:, :-1].any(axis=1)]
    assert answer_format.recognize(p).kind == "probabilities"


def test_a_class_whose_column_is_missing_is_not_below_a_threshold():
    votes = np.random.default_rng(0).multinomial(20, [0.4, 0.3, 0.2, 0.1], 400) / 20
    assert answer_format.recognize(votes).kind == "probabilities"
    assert answer_format.recognize(votes[:, :3]).kind == "probabilities"
    assert len(answer_format.faults(votes[:, :3], answer_format.recognize(votes[:, :3]))) > 200


def test_sure_answers_are_not_taken_for_rounded_ones():
    p = np.array([[1 - 1e-9, 1e-9], [1 - 3e-12, 3e-12]])
    assert answer_format.recognize(p).digits is None


@hypothesis.given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 2**32 - 1))
@hypothesis.settings(deadline=None, max_examples=50)
def test_rounded_answers_pass_as_recognized(digits, classes, seed):
    p = answers_of(16, classes, seed).round(digits)
    hypothesis.assume((p.sum(axis=1) > 0).all())
    assert answer_format.faults(p, answer_format.recognize(p)) == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0.2, np.nan, 0.3, 0.5], "class 1 is not finite"),
        ([0.2, np.inf, 0.3, 0.5], "class 1 is not finite"),
        ([1.2, 0.1, 0.1, -0.4], "class 3 is negative"),
        ([0.2, 0.2, 0.2, 0.2], "sum to 0.8"),
        ([3.0, 1.0, 2.0, 0.0], "sum to 6"),
    ],
)
def test_a_wrong_answer_names_its_record_and_the_reason(row, reason):
    p = answers_of(9)
    p[6] = row
    with pytest.raises(answer_format.WrongAnswer, match=f"record 6 .*{reason}") as error:
        answer_format.check(p, Answers(4), 9)
    assert error.value.record == 6
    assert list(answer_format.faults(p, Answers(4))) == [6]


def test_a_missing_answer_is_refused():
    with pytest.raises(answer_format.TargetError, match="9 records"):
        answer_format.check(answers_of(8), Answers(4), 9)
    with pytest.raises(answer_format.TargetError, match=r"\(9, 5\)"):
        answer_format.check(answers_of(9), Answers(5), 9)


def test_logs_are_exact_where_answers_are_and_floored_where_they_are_not():
    p = np.array([[1.0, 0.0], [1.0, 1e-30]])
    exact = answer_format.log_probabilities(p, Answers(2))
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, [[0, np.log(np.finfo(np.float32).tiny)], [0, np.log(1e-30)]], rtol=1e-6)
    rounded = answer_format.log_probabilities(np.array([[1.0, 0.0], [0.99, 0.01]]), Answers(2, digits=2))
    np.testing.assert_allclose(rounded, np.log([[1, 0.005], [0.99, 0.01]]), rtol=1e-6)
    half = answer_format.log_probabilities(np.array([[1.0, 0.0]], np.float16), Answers(2))
    np.testing.assert_allclose(half[0, 1], np.log(float(np.finfo(np.float16).tiny)), rtol=1e-6)


@pytest.mark.parametrize("trees", [8, 20, 30])
def test_votes_of_trees_are_multiples(trees):
    votes = np.random.default_rng(0).multinomial(trees, [0.6, 0.3, 0.1], 400) / trees
    known = answer_format.recognize(votes)
    assert answer_format.steps(answer_format.log_probabilities(votes, known), known) == trees
    assert words.answers(known._asdict() | {"steps": trees}) == (
        f"probabilities that are multiples of 1/{trees}, as of {trees} trees or votes"
    )


def test_other_answers_with_zeros_are_no_votes():
    rng = np.random.default_rng(0)
    leaves = rng.choice([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 2 / 3, 0], [0, 0.25, 0.75]], 400)  # of one tree
    p = rng.dirichlet(np.ones(3), 400)
    p[::3] = [1, 0, 0]
    for answers in (leaves, p):
        known = answer_format.recognize(answers)
        assert known.least is not None
        assert answer_format.steps(answer_format.log_probabilities(answers, known), known) is None
    full = answer_format.recognize(rng.dirichlet(np.ones(3), 400))
    assert answer_format.steps(np.zeros((1, 3)), full) is None
