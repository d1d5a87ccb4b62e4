"""Rows at the border between members and others that are marked wrongly are named; honest files are not."""

import itertools
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.membership import run_ends
from mia_jax.checks.models.unlike_shadows import logits
from mia_jax.checks.signals import unlike_signals

X, Y = (each[np.random.default_rng(0).permutation(1797)[:600]] for each in load_digits(return_X_y=True))
N, HALF, SHADOWS = len(Y), 300, 8
KINDS = {
    "forest": lambda seed: RandomForestClassifier(40, random_state=seed),
    "trees": lambda seed: ExtraTreesClassifier(30, random_state=seed),
}


def answered(kind, trained, x=X, y=Y, seed=0):
    """Probabilities [n, 10] of a model that was trained on some of the records."""
    return KINDS[kind](seed).fit(x[trained], y[trained]).predict_proba(x)


@pytest.fixture(scope="module", params=KINDS)
def models(request):
    """Answers [1 + S, n, 10] and who trained them, bool [1 + S, n]: the target by the first half of the rows."""
    trained = np.array([np.random.default_rng(k).permutation(N) < HALF for k in range(1 + SHADOWS)])
    trained[0] = np.arange(N) < HALF
    return np.stack([answered(request.param, mine, seed=k) for k, mine in enumerate(trained)]), trained


def said(models, member, order=slice(None)):
    p, trained = models
    sure = logits(p[:, np.arange(N), Y])[:, order]
    return run_ends.doubts(sure[0], sure[1:], trained[1:, order], member[order])


@pytest.mark.parametrize("more", [30, 60])
def test_a_count_that_is_too_large_or_too_small_is_named(models, more):
    (doubt,) = said(models, np.arange(N) < HALF + more)
    assert "are answered by the target as records that are new to it" in doubt and f"to {HALF + more - 1})" in doubt
    (doubt,) = said(models, np.arange(N) < HALF - more)
    assert f"(rows {HALF - more} to " in doubt and "are answered by the target as its members are" in doubt
    assert "n_train was counted" in said(models, np.arange(N) < HALF + more, slice(None, None, -1))[0]  # others first


def test_honest_files_are_not(models):
    member = models[1][0]
    orders = {
        "as they came": np.arange(N),
        "by class": np.lexsort([Y, ~member]),
        "by hardness": np.lexsort([models[0][1:, np.arange(N), Y].mean(axis=0), ~member]),
        "drawn one by one": np.random.default_rng(0).permutation(N),
    }
    assert {name: said(models, member, order) for name, order in orders.items()} == dict.fromkeys(orders, ())


def test_an_audit_says_it_and_of_numbers_too():
    trained = np.array([np.random.default_rng(k).permutation(N) < HALF for k in range(1 + SHADOWS)])
    trained[0] = np.arange(N) < HALF
    p = np.stack([answered("forest", mine, seed=k) for k, mine in enumerate(trained)])
    member = np.arange(N) < HALF + 45  # 45 rows were dropped after they were counted
    place = r"the last 4\d of 345 rows \((rows 30\d to 344)\)"
    with pytest.warns(AnswersWarning, match=place):
        mia.audit(p[0], X, Y, member, shadows=(p[1:], trained[1:]), attacks="loss")
    (note,) = [note for note in mia.audit(p[0], X, Y, member, attacks="loss").notes if re.search(place, note)]
    assert note.endswith("Or these are harder records than the others.")
    sure = p[:, np.arange(N), Y]
    assert re.search(place, unlike_signals.doubts(sure[0], sure[1:], trained[1:], member)[0])


OF_MANY_KINDS = {
    **KINDS,
    "leaves of five": lambda seed: RandomForestClassifier(40, min_samples_leaf=5, random_state=seed),
    "logistic": lambda seed: LogisticRegression(C=100, max_iter=300),
    "network": lambda seed: MLPClassifier((64,), max_iter=60, random_state=seed),
    "boosted": lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed),
    "neighbors": lambda seed: KNeighborsClassifier(3),
    "tree": lambda seed: DecisionTreeClassifier(min_samples_leaf=2, random_state=seed),
    "Bayes": lambda seed: GaussianNB(),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OF_MANY_KINDS)
