"""Artifacts: written whole, found by what made them, noticed when damaged; one process per workdir."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

from mia_jax.storage import artifact_files, artifacts, processes
from mia_jax.types import DiskError, InputError, WorkdirHeld

ARRAYS = {"['a']": np.arange(6, dtype=np.float32).reshape(2, 3), "['b']": np.array(1, np.int32)}


def save_one(path, config=None):
    with artifacts.open_workdir(path, config or {"seed": 0}) as workdir:
        workdir.save("models", {"k": 1}, ARRAYS, seconds=2.5)


def test_round_trip(tmp_path):
    save_one(tmp_path / "w")
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir:
        held = workdir.load("models", {"k": 1})
        assert workdir.load("models", {"k": 2}) is None
        assert workdir.load("scores", {"k": 1}) is None
    assert held.info == {"seconds": 2.5}
    assert held.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(held.arrays[name], array)
        assert held.arrays[name].dtype == array.dtype


@pytest.mark.parametrize("where", [10, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_damage_is_noticed(tmp_path, where, how):
    save_one(tmp_path / "w")
    [path] = (tmp_path / "w" / "models").iterdir()
    content = bytearray(path.read_bytes())
    position = where if isinstance(where, int) else int(where * len(content))
    if how == "flip":
        content[position] ^= 255
    else:
        del content[position:]
    path.write_bytes(content)
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            held = workdir.load("models", {"k": 1})
        if held is not None:  # a byte of the zip directory that decides nothing
            np.testing.assert_array_equal(held.arrays["['a']"], ARRAYS["['a']"])
        else:
            assert "is made again" in str(caught[0].message)
        workdir.save("models", {"k": 1}, ARRAYS)
        assert workdir.load("models", {"k": 1}) is not None


def test_payload_damage_is_noticed(tmp_path):
    """Whichever byte of an array's content is changed."""
    save_one(tmp_path / "w")
    [path] = (tmp_path / "w" / "models").iterdir()
    content = path.read_bytes()
    at = content.index(ARRAYS["['a']"].tobytes())
    path.write_bytes(content[: at + 8] + b"\x01" + content[at + 9 :])
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir, pytest.warns(UserWarning, match="damaged"):
        assert workdir.load("models", {"k": 1}) is None


def test_artifacts_that_were_exchanged_are_not_taken_for_one_another(tmp_path):
    """Each is whole, and what it says it is; its name says something else."""
    asked = [("models", {"k": 1}), ("models", {"k": 2}), ("scores", {"k": 1})]
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir:
        for number, (stage, description) in enumerate(asked):
            workdir.save(stage, description, {"a": np.full(3, number)})
        first, second, score = (workdir._file(stage, description) for stage, description in asked)
        content = [path.read_bytes() for path in (first, second, score)]
        for one, other in ((0, 1), (0, 2)):
            (first, second, score)[one].write_bytes(content[other])
            (first, second, score)[other].write_bytes(content[one])
            for number in (one, other):
                with pytest.warns(UserWarning, match="is not what was asked for .* and is made again"):
                    assert workdir.load(*asked[number]) is None
                workdir.save(*asked[number], {"a": np.full(3, number)})
                assert workdir.load(*asked[number]).arrays["a"][0] == number


def test_what_cannot_be_read_is_not_damaged(tmp_path, monkeypatch):
    """A disk that fails for a moment costs no training."""
    save_one(tmp_path / "w")
    [path] = (tmp_path / "w" / "models").iterdir()
    before = path.read_bytes()

    def failing(file, *args, **kwargs):
        if str(file) == str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return open(file, *args, **kwargs)

    monkeypatch.setattr(artifact_files, "open", failing, raising=False)
    with (
        pytest.raises(DiskError, match=r"Input/output error; mend that and run the same command again"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir,
    ):
        workdir.load("models", {"k": 1})
    assert path.read_bytes() == before


def test_same_arrays_same_bytes(tmp_path):
    artifacts.write_npz(tmp_path / "a.npz", ARRAYS)
    os.utime(tmp_path, (0, 0))
    artifacts.write_npz(tmp_path / "b.npz", ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    artifacts.write_json(tmp_path / "r.json", {"a": 1})
    with pytest.raises(ValueError):
        artifacts.write_json(tmp_path / "r.json", {"a": float("nan")})
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path):
    save_one(tmp_path / "w", {"seed": 0, "train_size": 10, "model": "mlp"})
    with (
        pytest.raises(InputError, match=r"seed: 0 there, 1 asked for; train_size: 10 there, 20 asked for"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 1, "train_size": 20, "model": "mlp"}),
    ):
        pass


