"""Records that are copies of others but for rounding: written with fewer digits, or computed in another unit.

How far a number may be off is what the file shows: the decimals, or significant digits, that all numbers of a column
have. Where different records of one file are as near to one another, nearness tells nothing, and none is called a copy.
"""

from typing import NamedTuple

import numpy as np

DECIMALS, FLOAT = 12, 6e-8  # decimals that are looked at; by how much float32 is off
SMALLEST, LARGEST = -9, 9  # decades of numbers
SAMPLE, BLOCK = 1000, 2**22  # records that tell the digits of a column; numbers that are compared at once
NOISE = 1e-6  # of a column's standard deviation: what computing in another order changes
CHANCE, TIMES = 0.02, 5  # share of known records near to another; copies, by as many as chance would give
PAIRS = 10**8  # candidates, beyond which tolerances tell records no more apart
WINDOW = 4.0  # how far projections of copies are apart at most, in root sums of squares of the tolerances


class _Digits(NamedTuple):
    """How far the numbers of a file's columns may be off, as they were rounded: in each decade of their size."""

    bound: np.ndarray  # [e, f], half a unit of the last decimal

    def of(self, x: np.ndarray) -> np.ndarray:
        """How far numbers x [k, f] may be off, [k, f]."""
        return np.take_along_axis(self.bound, _decade(x), axis=0)


def found(x: np.ndarray, known: np.ndarray, scale: np.ndarray | None = None, offset: float = 0.0) -> np.ndarray:
    """Bool [N]: which of the records x are copies of known ones but for rounding; exact copies, too, as a rule.

    Args:
        x: records [N, *f].
        known: records [n, *f].
        scale: [f], by which numbers of x are in the unit of the known ones; None: they are.
        offset: that is added then.
    """
    b, a = x.reshape(len(x), -1), known.reshape(len(known), -1)
    if not len(a) or not len(b) or (scale is None and _are_whole(a) and _are_whole(b)):  # nothing was rounded
        return np.zeros(len(x), bool)
    digits = [_digits(each) for each in (a, b)]
    if scale is None:
        return _found(a, b, digits, np.ones(a.shape[1]), 0.0)
    unit, exact = np.asarray(scale, np.float64), _Digits(np.zeros_like(digits[0].bound))
    copies = _found(a, b, [exact, digits[1]], unit, offset)  # whole numbers in another unit: they were not rounded
    return copies if copies.any() else _found(a, b, digits, unit, offset)


def _found(a: np.ndarray, b: np.ndarray, digits: list[_Digits], unit: np.ndarray, offset: float) -> np.ndarray:
    """bool [N], which of the records b [N, f] are copies of records a [n, f], where these digits tell it."""
    none = np.zeros(len(b), bool)
    near = _Near(a, digits, unit, offset)
    alike = near.like(a, itself=True).mean()
    if alike > CHANCE:
        return none
    copies = near.like(b)
    some = b[np.linspace(0, len(b) - 1, min(len(b), SAMPLE)).astype(int)] * unit + offset
    others = _Near(some, digits, unit, offset).like(some, itself=True).mean()  # of rounded ones all are equal or apart
    by_chance = max(alike / len(a), others / len(some)) * len(a) * len(b)
    return copies if copies.sum() > TIMES * by_chance else none


