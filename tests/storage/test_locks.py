"""Locks of what is being made: one process at a time has one, and one that ended stops nobody."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from lock_workers import check_that_one_is_at_work

from mia_jax.storage import artifacts, locks, processes
from mia_jax.storage.locks import Locks
from mia_jax.types import InputError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "locks"


def written(folder, name="a", **changed):
    """A lock of another process."""
    folder.mkdir(exist_ok=True)
    holder = processes.this()._asdict() | {"pid": os.getppid(), "started": processes.started(os.getppid())} | changed
    (folder / f"{name}.lock").write_text(json.dumps({"nonce": "0" * 8, **holder}))
    return folder / f"{name}.lock"


def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_is_taken_is_another_process_to_others(folder, monkeypatch):
    mine, others = Locks(folder), Locks(folder)
    assert mine.take("a") is None and mine.take("a") is None and mine.take("b") is None
    assert others.take("a") == processes.this()
    mine.free("a")
    assert others.take("a") is None
    assert mine.take("a") == processes.this()
    mine.close()
    assert [path.name for path in folder.iterdir()] == ["a.lock"]
    others.close()
    assert not folder.exists()


def test_a_lock_names_its_holder(folder, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    processes._here.cache_clear()
    mine = Locks(folder)
    mine.take("a")
    processes._here.cache_clear()
    said = json.loads((folder / "a.lock").read_text())
    assert said["pid"] == os.getpid() and said["started"] == processes.started(os.getpid())
    assert str(Locks(folder).take("a")).startswith(f"process {os.getpid()} on {said['host']} (SLURM job 17_3)")
    mine.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="who is there is known on Linux alone")
def test_a_holder_that_has_ended_is_followed_at_once(folder):
    taker = Locks(folder)
    written(folder)
    assert taker.take("a").pid == os.getppid()
    written(folder, pid=ended(), started="1")
    assert taker.take("a") is None
    written(folder, "b", started="1")  # the number is another process's by now
    assert taker.take("b") is None
    child = subprocess.Popen([sys.executable, "-c", ""])
    while pathlib.Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert processes.started(child.pid) is None  # it has ended, and its parent has not looked
    child.wait()
    taker.close()
    assert not folder.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows does not say whether there is a process of a number")
def test_a_holder_that_cannot_say_when_it_started_is_followed_once_its_number_is_free(folder):
    """As on macOS: else whoever interrupts a run and starts it again would wait."""
    taker = Locks(folder)
    written(folder, started="")
    assert taker.take("a").pid == os.getppid()
    written(folder, pid=ended(), started="")
    assert taker.take("a") is None
    taker.close()


def test_on_another_machine_it_is_a_matter_of_time(folder, monkeypatch):
    taker = Locks(folder)
    path = written(folder, place="elsewher", pid=1, started="1")
    assert taker.take("a").pid == 1
    os.utime(path, (time.time() - locks.GONE + 30,) * 2)
    assert taker.take("a").pid == 1
    os.utime(path, (time.time() - locks.GONE - 30,) * 2)
    assert taker.take("a") is None
    monkeypatch.setattr(locks, "HEARTBEAT", 0.01)
    beating = Locks(folder)
    assert beating.take("b") is None
    os.utime(folder / "b.lock", (0, 0))
    while (folder / "b.lock").stat().st_mtime < time.time() - 10:
        time.sleep(0.01)  # until it is touched
    for held in (taker, beating):
        held.close()


def test_a_lock_that_says_nothing_is_waited_for(folder):
    """Its holder was killed while it wrote, or is about to."""
    folder.mkdir()
    (folder / "a.lock").write_text("")
    taker = Locks(folder)
    assert taker.take("a") == locks.UNKNOWN
    os.utime(folder / "a.lock", (0, 0))
    assert taker.take("a") is None
    taker.close()


def test_who_was_killed_while_taking_over_stops_nobody(folder):
    gone = dict(pid=ended(), started="1")
    written(folder, "a", **gone)
    written(folder, f"a.{'0' * 8}", **gone)
    taker = Locks(folder)
    assert taker.take("a") is None
    assert [path.name for path in folder.iterdir()] == ["a.lock"]
    taker.close()


def test_a_lock_that_was_taken_over_is_not_removed(folder):
    """From a process that was thought to be gone, and comes back."""
    suspended, taker = Locks(folder), Locks(folder)
    suspended.take("a")
    path = folder / "a.lock"
    said = json.loads(path.read_text()) | {"place": "elsewher"}
    path.write_text(json.dumps(said))
    os.utime(path, (0, 0))
    assert taker.take("a") is None
    suspended.free("a")
    assert path.exists() and Locks(folder).take("a") == processes.this()
    taker.close()


def test_where_there_are_no_links(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    mine, others = Locks(folder), Locks(folder)
    assert mine.take("a") is None and others.take("a") == processes.this()
    mine.close()
    assert others.take("a") is None
    others.close()


def test_a_configuration_that_is_being_written_is_waited_for(tmp_path):
    """Where there are no links it is empty for a moment."""
    path = tmp_path / "w" / "config.json"
    path.parent.mkdir()
    path.touch()
    writer = threading.Timer(0.2, path.write_text, ['{"seed": 0}'])
    writer.start()
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=True):
        writer.join()


def test_two_configurations_at_once(tmp_path):
    """Both were there before either had written anything."""
    with (
        artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=True) as first,
        pytest.raises(InputError, match=r"holds another configuration \(seed: 0 there, 1 asked for\)"),
        artifacts.open_workdir(tmp_path / "w", {"seed": 1}, shared=True) as second,
    ):
        assert first.take("models", {"k": 1}) is None
        second.take("models", {"k": 1})


@pytest.mark.integration
def test_a_folder_of_locks_that_comes_and_goes_disturbs_nobody(tmp_path):
    """pathlib's glob and rglob failed about once in 200 times, where another process let go of its last lock."""
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=True) as workdir:
        workdir.claim()
    code = "import pathlib, sys; from mia_jax.storage.locks import Locks; locks = Locks(pathlib.Path(sys.argv[1]))\n"
    code += "while True: locks.take('a'), locks.free('a')"
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path / "w" / "locks"])
    try:
        while not (tmp_path / "w" / "locks").exists():
            time.sleep(0.01)
        for _ in range(2000):
            with artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=True):
                pass
    finally:
        other.kill()
        other.wait()


def test_what_others_are_writing_is_not_swept(tmp_path):
    (tmp_path / "w" / "models").mkdir(parents=True)
    here = processes.place()
    lives, ends = (tmp_path / "w" / "models" / f".a.npz.{pid}-{here}.partial" for pid in (os.getppid(), ended()))
    fresh, old = (tmp_path / "w" / "models" / f".a.npz.{pid}-00000000.partial" for pid in (1, 2))
    for path in (lives, ends, fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    with artifacts.open_workdir(tmp_path / "w", {"seed": 0}, shared=True):
        assert sorted((tmp_path / "w" / "models").iterdir()) == sorted([lives, fresh])


@pytest.mark.integration
def test_many_processes_that_die(tmp_path):
    check_that_one_is_at_work(tmp_path, numbers=40, at_once=8, most=200, deaths=0.1, seconds=0.002)
