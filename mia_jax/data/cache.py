"""Decoded records on disk, one .npz each: bits packed, written whole and renamed, checked by digest when read, and by
what they were decoded from: a file under another one's name is not taken for it.

A cache is a convenience: a folder that cannot be written, or an entry that is damaged, is told and worked around.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax.data import npz
from mia_jax.storage import artifacts, places

STALE = 3600.0  # seconds after which a file that is half written is nobody's


class Entry(NamedTuple):
    """Decoded records."""

    x: np.ndarray  # [n, *f]
    y: np.ndarray  # [n]
    digest: str  # of x, then y
    notes: tuple[str, ...]


def folder(directory: str | os.PathLike | None) -> pathlib.Path:
    """The argument, else ``places.cache_folder``."""
    return pathlib.Path(directory).expanduser() if directory else places.cache_folder()


def path(folder: pathlib.Path, name: str, key: dict[str, Any]) -> pathlib.Path:
    """Where the records made from ``key`` (JSON values that decide all of them) lie."""
    return folder / f"{name}-{artifacts.digest(key)[:32]}.npz"


def read(path: pathlib.Path, key: dict[str, Any], notify: Callable[[str], None]) -> Entry | None:
    """The records made from ``key``, or None where there are none, or they are others or not what was written."""
    try:
        arrays = npz.read(path, ("x", "y", "meta"))
        x, y, meta = arrays["x"], arrays["y"], json.loads(str(arrays["meta"]))
        if meta["packed"]:
            x = np.unpackbits(x, axis=1, count=meta["features"])
        if artifacts.array_digest(x, y) != meta["digest"]:
            raise ValueError("its digest differs")
    except OSError:  # not there, or not to be read
        return None
    except Exception as error:  # whatever zipfile, zlib, numpy or json make of damaged bytes
        notify(f"The cached {path} is damaged ({error or type(error).__name__}) and is made again")
        return None
    if meta.get("key") != artifacts.digest(key):  # caches of before 2026-11-27 do not say it
        notify(f"The cached {path} does not say that it is what was asked for, and is made again")
        return None
    return Entry(x, y, meta["digest"], tuple(meta["notes"]))


def write(
    path: pathlib.Path, key: dict[str, Any], entry: Entry, *, binary: bool, notify: Callable[[str], None]
) -> None:
    """Keep the records made from ``key``; bits [n, f] are packed eight to a byte, row by row."""
    x = np.packbits(entry.x, axis=1) if binary else entry.x
    meta = {"packed": binary, "features": entry.x.shape[-1], "digest": entry.digest, "notes": entry.notes}
    meta |= {"key": artifacts.digest(key)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for partial in path.parent.glob(f".{path.name}.*.partial"):  # a killed process's, or another's at work
            if time.time() - partial.stat().st_mtime > STALE:
                partial.unlink(missing_ok=True)
        artifacts.write_npz(path, {"x": x, "y": entry.y, "meta": np.array(json.dumps(meta))})
    except OSError as error:
        notify(f"The decoded data are not cached: {path.parent} cannot be written ({error.strerror})")
