"""scripts/serve.py behind its API: the target of a finished run answers there as it does in process."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest

from mia_jax import audits
from mia_jax.audits import config as configs
from mia_jax.audits import finished
from mia_jax.audits.deployed import records
from mia_jax.targets.remote import Options, connect

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (80, 6)).astype(np.uint8), (np.arange(80) % 3).astype(np.int32)
    np.savez(folder / "own.npz", x=x, y=y)
    given = dict(num_shadows=2, num_epochs=3, attack_steps=20, hidden=4, workdir=str(folder / "run"))
    audits.run(configs.Config(dataset=str(folder / "own.npz"), **given))
    return folder / "run", x


def test_a_finished_run_is_served_in_every_protocol(workdir):
    folder, x = workdir
    command = [sys.executable, "scripts/serve.py", f"--workdir={folder}", "--port=0", "--digits=4"]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = [process.stdout.readline() for _ in range(10)]
            urls = dict(re.findall(r"--protocol=(\w+) +--target=(\S+)", "".join(told)))
            assert list(urls) == ["oip", "vertex", "sagemaker", "mlflow", "json", "google", "amazon"]
            assert "3 classes" in told[0] and f"scripts/audit.py --target={urls['oip']} --data={folder}" in told[-1]
            want = np.exp(np.asarray(finished.open_target(folder)[0].ask(x), np.float64)).round(4)
            for protocol, url in urls.items():
                target = connect(url, x, protocol=protocol, options=Options(rows_per_request=32))
                assert target.answers.digits == 4 and target.answers.classes == 3
                np.testing.assert_allclose(np.exp(target.ask(x[:30])), np.maximum(want[:30], 5e-5), atol=1e-6)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_the_command_that_it_prints_attacks_it(workdir, tmp_path):
    """On the records that the run's attack was judged on, with shadows trained as the target was."""
    folder, _ = workdir
    command = [sys.executable, "scripts/serve.py", f"--workdir={folder}", "--port=0"]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = [process.stdout.readline() for _ in range(10)]
            python, *attack = shlex.split(told[-1])
            assert python == "python" and {"--num_epochs=3", "--hidden=4"} < {*attack}
            keyed = next(part for part in attack if part.startswith("--target=")) + "?key=SECRET-7"
            more = [keyed, "--num_shadows=2", f"--workdir={tmp_path}/w", "--attacks=shokri,loss"]
            done = subprocess.run([sys.executable, *attack, *more], env=os.environ, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        finally:
            process.send_signal(signal.SIGINT)
    written = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    assert written and not any(b"SECRET-7" in path.read_bytes() for path in written)
    found = json.loads((tmp_path / "w" / "results.json").read_text())
    asked, run = records.load_question(folder / "mine.npz"), dict(np.load(folder / "scores.npz"))
    np.testing.assert_array_equal(asked.member, run["member"])
    np.testing.assert_array_equal(asked.records.y, run["label"])
    own = json.loads((folder / "results.json").read_text())
    assert found["target"]["train_accuracy"] == own["target"]["train_accuracy"]
    assert found["shadows"]["train_records"] > 0 and "records under question" in found["shadows"]["data"]


def test_a_folder_without_a_run_is_one_line(tmp_path):
    command = [sys.executable, "scripts/serve.py", f"--workdir={tmp_path}"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
