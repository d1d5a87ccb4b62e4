"""``data.load``: what is not there, the cache, clustering and simulation, the real files."""

import os
import time

import numpy as np
import pytest
from archives import PX, PY, csv, cycle, npz, tgz

from mia_jax import data
from mia_jax.data import tabular
from mia_jax.storage.artifacts import array_digest
from mia_jax.types import InputError

# --- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "source"), [("cifar10", "auto"), ("purchase20", "official")])
def test_missing_says_what_where_and_what_else(folder, name, source):
    with pytest.raises(InputError) as error:
        data.load(name, data_dir=folder, source=source)
    lines = str(error.value).splitlines()
    dataset = data.DATASETS[name]
    assert len(lines) == 5 and dataset.title in lines[0] and str(folder) in lines[0] and dataset.urls[0] in lines[0]
    assert dataset.page in lines[1] and dataset.files[0] in lines[2] and "data_dir" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (dict(name_or_path="purchas"), "did you mean purchase"),
        (dict(name_or_path="CIFAR10"), "did you mean cifar10"),
        (dict(name_or_path="qqqq"), "there are adult, cifar10"),
        (dict(name_or_path="nowhere.npz"), "no file nowhere.npz"),
        (dict(name_or_path="mnist", source="simulated"), "no simulated MNIST"),
        (dict(name_or_path="x.npz", source="simulated"), "your own file, not simulated data"),
        (dict(name_or_path="mnist", source="fake"), "auto, official, simulated"),
        (dict(name_or_path="mnist", data_dir="/no/such/folder"), "data_dir is /no/such/folder"),
    ],
)
def test_bad_arguments(arguments, reason):
    with pytest.raises(InputError, match=reason):
        data.load(**arguments)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_cache_hit_equals_the_first_load(folder, tmp_path, monkeypatch):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    first = data.load("purchase", data_dir=folder)
    (entry,) = (tmp_path / "cache").iterdir()
    assert entry.stat().st_size < PX.size / 4  # eight bits to a byte, and a header
    with monkeypatch.context() as m:
        m.setattr(tabular, "bit_rows", None)  # a hit does not parse
        again = data.load("purchase", data_dir=folder)
    assert again[1] == first[1]
    np.testing.assert_array_equal(again[0].x, first[0].x)
    np.testing.assert_array_equal(again[0].y, first[0].y)
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(1 - PX, PY + 1)}))
    np.testing.assert_array_equal(data.load("purchase", data_dir=folder)[0].x, 1 - PX)


def test_damaged_cache_is_made_again(folder, tmp_path):
    (folder / "purchase100.npz").write_bytes(npz(features=PX, labels=PY))
    first = data.load("purchase", data_dir=folder)
    (entry,) = (tmp_path / "cache").iterdir()
    whole = entry.read_bytes()
    with np.load(entry) as f:
        forged = dict(f) | {"x": 255 - f["x"]}
    for damaged in (whole[:100], b"", npz(**forged)):
        entry.write_bytes(damaged)
        said = []
        again = data.load("purchase", data_dir=folder, notify=said.append)
        assert again[1] == first[1] and len(said) == 1 and "damaged" in said[0]
        assert entry.read_bytes() == whole


def test_cached_records_of_another_data_set_are_not_taken(folder, tmp_path):
    """Two files of one shape, exchanged: each is whole, and would have passed for official records of the other."""
    (folder / "purchase100.npz").write_bytes(npz(features=PX, labels=PY))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "purchase100.npz").write_bytes(npz(features=1 - PX, labels=PY))
    places = {folder: PX, tmp_path / "other": 1 - PX}
    for place in places:
        data.load("purchase", data_dir=place)
    one, other = (tmp_path / "cache").iterdir()
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    for place, x in places.items():
        said = []
        np.testing.assert_array_equal(data.load("purchase", data_dir=place, notify=said.append)[0].x, x)
        assert len(said) == 1 and "does not say that it is what was asked for, and is made again" in said[0]
    assert (one.read_bytes(), other.read_bytes()) == content


