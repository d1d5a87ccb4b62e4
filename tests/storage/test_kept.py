"""Answers that were paid for, in a folder that is kept in an object store, too: none is lost, and all are counted."""

import threading

import numpy as np
import pytest

from mia_jax.storage import kept, locks
from mia_jax.targets import answer_store
from mia_jax.types import Answers, DiskError

pytest.importorskip("fsspec")
from buckets import age, content, names, opened


def keys(*numbers):
    return [bytes([number]) * 32 for number in numbers]


def asked(folder, *numbers, name="a service"):
    """Keep answers about these records, and count them."""
    store = answer_store.AnswerStore(Answers(3), folder, name)
    store.put(keys(*numbers), np.log(np.full((len(numbers), 3), 1 / 3, np.float32)))
    count = answer_store.read_count(folder / "asked")
    answer_store.write_count(folder / "asked", count + len(numbers))
    return store


def folder_of(workdir):
    return workdir.kept_folder("target", answer_store.merged)


def test_answers_are_uploaded_and_fetched(bucket, machine, monkeypatch):
    monkeypatch.setattr(kept, "EVERY", 0.01)
    with opened(False) as workdir:
        asked(folder_of(workdir), 1, 2)
        while "target/asked" not in names():  # meanwhile, not at the end alone
            threading.Event().wait(0.01)
    machine("two")
    with opened(False) as workdir:
        store = asked(folder_of(workdir), 3)
        assert store.find(keys(1, 2, 3, 4))[1].tolist() == [True, True, True, False]
    assert int(content("target/asked")) == 3
    machine("one")
    with opened(False) as workdir:
        assert len(answer_store.AnswerStore(Answers(3), folder_of(workdir), "a service")) == 3


@pytest.mark.parametrize("first", [0, 2])
def test_answers_of_two_machines_of_which_one_could_not_upload(bucket, machine, first):
    """None that was paid for is lost, and all are counted."""
    if first:
        with opened(False) as workdir:
            asked(folder_of(workdir), *range(first))
    with pytest.raises(DiskError), opened(False) as workdir:
        asked(folder_of(workdir), 10, 11, 12)
        bucket.fails[""] = ConnectionError("gone")
    bucket.fails.clear()
    age("run.lock", locks.GONE + 1)
    machine("two")
    with opened(False) as workdir:
        asked(folder_of(workdir), 12, 13)
    machine("one")
    with opened(False) as workdir:
        folder = folder_of(workdir)
        store = answer_store.AnswerStore(Answers(3), folder, "a service")
        assert store.find(keys(*range(first), 10, 11, 12, 13))[1].all() and len(store) == first + 4
        assert answer_store.read_count(folder / "asked") == first + 5
    assert int(content("target/asked")) == first + 5


def test_an_error_that_ends_a_run_does_not_keep_answers_from_the_store(bucket):
    with pytest.raises(ZeroDivisionError), opened(False) as workdir:
        asked(folder_of(workdir), 1)
        raise ZeroDivisionError
    assert int(content("target/asked")) == 1


def test_answers_that_were_forgotten_stay_forgotten(bucket, machine):
    """And are kept under another name, on every machine."""
    for name in ("one", "two"):
        machine(name)
        with opened(False) as workdir:
            asked(folder_of(workdir), 1)
    with opened(False) as workdir:
        path = answer_store.store_path(folder_of(workdir), "a service")
        path.rename(path.with_suffix(".0.old"))
    machine("one")
    with opened(False) as workdir:
        assert len(answer_store.AnswerStore(Answers(3), folder_of(workdir), "a service")) == 0
    assert f"target/{path.with_suffix('.0.old').name}" in names()


def test_what_cannot_be_merged_is_put_aside(bucket, machine):
    with pytest.raises(DiskError), opened(False) as workdir:
        (folder_of(workdir) / "other").write_bytes(b"this")
        bucket.fails[""] = ConnectionError("gone")
    bucket.fails.clear()
    age("run.lock", locks.GONE + 1)
    machine("two")
    with opened(False) as workdir:
        (folder_of(workdir) / "other").write_bytes(b"that")
    machine("one")
    with opened(False) as workdir:
        assert sorted(path.read_bytes() for path in folder_of(workdir).glob("other*")) == [b"that", b"this"]
    assert sorted(content(name) for name in names() if name.startswith("target/other")) == [b"that", b"this"]
