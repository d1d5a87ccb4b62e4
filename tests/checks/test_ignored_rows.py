"""Shadows of a fit that trains on the target's rows, whatever rows it is given."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks import ignored_rows

N, S = 400, 8


def world(seed, *, memory=1.0, harder=0.0, ignored=False, of_target=None):
    """Numbers of a target [n] and of shadows [S, n], who trained the shadows, and the target.

    memory: of all models, in standard deviations of a number; harder: how members are drawn among hard records.
    """
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=N)
    member = rng.random(N) < np.clip(0.5 + harder * np.tanh(hard), 0.02, 0.98)
    said = rng.random((S, N)) < 0.5
    trained = np.vstack([member, np.tile(member, (S, 1)) if ignored else said])
    strength = np.r_[memory if of_target is None else of_target, np.full(S, memory)]
    numbers = hard + strength[:, None] * trained + rng.normal(size=(S + 1, N))
    return numbers[0], numbers[1:], said, member


def test_shadows_of_the_targets_rows_are_a_doubt():
    for seed in range(5):
        (said,) = ignored_rows.doubts(*world(seed, ignored=True))
        assert "surer of the target's members" in said and "whatever rows they were given" in said
        assert ignored_rows.doubts(*world(seed)) == ()


@pytest.mark.parametrize("memory, harder", [(0.0, 0.0), (0.3, 0.0), (2.0, 0.0), (1.0, 0.3)])
def test_honest_files_are_not_doubted(memory, harder):
    """Of members that were drawn, however little models remember; of members of another kind, where they do."""
    for seed in range(50):
        assert ignored_rows.doubts(*world(seed, memory=memory, harder=harder)) == ()
        assert ignored_rows.doubts(*world(seed, memory=memory, harder=harder, of_target=3.0)) == ()


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
    target, shadows, said, member = world(3, ignored=True, memory=1.5)
    with pytest.warns(AnswersWarning, match="they remember the target's members"):
        mia.infer("loss", signal=target, shadow_signal=shadows, shadow_member=said, member=member)
