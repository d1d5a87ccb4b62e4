"""Records beside saved answers that are in another order, or of other columns, are told; those of the models not."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_classification
from sklearn.ensemble import RandomForestClassifier

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.checks.records import other_records

DIGITS = load_digits(return_X_y=True)
SOME = np.random.default_rng(0).permutation(len(DIGITS[1]))[:600]
SETS = {
    "digits": (DIGITS[0][SOME], DIGITS[1][SOME]),
    "cancer": load_breast_cancer(return_X_y=True),
    "few telling columns of many": make_classification(
        600, 100, n_informative=4, n_redundant=0, class_sep=2, random_state=0
    ),
}


def answered(x, y, first=None):
    """What real models answer [5, n, c], and who trained them bool [5, n]: the first of them, where it is given."""
    member = np.array([np.random.default_rng(k).permutation(len(y)) < len(y) // 2 for k in range(5)])
    member[0] = member[0] if first is None else first
    return np.stack(
        [RandomForestClassifier(20, random_state=0).fit(x[m], y[m]).predict_proba(x) for m in member]
    ), member


@pytest.mark.parametrize("name", SETS)
def test_records_of_the_models_and_others(name):
    x, y = SETS[name]
    p, member = answered(x, y)
    assert other_records.notes(x, y, p, member) == []
    (said,) = other_records.notes(np.random.default_rng(0).permutation(x), y, p, member)
    assert "x seems to be in another order than labels and answers" in said
    assert other_records.notes(np.random.default_rng(0).permutation(x), y, p, [None] * 5) == []


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(k, marks=pytest.mark.integration) for k in range(2, 10))])
def test_models_that_know_little_tell_nothing(seed):
    """SIMULATED: half of the labels are noise; and few records, of which a forest learns little."""
    x, y = make_classification(400, 20, n_informative=4, flip_y=0.8, random_state=seed)
    p, member = answered(x, y)
    assert other_records.notes(x, y, p, member) == []
    x, y = load_wine(return_X_y=True)
    assert other_records.notes(np.random.default_rng(seed).permutation(x), y, *answered(x, y)) == []


def test_a_gate_on_the_blind_baseline_does_not_pass_in_silence(tmp_path):
    """Members of one hospital, others of another: the baseline found nothing in rows of the file before the split."""
    x, y = SETS["digits"]
    hospital = np.random.default_rng(0).permutation(len(y)) % 2
    order = np.argsort(hospital, kind="stable")
    p, member = answered(x[order], y[order], hospital[order] == 0)
    given = dict(labels=y[order], target=p[0], shadows=p[1:], shadow_member=member[1:], member=member[0])
    for name, table in {"right": np.c_[x, hospital][order], "wrong": np.c_[x, hospital]}.items():
        np.savez(tmp_path / f"{name}.npz", x=table, **given)
        config = DeployedConfig(predictions=str(tmp_path / f"{name}.npz"), attacks="loss", workdir=str(tmp_path / name))
        results = audits.run(config)
        told = [note for note in results["shadows"]["notes"] if "another order than labels and answers" in note]
        assert len(told) == (name == "wrong") and results["blind"]["told"] == (name == "right")
    shadows = {"shadows": p[1:], "shadow_member": member[1:]}
    for table, said in ((x[order], False), (x, True)):
        found = mia.audit(p[0], table, y[order], member[0], shadows=shadows, attacks="loss")
        assert any("another order than labels and answers" in note for note in found.notes) == said
