"""Where the records of a data set come from: official files, a prepared builder, a download, or a simulation.

Looked for in this order. An ``Origin`` is found at once and read only where its records are not cached; its key decides
all that reading it gives. A file that is there and damaged is refused: nothing is ever put silently in its place.
"""

import hashlib
import importlib.resources
import os
import pathlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax.data import files, limits
from mia_jax.data.table import BUILDER_VERSION, Dataset, Format
from mia_jax.types import InputError

Notify = Callable[[str], None]
XYNotes = tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]  # x, y (None: to be clustered), notes


class Origin(NamedTuple):
    """Where the records of a data set are to be had."""

    source: Literal["official", "simulated"]
    key: dict[str, Any]  # JSON values
    read: Callable[[], XYNotes]
    labeled: bool = True


def find(dataset: Dataset, data_dir: str | os.PathLike | None, source: str, seed: int, notify: Notify) -> Origin:
    """The best origin that ``source`` allows.

    Raises:
        InputError: there is none (five lines: what is missing, where to get it, where to put it, what runs without it),
            or a file that is there is damaged.
    """
    if source == "simulated":
        if not dataset.stand_in:
            raise InputError(
                f"there is no simulated {dataset.title}, only Purchase, Texas and Location; leave data_source out"
            )
        return _simulated(dataset, dataset.stand_in, seed, notify)
    official = _official(dataset, data_dir, notify)
    if isinstance(official, Origin):
        return official
    if source == "official" or not dataset.stand_in:
        raise InputError(_missing(dataset, official))
    return _simulated(dataset, dataset.stand_in, seed, notify)


def _official(dataset: Dataset, data_dir: str | os.PathLike | None, notify: Notify) -> Origin | list[str]:
    """The origin of the real records; or, where they cannot be had, the reasons."""
    folder = _data_dir(data_dir)
    if folder and (origin := _from_files(dataset, folder)):
        return origin
    reasons = [f"not in {folder}" if folder else "there is no data_dir and no $MIA_JAX_DATA_DIR"]
    prepared = _builder_dir(dataset)
    if not (prepared / "dataset_info.json").exists():
        if not files.reachable(dataset.urls[0]):
            return [*reasons, f"the network does not give {dataset.urls[0]}"]
        notify(f"Downloading {dataset.title} from {dataset.page} by tensorflow-datasets, into {prepared}")
        try:
            from mia_jax.data import builders

            builders.prepare(_builder_root(), dataset.builder, manual_dir=folder)
        except Exception as error:  # tensorflow-datasets, its downloader and the parsers raise anything
            lines = str(error).splitlines() or [type(error).__name__]
            notify(f"The download of {dataset.title} failed: {lines[0]}")
            return [*reasons, f"the download failed: {lines[0]}"]
    return _from_builder(dataset, prepared)


def _simulated(dataset: Dataset, stand_in: str, seed: int, notify: Notify) -> Origin:
    """The origin of the look-alike called ``stand_in``; says so before anything is made."""
    notify(f"SIMULATED: {dataset.title} is a look-alike built as the original was, not the real records")

    def read() -> XYNotes:
        from mia_jax.data import simulated

        return simulated.simulate(stand_in, seed=seed)

    key = {"simulated": stand_in, "seed": seed, "code": code_digest("simulated.py")}
    return Origin("simulated", key, read, labeled=stand_in == "texas")


def code_digest(name: str) -> str:
    """SHA-256 of a file of this package: the version of what it makes, which nobody can forget to raise."""
    return hashlib.sha256(importlib.resources.files("mia_jax.data").joinpath(name).read_bytes()).hexdigest()


def _data_dir(given: str | os.PathLike | None) -> pathlib.Path | None:
    named = "data_dir" if given else "$MIA_JAX_DATA_DIR"
    folder = given or os.environ.get("MIA_JAX_DATA_DIR")
    if not folder:
        return None
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"{named} is {folder}, which is no folder; name the folder of the official files, or leave it out"
        )
    return folder


