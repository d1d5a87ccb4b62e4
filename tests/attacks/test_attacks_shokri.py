"""The paper's attack networks: what they can learn from little, and what they must not learn by heart."""

import jax
import numpy as np
import pytest

from mia_jax.attacks import shokri as module
from mia_jax.attacks.shokri import STRENGTHS, held_out, num_parts, shokri
from mia_jax.audits import stages
from mia_jax.statistics import metrics
from mia_jax.storage import artifacts

KEY = jax.random.key(0)


def answers(rng, member, y, gap, spread):
    """log p [n, 2]: the right class has .9, members ``gap`` more, with noise of ``spread``."""
    right = 0.9 + gap * member + spread * rng.standard_normal(len(y))
    p = np.stack([1 - right, right], 1)
    return np.log(np.where((y == 1)[:, None], p, p[:, ::-1])).astype(np.float32)


def world(rows, gap, spread, share=0.5, **options):
    """Two classes, of which the second has ``share`` of the rows; a shadow to learn from and a target to judge."""
    rng, seen = np.random.default_rng(0), []
    for n in (rows, 4000):
        y = (rng.random(n) < share).astype(np.int32)
        member = rng.random(n) < 0.5
        seen.append(({"log_p": answers(rng, member, y, gap, spread), "y": y}, member))
    (shadow, member), (target, truth) = seen
    attack = shokri(2, **options)
    state = attack.fit(KEY, jax.tree.map(lambda leaf: leaf[None], shadow), member[None])
    return attack.score(state, target), truth, target["y"]


@pytest.mark.integration
def test_differences_of_a_thousandth_are_learned():
    """Four standard deviations apart: the best rule is right on 97.7 %. (The L2 is given: choosing it takes longer.)"""
    score, member, _ = world(400, gap=0.004, spread=0.001, l2=STRENGTHS[0])
    assert metrics.balanced_accuracy(metrics.call(score, member)).value > 0.96


@pytest.mark.integration
def test_l2_keeps_noise_from_being_learned_by_heart():
    """Nothing tells members of the thirty rows of a class from others: 0 is the right score for new ones."""
    free, held = (
        np.quantile(np.abs(score[y == 1]), 0.9)
        for score, _, y in (world(600, gap=0.0, spread=0.02, share=0.05, l2=l2) for l2 in (0.0, 1e-3))
    )
    assert held < free / 2


@pytest.mark.integration
def test_a_small_class_is_learned_as_well_as_a_large_one():
    score, member, y = world(1000, gap=0.04, spread=0.01, share=0.05)
    for own in (y == 0, y == 1):
        assert metrics.balanced_accuracy(metrics.call(score[own], member[own])).value > 0.93


def many_classes(attack, gap, shadows, num_classes=20, rows=300):
    """log p [n, c] of normal logits; members' right class has ``gap`` more. The AUC on a target, and the L2."""
    rng, seen = np.random.default_rng(0), []
    for n in (shadows * rows, 4000):
        y, member = rng.integers(0, 2, n), rng.random(n) < 0.5
        z = rng.standard_normal((n, num_classes)).astype(np.float32)
        z[np.arange(n), y] += gap * member
        seen.append(({"log_p": np.asarray(jax.nn.log_softmax(z)), "y": y.astype(np.int32)}, member))
    learned, (target, truth) = seen
    state = attack.fit(KEY, *jax.tree.map(lambda leaf: leaf.reshape(shadows, rows, *leaf.shape[1:]), learned))
    return metrics.auc(attack.score(state, target), truth).value, state.l2


