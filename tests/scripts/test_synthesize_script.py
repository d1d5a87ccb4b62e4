"""scripts/synthesize.py as its users meet it: records around the target of a finished run, as a data set."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from small_runs import F, environment

from mia_jax import data
from mia_jax.audits import finished as workdirs

pytestmark = pytest.mark.integration


@pytest.fixture
def synthesize(shared, finished, tmp_path):
    """Runs the script on a copy of the finished run."""
    shutil.copytree(finished[0], tmp_path / "w")

    def run(*argv):
        command = [
            sys.executable,
            "scripts/synthesize.py",
            f"--workdir={tmp_path}/w",
            f"--out={tmp_path}/out.npz",
            *argv,
        ]
        return subprocess.run(
            command, env=environment(shared), capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_a_search_that_spends_its_budget_goes_on_with_a_larger_one(synthesize, tmp_path):
    argv = ("--num_records=30", "--conf_min=0.3")
    done = synthesize(*argv, "--max_queries=40")
    assert done.returncode == 5 and "budget of 40 queries is spent" in done.stderr, done.stderr
    few = data.load(tmp_path / "out.npz")[0]
    assert (
        0 < len(few.y) < 30
        and f"{len(few.y)} records in {tmp_path}/out.npz, synthesized around a target trained on own: 40 queries"
        in done.stdout
    )
    done = synthesize(*argv, "--max_queries=100000")
    assert done.returncode == 0, done.stderr
    records, schema = data.load(tmp_path / "out.npz")
    assert records.x.shape == (30, F) and np.bincount(records.y).tolist() == [10, 10, 10]
    assert all(((records.x == x).all(axis=1) & (records.y == y)).any() for x, y in zip(*few, strict=True))
    assert (schema.name, schema.source) == ("own, synthesized (search)", "synthesised")
    assert schema.num_classes == 3 and "around a target trained on own: " in schema.notes[-1]
    assert "Algorithm 1" in schema.notes[-1]
    queries = int(re.search(r"([\d,]+) queries", done.stdout)[1].replace(",", ""))
    assert queries > 40 and f"{queries / 30:,.1f} per record" in done.stdout
    opened = workdirs.open_target(tmp_path / "w")
    np.testing.assert_array_equal(np.asarray(opened.target.ask(records.x)).argmax(axis=1), records.y)


@pytest.mark.parametrize(
    ("method", "more", "words"),
    [("marginal", (), "60 queries, for the labels"), ("noisy", ("--noise=0.25",), "% of the attributes")],
)
def test_the_other_methods(synthesize, tmp_path, method, more, words):
    done = synthesize(f"--method={method}", "--num_records=60", *more)
    assert done.returncode == 0 and words in done.stdout, done.stderr
    records, schema = data.load(tmp_path / "out.npz")
    assert (
        records.x.shape == (60, F)
        and set(np.unique(records.x)) <= {0, 1}
        and schema.name == f"own, synthesized ({method})"
    )
    if method == "noisy":
        assert "25.00%" in done.stdout


def test_what_cannot_work_is_one_line(synthesize):
    for argv, words in (
        (("--method=marginal", "--noise=0.2"), "--noise has no meaning without --method=noisy: leave it out"),
        (
            ("--class_prior=target", "--max_queries=4096"),
            "--max_queries=4096 is too few: --class_prior=target costs 4,096",
        ),
        (("--k_min=500",), "k_min=500 must not be above k_max=128"),
        (("--out=nowhere/x.npz",), "must be an .npz in a folder that is there"),
        (("--method=noisy", "--num_records=500"), "ask for 1 to 200"),
    ):
        done = synthesize(*argv)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if "is given 2 times, and the last counts" not in line]
        assert len(lines) == 1 and "Traceback" not in done.stderr