def test_unwritable_cache_is_told_and_no_error(folder, tmp_path):
    (folder / "purchase100.npz").write_bytes(npz(features=PX, labels=PY))
    (tmp_path / "file").write_text("in the way")
    said = []
    records, _ = data.load("purchase", data_dir=folder, cache_dir=tmp_path / "file" / "cache", notify=said.append)
    assert len(records.y) == 220 and len(said) == 1 and "not cached" in said[0]


def test_what_a_killed_process_left_in_the_cache_goes(folder, tmp_path):
    (folder / "purchase100.npz").write_bytes(npz(features=PX, labels=PY))
    data.load("purchase", data_dir=folder)
    (entry,) = (tmp_path / "cache").iterdir()
    entry.unlink()
    left, used = (entry.with_name(f".{entry.name}.{process}.partial") for process in (12, 13))
    left.write_bytes(b"half")
    used.write_bytes(b"half, and soon the rest")
    os.utime(left, (time.time() - 7200,) * 2)
    data.load("purchase", data_dir=folder)
    assert {*entry.parent.iterdir()} == {entry, used}


# --- clustering and simulation ---------------------------------------------------------------------------------------


def test_purchase_class_counts_are_clustered_and_cached(folder, tmp_path):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    said = []
    records, schema = data.load("purchase10", data_dir=folder, notify=said.append)
    np.testing.assert_array_equal(records.x, PX)
    assert set(records.y) == set(range(10)) and records.y.dtype == np.int32
    assert (schema.name, schema.source, schema.num_classes) == ("purchase10", "official", 10)
    assert any("k-means" in note for note in schema.notes) and any("10 classes" in line for line in said)
    said.clear()
    again = data.load("purchase10", data_dir=folder, notify=said.append)
    assert again[1] == schema and not said
    assert data.load("purchase10", data_dir=folder, cache_dir=tmp_path / "other")[1] == schema  # made again, the same
    own = cycle(220, 20)
    (folder / "purchase20.npz").write_bytes(npz(features=PX, labels=own))
    np.testing.assert_array_equal(data.load("purchase20", data_dir=folder)[0].y, own)  # a file with labels is believed


@pytest.mark.parametrize("source", ["auto", "simulated"])
def test_simulated_says_so_before_it_starts(folder, source, tmp_path):
    if source == "simulated":  # never looks at files: this one would be refused
        (folder / "dataset_location.tgz").write_bytes(b"damaged")
    said = []

    def notify(line):
        said.append((line, (tmp_path / "cache").exists()))

    def refuse(schema, records):
        assert (schema.source, schema.num_classes, schema.shape, records) == ("simulated", 30, (446,), 5010)
        assert schema.fields[0].stop == 446
        raise InputError("too few")

    with pytest.raises(InputError, match="too few"):
        data.load("location", data_dir=folder, source=source, check=refuse)
    assert not (tmp_path / "cache").exists()
    records, schema = data.load("location", data_dir=folder, source=source, notify=notify)
    assert said[0][0].startswith("SIMULATED: Location") and not said[0][1]
    assert schema.source == "simulated" and schema.num_classes == 30 and records.x.shape[1] == 446
    again = data.load("location", data_dir=folder, source=source, notify=notify)
    assert again[1] == schema and said[-1][0].startswith("SIMULATED")


# --- the real files --------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("location", (446,), 30),
        ("adult", (108,), 2),
        ("mnist", (28, 28), 10),
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
    ],
)
def test_real_files(data_dir, name, shape, classes):
    records, schema = data.load(name, data_dir=data_dir, source="official")
    counts = np.bincount(records.y)
    assert records.x.shape[1:] == schema.shape == shape and len(counts) == schema.num_classes == classes
    assert schema.source == "official" and schema.fields[-1].stop == np.prod(shape) and counts.min() > 0
    if name == "location":
        assert len(records.x) == 5010 and records.y[0] == 12 and records.x[0, :4].tolist() == [0, 1, 0, 1]
    if name == "adult":
        assert counts.tolist() == [37155, 11687] and records.x.dtype == np.float32  # 7,841 + 3,846 above 50,000
        np.testing.assert_allclose(records.x[:, 0].mean(dtype=np.float64), 0, atol=1e-6)
    if name == "mnist":
        assert counts.tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    if name == "cifar100":  # fine labels: every class holds about as many records
        assert counts.max() < 1.5 * counts.min()
    assert schema.digest == array_digest(records.x, records.y)
