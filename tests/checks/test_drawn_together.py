"""Members that were drawn by patient, beside shadows whose members were drawn by visit. SIMULATED patients."""

import functools

import numpy as np
import pytest

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.checks.membership import drawn_together

PATIENTS, VISITS, CLASSES = 120, 6, 4
SEEDS = pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.integration) for k in (1, 2))])


@functools.cache
def answers(seed, target_by_patient, shadows_by_patient, shuffled, models=12):
    """Of kernel ridge models: what ``mia.infer`` takes."""
    rng, n = np.random.default_rng(seed), PATIENTS * VISITS
    patient = np.repeat(np.arange(PATIENTS), VISITS)
    patient = rng.permutation(patient) if shuffled else patient
    x = rng.normal(size=(PATIENTS, 60))[patient] + 0.35 * rng.normal(size=(n, 60))
    y = rng.integers(CLASSES, size=PATIENTS)[patient]

    def drawn(by_patient):
        half = rng.permutation(PATIENTS if by_patient else n) % 2 == 0
        return half[patient] if by_patient else half

    trained = np.array([drawn(target_by_patient), *(drawn(shadows_by_patient) for _ in range(models))])
    square = (x**2).sum(axis=1)
    kernel = np.exp(-(square[:, None] + square - 2 * x @ x.T) / 120)
    p = []
    for mine in trained:
        weights = np.linalg.solve(
            kernel[np.ix_(mine, mine)] + 0.5 * np.eye(mine.sum()), np.eye(CLASSES)[y[mine]] - 0.25
        )
        z = np.exp(4 * kernel[:, mine] @ weights + 0.05 * rng.normal(size=(n, CLASSES)))
        p.append(z / z.sum(axis=1, keepdims=True))
    return dict(labels=y, target=p[0], shadows=np.stack(p[1:]), shadow_member=trained[1:], member=trained[0])


@SEEDS
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_cause_is_named(shuffled, seed):
    """It was said that shadows trained on all of the records, or that the order of the rows was lost."""
    with pytest.warns(AnswersWarning, match=r"members were drawn in groups, .*Then draw the shadows' in groups"):
        mia.infer("lira", **answers(seed, True, False, shuffled))


@SEEDS
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("by_patient", [(False, False), (True, True), (False, True)])
def test_it_is_not_named_where_it_is_not_so(by_patient, shuffled, seed):
    given = answers(seed, *by_patient, shuffled)
    assert drawn_together.cause(given["member"], given["shadow_member"], given["shadows"]) == ""


def test_members_of_another_kind_are_no_group():
    """SIMULATED: members are rather on one side of what models learn; neighbours are, too, though nobody is twice."""
    rng, n = np.random.default_rng(0), 2048
    z = rng.normal(size=(n, 3))
    member = rng.random(n) < 1 / (1 + np.exp(-2 * z[:, 0]))
    shadows = np.exp(z + 0.05 * rng.normal(size=(6, n, 3)))
    shadows /= shadows.sum(axis=-1, keepdims=True)
    trained = rng.random((6, n)) < 0.5
    assert drawn_together.cause(member, trained, shadows) == ""


def test_a_file_of_members_first_is_no_group():
    given = answers(0, False, False, shuffled=True)
    order = np.argsort(~given["member"], kind="stable")
    member, trained, shadows = given["member"][order], given["shadow_member"][:, order], given["shadows"][:, order]
    assert drawn_together.cause(member, trained, shadows) == ""
    assert drawn_together.cause(None, trained, shadows) == ""


def test_a_blind_guess_does_not_know_patients_by_their_other_visits(tmp_path):
    """Members were told by their features with an AUC of .9 and more, as if they had not been drawn at random."""
    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat(np.arange(PATIENTS), VISITS))
    drawn = np.array([(rng.permutation(PATIENTS) % 2 == 0)[patient] for _ in range(9)])
    x, y = rng.normal(size=(PATIENTS, 8))[patient] + 0.1 * rng.normal(size=(len(patient), 8)), patient % CLASSES
    p = rng.dirichlet(np.ones(CLASSES), (9, len(y)))
    np.savez(tmp_path / "p.npz", labels=y, target=p[0], shadows=p[1:], shadow_member=drawn[1:], member=drawn[0], x=x)
    config = audits.DeployedConfig(predictions=str(tmp_path / "p.npz"), workdir=str(tmp_path / "run"), attacks="loss")
    found = audits.run(config)["blind"]
    assert found["told"] is False and found["auc"]["value"] < 0.7
