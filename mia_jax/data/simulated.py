"""Look-alikes of Purchase, Texas and Location (Shokri et al. 2017, section VI-A), for machines that cannot have them.

Each is made the way the original came about, from people with latent tastes, and calibrated on one thing: the accuracy
of the paper's network on records that it was not trained on. No attack was ever looked at. How many features of a
record are set, and which, is ours: what is simulated says nothing about real shoppers, patients or places.
"""

from collections.abc import Callable

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


def _purchase(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return _habits(rng, 197_324, 600, branches=(2, 5, 2, 2, 3), spread=(1.5, 0.9, 0.7, 0.6, 0.5), skew=0.4), None


def _location(rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return _habits(rng, 5_010, 446, branches=(4, 3, 3), spread=(1.0, 0.9, 0.9), skew=0.4), None


def _habits(
    rng: np.random.Generator,
    n: int,
    f: int,
    *,
    branches: tuple[int, ...],
    spread: tuple[float, ...],
    skew: float,
    base: tuple[float, float] = (-3.0, 1.2),
    activity: float = 0.5,
    tastes: tuple[int, float] = (12, 0.5),
) -> np.ndarray:
    """Bits x [n, f]: who does which of f things.

    The log-odds are the sum of how common the thing is, how active the person is, what the person's style likes, and
    what the person likes. Styles are the leaves of a tree: at each level all below a branch share some likes.

    Args:
        branches: of a node, level by level.
        spread: standard deviation of the likes (log-odds) that are added at each level.
        skew: styles are exp(skew * normal) times as common.
        base: mean and standard deviation of how common things are (log-odds).
        activity: standard deviation of how active people are (log-odds).
        tastes: number of directions in which people differ beside their style, and their standard deviation (log-odds).
    """
    style = np.zeros((1, f))
    for width, sd in zip(branches, spread, strict=True):
        style = np.repeat(style, width, axis=0)
        style = style + rng.normal(0, sd, style.shape)
    common = np.exp(skew * rng.normal(size=len(style)))
    person = rng.choice(len(style), n, p=common / common.sum())
    offset = activity * rng.normal(size=n).astype(np.float32)
    dims, sd = tastes
    own = rng.normal(0, 1, (n, dims)).astype(np.float32)
    directions = rng.normal(0, sd / np.sqrt(dims), (dims, f)).astype(np.float32)
    likes = (style + rng.normal(*base, f)).astype(np.float32)
    x = np.empty((n, f), np.uint8)
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n))
        odds = np.exp(likes[person[rows]] + own[rows] @ directions + offset[rows, None])
        x[rows] = rng.random(odds.shape, np.float32) * (1 + odds) < odds
    return x


# --- patients --------------------------------------------------------------------------------------------------------


def _texas(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, f, classes = 67_330, 6_169, 100
    common = 1 / (np.arange(classes) + 5)
    y = rng.choice(classes, n, p=common / common.sum()).astype(np.int32)
    x = np.zeros((n, f), np.uint8)
    base = np.exp(rng.normal(0, 2.0, f))
    for k in range(classes):
        rows = np.flatnonzero(y == k)
        p = base * np.exp(rng.normal(0, 1.0, f))
        x[rows[:, None], rng.choice(f, (len(rows), 20), p=p / p.sum())] = 1
    return x, y


_MAKERS: dict[str, tuple[Callable, str]] = {
    "purchase": (_purchase, ""),
    "texas": (_texas, ""),
    "location": (_location, ""),
}
