"""The paper's attack networks: what they can learn from little, and what they must not learn by heart."""

import jax
import numpy as np

from mia_jax import metrics
from mia_jax.attacks.shokri import shokri

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


def test_differences_of_a_thousandth_are_learned():
    """Four standard deviations apart: the best rule is right on 97.7 %."""
    score, member, _ = world(400, gap=0.004, spread=0.001)
    assert metrics.balanced_accuracy(metrics.call(score, member)).value > 0.96


def test_l2_keeps_noise_from_being_learned_by_heart():
    """Nothing tells members of the thirty rows of a class from others: 0 is the right score for new ones."""
    free, held = (
        np.quantile(np.abs(score[y == 1]), 0.9)
        for score, _, y in (world(600, gap=0.0, spread=0.02, share=0.05, l2=l2) for l2 in (0.0, 1e-3))
    )
    assert held < free / 2


def test_a_small_class_is_learned_as_well_as_a_large_one():
    score, member, y = world(1000, gap=0.04, spread=0.01, share=0.05)
    for own in (y == 0, y == 1):
        assert metrics.balanced_accuracy(metrics.call(score[own], member[own])).value > 0.93
