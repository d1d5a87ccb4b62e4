"""Archives written as the official ones are, for the tests of ``data``."""

import io
import tarfile

import numpy as np


def tgz(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def csv(x, labels=None, *, quote="", end="\n") -> bytes:
    rows = [",".join(map(str, row)) for row in x.tolist()]
    if labels is not None:
        rows = [f"{quote}{label}{quote},{row}" for label, row in zip(labels, rows, strict=True)]
    return (end.join(rows) + end).encode()


def bits(n, f, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, f), np.uint8)


def cycle(n, c):
    return (np.arange(n) % c).astype(np.int32)


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


PX, PY = bits(220, 600), cycle(220, 100)
