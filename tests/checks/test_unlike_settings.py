"""Settings of estimators in hand: those that differ are named, and what no fit trains anew."""

import numpy as np
import pytest

from mia_jax.checks.models import unlike_settings

pytest.importorskip("sklearn")

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


def test_what_no_fit_trains_anew_is_named():
    frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator
    base = RandomForestClassifier(5).fit(X, Y)
    shadows = CalibratedClassifierCV(frozen(base))
    said = unlike_settings.notes(base, shadows)
    assert said[0].startswith("Each shadow holds what estimator has learned, a FrozenEstimator, which no fit trains")
    assert len(unlike_settings.notes(lambda x: x, shadows)) == 1
