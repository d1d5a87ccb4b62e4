"""Extreme flags: each run ends well or in one line that names the flag; none in a traceback, a hang or a full memory.

The cheapest plan that the flag is for. What is refused, and what is capped, costs next to nothing; the runs are slow.
"""

import json
import pathlib

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from small_runs import config, python

from mia_jax import audits, data
from mia_jax.audits import common, memory
from mia_jax.audits.config import BalancedConfig, CanaryConfig
from mia_jax.targets import black_box, estimators
from mia_jax.types import InputError, MiaError

HUGE = 10**9
SMALL = dict(num_shadows=2, num_epochs=2, attack_steps=5)


def said(run, given, **more) -> tuple[list[str], str | None, dict | None]:
    """What the user was told, the error in a line, the results."""
    told: list[str] = []
    try:
        return told, None, run(given, notify=told.append, **more)
    except MiaError as error:
        assert error.exit_code == 2 and "\n" not in str(error)
        return told, str(error), None


def audited(own, tmp_path, **flags):
    return said(audits.run, config(own, tmp_path / "run", **(SMALL | flags)))


def one_model(own, tmp_path, **flags):
    given = dict(dataset=str(own), workdir=str(tmp_path / "run"), canaries=20, num_epochs=2, hidden=4, model="mlp")
    return said(audits.run, CanaryConfig(**(given | flags)))


def finite(results: dict) -> None:
    """results.json holds numbers, which are finite or null."""
    json.loads(json.dumps(results, allow_nan=False, default=float))


def name(each):
    return ",".join(f"{flag}={value}" for flag, value in each.items()) if isinstance(each, dict) else None


# --- refused before anything is trained ------------------------------------------------------------------------------

REFUSED = [
    (dict(label_smoothing=2.0), "label_smoothing=2.0 must be from 0 to 1"),
    (dict(dropout=1.0), "dropout=1.0 must be at least 0 and below 1"),
    (dict(l2=1e300), "`l2=1e+300` must be at most 1e+38"),
    (dict(mixup=-1e30), "`mixup=-1e+30` must be at least 0"),
    (dict(hidden=HUGE), "`hidden=1000000000` takes at least "),
    (dict(hidden=HUGE, optimizer="sgd"), "`hidden=1000000000` takes at least "),
    (dict(attack_hidden=HUGE), "`attack_hidden=1000000000` takes at least "),
    (dict(attack_batch_size=10**12), "`attack_batch_size=1000000000000` takes at least "),
    (dict(dp_noise_multiplier=1e30, dp_clip=1e30), "noise_multiplier=1e+30 times clip=1e+30 is more than"),
    (dict(dp_noise_multiplier=1.0, dp_delta=0.0), "`dp_delta` must be above 0 with `dp_noise_multiplier`"),
    (dict(dp_noise_multiplier=1.0, dp_delta=1.0), "`dp_delta=1.0` must be below 1"),
    (dict(seed=2**32), "`seed=4294967296` must be below 2**32"),
]


@pytest.mark.parametrize(("flags", "reason"), REFUSED, ids=name)
def test_refused(own, tmp_path, flags, reason):
    told, error, _ = audited(own, tmp_path, **flags)
    assert error and reason in error
    assert not any("train on" in line for line in told)
    if "takes at least" in reason:
        assert "TB of memory" in error or "GB of memory" in error
        assert "are free: give " in error


def test_noise_that_promises_nothing_is_refused(own, tmp_path):
    pytest.importorskip("dp_accounting", reason="the accountant: pip install 'mia-jax[dp]'")
    _, error, _ = audited(own, tmp_path, dp_noise_multiplier=1e-38)
    assert "no epsilon can be computed for `dp_noise_multiplier=1e-38`" in error


def test_networks_too_large_are_refused_by_every_plan(own, tmp_path):
    for _, error, _ in (
        one_model(own, tmp_path / "canaries", hidden=HUGE),
        said(audits.run, BalancedConfig(dataset=str(own), workdir=str(tmp_path / "balanced"), hidden=HUGE)),
        said(audits.run, BalancedConfig(dataset=str(own), workdir=str(tmp_path / "b"), attack_hidden=HUGE)),
    ):
        assert error and "hidden=1000000000` takes at least" in error


def test_what_networks_take_is_counted(own, monkeypatch):
    """Two networks, of each: parameters, gradient, Adam's two moments, four bytes a number."""
    given = config(own, pathlib.Path("unused"), model="mlp", hidden=1000)
    _, schema = data.load(str(own))
    needed = 2 * 4 * 4 * (1000 * (12 + 1) + 3 * (1000 + 1))
    monkeypatch.setattr(memory, "_free", lambda: needed + 100)
    memory.check_networks(given, schema, 100)
    monkeypatch.setattr(memory, "_free", lambda: needed - 100)
    with pytest.raises(InputError, match=r"`hidden=1000` takes at least 5\d\d kB of memory, and 51\d kB are free"):
        memory.check_networks(given, schema, 100)
    monkeypatch.setattr(memory, "_free", lambda: 4 * 4 * 16 * 64 * 6 + 10_000)
    memory.check_attack_networks(given, 3)


MINE = """
import jax.numpy as jnp
from mia_jax import Model


def embedding(num_classes, shape):
    def init(key, x):
        return {"table": jnp.zeros((WORDS, num_classes))}

    return Model(init, lambda params, x, *, key=None: params["table"][x.reshape(len(x), -1)].sum(axis=1))
"""


