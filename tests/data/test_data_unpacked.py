"""Files as others keep them: CIFAR's Python version, unpacked folders; and archives that are made to do harm."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
from archives import PX, PY, bits, csv, cycle, tgz

from mia_jax import data
from mia_jax.data import files, images, limits, pickled
from mia_jax.types import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)
FLAT = PIXELS.transpose(0, 3, 1, 2).reshape(120, -1)  # as the files have them
NAMES = {10: [name.removesuffix(".bin") for name in images.CIFAR10], 100: ["train", "test"]}
FOLDER = {10: "cifar-10-batches-py", 100: "cifar-100-python"}


def python2(x: np.ndarray, **labels: np.ndarray) -> bytes:
    """A batch as Python 2 pickled it: text and bytes are one type."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value

    def whole(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R(K\3" + text(b"|") + b"NNN" + whole(-1) * 2 + b"K\0tb"
    state = b"(K\1" + whole(x.shape[0]) + whole(x.shape[1]) + b"\x86" + kind + b"\x89" + text(x.tobytes()) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R" + state
    items = text(b"data") + array
    for name, y in labels.items():
        items += text(name.encode()) + b"](" + b"".join(whole(int(label)) for label in y) + b"e"
    return b"\x80\x02}(" + items + b"u."


def python3(protocol: int, key=str.encode):
    return lambda x, **labels: pickle.dumps(
        {key("data"): x, **{key(name): y.tolist() for name, y in labels.items()}}, protocol=protocol
    )


def batches(classes: int, write=python2) -> dict[str, bytes]:
    y = cycle(120, classes)
    parts = np.array_split(np.arange(120), len(NAMES[classes]))
    labels = [dict(labels=y[p]) if classes == 10 else dict(fine_labels=y[p], coarse_labels=y[p] // 5) for p in parts]
    return {name: write(FLAT[p], **each) for name, p, each in zip(NAMES[classes], parts, labels, strict=True)}


def put(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def check_cifar(records, classes: int) -> None:
    np.testing.assert_array_equal(records.x, PIXELS)
    np.testing.assert_array_equal(records.y, cycle(120, classes))


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize(
    "write",
    [python2, *(python3(protocol) for protocol in (0, 2, 4)), python3(2, key=str)],
    ids=["Python 2", "0", "2", "4", "text keys"],
)
def test_cifar_for_python(folder, monkeypatch, classes, write):
    archive = f"cifar-{classes}-python.tar.gz"
    monkeypatch.setattr(files, "published", dict)  # this one is smaller
    members = {f"{FOLDER[classes]}/{name}": content for name, content in batches(classes, write).items()}
    (folder / archive).write_bytes(tgz({f"{FOLDER[classes]}/batches.meta": b"x"} | members))
    records, schema = data.load(f"cifar{classes}", data_dir=folder)
    check_cifar(records, classes)
    assert archive in schema.notes[0] and schema.source == "official"


def test_the_published_digests_of_both_versions_are_known(folder):
    known = files.published()
    for classes in (10, 100):
        name = f"cifar-{classes}-python.tar.gz"
        assert len(known[name].sha256) == 64 and known[name].size > 169e6
        (folder / name).write_bytes(b"another")
        with pytest.raises(InputError, match=f"{name} cannot be used: it has 7 bytes and the published file has 1"):
            data.load(f"cifar{classes}", data_dir=folder)


@pytest.mark.parametrize(
    ("classes", "where"), [(classes, where) for classes in FOLDER for where in ("", FOLDER[classes])]
)
def test_folders_of_cifar(folder, classes, where):
    put(folder / FOLDER[classes], batches(classes))
    check_cifar(data.load(f"cifar{classes}", data_dir=folder / where)[0], classes)
    (folder / FOLDER[classes] / NAMES[classes][-1]).unlink()
    with pytest.raises(InputError, match=f"lacks {FOLDER[classes]}/{NAMES[classes][-1]}"):
        data.load(f"cifar{classes}", data_dir=folder)


@pytest.mark.parametrize("where", ["cifar-10-batches-bin", "."])
def test_folders_of_cifar_in_binary(folder, where):
    rows = np.hstack([cycle(120, 10)[:, None].astype(np.uint8), FLAT])
    parts = np.array_split(rows, 6)
    put(folder / "cifar-10-batches-bin", {n: p.tobytes() for n, p in zip(images.CIFAR10, parts, strict=True)})
    check_cifar(data.load("cifar10", data_dir=folder / where)[0], 10)


@pytest.mark.parametrize("path", ["dataset_purchase", "dataset_purchase/dataset_purchase"])
@pytest.mark.parametrize("name", ["purchase", "purchase10"])
def test_purchase_unpacked(folder, path, name):
    put(folder, {path: csv(PX, PY + 1)})
    records, schema = data.load(name, data_dir=folder, source="official")
    np.testing.assert_array_equal(records.x, PX)
    if name == "purchase":
        np.testing.assert_array_equal(records.y, PY)
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    assert data.load(name, data_dir=folder)[1].digest == schema.digest  # the archive holds the same


@pytest.mark.parametrize("where", [".", "texas", "texas/100"])
def test_texas_unpacked(folder, where):
    x, y = bits(110, 6169), cycle(110, 100)
    labels = b"".join(b"%d\n" % (label + 1) for label in y)
    put(folder, {"texas/100/feats": csv(x), "texas/100/labels": labels, "texas/50/feats": b"0\n"})
    records, _ = data.load("texas", data_dir=folder / where)
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)
    (folder / "texas/100/labels").write_bytes(labels[:-3])
    with pytest.raises(InputError, match="110 rows of features and 109 labels"):
        data.load("texas", data_dir=folder)


@pytest.mark.parametrize("path", ["bangkok", "dataset_location/bangkok"])
def test_location_unpacked(folder, path):
    x, y = bits(60, 446), cycle(60, 30)
    put(folder, {path: csv(x, y + 1, quote='"')})
    records, _ = data.load("location", data_dir=folder)
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, y)
    put(folder, {path: csv(x[:, :-1], y + 1)})
    with pytest.raises(InputError, match=r"bangkok cannot be used: it has 445 features per record, not 446; get it"):
        data.load("location", data_dir=folder)


def test_mnist_as_torchvision_keeps_it(folder):
    x, y = np.arange(30 * 784).reshape(30, 28, 28).astype(np.uint8), cycle(30, 10).astype(np.uint8)
    names = data.DATASETS["mnist"].formats[1].files
    for name, array in zip(names, (x[:20], y[:20], x[20:], y[20:]), strict=True):
        head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        put(folder, {f"MNIST/raw/{name}": head + array.tobytes()})
    np.testing.assert_array_equal(data.load("mnist", data_dir=folder)[0].x, x)


# --- harm ------------------------------------------------------------------------------------------------------------


class Harm:
    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


class Elsewhere(pickle.Pickler):
    def persistent_id(self, value):
        return 7 if value == "here" else None


def persistent() -> bytes:
    out = io.BytesIO()
    Elsewhere(out).dump({"data": "here"})
    return out.getvalue()


WHOLE = python2(FLAT[:2], labels=np.array([0, 1]))


def announcing(old: bytes, new: bytes) -> bytes:
    assert old in WHOLE
    return WHOLE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            pickle.dumps({"data": Harm(os.system, "touch harm")}),
            r"it would run '(posix|nt).system', and nothing is run",
        ),
        (pickle.dumps({"data": Harm(eval, "1")}), "it would run 'builtins.eval'"),
        (pickle.dumps(Harm(np.load, "x")), "it would run 'numpy.load'"),
        (pickle.dumps({"data": Harm(np.ndarray, (10**13,))}), "an array that is no array of numbers"),
        (b"cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.", "it is no dictionary"),
        (b"cnumpy.core.multiarray\n_reconstruct\n}b.", "it is no dictionary|it is damaged"),
        (b"cnumpy\nndarray\n}b.", "it is no dictionary|it is damaged"),
        (b"c__builtin__\nexec\n(S'1'\ntR.", "it would run '__builtin__.exec'|it would run 'builtins.exec'"),
        (b"cos\nsystem\n(S'true'\ntR.", "it would run 'os.system'"),
        (persistent(), "it refers to objects elsewhere"),
        (pickle.dumps({"data": np.array([{}], object)}), "an array that is no array of numbers"),
        (pickle.dumps({"data": FLAT[:2].view("S3072"), "labels": [0, 1]}), "an array that is no array of numbers"),
        (pickle.dumps({"data": FLAT[:2].astype(float), "labels": [0, 1]}), "does not hold images"),
        (pickle.dumps({"data": FLAT[:2, :-1], "labels": [0, 1]}), "does not hold images"),
        (pickle.dumps({"data": FLAT[:2], "labels": ["a", "b"]}), "does not hold images"),
        (pickle.dumps({"data": FLAT[:2], "labels": [0]}), "do not match"),
        (pickle.dumps({"data": FLAT[:2]}), "has no data and labels"),
        (pickle.dumps([FLAT[:2]]), "it is no dictionary"),
        (announcing(struct.pack("<i", 3072), struct.pack("<i", 2**31 - 1)), "an array that is no array of numbers"),
        (announcing(struct.pack("<i", 2), struct.pack("<i", -2)), "an array that is no array of numbers"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62), "damaged|truncated|exceeds"),
        (b"\x80\x04" + b"(" * 10 + b".", "damaged|could not find|cannot be read"),
        (WHOLE[:-100], "cannot be read"),
        (b"", "cannot be read"),
        (b"hello", "cannot be read"),
    ],
)
def test_pickles_are_not_executed(folder, monkeypatch, content, reason):
    monkeypatch.chdir(folder)
    put(folder / FOLDER[10], batches(10) | {"data_batch_3": content})
    with pytest.raises(InputError, match=reason) as error:
        data.load("cifar10", data_dir=folder)
    assert "data_batch_3" in str(error.value) and "\n" not in str(error.value) and not (folder / "harm").exists()
    assert pickled.load(WHOLE)[b"data"].shape == (2, 3072)  # and what came before leaves nothing behind


