"""Several processes on one workdir: each makes its share, none makes what another makes, and bytes are those of one."""

import dataclasses
import shutil
import sys
import threading

import numpy as np
import pytest
from small_runs import LOGISTIC, SHADOWS, artifact_files, config, records, scores, write_data

from mia_jax.audits import config as configs
from mia_jax.audits import engines, pipeline, shared_runs
from mia_jax.audits.config import BalancedConfig, CanaryConfig, DeployedConfig
from mia_jax.audits.flags import Sharing, of_share
from mia_jax.plans.shards import Given, Shard
from mia_jax.progress import silent
from mia_jax.storage import artifacts
from mia_jax.storage.locks import Locks
from mia_jax.types import InputError, WorkdirHeld

LOCAL = Sharing(None, "local", 8, {}, {}, None)


def shared(given, count, order):
    return [pipeline.run_share(given, Shard(i, count)) for i in order]


@pytest.mark.integration
def test_shards_make_what_one_run_makes(finished, own, tmp_path, no_pages):
    given = config(own, tmp_path / "w")
    shares = shared(given, 2, (1, 0))
    assert [(share.made, share.missing) for share in shares] == [(1, 2), (2, 0)]
    assert str(shares[0]) == "1 of 1 shadow models made here; 2 of 3 are missing"
    before = artifact_files(tmp_path / "w", "models")
    assert len(before) == SHADOWS + 1 and not (tmp_path / "w" / "results.json").exists()
    assert shared(given, 2, (0,))[0].made == 0
    pipeline.run(given)
    assert artifact_files(tmp_path / "w", "models") == before
    assert scores(tmp_path / "w") == scores(finished[0])
    assert not (tmp_path / "w" / "locks").exists()


@pytest.mark.integration
def test_models_of_other_libraries_are_observed_once(own, tmp_path, no_pages):
    """Models of other libraries go to no disk: what is seen of them does."""
    given = config(own, tmp_path / "w", target_kind=LOGISTIC)
    shares = shared(given, 2, (1, 0))
    assert [(share.made, share.missing) for share in shares] == [(1, 2), (2, 0)]
    before = artifact_files(tmp_path / "w", "answers")
    pipeline.run(given)
    assert artifact_files(tmp_path / "w", "answers") == before and len(before) == SHADOWS + 1
    pipeline.run(dataclasses.replace(given, workdir=str(tmp_path / "one")))
    assert scores(tmp_path / "w") == scores(tmp_path / "one")


@pytest.mark.parametrize("kind", ["nn", pytest.param(LOGISTIC, marks=pytest.mark.integration)])
def test_shards_of_a_single_shadow(own, tmp_path, kind):
    """It was taken for the target, and ended with a traceback."""
    shares = shared(config(own, tmp_path / "w", num_shadows=1, num_epochs=1, target_kind=kind), 2, (1, 0))
    assert [(share.mine, share.made, share.missing) for share in shares] == [(0, 0, 1), (1, 1, 0)]


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["nn", LOGISTIC, "amazon"])
def test_shards_of_a_balanced_audit(own, tmp_path, no_pages, kind):
    options = dict(
        dataset=str(own), num_models=6, num_targets=2, num_epochs=3, hidden=8, attacks="lira,rmia", target_kind=kind
    )
    options |= {} if kind == "nn" else {"num_epochs": BalancedConfig.num_epochs, "hidden": BalancedConfig.hidden}
    given = BalancedConfig(**options, workdir=str(tmp_path / "w"))
    assert [share.made for share in shared(given, 4, (3, 1, 0, 2))] == [1, 2, 2, 1]
    pipeline.run(given)
    pipeline.run(dataclasses.replace(given, workdir=str(tmp_path / "one")))
    assert scores(tmp_path / "w") == scores(tmp_path / "one")


@pytest.mark.integration
@pytest.mark.parametrize("method", ["marginal", "search"])
def test_a_shard_whose_shadows_need_the_target(own, tmp_path, no_pages, method):
    options = dict(shadow_data=method, shadow_records=80, **(dict(conf_min=0.1) if method == "search" else {}))
    given = config(own, tmp_path / "w", **options)
    shared(given, 2, (1, 0))
    pipeline.run(given)
    pipeline.run(dataclasses.replace(given, workdir=str(tmp_path / "one")))
    assert scores(tmp_path / "w") == scores(tmp_path / "one")


@pytest.mark.integration
def test_a_shard_trains_the_target_that_the_run_takes_up(tmp_path, no_pages):
    """Of records whose columns have units, too: it was trained under another name, and trained again."""
    own = write_data(tmp_path / "own.npz", x=1000 * records()["x"].astype(np.float32) + np.arange(12))
    given = config(own, tmp_path / "w", shadow_data="marginal", shadow_records=80)
    shared(given, 2, (1, 0))
    before = artifact_files(tmp_path / "w", "models")
    pipeline.run(given)
    assert artifact_files(tmp_path / "w", "models") == before and len(before) == SHADOWS + 1


@pytest.mark.integration
def test_a_run_beside_another_waits_and_makes_nothing_twice(finished, own, tmp_path, no_pages):
    """The other one is this process here; what it would make is then there."""
    given, told = config(own, tmp_path / "w"), []
    resolved = configs.resolve(given)
    with artifacts.open_workdir(tmp_path / "w", configs.workdir_identity(resolved), shared=True) as other:
        assert other.take("results", {}) is None
        waits = threading.Event()

        def notify(line):
            told.append(line)
            if "works in the same workdir" in line:
                waits.set()

        run = threading.Thread(target=pipeline.run, args=(given,), kwargs=dict(notify=notify))
        run.start()
        assert waits.wait(60) and run.is_alive() and not (tmp_path / "w" / "results.json").exists()
        other.free("results", {})
        run.join()
    assert scores(tmp_path / "w") == scores(finished[0])
    assert len([line for line in told if "what it makes is not made twice" in line]) == 1


