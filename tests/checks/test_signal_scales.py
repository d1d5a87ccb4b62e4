"""Numbers per record that are rounded in all models: what is remembered below the step is lost, and that is said."""

import ml_dtypes
import numpy as np

from mia_jax.audits.deployed import numbers
from mia_jax.checks.signals import signal_scales

DRAWN = np.random.default_rng(0)
MEMBER = DRAWN.random((9, 200)) < 0.5
MEANS = -2.65 + 0.03 * DRAWN.normal(size=200) + 0.01 * DRAWN.normal(size=MEMBER.shape) + 0.02 * MEMBER


def test_mean_losses_in_bfloat16_or_with_two_decimals_are_noted():
    """LiRA of real bigram models fell without a word: nine different numbers in 200 records."""
    for rounded, words in (
        (MEANS.astype(ml_dtypes.bfloat16).astype(np.float64), "All numbers are of bfloat16, "),
        (np.round(MEANS, 2), "All numbers are rounded to two decimals, "),
    ):
        [said] = numbers.remarks(rounded[0], rounded[1:], MEMBER[1:], MEMBER[0]).notes
        assert said.startswith(words) and "in a model's 200 records" in said


def test_two_values_are_noted():
    """LiRA of right and wrong as numbers came without a word."""
    [said] = numbers.remarks(
        *(((MEANS > -2.65).astype(float)[k]) for k in (0, slice(1, None))), MEMBER[1:], MEMBER[0]
    ).notes
    assert said.startswith("All numbers are 0 or 1, as of right and wrong")


def test_others_are_not():
    leaves = np.log(DRAWN.choice([0.13, 0.37, 0.71], MEMBER.shape))
    for honest in (MEANS, MEANS.astype(np.float32).astype(np.float64), 1e300 * MEANS, leaves, np.round(MEANS)):
        assert signal_scales.coarse(honest) == ()
    assert signal_scales.coarse(DRAWN.integers(-50, 0, MEMBER.shape).astype(float)) == ()  # counts of errors


def test_a_target_in_bits_is_told_from_one_whose_mean_was_taken_off():
    rng = np.random.default_rng(0)
    losses = np.exp(1.2 + 0.3 * rng.normal(size=(9, 500)))
    trained = rng.random((9, 500)) < 0.5
    for changed, words in (
        (losses[0] / np.log(2), "times the shadows': they seem to be of another unit (a loss in bits is 1.44"),
        (losses[0] + 2, "a mean seems to be taken off, or a constant left out"),
    ):
        (said,) = signal_scales.moved(-np.vstack([changed, losses[1:]]), trained[1:], trained[0])
        assert words in said
