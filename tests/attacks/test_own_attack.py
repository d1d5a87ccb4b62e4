"""An attack of somebody's own with an option: one file and one registration, and everything knows of it."""

import contextlib
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from small_runs import artifact_files, write_data

import mia_jax as mia
from mia_jax import attacks, audits
from mia_jax.attacks import entries
from mia_jax.audits import flags as given
from mia_jax.audits import paper_attacks
from mia_jax.audits.balanced import plan as balanced_plan
from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig, identity, resolve
from mia_jax.audits.deployed.infer import attack_names, infer
from mia_jax.targets import black_box, server
from mia_jax.types import InputError, Schema

FILE = '''
"""The probability of the true class to a power: its file, in the folder of whoever wrote it."""

import jax.numpy as jnp
import numpy as np

from mia_jax.attacks.common import from_answers
from mia_jax.attacks.entries import BOTH, Entry, Option


def power(num_classes, *, exponent=1.0, seed=None):
    def fit(key, seen, member, population=None):
        return float(np.median(seen["own"]))

    def score(state, seen):
        return np.asarray(seen["own"], np.float64) ** exponent - state**exponent + 1000 * (seed or 0)

    def read(log_p, y):
        return {"own": jnp.exp(jnp.take_along_axis(log_p, y[:, None], axis=1)[:, 0])}

    return from_answers(read, fit, score, needs=BOTH)


def needy(num_classes, *, population):
    return power(num_classes)._replace(needs=BOTH | {"population"})


own_power = Entry(
    power,
    "The true class to a power",
    "Nobody 2026",
    "Power",
    (Option("exponent", float, 1.0, "the power", flag="own_exponent", above=0), Option("seed", source="seed")),
)
of_a_run = (Option("population", source="population"),)
entry = own_power
own_needy = Entry(needy, "Needs", "Nobody", options=of_a_run, needs=BOTH | {"population"})
'''
ALONE = """
import jax.numpy as jnp
import numpy as np

from mia_jax.attacks.common import from_answers
from mia_jax.attacks.entries import Entry


def surest(num_classes):
    def read(log_p, y):
        return {"top": jnp.exp(log_p.max(axis=1))}

    return from_answers(read, lambda key, seen, member, population=None: None, lambda state, seen: seen["top"])


entry = Entry(surest, "The highest probability", "Nobody 2026", needs=frozenset())
"""
ROOT = pathlib.Path(attacks.__file__).parents[2]
EXPONENT = {"own_exponent": 3.0}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder with the file, and ATTACKS as it was afterwards."""
    (tmp_path / "own_attacks.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(attacks.ATTACKS)
    yield tmp_path
    attacks.ATTACKS.clear()
    attacks.ATTACKS.update(before)
    sys.modules.pop("own_attacks", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "its factory takes exponent, which its entry does not have: an Option, or python_only"),
        (("exponent", "seed", "base"), "its entry has the option base, which its factory does not take"),
    ],
)
def test_options_that_are_not_the_factory_s_are_refused(here, options, message):
    def power(num_classes, *, exponent=1.0, seed=None): ...

    with pytest.raises(InputError, match=f"^the attack mine: {message}$"):
        attacks.register("mine", entries.Entry(power, "Mine", "mine", options=entries.python_only(*options)))


@pytest.fixture
def registered(here):
    attacks.load("own_attacks:own_power,own_attacks:own_needy")
    return here


def saved_predictions(path):
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(3), (5, 80)).astype(np.float32), rng.integers(0, 3, 80)
    member = rng.random((5, 80)) < 0.5
    np.savez(path, labels=y, target=p[0], shadows=p[1:], shadow_member=member[1:], member=member[0])
    return p, y, member


def column(workdir, name="own_power"):
    with np.load(pathlib.Path(workdir) / "scores.npz") as scores:
        return scores[f"score_{name}"]


def script(*argv, cwd):
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), *argv]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.integration
def test_the_command_line_finds_it_and_its_option(here):
    told = script("--attacks=own_attacks:own_power", "--help", cwd=here).stdout
    assert "--own_exponent: the power" in told and "(default: '1.0')" in told
    p, y, _ = saved_predictions(here / "p.npz")
    saved = ["--predictions=p.npz", "--workdir=w", "--attacks=own_attacks:own_power,loss"]
    done = script(*saved, "--own_exponent=2", "--seed=1", cwd=here)
    assert done.returncode == 0, done.stderr
    median = np.median(p[1:, np.arange(80), y])
    np.testing.assert_allclose(column(here / "w"), p[0, np.arange(80), y] ** 2 - median**2 + 1000, atol=1e-3)
    results = json.loads((here / "w" / "results.json").read_text())
    assert results["config"]["own_exponent"] == 2 and "attack_options" not in results["config"]
    assert results["attacks"]["own_power"]["short"] == "Power"
    page = (here / "w" / "report.html").read_text()
    assert "The true class to a power (Nobody 2026)" in page
    done = script(saved[0], "--workdir=v", "--attacks=own_attacks:entry", cwd=here)
    assert done.returncode == 0, done.stderr
    assert "own_attacks" in json.loads((here / "v" / "results.json").read_text())["attacks"]
    saved[1] = "--workdir=another"
    for more, line in {
        "--own_exponent=0": "--own_exponent=0.0 must be above 0",
        "--attacks=own_attacks:nothing": "attacks=own_attacks:nothing: own_attacks has no 'nothing'",
        "--attacks=own_attacks:power": "attacks=own_attacks:power is function, no Entry: .*",
        "--attacks=own_attacks:own_needy": "--attacks: own_needy needs a population: .*",
    }.items():
        refused = script(*saved, more, cwd=here)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
        assert re.search(f"^error: {line}", refused.stderr, re.MULTILINE), refused.stderr


@pytest.mark.parametrize("wanted", ["all,own_attacks:entry", "own_attacks:entry, All"])
def test_it_runs_beside_all_others(here, wanted):
    """Every plan said that there is no attack "all"; and one that is named must be able to run."""
    schema = Schema("own", "local", "", 3, (5,), ())
    member = np.eye(2, 4, dtype=bool)
    plans = {
        "paper": lambda names: paper_attacks.attack_names(Config(attacks=names), schema),
        "balanced": lambda names: balanced_plan.attack_names(BalancedConfig(attacks=names)),
        "deployed": lambda names: attack_names(names, {"seed": 0}, same_records=True, member=member),
    }
    for name, of_plan in plans.items():
        before = [*of_plan("all")]
        assert [*of_plan(wanted)] == [*dict.fromkeys([*before, "own_attacks"])] and "loss" in before
        with pytest.raises(InputError, match="there is no attack 'nothing'"):
            of_plan("all,nothing")
        if name != "balanced":  # which finds out later
            with pytest.raises(InputError, match="label_only needs"):
                of_plan("all,label_only")
    assert given.idle(given.attack_rules(BalancedConfig), ["own_exponent"], BalancedConfig(attacks=wanted)) == {}


def test_it_runs_in_one_call(here):
    """``mia.audit`` without shadows looked for its name before it was there."""
    (here / "alone.py").write_text(ALONE)
    p, y, member = saved_predictions(here / "p.npz")
    result = mia.audit(p[0], np.zeros((80, 1)), y, member[0], attacks="all,alone:entry")
    assert {"alone", "loss"} < {*result}
    np.testing.assert_allclose(result.scores["score_alone"], p[0].max(axis=1), atol=1e-6)
    sys.modules.pop("alone")


def test_its_name_is_told_by_what_it_is_given_as(here):
    assert attacks.split("LiRA,own_attacks:entry,own_attacks:own_power,all") == ["lira", "own_attacks", "own_power"]
    assert attacks.named("own_attacks:entry") == ["own_attacks"]
    assert attacks.ATTACKS["own_attacks"].title == "The true class to a power"


def test_its_flag_has_no_meaning_without_it(registered):
    for kind in (Config, BalancedConfig, DeployedConfig):
        without, beside = (kind(attacks=names) for names in ("loss", "loss,own_attacks:own_power"))
        words = "without own_power among `attacks`"
        assert given.idle(given.attack_rules(kind), ["own_exponent"], without) == {"own_exponent": words}
        assert given.idle(given.attack_rules(kind), ["own_exponent"], beside) == {}
    assert "own_exponent" in given.idle(given.attack_rules(CanaryConfig), ["own_exponent"], CanaryConfig())


def test_its_option_is_part_of_what_a_run_is_and_is_checked(registered):
    plain, other = (resolve(Config(dataset="location", attack_options=o)) for o in ({}, EXPONENT))
    assert identity(other) == identity(plain) | EXPONENT
    for options, line in (
        ({"own_exponent": -1.0}, "`own_exponent=-1.0` must be above 0"),
        ({"own": 1}, "no attack has an option with the flag own"),
        ({"attack_l2": 1.0}, "attack_l2 is a setting of its own"),
    ):
        with pytest.raises(InputError, match=line):
            resolve(Config(dataset="location", attack_options=options))


def test_names_and_flags_are_unique(registered):
    entry = attacks.ATTACKS["own_power"]
    attacks.register("own_power", entry)  # the same
    with pytest.raises(InputError, match="there is an attack named lira already"):
        attacks.register("lira", entry)
    other = entry.options[0]._replace(default=2.0)
    with pytest.raises(InputError, match="has an option with the flag own_exponent, which is own_power's"):
        attacks.register("second", entry._replace(title="Another", options=(other,)))


# --- every plan in which it can run ----------------------------------------------------------------------------------


@contextlib.contextmanager
def served(features):
    def ask(x):
        z = np.asarray(x, np.float32) @ np.random.default_rng(0).standard_normal((features, 3)).astype(np.float32)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    with server.serve(black_box.Target(ask, black_box.Answers(3), traced=False), (features,)) as url:
        yield url


def run(kind, workdir, **changed):
    config = kind(workdir=str(workdir), num_epochs=1, hidden=4, attacks="own_power,loss", **changed)
    results = audits.run(config)
    assert list(results["attacks"]) == ["own_power", "loss"]
    assert results["attacks"]["own_power"]["title"] == "The true class to a power (Nobody 2026)"
    page = (workdir / "report.html").read_text()
    assert "The true class to a power" in page
    return column(workdir)


def with_the_same_models(workdir, expected, run):
    """Another value of an option, where models were trained for the first, gives what it gives elsewhere."""
    before = artifact_files(workdir, "models")
    np.testing.assert_array_equal(run(workdir), expected)
    assert before and artifact_files(workdir, "models") == before


@pytest.mark.integration
def test_the_papers_plan(registered):
    small = dict(dataset=str(write_data(registered / "own.npz")), num_shadows=1)
    plain, powered = (run(Config, registered / str(i), attack_options=o, **small) for i, o in enumerate(({}, EXPONENT)))
    assert plain.shape == powered.shape and not np.array_equal(plain, powered)
    with_the_same_models(
        registered / "0", powered, lambda folder: run(Config, folder, attack_options=EXPONENT, **small)
    )


@pytest.mark.integration
def test_the_balanced_plan(registered):
    small = dict(dataset=str(write_data(registered / "own.npz")), num_models=4, num_targets=1, num_records=80)
    plain, powered = (
        run(BalancedConfig, registered / str(i), attack_options=o, **small) for i, o in enumerate(({}, EXPONENT))
    )
    assert plain.shape == powered.shape and not np.array_equal(plain, powered)
    again = lambda folder: run(BalancedConfig, folder, attack_options=EXPONENT, **small)  # noqa: E731
    with_the_same_models(registered / "0", powered, again)


@pytest.mark.integration
def test_a_service(registered):
    pytest.importorskip("httpx", reason="needs the extra `remote`")
    data = dict(np.load(write_data(registered / "own.npz")))
    np.savez(registered / "mine.npz", x=data["x"][:80], y=data["y"][:80], member=np.arange(80) < 20)
    with served(data["x"].shape[1]) as url:
        small = dict(
            target=url + server.paths()["vertex"],
            data=str(registered / "mine.npz"),
            num_shadows=1,
            attack_options=EXPONENT,
        )
        scores = run(DeployedConfig, registered / "w", **small)
    assert np.isfinite(scores).all()


def test_saved_answers(registered):
    p, y, member = saved_predictions(registered / "p.npz")
    saved = dict(labels=y, target=p[0], shadows=p[1:], shadow_member=member[1:])
    one, three = (infer("own_power", **saved, options={"exponent": e}) for e in (1.0, 3.0))
    own, median = p[0, np.arange(80), y], np.median(p[1:, np.arange(80), y])
    np.testing.assert_allclose(one, own - median, atol=1e-6)
    np.testing.assert_allclose(three, own**3 - median**3, atol=1e-6)
    with pytest.raises(InputError, match="own_power has no option 'power'; it has exponent, seed"):
        infer("own_power", **saved, options={"power": 1})
    with pytest.raises(InputError, match="own_needy needs population: give it as one of the options"):
        infer("own_needy", **saved)


def test_what_it_lacks_is_told_before_any_work(registered):
    own = str(write_data(registered / "own.npz"))
    small = dict(dataset=own, attacks="own_needy", workdir=str(registered / "w"))
    with pytest.raises(InputError, match=r"^`attacks`: own_needy cannot run here: it needs a `population`$"):
        audits.run(BalancedConfig(num_models=4, num_targets=1, population=0, **small))
    with pytest.raises(InputError, match=r"^`attacks`: own_needy needs population, which this plan does not have"):
        audits.run(Config(**small))
    with pytest.raises(InputError, match='"public" is now said to need "population"'):
        attacks.checked(attacks.build("own_power", 3)._replace(needs=frozenset({"public"})))
    with pytest.raises(InputError, match="own_needy needs population, which this run does not have"):
        attacks.build("own_needy", 3)
