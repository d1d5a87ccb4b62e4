"""Small runs of the main job on made-up records, for the tests that run it whole. They share what XLA compiles."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mia_jax.audits import shokri
from mia_jax.audits.config import Config

N, F, C = 400, 12, 3
SHADOWS = 3
FLAGS = dict(num_shadows=SHADOWS, num_epochs=3, attack_steps=40, hidden=8)
M = N // 4  # records of a training set
LOGISTIC = "sklearn:sklearn.linear_model.LogisticRegression"

_runs: dict[pathlib.Path, dict] = {}


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


def scores(workdir: pathlib.Path) -> bytes:
    return (workdir / "scores.npz").read_bytes()


def artifact_files(workdir: pathlib.Path, stage: str = "*") -> dict[str, int]:
    """Name of each artifact -> when it was written, in ns."""
    return {str(p.relative_to(workdir)): p.stat().st_mtime_ns for p in workdir.glob(f"{stage}/*.npz")}


@pytest.fixture(scope="module", name="shared")
def shared_folder(tmp_path_factory):
    """A folder that the tests of a session share: the compiler's cache, the data, a run."""
    folder = tmp_path_factory.getbasetemp() / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def compiled_once(shared):
    """Programs are compiled once a session: every run makes its functions anew, and jit would compile them anew."""
    settings = {name.lower(): value for name, value in _cache_settings(shared).items()}
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _cache_settings(shared: pathlib.Path) -> dict:
    return {
        "JAX_COMPILATION_CACHE_DIR": str(shared / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0,
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
    }


@pytest.fixture(scope="module", name="own")
def own_data(shared):
    """The data set."""
    path = shared / "own.npz"
    return path if path.exists() else write_data(path)


@pytest.fixture(scope="module", name="finished")
def finished_run(shared, own):
    """A run that nobody interrupted: its workdir, and what ``shokri.run`` returned. To be copied, not written to."""
    workdir = shared / "finished"
    if workdir not in _runs:
        _runs[workdir] = shokri.run(config(own, workdir), command="the command")
    return workdir, _runs[workdir]


def environment(shared: pathlib.Path) -> dict[str, str]:
    return os.environ | {name: str(value) for name, value in _cache_settings(shared).items()}


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