@pytest.mark.integration
@pytest.mark.parametrize("shadows", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_weaker_the_signal_the_stronger_the_l2(shadows):
    chosen, weakest = shokri(20, num_steps=500), shokri(20, num_steps=500, l2=STRENGTHS[0])
    auc, l2 = many_classes(chosen, 0.7, shadows)
    without, _ = many_classes(weakest, 0.7, shadows)
    assert l2 > STRENGTHS[0] and auc > without
    auc, less = many_classes(chosen, 6.0, shadows)
    assert less < l2 and auc > 0.99


def test_what_is_held_out():
    rng = np.random.default_rng(0)
    assert held_out(rng, 11, 4).sum(axis=1).tolist() == [0] * 9 + [4] * 2  # whole shadows
    assert held_out(rng, 2, 4).sum(axis=1).tolist() == [0, 4]
    assert held_out(rng, 1, 100).sum() == 20


@pytest.mark.integration
def test_parts_that_were_kept_are_taken_up(monkeypatch, tmp_path):
    """Five classes in blocks of two, one of them without rows: networks, choice and scores are those of one piece."""
    monkeypatch.setattr(module, "BLOCK", 2)
    rng = np.random.default_rng(0)
    y = rng.choice([0, 1, 2, 4], (3, 60)).astype(np.int32)
    member = rng.random(y.shape) < 0.5
    z = rng.standard_normal((*y.shape, 5)) + 2 * member[..., None] * np.eye(5)[y]
    seen = {"log_p": np.asarray(jax.nn.log_softmax(z.astype(np.float32))), "y": y}
    options = dict(num_steps=20, hidden=8)

    def fit(workdir, **changed):
        """The state, and what each part took an earlier run: 0 for those that were done now."""
        took = []
        attack = shokri(5, **options | changed, remember=stages.remembering(workdir, "attack", took.append))
        return attack.fit(KEY, seen, member), took

    def same(a, b):
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    plain = shokri(5, **options).fit(KEY, seen, member)
    assert list(plain.trained) == [True, True, True, False, True]
    with artifacts.open_workdir(tmp_path / "w", {}) as workdir:
        state, took = fit(workdir)
        assert same(state, plain) and took == [0] * num_parts(5) == [0] * 6
        state, took = fit(workdir)
        assert same(state, plain) and min(took) > 0
        lost, damaged, *_ = (tmp_path / "w" / "attack").iterdir()
        lost.unlink()
        damaged.write_bytes(damaged.read_bytes()[:200])
        with pytest.warns(UserWarning, match="is damaged"):
            state, took = fit(workdir)
        assert same(state, plain) and took.count(0) == 2
        state, took = fit(workdir, l2=plain.l2)  # the choice is not made, and what it led to is there
        assert same(state, plain) and len(took) == num_parts(5, l2=plain.l2) == 3 and min(took) > 0


def test_what_decides_a_part_names_it(monkeypatch):
    """Another setting, key, answer or member takes up nothing. Nothing is learned to find out."""

    class Named(Exception):
        pass

    def name(key=KEY, flip=False, shift=0.0, **options):
        def remember(about):
            def kept(part, work):
                told = {k: artifacts.array_digest(v) if isinstance(v, np.ndarray) else v for k, v in about.items()}
                raise Named(artifacts.digest({**told, "part": part}))

            return kept

        rng = np.random.default_rng(0)
        y, member = rng.integers(0, 5, (3, 60)).astype(np.int32), (rng.random((3, 60)) < 0.5) ^ flip
        z = rng.standard_normal((3, 60, 5)) + shift * member[..., None] * np.eye(5)[y]
        log_p = np.asarray(jax.nn.log_softmax(z.astype(np.float32)))
        with pytest.raises(Named) as named:
            shokri(5, **options, remember=remember).fit(key, {"log_p": log_p, "y": y}, member)
        return str(named.value)

    changes = (
        dict(num_steps=19), dict(hidden=9), dict(learning_rate=0.01), dict(batch_size=64), dict(max_rows=7),
        dict(l2=0.1), dict(l2=0.2), dict(key=jax.random.key(1)), dict(flip=True), dict(shift=0.5),
    )  # fmt: skip
    names = {name(), *(name(**changed) for changed in changes)}
    monkeypatch.setattr(module, "BLOCK", 3)
    names.add(name())
    assert len(names) == len(changes) + 2 and name() in names
