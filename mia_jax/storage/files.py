"""Files written whole or not at all, whatever happens while they are written."""

import contextlib
import json
import os
import pathlib
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from mia_jax.storage import processes


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Generator[pathlib.Path]:
    """Give a temporary path to write to; sync it and rename it onto ``path`` if the block ends well."""
    partial = path.with_name(processes.partial_name(path.name))
    partial.unlink(missing_ok=True)  # a link that lies there is not written through
    try:
        yield partial
        with open(partial, "r+b") as f:  # Windows syncs only what may be written
            os.fsync(f.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a write does not know where it goes
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed now is swept by the next run; the error is told
            partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, as JSON has none."""
    with replacing(path) as partial:
        partial.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """JSON as it is written to files: of the same value the same text."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` of arrays of any shape [...], whole or not at all; the same arrays give the same bytes."""
    with replacing(path) as partial, open(partial, "wb") as f:
        np.savez(f, **arrays)  # ty: ignore[invalid-argument-type]  (no array of ours is called allow_pickle)
