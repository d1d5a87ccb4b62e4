"""Honest models, in files that are sorted in several ways: no check of the order of rows or models speaks of them."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mia_jax.checks.membership import held_out
from mia_jax.checks.models import carried_over, temperatures

pytestmark = pytest.mark.integration

SETS = {
    "digits": lambda: load_digits(return_X_y=True),
    "cancer": lambda: load_breast_cancer(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "simulated": lambda: make_classification(1200, n_informative=8, n_classes=4, flip_y=0.2, random_state=0),
}
KINDS = {
    "forests": lambda k: RandomForestClassifier(20, random_state=k),
    "extra trees": lambda k: ExtraTreesClassifier(20, random_state=k),
    "trees": lambda k: DecisionTreeClassifier(min_samples_leaf=3, random_state=k),
    "linear": lambda k: make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=200)),
    "naive": lambda k: GaussianNB(),
    "neighbors": lambda k: KNeighborsClassifier(5),
    "networks": lambda k: make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=40, random_state=k)),
}


def sorted_by(how, x, y):
    """Rows in an order: as they came, class by class, or the hardest first or last."""
    if how in ("random", "class"):
        return np.arange(len(y)) if how == "random" else np.argsort(y, kind="stable")
    forest = RandomForestClassifier(30, random_state=0, oob_score=True).fit(x, y)
    order = np.argsort(np.nan_to_num(forest.oob_decision_function_[np.arange(len(y)), y]), kind="stable")
    return order if how == "hardest first" else order[::-1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("data", "kind"), [*itertools.product(SETS, KINDS)])
@pytest.mark.parametrize("how", ["random", "class", "hardest first", "hardest last"])
def test_nothing_is_said_of_honest_models(data, kind, how):
    rng = np.random.default_rng(0)
    x, y = SETS[data]()
    rows = rng.permutation(len(y))[:600]
    x, y = x[rows], y[rows]
    order = sorted_by(how, x, y)
    x, y, n = x[order], y[order], len(order)
    member = np.array([rng.permutation(n) < n // 2 for _ in range(12)])
    p = np.zeros((12, n, y.max() + 1))
    for k, mine in enumerate(member):
        model = KINDS[kind](k).fit(x[mine], y[mine])
        p[k][:, model.classes_] = model.predict_proba(x)
    sure = p[:, np.arange(n), y]
    assert held_out.last_rows(sure, member) == ()
    assert carried_over.doubts(sure, member) == ()
    assert temperatures.softmax_twice_note(p[0], p[1:]) is None
