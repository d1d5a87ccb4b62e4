"""An audit by canaries: one small model really trained, what it proves, and what is refused."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from small_runs import CANARIES, CANARY_OPTIONS

from mia_jax import audits, data
from mia_jax.audits import config as configs
from mia_jax.audits import gate
from mia_jax.audits.canaries import kinds
from mia_jax.audits.canaries import lira as by_lira
from mia_jax.audits.plans import canaries
from mia_jax.plans import membership
from mia_jax.reports import columns, report, results, verdict
from mia_jax.reports.sections import result
from mia_jax.statistics import one_run
from mia_jax.types import Field, InputError, Records, Schema


def at(config, folder, **changed):
    return dataclasses.replace(config, workdir=str(folder), **changed)


def test_training_without_noise_is_proven_to_leak(canary_config, canary_run):
    block = canary_run["attacks"]["canaries"]
    for name in ("epsilon", "epsilon_gaussian"):
        assert 0.5 < block[name]["low"] <= block[name]["provable"]
        assert block[name]["right"] > 0.7 * block[name]["guesses"]
    assert block["auc"]["value"] > 0.8 and "epsilon" not in canary_run["target"]


def test_members_are_those_that_trained(canary_config, canary_run):
    with np.load(f"{canary_config.workdir}/scores.npz") as held, np.load(canary_config.dataset) as own:
        assert held["member"].sum() == canary_run["canaries"]["included"]
        assert canary_run["target"]["train_records"] == 100 + held["member"].sum()
        np.testing.assert_array_equal(held["own_label"], own["y"][held["index"]])
        assert np.all(held["label"] != held["own_label"]) and len(set(held["index"])) == CANARIES
        assert 0.3 < held["member"].mean() < 0.7


@pytest.mark.integration
def test_noise_proves_less_than_it_promises(canary_config, tmp_path):
    pytest.importorskip("dp_accounting")
    found = audits.run(at(canary_config, tmp_path / "w", num_epochs=5, dp_noise_multiplier=4.0))
    promised = found["target"]["epsilon"]["value"]
    block = found["attacks"]["canaries"]
    assert max(block[name]["low"] for name in ("epsilon", "epsilon_gaussian")) <= promised < 5
    assert f"<= {promised:.2f}" in report.terminal_table(found)


def test_terminal_table_and_gate(canary_run):
    low = canary_run["attacks"]["canaries"]["epsilon"]["low"]
    lines = report.terminal_table(canary_run).splitlines()
    assert max(map(len, lines)) <= 100 and sum(f">= {low:.2f}" in line for line in lines) == 1
    assert "not differentially private for an epsilon below" in " ".join(lines) and "none" in " ".join(lines)
    with pytest.raises(gate.GateExceeded, match="canaries"):
        gate.enforce(gate.parse(f"epsilon>{low - 0.01:.4f}"), canary_run)
    conditions = gate.parse(f"epsilon>{low + 0.01:.4f}, epsilon>9")  # the second is not to be proven by these
    assert [v.exceeded for v in gate.judge(conditions, canary_run)] == [False, True]


def test_a_promise_that_is_broken_is_said(canary_run):
    low = canary_run["attacks"]["canaries"]["epsilon"]["low"]
    promised = {"value": low / 2, "delta": 1e-5}
    told = canary_run | {"target": canary_run["target"] | {"epsilon": promised}}
    assert "the promise does not hold" in verdict.verdict(told)
    told["target"] = told["target"] | {"epsilon": {"value": 2 * low, "delta": 1e-5}}
    assert "nothing here contradicts it" in verdict.verdict(told)


def test_a_delta_above_one_over_the_training_records_is_said_beside_epsilon(canary_run):
    """ "At most 0.86" stood there at delta 0.1, which promises nothing of a single record, without a word."""
    block, n = canary_run["attacks"]["canaries"], canary_run["target"]["train_records"]
    for delta, said in ((0.1, True), (1e-5, False), (0.99 / n, False), (1.01 / n, True)):
        own = {"epsilon": block["epsilon"] | {"delta": delta}}
        accountant = {"epsilon": {"value": 9.0, "delta": delta}}
        for target in (canary_run["target"], canary_run["target"] | accountant):
            told = canary_run | {"attacks": {"canaries": block | own}, "target": target}
            text = " ".join(report.terminal_table(told).split())
            assert ("it protects no single record" in text) == said
            assert (f"Delta {delta:g} is above 1/{n:,}" in text) == said
        assert ("it protects no single record" in result._accountant_tile(told)[0].hint) == said


def test_a_bound_that_is_shown_as_nothing_proves_nothing(canary_run):
    """It was "not differentially private for an epsilon below 0.00"."""
    block = canary_run["attacks"]["canaries"]
    told = canary_run | {"attacks": {"canaries": block | {"epsilon": block["epsilon"] | {"low": 0.004}}}}
    assert "prove nothing of epsilon" in verdict.verdict(told) and "below 0.00" not in verdict.verdict(told)


def test_plain_canaries_keep_their_labels(canary_config, tmp_path):
    found = audits.run(at(canary_config, tmp_path / "w", canary_kind="plain", num_epochs=1, guesses=40))
    assert found["attacks"]["canaries"]["epsilon"]["guesses"] == 40
    with np.load(tmp_path / "w" / "scores.npz") as held:
        np.testing.assert_array_equal(held["label"], held["own_label"])


@pytest.mark.integration
def test_interrupted_it_ends_with_the_same_bytes(canary_config, canary_run, tmp_path, monkeypatch):
    config = at(canary_config, tmp_path / "w")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(canaries, "suspicion", interrupt)
        audits.run(config)
    audits.run(config)
    first, second = (
        pathlib.Path(folder, "scores.npz").read_bytes() for folder in (canary_config.workdir, config.workdir)
    )
    assert first == second


@pytest.mark.integration
def test_the_command_proves_the_same_and_its_gate_closes(canary_config, canary_run, tmp_path):
    flags = [f"--{name}={getattr(canary_config, name)}" for name in ("dataset", "canaries", *CANARY_OPTIONS)]
    command = [sys.executable, "scripts/audit.py", *flags, f"--workdir={tmp_path / 'w'}", "--fail_if=epsilon>0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 3 and "epsilon" in done.stderr.splitlines()[-1], done.stderr
    assert f">= {canary_run['attacks']['canaries']['epsilon']['low']:.2f}" in done.stdout
    first, second = (
        pathlib.Path(folder, "scores.npz").read_bytes() for folder in (canary_config.workdir, tmp_path / "w")
    )
    assert first == second and (tmp_path / "w" / "report.html").exists()


def test_its_page_is_found_again(canary_config, canary_run):
    page = report.write_report(canary_config.workdir).read_text()
    assert "What does training tell of a single record?" in page and "mislabelled" in json.dumps(canary_run)
    low = canary_run["attacks"]["canaries"]["epsilon"]["low"]
    assert f"epsilon below {low:.2f}" in page


@pytest.mark.parametrize(
    "changed, told",
    [
        (dict(guesses=CANARIES + 1), "guess fewer"),
        (dict(target_kind="google"), "leave out `target_kind=google`"),
        (dict(dp_delta=0.0), "`dp_delta`"),
        (dict(canaries=390), "use fewer"),
        (dict(canary_kind="clean,odd"), "there is no kind 'odd'; there are clean, mislabelled and ood"),
        (dict(canary_kind="clean,plain"), "names a kind twice"),
        (dict(num_models=3), r"give 1, or 4 or more in pairs \(4\)"),
        (dict(num_models=2), "4 or more in pairs"),
    ],
)
def test_refusals_name_the_next_move(canary_config, tmp_path, changed, told):
    with pytest.raises(InputError, match=told):
        audits.run(at(canary_config, tmp_path / "w", **changed))


def test_suspicion_by_hand():
    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])
    found = canaries.suspicion(np.log(p), np.array([1, 3]), np.array([3, 3]))  # mislabeled; plain
    np.testing.assert_allclose(found, [np.log(0.2) - (np.log(0.1) + np.log(0.3)) / 2, np.log(0.4 / 0.6)])


def test_the_coins_do_not_depend_on_how_the_model_is_trained(canary_config):
    pool, schema = data.load(canary_config.dataset)
    one, other = (
        canaries.set_up(configs.resolve(c), jax.random.key(0), pool, schema)
        for c in (canary_config, dataclasses.replace(canary_config, num_epochs=1, dp_noise_multiplier=1.0))
    )
    np.testing.assert_array_equal(one.member, other.member)
    np.testing.assert_array_equal(one.pool.y, other.pool.y)


def test_canaries_that_are_told_and_prove_no_epsilon_are_a_leak(canary_run):
    """It was "no leak was found" above LiRA's AUC of .568 [.519, .618] (eight models, Adult)."""
    auc = {"value": 0.568, "low": 0.519, "high": 0.618}
    even = {"value": 0.462, "low": 0.397, "high": 0.528}
    nothing = canary_run["attacks"]["canaries"] | {"auc": even}
    nothing["epsilon"] = nothing["epsilon"] | {"low": 0.0}
    nothing["epsilon_gaussian"] = nothing["epsilon_gaussian"] | {"low": 0.0}
    quiet = canary_run | {"attacks": {"canaries": nothing}}
    assert "no leak was found" in verdict.verdict(quiet)
    for told in (
        quiet | {"canaries": canary_run["canaries"] | {"lira": {"auc": auc}}},
        quiet | {"attacks": {"canaries": nothing | {"auc": auc}}},
    ):
        said = verdict.verdict(told)
        assert "prove nothing of epsilon" in said and "no leak" not in said
        assert "(AUC 0.568, 95% interval 0.519 to 0.618): there is a leak" in said