def test_honest_files_of_many_kinds(kind):
    """Five orders of the rows, a target like its shadows and another, 8 and 16 of these: none of 160 a kind."""
    found = []
    for seed, made, shadows in itertools.product(range(4), (False, True), (8, 16)):
        rng = np.random.default_rng(seed)
        x, y = make_classification(N, 20, n_informative=8, n_classes=4, flip_y=0.15, random_state=seed)
        if not made:
            rows = rng.permutation(1797)[:N]
            x, y = (each[rows] for each in load_digits(return_X_y=True))
        trained = np.array([rng.permutation(N) < HALF for _ in range(1 + shadows)])
        trained[0] = np.arange(N) < HALF

        def sure(kind, k, x=x, y=y, trained=trained):
            model = OF_MANY_KINDS[kind](k).fit(x[trained[k]], y[trained[k]])
            return logits(model.predict_proba(x)[np.arange(N), np.searchsorted(model.classes_, y)])

        answers = np.stack([sure(kind, k) for k in range(1 + shadows)])
        other = sure("logistic" if kind != "logistic" else "forest", 0)
        member = trained[0]
        for order in (
            np.arange(N),
            np.lexsort([y, ~member]),
            np.lexsort([-y, ~member]),
            np.lexsort([x[:, 5], ~member]),
            np.lexsort([answers[1:].mean(axis=0), ~member]),
        ):
            for target in (answers[0], other):
                said = run_ends.doubts(target[order], answers[1:, order], trained[1:, order], member[order])
                found.extend(said)
    assert not found


def simulated(border, level=0.0, spread=0.0, hard=0.0):
    """SIMULATED numbers [1 + S, n] and who trained them: the last 40 rows before a border are another source.

    Args:
        border: rows before it are members.
        level: of the target in that source, beside what other models know there.
        spread: of models' levels in that source.
        hard: how much harder it is.
    """
    rng = np.random.default_rng(0)
    trained = np.array([rng.permutation(400) < 200 for _ in range(1 + 12)])
    trained[0] = np.arange(400) < border
    numbers = rng.normal(size=400) + 2.0 * trained + 0.3 * rng.normal(size=trained.shape)
    numbers[:, border - 40 : border] += spread * rng.normal(size=(13, 1)) - hard
    numbers[0, border - 40 : border] += level
    return numbers, trained


@pytest.mark.parametrize(
    ("told", "source"),
    [
        (True, dict(level=-2.0)),
        (False, dict(level=-2.0, spread=2.0)),  # models differ as much there
        (False, dict(level=-2.0, hard=4.0)),  # records that no model knows
        (False, dict()),
    ],
)
def test_another_source_beside_the_border_is_named_only_where_nothing_else_explains_it(told, source):
    numbers, trained = simulated(200, **source)
    assert bool(run_ends.doubts(numbers[0], numbers[1:], trained[1:], trained[0])) == told


def test_a_whole_run_that_is_wrong_and_many_runs_are_left_to_other_checks():
    numbers, trained = simulated(200)
    for member in (np.arange(400) < 400, (np.arange(400) < 200) | (np.arange(400) >= 350)):  # a run of its own
        assert run_ends.doubts(numbers[0], numbers[1:], trained[1:], member) == ()
    border = np.arange(400) < 240
    assert run_ends.doubts(numbers[0], numbers[1:], trained[1:], border) != ()
    one_by_one = border.copy()
    one_by_one[300:400:20] = True  # members among the others
    assert run_ends.doubts(numbers[0], numbers[1:], trained[1:], one_by_one) == ()
    assert run_ends.doubts(numbers[0], numbers[1:8], trained[1:8], border) == ()  # seven shadows


def test_models_that_remember_nothing_have_no_such_rows():
    rng = np.random.default_rng(0)
    trained = np.array([rng.permutation(400) < 200 for _ in range(13)])
    trained[0] = np.arange(400) < 200
    numbers = rng.normal(size=400) + 0.02 * trained + rng.normal(size=trained.shape)
    numbers[0, 160:200] -= 3.0
    assert run_ends.doubts(numbers[0], numbers[1:], trained[1:], trained[0]) == ()