def _from_files(dataset: Dataset, folder: pathlib.Path) -> Origin | None:
    incomplete = []
    for form in dataset.formats:
        missing = [name for name in form.files if not _place(dataset, folder, name).is_file()]
        if not missing:
            return _from_format(dataset, form, folder)
        if len(missing) < len(form.files):
            incomplete.append(f"{missing[0]} (its other files are there)")
    if incomplete:
        raise InputError(f"{folder} lacks {incomplete[0]}; get it from {dataset.page}, or leave data_dir out")
    return None


def _place(dataset: Dataset, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Where a file is: in the folder, in one that is called as the archive that it was in, or in the folder's parent
    where the folder is itself the one that was unpacked, or a part of it."""
    parts = pathlib.PurePath(name).parts
    archives = [file for form in dataset.formats for file in form.files if file.endswith((".tgz", ".tar.gz"))]
    places = [folder / name, *(folder / archive.partition(".")[0] / name for archive in archives)]
    places += [folder.joinpath(*parts[k:]) for k in range(1, len(parts)) if folder.absolute().parts[-k:] == parts[:k]]
    return next((place for place in places if place.is_file()), places[0])


def _from_format(dataset: Dataset, form: Format, folder: pathlib.Path) -> Origin:
    def refused(name: str, error: Exception) -> InputError:
        reason = str(error) or type(error).__name__
        return InputError(f"{folder / name} cannot be used: {reason}; get it again from {dataset.page}, or remove it")

    contents: dict[str, files.Content] = {}
    for name in form.files:
        place = _place(dataset, folder, name)
        try:
            limits.check(0 if form.streamed else place.stat().st_size, None, "it")
            if form.streamed:
                contents[name] = place
            else:
                contents[name] = content = place.read_bytes()
                files.check_published(name, content)
        except (OSError, ValueError) as error:
            raise refused(name, error) from None
    sha256 = files.digest(contents)

    def read() -> XYNotes:
        try:
            x, y = form.parse(contents)
            if form.labeled:
                files.check_classes(y, dataset.classes)
        except files.UNREADABLE as error:
            raise refused(" + ".join(form.files), error) from None
        return x, y if form.labeled else None, (f"Read from {', '.join(form.files)} (SHA-256 {sha256}).",)

    return Origin("official", {"files": list(form.files), "sha256": sha256}, read, form.labeled)


def _builder_root() -> pathlib.Path:
    """Where tensorflow-datasets keeps what it prepares; known without importing it."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _builder_dir(dataset: Dataset) -> pathlib.Path:
    return _builder_root() / "mia_jax" / dataset.builder / BUILDER_VERSION


def _from_builder(dataset: Dataset, prepared: pathlib.Path) -> Origin:
    labeled = not dataset.clustered

    def read() -> XYNotes:
        from mia_jax.data import builders

        try:
            x, y = builders.read(_builder_root(), dataset.builder)
            if labeled:
                files.check_classes(y, dataset.classes)
        except Exception as error:  # array_record and tensorflow-datasets raise anything for damaged shards
            raise InputError(f"{prepared} cannot be used: {error}; remove it, and it is prepared again") from None
        note = f"Read from the tensorflow-datasets builder mia_jax/{dataset.builder} {BUILDER_VERSION}."
        return x, y if labeled else None, (note,)

    info = hashlib.sha256((prepared / "dataset_info.json").read_bytes()).hexdigest()
    return Origin("official", {"builder": dataset.builder, "version": BUILDER_VERSION, "info": info}, read, labeled)


def _missing(dataset: Dataset, reasons: list[str]) -> str:
    instead = (
        "data_source=simulated, a look-alike"
        if dataset.stand_in
        else "dataset=purchase, texas or location (simulated where they are not here either), or any .npz with x, y"
    )
    return "\n".join(
        [
            f"{dataset.title} is not here: {'; '.join(reasons)}.",
            f"  get it from:       {dataset.page}",
            f"  any of these:      {', or '.join(dataset.files)}",
            "  put it, as it is:  into a folder that data_dir or $MIA_JAX_DATA_DIR names",
            f"  runs without it:   {instead}",
        ]
    )
