"""Strict settings for every test: the CPU backend, two devices, no silent rank promotion, warnings are errors."""

import collections
import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "standard")

# Tests compile the same programs again and again, for each trainer and each device: a quarter of their time. A folder
# for each process, because jax writes into it in place.
COMPILED = tempfile.TemporaryDirectory(prefix="mia_jax_tests_")
jax.config.update("jax_compilation_cache_dir", COMPILED.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


# Files of few and long tests come first, then those of many: at the end no process waits long for another.
LONG = ("interrupt", "attacks_shokri", "train_script", "canaries", "finished", "synthesize_script", "serve_script")


def pytest_collection_modifyitems(items):
    names = {item: item.path.stem.removeprefix("test_") for item in items}
    many = collections.Counter(names.values())
    items.sort(key=lambda item: (names[item] not in LONG, -many[names[item]], names[item]))


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data files, or a skip that says how to get one."""
    path = os.environ.get("MIA_JAX_DATA_DIR")
    if not path or not os.path.isdir(path):
        pytest.skip("needs real data: set MIA_JAX_DATA_DIR to a folder of official files (README, Data)")
    return path


@pytest.fixture
def one_device(monkeypatch):
    """One of the two devices, for tests that are about something else: each compiles every program for itself."""
    first = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: first)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
