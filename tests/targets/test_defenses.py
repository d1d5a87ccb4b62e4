"""Defenses at the answer: limits that are identities, nothing hidden leaks, and what is said of the answers is true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_jax.targets import answer_format, black_box, defenses
from mia_jax.types import Answers, InputError

B, C = 64, 7
TEXTS = [
    "top_k(3)",
    "top_k(1)",
    "label_only()",
    "round_to(1)",
    "round_to(3)",
    "temperature(5)",
    "bounded_noise(0.4)",
    "top_k(3),round_to(2)",
    "round_to(2),top_k(3)",
    "temperature(2),bounded_noise(1,seed=3),round_to(4),top_k(2)",
]


def answers_of(b=B, c=C, spread=3.0, seed=0):
    """Simulated answers: log-probabilities [b, c], float32."""
    z = np.random.default_rng(seed).normal(size=(b, c)) * spread
    return np.asarray(jax.nn.log_softmax(jnp.asarray(z, jnp.float32)))


def distance(a, b):
    """L1 of probabilities, [b]."""
    return np.abs(np.exp(np.float64(a)) - np.exp(np.float64(b))).sum(axis=1)


def composed(text):
    return defenses.compose(defenses.parse(text))


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("defense", [defenses.top_k(C), defenses.top_k(C + 1), defenses.bounded_noise(0), composed("")])
def test_identities_to_the_last_bit(defense):
    log_p = answers_of() - np.float32(90) * np.eye(B, C, dtype=np.float32)  # beyond every floor, too
    np.testing.assert_array_equal(defense(log_p), log_p)
    assert defense.after(Answers(C)) == Answers(C)


def test_temperature_1_and_7_digits_are_identities():
    log_p = answers_of()
    np.testing.assert_allclose(defenses.temperature(1)(log_p), log_p, atol=2e-6)
    np.testing.assert_allclose(np.exp(defenses.round_to(7)(log_p)), np.exp(log_p), rtol=1e-6, atol=1e-7)


def test_noise_of_the_largest_budget_leaves_the_label_alone():
    """The mean confidence of a uniform draw from the simplex, sorted, whatever the answer was."""
    for spread in (1.0, 10.0):
        p = np.exp(defenses.bounded_noise(2)(answers_of(2000, 4, spread)))
        assert abs(p.max(axis=1).mean() - (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4) < 0.015  # five standard errors


# --- each does what it says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_tells_the_k_largest_and_no_more(k):
    log_p = answers_of()
    shown = np.asarray(defenses.top_k(k)(log_p))
    for row, was in zip(shown, log_p, strict=True):
        best = np.argsort(-was, kind="stable")[:k]
        np.testing.assert_array_equal(row[best], was[best])
        assert np.all(np.delete(row, best) == defenses.HIDDEN)


def test_ties_are_told_by_class_and_not_by_what_was_hidden():
    log_p = np.log(np.float32([[0.101, 0.298, 0.302, 0.299]]))
    shown = composed("round_to(2),top_k(2)")(log_p)
    np.testing.assert_allclose(np.exp(shown), [[0.005, 0.30, 0.30, 0.005]], rtol=1e-5)
    np.testing.assert_allclose(np.exp(composed("round_to(1),label_only()")(log_p)), [[0, 1, 0, 0]], atol=1e-30)


def test_the_label_alone():
    log_p = answers_of()
    shown = np.exp(defenses.label_only()(log_p))
    np.testing.assert_allclose(shown, np.eye(C)[log_p.argmax(axis=1)], atol=1e-30)


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_rounding_is_numpy_s_and_zeros_stand_at_half_a_unit(digits):
    log_p = answers_of()
    p = np.round(np.exp(np.float64(log_p)), digits)
    expected = answer_format.log_probabilities(p, Answers(C, digits=digits))
    np.testing.assert_allclose(defenses.round_to(digits)(log_p), expected, atol=3e-7)


def test_what_is_rounded_away_leaves_no_trace():
    a, b = np.log(np.float32([[0.9, 0.0998, 0.0002]])), np.log(np.float32([[0.9, 0.09999, 0.00001]]))
    for defense in ("round_to(2)", "round_to(2),top_k(2)", "top_k(2),round_to(2)", "top_k(1)", "label_only()"):
        np.testing.assert_array_equal(composed(defense)(a), composed(defense)(b))


@pytest.mark.parametrize("t", [0.5, 5.0, 20.0])
def test_temperature_is_that_of_the_logits(t):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(B, C)) * 3, jnp.float32)
    np.testing.assert_allclose(
        defenses.temperature(t)(jax.nn.log_softmax(z)), jax.nn.log_softmax(z / t), rtol=1e-5, atol=3e-6
    )


def test_temperature_does_not_bring_back_what_is_hidden():
    shown = np.asarray(composed("top_k(3),temperature(20)")(answers_of()))
    assert np.all((shown == defenses.HIDDEN).sum(axis=1) == C - 3)
    np.testing.assert_allclose(np.exp(shown).sum(axis=1), 1, rtol=1e-5)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([0.01, 0.3, 1.0, 2.0]), st.integers(0, 99), st.sampled_from([0.1, 3.0, 30.0]))
def test_noise_keeps_label_budget_and_sum(budget, seed, spread):
    log_p = answers_of(spread=spread, seed=seed)
    noised = np.asarray(defenses.bounded_noise(budget, seed)(log_p))
    np.testing.assert_array_equal(noised.argmax(axis=1), log_p.argmax(axis=1))
    assert np.all(distance(noised, log_p) <= budget + 1e-5)
    np.testing.assert_allclose(np.exp(np.float64(noised)).sum(axis=1), 1, atol=1e-5)


def test_noise_is_the_same_again_and_another_for_another_answer_or_seed():
    log_p, guard = answers_of(), defenses.bounded_noise(0.3)
    first = np.asarray(guard(log_p))
    np.testing.assert_array_equal(guard(log_p), first)
    np.testing.assert_allclose(guard(log_p[::-1]), first[::-1], atol=2e-6)
    assert np.all(distance(first, log_p) > 0.29)
    assert np.all(distance(defenses.bounded_noise(0.3, seed=1)(log_p), first) > 1e-3)
    p = np.exp(np.float64(first)) - np.exp(np.float64(log_p))  # what was added: no two records' alike
    assert np.abs(p[:, None] - p).max(axis=2)[~np.eye(B, dtype=bool)].min() > 1e-3


def test_noise_after_hiding_moves_only_what_is_told():
    told = np.asarray(defenses.top_k(3)(answers_of()))
    noised = np.asarray(defenses.bounded_noise(0.5)(told))
    np.testing.assert_array_equal(noised == defenses.HIDDEN, told == defenses.HIDDEN)
    np.testing.assert_allclose(np.exp(noised).sum(axis=1), np.exp(told).sum(axis=1), rtol=1e-5)
    labels = defenses.label_only()(told)
    np.testing.assert_allclose(defenses.bounded_noise(2)(labels), labels, atol=1e-6)


# --- several ---------------------------------------------------------------------------------------------------------


def test_the_first_is_the_innermost():
    log_p, (top, hot) = answers_of(), (defenses.top_k(2), defenses.temperature(3))
    np.testing.assert_array_equal(defenses.compose([top, hot])(log_p), hot(top(log_p)))
    np.testing.assert_array_equal(defenses.compose([hot, top])(log_p), top(hot(log_p)))
    assert np.abs(hot(top(log_p)) - top(hot(log_p))).max() > 0.1
    assert composed("top_k(3), round_to(2)").name == "top_k(3),round_to(2)"


@pytest.mark.parametrize("text", [*TEXTS[:-1], pytest.param(TEXTS[-1], marks=pytest.mark.integration)])
def test_inside_jit_as_on_the_host(text):
    log_p, defense = answers_of(), composed(text)
    host = defense(log_p)
    over_shadows = jax.vmap(defense)(np.stack([log_p[::-1], log_p]))[1]
    for inside in (jax.jit(defense)(log_p), over_shadows):
        assert inside.dtype == host.dtype == jnp.float32
        np.testing.assert_allclose(inside, host, rtol=1e-6, atol=1e-6)
        if "bounded_noise" not in text and "temperature" not in text:
            np.testing.assert_array_equal(inside, host)


@pytest.mark.parametrize("text", TEXTS)
def test_answers_are_what_they_are_said_to_be(text):
    """Served and taken in again they are the same, so shadows in process look like a remote target."""
    answers = defenses.compose(defenses.parse(text)).after(Answers(C))
    log_p = np.asarray(composed(text)(answers_of()))
    p = defenses.probabilities(log_p, answers)
    answer_format.check(p, answers, B)
    np.testing.assert_allclose(answer_format.log_probabilities(p, answers), log_p, rtol=1e-6, atol=3e-7)
    seen = answer_format.recognize(p)
    assert seen.classes == C and seen.digits == answers.digits
    # A rounded top-k answer may show less than k: then it cannot be told from rounding alone.
    assert seen.kind == answers.kind or answers == Answers(C, "top_k", answers.digits)


def test_a_defended_target_says_so_traced_or_not():
    log_p = answers_of()
    for traced in (True, False):
        worn = defenses.parse("temperature(2),round_to(2),top_k(3)")
        target = black_box.Target(lambda x: x, Answers(C), traced)
        target = black_box.defend(target, *worn, answers=defenses.compose(worn).after(target.answers))
        assert target.answers == Answers(C, "top_k", 2, k=3)
        assert isinstance(target.ask(log_p), jax.Array if traced else np.ndarray)
    composite = defenses.compose(worn)
    target = black_box.defend(target, composite, answers=composite.after(target.answers))
    assert target.answers == Answers(C, "top_k", 2, k=3)


# --- from text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("  ", []),
        ("label_only", ["label_only()"]),
        ("top_k(3),round_to(2)", ["top_k(3)", "round_to(2)"]),
        (" temperature( t = 2.5 ) , bounded_noise(.5, seed=7)", ["temperature(2.5)", "bounded_noise(0.5, 7)"]),
        ("memguard(.5)", ["bounded_noise(0.5, 0)"]),
    ],
)
def test_text(text, names):
    assert [defense.name for defense in defenses.parse(text)] == names
    again = ",".join(names)
    assert [defense.name for defense in defenses.parse(again)] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "topk(3)",
            r"no defense 'topk'; use top_k\(k\), label_only\(\), round_to\(digits\), at_least\(p\), "
            r"temperature\(t\), bounded_noise",
        ),
        ("top_k", r"missing a required argument: 'k'; use top_k\(k\)"),
        ("top_k(1,2)", "too many positional arguments"),
        ("top_k(3,n=3)", "unexpected keyword argument 'n'"),
        ("top_k(k=3,k=4)", "k is given twice"),
        ("top_k(three)", "'three' is not a number"),
        ("top_k(__import__)", "'__import__' is not a number"),
        ("top_k(2.5)", "k must be a whole number of at least 1"),
        ("top_k(0)", "k must be a whole number of at least 1"),
        ("round_to(8)", "digits must be a whole number from 1 to 7"),
        ("temperature(0)", "t must be above 0"),
        ("temperature(nan)", "t must be a number"),
        ("bounded_noise(3)", "from 0 to 2"),
        ("top_k(3),", "cannot be read from"),
        ("top_k(3);round_to(2)", "cannot be read from"),
        ("top_k(round_to(2))", "cannot be read from"),
        (",top_k(3)", "cannot be read from"),
    ],
)
def test_text_that_is_refused(text, message):
    with pytest.raises(InputError, match=message) as error:
        defenses.parse(text)
    assert "\n" not in str(error.value)
