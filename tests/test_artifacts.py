"""Artefacts: written whole, found by what made them, noticed when damaged; one process per workdir."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

from mia_jax import artifacts
from mia_jax.types import InputError, WorkdirHeld

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


def test_unwritable_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="choose another with --workdir"),
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


HOLD = """
import sys, time
from mia_jax import artifacts
with artifacts.open_workdir(sys.argv[1], {"seed": 0}):
    print("held", flush=True)
    time.sleep(60)
"""


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
