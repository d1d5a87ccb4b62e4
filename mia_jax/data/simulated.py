"""Look-alikes of Purchase, Texas and Location (Shokri et al. 2017, section VI-A), for machines that cannot have them.

Each is made the way the original came about, from people with latent tastes, and calibrated on one thing: the accuracy
of the paper's network on records that it was not trained on. No attack was ever looked at. How many features of a
shopper or a patient are set, and which, is ours: what is simulated says nothing about real people.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mia_jax.types import InputError

_BLOCK = 2048  # records whose probabilities are in memory at once


def simulate(stand_in: str, *, seed: int) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Make a look-alike.

    Args:
        stand_in: "purchase", "texas" or "location".
        seed: of everything.

    Returns:
        x [n, f] uint8, bits; y [n] int32, or None where the classes are to be clusters of x, as the original's were;
        and notes.

    Raises:
        InputError: there is no such look-alike.
    """
    if stand_in not in _MAKERS:
        raise InputError(f"there is no simulation of {stand_in!r}; use {', '.join(_MAKERS)}")
    maker, how = _MAKERS[stand_in]
    x, y = maker(np.random.default_rng([seed, *stand_in.encode()]))
    return x, y, (f"SIMULATED, seed {seed}: {how}",)


# --- people with tastes ----------------------------------------------------------------------------------------------


class Habits(NamedTuple):
    """What decides who does which things; styles are the leaves of a tree, and all below a branch share some likes."""

    branches: tuple[int, ...]  # of a node, level by level
    spread: tuple[float, ...]  # standard deviation of the likes (log-odds) that are added at each level
    base: tuple[float, float]  # mean and standard deviation of how common things are (log-odds)
    skew: float = 0.4  # styles are exp(skew * normal) times as common
    activity: float = 0.5  # standard deviation of how active people are (log-odds)
    directions: int = 12  # in which people differ beside their style
    tastes: float = 0.5  # their standard deviation in these directions (log-odds)


# Calibrated. In the real Location file 54 bits of a record are set, and so in this one.
PURCHASE = Habits(branches=(2, 5, 15), spread=(0.7, 0.5, 0.8), base=(-3.0, 1.2))
LOCATION = Habits(branches=(5, 8), spread=(0.72, 0.72), base=(-2.8, 1.1))


def _purchase(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return simulate_habits(rng, 197_324, 600, PURCHASE), None


def _location(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return simulate_habits(rng, 5_010, 446, LOCATION), None


def simulate_habits(rng: np.random.Generator, n: int, f: int, habits: Habits) -> np.ndarray:
    """Bits x [n, f] uint8: which of n people does which of f things.

    The log-odds are the sum of how common the thing is, how active the person is, what the person's style likes, and
    what the person likes.
    """
    # The world first and then the people: the same seed gives the same world for any n.
    style = np.zeros((1, f))
    for width, sd in zip(habits.branches, habits.spread, strict=True):
        style = np.repeat(style, width, axis=0)
        style = style + rng.normal(0, sd, style.shape)
    likes = (style + rng.normal(*habits.base, f)).astype(np.float32)
    common = np.exp(habits.skew * rng.normal(size=len(style)))
    dims = habits.directions
    directions = rng.normal(0, habits.tastes / np.sqrt(dims), (dims, f)).astype(np.float32)
    person = rng.choice(len(style), n, p=common / common.sum())
    offset = habits.activity * rng.normal(size=n).astype(np.float32)
    own = rng.normal(size=(n, dims)).astype(np.float32)
    x = np.empty((n, f), np.uint8)
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n))
        odds = np.exp(likes[person[rows]] + own[rows] @ directions + offset[rows, None])
        x[rows] = rng.random(odds.shape, np.float32) * (1 + odds) < odds
    return x


# --- patients --------------------------------------------------------------------------------------------------------

TEXAS = 1.5  # calibrated: standard deviation of how a procedure changes the log-odds of a code

# Columns of patient attributes, one-hot: sex, race, age, kind and source of admission, length of stay, outcome, payer,
# region, year. The widths are ours; 6,079 columns are left for diagnoses and causes of injury.
_ATTRIBUTES = (2, 6, 22, 4, 8, 10, 6, 10, 18, 4)


def _texas(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patients: a procedure, which is the class, and what goes with it: attributes, and any number of codes."""
    n, f, classes = 67_330, 6_169, 100
    common = 1 / (np.arange(classes) + 5)  # the most frequent procedure is 21 times as frequent as the 100th
    y = rng.choice(classes, n, p=common / common.sum()).astype(np.int32)
    x = np.zeros((n, f), np.uint8)
    start = 0
    for width in _ATTRIBUTES:
        odds = rng.normal(0, 1, width) + rng.normal(0, 0.3, (classes, width))
        _draw(rng, x, y, np.arange(n), start, odds)
        start += width
    odds = -np.log(np.arange(f - start) + 20) + rng.normal(0, TEXAS, (classes, f - start))
    codes = 1 + rng.poisson(8 * rng.gamma(2, 1 / 2, n))
    _draw(rng, x, y, np.repeat(np.arange(n), codes), start, odds)
    return x, y


def _draw(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, rows: np.ndarray, start: int, odds: np.ndarray
) -> None:
    """Set one of the columns from ``start`` on in each of ``rows``, by the log-odds [c, width] of the row's class."""
    p = np.exp(odds)
    cdf = np.cumsum(p, axis=1) / p.sum(axis=1, keepdims=True)
    uniform = rng.random(len(rows))
    for k in range(len(odds)):
        mine = np.flatnonzero(y[rows] == k)
        column = np.minimum(np.searchsorted(cdf[k], uniform[mine], side="right"), odds.shape[1] - 1)
        x[rows[mine], start + column] = 1


_MAKERS: dict[str, tuple[Callable, str]] = {
    "purchase": (
        _purchase,
        "197,324 shoppers buy each of 600 products with log-odds that add up how common the product is, how active the"
        " shopper is, what one of 150 shopping styles likes (two kinds of five kinds of fifteen) and what the shopper"
        " likes; calibrated so that the paper's local network, trained on 10,000 records, has a test accuracy of"
        " about .67 for 100 classes.",
    ),
    "texas": (
        _texas,
        "67,330 patients have one of 100 procedures (the class), and with it, each procedure with odds of its own, ten"
        " attributes and a number of 6,079 codes of diagnoses and causes; calibrated so that the paper's local network,"
        " trained on 10,000 records, has a test accuracy of about .55.",
    ),
    "location": (
        _location,
        "5,010 users visit each of 446 regions and kinds of places with log-odds that add up how common the visit is,"
        " how active the user is, what one of 40 styles likes (five kinds of eight) and what the user likes; calibrated"
        " so that a network trained on 1,200 records has a test accuracy of about .57, as it has on the real file.",
    ),
}
