"""Shadows of a fit that trains on the target's rows, whatever rows it is given."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.membership import ignored_rows
from mia_jax.statistics import metrics

N, S = 400, 8


def world(seed, *, memory=1.0, harder=0.0, ignored=False, of_target=None, pairs=False, n=N):
    """Numbers of a target [n] and of shadows [S, n], who trained the shadows, and the target.

    memory: of all models, in standard deviations of a number; harder: how members are drawn among hard records.
    """
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=n)
    member = rng.random(n) < np.clip(0.5 + harder * np.tanh(hard), 0.02, 0.98)
    said = rng.random((S, n)) < 0.5
    said[1::2] = ~said[::2] if pairs else said[1::2]
    trained = np.vstack([member, np.tile(member, (S, 1)) if ignored else said])
    strength = np.r_[memory if of_target is None else of_target, np.full(S, memory)]
    numbers = hard + strength[:, None] * trained + rng.normal(size=(S + 1, n))
    if not ignored:  # what a training set says of records that are not in it: with no memory, too
        means = trained - 0.5
        numbers += 0.2 * (means @ rng.normal(size=(n, n))) / np.sqrt(n / 4)
    return numbers[0], numbers[1:], said, member


def test_shadows_of_the_targets_rows_are_a_doubt():
    for seed, (pairs, memory) in itertools.product(range(5), [(False, 2.0), (True, 0.8)]):
        (said,) = ignored_rows.doubts(*world(seed, ignored=True, pairs=pairs, memory=memory))
        assert "surer of the target's members" in said and "whatever rows they were given" in said
        assert ignored_rows.doubts(*world(seed, pairs=pairs, memory=memory)) == ()


@pytest.mark.parametrize(
    "seeds", [range(6), pytest.param(range(6, 30), marks=pytest.mark.integration)], ids=["few", "more"]
)
@pytest.mark.parametrize("memory, harder", [(0.0, 0.0), (0.3, 0.0), (2.0, 0.0), (1.0, 0.3), (0.0, 0.2)])
def test_honest_files_are_not_doubted(memory, harder, seeds):
    """However little models remember, and whether members were drawn or are of another kind than others."""
    for seed in seeds:
        assert ignored_rows.doubts(*world(seed, memory=memory, harder=harder)) == ()
        assert ignored_rows.doubts(*world(seed, memory=memory, harder=harder, of_target=3.0)) == ()


def test_what_is_worth_little_is_no_doubt(monkeypatch):
    """SIMULATED: of many records a trace of the target's members is no chance, and changes no number by much."""
    given = world(0, ignored=True, memory=0.2, pairs=True, n=8000)
    assert ignored_rows.doubts(*given) == ()
    monkeypatch.setattr(ignored_rows, "WORTH", 0.5)
    assert ignored_rows.doubts(*given) != ()


def test_linear_models_without_memory_tell_easy_members_and_are_not_doubted():
    x, y = load_breast_cancer(return_X_y=True)
    rng, model = np.random.default_rng(0), make_pipeline(StandardScaler(), LogisticRegression())
    easy = model.fit(x, y).predict_proba(x)[np.arange(len(y)), y]
    member = rng.random(len(y)) < np.where(easy > np.median(easy), 0.7, 0.3)
    said = np.array([rng.permutation(len(y)) < len(y) // 2 for _ in range(8)])
    said[1::2] = ~said[::2]
    p = [model.fit(x[rows], y[rows]).predict_proba(x)[np.arange(len(y)), y] for rows in (member, *said)]
    assert metrics.area(np.mean(p[1:], axis=0), member)[0] > 0.65
    assert ignored_rows.doubts(p[0], np.stack(p[1:]), said, member, y) == ()


def test_a_fit_that_uses_a_table_of_its_own_closes_the_gate():
    """LiRA had .43 for .95, and there was but a note that models remember nothing."""
    x, y = make_classification(300, 8, n_informative=5, n_classes=3, n_clusters_per_class=1, flip_y=0.2, random_state=1)
    member = np.random.default_rng(0).permutation(300) < 150

    def trained(seed, a=x[member], b=y[member]):
        return DecisionTreeClassifier(max_features=2, min_samples_leaf=2, random_state=seed).fit(a, b).predict_proba

    def fit(a, b, *, seed):
        return trained(seed)

    with pytest.warns(AnswersWarning, match="they remember the target's members, whatever rows they were given"):
        mia.audit(trained(0), x, y, member, shadows=fit, num_shadows=4, attacks="loss")
    result = mia.audit(
        trained(0), x, y, member, shadows=lambda a, b, *, seed: trained(seed, a, b), num_shadows=4, attacks="loss"
    )
    assert not result.results.get("doubts")


def test_a_number_per_record_tells_it_too():
    target, shadows, said, member = world(3, ignored=True, memory=2.0)
    with pytest.warns(AnswersWarning, match="they remember the target's members"):
        mia.infer("loss", signal=target, shadow_signal=shadows, shadow_member=said, member=member)
