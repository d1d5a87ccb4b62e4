"""Whole runs whose workdir is the address of an object store: a folder's bytes, and any machine takes them up."""

import json

import numpy as np
import pytest
from small_runs import artifact_files, config, scores

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.finished import open_target
from mia_jax.reports import columns, report
from mia_jax.storage import places

pytest.importorskip("fsspec")
FILES = ("results.json", "scores.npz", "report.html", "config.json")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """fsspec's own store in memory, with nothing in it; name -> content."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "one"))
    return lambda: {name.removeprefix("/b/run/"): f.getvalue() for name, f in MemoryFileSystem.store.items()}


@pytest.mark.integration
def test_a_run_of_the_papers_attack(store, own, finished, tmp_path, monkeypatch):
    url, said, (local, _) = "memory://b/run", [], finished
    made = audits.run(config(own, url), notify=said.append)
    there = store()
    assert made["config"]["workdir"] == url and any(f"In {url}" in line for line in said)
    assert there["scores.npz"] == scores(local)
    assert {*FILES, *artifact_files(local)} <= {*there}
    assert there.keys() == {str(path.relative_to(local)) for path in local.rglob("*.*")}
    for name in ("results.json", "scores.npz"):
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(there[name])
    report.write_report(tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.*"):
        assert there[path.relative_to(tmp_path / "copy").as_posix()] == path.read_bytes()
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "two"))  # another machine
    monkeypatch.setattr("mia_jax.training.many.fit_chunks", lambda *args, **kwargs: pytest.fail("it was trained"))
    again = audits.run(config(own, url))
    assert again["attacks"] == made["attacks"] and store()["scores.npz"] == there["scores.npz"]
    assert str(columns.write_csv(url)) == f"{url}/scores.csv"
    assert str(report.write_report(url)) == f"{url}/report.html"
    csv = columns.write_csv(tmp_path / "copy").read_bytes()
    assert store()["scores.csv"] == csv and "opened" not in store()
    opened = open_target(url)
    assert np.isfinite(opened.target.ask(opened.asked.x)).all()


@pytest.mark.integration
def test_an_audit_in_a_notebook(store, tmp_path):
    rng = np.random.default_rng(0)
    x, y, member = rng.random((60, 3)), np.arange(60) % 2, np.arange(60) < 30

    def predict(x):
        return np.stack([x[:, 0], 1 - x[:, 0]], axis=1)

    result = mia.audit(predict, x, y, member, attacks="loss", workdir="memory://b/run")
    assert json.loads(store()["results.json"])["config"]["workdir"] == "memory://b/run"
    local = result.save(tmp_path / "saved").parent
    assert str(result.save("memory://b/run/saved")) == "memory://b/run/saved/report.html"
    assert store()["saved/scores.npz"] == (local / "scores.npz").read_bytes()
    assert places.read(places.place("memory://b/run/saved"), "figures/roc.png")[:4] == b"\x89PNG"
