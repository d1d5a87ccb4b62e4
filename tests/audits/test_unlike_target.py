"""A `member` that is not that of the answers, from saved predictions to the gate: doubted, and no word of "no leak"."""

import re

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits import gate
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed.infer import AnswersWarning, infer

N = 300
X, Y = make_classification(N, 12, n_informative=8, n_classes=4, flip_y=0.15, random_state=0)
MEMBER = np.array([np.random.default_rng(k).permutation(N) < N // 2 for k in range(9)])
OFF = np.roll(MEMBER[0], 1)


@pytest.fixture(scope="module")
def answers():
    fitted = [
        RandomForestClassifier(20, min_samples_leaf=2, random_state=k).fit(X[m], Y[m]) for k, m in enumerate(MEMBER)
    ]
    return np.stack([one.predict_proba(X) for one in fitted])


def test_a_gate_fails_closed_where_member_is_off_by_one(answers, tmp_path):
    """It held, with exit code 0, and the verdict was "no leak was found"."""
    saved = dict(labels=Y, target=answers[0], shadows=answers[1:], shadow_member=MEMBER[1:], member=OFF)
    np.savez(tmp_path / "p.npz", **saved)
    options = dict(predictions=str(tmp_path / "p.npz"), workdir=str(tmp_path / "run"), attacks="loss,lira_fixed")
    results = audits.run(DeployedConfig(**options))
    assert results["attacks"]["lira_fixed"]["auc"]["value"] < 0.6
    with pytest.raises(
        gate.GateExceeded, match=r"cannot tell .*With np.roll\(member, -1\) it is told with 0\."
    ) as found:
        gate.enforce(gate.parse("auc>0.6"), results)
    assert found.value.exit_code == 6
    page = (tmp_path / "run" / "report.html").read_text()
    assert "off by one row" in page and "no leak was found" not in page and "This run found" not in page


def test_one_call_says_it_first_and_draws_no_conclusion(answers):
    shadows = dict(shadows=answers[1:], shadow_member=MEMBER[1:])
    with pytest.warns(AnswersWarning, match="off by one row"):
        report = mia.audit(answers[0], X, Y, OFF, shadows=shadows, attacks="loss,lira_fixed")
    assert re.match("The numbers below are in doubt. Each shadow, in the target's place, is told", report.verdict)
    assert "no leak was found" not in report.verdict and "overfit" not in report.verdict
    with pytest.warns(AnswersWarning, match="off by one row"):
        infer("loss", labels=Y, target=answers[0], member=OFF, **shadows)
    honest = mia.audit(answers[0], X, Y, MEMBER[0], shadows=shadows, attacks="loss,lira_fixed")
    assert "in doubt" not in honest.verdict and honest.notes == ()
