"""The script that measures memory and seconds by models and records does all of it, small."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="the largest resident set is told by resource, which Windows lacks")
def test_every_point_runs(tmp_path):
    command = [sys.executable, "benchmarks/scale.py", "--scale=tiny", f"--plot={tmp_path / 'scale.png'}"]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = [[float(cell.replace(",", "")) for cell in line.split()] for line in lines[1:5]]
    assert [row[:2] for row in rows] == [[4, 600], [8, 600], [4, 1200], [8, 1200]]
    assert all(0 < peak < bound for _, _, peak, bound, *_ in rows)
    assert sum(line.startswith("EXTRAPOLATED") for line in lines) == 2
    assert 0 < (tmp_path / "scale.png").stat().st_size < 200_000
