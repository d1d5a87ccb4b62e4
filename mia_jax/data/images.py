"""CIFAR-10, CIFAR-100 (Krizhevsky 2009) and MNIST (LeCun et al. 1998), as they are published. Pixels stay uint8.

A parser takes the contents of the files of one format, by name, and gives (x, y); it raises ``ValueError`` with the
reason where they are not what they should be. Training records come first, in the order of the files.
"""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from mia_jax.data import files, npz, pickled

CIFAR10 = tuple([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"])
CIFAR100 = ("train.bin", "test.bin")


def parse_cifar(contents: Mapping[str, bytes], members: Sequence[str], label_bytes: int, classes: int):
    """The binary version of CIFAR: rows of ``label_bytes`` labels and 3,072 pixels, channel by channel.

    CIFAR-100 has two labels, coarse (20 superclasses) and fine (100 classes); the last, the fine one, is the class.

    Args:
        contents: the .tar.gz, or its members, unpacked.

    Returns:
        (x [n, 32, 32, 3] uint8, y [n] int32).
    """
    by_name = _members(contents, members)
    width = label_bytes + 3072
    for name, data in by_name.items():
        if not data or len(data) % width:
            raise ValueError(f"its member {name} has {len(data):,} bytes, not a multiple of {width:,}")
    rows = np.frombuffer(b"".join(by_name[name] for name in members), np.uint8).reshape(-1, width)
    return _pixels(rows[:, label_bytes:]), files.labels(rows[:, label_bytes - 1], classes)


def parse_cifar_python(contents: Mapping[str, bytes], members: Sequence[str], label: str, classes: int):
    """The Python version of CIFAR, as torchvision keeps it: pickles, of which nothing is executed (``pickled``).

    Args:
        contents: the .tar.gz, or its members, unpacked.
        label: what the labels are called, "labels" or "fine_labels".

    Returns:
        (x [n, 32, 32, 3] uint8, y [n] int32).
    """
    by_name = _members(contents, members)
    xs, ys = zip(*(_batch(name, by_name[name], label) for name in members), strict=True)
    return _pixels(np.concatenate(xs)), files.labels(np.concatenate(ys), classes)


def _batch(name: str, data: bytes, label: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = pickled.load(data)
        batch = {key.decode("ascii") if isinstance(key, bytes) else key: value for key, value in batch.items()}
        x, y = batch["data"], np.asarray(batch[label])
    except (AttributeError, KeyError, UnicodeDecodeError):
        raise ValueError(f"its member {name} has no data and {label}") from None
    except ValueError as error:
        raise ValueError(f"its member {name} cannot be read: {error}") from None
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != 3072 or y.dtype.kind != "i":
        raise ValueError(f"its member {name} does not hold images: data uint8 [n, 3072] and whole numbers as {label}")
    files.check_paired(x, y, f"images in {name}")
    return x, y


def _members(contents: Mapping[str, bytes], members: Sequence[str]) -> dict[str, bytes]:
    if len(contents) == len(members):  # unpacked
        return dict(zip(members, contents.values(), strict=True))
    (archive,) = contents.values()
    return {name: f.read() for name, f in files.members(archive, members)}


def _pixels(rows: np.ndarray) -> np.ndarray:
    """Images [n, 32, 32, 3] of rows [n, 3072], which are channel by channel."""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def parse_mnist(contents: Mapping[str, bytes]):
    """The four idx files, train images, train labels, test images, test labels, each compressed (.gz) or not.

    Returns:
        (x [n, 28, 28] uint8, y [n] int32).
    """
    train_x, train_y, test_x, test_y = (_idx(name, data) for name, data in contents.items())
    return _joined(train_x, train_y, test_x, test_y, (28, 28), 10)


def _idx(name: str, data: bytes) -> np.ndarray:
    if name.endswith(".gz"):
        data = files.unzipped(name, data)
    rank = data[3] if len(data) > 3 else 0
    if data[:3] != b"\0\0\x08" or rank not in (1, 3) or len(data) < 4 + 4 * rank:
        raise ValueError(f"{name} is not an idx file of bytes")
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if values.size != int(np.prod(shape, dtype=object)):
        raise ValueError(f"{name} announces {shape} values and holds {values.size:,}")
    return values.reshape(shape)


def parse_npz(contents: Mapping[str, bytes], shape: tuple[int, ...], classes: int):
    """An .npz in the Keras layout: ``x_train``, ``y_train``, ``x_test``, ``y_test``, with any number of rows."""
    (data,) = contents.values()
    return _joined(*files.keras(npz.read(data, files.KERAS)), shape, classes)


def _joined(train_x, train_y, test_x, test_y, shape: tuple[int, ...], classes: int):
    for part, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if x.dtype != np.uint8 or x.shape[1:] not in (shape, (*shape, 1)):
            raise ValueError(f"its {part} images have shape {x.shape} and type {x.dtype}; needed: uint8 [n, {shape}]")
        files.check_paired(x, y, f"{part} images")
    x = np.concatenate([train_x.reshape(-1, *shape), test_x.reshape(-1, *shape)])
    return x, np.concatenate([files.labels(train_y, classes), files.labels(test_y, classes)])
