"""The official formats, with their quirks; damaged and malformed files are refused."""

import gzip
import io
import struct

import numpy as np
import pytest
from archives import PX, PY, bits, csv, cycle, npz, tgz

from mia_jax import data
from mia_jax.data import files, images, tabular
from mia_jax.storage.artifacts import array_digest
from mia_jax.types import Field, InputError


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(csv(PX, PY + 1), id="1-based"),
        pytest.param(csv(PX, PY), id="0-based"),
        pytest.param(csv(PX, PY + 1, quote='"'), id="quoted"),
        pytest.param(csv(PX, PY + 1, end="\r\n") + b"\r\n  \n\n", id="windows and blank lines"),
        pytest.param(csv(PX, PY + 1).rstrip(b"\n"), id="no last newline"),
    ],
)
@pytest.mark.parametrize("member", ["dataset_purchase", "./purchase/dataset_purchase"])
def test_purchase_archive(folder, content, member):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"._dataset_purchase": b"mac", member: content}))
    records, schema = data.load("purchase", data_dir=folder)
    assert records.x.dtype == np.uint8 and records.y.dtype == np.int32
    np.testing.assert_array_equal(records.x, PX)
    np.testing.assert_array_equal(records.y, PY)
    assert (schema.name, schema.source, schema.num_classes) == ("purchase100", "official", 100)
    assert schema.shape == (600,) and schema.fields == (Field("bits", "binary", 0, 600),)
    assert schema.digest == array_digest(records.x, records.y)
    assert "220 records" in schema.notes[-1] and "197,324" in schema.notes[-1]


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param(dict(features=PX.astype(float), labels=np.eye(100)[PY]), id="one-hot"),
        pytest.param(dict(features=PX.astype(bool), labels=PY + 1), id="1-based"),
        pytest.param(dict(features=PX.astype(np.int64), labels=PY[:, None].astype(float)), id="column of floats"),
        pytest.param(dict(x_train=PX[:150], y_train=PY[:150], x_test=PX[150:], y_test=PY[150:]), id="keras"),
    ],
)
@pytest.mark.parametrize("name", ["purchase100.npz", "purchase.npz"])
def test_purchase_npz(folder, arrays, name):
    (folder / name).write_bytes(npz(**arrays))
    records, _ = data.load("purchase100", data_dir=folder)
    np.testing.assert_array_equal(records.x, PX)
    np.testing.assert_array_equal(records.y, PY)


@pytest.mark.parametrize("width", [6169, 6170])
def test_texas_archive(folder, monkeypatch, width):
    x, y = bits(110, width), cycle(110, 100)
    parts = {"texas/100/labels": b"".join(b'"%d"\n' % (label + 1) for label in y), "texas/100/feats": csv(x)}
    (folder / "dataset_texas.tgz").write_bytes(tgz(parts | {"texas/100/feats_names": b"x", "texas/50/feats": b"0\n"}))
    monkeypatch.setenv("MIA_JAX_DATA_DIR", str(folder))
    records, schema = data.load("texas", source="official")
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)
    assert schema.shape == (width,) and schema.fields[0].stop == width


def test_texas_npz_one_hot(folder):
    x, y = bits(110, 6169), cycle(110, 100)
    (folder / "texas100.npz").write_bytes(npz(features=x, labels=np.eye(100, dtype=np.uint8)[y]))
    records, _ = data.load("texas", data_dir=folder)
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)


def test_many_blocks_of_rows(monkeypatch):
    monkeypatch.setattr(tabular, "_ROWS", 7)
    x, names = tabular.bit_rows(io.BytesIO(csv(PX, PY + 1)), labeled=True)
    np.testing.assert_array_equal(x, PX)
    assert names == [b"%d" % (label + 1) for label in PY]
    with pytest.raises(ValueError, match="row 24 has 599 features and row 1 has 600"):
        broken = csv(PX).splitlines(keepends=True)
        broken[23] = broken[23][2:]
        tabular.bit_rows(io.BytesIO(b"".join(broken)), labeled=False)