def test_a_refused_run_claims_no_folder(tmp_path):
    with pytest.raises(KeyError), artifacts.open_workdir(tmp_path / "w", {"seed": 0}):
        raise KeyError
    assert not (tmp_path / "w").exists()
    save_one(tmp_path / "w", {"seed": 1})


@pytest.mark.parametrize("together", [False, True])
def test_a_path_that_was_an_address_is_no_folder(tmp_path, monkeypatch, together):
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match=r"the workdir gs:/bucket/run is no folder: give .* gs://bucket/run"),
        artifacts.open_workdir(pathlib.Path("gs://bucket/run"), {"seed": 0}, shared=together),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_unwritable_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="choose another"),
        artifacts.open_workdir(tmp_path / "file", {}),
    ):
        pass


def test_a_folder_in_the_workdir_that_cannot_be_written(tmp_path, monkeypatch):
    """Told before the work, not when its result is to be kept. (Nothing is closed to root, who may run this.)"""
    save_one(tmp_path / "w")
    monkeypatch.setattr(os, "access", lambda path, mode: pathlib.Path(path).name != "models")
    with (
        pytest.raises(InputError, match=r"w cannot be written \(models: Permission denied\)"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}),
    ):
        pass


@pytest.mark.parametrize("held", ["[1]", "7", "{", None])
def test_a_configuration_that_is_none(tmp_path, held):
    (tmp_path / "w").mkdir()
    if held is None:
        (tmp_path / "w" / "config.json").mkdir()
    else:
        (tmp_path / "w" / "config.json").write_text(held)
    with (
        pytest.raises(InputError, match="is damaged; remove the workdir"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}),
    ):
        pass


@pytest.mark.parametrize("held", ["[1]", "{", '{"seed": 0'])
def test_a_damaged_configuration_costs_no_artifact(tmp_path, held):
    save_one(tmp_path / "w")
    config = tmp_path / "w" / "config.json"
    before = config.read_bytes()
    config.write_text(held)
    with (
        pytest.warns(UserWarning, match="config.json is damaged: it is written anew"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir,
    ):
        assert workdir.load("models", {"k": 1}) is not None
    assert config.read_bytes() == before


@pytest.mark.parametrize(
    "files",
    [
        {"report.html": "somebody's"},
        {"results.json": '{"accuracy": 0.9}'},
        {"models/net.npz": ""},
        {"config.json": '{"architectures": ["BertModel"]}'},
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, files):
    for name, content in files.items():
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_text(content)
    with (
        pytest.raises(InputError, match=r"the folder .*w holds no run but .*; choose another workdir"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}),
    ):
        pass
    assert {str(p.relative_to(tmp_path / "w")): p.read_text() for p in (tmp_path / "w").rglob("*") if p.is_file()} == (
        files if "config.json" not in files else files | {"lock": ""}
    )


def test_folders_that_are_as_good_as_empty(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".DS_Store").write_text("")
    (tmp_path / "w" / "target").mkdir()  # of a run that ended there
    save_one(tmp_path / "w")
    assert len(list((tmp_path / "w" / "models").iterdir())) == 1
    shutil.move(tmp_path / "w" / "models", tmp_path / "models")
    (tmp_path / "v").mkdir()
    shutil.move(tmp_path / "models", tmp_path / "v" / "models")
    save_one(tmp_path / "v")  # a run's, and somebody tidied up
    assert len(list((tmp_path / "v" / "models").iterdir())) == 1


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_a_lock_that_is_a_link_wipes_nothing(tmp_path, how):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("three years\n")
    (tmp_path / "w").mkdir()
    if how == "symbolic":
        (tmp_path / "w" / "lock").symlink_to(thesis)
    else:
        os.link(thesis, tmp_path / "w" / "lock")
    with pytest.raises(InputError, match="lock"), artifacts.open_workdir(tmp_path / "w", {"seed": 0}):
        pass
    assert thesis.read_text() == "three years\n"


def test_a_half_written_file_that_is_a_link_wipes_nothing(tmp_path):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("three years\n")
    (tmp_path / processes.partial_name("r.json")).symlink_to(thesis)
    artifacts.write_json(tmp_path / "r.json", {"a": 1})
    assert thesis.read_text() == "three years\n" and json.loads((tmp_path / "r.json").read_text()) == {"a": 1}


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_workdir_that_goes_away_while_it_is_held(tmp_path, how):
    save_one(tmp_path / "w")
    with (
        pytest.raises(DiskError, match=r"w is gone: it was moved or deleted .* what was finished is kept there"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}) as workdir,
    ):
        shutil.move(tmp_path / "w", tmp_path / "v") if how == "moved" else shutil.rmtree(tmp_path / "w")
        workdir.save("scores", {"k": 1}, ARRAYS)
    assert not (tmp_path / "w").exists()
    if how == "moved":
        with artifacts.open_workdir(tmp_path / "v", {"seed": 0}) as workdir:
            assert workdir.load("models", {"k": 1}) is not None


