"""Other records beside those in question, of a service or in process: units, rounded copies. The digits are real."""

import dataclasses
import functools

import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.config import Brought, DeployedConfig
from mia_jax.audits.deployed import populations
from mia_jax.progress import silent
from mia_jax.targets import black_box, remote, server

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

X, Y = datasets.load_digits(return_X_y=True)
N = 240  # of the records in question


@pytest.fixture
def audited(tmp_path, monkeypatch, no_pages):
    """An audit of a real service of digits of 0 to 16, what it told, and what had been asked when it was told."""
    monkeypatch.setattr(remote, "Options", functools.partial(remote.Options, backoff=0.01, retries=2))
    model, asked = LogisticRegression(max_iter=200).fit(X[: N // 2], Y[: N // 2]), []

    def ask(x):
        asked.append(len(x))
        return model.predict_log_proba(np.asarray(x, float))

    def audited(x, y, mine=X[:N]):
        np.savez(tmp_path / "mine.npz", x=mine, y=Y[:N], member=np.arange(N) < N // 2)
        np.savez(tmp_path / "other.npz", x=x, y=y)
        told = []
        config = DeployedConfig(
            data=str(tmp_path / "mine.npz"),
            shadow_data=str(tmp_path / "other.npz"),
            workdir=str(tmp_path / "run"),
            num_shadows=2,
            attacks="loss",
            target_kind="sklearn:sklearn.naive_bayes.GaussianNB",
            target="to be known",
        )
        target = black_box.Target(ask, black_box.Answers(10), traced=False)
        with server.serve(target, (64,)) as url:
            config = dataclasses.replace(config, target=url + server.paths()["oip"])
            found = audits.run(config, notify=lambda line: told.append((line, sum(asked))))
        return found, told

    return audited


def test_another_unit_is_said_before_anything_is_asked(audited):
    rows = np.r_[:30, 600:800]  # of which the first are in question
    found, told = audited(X[rows] / 16, Y[rows])
    assert found["shadows"]["data"].endswith("without 30 records under question")
    assert any(
        "30 records of" in line and "under question but for rounding, in another unit" in line for line, _ in told
    )
    [(line, asked)] = [(line, asked) for line, asked in told if line.startswith("warning: The numbers of")]
    assert asked == 0 and "about 1/16 of those of" in line and "Give it x * 16" in line
    assert line.removeprefix("warning: ") in found["shadows"]["notes"]


def test_classes_in_another_order_are_said(audited):
    found, told = audited(X[240:480], 9 - Y[240:480])
    [(line, asked)] = [(line, asked) for line, asked in told if "seem to be numbered otherwise" in line]
    assert asked == 0 and "class 0 is as 9 there" in line
    assert line.removeprefix("warning: ") in found["shadows"]["notes"]


def test_nothing_is_said_of_other_digits(audited):
    found, told = audited(X[600:800], Y[600:800])
    assert not any("seem" in line for line, _ in told)
    assert not any("unit" in line for line, _ in told) and not any("unit" in note for note in found["shadows"]["notes"])


def test_copies_that_were_rounded_train_no_shadow(audited):
    """They differ in the sixth digit from those in question: 40 of these, and 200 others, all in fewer digits."""
    rng = np.random.default_rng(0)
    x = X + 0.001 * rng.random(X.shape)  # no two numbers are equal
    rows = np.r_[20:60, 600:800]
    found, told = audited(np.array([[float(f"{v:.6g}") for v in row] for row in x[rows]]), Y[rows], mine=x[:N])
    assert found["shadows"]["data"].endswith("without 40 records under question")
    assert sum("40 records of" in line and line.endswith("no shadow is trained on them") for line, _ in told) == 1
    assert not any("in another unit" in line for line, _ in told)


def test_the_same_records_a_little_changed_are_said(audited):
    """Next year's export of the same customers trained the shadows: they knew the records, without a word."""
    changed = X[:N] + 0.3 * X[:N].std(axis=0) * np.random.default_rng(0).normal(size=(N, 64))
    found, told = audited(changed, Y[:N])
    assert any("seem to be in" in line and "a little changed" in line for line, asked in told if not asked)
    assert any("a little changed" in note for note in found["shadows"]["notes"])


@pytest.mark.filterwarnings("ignore:Members and non-members differ")  # digits are in the order of who wrote them
@pytest.mark.parametrize("shadows", [None, GaussianNB()])
def test_a_population_of_records_in_question_or_in_another_unit_is_noted(shadows):
    """Both were silent: of such records the target and the shadows answer otherwise than of any population."""
    model, member = GaussianNB().fit(X[: N // 2], Y[: N // 2]), np.arange(N) < N // 2

    def notes(rows, times):
        given = dict(shadows=shadows, num_shadows=4, attacks="attack_p", progress=silent)
        found = mia.audit(model.predict_proba, X[:N], Y[:N], member, population=(X[rows] * times, Y[rows]), **given)
        return " ".join(found.results["shadows"]["notes"])

    honest, both = notes(np.r_[600:800], 1), notes(np.r_[30:50, 600:800], 1 / 16)
    assert "unit" not in honest and "population" not in honest
    assert "The numbers of the population are about 1/16 of those of x" in both and "Give it x * 16" in both
    assert "20 of the 220 records of the population are records in question" in both


def test_records_of_few_values_are_equal_by_chance():
    x = (np.arange(200)[:, None] >> np.arange(5)) & 1
    given = Brought(None, x, np.arange(200) % 2, None, (x[:50], np.arange(50) % 2))
    assert populations.notes(given) == []
    assert "50 of the 50 records" in populations.notes(given._replace(x=np.unique(x, axis=0)))[0]
