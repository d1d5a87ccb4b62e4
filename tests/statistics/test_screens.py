"""Screens without shadow models: formulas against loops, and targets that tell nothing."""

import jax
import numpy as np
import optax
import pytest

import mia_jax as mia
from mia_jax import signals
from mia_jax.statistics import metrics, screens
from mia_jax.training import single, traces

MEMBER = np.arange(4000) % 2 == 0


def test_tail_tnr_counts_non_members_beyond_nearly_all_members():
    loss = np.random.default_rng(0).exponential(np.where(MEMBER, 0.2, 1.0))
    for rate in (0.01, 0.1):
        members = np.sort(loss[MEMBER])[::-1]
        beyond = [np.mean([x > members[k] for x in loss[~MEMBER]]) for k in (int(rate * 2000), int(rate * 2000) - 1)]
        found = screens.tail_tnr(loss, MEMBER, rate)
        assert beyond[1] <= found.value <= beyond[0] and found.low < found.value < found.high
    assert screens.tail_tnr(loss, MEMBER, 0.001).reason == "not resolvable: 2,000 members x 0.001 are fewer than 10"


def test_tail_tnr_of_several_targets_is_their_mean():
    loss = np.random.default_rng(1).exponential(np.where(MEMBER, 0.2, 1.0), (4, 4000))
    each = [screens.tail_tnr(one, MEMBER, 0.05).value for one in loss]
    found = screens.tail_tnr(loss, np.broadcast_to(MEMBER, loss.shape), 0.05)
    assert found.value == pytest.approx(np.mean(each), abs=0.01) and found.low < found.value < found.high


@pytest.mark.slow
def test_screens_do_not_accuse_a_target_that_tells_nothing():
    """Of 200 seeds, tail TNR's interval holds the rate itself, and the AUC's of LT-IQR .5, in 88 % at least."""
    held = np.zeros(2)
    for seed in range(200):
        losses = np.random.default_rng(seed).exponential(1.0, (12, 4000))
        tail, area = screens.tail_tnr(losses[-1], MEMBER, 0.01), metrics.auc(screens.trace_iqr(losses), MEMBER)
        held += tail.low <= 0.01 <= tail.high, area.low <= 0.5 <= area.high
    assert (held >= 176).all(), held


def test_trace_iqr_is_the_range_of_the_middle_half():
    losses = np.random.default_rng(0).exponential(1.0, (9, 5))
    for i in range(5):
        ordered = np.sort(losses[:, i])
        assert screens.trace_iqr(losses)[i] == pytest.approx(ordered[6] - ordered[2])  # of nine, the third and seventh


@pytest.mark.integration
def test_a_traced_training_is_the_training_and_tells_which_members_it_learned_by_heart():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=120).astype(np.int32)
    x = np.eye(4, 24, dtype=np.float32)[y] + 0.3 * rng.normal(size=(120, 24)).astype(np.float32)
    wrong = rng.random(120) < 0.25  # labels that nothing but memory tells
    pool, rows = mia.Records(x, np.where(wrong, (y + 1) % 4, y).astype(np.int32)), np.arange(0, 120, 2)
    model = mia.models.mlp(num_classes=4, hidden=(64,))
    trainer, key = mia.make_trainer(model, optax.adam(1e-2), batch_size=10), jax.random.key(3)
    traced = traces.fit_traced(trainer, model, key, pool, rows, 30, pool)
    params, _ = mia.fit_many(trainer, key[None], pool, rows[None], num_epochs=30)
    one = jax.tree.map(lambda leaf: leaf[0], params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), traced.params, one)
    last = signals.loss(single.predict(model, one, pool.x), pool.y)
    np.testing.assert_allclose(traced.losses[-1], last, rtol=1e-2, atol=1e-3)
    assert traced.losses.shape == (30, 120)
    assert metrics.auc(screens.trace_iqr(traced.losses)[rows], wrong[rows]).low > 0.5


def test_a_block_says_what_can_be_said():
    loss = np.random.default_rng(0).exponential(np.where(MEMBER, 0.2, 1.0))
    made = screens.block({"score_loss": (-loss - 3.0).astype(np.float32), "member": MEMBER})
    assert made["tail_tnr"]["0.01"]["value"] == pytest.approx(screens.tail_tnr(loss, MEMBER, 0.01).value)
    assert screens.block({"score_loss": loss}) == {} == screens.block({"member": MEMBER})