# --- kinds of canaries, and several models ---------------------------------------------------------------------------

SEVERAL = dict(canary_kind="clean,mislabelled,ood", num_models=8, num_targets=4, num_epochs=20)


@pytest.fixture(scope="module")
def several(canary_config, tmp_path_factory):
    """An audit by eight models, and its workdir."""
    folder = tmp_path_factory.mktemp("several") / "w"
    return audits.run(at(canary_config, folder, **SEVERAL)), folder


@pytest.mark.integration
def test_each_kind_is_judged_by_lira(several):
    found, folder = several
    block, scores = found["canaries"]["lira"], results.read(folder).scores
    assert (block["models"], block["targets"], found["shadows"]["count"]) == (8, 4, 6)
    assert [one["kind"] for one in block["kinds"]] == ["plain", "mislabelled", "ood"]
    score, member, kind = scores["lira_canaries"], scores["lira_member"], scores["canary_kind"]
    assert score.shape == member.shape == (4, CANARIES)
    for place, one in enumerate(block["kinds"]):
        assert one["count"] == (kind == place).sum() == CANARIES // 3
        again = by_lira.measures(score[:, kind == place].astype(float), member[:, kind == place])
        assert again["auc"]["value"] == pytest.approx(one["auc"]["value"], abs=1e-3)
    plain, mislabeled, odd = (one["auc"]["value"] for one in block["kinds"])
    assert mislabeled > plain + 0.1 and odd > plain + 0.1  # what is learned by heart leaks more than what is plain
    assert 0 < block["epsilon"]["low"] <= block["epsilon"]["provable"]
    np.testing.assert_array_equal(member[0], scores["member"])


