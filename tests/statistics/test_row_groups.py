"""Rows that were drawn together, as all visits of a patient: chance is counted in draws. SIMULATED."""

import numpy as np
import pytest

from mia_jax.checks.membership import blind_guesses
from mia_jax.checks.models import lost_order
from mia_jax.plans import membership
from mia_jax.statistics import row_groups
from mia_jax.types import InputError

PATIENTS, VISITS = 200, 6


def drawn(rng, models, uneven=False, shuffled=True):
    """Memberships bool [models, n] by patient, and the patients int [n]."""
    n = PATIENTS * VISITS
    patient = np.repeat(np.arange(PATIENTS), VISITS)
    if uneven:
        patient = np.sort(rng.choice(PATIENTS, n, p=rng.dirichlet(np.ones(PATIENTS))))
    patient = rng.permutation(patient) if shuffled else patient
    return np.array([(rng.permutation(PATIENTS) < PATIENTS // 2)[patient] for _ in range(models)]), patient


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("models", [4, 8, 16, 64])
def test_the_size_of_groups_is_told(models, uneven):
    """Of few models where groups are neighbours."""
    rng = np.random.default_rng(models)
    for shuffled in (False, True) if models > row_groups.FEW else (False,):
        rows, patient = drawn(rng, models, uneven, shuffled)
        usual = (np.bincount(patient).astype(float) ** 2).sum() / len(patient)
        assert 0.7 * usual < row_groups.size(rows) < 1.5 * usual


@pytest.mark.parametrize("models", [1, 2, 4, 8, 16, 64])
def test_rows_that_were_drawn_for_themselves_have_no_groups(models):
    rng = np.random.default_rng(models)
    halves = np.array([rng.permutation(600) < 300 for _ in range(models)])
    for rows in (halves, rng.random((models, 600)) < 0.2, halves & (np.arange(600) < 300)):  # the last: none of a half
        assert row_groups.size(rows) < 1.3 or models == 1


@pytest.mark.parametrize("models", [2, 8, 12, 16, 64])
def test_models_in_complementary_pairs_have_no_groups_but_those_that_were_drawn(models):
    """Few different columns are there, so that many records seemed to go together, and checks were blunt."""
    rng = np.random.default_rng(models)

    def paired(draw):
        return np.concatenate([[half, ~half] for half in (draw() for _ in range(models // 2))])

    rows = paired(lambda: rng.permutation(600) < 300)
    assert row_groups.size(rows) < 1.3 and row_groups.told(rows) is None
    patient = np.repeat(np.arange(100), 6)
    rows = paired(lambda: (rng.permutation(100) < 50)[patient])
    assert 0.7 * 6 < row_groups.size(rows) < 1.5 * 6


def test_models_with_one_training_set_are_one_draw_and_no_pair():
    """Of few records in each, many are in none, which is no draw: a model that is there twice changes nothing."""
    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat(np.arange(100), 6))
    rows = np.array([(rng.random(100) < 0.2)[patient] for _ in range(8)])
    assert row_groups.size(rows) > 1.5
    assert row_groups.size(np.repeat(rows, 2, axis=0)) == pytest.approx(row_groups.size(rows))
    assert len(row_groups.independent(np.vstack([rows, ~rows[:3], rows[2:5]]))) == 8


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("models", [2, 4, 8, 16])
@pytest.mark.parametrize("paired", [False, True])
def test_an_honest_split_by_patient_is_not_refused(paired, models, shuffled):
    """Most were, as "shadow_member tells who trained the target" (p = 7e-10): six visits were counted as six draws."""
    noted = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        member, *rows = drawn(rng, 1 + models, seed % 2 == 1, shuffled)[0]
        rows = [each for half in rows[: models // 2] for each in (half, ~half)] if paired else rows
        found = membership.examine(np.array(rows), member)
        assert len(found.kept) == models
        assert all("so few shadows do not tell it" in note for note in found.notes)
        noted += len(found.notes)
    assert noted == 0 or (shuffled and models / (1 + paired) <= row_groups.FEW)


def test_patients_that_give_the_target_away_are_refused():
    """A shadow of the target's patients, in part: it is refused, or left out where most are."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        (member, *rows), patient = drawn(rng, 9)
        shadows = np.array(rows)
        shadows[3] = np.where((rng.random(PATIENTS) < 0.48)[patient], member, shadows[3])
        assert row_groups.size(shadows) > 4
        try:
            found += 3 not in membership.examine(shadows, member).kept
        except InputError as error:
            assert "shadow 3 (counted from 0) trained on" in str(error)
            found += 1
    assert found >= 17


def test_what_patients_have_in_common_is_no_sign_of_another_draw():
    """The class alone, and what shadows find hard, told who is a member in one of ten files."""
    told = {"rows": 0, "patients": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (member, *rows), patient = drawn(rng, 9)
        rows, labels = np.array(rows), rng.integers(4, size=PATIENTS)[patient]
        logit = 2 * rng.normal(size=PATIENTS)[patient] + 2 * rows + 0.3 * rng.normal(size=rows.shape)
        sure = 1 / (1 + np.exp(-logit))
        assert blind_guesses.doubts(labels, member, rows) == ()
        told["patients"] += len(blind_guesses.notes(labels, member, sure, rows))
        alone = blind_guesses.by_hardness(sure, np.random.default_rng(1).permuted(rows, axis=1), member)
        told["rows"] += len(blind_guesses.notes(labels, member)) or alone.told
    assert told["patients"] == 0 < told["rows"]


@pytest.mark.parametrize(("visits", "least", "most"), [(1, 18, 20), (10, 0, 2)])
def test_a_shadow_that_guesses_on_few_new_patients_is_no_doubt(visits, least, most):
    """30 of 60 patients are new to each, and each visit counted as one: honest files had the doubt."""
    doubted, count = 0, 600 // visits
    for seed in range(20):
        rng, patient = np.random.default_rng(seed), np.repeat(np.arange(count), visits)
        rows = np.array([(rng.permutation(count) < count // 2)[patient] for _ in range(9)])
        labels = rng.integers(4, size=count)[patient]
        right = rows | (rng.random((9, count)) < 0.5)[:, patient]
        right[4] = rows[4]
        other = (labels + rng.integers(1, 4, size=(9, count))[:, patient]) % 4
        other[4] = rng.integers(4, size=count)[patient]
        p = np.eye(4)[np.where(right, labels, other)] * 0.8 + 0.05
        doubted += len(lost_order.of_answers(labels, p[0], p[1:], rows[1:], rows[0]))
    assert least <= doubted <= most
