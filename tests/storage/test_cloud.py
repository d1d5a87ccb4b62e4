"""Workdirs at the address of an object store: what a folder's are, and nothing is lost when the store is."""

import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from mia_jax.storage import artifacts, locks, objects, places
from mia_jax.types import DiskError, InputError, WorkdirHeld

pytest.importorskip("fsspec")
from buckets import CONFIG, URL, Bucket, age, content, names, opened, put
from fsspec.implementations.memory import MemoryFileSystem

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.mark.parametrize("together", [False, True])
def test_another_machine_takes_up_what_one_has_made(bucket, machine, together):
    with opened(together) as workdir:
        assert workdir.load("models", {"k": 1}) is None and not workdir.has("models", {"k": 1})
        workdir.save("models", {"k": 1}, ARRAYS, seconds=2.5)
        [local] = (workdir.path / "models").iterdir()
    assert str(workdir) == URL
    assert names() == ["config.json", f"models/{local.name}"]
    assert content(f"models/{local.name}") == local.read_bytes() and json.loads(content("config.json")) == CONFIG
    machine("two")
    with opened(together) as workdir:
        assert workdir.has("models", {"k": 1}) and not workdir.has("models", {"k": 2})
        found = workdir.load("models", {"k": 1})
        assert found.info == {"seconds": 2.5} and found.arrays["a"].tobytes() == ARRAYS["a"].tobytes()


def test_a_run_that_keeps_nothing_leaves_nothing(bucket):
    with opened():
        pass
    assert names() == []


def test_folders_are_not_listed_for_each_model(bucket, machine):
    """And each is asked for once."""
    calls = {}
    for count in (3, 30):
        Bucket.store.clear()
        for name in (f"{count}-makes", f"{count}-finds"):
            machine(name)
            Bucket.calls.clear()
            with opened() as workdir:
                for k in range(count):
                    assert workdir.take("models", {"k": k}) is None
                    if workdir.load("models", {"k": k}) is None:
                        workdir.save("models", {"k": k}, ARRAYS)
                    workdir.free("models", {"k": k})
            calls[name] = [Bucket.calls.count("ls") + Bucket.calls.count("find"), len(Bucket.calls)]
    assert calls["3-makes"][0] == calls["30-makes"][0] <= 3 and calls["3-finds"][0] == calls["30-finds"][0] <= 3
    assert calls["30-makes"][1] - calls["3-makes"][1] <= 7 * 27  # three of the lock, the model, and letting go
    assert calls["30-finds"][1] - calls["3-finds"][1] <= 6 * 27


@pytest.mark.parametrize("together", [False, True])
def test_the_store_goes_away_and_nothing_is_lost(bucket, machine, together):
    with pytest.raises(DiskError) as told, opened(together) as workdir:
        assert workdir.take("models", {"k": 1}) is None
        bucket.fails[""] = ConnectionError("no route to host")
        for k in range(3):  # a chunk of models is kept, all of it
            workdir.save("models", {"k": k}, ARRAYS)
        tried = bucket.calls.count("put")
        workdir.save("models", {"k": 3}, ARRAYS)
        assert bucket.calls.count("put") == tried  # whoever waits for one in vain need not wait for each
        workdir.free("models", {"k": 1})
        workdir.load("models", {"k": 9})
    line = str(told.value)
    assert line.startswith(f"{URL}/") and "does not answer (no route to host)" in line and "\n" not in line
    assert f"kept in {workdir.path}, and the same command uploads it" in line
    bucket.fails.clear()
    with opened(together) as workdir:
        assert len([name for name in names() if name.startswith("models/")]) == 4
        bucket.calls.clear()
        assert workdir.load("models", {"k": 2}) is not None and not bucket.calls
    machine("two")
    with opened(together) as workdir:
        assert all(workdir.load("models", {"k": k}) for k in range(4))


def test_a_store_that_comes_back_is_told_all(bucket):
    with opened() as workdir:
        bucket.fails[""] = TimeoutError("too slow")
        workdir.save("models", {"k": 0}, ARRAYS)
        bucket.fails.clear()
        workdir.save("models", {"k": 1}, ARRAYS)
    assert len([name for name in names() if name.startswith("models/")]) == 2


def test_a_bucket_that_was_emptied_is_filled_again(bucket):
    for k in range(2):
        with opened() as workdir:
            workdir.save("models", {"k": k}, ARRAYS)
        if not k:
            Bucket.store.clear()
    assert len([name for name in names() if name.startswith("models/")]) == 2


