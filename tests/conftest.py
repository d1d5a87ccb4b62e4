"""Strict settings for every test: the CPU backend, two devices, no silent rank promotion, warnings are errors."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "standard")


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data files, or a skip that says how to get one."""
    path = os.environ.get("MIA_JAX_DATA_DIR")
    if not path or not os.path.isdir(path):
        pytest.skip("needs real data: set MIA_JAX_DATA_DIR to a folder of official files (README, Data)")
    return path
