"""Files at the ends of what is allowed: one shadow, all members or none, few records, float16. All is simulated."""

import numpy as np
import pytest
from test_memorization import world

from mia_jax.audits.deployed import answer_formats, numbers, remarks
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.checks import alone
from mia_jax.checks.labels import unlike_columns
from mia_jax.checks.membership import blind_guesses


def said(told, member):
    known = answer_formats.of_saved(told["target"], told["shadows"])
    return remarks.of_saved(
        Answered(told["labels"], told["target"], told["shadows"]), told["shadow_member"], member, known
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_target_of_another_temperature_beside_one_shadow_is_remarked_upon(known):
    """It was an exception: of one shadow there are no others with which it is compared."""
    told = world(0, n=300, shadows=1)
    cooled = told["target"] ** 6
    told["target"] = cooled / cooled.sum(axis=1, keepdims=True)
    doubts, notes = said(told, told["member"] if known else None)
    assert doubts == () and any("it may have been calibrated" in note for note in notes)


def test_numbers_of_a_target_whose_records_are_all_members_are_compared_with_nothing():
    """They were "smaller than the shadows' by nan times the range", for no record is new to the target."""
    rng = np.random.default_rng(0)
    models, trained = -rng.gamma(1, 1, size=(6, 300)), rng.random((5, 300)) < 0.5
    assert numbers.remarks(models[0], models[1:], trained, np.ones(300, bool)) == ((), ())


def test_a_target_without_members_is_not_asked_whether_it_knows_them():
    """The share of no records was divided by their number."""
    told = world(0, n=60)
    for look in (alone.doubts, alone.notes):
        assert look(told["labels"], told["target"], np.zeros(60, bool)) == ()


def test_answers_of_half_precision_that_favor_the_same_classes_are_compared_without_a_warning():
    """1e-12 is 0 there, and 0 was divided by it."""
    p = np.random.default_rng(0).dirichlet([1, 1], 300).astype(np.float16)
    assert unlike_columns.notes(p, np.stack([p] * 5)) == ()


def test_one_record_tells_nothing_by_its_hardness():
    """Its variance has no degree of freedom, and NumPy warned of that."""
    sure, trained = np.full((2, 3), 0.5), np.array([[True, True, False], [False, True, False]])
    assert blind_guesses.by_hardness(sure, trained, np.array([True, False, True])) is None


@pytest.mark.slow
@pytest.mark.parametrize("shadows", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("of", ["random", "all members", "no members", "one class", "labels", "constant", "float16"])
def test_whatever_is_allowed_is_looked_at_without_an_exception(of, shadows):
    for n in (1, 2, 3, 10, 39, 45, 60, 120, 300):
        for classes in (2, 3, 10):
            for memory in (0.0, 3.0):
                rng = np.random.default_rng(n + classes)
                y, trained = rng.integers(0, classes, n), rng.random((1 + shadows, n)) < 0.5
                if of in ("all members", "no members"):
                    trained[0] = of == "all members"
                y = np.zeros_like(y) if of == "one class" else y
                z = rng.normal(size=(n, classes)) + 0.7 * rng.normal(size=(1 + shadows, n, classes))
                z[:, np.arange(n), y] += 2.0 + memory * trained
                p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
                p = np.eye(classes)[p.argmax(axis=-1)] if of == "labels" else p
                p = np.full_like(p, 1 / classes) if of == "constant" else p
                p = p.astype(np.float16) if of == "float16" else p
                told = dict(labels=y, target=p[0], shadows=p[1:], shadow_member=trained[1:])
                numbered = np.log(np.maximum(p[:, np.arange(n), y].astype(np.float64), 1e-9))
                for member in (trained[0], None):
                    for doubts_or_notes in (
                        said(told, member),
                        numbers.remarks(numbered[0], numbered[1:], trained[1:], member),
                        (alone.doubts(y, p[0], member), alone.notes(y, p[0], member)),
                    ):
                        assert not any("nan" in text for texts in doubts_or_notes for text in texts)
