"""Records that fit holds out, and that are marked as members, are told by answers, and by an estimator's settings."""

import functools
import re

import numpy as np
import pytest
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.checks.membership import held_out

N, X, Y = 1000, *make_classification(1000, 20, n_informative=8, n_classes=4, flip_y=0.2, random_state=0)
MEMBER = np.array([np.random.default_rng(k).permutation(N) < N // 2 for k in range(9)])
KINDS = {
    "bags of three": lambda seed: BaggingClassifier(n_estimators=3, random_state=seed),
    "forests": lambda seed: RandomForestClassifier(20, random_state=seed),
    "many trees": lambda seed: RandomForestClassifier(60, min_samples_leaf=2, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(n_estimators=5, max_depth=5, random_state=seed),
    "trees": lambda seed: DecisionTreeClassifier(random_state=seed),
    "leaves of five": lambda seed: DecisionTreeClassifier(min_samples_leaf=5, max_features=4, random_state=seed),
    "neighbors": lambda seed: KNeighborsClassifier(5),
    "extra trees": lambda seed: ExtraTreesClassifier(50, random_state=seed),
    "neighbors by distance": lambda seed: KNeighborsClassifier(9, weights="distance"),
    "logistic": lambda seed: LogisticRegression(max_iter=500),
}


@functools.cache
def sure(kind):
    """Probabilities of the true class [K, n], of real models."""
    models = [KINDS[kind](k).fit(X[mine], Y[mine]) for k, mine in enumerate(MEMBER)]
    return np.stack([model.predict_proba(X)[np.arange(N), Y] for model in models])


def more(share):
    """Who is marked as a member, where so many of these are held out."""
    marked = MEMBER.copy()
    for k, mine in enumerate(MEMBER):
        extra = round(mine.sum() * share / (1 - share))
        marked[k, np.random.default_rng(k).choice(np.flatnonzero(~mine), extra, replace=False)] = True
    return marked


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_train_on_all_of_theirs(kind):
    assert held_out.notes(sure(kind), MEMBER) == ()


@pytest.mark.parametrize("share", [0.1, 0.25])
@pytest.mark.parametrize("kind", ["extra trees", "neighbors by distance"])
def test_records_that_are_marked_and_held_out(kind, share):
    """Attacks found less without a word: all models are alike in it."""
    (note,) = held_out.notes(sure(kind), more(share))
    assert note.startswith("About ") and "held out inside fit" in note
    assert 0.7 * share < float(note.split("%")[0].removeprefix("About ")) / 100 < 1.3 * share


def test_few_models_tell_nothing():
    assert held_out.notes(sure("extra trees")[:4], more(0.25)[:4]) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_records_that_trained_all_models(kind):
    """A core set that every training added to its rows lowered all numbers without a word."""
    core = np.random.default_rng(5).random(N) < 0.25
    models = [KINDS[kind](k).fit(X[mine | core], Y[mine | core]) for k, mine in enumerate(MEMBER)]
    said = held_out.unmoved(np.stack([m.predict_proba(X)[np.arange(N), Y] for m in models]), MEMBER)
    assert held_out.unmoved(sure(kind), MEMBER) == ()
    assert bool(said) == (kind in ("forests", "many trees"))  # others are sure of what they know, or remember little
    assert all("a core set that every training adds" in note for note in said)


@pytest.mark.parametrize(("part", "told"), [(0.0, False), (0.2, True), (0.3, True)])
def test_records_that_fit_drops_in_all_models(part, told):
    """SIMULATED: of outliers that every fit dropped nothing was said where memories are weak."""
    rng = np.random.default_rng(0)
    member = rng.random((16, 800)) < 0.5
    trained = member & (np.arange(800) >= part * 800)
    scores = 0.5 * rng.normal(size=(16, 800)) + 0.3 * rng.normal(size=800) - 0.4 + 0.9 * trained
    assert bool(held_out.unmoved(special.expit(scores), member)) == told


SETTINGS = {
    "20%": HistGradientBoostingClassifier(early_stopping=True, validation_fraction=0.2),
    "10%": MLPClassifier(early_stopping=True),
    "25%": make_pipeline(StandardScaler(), MLPRegressor(early_stopping=True, validation_fraction=0.25)),
    "15%": GradientBoostingClassifier(n_iter_no_change=5, validation_fraction=0.15),
    "50": HistGradientBoostingClassifier(early_stopping=True, validation_fraction=50),
}


@pytest.mark.parametrize("share", SETTINGS)
def test_settings_of_estimators_say_it(share):
    (note,) = held_out.of_estimators(None, SETTINGS[share], None, 100)
    assert note.startswith(f"Each shadow holds out {share} of the records that are given to fit")
    (note,) = held_out.of_estimators(SETTINGS[share].fit, SETTINGS[share], np.arange(100) < 50, 100)
    assert note.startswith(f"The target and each shadow hold out {share} of")


class Sampler(BaseEstimator):
    """Keeps as many records of each class as of the rarest, the first of them, as those of imbalanced-learn."""

    def fit_resample(self, x, y):
        least = np.bincount(y).min()
        self.sample_indices_ = np.concatenate([np.flatnonzero(y == c)[:least] for c in np.unique(y)])
        return x[self.sample_indices_], y[self.sample_indices_]


class Sampled(ClassifierMixin, BaseEstimator):
    """A classifier that trains on what a sampler keeps."""

    def __init__(self, sampler, classifier):
        self.sampler, self.classifier = sampler, classifier

    def fit(self, x, y):
        self.classifier.fit(*self.sampler.fit_resample(x, y))
        self.classes_ = self.classifier.classes_
        return self

    def predict(self, x):
        return self.classifier.predict(x)

    def predict_proba(self, x):
        return self.classifier.predict_proba(x)


RARE = np.random.default_rng(0).normal(size=(120, 8)), (np.arange(120) % 4 == 0).astype(int)


def test_a_sampler_within_an_estimator_is_named():
    x, y = RARE
    member = np.arange(120) < 60
    model = Sampled(Sampler(), RandomForestClassifier(10, random_state=0)).fit(x[member], y[member])
    report = mia.audit(model.predict_proba, x, y, member, shadows=clone(model), num_shadows=8, attacks="loss")
    (note,) = [note for note in report.notes if "a sampler" in note]
    assert note.startswith("The target and each shadow hold a sampler (Sampler) that leaves out some of the records")
    assert "(the target's kept 30)" in note  # 15 of a class
    (note,) = held_out.of_estimators(None, model, None, 120)
    assert note.startswith("Each shadow holds a sampler (Sampler) that")


def test_samplers_of_imbalanced_learn():
    pytest.importorskip("imblearn")
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.pipeline import make_pipeline as resampled
    from imblearn.under_sampling import RandomUnderSampler, TomekLinks

    x, y = RARE
    for sampler in (RandomUnderSampler(random_state=0), TomekLinks()):
        model = resampled(sampler, RandomForestClassifier(5)).fit(x, y)
        (note,) = held_out.of_estimators(model.predict_proba, model, None, 120)
        kept = len(model[0].sample_indices_)
        assert f"({type(sampler).__name__}) that leaves out" in note and f"(the target's kept {kept})" in note
    for sampler in (SMOTE(), RandomOverSampler()):
        model = resampled(sampler, RandomForestClassifier(5)).fit(x, y)
        assert held_out.of_estimators(model.predict_proba, model, None, 120) == ()


def test_settings_that_hold_nothing_out():
    given = [MLPClassifier(), HistGradientBoostingClassifier(), GradientBoostingClassifier(), MLPClassifier, len, "nn"]
    assert all(held_out.of_estimators(one, one, None, 100) == () for one in given)
    assert held_out.of_estimators(None, HistGradientBoostingClassifier(), None, 30_000) != ()  # "auto"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_audit_says_it():
    trees = ExtraTreesClassifier(25, random_state=0).fit(X[MEMBER[0]], Y[MEMBER[0]])

    def fit(x, y, *, seed):
        kept = np.random.default_rng(seed).random(len(y)) < 0.75
        return ExtraTreesClassifier(25, random_state=seed).fit(x[kept], y[kept]).predict_proba

    found = mia.audit(trees.predict_proba, X, Y, more(0.25)[0], shadows=fit, num_shadows=10, attacks="loss")
    assert any("held out inside fit" in note for note in found.notes)
    stops = MLPClassifier((64,), max_iter=30, early_stopping=True).fit(X[MEMBER[0]], Y[MEMBER[0]])
    found = mia.audit(stops.predict_proba, X, Y, MEMBER[0], attacks="loss")
    assert any(note.startswith("The target holds out 10% of") for note in found.notes)


def of_networks(seed, held, first=False):
    """SIMULATED numbers of 12 models that remember their members a little, and none of those that fit held out."""
    rng = np.random.default_rng(seed)
    member = np.array([rng.permutation(500) < 250 for _ in range(12)])
    known = member.copy()
    for row in known:
        rows = np.flatnonzero(row)
        row[rows[: int(held * len(rows))] if first else rows[len(rows) - int(held * len(rows)) :]] = False
    return rng.normal(size=500) + 0.9 * known + rng.normal(size=(12, 500)), member


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("held", [0.1, 0.2, 0.3])
def test_a_validation_split_of_the_last_rows_is_noted(held, first):
    """RMIA found less of networks that remember little, with no word."""
    (note,) = held_out.last_rows(*of_networks(0, held, first))
    found = re.match(f"In the {'first' if first else 'last'} ([0-9]+)% of the rows no model knows", note)
    assert found is not None and abs(int(found[1]) / 100 - held) < 0.03


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(k, marks=pytest.mark.integration) for k in range(2, 200))])
def test_no_rows_are_noted_where_none_are_held_out(seed):
    numbers, member = of_networks(seed, 0)
    assert held_out.last_rows(numbers, member) == ()
    assert held_out.last_rows(numbers[:5], member[:5]) == ()
    sorted_by_class = numbers.copy()
    sorted_by_class[:, 400:] = 20 + 0.01 * numbers[:, 400:]  # records that all models are sure of
    sorted_by_class[:, 400:] -= 0.009 * member[:, 400:]
    assert held_out.last_rows(sorted_by_class, member) == ()


