"""From saved predictions to scores."""

import warnings

import attack_worlds as worlds
import jax
import numpy as np
import pytest

from mia_jax.attacks import ATTACKS
from mia_jax.audits.deployed.infer import infer
from mia_jax.targets import black_box
from mia_jax.types import InputError

N = 240
WORLD = worlds.gaussian(41, N, 8, shift=3.0)
SHADOWS = worlds.others(WORLD)
P = np.exp(worlds.answers(WORLD.phi, WORLD.y))
POPULATION = worlds.gaussian(42, 90, 8, silent=range(8))
Q = np.exp(worlds.answers(POPULATION.phi, POPULATION.y))


def given(**changed):
    return dict(labels=WORLD.y, target=P[0], shadows=P[SHADOWS], shadow_member=WORLD.member[SHADOWS]) | changed


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_scores_are_those_of_the_attack_on_the_same_answers(name):
    scores = infer(name, **given())
    assert scores.dtype == np.float64 and scores.shape == (N,)
    _, expected = worlds.play(ATTACKS[name](4), WORLD)
    np.testing.assert_allclose(scores, expected, rtol=1e-2, atol=2e-4)  # float32 probabilities hold fewer digits


@pytest.mark.integration
def test_shokri_works_too():
    attack = ATTACKS["shokri"](4, num_steps=200)
    scores = infer(attack, **given(), key=jax.random.key(3))
    np.testing.assert_array_equal(scores, infer(attack, **given(), key=jax.random.key(3)))
    assert scores[WORLD.member[0]].mean() > scores[~WORLD.member[0]].mean()


def test_a_population_is_a_dict_or_a_tuple():
    one = dict(labels=POPULATION.y, target=Q[0], shadows=Q[SHADOWS])
    scores = infer("rmia", **given(), population=one)
    np.testing.assert_array_equal(scores, infer("rmia", **given(), population=tuple(one.values())))
    assert not np.array_equal(scores, infer("rmia", **given()))
    for wrong in (dict(one, shadows=Q[SHADOWS[:2]]), dict(one, more=1), (one["labels"], one["target"]), Q[0]):
        with pytest.raises(InputError, match="population"):
            infer("rmia", **given(), population=wrong)


def test_lists_and_other_floats_will_do():
    scores = infer("loss", **given())
    lists = infer(
        "loss", **given(labels=WORLD.y.tolist(), target=P[0].tolist(), shadow_member=WORLD.member[SHADOWS].astype(int))
    )
    np.testing.assert_allclose(lists, scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(infer("loss", **given(target=P[0].astype(np.float64))), scores, rtol=1e-5, atol=1e-6)


NAMES = np.array(["low", "mid", "high", "top"])
LABELS = {  # labels of four classes, and what is said of them
    "floats": (lambda y: y.astype(float), ""),
    "objects": (lambda y: y.astype(object), ""),
    "text of numbers": (lambda y: y.astype(str), ""),
    "a column": (lambda y: y[:, None], ""),
    "one-hot": (lambda y: np.eye(4)[y], "one-hot"),
    "text": (lambda y: np.array([*"abcd"])[y], "a is 0, b is 1, c is 2, d is 3. The answers' columns must be"),
    "a list": (lambda y: np.array([*"abcd"])[y].tolist(), "a is 0"),
    "a categorical": (
        lambda y: pytest.importorskip("pandas").Categorical(NAMES[y], categories=NAMES),
        "low is 0, mid is 1, high is 2, top is 3",
    ),
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_are_read_as_those_of_an_audit_in_one_call(form):
    """Floats and text were refused: "labels are integers [n]"."""
    make, told = LABELS[form]
    population = dict(labels=make(POPULATION.y), target=Q[0], shadows=Q[SHADOWS])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scores = infer("rmia", **given(labels=make(WORLD.y)), population=population)
    assert told in " ".join(str(line.message) for line in said) and bool(said) == bool(told)
    population = dict(labels=POPULATION.y, target=Q[0], shadows=Q[SHADOWS])
    np.testing.assert_array_equal(scores, infer("rmia", **given(), population=population))


def test_rounded_answers_are_clipped_at_their_precision():
    rounded = np.round(P, 2)
    scores = infer("lira_fixed", **given(target=rounded[0], shadows=rounded[SHADOWS]))
    assert np.isfinite(scores).all() and scores[WORLD.member[0]].mean() > scores[~WORLD.member[0]].mean()


@pytest.mark.parametrize(
    "name, needs",
    [
        ("quantile", "features"),
        ("label_only", "features and queries"),
        ("boundary", "features and queries"),
        ("trajectory", "features and queries and trainer"),
    ],
)
def test_attacks_that_need_more_than_answers_are_refused(name, needs):
    with pytest.raises(InputError, match=f"{name} needs {needs}"):
        infer(name, **given())


def test_an_attack_with_queries_is_refused():
    with pytest.raises(InputError, match="queries"):
        infer(ATTACKS["lira"](4, augment=lambda key, x: x[None]), **given())


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(labels=WORLD.y[:-1]), "labels are classes"),
        (dict(labels=WORLD.y + 0.5), "labels are not whole numbers"),
        (dict(labels=WORLD.y + 1), "the largest is 4, .* 4 columns: .* count from 1, so give labels - 1"),
        (dict(labels=np.array([*"abcd"])[WORLD.y % 3]), r"name 3 classes \(a, b, c\), and the answers have 4 columns"),
        (dict(target=P[0, :, 0]), "target holds probabilities"),
        (dict(target=P[0][:, :3]), "shadows hold probabilities"),
        (dict(shadows=P[0]), "shadows hold probabilities"),
        (dict(shadows=P[:0], shadow_member=WORLD.member[:0]), "one shadow at least"),
        (dict(shadow_member=WORLD.member[:3]), "shadow_member is"),
        (dict(shadow_member=np.full((6, N), 2)), "something else than true and false"),
        (dict(shadow_member=np.zeros((6, N), bool)), "no shadow model trained"),
        (dict(shadow_member=np.ones((6, N), bool)), "every shadow model trained"),
    ],
)
def test_what_does_not_fit_is_one_line(changed, message):
    with pytest.raises(InputError, match=message) as error:
        infer("lira", **given(**changed))
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="there are shokri, gap, loss"):
        infer("lyra", **given())


def test_a_row_that_is_no_distribution_is_named():
    shadows = P[SHADOWS].copy()
    shadows[2, 17, 1] = np.nan
    with pytest.raises(black_box.WrongAnswer, match="record 17 cannot be used: shadow 2: the probability of class 1"):
        infer("lira", **given(shadows=shadows))
    with pytest.raises(black_box.WrongAnswer, match=r"record 3 .* target: .* sum to"):
        infer("lira", **given(target=P[0] * np.where(np.arange(N) == 3, 0.5, 1)[:, None]))
