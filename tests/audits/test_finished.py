"""A finished run, opened again: its target answers as it did in the run."""

import json
import shutil

import jax
import numpy as np
import pytest
from small_runs import LOGISTIC, M, N, artifact_files, config, records, write_data

from mia_jax import audits, signals
from mia_jax.audits import config as configs
from mia_jax.audits import finished as workdirs
from mia_jax.storage import artifacts
from mia_jax.types import InputError

pytestmark = pytest.mark.integration  # each makes a run of its own


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, and its scores."""
    shutil.copytree(finished[0], tmp_path / "w")
    return tmp_path / "w"


def scores(workdir):
    with np.load(workdir / "scores.npz") as f:
        return {name: f[name] for name in f.files}


def answers_as_in_the_run(opened, workdir):
    held, data = scores(workdir), records()
    x, y = data["x"][held["index"]], data["y"][held["index"]]
    log_p = np.asarray(opened.target.ask(x))
    np.testing.assert_allclose(signals.confidence(log_p, y), held["confidence"], atol=1e-6)
    np.testing.assert_allclose(signals.normalized_entropy(log_p), held["entropy"], atol=1e-6)


def test_the_target_answers_as_in_the_run(copied):
    before = artifact_files(copied)
    opened = workdirs.open_target(copied)
    answers_as_in_the_run(opened, copied)
    assert opened.schema.num_classes == opened.target.answers.classes == 3
    assert artifact_files(copied) == before  # nothing was trained again
    assert json.loads(json.dumps(opened.about)) == opened.about


def test_an_adversary_may_have_all_records_but_the_targets(copied):
    opened, data = workdirs.open_target(copied), records()
    mine = np.isin(np.arange(N), scores(copied)["index"])
    assert mine.sum() == 2 * M and len(opened.others.y) == N - 2 * M
    as_rows = lambda x, y: sorted(map(tuple, np.column_stack([x, y]).tolist()))  # noqa: E731
    assert as_rows(*opened.others) == as_rows(data["x"][~mine], data["y"][~mine])


def test_who_was_asked_about(copied):
    opened, held, data = workdirs.open_target(copied), scores(copied), records()
    np.testing.assert_array_equal(opened.asked.x, data["x"][held["index"]])
    np.testing.assert_array_equal(opened.asked.y, held["label"])
    np.testing.assert_array_equal(opened.member, held["member"])


def test_a_defended_target_stays_defended(own, tmp_path, no_pages):
    audits.run(config(own, tmp_path / "w", target_kind=LOGISTIC, defenses="top_k(1),round_to(2)", num_shadows=1))
    opened = workdirs.open_target(tmp_path / "w")
    answers_as_in_the_run(opened, tmp_path / "w")
    assert not opened.target.traced and opened.target.answers.digits == 2
    assert opened.about["defences"] == ["top_k(1)", "round_to(2)"]


def test_it_lets_go_of_the_workdir(copied, own):
    opened = workdirs.open_target(copied)
    identity = configs.workdir_identity(configs.resolve(config(own, copied)))
    with artifacts.open_workdir(copied, identity):
        opened.workdir.save("search", {"k": 1}, {"a": np.zeros(1)})
        assert opened.workdir.load("search", {"k": 1}) is not None


def refused(path, reason):
    with pytest.raises(InputError, match=reason) as error:
        workdirs.open_target(path)
    assert "\n" not in str(error.value)


def test_runs_that_are_not_finished(copied, tmp_path):
    """No folder, no run, a run that was interrupted, a damaged one."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "empty"):
        refused(path, f"{path} holds no finished run; run mia-jax train with `workdir={path}` to its end")
        assert not (path / "lock").exists()
    results = (copied / "results.json").read_text()
    (copied / "results.json").unlink()
    refused(copied, "holds no finished run")
    for damaged in ("", "{}", results[: len(results) // 2]):
        (copied / "results.json").write_text(damaged)
        refused(copied, "holds no finished run")
    (copied / "results.json").write_text(results)
    (copied / "config.json").write_text('{"nothing": "of the kind"}')
    refused(copied, "holds no finished run")


def test_records_that_have_changed_since(own, tmp_path, no_pages):
    path = tmp_path / "mine.npz"
    shutil.copy(own, path)
    audits.run(config(path, tmp_path / "w", target_kind=LOGISTIC, num_shadows=1))
    workdirs.open_target(tmp_path / "w")
    write_data(path, x=1 - records()["x"])
    refused(
        tmp_path / "w",
        r"the records of .* \(local\) are not those of the run in .* \(local\); give its `data_dir`, or run it again",
    )
    path.unlink()
    refused(tmp_path / "w", "there is no file")


def test_a_lost_network_is_trained_again(copied):
    """The same answers, for the seed and the records are the same."""
    before = np.asarray(workdirs.open_target(copied).target.ask(records()["x"]))
    for path in (copied / "models").iterdir():
        path.unlink()
    again = workdirs.open_target(copied)
    np.testing.assert_array_equal(np.asarray(again.target.ask(records()["x"])), before)
    assert len(list((copied / "models").iterdir())) == 1  # the shadows are not needed
    assert jax.tree.leaves(again.about) == jax.tree.leaves(workdirs.open_target(copied).about)
