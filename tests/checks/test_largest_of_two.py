"""The larger probability of two classes, saved as that of class 1."""

import numpy as np
import pytest
import services
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import mia_jax as mia
from mia_jax import audits
from mia_jax.checks.labels import largest_of_two
from mia_jax.types import InputError

pytestmark = pytest.mark.filterwarnings("ignore")


def answers(seed, make=RandomForestClassifier, share=0.5, sep=0.6, n=400, models=5):
    """Labels, P(class 1) [K, n] and who trained the models."""
    x, y = make_classification(
        n, 20, n_informative=8, flip_y=0.15, class_sep=sep, weights=[1 - share], random_state=seed
    )
    trained = np.random.default_rng(seed).random((models, n)) < 0.5
    options = (
        dict(n_estimators=30, min_samples_leaf=4, random_state=0) if make is RandomForestClassifier else dict(C=1e-3)
    )
    p = np.stack([make(**options).fit(x[mine], y[mine]).predict_proba(x)[:, 1] for mine in trained])
    return x, y, p, trained


def two(p):
    return np.stack([1 - p, p], -1)


def test_it_is_refused_at_every_entrance(tmp_path):
    """It was read as P(class 1), and labels were said to be noise."""
    x, y, p, trained = answers(0)
    q, next_move = np.maximum(p, 1 - p), r"larger of the two probabilities .* Give that of class 1 .* \[n, 2\]"
    given = dict(shadow_member=trained[1:], member=trained[0])
    np.savez(tmp_path / "p.npz", labels=y, target=q[0], shadows=q[1:], **given)
    for call in (
        lambda: mia.infer("lira", labels=y, target=q[0], shadows=q[1:], **given),
        lambda: mia.audit(
            q[0], x, y, trained[0], shadows={"shadows": q[1:], "shadow_member": trained[1:]}, attacks="loss"
        ),
        lambda: mia.audit(q[0], x, y, trained[0], attacks="loss"),
        lambda: audits.run(
            audits.DeployedConfig(predictions=str(tmp_path / "p.npz"), workdir=str(tmp_path / "run"), attacks="loss")
        ),
    ):
        with pytest.raises(InputError, match=next_move):
            call()
    mia.infer("lira", labels=y, target=p[0], shadows=p[1:], **given)
    mia.audit(p[0], x, y, trained[0], attacks="loss")


def test_of_a_service_it_is_a_doubt(tmp_path):
    pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")
    x, y, _, _ = answers(0)
    x = x.astype(np.float32)
    model = RandomForestClassifier(30, min_samples_leaf=4, random_state=0).fit(x[:150], y[:150])
    np.savez(tmp_path / "mine.npz", x=x, y=y, member=np.arange(400) < 150)
    for name, turned in (("larger", lambda p: p.max(1)), ("class 1", lambda p: p[:, 1])):
        with services.answering(lambda x, turned=turned: turned(model.predict_proba(x)).tolist()) as url:
            found = audits.run(
                audits.DeployedConfig(
                    target=url,
                    data=str(tmp_path / "mine.npz"),
                    workdir=str(tmp_path / name),
                    num_shadows=4,
                    target_kind="sklearn:sklearn.tree.DecisionTreeClassifier",
                    attacks="loss",
                )
            )
        assert any("larger of the two probabilities" in doubt for doubt in found["doubts"]) == (name == "larger")


@pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 8), marks=pytest.mark.integration)], ids=["few", "more"]
)
@pytest.mark.parametrize("make", [RandomForestClassifier, LogisticRegression])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.8, 0.9])
def test_honest_models_are_not_refused(make, share, seeds):
    """Of class 1 nearly alone, and hard to tell apart: some answer class 0 never."""
    never = 0
    for seed in seeds:
        for sep in (0.01, 0.6):
            _, y, p, _ = answers(seed, make, share, sep, models=1)
            never += p[0].min() >= 0.5
            largest_of_two.refuse(y, [two(p[0])])
    assert never or share < 0.8 or make is RandomForestClassifier


def test_models_that_guess_or_know_another_share_are_not_refused():
    """SIMULATED."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    hard = np.full((3, 400), 0.9)  # one answer
    tells = np.clip(0.75 + 0.1 * (2 * y - 1) + 0.1 * rng.normal(size=(3, 400)), 0.5, 1)  # of a class 1 of 80 %
    near = 0.5 + 0.01 * rng.random((3, 400))  # noise was added in training
    for p in (hard, tells, near):
        largest_of_two.refuse(y, [two(one) for one in p])
    sure = 0.5 + 0.5 * rng.random((3, 400))
    with pytest.raises(InputError):
        largest_of_two.refuse(y, [two(one) for one in sure])
    sure[2] = np.where(y == 1, np.sqrt(2 * sure[2] - 1), 2 * sure[2] - 1) / 2 + 0.5  # one of them is surer of a class
    with pytest.raises(InputError):
        largest_of_two.refuse(y, [two(one) for one in sure])
    sure[2, 7] = 0.4
    largest_of_two.refuse(y, [two(one) for one in sure])