def test_archives_that_unpack_to_anything_are_refused(folder, monkeypatch):
    monkeypatch.setattr(limits, "SMALL", 2**20)
    monkeypatch.setattr(limits, "TEXT_RATIO", 20)
    path = folder / "dataset_purchase.tgz"
    endless = {
        "one row": (b"0" * 2**22, "row 1 is longer than 16,384 bytes"),
        "blank rows": (b"\n" * 2**22, "unpacks to more than such files do|has more than"),
        "a member that nobody wants": (None, "unpacks to more than such files do"),
    }
    for content, reason in endless.values():
        row = csv(PX, PY + 1)
        members = (
            {"dataset_purchase": row, "other": b"\0" * 2**23} if content is None else {"dataset_purchase": content}
        )
        path.write_bytes(tgz(members))
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=reason):
                data.load("purchase", data_dir=folder)
            assert tracemalloc.get_traced_memory()[1] < 5e6
        finally:
            tracemalloc.stop()


def test_rows_of_another_width_are_refused_at_the_first(folder, monkeypatch):
    monkeypatch.setattr(files, "LINES", 1000)
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": b"1,0\n" * 2000}))
    with pytest.raises(InputError, match="it has 1 features per record, not 600"):
        data.load("purchase", data_dir=folder)
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": b"\n" * 2000}))
    with pytest.raises(InputError, match="it has more than 1,000 rows"):
        data.load("purchase", data_dir=folder)


def test_a_sparse_member_is_none(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("dataset_purchase")
        info.pax_headers = {"GNU.sparse.size": str(10**13), "GNU.sparse.map": "0,0", "GNU.sparse.name": info.name}
        tar.addfile(info)
    (folder / "dataset_purchase.tgz").write_bytes(out.getvalue())
    with pytest.raises(InputError, match="it has no member 'dataset_purchase'"):
        data.load("purchase", data_dir=folder)


def test_an_idx_file_that_unpacks_to_anything_is_refused(folder, monkeypatch):
    monkeypatch.setattr(limits, "SMALL", 2**20)
    monkeypatch.setattr(files, "published", dict)
    for name in data.DATASETS["mnist"].formats[0].files:
        (folder / name).write_bytes(gzip.compress(bytes(2**22)))
    with pytest.raises(InputError, match="unpacks to more than 1,048,576 bytes"):
        data.load("mnist", data_dir=folder)
