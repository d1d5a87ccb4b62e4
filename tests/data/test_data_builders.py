"""The tensorflow-datasets builders, for real and without a network: a local archive, and a server on loopback."""

import contextlib
import functools
import http.server
import socket
import threading

import numpy as np
import pytest
from archives import PX, PY, bits, csv, cycle, tgz

from mia_jax import data
from mia_jax.data import builders, files
from mia_jax.types import InputError


def test_every_config_and_checksum_is_known():
    assert {c.name for c in builders.MiaJax.BUILDER_CONFIGS} == {d.builder for d in data.DATASETS.values()}
    assert set(builders.MiaJax.url_infos) == {p.url for p in files.published().values()}  # tfds finds our table


def test_prepared_from_files_that_are_there(folder, tmp_path):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    builders.prepare(tmp_path / "tfds", "purchase", folder)
    x, y = builders.read(tmp_path / "tfds", "purchase")
    np.testing.assert_array_equal(x, PX)  # in order
    np.testing.assert_array_equal(y, PY)
    records, schema = data.load("purchase", source="official")  # now it is found without a data_dir
    np.testing.assert_array_equal(records.x, PX)
    assert schema.source == "official" and "builder" in schema.notes[0]
    assert schema.digest == data.load("purchase", data_dir=folder)[1].digest
    assert data.load("purchase2")[1].num_classes == 2


@pytest.mark.data
@pytest.mark.parametrize("name", ["location", pytest.param("adult", marks=pytest.mark.integration)])
def test_prepared_from_the_real_files(data_dir, tmp_path, name):
    builders.prepare(tmp_path / "tfds", name, data_dir)
    assert data.load(name, source="official")[1].digest == data.load(name, data_dir=data_dir)[1].digest


def test_downloaded(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    with served(folder) as address:
        for name in ("purchase", "purchase100"):
            dataset = data.DATASETS[name]
            monkeypatch.setitem(data.DATASETS, name, dataset._replace(urls=(f"{address}/dataset_purchase.tgz",)))
        said = []
        records, schema = data.load("purchase", source="official", notify=said.append)
        np.testing.assert_array_equal(records.x, PX)
        assert schema.source == "official" and said[0].startswith("Downloading Purchase-100")
        said.clear()
        assert data.load("purchase", source="official", notify=said.append)[1] == schema and not said


@pytest.mark.integration
def test_download_that_is_not_the_archive(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (folder / "dataset_texas.tgz").write_bytes(b"<html>sign in</html>")
    with served(folder) as address:
        texas = data.DATASETS["texas"]
        monkeypatch.setitem(data.DATASETS, "texas", texas._replace(urls=(f"{address}/dataset_texas.tgz",)))
        with pytest.raises(InputError, match="the download failed"):
            data.load("texas", source="official")
        x, y = bits(100, 6169), cycle(100, 100)
        good = tgz({"texas/100/feats": csv(x), "texas/100/labels": b"".join(b"%d\n" % (label + 1) for label in y)})
        (folder / "dataset_texas.tgz").write_bytes(good)  # the wrong one was not kept
        np.testing.assert_array_equal(data.load("texas", source="official")[0].x, x)
    assert [p.name for p in (tmp_path / "tfds").iterdir()] == ["mia_jax"]


def test_damaged_shards_are_refused(folder, tmp_path):
    (folder / "dataset_purchase.tgz").write_bytes(tgz({"dataset_purchase": csv(PX, PY + 1)}))
    builders.prepare(tmp_path / "tfds", "purchase", folder)
    (shard,) = (tmp_path / "tfds").rglob("*.array_record*")
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match="remove it, and it is prepared again"):
        data.load("purchase", source="official")


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not files.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/x", timeout=0.3)


@contextlib.contextmanager
def served(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