# Windows has no fcntl. Its locks are of bytes, and mandatory: a locked byte can be read by nobody else. POSIX's locks
# of bytes stand in for them, which are advisory; that the byte lies outside the file is checked beside it.
WINDOWS = """
import errno, fcntl, os, signal, sys, types
import flax, jax, matplotlib, optax, rich, sklearn, subprocess  # others know a Windows by its msvcrt
import numpy as np
fork, LK_NBLCK = os.fork, 2
def locking(descriptor, mode, size):
    assert mode == LK_NBLCK and os.lseek(descriptor, 0, os.SEEK_CUR) > os.fstat(descriptor).st_size
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, size, os.lseek(descriptor, 0, os.SEEK_CUR))
    except OSError:
        raise PermissionError(errno.EACCES, "Permission denied") from None
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=LK_NBLCK)
sys.modules["fcntl"] = None
for name in ("O_NOFOLLOW", "pwrite", "pread", "fork", "uname", "getuid", "sched_getaffinity"):
    delattr(os, name)

import mia_jax.audits.pipeline
import mia_jax.audits.deployed.infer, mia_jax.cli
from mia_jax.storage import artifacts, processes
from mia_jax.targets import answer_store as store
from mia_jax.types import Answers, WorkdirHeld

path = sys.argv[1]
with artifacts.open_workdir(path, {"seed": 0}) as workdir:
    workdir.save("models", {"k": 1}, {"a": np.arange(3)})
    for known in (0, 1):
        kept = store.AnswerStore(Answers(2), workdir.path / "target", "a")
        assert len(kept) == known
        kept.put([bytes(32)], np.zeros((1, 2), np.float32))
    for count in (7, 12):
        store.write_count(workdir.path / "target" / "asked", count)
        assert store.read_count(workdir.path / "target" / "asked") == count
told, tell = os.pipe()
child = fork()
if not child:
    with artifacts.open_workdir(path, {"seed": 0}):
        os.write(tell, b"held")
        signal.pause()
assert os.read(told, 4) == b"held"
try:
    with artifacts.open_workdir(path, {"seed": 0}):
        raise SystemExit("two hold it")
except WorkdirHeld as error:
    assert f"held by process {child} on" in str(error), error
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
with artifacts.open_workdir(path, {"seed": 0}) as workdir:
    assert workdir.load("models", {"k": 1}) is not None
"""


@pytest.mark.integration
def test_without_fcntl(tmp_path):
    """The library can be imported, and one process holds a workdir, on Windows too."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", WINDOWS, str(tmp_path / "w")], timeout=600, check=True)


HOLD = """
import sys, time
from mia_jax.storage import artifacts, processes
with artifacts.open_workdir(sys.argv[1], {"seed": 0}):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.integration
def test_two_processes(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(WorkdirHeld, match=f"process {holder.pid} on"),
            artifacts.open_workdir(tmp_path / "w", {"seed": 0}),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    save_one(tmp_path / "w")  # a killed process lets go


def test_what_a_killed_process_left_is_swept(tmp_path):
    save_one(tmp_path / "w")
    partial = tmp_path / "w" / "models" / ".abc.npz.123.partial"
    partial.write_bytes(b"half")
    save_one(tmp_path / "w")
    assert not partial.exists()


def test_pytrees_round_trip():
    tree = {"dense": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}, "more": [np.array(1), (np.array(2),)]}
    back = artifacts.from_arrays(jax.eval_shape(lambda: tree), artifacts.to_arrays(tree))
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)
    with pytest.raises(KeyError):
        artifacts.from_arrays({"other": np.array(1)}, artifacts.to_arrays(tree))


def test_digests_tell_arrays_apart():
    a = np.arange(6, dtype=np.int32)
    digests = {artifacts.array_digest(x) for x in (a, a.reshape(2, 3), a.astype(np.int64), a[::-1], a.view(np.uint32))}
    assert len(digests) == 5
    assert artifacts.array_digest(a[::2]) == artifacts.array_digest(a[::2].copy())


@pytest.mark.parametrize("of_several", [True, False])
def test_an_error_before_anything_is_kept_is_not_a_folder_that_is_gone(tmp_path, of_several):
    with (
        pytest.raises(DiskError, match=r"^Cannot allocate memory"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=of_several),
    ):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    assert not (tmp_path / "w").exists()
