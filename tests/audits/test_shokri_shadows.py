"""The main job where shadow data are not real, target and shadows are another library's, or a defense is not known."""

import contextlib
import types

import numpy as np
import pytest
from small_runs import LOGISTIC, SHADOWS, M, artifact_files, config, scores
from test_shokri_audit import SCHEMA_1, matches, refused

from mia_jax import audits
from mia_jax.audits.plans import shokri
from mia_jax.progress import silent
from mia_jax.synthesis import resume
from mia_jax.targets import platforms
from mia_jax.targets.black_box import BudgetSpent

pytestmark = pytest.mark.usefixtures("no_pages")


@pytest.mark.parametrize("kind", ["nn", LOGISTIC])
@pytest.mark.parametrize("shadow_data", ["noisy", "marginal", pytest.param("search", marks=pytest.mark.integration)])
@pytest.mark.integration
def test_shadow_data_that_is_not_real(own, tmp_path, monkeypatch, shadow_data, kind):
    fitted = []
    train = platforms.train
    monkeypatch.setattr(platforms, "train", lambda *a: fitted.extend(a[3]) or train(*a))
    given = config(own, tmp_path / "w", shadow_data=shadow_data, target_kind=kind, k_max=6, k_min=1)
    results = audits.run(given)
    matches(results, SCHEMA_1)
    story = results["shadows"]["synthesis"]
    assert results["shadows"]["data"] == shadow_data and results["shadows"]["train_records"] == M
    match shadow_data:
        case "noisy":
            assert story["noise"] == 0.1 and 0.05 < story["changed"] < 0.15
        case "marginal":
            assert story == {"queries": 4 * M}
        case "search":
            assert sum(story["accepted"]) == 4 * M and story["queries"] >= 4 * M and not story["exhausted"]
    asked = 1 if shadow_data != "noisy" else 0  # the target, once more: to label or find records
    assert len(fitted) == (0 if kind == "nn" else asked + 1 + SHADOWS)
    held, written = scores(tmp_path / "w"), artifact_files(tmp_path / "w")
    fitted.clear()
    assert audits.run(given)["seconds"]["shadows"] == results["seconds"]["shadows"] > 0
    assert len(fitted) == (0 if kind == "nn" else asked)
    assert scores(tmp_path / "w") == held and artifact_files(tmp_path / "w") == written


@pytest.mark.integration
def test_another_library_goes_on_where_it_stopped(own, tmp_path):
    given = config(own, tmp_path / "whole", target_kind=LOGISTIC)
    results = audits.run(given)
    assert results["target"] | {"kind": LOGISTIC, "title": "LogisticRegression of sklearn"} == results["target"]
    assert min(results["seconds"][stage] for stage in ("target", "shadows", "attack")) > 0
    with pytest.raises(KeyboardInterrupt):
        audits.run(config(own, tmp_path / "w", target_kind=LOGISTIC), progress=interrupted("shadow models", 2))
    assert len(artifact_files(tmp_path / "w", "answers")) == 3  # the target's, and two shadows'
    before = artifact_files(tmp_path / "w")
    audits.run(config(own, tmp_path / "w", target_kind=LOGISTIC))
    assert scores(tmp_path / "w") == scores(tmp_path / "whole")
    after = artifact_files(tmp_path / "w")
    assert len(artifact_files(tmp_path / "w", "answers")) == 1 + SHADOWS and before.items() <= after.items()


def interrupted(title, after):
    """Progress that is interrupted in the stage of this title, after so many calls."""

    def progress(now, total):
        calls = 0

        def advance(steps, note=""):
            nonlocal calls
            calls += 1
            if now == title and calls == after:
                raise KeyboardInterrupt

        return contextlib.nullcontext(advance)

    return progress


@pytest.mark.integration
def test_a_search_goes_on_where_it_stopped(own, tmp_path, monkeypatch):
    given = dict(shadow_data="search", target_kind=LOGISTIC, k_max=6, k_min=1)
    audits.run(config(own, tmp_path / "whole", **given))
    monkeypatch.setitem(resume.search.__kwdefaults__, "every", 0.0)
    with pytest.raises(KeyboardInterrupt):
        audits.run(config(own, tmp_path / "w", **given), progress=interrupted("synthesis", 5))
    assert len(artifact_files(tmp_path / "w", "search")) == 1
    found = []

    def progress(title, total):
        if title == "synthesis":
            return contextlib.nullcontext(lambda steps, note="": found.append(steps))
        return silent(title, total)

    audits.run(config(own, tmp_path / "w", **given), progress=progress)
    assert found[0] > 0 and sum(found) == 4 * M
    assert scores(tmp_path / "w") == scores(tmp_path / "whole")


@pytest.mark.integration
def test_queries_that_end_too_early(own, tmp_path):
    given = dict(shadow_data="search", target_kind=LOGISTIC, k_max=6, k_min=1)
    refused(config(own, tmp_path / "v", max_queries=2, **given), "`max_queries=2` is too few: `shadow_data=search`")
    with pytest.raises(BudgetSpent, match="too few to train a shadow on; raise `max_queries`") as error:
        audits.run(config(own, tmp_path / "w", max_queries=3, **given))
    assert error.value.exit_code == 5


@pytest.mark.integration
def test_an_attacker_who_does_not_know_the_defense(finished, own, tmp_path):
    results = audits.run(config(own, tmp_path / "w", defenses="top_k(1)", adaptive=False))
    assert results["config"]["defences"] == "top_k(1)" and results["config"]["adaptive"] is False
    assert artifact_files(tmp_path / "w", "models").keys() == artifact_files(finished[0], "models").keys()
    with np.load(tmp_path / "w" / "scores.npz") as worn, np.load(finished[0] / "scores.npz") as bare:
        assert not np.array_equal(worn["score"], bare["score"])
        assert worn["entropy"].max() < bare["entropy"].max()
    assert results["target"]["test_accuracy"] == finished[1]["target"]["test_accuracy"]


class Known(Exception):
    """What there is to know of a run is known."""


@pytest.mark.parametrize("adaptive", [True, False])
def test_an_attacker_may_know_how_the_target_was_trained(own, tmp_path, monkeypatch, adaptive):
    trained = {}

    def train(run, job, *, target=False):
        trained[job.title] = (job.config.l2, job.config.dropout, job.config.num_epochs)
        if job.title == "shadow models":
            raise Known
        return types.SimpleNamespace(names=["the target"], lost={})

    monkeypatch.setattr(shokri, "train_models", train)
    with pytest.raises(Known):
        audits.run(config(own, tmp_path / "w", l2=0.01, dropout=0.5, adaptive=adaptive))
    assert trained == {"target model": (0.01, 0.5, 3), "shadow models": (0.01, 0.5, 3) if adaptive else (0, 0, 3)}
