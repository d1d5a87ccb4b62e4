"""Small runs of the paper's audit on made-up records, for the tests that run it whole (fixtures in conftest.py)."""

import contextlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mia_jax import audits
from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config

N, F, C = 400, 12, 3
SHADOWS = 3
FLAGS = dict(num_shadows=SHADOWS, num_epochs=3, attack_steps=40, hidden=8)
M = N // 4  # records of a training set
CANARIES = 120
CANARY_OPTIONS = dict(hidden=64, num_epochs=60, batch_size=20, learning_rate=1e-2, train_size=100)
LOGISTIC = "sklearn:sklearn.linear_model.LogisticRegression"


def records(n: int = N) -> dict[str, np.ndarray]:
    """Bits whose means depend on the class, and noise enough that networks memorize some."""
    rng = np.random.default_rng(0)
    y = (np.arange(n) % C).astype(np.int32)
    return {"x": (rng.random((n, F)) < rng.random((C, F))[y]).astype(np.uint8), "y": y}


def write_data(path: pathlib.Path, **changed: np.ndarray) -> pathlib.Path:
    np.savez(path, **(records() | changed))
    return path


def config(own: pathlib.Path, workdir: pathlib.Path, **changed) -> Config:
    return Config(**(FLAGS | {"dataset": str(own), "workdir": str(workdir)} | changed))


def canary_config(folder: pathlib.Path) -> CanaryConfig:
    """Four classes in sixteen bits, and a network large enough to learn a wrong label by heart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400).astype(np.int32)
    x = (rng.random((400, 16)) < np.where(rng.random((4, 16)) < 0.5, 0.2, 0.8)[y]).astype(np.uint8)
    np.savez(folder / "own.npz", x=x, y=y)
    own = dict(dataset=str(folder / "own.npz"), workdir=str(folder / "w"))
    return CanaryConfig(canaries=CANARIES, **own, **CANARY_OPTIONS)


def scores(workdir: pathlib.Path) -> bytes:
    return (workdir / "scores.npz").read_bytes()


def artifact_files(workdir: pathlib.Path, stage: str = "*") -> dict[str, int]:
    """Name of each artifact -> when it was written, in ns."""
    return {str(p.relative_to(workdir)): p.stat().st_mtime_ns for p in workdir.glob(f"{stage}/*.npz")}


def cache_settings(folder: pathlib.Path) -> dict:
    """Options of jax under which each program is compiled once for all runs that are given this folder."""
    return {
        "jax_compilation_cache_dir": str(folder / "xla"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }


def environment(folder: pathlib.Path) -> dict[str, str]:
    """The environment of a process that takes compiled programs from this folder."""
    return os.environ | {name.upper(): str(value) for name, value in cache_settings(folder).items()}


def arguments(**changed) -> list[str]:
    """The flags of a small run, as a command line."""
    return [f"--{name}={value}" for name, value in (FLAGS | changed).items()]


def python(shared: pathlib.Path, *argv: str) -> subprocess.CompletedProcess:
    """A Python process that shares what is compiled here."""
    given = dict(env=environment(shared), capture_output=True, text=True, check=False)
    return subprocess.run([sys.executable, *argv], timeout=600, **given)


def script(shared: pathlib.Path, *argv: str) -> subprocess.CompletedProcess:
    """scripts/train.py as a process of its own."""
    return python(shared, "scripts/train.py", *argv)


class Told:
    """A Progress that remembers: title -> total, and [(steps, note)]."""

    def __init__(self):
        self.total, self.steps = {}, {}

    @contextlib.contextmanager
    def __call__(self, title, total):
        self.total[title], told = total, self.steps.setdefault(title, [])
        yield lambda steps, note="": told.append((steps, note))

    def check(self, quick, parts):
        """Quick attacks first, then the parts of shokri, each told of; all steps make the total."""
        told = self.steps["attacks"]
        assert sum(steps for steps, _ in told) == pytest.approx(self.total["attacks"])
        assert list(dict.fromkeys(note for _, note in told)) == [*quick, "shokri"]
        assert sum(steps > 0 for steps, note in told if note == "shokri") == parts


def own_module(tmp_path, monkeypatch, source: str) -> str:
    """A user's module in the current folder, with this source; its name, which no other test's module has."""
    name = f"mine_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def beat_guessing_on_real_location(names, data_dir, workdir, **settings) -> dict[str, bool]:
    """Of each attack, whether its AUC's interval lies above a half, in a small audit of the real Location."""
    small = dict(num_models=8, num_targets=2, attacks=",".join(names), workdir=str(workdir), data_dir=data_dir)
    found = audits.run(BalancedConfig(dataset="location", **small, **settings))
    assert found["dataset"]["source"] == "official"
    return {name: block["auc"]["low"] > 0.5 for name, block in found["attacks"].items()}
