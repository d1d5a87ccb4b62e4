"""scripts/train.py as its users meet it: what it prints where, how it refuses, what it costs to ask for help."""

import dataclasses
import json
import os
import re
import shutil

import pytest
from small_runs import FLAGS, SHADOWS, M, arguments, artifact_files, python, scores, script

from mia_jax.audits.config import Config

pytestmark = pytest.mark.integration

ON_CORES = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are told to a process on Linux only")
@pytest.mark.parametrize("cores", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run(shared, finished, own, tmp_path, cores):
    """A table on standard output, all else on standard error; and the bytes of a run inside another process."""
    argv = ["scripts/train.py", *arguments(dataset=own, workdir=tmp_path / "w", chunk=1)]
    done = python(shared, "-c", ON_CORES, str(cores), *argv)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"own: 3 classes; target and {SHADOWS} shadow models trained on {M} records each")
    assert all(any(line.startswith(name) for line in lines) for name in ("Accuracy", "Precision", "Recall", "AUC"))
    assert any(line.startswith("this run") for line in lines) and max(map(len, lines[:-1])) <= 100
    assert lines[-1].startswith(f"Report: {tmp_path}/w/report.html") and (tmp_path / "w" / "report.html").exists()
    copies, *told = done.stderr.splitlines()
    assert re.match(r"\d+ of the 400 records have an exact copy among them \(\d+ different\)\. ", copies)
    assert told[0] == "own: 400 records, 3 classes, source: local"
    assert told[1] == f"The target and {SHADOWS} shadow models train on {M} records each. In {tmp_path}/w"
    for title in ("target model", "shadow models"):
        assert any(re.fullmatch(rf"{title}: done in [\d.]+ s", line) for line in told)
    results = json.loads((tmp_path / "w" / "results.json").read_text())
    assert len(results["devices"]) == min(cores, len(os.sched_getaffinity(0)))
    assert results["command"].startswith("python scripts/train.py --num_shadows=3 ")
    assert scores(tmp_path / "w") == scores(finished[0])


def refused(done, *reasons, code=2):
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and done.stdout == ""
    assert all(reason in done.stderr for reason in reasons)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--number_of_shadows=3"], "error: There is no flag --number_of_shadows; did you mean --num_shadows? See"),
        (["--zzz=3"], "error: There is no flag --zzz. See"),
        (["--num_shadows=many"], "invalid literal for int() with base 10: 'many'. See"),
        (["--noise=0.1"], "--noise has no meaning without --shadow_data=noisy: leave it out"),
        (["location"], "'location' is not a flag; flags are written --name=value. See --help for all flags."),
    ],
)
def test_flags_that_cannot_be_read(shared, argv, reason):
    refused(script(shared, *argv), reason)


def test_bad_input_is_one_line(shared, finished, own, tmp_path):
    """A file that is not what was published, and a workdir of another run; test_audit.py has the others."""
    (tmp_path / "dataset_location.tgz").write_bytes(b"not what was published")
    argv = ["--dataset=location", f"--data_dir={tmp_path}", f"--workdir={tmp_path}/w"]
    refused(script(shared, *argv), "dataset_location.tgz cannot be used", "get it again from https://")
    assert not (tmp_path / "w").exists()
    shutil.copytree(finished[0], tmp_path / "w")
    before = artifact_files(tmp_path / "w")
    done = script(shared, *arguments(dataset=own, workdir=tmp_path / "w", num_epochs=4, num_shadows=9))
    refused(done, "holds another configuration (num_epochs: 3 there, 4 asked for)")
    assert artifact_files(tmp_path / "w") == before


def test_help(shared):
    done = script(shared, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("Attack a model with shadow models, from data to report.")
    for name in (field.name for field in dataclasses.fields(Config) if field.metadata["flag"]):
        assert re.search(rf"^  --(\[no\])?{name}: ", done.stdout, re.MULTILINE), name
    assert FLAGS.keys() <= Config.__dataclass_fields__.keys()


IMPORTED = """
import sys
import jax
settings = dict(jax.config.values)
import mia_jax
from absl import flags
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "a backend was started"
assert dict(jax.config.values) == settings, "jax was configured"
assert "num_shadows" not in flags.FLAGS, "flags were defined"
import mia_jax.audits.pipeline
from mia_jax.attacks import ATTACKS
heavy = {"matplotlib", "sklearn", "tensorflow_datasets", "tensorflow", "httpx"} & sys.modules.keys()
assert not xla_bridge.backends_are_initialized(), "a backend was started by mia_jax.audits.pipeline"
assert dict(jax.config.values) == settings, "jax was configured by mia_jax.audits.pipeline"
print(*sorted(heavy))
"""


def test_importing_is_free_of_side_effects(shared):
    done = python(shared, "-c", IMPORTED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []  # of the libraries that take long to import