def test_cifar_archives_channels_and_fine_labels():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    flat = pixels.transpose(0, 3, 1, 2).reshape(12, -1)
    fine, coarse = cycle(12, 100)[:, None].astype(np.uint8), np.full((12, 1), 19, np.uint8)
    rows10, rows100 = np.hstack([fine % 10, flat]), np.hstack([coarse, fine, flat])
    members = {
        f"cifar-10-batches-bin/{name}": rows10[2 * i : 2 * i + 2].tobytes() for i, name in enumerate(images.CIFAR10)
    }
    x, y = data.DATASETS["cifar10"].formats[0].parse({"a": tgz(members)})
    np.testing.assert_array_equal(x, pixels)
    np.testing.assert_array_equal(y, fine[:, 0] % 10)
    members = {"cifar-100-binary/test.bin": rows100[8:].tobytes(), "cifar-100-binary/train.bin": rows100[:8].tobytes()}
    x, y = data.DATASETS["cifar100"].formats[0].parse({"a": tgz(members)})
    np.testing.assert_array_equal(x, pixels)  # training records first, whatever the order in the archive
    np.testing.assert_array_equal(y, fine[:, 0])
    members["cifar-100-binary/train.bin"] = rows100[:8].tobytes()[:-1]
    with pytest.raises(ValueError, match="not a multiple"):
        data.DATASETS["cifar100"].formats[0].parse({"a": tgz(members)})


def idx(array) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_mnist_idx(folder):
    x, y = np.arange(30 * 784).reshape(30, 28, 28).astype(np.uint8), cycle(30, 10).astype(np.uint8)
    names = data.DATASETS["mnist"].formats[1].files
    contents = dict(zip(names, map(idx, (x[:20], y[:20], x[20:], y[20:])), strict=True))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    records, schema = data.load("mnist", data_dir=folder)
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)
    assert schema.fields == (Field("pixels", "pixel", 0, 784, 0.0, 255.0),)
    zipped = {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}
    np.testing.assert_array_equal(images.parse_mnist(zipped)[0], x)
    (folder / names[0]).write_bytes(contents[names[0]][:-1])
    with pytest.raises(InputError, match="announces"):
        data.load("mnist", data_dir=folder)
    (folder / names[3]).unlink()
    with pytest.raises(InputError, match=f"lacks {names[3]}"):
        data.load("mnist", data_dir=folder)


ADULT_ROWS = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Own-child, White, Male, 2174, 0, 40, Cuba, {}",
    "50, ?, 83311, Masters, 14, Divorced, ?, Husband, Black, Female, 0, 0, 13, ?, {}",
    "20, Private, 1, Masters, 14, Divorced, Sales, Husband, Black, Female, 0, 5, 13, Peru, {}",
)


def adult(*rows: str, test: str = "") -> dict[str, bytes]:
    return {
        "adult.data": ("\n".join(rows) + "\n\n").encode(),
        "adult.test": ("|1x3 validator\n" + test + "\n\n").encode(),
    }


def test_adult_encoding():
    first, second, third = ADULT_ROWS
    x, y = tabular.parse_adult(adult(first.format("<=50K"), second.format(">50K"), test=third.format(">50K.")))
    fields = tabular.adult_fields(x)
    assert [f.name for f in fields] == list(tabular.ADULT) and len(fields) == 14
    assert [f.start for f in fields] == [0, *(f.stop for f in fields[:-1])] and fields[-1].stop == x.shape[1] == 108
    np.testing.assert_array_equal(y, [0, 1, 1])
    assert x.dtype == np.float32 and y.dtype == np.int32
    columns = {f.name: x[:, f.start : f.stop] for f in fields}
    for f in fields:
        if f.kind == "categorical":
            np.testing.assert_array_equal(columns[f.name].sum(axis=1), 1)
        else:
            age = np.array([39, 50, 20]) if f.name == "age" else None
            np.testing.assert_allclose([f.low, f.high], [columns[f.name].min(), columns[f.name].max()])
            if age is not None:
                np.testing.assert_allclose(columns["age"][:, 0], (age - age.mean()) / age.std(), rtol=1e-6)
    workclass = next(f for f in fields if f.name == "workclass")
    assert [workclass.categories[i] for i in columns["workclass"].argmax(axis=1)] == ["State-gov", "?", "Private"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ADULT_ROWS[0].format("<=50K").replace("39", "NaN"), "age has the value 'NaN'"),
        (ADULT_ROWS[0].format("<=50K").replace("Cuba", "Atlantis"), "native-country has the value 'Atlantis'"),
        (ADULT_ROWS[0].format("rich"), "income has the value 'rich'"),
        (ADULT_ROWS[0].format("<=50K") + ", 1", "16 values, not 15"),
    ],
)
def test_adult_refuses(row, reason):
    with pytest.raises(ValueError, match=reason):
        tabular.parse_adult(adult(row))


