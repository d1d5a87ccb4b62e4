"""The script for GPUs does all of its parts on a CPU, small."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PARTS = ("device", "agreement", "purchase", "lira", "synthesis", "cnn", "networks", "accuracy")


@pytest.mark.integration
def test_every_part_runs(shared):
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "MIA_JAX_CACHE_DIR": str(shared / "cache")}
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--scale=tiny"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines if ", in all: " in line] == list(PARTS)
    assert "agrees" in done.stdout and "DIFFERS" not in done.stdout
    extrapolated = [line for line in lines if "100 epochs, EXTRAPOLATED" in line]
    assert [line.split(":")[0] for line in extrapolated] == ["float32", "bfloat16"]
    assert any(line.startswith("airbench: fastest: ") for line in lines)
    assert any("random pixels: the accuracy says nothing" in line for line in lines)