@pytest.mark.integration
def test_what_another_process_has_made_meanwhile_is_not_made_here(finished, own, tmp_path, no_pages):
    """The line of a share counted it so."""
    given, waits, shares = config(own, tmp_path / "w"), threading.Event(), []
    identity = configs.workdir_identity(configs.resolve(given))
    with artifacts.open_workdir(tmp_path / "w", identity, shared=True) as workdir:
        workdir.claim()
        others = Locks(tmp_path / "w" / "locks")
        theirs = sorted((finished[0] / "models").iterdir())
        assert all(others.take(f"models-{path.stem}") is None for path in theirs)

        def notify(line):
            if "works in the same workdir" in line:
                waits.set()

        share = threading.Thread(target=lambda: shares.append(pipeline.run_share(given, Shard(1, 2), notify=notify)))
        share.start()
        assert waits.wait(60)
        shutil.copytree(finished[0] / "models", tmp_path / "w" / "models")
        others.close()
        share.join()
    assert str(shares[0]) == "0 of 1 shadow models made here, 1 found; all 3 are there"


def test_audits_without_shares(own, tmp_path, canary_config):
    with pytest.raises(InputError, match="are of audits that train many models, which this one does not"):
        pipeline.run_share(canary_config, Shard(0, 2))
    with pytest.raises(InputError, match="leave `shard` out"):
        pipeline.place(CanaryConfig(canaries=4, dataset=str(own), workdir=str(tmp_path / "w")))
    assert not (tmp_path / "w").exists()


def test_a_schedulers_number_is_told(own, tmp_path):
    told = []
    part = shared_runs.Part(LOCAL, Given(Shard(2, 3), "SLURM_ARRAY_TASK_ID"))
    quick = config(own, tmp_path / "w", num_epochs=1)
    assert shared_runs.run(quick, part, command="", notify=told.append, progress=silent) is None
    assert told[0] == "Shard 2/3 of the models, by SLURM_ARRAY_TASK_ID; `shard=off` makes all of them here"
    assert told[-1].startswith("Shard 2/3 is done: 1 of 1 shadow models made here; 2 of 3 are missing; the same")


def test_an_audit_of_one_process_says_who_is_at_work(tmp_path):
    """Whoever asks a service, or reads saved answers, is alone with its workdir."""
    rng = np.random.default_rng(0)
    p, trained = rng.dirichlet([1, 1, 1], (5, 60)), rng.random((5, 60)) < 0.5
    saved = dict(labels=rng.integers(3, size=60), target=p[0], shadows=p[1:], shadow_member=trained[1:])
    np.savez(tmp_path / "p.npz", **saved)
    given = DeployedConfig(predictions=str(tmp_path / "p.npz"), workdir=str(tmp_path / "w"))
    with (
        artifacts.open_workdir(tmp_path / "w", configs.workdir_identity(configs.resolve(given))),
        pytest.raises(WorkdirHeld, match=r"held by process \d+ on .*; wait for it, or choose another") as error,
    ):
        pipeline.run(given)
    assert error.value.exit_code == 4


# --- engines ---------------------------------------------------------------------------------------------------------


def test_the_command_of_a_share():
    argv = ["--engine=slurm", "--shards", "4", "--slurm=time=5,gres=gpu:1", "--pdf", "--seed=1", "-shard", "0/2"]
    assert of_share(argv, "3/4") == ["--seed=1", "--shard=3/4"]


class Fails:
    """A task that ends with each of these codes in turn, whenever it is started."""

    def __init__(self, codes):
        self.codes = codes

    def poll(self):
        code = self.codes.pop(0)
        return engines.Ended(code, "error: what is wrong" if code else "")


@pytest.mark.parametrize(
    "codes, line",
    [
        ([0], None),
        ([None, 1, -9, 0], None),
        ([1, 2], "shard 0/1 failed: what is wrong"),  # what its user must mend is not tried again
        ([1, 1, 1, 1], "shard 0/1 failed: what is wrong"),
    ],
)
def test_a_share_that_fails_is_started_again(monkeypatch, codes, line):
    monkeypatch.setattr(engines, "EVERY", 0)
    started, left, told = [], list(codes), []

    def start(which):
        started.extend(which)
        return {i: Fails(left) for i in which}

    if line is None:
        engines.finish(start, 1, told.append, silent)
        assert not left and len(started) == len(codes) and len(told) == len(codes) - 1
    else:
        with pytest.raises(engines.EngineError, match=line):
            engines.finish(start, 1, told.append, silent)


def test_a_command_that_is_run_elsewhere(tmp_path, capsys):
    program = "import os, sys; print(os.getcwd()); print('working', file=sys.stderr); sys.exit('error: no')"
    assert engines.run_command([sys.executable, "-c", program], str(tmp_path)) == (1, "error: no")
    assert "working" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["submitit", "ray"])
def test_an_engine_that_is_not_installed(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"needs {name}, which is not installed .* pip install 'mia-jax"):
        if name == "ray":
            engines.RayCluster([["true"]], {})
        else:
            engines.Slurm([["true"]], tmp_path, {"time": "5"}, lambda line: None)


@pytest.mark.parametrize(
    "text, expected", [("60", 60), ("1:30:00", 90), ("2-00:00:30", 2881), ("5:00", 5), ("1-2", 1560)]
)
def test_time_limits(text, expected):
    assert engines.minutes(text) == expected


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1:2:3:4"])
def test_a_time_limit_is_needed(text):
    with pytest.raises(InputError, match="the time that a share takes at most"):
        engines.minutes(text)
