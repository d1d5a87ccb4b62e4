"""Files that somebody else wrote: digests, archives and labels, read in memory and trusted in nothing.

A reader raises ``ValueError`` with the reason (in words) where the contents cannot be what they claim; ``UNREADABLE``
are the errors that the standard readers raise for damaged bytes. ``data.load`` turns all of them into an ``InputError``
that names the file and the next move.
"""

import contextlib
import gzip
import hashlib
import http.client
import importlib.resources
import io
import pathlib
import tarfile
import threading
import urllib.request
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np

from mia_jax import sanitize as plain_text
from mia_jax.data import limits

UNREADABLE = (ValueError, EOFError, OverflowError, OSError, KeyError, tarfile.TarError, zlib.error)


class Published(NamedTuple):
    """An official file, as its publisher has it."""

    url: str
    size: int  # bytes
    sha256: str


def published() -> dict[str, Published]:
    """Files whose digest is known, by their official name (``checksums.tsv``, which tensorflow-datasets reads too)."""
    table = importlib.resources.files("mia_jax.data").joinpath("checksums.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines())
    return {name: Published(url, int(size), sha256) for url, size, sha256, name in rows}


Content = bytes | pathlib.Path  # of a file: read, or to be read where the whole would be too much at once


def digest(contents: Mapping[str, Content]) -> str:
    """SHA-256 of one file as its publisher would print it; of several files, over their digests in order."""
    each = [_sha256(data) for data in contents.values()]
    return each[0].hexdigest() if len(each) == 1 else hashlib.sha256(b"".join(h.digest() for h in each)).hexdigest()


def _sha256(data: Content):
    if isinstance(data, bytes):
        return hashlib.sha256(data)
    with open(data, "rb") as f:
        return hashlib.file_digest(f, "sha256")


def check_published(name: str, data: bytes) -> None:
    """Refuse contents that differ from what was published under this name; names without a known digest pass.

    Raises:
        ValueError: size or SHA-256 differ.
    """
    if known := published().get(name):
        if len(data) != known.size:
            raise ValueError(f"it has {len(data):,} bytes and the published file has {known.size:,}")
        if (sha256 := hashlib.sha256(data).hexdigest()) != known.sha256:
            raise ValueError(
                f"its SHA-256 is {sha256[:12]}... and that of the published file is {known.sha256[:12]}..."
            )


def members(archive: bytes, wanted: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Stream the wanted members of a .tar.gz, as (wanted name, file), in the order of the archive.

    A member is wanted when the end of its path is. Nothing is ever written to disk, so paths, links and modes in the
    archive have no effect. The archive is read to its last byte, so that its checksum is checked.

    Raises:
        ValueError: a member is missing; and what ``tarfile`` and ``gzip`` raise for a truncated or damaged archive.
    """
    seen: set[str] = set()
    others: list[str] = []
    with gzip.GzipFile(fileobj=io.BytesIO(archive)) as unbounded:
        plain = _Bounded(unbounded, limits.most(len(archive)))
        with tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                name = next((w for w in wanted if f"/{member.name}".endswith(f"/{w}") and w not in seen), None)
                whole = member.isreg() and not member.issparse()  # sparse: zeros that are nowhere
                if name is not None and whole and (content := tar.extractfile(member)) is not None:
                    seen.add(name)
                    yield name, content
                elif len(others) < 4:
                    others.append(member.name)
        while plain.read(1 << 20):
            pass
    if missing := [w for w in wanted if w not in seen]:
        raise ValueError(
            f"it has no member {missing[0]!r}, only {', '.join(map(plain_text.quoted, others)) or 'nothing'}"
        )


class _Bounded(io.RawIOBase):
    """A stream of which no more than ``left`` bytes are read."""

    def __init__(self, stream: gzip.GzipFile, left: int):
        self._stream, self._left = stream, left

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size if 0 <= size <= self._left else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise limits.TooLarge("it unpacks to more than such files do")
        return data


def unzipped(name: str, data: bytes) -> bytes:
    """What is in a .gz.

    Raises:
        ValueError: more than such files hold; and what ``gzip`` raises for damaged bytes.
    """
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as plain:
        out = plain.read(most := limits.most(len(data)))
        if plain.read(1):
            raise limits.TooLarge(f"{name} unpacks to more than {most:,} bytes")
    return out


LINE = 1 << 14  # bytes of a row: those of Texas have 12,340
LINES = 5_000_000  # of a file: Purchase has 197,324


def lines(f: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file, with their ends.

    Raises:
        ValueError: a line, or all of them, are longer than those of a data set.
    """
    for number in range(1, LINES + 2):
        if not (line := f.readline(LINE + 1)):
            return
        if len(line) > LINE:
            raise limits.TooLarge(f"row {number:,} is longer than {LINE:,} bytes")
        yield line
    raise limits.TooLarge(f"it has more than {LINES:,} rows")


def check_paired(x: np.ndarray, y: np.ndarray, what: str = "records") -> None:
    """Refuse features [n, ...] and labels [n, ...] of different length.

    Raises:
        ValueError: with both lengths.
    """
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"its {what} and their labels do not match: {x.shape} and {y.shape}")


KERAS = ("x_train", "y_train", "x_test", "y_test")


def keras(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four arrays of the Keras layout: x [n, ...] and y [n] to train on, and to test on.

    Raises:
        ValueError: one is missing.
    """
    if missing := [name for name in KERAS if name not in arrays]:
        raise ValueError(f"it has no array {missing[0]!r}; the Keras layout has {', '.join(KERAS)}")
    return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def bits(x: np.ndarray) -> np.ndarray:
    """Features [n, ...] as uint8 (the same array where they are), after a check that each of them is 0 or 1.

    Raises:
        ValueError: another value is among them.
    """
    out = x if x.dtype == np.uint8 else np.empty(x.shape, np.uint8)
    for start in range(0, len(x), 4096):  # Texas is 415 MB, and so would each comparison be
        block = x[start : start + 4096]
        wrong = (block != 0) & (block != 1)
        if wrong.any():
            row, *rest = np.unravel_index(wrong.argmax(), wrong.shape)
            raise ValueError(f"record {start + row} has the value {block[row, *rest]} where only 0 and 1 can be")
        out[start : start + 4096] = block
    return out


IGNORED = (-1, -100)  # scikit-learn's "unlabeled" and noise; PyTorch's ignore_index
UNLABELED = (
    'as a rule -1 and -100 stand for "unlabeled" or "ignored" (semi-supervised data, clusterings, padding): leave such'
    " records out of all arrays, as x[y >= 0] and y[y >= 0] do; if it is a class, number all classes from 0"
)


class Unlabeled(ValueError):
    """Labels among which -1, or -100, stands for none."""


def labels(y: np.ndarray, classes: int | None = None, *, one_based: bool = False) -> np.ndarray:
    """Class labels [n] int32, 0-based, from integers ([n] or [n, 1]) or a one-hot code ([n, classes]).

    Args:
        classes: their number; None: the largest label tells.
        one_based: integers may count from 1; they do where no label is 0.

    Raises:
        ValueError: labels that are no whole numbers, not one-hot, or out of range.
    """
    if classes is not None and y.ndim == 2 and y.shape[1] == classes and classes > 1:
        if ((y != 0) & (y != 1)).any() or (y.sum(axis=1) != 1).any():
            raise ValueError("its labels have a column per class and are not one-hot")
        return y.argmax(axis=1).astype(np.int32)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "biuf":
        hot = f", or one-hot [n, {classes}]" if classes is not None and classes > 1 else ""
        raise ValueError(f"its labels have shape {y.shape} and type {y.dtype}; needed: integers [n]{hot}")
    if y.dtype.kind == "f" and not np.array_equal(y, np.trunc(y)):  # NaN is not equal to itself
        raise ValueError("its labels are not whole numbers")
    low, high = (1, classes) if one_based and len(y) and y.min() > 0 else (0, (classes or np.iinfo(np.int32).max) - 1)
    wrong = (y < low) | (y > high)
    if wrong.any():
        label = y[wrong.argmax()]
        if y.min() in IGNORED and not np.isin(y, (-1, 1)).all():
            where = f"record {y.argmin()} has the label {y.min()}"
            raise Unlabeled(f"{where}, which is negative: classes are numbered from 0; {UNLABELED}")
        reason = "which is negative: classes are numbered from 0" if label < 0 else f"outside of {low}..{high}"
        raise ValueError(f"record {wrong.argmax()} has the label {label}, {reason}")
    return (y.astype(np.int64) - low).astype(np.int32)


def check_classes(y: np.ndarray, classes: int) -> None:
    """Refuse labels y [n] where a class has no record.

    Raises:
        ValueError: naming the first class without one.
    """
    present = np.unique(y)  # not a count per class: labels of a user's own may go up to anything
    if empty := classes - len(present):
        first = int(np.append(present != np.arange(len(present)), True).argmax())
        more = f" (and {empty - 1:,} more)" if empty > 1 else ""
        raise ValueError(f"class {first}{more} of 0..{classes - 1} has no record")


def reachable(url: str, timeout: float = 5.0) -> bool:
    """Whether the network answers a HEAD request for ``url`` within ``timeout`` seconds."""
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "mia-jax"})
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(request, timeout=timeout),
        ):
            answers.append(True)

    # A thread, because looking up a name is not covered by the timeout of a socket.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout)
    return bool(answers)