@pytest.mark.parametrize(("words", "fits"), [(256, True), (2 * 10**9, False)])
def test_a_network_of_one_s_own_is_counted_as_it_sees_records(own, tmp_path, monkeypatch, words, fits):
    """A table is looked up by integers: records are shown to it in their own dtype."""
    module = f"table_{words}"
    (tmp_path / f"{module}.py").write_text(MINE.replace("WORDS", str(words)))
    monkeypatch.syspath_prepend(tmp_path)
    _, schema = data.load(str(own))
    given = config(own, tmp_path / "run", model=f"{module}:embedding")
    if fits:
        memory.check_networks(given, schema, 100)
    else:
        with pytest.raises(InputError, match=rf"`model={module}:embedding` takes at least 192 GB of memory"):
            memory.check_networks(given, schema, 100)


@pytest.mark.parametrize("noise", [1e30, 0.0])
@pytest.mark.parametrize("delta", [1e-5, 1 - 1e-12])
def test_what_dp_sgd_promises_of_extremes_is_a_number_or_none(own, noise, delta):
    pytest.importorskip("dp_accounting", reason="the accountant: pip install 'mia-jax[dp]'")
    given = config(own, pathlib.Path("unused"), dp_noise_multiplier=noise, dp_delta=delta, **SMALL | {"hidden": 4})
    value = common.accountant_epsilon(given, 100)["value"]
    assert value is None if noise == 0 else 0 <= value < 1e-3


# --- runs ------------------------------------------------------------------------------------------------------------

TRAINED = [  # -> None: it ends well; or what the line says
    (dict(learning_rate=1e6), None),
    (dict(learning_rate=1e38), "lower `learning_rate=1e+38`"),
    (dict(learning_rate=1e-300), None),
    (dict(l2=1e30), None),
    (dict(l2=1e30, optimizer="sgd"), "`l2=1e+30`"),
    (dict(mixup=1e-30), None),
    (dict(mixup=1e30), None),
    (dict(dropout=0.999999), None),
    (dict(dp_noise_multiplier=1e30), None),
    (dict(dp_noise_multiplier=0.0, dp_clip=1e-30), None),
    (dict(dp_noise_multiplier=1.0, dp_clip=1e30), None),
    (dict(dp_noise_multiplier=1.0, dp_clip=1e-30), None),
    (dict(dp_noise_multiplier=1.0, dp_delta=1 - 1e-12), None),
    (dict(early_stopping=HUGE), None),
    (dict(seed=2**32 - 1), None),
]


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "reason"), TRAINED, ids=name)
def test_one_model(own, tmp_path, flags, reason):
    _, error, results = one_model(own, tmp_path, **flags)
    if reason is not None:
        assert error and reason in error
    else:
        assert error is None
        finite(results)
        assert 0 <= results["target"]["train_accuracy"] <= 1


ATTACKED = [
    (dict(attack_l2=1e30), None),
    (dict(attack_learning_rate=1e6), None),
    (dict(attack_steps=1), None),
    (dict(attack_rows=10**15), None),
    (dict(batch_size=10**12), None),
    (dict(chunk=HUGE), None),
    (dict(shadow_data="noisy", noise=1.0), None),
    (dict(shadow_data="search", shadow_records=4, k_max=HUGE, iter_max=20), "`k_max="),
]


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "reason"), ATTACKED, ids=name)
def test_an_audit(own, tmp_path, flags, reason):
    told, error, results = audited(own, tmp_path, **flags)
    if error:
        assert reason is not None and reason in error
    else:
        finite(results)
        assert 0 <= results["attacks"]["shokri"]["auc"]["value"] <= 1
    if "batch_size" in flags:
        assert any("`batch_size=1000000000000` is above" in line for line in told)


# --- the memory ends where nothing can be halved ---------------------------------------------------------------------

ENDS = """
import errno, runpy, sys
import numpy as np
kind = sys.argv.pop(1)


def ends(*args, **kwargs):
    if kind in ("numpy", "any script"):
        np.empty((2**20, 2**20, 64))
    if kind == "xla":
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.")
    if kind == "system":
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    raise ValueError("something else")


if kind == "any script":
    from absl import flags
    from mia_jax import cli
    flags.DEFINE_integer("hidden", 1, "units")
    cli.start(lambda argv: ends)
import jax
from mia_jax.audits.plans import shokri
shokri.PLAN = shokri.PLAN._replace(train=ends)
sys.argv[0] = "scripts/train.py"
runpy.run_path("scripts/train.py", run_name="__main__")
"""


@pytest.mark.integration
def test_out_of_memory_is_a_line_of_any_script(shared):
    done = python(shared, "-c", ENDS, "any script")
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "error: the memory of this machine does not suffice: lower --hidden, or give fewer records; what was finished"
        " is kept\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "xla", "system", "other"])
def test_out_of_memory_is_a_line(shared, own, tmp_path, kind):
    done = python(shared, "-c", ENDS, kind, f"--dataset={own}", f"--workdir={tmp_path}/w", "--num_shadows=2")
    if kind == "other":  # a fault of ours keeps its traceback
        assert done.returncode == 1 and "something else" in done.stderr and "Traceback" in done.stderr
        return
    assert done.returncode == 2 and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    if kind == "system":
        assert line.startswith("error: Cannot allocate memory; use smaller batches, a smaller network or fewer records")
        return
    assert line.startswith("error: the memory of this machine does not suffice: lower --chunk, --batch_size, --hidden")
    assert line.endswith("or give fewer records; what was finished is kept") and "--rows_per_request" not in line


class Large(DummyClassifier):
    def fit(self, x, y):
        raise MemoryError


def test_a_classifier_that_runs_out_of_memory_is_a_line():
    with pytest.raises(black_box.TargetError, match=r"^Large cannot be trained .*: MemoryError; give fewer records$"):
        estimators.fit_target(Large(), np.zeros((4, 2)), np.arange(4) % 2, 0, 2)