def test_damage_is_noticed(bucket, machine):
    with opened() as workdir:
        workdir.save("models", {"k": 1}, ARRAYS)
        [local] = (workdir.path / "models").iterdir()
        whole = local.read_bytes()
        local.write_bytes(whole[:-30])
        assert workdir.load("models", {"k": 1}) is not None and local.read_bytes() == whole  # fetched again
        bucket.store.pop(f"/b/run/models/{local.name}")
        local.write_bytes(whole[:-30])
        with pytest.warns(UserWarning, match=rf"^{re.escape(str(local))} is damaged"):
            assert workdir.load("models", {"k": 1}) is None
    put(f"models/{local.name}", whole[:-30])
    machine("two")
    with opened() as workdir:
        with pytest.warns(UserWarning, match=rf"{URL}/models/{local.name} is damaged \(.*\) and is made again"):
            assert workdir.load("models", {"k": 1}) is None
        assert workdir.load("models", {"k": 1}) is None  # told once
        workdir.save("models", {"k": 1}, ARRAYS)
        assert workdir.load("models", {"k": 1}) is not None
    assert content(f"models/{local.name}") == whole


@pytest.mark.parametrize(
    "there, line",
    [
        ({"config.json": b'{"seed": 1}'}, r"bucket://b/run holds another configuration \(seed: 1 there, 0 asked for"),
        ({"config.json": b"not JSON"}, r"bucket://b/run/config.json is no configuration; remove it, or choose"),
        ({"thesis.pdf": b"?", "figures/a.png": b"?"}, r"bucket://b/run holds no run but figures/, thesis.pdf; choose"),
    ],
)
def test_what_is_somebody_elses_is_left_alone(bucket, there, line):
    for name, what in there.items():
        put(name, what)
    with pytest.raises(InputError, match=line), opened():
        pass
    assert names() == sorted(there)


def test_the_folders_of_a_whole_bucket_are_not_listed_one_by_one(bucket):
    for k in range(50):
        put(f"folder-{k:02}/file", b"theirs")
    bucket.calls.clear()
    with pytest.raises(InputError, match=r"holds no run but folder-00/, folder-01/, folder-02/, \.\.\."), opened():
        pass
    assert bucket.calls.count("ls") == 1


def test_two_configurations_at_once(bucket):
    with (
        opened() as first,
        pytest.raises(InputError, match=r"bucket://b/run holds another configuration \(seed: 0 there, 1 asked for\)"),
        opened(config={"seed": 1}) as second,
    ):
        first.claim()
        second.save("models", {"k": 1}, ARRAYS)


class NoCredentialsError(Exception):
    """As botocore's is called."""


@pytest.mark.parametrize(
    "call, error, line",
    [
        ("", PermissionError("Access Denied"), r"the store refuses it \(Access Denied\); get the rights to read"),
        ("put", PermissionError("Access Denied"), r"cannot be written: the store refuses it"),
        ("rm", PermissionError("Access Denied"), r"cannot be removed: the store refuses it"),
        ("", NoCredentialsError("Unable to locate"), r"no credentials are found \(Unable to locate\); give "),
        ("put", FileNotFoundError("NoSuchBucket"), r"there is no bucket b \(NoSuchBucket\); make it"),
        ("", ConnectionRefusedError("refused"), r"does not answer \(refused\); mend the connection"),
        ("put", NotImplementedError(), r"that is not done with bucket; choose another store"),
        ("put", ValueError("https://user:hidden@host/x?sig=hidden"), r"ValueError: https://...@host/x\?...\)"),
    ],
)
def test_what_a_store_refuses_is_one_line_before_any_work(bucket, call, error, line):
    bucket.fails[call] = error
    with pytest.raises(InputError, match=line) as told, opened():
        pass
    assert "\n" not in str(told.value) and "hidden" not in str(told.value)


@pytest.mark.parametrize(
    "url, line",
    [
        ("nowhere://b/run", r"nowhere://b/run: Protocol not known: nowhere; as s3://bucket/folder"),
        ("s3://b/run?key=hidden", r"the address s3://b/run\?... has more in it than a bucket and a folder"),
        ("s3://user:hidden@b/run", r"the address s3://...@b/run has more in it"),
        ("s3://", r"the address s3:// names no folder of an object store"),
        ("s3://b//run", r"the address s3://b//run has an empty part"),
        ("simplecache::s3://b/run", r"names no folder of an object store"),
    ],
)
def test_an_address_that_cannot_be_used(tmp_path, monkeypatch, url, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=line) as told, artifacts.open_workdir(url, CONFIG):
        pass
    assert "hidden" not in str(told.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["fsspec", "gcsfs"])
def test_a_package_that_is_not_installed(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"gs://b/run needs {package}, .*: pip install .*gcsfs"):
        objects.open_store(places.place("gs://b/run"))