def _some(x: np.ndarray) -> np.ndarray:
    """float64 [k, f], records of x [n, f], from the first to the last."""
    rows = max(2, min(len(x), SAMPLE, BLOCK // x.shape[1]))
    return x[np.linspace(0, len(x) - 1, rows).astype(int)].astype(np.float64)


def _are_whole(x: np.ndarray) -> bool:
    return x.dtype.kind in "biu" or bool(((some := _some(x)) == np.rint(some))[~np.isnan(some)].all())


def _digits(x: np.ndarray) -> _Digits:
    """The fewest decimals that numbers x [n, f] can be written with, as far as float32 shows them.

    A number of the next decade has as many, or one less where digits were counted.
    """
    some = _some(x)
    need = np.full(some.shape, DECIMALS)
    for digits in range(DECIMALS, -1, -1):
        shifted = some * 10.0**digits
        off = FLOAT * np.abs(shifted)
        need[(np.abs(shifted - np.rint(shifted)) <= 1e-9 + off) | (off > 0.05)] = digits
    decade = np.where((some == 0) | np.isnan(some), -1, _decade(some))  # 0 tells nothing
    decimals = np.full((LARGEST - SMALLEST + 1, some.shape[1]), -1)
    for one in np.unique(decade[decade >= 0]):
        decimals[one] = np.where(decade == one, need, -1).max(axis=0)
    decimals = np.maximum.accumulate(decimals[::-1])[::-1]
    for one in range(1, len(decimals)):  # the largest number alone is 1 in many a column
        decimals[one] = np.maximum(decimals[one], decimals[one - 1] - 1)
    ordered = np.sort(some, axis=0)
    few = (ordered[1:] > ordered[:-1]).sum(axis=0) < 3  # values that may all be round by chance
    decimals = np.maximum(decimals, np.where(few, 2, 0))
    return _Digits(0.5 * 10.0**-decimals)


def _decade(x: np.ndarray) -> np.ndarray:
    """The decades of the sizes of numbers, numbered from 0; that of 0 is the first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(np.abs(x)))
    return np.nan_to_num(np.clip(power, SMALLEST, LARGEST) - SMALLEST).astype(int)


class _Near:
    """Known records [n, f], ordered so that those near to others are found."""

    def __init__(self, known: np.ndarray, digits: list[_Digits], scale: np.ndarray, offset: float):
        self._digits, self._scale, self._offset = digits, scale, offset
        self._same = (digits[0].bound == digits[1].bound).all(axis=0) & (scale == 1)
        self._noise = NOISE * np.std(known, axis=0, dtype=np.float64)
        weights = np.random.default_rng(0).normal(size=(known.shape[1], 2))
        some = _some(known)
        usual = np.median(self._tolerance((some - offset) / scale, some), axis=0) + NOISE * self._noise
        tells = self._noise > NOISE * usual  # a column that varies by no more than its numbers may be off tells nothing
        self._weights = np.divide(1, usual, out=np.zeros_like(usual), where=tells)[:, None] * weights
        along = np.concatenate([each @ self._weights for _, each in self._blocks(known)])
        first = np.unique(along, axis=0, return_index=True)[1]  # of equal records one is enough
        self._known, self._along = known[first], along[first]
        self._order = np.argsort(self._along[:, 0], kind="stable")

    def _blocks(self, x: np.ndarray):
        """The rows of x [n, f] in blocks: the first one's number, and them."""
        rows = max(1, BLOCK // x.shape[1])
        for start in range(0, len(x), rows):
            yield start, x[start : start + rows].astype(np.float64)

    def _tolerance(self, raw: np.ndarray, x: np.ndarray) -> np.ndarray:
        """How far copies of records x [k, f], as they came in ``raw``, may be off: the coarser file's rounding."""
        one, other = self._digits[0].of(x), self._digits[1].of(raw) * np.abs(self._scale)
        rounded = np.fmax(np.maximum(one, other) + 3 * FLOAT * np.abs(x), self._noise)
        return np.where(self._same, np.fmin(self._noise, 0.5 * one), rounded)

    def like(self, x: np.ndarray, itself: bool = False) -> np.ndarray:
        """bool [N], which of the records x [N, f] have a known one near; ``itself``: another one than their equals."""
        out = np.zeros(len(x), bool)
        for start, raw in self._blocks(x):
            own = raw if itself else raw * self._scale + self._offset
            tolerance = self._tolerance((raw - self._offset) / self._scale if itself else raw, own)
            along = own @ self._weights
            far = WINDOW * np.sqrt(tolerance**2 @ self._weights**2)
            there = np.isfinite(along).all(axis=1)
            ordered = self._along[self._order, 0]
            low = np.searchsorted(ordered, np.where(there, along[:, 0] - far[:, 0], np.inf))
            high = np.searchsorted(ordered, np.where(there, along[:, 0] + far[:, 0], np.inf), side="right")
            if (high - low).sum() > PAIRS:
                return np.zeros(len(x), bool) if not itself else np.ones(len(x), bool)
            for k in range(int((high - low).max(initial=0))):
                rows = np.flatnonzero((low + k < high) & ~out[start : start + len(raw)])
                if not len(rows):
                    continue
                which = self._order[low[rows] + k]
                close = np.abs(self._along[which, 1] - along[rows, 1]) <= far[rows, 1]
                rows, which = rows[close], which[close]
                off = np.abs(self._known[which].astype(np.float64) - own[rows])
                copies = (off <= tolerance[rows]).all(axis=1)
                if itself:
                    copies &= (off > 0).any(axis=1)
                out[start + rows[copies]] = True
        return out
