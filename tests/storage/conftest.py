"""A store that is empty, and machines that share it."""

import pytest

from mia_jax.storage import processes


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """This process is on another machine from now on: an empty cache, another boot."""

    def on(name):
        monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / name))
        monkeypatch.setattr(processes, "place", lambda: f"{name:0>8}"[:8])
        processes._here.cache_clear()

    yield on
    monkeypatch.undo()
    processes._here.cache_clear()


@pytest.fixture
def bucket(machine, monkeypatch):
    """An empty store, and a machine that knows nothing of it."""
    fsspec = pytest.importorskip("fsspec")
    from buckets import Bucket

    fsspec.register_implementation("bucket", Bucket, clobber=True)
    for name, value in dict(store={}, calls=[], fails={}).items():
        monkeypatch.setattr(Bucket, name, value)
    machine("one")
    return Bucket
