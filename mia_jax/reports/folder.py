"""A run's folder: its results.json and scores.npz read with care, its page and its figures written."""

import contextlib
import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.reports import figures
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.results import printable
from mia_jax.storage.artifacts import replacing
from mia_jax.types import InputError, MiaError


class Finished(NamedTuple):
    """A finished run."""

    results: Results
    scores: Scores
    digest: str  # of scores.npz, SHA-256


def read(workdir: pathlib.Path) -> Finished:
    """Read results.json and scores.npz.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema.
    """
    try:
        raw = (workdir / "scores.npz").read_bytes()
        results = printable(json.loads((workdir / "results.json").read_text(encoding="utf-8")))
        with np.load(io.BytesIO(raw), allow_pickle=False) as f:
            scores = {name: f[name] for name in f.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{workdir} holds no finished run ({error}); run scripts/train.py or scripts/audit.py to its end first"
        ) from error
    if results.get("schema") != 1:
        raise InputError(f"{workdir / 'results.json'} has schema {results.get('schema')}, not 1; run the command again")
    return Finished(results, scores, hashlib.sha256(raw).hexdigest())


# what values that no run writes end in
NOT_AS_LEFT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, StopIteration)


@contextlib.contextmanager
def believed(workdir: str | pathlib.Path) -> Generator[None]:
    """Make a page of files that anybody may have changed: what is none of a run's values is an InputError."""
    try:
        yield
    except MiaError:
        raise
    except NOT_AS_LEFT as error:
        where = pathlib.Path(workdir) / "results.json"
        raise InputError(
            f"{where} or scores.npz is not as a run leaves it ({type(error).__name__}: {sanitize.line(str(error))});"
            " the same command as before writes it again"
        ) from error


def write(workdir: pathlib.Path, page: str, drawings: Sequence[figures.Rendered]) -> pathlib.Path:
    """Write report.html and figures/*.png, each whole or not at all; the path of the page."""
    (workdir / "figures").mkdir(exist_ok=True)
    for drawing in drawings:
        path = workdir / "figures" / f"{drawing.name}.png"
        if drawing.png is None:
            path.unlink(missing_ok=True)  # of an earlier report, which no longer holds
        else:
            with replacing(path) as partial:
                partial.write_bytes(drawing.png)
    report = workdir / "report.html"
    with replacing(report) as partial:
        partial.write_text(page, encoding="utf-8")
    return report
