"""What is seen of many models lies on disk and is read in parts, and attacks make the same of it, bit for bit."""

import numpy as np
import pytest
from small_runs import LOGISTIC, artifact_files, scores

from mia_jax.attacks import ATTACKS
from mia_jax.audits import bounds, pipeline
from mia_jax.audits.config import BalancedConfig
from mia_jax.rows import Rows
from mia_jax.targets import observation

BY_RECORD = [name for name, entry in ATTACKS.items() if name != "majority" and entry.needed() <= {"in", "out"}]
PER_EXAMPLE = "lira,lira_offline,lira_fixed,rmia,rmia_offline,base,bavaria,attack_r,calibrated_loss,pmia,informia"


def audit(own, workdir, **changed):
    options = dict(num_models=6, num_targets=2, num_epochs=2, hidden=8) | changed
    return BalancedConfig(dataset=str(own), workdir=str(workdir), **options)


@pytest.mark.parametrize(
    ("attacks", "kind"),
    [
        pytest.param("lira,rmia", "nn", marks=pytest.mark.integration),
        pytest.param(",".join(BY_RECORD), "nn", marks=pytest.mark.integration),
        pytest.param("lira,rmia,loss,quantile", LOGISTIC, marks=pytest.mark.integration),
    ],
)
def test_scores_are_the_same_bytes_when_nothing_is_held(own, tmp_path, no_pages, monkeypatch, attacks, kind):
    """Who trains on what, parameters, what is seen, scores: each in files, as if it were too much for the memory."""
    draws = np.random.default_rng(0).random((6, 360), np.float32)
    monkeypatch.setattr("mia_jax.audits.balanced.observations._draws", lambda key, member: draws)
    given = dict(attacks=attacks, target_kind=kind)
    held = pipeline.run(audit(own, tmp_path / "held", **given))
    monkeypatch.setattr(bounds, "HELD", 0)
    kept = pipeline.run(audit(own, tmp_path / "kept", **given))
    assert scores(tmp_path / "kept") == scores(tmp_path / "held")
    assert kept["attacks"] == held["attacks"] and kept["exposure"] == held["exposure"]
    stage = "seen" if kind == "nn" else "answers"
    there = artifact_files(tmp_path / "kept", stage)
    assert there and (kind != "nn" or not artifact_files(tmp_path / "held", stage))
    pipeline.run(audit(own, tmp_path / "kept", **given))
    assert artifact_files(tmp_path / "kept", stage) == there  # found, not made again


@pytest.mark.integration
def test_no_array_of_all_models_is_read_whole(own, tmp_path, no_pages, monkeypatch):
    """Attacks that compare a record with itself read a model's row at a time, or some columns of all."""
    monkeypatch.setattr(bounds, "HELD", 0)
    read = []
    whole = Rows.__array__
    monkeypatch.setattr(Rows, "__array__", lambda rows, *a, **k: read.append(rows.shape) or whole(rows, *a, **k))
    pipeline.run(audit(own, tmp_path / "w", attacks=PER_EXAMPLE))
    assert {shape[0] for shape in read} <= {2}  # the two targets


@pytest.mark.integration
def test_a_damaged_observation_is_made_again(own, tmp_path, no_pages, monkeypatch):
    monkeypatch.setattr(bounds, "HELD", 0)
    given = audit(own, tmp_path / "w", attacks="lira")
    pipeline.run(given)
    before = scores(tmp_path / "w")
    one = min((tmp_path / "w" / "seen").glob("*.npz"))
    content = bytearray(one.read_bytes())
    content[len(content) // 3] ^= 1
    one.write_bytes(content)
    for file in (tmp_path / "w" / "scores").glob("*.npz"):
        file.unlink()
    with pytest.warns(UserWarning, match="is damaged"):
        pipeline.run(given)
    assert scores(tmp_path / "w") == before


@pytest.mark.integration
def test_programs_are_compiled_once_for_all_models(own, tmp_path, no_pages, monkeypatch):
    """Not for each chunk of models that another process might observe meanwhile."""
    given = audit(own, tmp_path / "w", attacks="lira", num_models=20, num_epochs=1)
    monkeypatch.setattr(bounds, "HELD", 0)
    made = []
    asking = observation.asking
    monkeypatch.setattr(observation, "asking", lambda *a: made.append(a) or asking(*a))
    pipeline.run(given)
    assert len(made) == 3  # what attacks see of candidates and of the population, and what reports show
