"""``jobs``: several processes train models of other libraries, to the bits of one; what cannot be is one line."""

import numpy as np
import pytest
from small_runs import artifact_files, own_module, scores, write_data

from mia_jax import audits
from mia_jax.audits import flags
from mia_jax.audits.config import BalancedConfig, Config
from mia_jax.targets import platforms, processes
from mia_jax.types import InputError, Records

pytestmark = pytest.mark.usefixtures("no_pages")

MINE = """
import os, pathlib, threading
from sklearn.ensemble import RandomForestClassifier

def fit(x, y, *, seed):
    with open({log!r}, "a") as f:
        f.write(f"{{os.getpid()}}\\n")
    return RandomForestClassifier(5, random_state=seed).fit(x, y)

def locked(x, y, *, seed):
    lock, model = threading.Lock(), fit(x, y, seed=seed)
    return lambda x: model.predict_proba(x) if lock else None

def dies(x, y, *, seed):
    os._exit(9)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The name of a user's module, and the file to which it writes the process of each training."""
    log = tmp_path / "trained.txt"
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "4")
    return own_module(tmp_path, monkeypatch, MINE.format(log=str(log))), log


def by(log):
    return log.read_text().split()


@pytest.mark.integration
def test_processes_train_to_the_bits_of_one_and_go_on_where_one_stopped(mine, tmp_path):
    name, log = mine
    own = write_data(tmp_path / "own.npz")
    some = dict(dataset=str(own), target_kind=f"{name}:fit", num_targets=1, attacks="loss,rmia")
    alone = BalancedConfig(**some, num_models=8, workdir=str(tmp_path / "alone"))
    audits.run(alone)
    assert len({*by(log)}) == 1
    log.unlink()
    few = BalancedConfig(**some, num_models=4, workdir=str(tmp_path / "several"), jobs=2)
    audits.run(few)
    before = artifact_files(tmp_path / "several", "answers")
    first = len(by(log))
    audits.run(BalancedConfig(**some, num_models=8, workdir=str(tmp_path / "several"), jobs=2))
    assert len({*by(log)}) > 1 and len(by(log)) - first == 4  # only what was missing
    assert before.items() <= artifact_files(tmp_path / "several", "answers").items()
    assert scores(tmp_path / "several") == scores(tmp_path / "alone")


@pytest.mark.integration
def test_what_cannot_be_sent_and_a_process_that_ends_are_one_line(mine):
    name, _ = mine
    x = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    pool, index = Records(x, np.arange(40) % 2), np.arange(40).reshape(2, 20)
    for what, message in {
        "locked": r"cannot leave its process \(.*lock.*\): leave it out",
        "dies": "has ended",
    }.items():
        chosen = processes.side_by_side(f"{name}:{what}", 2, jobs=2)
        with pytest.raises(InputError, match=message) as error:
            list(chosen.fit_many(pool, index, seeds=[0, 1]))
        assert "\n" not in str(error.value)


def test_one_process_is_the_platform_itself():
    kind = "sklearn:sklearn.tree.DecisionTreeClassifier"
    assert processes.side_by_side(kind, 3, 1).title == platforms.platform(kind, 3).title
    with pytest.raises(InputError, match=r"`jobs=2`: google trains several models at once"):
        processes.side_by_side("google", 3, 2)


@pytest.mark.parametrize("kind", [Config, BalancedConfig])
def test_jobs_mean_nothing_to_our_own_networks(kind, tmp_path):
    given = kind(jobs=2)
    told = flags.idle(flags.rules(kind), ["jobs"], given)
    assert told == {"jobs": "without `trainer=module:fit` or sklearn:..."}
    assert not flags.idle(flags.rules(kind), ["jobs"], kind(jobs=2, target_kind="mine:fit"))
    config = kind(dataset=str(write_data(tmp_path / "own.npz")), workdir=str(tmp_path / "w"), jobs=2)
    with pytest.raises(InputError, match="`jobs` is for other libraries' trainers"):
        audits.run(config)
