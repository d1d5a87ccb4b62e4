"""Real data, or an honest stand-in: ``load`` a data set of the paper by name, or anybody's file by its path.

    records, schema = mia_jax.data.load("location", data_dir="~/data")

``DATASETS`` says what there is, in which files it comes and where to get them; ``save`` writes records, such as
synthesized ones, so that ``load`` takes them by path.
"""

import difflib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from mia_jax.data import by_path, cache, origins, tabular
from mia_jax.data.local import NOT_USED, save
from mia_jax.data.records import Label
from mia_jax.data.table import DATASETS, Dataset
from mia_jax.storage import artifacts
from mia_jax.types import Field, InputError, Records, Schema

__all__ = ["DATASETS", "Dataset", "load", "save", "synthesized", "title"]

PARSE_VERSION = 1  # raise it when the same files would give other records

_SOURCES = ("auto", "official", "simulated")


def load(
    name_or_path: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    source: Literal["auto", "official", "simulated"] = "auto",
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    label: Label = None,
    kinds: Mapping[str, str] | str | None = None,
    like: Schema | None = None,
    notify: origins.Notify = lambda line: None,
    check: Callable[[Schema, int], Any] = lambda schema, records: None,
) -> tuple[Records, Schema]:
    """Load a data set, as NumPy arrays in their natural dtype.

    Looked for, in this order: official files in ``data_dir``; what tensorflow-datasets has prepared; the network, which
    has 5 seconds to answer; then Purchase, Texas and Location are simulated. Decoded records are cached, under a name
    that depends on the digest of what they were decoded from.

    Args:
        name_or_path: a name in ``DATASETS``, or the path of an .npz with arrays ``x`` [n, ...] and ``y`` [n], of a
            .csv, .tsv or .parquet.
        data_dir: folder of official files; by default $MIA_JAX_DATA_DIR.
        source: ``official`` never simulates, ``simulated`` never looks at files; a path is neither.
        cache_dir: by default $MIA_JAX_CACHE_DIR, else mia_jax in $XDG_CACHE_HOME, else ~/.cache/mia_jax.
        seed: of the simulation, and of the clustering that makes the classes of Purchase where the files have none.
        label, kinds: of a table in a file: see ``mia_jax.records``.
        like: of other records, whose columns, categories and classes a table in a file must have.
        notify: told a line before long work, beginning with ``SIMULATED:`` where records are not real, and what was
            inferred from a file.
        check: told the schema, without a digest, and the number of records before any are simulated, to refuse what
            will not do.

    Returns:
        Records, x [n, *f] uint8 (bits, pixels) or float32 and y [n] int32, 0-based; and the schema.

    Raises:
        InputError: unknown name, no such file, damaged or impossible contents, or nothing to be had, which takes less
            than 10 seconds to find out.

    >>> import pathlib, tempfile, numpy as np, mia_jax as mia
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mine.npz"
    >>> np.savez(path, x=np.eye(6), y=[0, 1, 2, 0, 1, 2])
    >>> records, schema = mia.load(path)
    >>> records.x.shape, schema.num_classes, schema.source
    ((6, 6), 3, 'local')
    >>> records, schema = mia.load("location", source="simulated")  # doctest: +SKIP
    """
    if source not in _SOURCES:
        raise InputError(f"the data source {source!r} is not one of {', '.join(_SOURCES)}")
    name = os.fspath(name_or_path)
    if name not in DATASETS:
        return _load_path(name, source, notify, label=label, kinds=kinds, like=like)
    if label is not None or kinds is not None:
        raise InputError(f"{name} knows its labels and columns: leave `label` and `kinds` out")
    dataset = DATASETS[name]
    origin = origins.find(dataset, data_dir, source, seed, notify)
    key = {"name": dataset.name, "parse": PARSE_VERSION, "origin": origin.key}
    if not origin.labeled:
        key |= {"seed": seed, "cluster": origins.code_digest("cluster.py")}
    path = cache.path(cache.folder(cache_dir), dataset.name, key)
    entry = cache.read(path, key, notify)
    if entry is None:
        if origin.source == "simulated":
            fields = _fields(dataset, dataset.shape)
            check(Schema(dataset.name, "simulated", "", dataset.classes, dataset.shape, fields), dataset.records)
        entry = _make(dataset, origin, seed, notify)
        cache.write(path, key, entry, binary=dataset.kind == "binary", notify=notify)
    notes = entry.notes
    if len(entry.y) != dataset.records:
        notes += (f"These are {len(entry.y):,} records; published are {dataset.records:,}.",)
    schema = Schema(
        name=dataset.name,
        source=origin.source,
        digest=entry.digest,
        num_classes=dataset.classes,
        shape=entry.x.shape[1:],
        fields=_fields(dataset, entry.x.shape[1:], entry.x),
        notes=notes,
    )
    return Records(entry.x, entry.y), schema


def synthesized(schema: Schema, method: str, note: str) -> Schema:
    """The schema of records that were made around a target by ``method``; ``schema``: of the target's records.

    It goes to disk with them: whatever is said of them says that they are synthesized, and SIMULATED where the target's
    records were.
    """
    return schema._replace(
        name=f"{title(schema.name)}, synthesized ({method})",
        source="simulated" if schema.source == "simulated" else "synthesised",
        notes=(*schema.notes, note),
    )


def title(name: str) -> str:
    """The name of a data set for people; the name itself where it is not in the table."""
    return DATASETS[name].title if name in DATASETS else name


def _load_path(name: str, source: str, notify: origins.Notify, **how: Any) -> tuple[Records, Schema]:
    path = pathlib.Path(name).expanduser()
    if not by_path.is_file(path) and os.sep not in name and not path.exists():
        close = difflib.get_close_matches(name.lower(), DATASETS, n=2)
        hint = f"did you mean {' or '.join(close)}? There" if close else "there"
        raise InputError(
            f"unknown data set {name!r}; {hint} are {', '.join(sorted(DATASETS))}, or the path of an .npz, a .csv or a"
            " .parquet"
        )
    if source != "auto":
        raise InputError(f"{name} is your own file, not {source} data: leave data_source={source} out")
    (found, schema, member, _), _ = by_path.load(path, **how)
    if member is not None and NOT_USED not in schema.notes:
        schema = schema._replace(notes=(*schema.notes, NOT_USED))
    for note in schema.notes:
        notify(note)
    return found, schema


def _make(dataset: Dataset, origin: origins.Origin, seed: int, notify: origins.Notify) -> cache.Entry:
    x, y, notes = origin.read()
    if y is None:
        from mia_jax.data import cluster

        notify(f"Clustering {len(x):,} records into {dataset.classes} classes (k-means, seed {seed})")
        y = cluster.kmeans(x, dataset.classes, seed=seed)
        notes = (*notes, f"The classes are {dataset.classes} clusters of the features (k-means, seed {seed}).")
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y, np.int32)
    return cache.Entry(x, y, artifacts.array_digest(x, y), tuple(notes))


def _fields(dataset: Dataset, shape: tuple[int, ...], x: np.ndarray | None = None) -> tuple[Field, ...]:
    width = int(np.prod(shape))
    match dataset.kind:
        case "binary":
            return (Field("bits", "binary", 0, width),)
        case "pixel":
            return (Field("pixels", "pixel", 0, width, 0.0, 255.0),)
        case "mixed":
            assert x is not None, "Adult, whose fields depend on its numbers, is never simulated"
            return tabular.adult_fields(x)
