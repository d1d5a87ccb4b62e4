"""Settings of estimators in hand: those that differ are named, and what no fit trains anew."""

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.checks.membership import held_out
from mia_jax.checks.models import unlike_settings

pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2


def test_settings_that_differ_are_named():
    target = RandomForestClassifier(5, max_depth=6, min_samples_leaf=3, random_state=4, n_jobs=2).fit(X, Y)
    for given in (target, target.predict_proba):
        for shadows in (RandomForestClassifier(5), RandomForestClassifier(5, random_state=0, verbose=1)):
            (note,) = unlike_settings.notes(given, shadows)
            assert "(max_depth=6 and None, min_samples_leaf=3 and 1). Shadows imitate" in note
    (note,) = unlike_settings.notes(target, RandomForestClassifier)
    assert "n_estimators=5 and 100" in note and "sklearn.base.clone(model)" in note
    (note,) = unlike_settings.notes(target, ExtraTreesClassifier)
    assert note.startswith("The target is RandomForestClassifier, and the shadows are ExtraTreesClassifier.")


def test_settings_within_a_pipeline_are_named():
    one, other = (make_pipeline(StandardScaler(), LogisticRegression(C=c)) for c in (1.0, 100.0))
    (note,) = unlike_settings.notes(one, other)
    assert "(logisticregression__C=1.0 and 100.0)" in note


def test_what_estimators_hold_is_named():
    one, other = (make_pipeline(StandardScaler(), last) for last in (LogisticRegression(C=3), SVC()))
    (note,) = unlike_settings.notes(one, other)
    of = "is Pipeline of StandardScaler, LogisticRegression, and the shadows are Pipeline of StandardScaler, SVC."
    assert of in note
    one, other = (GridSearchCV(of, {"C": [2, 3]}, cv=2) for of in (LogisticRegression(), SVC()))
    (note,) = unlike_settings.notes(one, other)
    assert "is GridSearchCV of LogisticRegression, and the shadows are GridSearchCV of SVC." in note


@pytest.mark.parametrize(
    ("target", "shadows"),
    [
        (RandomForestClassifier(5, random_state=1), RandomForestClassifier(5, random_state=2)),
        (RandomForestClassifier(), RandomForestClassifier),
        (make_pipeline(StandardScaler(), LogisticRegression()), make_pipeline(StandardScaler(), LogisticRegression())),
        (lambda x: x, RandomForestClassifier(5)),
        (RandomForestClassifier(5), lambda x, y, *, seed: None),
        (RandomForestClassifier(5), "nn"),
        (np.zeros((3, 2)), None),
    ],
)
def test_nothing_is_said_of_settings_that_are_alike_or_not_known(target, shadows):
    assert unlike_settings.notes(target, shadows) == ()


class Network:
    """Of somebody's own, whose parameters are its weights."""

    def get_params(self):
        return [np.zeros(3)]


def test_what_get_params_gives_may_be_no_settings():
    assert unlike_settings.notes(Network(), Network()) == ()
    assert held_out.of_estimators(Network(), Network(), None, 40) == ()


def test_settings_that_change_no_model_or_cannot_be_compared_are_passed_over():
    assert unlike_settings.notes(SVC(cache_size=10, C=np.float64(2)), SVC(C=2.0)) == ()
    nan = SimpleImputer(missing_values=np.nan)
    assert unlike_settings.notes(make_pipeline(nan, SVC()), make_pipeline(SimpleImputer(), SVC())) == ()
    search = GridSearchCV(RandomForestClassifier(5), {"max_depth": [2, 3]}, cv=2).fit(X, Y)
    assert unlike_settings.notes(search, RandomForestClassifier(5, **search.best_params_)) == ()
    assert unlike_settings.notes(search, clone(search)) == ()
    calibrated = [CalibratedClassifierCV(SVC(), ensemble=ensemble) for ensemble in ("auto", True, False)]
    assert unlike_settings.notes(*calibrated[:2]) == ()
    assert "(ensemble='auto' and False)" in unlike_settings.notes(calibrated[0], calibrated[2])[0]
    boosted = type("XGB", (SVC,), {"get_params": lambda self, deep=True: {"objective": self.kernel}})
    assert unlike_settings.notes(boosted(kernel="rbf"), boosted(kernel="poly")) == ()
    (note,) = unlike_settings.notes(SVC(C=np.float64(2)), SVC(C=3.0, kernel="k" * 60))
    assert "C=2.0 and 3.0, kernel='rbf' and 'k" in note and "k..." in note


def test_an_audit_says_it():
    target = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, Y)
    shadows = RandomForestClassifier(5)
    found = mia.audit(target.predict_proba, X, Y, Y == 0, shadows=shadows, num_shadows=2, attacks="loss")
    assert any("with other settings (max_depth=3 and None)" in note for note in found.notes)


def test_what_no_fit_trains_anew_is_named():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    base = RandomForestClassifier(5).fit(X, Y)
    shadows = CalibratedClassifierCV(frozen(base))
    said = unlike_settings.notes(base, shadows)
    assert said[0].startswith("Each shadow holds what estimator has learned, a FrozenEstimator, which no fit trains")
    assert len(unlike_settings.notes(lambda x: x, shadows)) == 1


def test_a_setting_that_is_called_steps_is_no_pipeline():
    """It was a TypeError."""

    class Diffusion(BaseEstimator):
        def __init__(self, steps=100):
            self.steps = steps

    (note,) = unlike_settings.notes(Diffusion(), Diffusion(50))
    assert "Diffusion with other settings (steps=100 and 50)" in note