@pytest.mark.parametrize("protocol", ["file", "local"])
def test_addresses_of_this_machine_are_folders(tmp_path, protocol):
    with artifacts.open_workdir(f"{protocol}://{tmp_path}/a%20b", CONFIG) as workdir:
        assert workdir.path == tmp_path / "a b"
    assert places.place("C:\\runs").name.endswith("runs") and not isinstance(places.place("C:/runs"), places.Address)


@pytest.mark.integration
def test_a_folder_needs_no_fsspec(tmp_path):
    code = (
        f"from mia_jax.storage import open_workdir; import sys\nwith open_workdir({str(tmp_path / 'w')!r}, {{}}) as w:"
    )
    code += " w.save('models', {}, {})\nassert 'fsspec' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd(), env=os.environ | {"PYTHONPATH": "."})


# --- locks -----------------------------------------------------------------------------------------------------------


def test_one_machine_at_a_time_makes_a_model(bucket, machine):
    with opened() as first:
        assert first.take("models", {"k": 1}) is None
        [lock] = [name.removeprefix("locks/") for name in names() if name.startswith("locks/")]
        machine("two")
        with opened() as second:
            assert second.take("models", {"k": 1}).place == "00000one"
            age(lock, locks.GONE - 30)
            assert second.take("models", {"k": 1}).pid == os.getpid()
            first._locks.slots.sign(["any"])
            age(lock, 60)
            machine("one")
            first._locks.slots.sign(["any"])  # there was no sign of the lock itself, but of who holds it
            machine("two")
            assert second.take("models", {"k": 1}).place == "00000one"
            age(f"00000one-{os.getpid()}.alive", locks.GONE + 30)
            assert second.take("models", {"k": 1}) is None
            first.free("models", {"k": 1})  # it is the second's now
            assert f"locks/{lock}" in names()
    assert not [name for name in names() if name.endswith(".lock")]


def test_a_service_is_audited_by_one_machine(bucket, machine):
    with opened(False):
        with pytest.raises(WorkdirHeld, match=r"the workdir bucket://b/run is held by process \d+"), opened(False):
            pass
        machine("two")
        with (
            pytest.raises(WorkdirHeld, match=r"held by process .*given up after 3 minutes\), or choose another"),
            opened(False),
        ):
            pass
        age("run.lock", locks.GONE + 1)
        with opened(False):
            pass


def test_a_sign_that_was_on_its_way_is_not_left(bucket, monkeypatch):
    """Of a process that let go of its last lock meanwhile."""
    monkeypatch.setattr(locks, "HEARTBEAT", 0.001)
    put_at_once, begun, goes_on = Bucket.pipe_file, threading.Event(), threading.Event()

    def slow(self, path, value, mode="overwrite", **kwargs):
        if path.endswith(".alive"):
            begun.set()
            assert goes_on.wait(60)
        put_at_once(self, path, value, mode, **kwargs)

    monkeypatch.setattr(Bucket, "pipe_file", slow)
    before = {*threading.enumerate()}
    mine = locks.Locks(locks.Objects(objects.open_store(places.place(URL))))
    assert mine.take("a") is None and begun.wait(60)
    frees = threading.Thread(target=mine.free, args=("a",))
    frees.start()
    frees.join(0.2)
    goes_on.set()
    frees.join()
    mine.close()
    for thread in {*threading.enumerate()} - before:
        thread.join()
    assert names() == []


def test_many_at_once_and_one_has_it(bucket):
    """As threads, each with locks of its own, for what is in memory is one process's."""
    store = objects.open_store(places.place(URL))
    store.try_out(".try")
    assert store.exact and store.names() == []
    got, ready = [], threading.Barrier(8)

    def take():
        mine = locks.Locks(locks.Objects(store))
        ready.wait()
        got.append(mine.take("a") is None)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1


def test_a_request_whose_answer_was_lost_was_done(bucket, monkeypatch):
    """It is repeated by the packages, and refused then."""
    store, once = objects.open_store(places.place(URL)), MemoryFileSystem.pipe_file

    def twice(self, *args, **kwargs):
        once(self, *args, **kwargs)
        once(self, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", twice)
    assert store.create("a", b"mine") and not store.create("a", b"another's")


def test_a_store_that_creates_without_condition_is_told_of(bucket, monkeypatch):
    def whatever(self, path, value, mode="overwrite", **kwargs):
        MemoryFileSystem.pipe_file(self, path, value)

    monkeypatch.setattr(Bucket, "pipe_file", whatever)
    with pytest.warns(UserWarning, match="may make the same twice, to the same bytes"), opened() as workdir:
        assert workdir.take("models", {"k": 1}) is None
        workdir.save("models", {"k": 1}, ARRAYS)
    assert [name.partition("/")[0] for name in names()] == ["config.json", "models"]