@pytest.mark.integration
@pytest.mark.integration
def test_the_first_model_is_the_one_that_would_be_alone(several, canary_config):
    alone = audits.run(at(canary_config, several[1], **SEVERAL | {"num_models": 1}))
    assert alone["attacks"] == several[0]["attacks"] and "lira" not in alone["canaries"]
    again = audits.run(at(canary_config, several[1], **SEVERAL))
    assert again["canaries"] == several[0]["canaries"]


@pytest.mark.integration
def test_several_models_are_shown(several):
    found, folder = several
    text = report.terminal_table(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "clean, mislabeled and out of distribution canaries" in " ".join(text.split())
    assert "By LiRA (4 targets of 8 models" in text and "mislabeled, 40" in text
    page = report.write_report(folder).read_text()
    for words in ("each attribute is another record", "Aerni, Zhang and Tramer 2024", "opposite sides", "of 3 kinds"):
        assert words in page
    lines = columns.write_csv(folder).read_text().splitlines()
    assert len(lines) == CANARIES + 1 and "lira_canaries" not in lines[0] and "canary_kind" in lines[0]


def test_canaries_out_of_distribution_have_attributes_of_others():
    rng = np.random.default_rng(0)
    x = np.arange(60)[:, None] * 100 + np.arange(6)  # a value tells its record and its column
    x[:, 4:] = np.eye(2, dtype=int)[rng.integers(2, size=60)]  # one attribute of two columns
    number = Field("n", "numeric", 0, 4, low=0, high=6000)
    schema = Schema("t", "local", "0" * 64, 5, (6,), (number, Field("c", "categorical", 4, 6, categories=("a", "b"))))
    y, rows = np.arange(60) % 5, rng.permutation(60)[:20]
    made = kinds.make(jax.random.key(0), Records(x, y), schema, rows, ("plain", "mislabelled", "ood"))
    np.testing.assert_array_equal(made.kind, np.arange(20) % 3)
    plain, mislabeled, odd = (rows[made.kind == place] for place in range(3))
    np.testing.assert_array_equal(np.delete(made.pool.x, odd, axis=0), np.delete(x, odd, axis=0))
    new = made.pool.x[odd]
    np.testing.assert_array_equal(new[:, :4] % 100, np.tile(np.arange(4), (len(odd), 1)))  # each from its own column
    assert all(len(set(row)) > 1 for row in (new[:, :4] // 100).tolist()) and np.all(new[:, 4:].sum(axis=1) == 1)
    np.testing.assert_array_equal(made.pool.y[plain], y[plain])
    assert np.all(made.pool.y[mislabeled] != y[mislabeled])
    np.testing.assert_array_equal(made.own, np.where(made.kind == 2, made.pool.y[rows], y[rows]))


def test_coins_are_fair_and_opposite_in_pairs():
    coins = canaries.coins(jax.random.key(0), 6, 400)
    np.testing.assert_array_equal(coins[1::2], ~coins[::2])
    np.testing.assert_array_equal(coins[:1], canaries.coins(jax.random.key(0), 1, 400))
    assert membership.related(coins).sum() == 12  # itself and its partner
    assert np.all(np.abs(coins.mean(axis=1) - 0.5) < 0.1)


@pytest.mark.slow
def test_the_bound_by_lira_errs_no_more_often_than_it_says():
    """Models that know nothing of their canaries: a bound above 0 is wrong."""
    wrong = 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        coins = rng.random((4, 100)) < 0.5
        member = np.stack([coin for each in coins for coin in (each, ~each)])
        phi = rng.normal(size=100) + rng.normal(size=(8, 100))
        score = by_lira.scores(phi, member, np.array([0]))
        wrong += one_run.from_scores(score[0], member[0], [100, 25, 6, 1], seed=seed).epsilon > 0
    assert wrong <= 66, wrong  # 5 % of 1,000: more in 1 of 100 cases