# --- refused ---------------------------------------------------------------------------------------------------------


def edited(row: int, old: bytes, new: bytes) -> bytes:
    rows = csv(PX, PY + 1).splitlines(keepends=True)
    rows[row] = rows[row].replace(old, new, 1)
    return b"".join(rows)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (edited(4, b",1", b""), "row 5 has 599 features and row 1 has 600"),
        (edited(4, b",1", b",0,1"), "row 5 has 601 features"),
        (edited(4, b",1", b",2"), "row 5 has the feature '2', neither 0 nor 1"),
        (edited(4, b",1", b",nan"), "'nan', neither 0 nor 1"),
        (edited(0, b"1,", b"x,"), "row 1 has the label 'x', not a whole number"),
        (edited(0, b"1,", b"101,"), "record 0 has the label 101, outside of 1..100"),
        (csv(PX[:, :599], PY + 1), "599 features per record, not 600"),
        (csv(PX[:99], PY[:99] + 1), r"class 99 of 0..99 has no record"),
        (csv(PX[:50], PY[:50] + 1), r"class 50 \(and 49 more\)"),
        (b"\n", "no rows"),
        (b"hello\n", "not comma-separated"),
    ],
)
def test_malformed_archive_is_refused(folder, content, reason):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": content}))
    with pytest.raises(InputError, match=reason) as error:
        data.load("purchase", data_dir=folder)
    assert "dataset_purchase.tgz" in str(error.value) and "github.com/privacytrustlab" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (dict(features=PX), "only features"),
        (dict(x_train=PX, y_train=PY), "no array 'x_test'"),
        (dict(features=PX, labels=PY[:-1]), "do not match"),
        (dict(features=PX, labels=np.eye(100)[PY] * 2), "not one-hot"),
        (dict(features=PX, labels=np.where(PY == 3, np.nan, PY)), "not whole numbers"),
        (dict(features=np.where(PX == 1, np.nan, 0.0), labels=PY), "value nan where only 0 and 1"),
        (dict(features=PX, labels=PY - 1), "label -1, which is negative"),
        (dict(features=PX.astype(object), labels=PY), "its array 'features' holds Python objects"),
    ],
)
def test_malformed_npz_is_refused(folder, arrays, reason):
    (folder / "purchase100.npz").write_bytes(npz(**arrays))
    with pytest.raises(InputError, match=reason):
        data.load("purchase", data_dir=folder)


def test_damaged_files_are_refused_even_when_cached(folder):
    for name, whole in (
        ("dataset_purchase.tgz", tgz({"dataset_purchase": csv(PX, PY + 1)})),
        ("purchase100.npz", npz(features=PX, labels=PY)),
    ):
        path = folder / name
        path.write_bytes(whole)
        data.load("purchase", data_dir=folder)
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0x10
        trailer = bytearray(whole)
        trailer[-6] ^= 0x10  # in gzip the checksum: nothing else can tell
        for damaged in (whole[: len(whole) // 2], whole[:-9], bytes(flipped), b"", bytes(trailer)):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=f"{name} cannot be used"):
                data.load("purchase", data_dir=folder)
        path.unlink()


def test_file_that_differs_from_the_published_one_is_refused(folder):
    for name, file in (("location", "dataset_location.tgz"), ("cifar10", "cifar-10-binary.tar.gz")):
        (folder / file).write_bytes(b"\0" * files.published()[file].size if name == "location" else b"short")
        with pytest.raises(InputError, match="its SHA-256 is" if name == "location" else "it has 5 bytes"):
            data.load(name, data_dir=folder)


def test_members_never_touch_the_disk(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    evil = {"../evil": b"x", str(tmp_path / "absolute"): b"x", "dataset_purchase": csv(PX, PY + 1)}
    links = {"sub/dataset_purchase": "/etc/passwd", "link": str(tmp_path)}
    (folder / "dataset_purchase.tgz").write_bytes(tgz(evil, links))
    records, _ = data.load("purchase", data_dir=folder)
    np.testing.assert_array_equal(records.x, PX)
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert {name for name in written if not name.startswith("cache/")} == {"data/dataset_purchase.tgz"}
