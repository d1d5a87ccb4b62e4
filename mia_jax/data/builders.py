"""The official files as a tensorflow-datasets builder that needs no TensorFlow: download, verification, versions.

One builder, one config per data set, around the parsers of ``table.py``. The stock builders prepare with TensorFlow;
here Python reads the archives, a record is a pair of tensors, and the shards are array_record. Checksums and names of
the files are in ``checksums.tsv``, where tensorflow-datasets looks for them.

This module imports tensorflow-datasets: ``data.load`` imports it only when a builder is prepared or can be downloaded.
"""

import contextlib
import io
import pathlib
import tempfile
import warnings
from collections.abc import Iterator

import numpy as np

from mia_jax.data import files
from mia_jax.data.table import BUILDER_VERSION, DATASETS, Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own and its dependencies' deprecations
    import tensorflow_datasets as tfds

_NAMES = {dataset.builder: dataset.name for dataset in DATASETS.values() if not dataset.clustered}  # config -> data set
_SPLIT = "records"
_BATCH = 4096


class MiaJax(tfds.core.GeneratorBasedBuilder):
    """Records {"x": uint8 or float32, "y": int32} in the order of the official files, in one split, ``records``."""

    VERSION = tfds.core.Version(BUILDER_VERSION)
    RELEASE_NOTES = {BUILDER_VERSION: "First."}  # noqa: RUF012 (the name is theirs)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Official files that you have already are taken from here; others are downloaded."
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in _NAMES]  # noqa: RUF012

    @property
    def _dataset(self) -> Dataset:
        return DATASETS[_NAMES[self.builder_config.name]]

    def _info(self) -> tfds.core.DatasetInfo:
        dataset = self._dataset
        shape = (None,) if dataset.name == "texas" else dataset.shape  # 6,169 or 6,170
        x = tfds.features.Tensor(
            shape=shape,
            dtype=np.float32 if dataset.kind == "mixed" else np.uint8,
            encoding=tfds.features.Encoding.BYTES,
        )
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"x": x, "y": np.int32}),
            supervised_keys=("x", "y"),
            homepage=dataset.page,
            description=dataset.title,
            citation=dataset.reference,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        return {_SPLIT: self._generate_examples(dl_manager)}

    def _generate_examples(self, dl_manager: tfds.download.DownloadManager) -> Iterator:
        best = self._dataset.formats[0]
        contents = {}
        for name, url in zip(best.files, self._dataset.urls, strict=True):
            # The manager looks into manual_dir by itself only where a checksum is known: not for Purchase and Texas.
            own = _manual(dl_manager, name)
            contents[name] = pathlib.Path(own or dl_manager.download(url)).read_bytes()
            files.check_published(name, contents[name])
        for i, (x, y) in enumerate(zip(*best.parse(contents), strict=True)):
            yield i, {"x": x, "y": y}


def _manual(dl_manager, name: str):
    with contextlib.suppress(AssertionError):  # no manual_dir, or an empty one
        if (path := dl_manager.manual_dir / name).exists():
            return path
    return None


def prepare(root: pathlib.Path, name: str, manual_dir: pathlib.Path | None = None) -> None:
    """Download (or take from ``manual_dir``), verify and prepare a data set under ``root``.

    Raises:
        Exception: what tensorflow-datasets or the parser makes of a failure.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # it prints, and stdout is for results
        # Without a known checksum it would take the same wrong file (a page that asks to sign in) from its folder of
        # downloads for ever.
        tempfile.TemporaryDirectory(dir=root, prefix="downloads.mia_jax.") as downloads,
    ):
        warnings.simplefilter("ignore")
        tfds.disable_progress_bar()
        MiaJax(config=name, data_dir=root, file_format="array_record").download_and_prepare(
            download_dir=downloads,
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False),
        )


def read(root: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All records of a prepared data set, (x, y), in the order of the official files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = MiaJax(config=name, data_dir=root, file_format="array_record").as_data_source(split=_SPLIT)
        first = source[0]["x"]
        x, y = np.empty((len(source), *first.shape), first.dtype), np.empty(len(source), np.int32)
        for start in range(0, len(source), _BATCH):
            batch = source.__getitems__(range(start, min(start + _BATCH, len(source))))
            xs = np.stack([record["x"] for record in batch])
            x[start : start + len(xs)] = xs
            y[start : start + len(xs)] = [record["y"] for record in batch]
    return x, y
