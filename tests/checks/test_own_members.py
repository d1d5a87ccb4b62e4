"""Labels that models were not trained on, and models that remember nothing of their members, are remarked upon."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from mia_jax.audits.deployed import infer
from mia_jax.checks import alone
from mia_jax.checks.membership import own_members

N = 600
X, Y = make_classification(N, 12, n_informative=6, n_redundant=0, n_classes=4, flip_y=0.15, random_state=0)
MEMBER = np.array([np.random.default_rng(k).permutation(N) < N // 2 for k in range(7)])
NOISY = np.where(np.random.default_rng(0).random(N) < 0.4, np.random.default_rng(1).integers(4, size=N), Y)
KINDS = {
    "forest": lambda seed: RandomForestClassifier(20, random_state=seed),
    "logistic": lambda seed: LogisticRegression(max_iter=500),
    "Bayes": lambda seed: GaussianNB(),
    "network": lambda seed: MLPClassifier((32,), max_iter=40, learning_rate_init=0.02, random_state=seed),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", KINDS)
def test_noise_in_labels_and_models_of_all_records(kind):
    """Scores of noisy labels, and of shadows that trained on the whole file, came without a word."""

    def answers(everything):
        rows = [np.ones(N, bool) if everything else member for member in MEMBER]
        return np.stack([KINDS[kind](k).fit(X[one], Y[one]).predict_proba(X) for k, one in enumerate(rows)])

    p = answers(False)
    assert own_members.notes(Y, p[0], p[1:], MEMBER[1:], MEMBER[0]) == ()
    (said,) = own_members.notes(NOISY, p[0], p[1:], MEMBER[1:], MEMBER[0])
    assert "The labels may be others than those of the training (noise, another" in said
    p = answers(True)
    (said,) = own_members.notes(Y, p[0], p[1:], MEMBER[1:], MEMBER[0])
    assert "Shadows are no surer of the records that are said to have trained them than of the others (AUC 0." in said
    assert "models without it (out of bag, cross-validation)" in said


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_larger_probability_first_is_among_the_causes():
    """Of two columns, sorted: nothing but labels that are noise was named."""
    y = Y // 2
    p = np.stack([KINDS["forest"](k).fit(X[one], y[one]).predict_proba(X) for k, one in enumerate(MEMBER)])
    assert own_members.notes(y, p[0], p[1:], MEMBER[1:], MEMBER[0]) == ()
    p = -np.sort(-p)
    (said,) = own_members.notes(y, p[0], p[1:], MEMBER[1:], MEMBER[0])
    assert "none of them ever answers class 1, as where the larger probability comes first" in said


def test_labels_of_the_target_alone():
    """Shadows were trained on the labels in question, as those of a service are, and the target on others."""
    other = KINDS["forest"](0).fit(X[MEMBER[0]], Y[MEMBER[0]]).predict_proba(X)
    p = np.stack([KINDS["forest"](k).fit(X[one], NOISY[one]).predict_proba(X) for k, one in enumerate(MEMBER)])
    assert own_members.notes(NOISY, p[0], p[1:], MEMBER[1:], MEMBER[0]) == ()
    (said,) = own_members.notes(NOISY, other, p[1:], MEMBER[1:], MEMBER[0])
    assert said.startswith("The target is right on ") and "it was trained on other labels than these" in said
    with pytest.warns(infer.AnswersWarning, match="trained on other labels than these"):
        infer.infer("loss", labels=NOISY, target=other, shadows=p[1:], shadow_member=MEMBER[1:], member=MEMBER[0])


def test_signed_errors_of_shadows_in_pairs_are_noted():
    """SIMULATED: eight shadows in complementary pairs were passed over, as if they were few training sets."""
    rng = np.random.default_rng(0)
    half = np.array([rng.permutation(500) < 250 for _ in range(4)])
    trained = np.stack([half, ~half], axis=1).reshape(8, 500)
    error = rng.normal(size=500) * np.where(trained, 0.4, 1.0) + 0.3 * rng.normal(size=(8, 500))
    assert own_members.of_numbers(-(error**2), trained) == ()
    (said,) = own_members.of_numbers(error, trained)
    assert "predictions, or signed errors" in said


@pytest.mark.parametrize("other", [lambda p: p + 100, lambda p: p / 1000, lambda p: np.log(p)], ids=["+", "/", "log"])
def test_errors_beside_another_y_are_named(other):
    """Of real forests on diabetes: a thousandth of y was not said at all, 100 more was told as an order of rows."""
    x, y = load_diabetes(return_X_y=True)
    trained = np.random.default_rng(0).random((9, len(y))) < 0.5
    forests = [RandomForestRegressor(10, random_state=k).fit(x[mine], y[mine]) for k, mine in enumerate(trained)]
    p = np.stack([forest.predict(x) for forest in forests])
    assert own_members.of_numbers(-((p - y) ** 2), trained) == ()
    (said,) = own_members.of_numbers(-((other(p) - y) ** 2), trained)
    assert "errors beside another y (its unit, its logarithm)" in said


def test_a_target_that_gets_other_records_than_in_its_training_is_a_doubt():
    """It is right on fewer of its own members than shadows are of records that are new to them."""
    models = [KINDS["forest"](k).fit(X[one], Y[one]) for k, one in enumerate(MEMBER)]
    right = np.stack([one.predict(X) == Y for one in models])
    assert own_members.below_new(Y, right[0], MEMBER[0], right[1:], MEMBER[1:]) == ()
    for other in (X[:, ::-1], X / 16 - 5):
        wrong = models[0].predict(other) == Y
        (said,) = own_members.below_new(Y, wrong, MEMBER[0], right[1:], MEMBER[1:])
        assert "it seems to get records otherwise than in its training (unit, scaling, order of features)" in said
        assert own_members.below_new(Y, wrong, MEMBER[0], np.stack([wrong] * 4), MEMBER[1:5]) == ()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_what_a_target_predicts_given_as_labels_is_noted():
    """Without shadows nothing was said, and beside shadows of a network only now and then."""
    rows = [MEMBER[0], *MEMBER[1:]]
    for kind in ("network", "forest"):
        target = KINDS[kind](0).fit(X[MEMBER[0]], Y[MEMBER[0]]).predict_proba(X)
        own = target.argmax(axis=1)
        (said,) = own_members.never_wrong(own, target, MEMBER[0])
        assert said.startswith("The target is right on every record, also on all 300 that are said not to have")
        assert said in alone.notes(own, target, MEMBER[0])
        assert own_members.never_wrong(Y, target, MEMBER[0]) == ()
        shadows = np.stack([KINDS[kind](k).fit(X[one], own[one]).predict_proba(X) for k, one in enumerate(rows[1:])])
        assert own_members.notes(own, target, shadows, MEMBER[1:], MEMBER[0]) == (said,)
    rng = np.random.default_rng(0)
    moved = rng.uniform(-0.1, 0.1, (8, 6000, 1)) * [1, -1]
    nothing, trained = np.tile(np.eye(2) * 0.6 + 0.2, (1, 3000, 1)) + moved, rng.random((8, 6000)) < 0.5
    (note,) = own_members.notes(np.tile([0, 1], 3000), nothing[0], nothing, trained, trained[0])
    assert note.startswith("Shadows are no surer of the records")  # right on all, and remember none
    easy = np.tile(np.eye(2) * 0.99 + 0.005, (300, 1))  # a model that is right, and sure
    assert own_members.never_wrong(np.tile([0, 1], 300), easy, MEMBER[0]) == ()