def test_an_audit_says_that_the_last_rows_are_held_out():
    numbers, member = of_networks(0, 0.2)
    numbers[:, 400:] = 0.5 * numbers[:, 400:] + 0.5 * numbers[:, 400:].mean(axis=0)  # models differ less there
    with pytest.warns(UserWarning, match="In the last [0-9]+% of the rows no model knows"):
        mia.infer("loss", signal=numbers[0], shadow_signal=numbers[1:], shadow_member=member[1:])
    p = special.expit(numbers)
    p = np.stack([1 - p, p], axis=-1)
    with pytest.warns(UserWarning, match="In the last [0-9]+% of the rows no model knows"):
        mia.infer("loss", labels=np.ones(500, int), target=p[0], shadows=p[1:], shadow_member=member[1:])


def test_rows_of_which_a_part_is_known_a_little_are_not_noted():
    numbers, member = of_networks(0, 0)
    numbers[:, 400:] -= 0.45 * member[:, 400:]  # half is left
    assert held_out.last_rows(numbers, member) == ()
    numbers, member = of_networks(0, 0.2)
    numbers[:, 200:300] -= 0.9 * member[:, 200:300]  # so it is elsewhere, too
    assert held_out.last_rows(numbers, member) == ()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_real_networks_that_hold_the_last_rows_out():
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(y))[:400]
    x, y = x[rows] / 16, y[rows].copy()
    wrong = rng.random(400) < 0.3
    y[wrong] = rng.integers(0, 10, wrong.sum())
    member = np.array([rng.permutation(400) < 200 for _ in range(8)])
    for share, told in ((0.8, True), (1.0, False)):
        p = []
        for k, mine in enumerate(member):
            given = np.flatnonzero(mine)[: int(share * mine.sum())]
            net = MLPClassifier((64,), max_iter=100, random_state=k).fit(x[given], y[given])
            p.append(net.predict_proba(x)[np.arange(400), y])
        assert (held_out.last_rows(np.stack(p), member) != ()) == told
