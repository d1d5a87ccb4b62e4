"""Tests of ``data`` see no data set, no cache and no network but their own."""

import pytest

from mia_jax import data


@pytest.fixture(autouse=True)
def no_other_data(tmp_path, monkeypatch):
    """No data but what the test gives, no network, caches of its own."""
    monkeypatch.delenv("MIA_JAX_DATA_DIR", raising=False)
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for name, dataset in data.DATASETS.items():
        closed = tuple(f"http://127.0.0.1:9/{url.rsplit('/', 1)[1]}" for url in dataset.urls)
        monkeypatch.setitem(data.DATASETS, name, dataset._replace(urls=closed))


@pytest.fixture
def folder(tmp_path):
    """An empty folder for ``data_dir``."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"
