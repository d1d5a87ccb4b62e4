"""The paper's attack on many classes: what it costs, what it still learns, and that nobody waits for it in the dark."""

import functools
import types

import jax
import numpy as np
import pytest
from small_runs import Told, write_data

from mia_jax import audits, progress
from mia_jax.attacks import ATTACKS, quick_first
from mia_jax.attacks import shokri as module
from mia_jax.attacks.shokri import num_parts, shokri, sorted_answers
from mia_jax.audits.config import BalancedConfig, DeployedConfig
from mia_jax.audits.deployed import infer
from mia_jax.statistics import metrics

KEY = jax.random.key(0)


def world(num_classes, n=600, models=4, gap=1.5, seed=0):
    """SIMULATED answers p [K, n, c], labels and members, whose answers are surer, in the true class and elsewhere."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, num_classes, n).astype(np.int32)
    member = rng.random((models, n)) < 0.5
    z = rng.standard_normal((models, n, num_classes)).astype(np.float32)
    z[:, np.arange(n), y] += 2 + gap * member
    z *= 1 + 0.5 * member[..., None]
    return np.asarray(jax.nn.softmax(z)), y, member


def seen_by(attack, p, y):
    each = [attack.read(np.log(one), y) for one in p]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


@pytest.fixture
def few(monkeypatch):
    """Few classes count as many, so that small networks do."""
    monkeypatch.setattr(module, "WIDE", 8)
    monkeypatch.setattr(module, "SEEN", 5)
    monkeypatch.setattr(module, "SAMPLE", 4)
    monkeypatch.setattr(module, "BLOCK", 4)


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_what_is_seen_of_many_classes():
    p = np.random.default_rng(0).dirichlet(np.ones(50), 20).astype(np.float32)
    y = np.arange(20) % 50
    log_p = np.asarray(sorted_answers(np.log(p), y))
    assert log_p.shape == (20, module.SEEN)
    np.testing.assert_array_equal(log_p[:, 0], np.log(p)[np.arange(20), y])
    for row, true, told in zip(np.log(p), y, log_p, strict=True):
        np.testing.assert_array_equal(told[1:], np.sort(np.delete(row, true))[::-1][: module.SEEN - 1])


def test_a_class_costs_as_much_among_thousands_as_among_hundreds():
    """Nothing that the attack keeps or learns grows as classes x classes; up to WIDE it is the paper's whole answer."""
    inputs = {}
    for c in (100, module.WIDE, module.WIDE + 1, 4000):
        read = jax.eval_shape(shokri(c).read, *(np.zeros(s, t) for s, t in (((3, c), np.float32), (3, np.int32))))
        inputs[c] = {name: leaf.shape for name, leaf in read.items() if name != "y"}
    assert inputs[100] == {"log_p": (3, 100)} and inputs[module.WIDE] == {"log_p": (3, module.WIDE)}
    assert inputs[module.WIDE + 1] == inputs[4000] == {"sorted_log_p": (3, module.SEEN)}
    choice = {c: num_parts(c) - num_parts(c, l2=1e-3) for c in (30, 100, 1000, 4000)}
    assert choice == {30: 1, 100: 4, 1000: 2, 4000: 2}


@pytest.mark.integration
def test_many_classes_are_learned(few):
    """Twelve classes in blocks of four, L2 chosen on four of them, and one class that the shadows have no row of."""
    p, y, member = world(12)
    y[y == 7] = 3
    attack = shokri(12, num_steps=200, hidden=16)
    state = attack.fit(KEY, seen_by(attack, p[1:], y), member[1:])
    assert jax.tree.leaves(state.params)[0].shape[0] == 12 and state.center.shape == (12, 5)
    assert state.trained.tolist() == [c != 7 for c in range(12)] and state.l2 in module.STRENGTHS
    own = {**attack.read(np.log(p[0]), y)}
    score = attack.score(state, own)
    assert metrics.auc(score, member[0]).value > 0.9
    other = attack.score(state, {**own, "y": np.where(np.arange(len(y)) < 3, 7, y)})
    assert np.isnan(other[:3]).all() and not np.isnan(other[3:]).any()
    np.testing.assert_array_equal(other[3:], score[3:])


@pytest.mark.slow
def test_what_is_left_out_of_answers_is_not_missed():
    """150 classes and 40 rows of each: as good as whole answers are, which have so few rows to be learned from."""
    p, y, member = world(150, 150 * 10, models=5)
    auc = {}
    for wide in (150, 149):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "WIDE", wide)
            attack = shokri(150)
            state = attack.fit(KEY, seen_by(attack, p[1:], y), member[1:])
            auc[wide] = metrics.auc(attack.score(state, attack.read(np.log(p[0]), y)), member[0]).value
    assert auc[149] > auc[150] - 0.01


# --- what is told meanwhile ------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """The same networks, taught in few steps."""
    entry = ATTACKS["shokri"]
    monkeypatch.setitem(ATTACKS, "shokri", entry._replace(factory=functools.partial(shokri, num_steps=10)))


def test_quick_attacks_come_first():
    parts = quick_first(["shokri", "loss", "lira"], 100, {"attack_l2": 1e-3, "attack_hidden": 9})
    assert list(parts.items()) == [("loss", 1), ("lira", 1), ("shokri", 4)]
    assert list(quick_first(["shokri", "rmia"], 2, {"attack_l2": 1e-3})) == ["rmia", "shokri"]
    assert quick_first(["shokri"], 1000) == {"shokri": num_parts(1000)} == {"shokri": 34}


@pytest.mark.integration
def test_predictions_tell_how_far_they_are(few, short, tmp_path, no_pages):
    p, y, member = world(12, 200)
    np.savez(tmp_path / "p.npz", labels=y, target=p[0], shadows=p[1:], shadow_member=member[1:], member=member[0])
    given = dict(predictions=str(tmp_path / "p.npz"), attacks="shokri,loss,lira", workdir=str(tmp_path / "w"))
    given["attack_steps"] = 10
    told = Told()
    found = audits.run(DeployedConfig(**given), progress=told)
    told.check(["loss", "lira"], parts=4)
    assert list(found["attacks"]) == ["shokri", "loss", "lira"]


@pytest.mark.slow
def test_a_balanced_audit_tells_how_far_it_is(tmp_path):
    own = write_data(tmp_path / "own.npz")
    small = dict(num_models=4, num_targets=2, num_epochs=1, hidden=4, attack_steps=10, attacks="shokri,loss")
    config = BalancedConfig(dataset=str(own), workdir=str(tmp_path / "w"), **small)
    tables = []
    for parts in (2 * 2, 2):  # the second time, a target's artifact counts for its parts
        told = Told()
        tables.append(audits.run(config, progress=told)["attacks"])
        told.check(["loss"], parts)
    assert tables[0] == tables[1] and list(tables[0]) == ["shokri", "loss"]


@pytest.mark.integration
def test_a_caller_in_python_is_not_left_in_the_dark(few, short, capsys, monkeypatch):
    """Short work is silent; from the second minute on, lines tell what is left."""
    p, y, member = world(12, 200)
    given = dict(labels=y, target=p[0], shadows=p[1:], shadow_member=member[1:])
    scores = infer.infer("shokri", **given)
    assert capsys.readouterr().err == ""
    clock = iter(range(0, 10**6, 25))
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    np.testing.assert_array_equal(infer.infer("shokri", **given), scores)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["shokri: 75%, 25 s left", "shokri: done in 125.0 s"]
    infer.infer("shokri", **given, progress=progress.silent)
    infer.infer("loss", **given)
    assert capsys.readouterr().err == ""
