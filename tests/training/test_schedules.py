"""Learning rates over a training, beside optax's own and the formulas of those who use them."""

import jax
import numpy as np
import optax
import pytest

from mia_jax.training import schedules
from mia_jax.types import InputError

STEPS = 200


def rates(text, *, warmup=0.0, decay=0.0, peak=0.3, steps=STEPS):
    shape = schedules.warmed_up(schedules.parse(text), warmup)
    return np.array([schedules.rate(peak, shape, steps, decay=decay)(t) for t in range(steps + 3)], np.float64)


P = np.minimum(np.arange(STEPS + 3), STEPS) / STEPS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", optax.constant_schedule(0.3)),
        ("cosine", optax.cosine_decay_schedule(0.3, STEPS)),
        ("cosine(0.1)", optax.cosine_decay_schedule(0.3, STEPS, alpha=0.1)),
        ("linear(final=0.5)", optax.linear_schedule(0.3, 0.15, STEPS)),
        ("one_cycle", optax.cosine_onecycle_schedule(STEPS, 0.3)),
        ("one_cycle(0.5, 0.1, 0.01)", optax.cosine_onecycle_schedule(STEPS, 0.3, 0.5, 10, 10)),
        ("piecewise(0.5, 0.75)", optax.piecewise_constant_schedule(0.3, {100: 0.1, 150: 0.1})),
        ("piecewise(0.25, factor=0.2)", optax.piecewise_constant_schedule(0.3, {50: 0.2})),
        ("fixmatch", lambda t: 0.3 * np.cos(7 * np.pi / 16 * min(t, STEPS) / STEPS)),
        ("triangular", lambda t: 0.3 * np.interp(t, [0, 46, STEPS], [0.2, 1, 0.07])),
    ],
)
def test_schedules_are_optaxs(text, expected):
    np.testing.assert_allclose(rates(text), [float(expected(t)) for t in range(STEPS + 3)], rtol=2e-6, atol=1e-9)


def test_the_warm_up_of_liras_code():
    """lr * cos(7 pi / 16 p) * clip(100 p, 0, 1)."""
    expected = 0.3 * np.cos(7 * np.pi / 16 * P) * np.clip(100 * P, 0, 1)
    np.testing.assert_allclose(rates("fixmatch", warmup=0.01), expected, rtol=1e-5)
    assert rates("cosine", warmup=0.5)[[0, 50, 100]] == pytest.approx(
        [0, 0.15 * (1 + np.cos(np.pi / 4)) / 2, 0.15], rel=1e-5
    )


def test_the_papers_decay_comes_on_top():
    np.testing.assert_allclose(
        rates("cosine", decay=0.1), rates("cosine") / (1 + 0.1 * np.arange(STEPS + 3)), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("text", [*schedules.SCHEDULES, "piecewise(0.5,0.75)"])
def test_a_training_of_few_steps_has_rates_too(text):
    for steps in (1, 2, 3):
        found = rates(text, warmup=0.2, steps=steps)
        assert np.isfinite(found).all() and (found >= 0).all() and found.max() <= 0.3 + 1e-6


def test_under_jit_and_vmap_as_by_hand():
    rate = schedules.rate(0.3, schedules.warmed_up(schedules.parse("triangular"), 0.05), STEPS)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(rate))(np.arange(STEPS)), rates("triangular", warmup=0.05)[:STEPS], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", r"^there is no schedule 'cosin'; use constant\(\), cosine\(final\)"),
        ("cosine,linear", "^`schedule=cosine,linear`: give one of"),
        ("", "^`schedule=`: give one of"),
        ("cosine(2)", "^cosine: final must be from 0 to 1, and is 2"),
        ("triangular(nan)", "^triangular: peak must be from 0 to 1"),
        ("one_cycle(0.3,0)", "^one_cycle: start and final must be above 0"),
        ("piecewise(50)", "^piecewise: each share of the steps must be from 0 to 1, and is 50"),
        ("piecewise(0.5,factor=0)", "^piecewise: factor=0 must be above 0"),
        ("cosine(half)", r"^cosine\(half\): 'half' is not a number"),
    ],
)
def test_what_is_no_schedule(text, message):
    with pytest.raises(InputError, match=message) as error:
        schedules.parse(text)
    assert "\n" not in str(error.value)
