"""Whether records that shadows are to learn from are in the units of those in question: pixels of 0 to 1, or to 255.

Populations may differ, so that no distribution is held against a file: what is told is a factor that all columns share,
one of a column whose values keep their shape and are all far from where they were, and numbers that were standardized,
or scaled to [0, 1] or [-1, 1], in one file alone. NumPy; never imports jax.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming, samples

ROWS, VALUES = 4096, 2**22  # records, and numbers, that are looked at of each file
FEW = 20  # values of a column that tell its shape, and records without which nothing is said
AT = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
ALL, EACH, ANY = 5.0, 30.0, 300.0  # factors that are worth a word: of all columns, of one if it is round, of any
ALIKE, NEAREST, SEVERAL = 2.0, 0.9, 3  # by how much columns may be off the factor of all, their share, their number
SHAPE = 1.5  # by how much parts of one column may be off its factor
ABUT = 2.0  # ranges that are so near to one another may be those of a population that was divided there
STANDARD = 0.5, 0.4, 2.5  # of a standardized column: |mean| at most, standard deviation
RARE, MOST, NEARLY, APART = 0.4, 0.6, 0.9, 3.0  # shares of columns; standard deviations
TENS, OTHERS = 10.0 ** np.arange(1, 10), np.array([16, 60, 255, 256, 3600, 86400])  # round factors
NEAR, NEARER = 0.2, 0.03  # how near to them
LITTLE = "shadows learn little from other numbers than those that the target is asked about"
ENDS = {"scaled to [0, 1]": (0.0, 1.0), "scaled to [-1, 1]": (-1.0, 1.0)}


class Found(NamedTuple):
    """How the units of two files differ."""

    note: str  # in a sentence or two
    scale: np.ndarray | None = None  # [f], by which the other file's columns are in the unit of mine, if it is known
    offset: float = 0.0  # that is added then


class _Columns(NamedTuple):
    """What is known of the columns of a file, [f] each; missing values aside."""

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray  # of values that are looked at
    mean: np.ndarray
    sd: np.ndarray
    zeros: np.ndarray  # share
    sizes: np.ndarray  # [q, f], quantiles of |x| where it is not 0
    sized: np.ndarray  # how many these are
    varied: np.ndarray  # more than two values
    some: np.ndarray  # [k, f], records that are looked at

    @property
    def varying(self) -> np.ndarray:
        """Which columns tell a unit by where they lie."""
        return self.varied & (self.count >= FEW)


def found(mine: np.ndarray, other: np.ndarray, names: Sequence[str], called: tuple[str, str]) -> Found | None:
    """How the units of another file's records differ from those of mine; None where they seem to be the same.

    Args:
        mine: records [n, *f].
        other: records [N, *f].
        names: [f], of the columns of flattened records.
        called: the two files, in words.
    """
    a, b = mine.reshape(len(mine), -1), other.reshape(len(other), -1)
    if min(len(a), len(b)) < FEW:
        return None
    with np.errstate(all="ignore"):
        one, two = _columns(a), _columns(b)
        return _of_all(one, two, names, called) or _scaled(one, two, names, called) or _of_each(one, two, names, called)


def _columns(x: np.ndarray) -> _Columns:
    low, high = (np.asarray(reduce(x, axis=0), np.float64) for reduce in (np.fmin.reduce, np.fmax.reduce))
    some = x[samples.rows(len(x), min(ROWS, max(FEW, VALUES // x.shape[1])))].astype(np.float64)
    there = ~np.isnan(some)
    count = there.sum(axis=0)
    mean = np.where(there, some, 0.0).sum(axis=0) / count
    sd = np.sqrt(np.where(there, (some - mean) ** 2, 0.0).sum(axis=0) / count)
    ordered = np.sort(some, axis=0)
    varied = (1 + ((ordered[1:] != ordered[:-1]) & ~np.isnan(ordered[1:])).sum(axis=0)) > 2
    sizes = np.sort(np.where(some == 0, np.nan, np.abs(some)), axis=0)
    sized = (~np.isnan(sizes)).sum(axis=0)
    return _Columns(
        low, high, count, mean, sd, (some == 0).sum(axis=0) / count, _quantiles(sizes, sized), sized, varied, some
    )


def _quantiles(ordered: np.ndarray, count: np.ndarray) -> np.ndarray:
    """[q, f], of sorted values [k, f] of which the first ``count`` [f] are numbers; NaN where none is."""
    at = np.rint(AT[:, None] * (np.maximum(count, 1) - 1)).astype(int)
    return np.take_along_axis(ordered, at, axis=0)


# --- one factor for all columns --------------------------------------------------------------------------------------


def _of_all(one: _Columns, two: _Columns, names: Sequence[str], called: tuple[str, str]) -> Found | None:
    """A factor that (nearly) all columns share, and the records' sizes, too."""
    told = (one.sized >= 5) & (two.sized >= 5)
    if told.sum() < SEVERAL:
        return None
    high = np.log(np.maximum(-two.low, two.high) / np.maximum(-one.low, one.high))
    by = np.concatenate([np.log(two.sizes / one.sizes), high[None]])[:, told]
    factor = float(np.median(by))
    along = by[[len(AT) // 2, len(AT) - 2, len(AT)]]  # from the middle on: what is nearly 0 varies most
    near = (np.abs(along - factor) <= np.log(ALIKE)).all(axis=0)
    if abs(factor) < np.log(ALL) or near.mean() < NEAREST:
        return None
    small, large = (
        _lengths(each.some[:, told], one.sizes[len(AT) // 2, told]) for each in (one, two)[:: 1 if factor > 0 else -1]
    )
    if large[0] < small[1] * np.exp(abs(factor) / 2):  # small and large ones of one population
        return None
    # what is bounded in both files tells the factor by its largest values, which are the same
    exact = _round(float(np.median(high[told])) if abs(np.median(high[told]) - factor) <= NEAR else factor)
    which = _widest(one, told)
    scale = None if exact is None else np.full(len(told), _undone(exact, factor))
    times = _times(exact, factor)
    much = f"about {times} times as large as" if factor > 0 else f"about 1/{times} of"
    move = f"x {'/' if factor > 0 else '*'} {times}"
    return Found(
        f"The numbers of {called[1]} are {much} those of {called[0]}, in nearly all columns"
        f" ({_ranges(one, two, which, names, called)}): they seem to be in another unit. Give it {move}:"
        f" {LITTLE}.",
        scale,
    )


def _lengths(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """[2], from where to where the lengths of records [k, f] are, but for a few, where columns have these units [f]."""
    sizes = np.sqrt(np.abs(x) / unit)
    return np.quantile(np.where(np.isnan(sizes), 0.0, sizes).mean(axis=1) ** 2, (0.05, 0.95))


def _round(factor: float) -> float | None:
    """The round number that a factor, of which the logarithm is given, or its inverse, is near to; None: none."""
    for known, near in ((OTHERS, NEARER), (TENS, NEAR)):
        off = np.abs(np.log(known) - abs(factor))
        if off.min() <= near:
            return float(known[off.argmin()])
    return None


def _times(exact: float | None, factor: float) -> str:
    return f"{float(f'{np.exp(abs(factor)):.2g}'):g}" if exact is None else f"{exact:g}"


def _undone(times: float, factor: float) -> float:
    return 1 / times if factor > 0 else times


# --- standardized, or scaled, in one file alone ----------------------------------------------------------------------


def _scaled(one: _Columns, two: _Columns, names: Sequence[str], called: tuple[str, str]) -> Found | None:
    """Numbers that were scaled column by column in one file, and are others in the second."""
    bits = [(each.low == 0) & (each.high == 1) & ~each.varied for each in (one, two)]
    which = (one.low < one.high) & (two.low < two.high) & (one.count >= FEW) & (two.count >= FEW) & ~(bits[0] & bits[1])
    if which.sum() < SEVERAL:
        return None
    files = (one, two)
    for who, each in enumerate(files):
        raw = files[1 - who]
        name = "standardized" if _standardized(each, raw, which) else _ranged(each, raw, which)
        if name:
            ranges = _ranges(one, two, _widest(raw, which), names, called)
            return Found(
                f"{called[who]} seems to be {name}, and {called[1 - who]} not ({ranges}). Scale the numbers of"
                f" {called[1]} as those of {called[0]} are, with the same means and ranges: {LITTLE}.",
                *_to_range(one, two, name, who),
            )
    return None


def _standardized(one: _Columns, raw: _Columns, which: np.ndarray) -> bool:
    """Whether columns were standardized in one file, and are never negative, or much larger, in the other."""
    mean, least, most = STANDARD
    so, other = (
        (abs(each.mean) <= mean) & (each.sd >= least) & (each.sd <= most) & (each.low < 0) for each in (one, raw)
    )
    if so[which].mean() < NEARLY or other[which].mean() > RARE:
        return False
    spread = np.quantile(raw.sd[which], (0.1, 0.9))
    units = spread[1] > 3 * spread[0] or spread[1] < least or spread[0] > most  # or else all is larger in this place
    return bool(
        ((raw.low >= 0)[which].mean() >= NEARLY and units)
        or ((abs(raw.mean) > APART) | (raw.sd >= ALL))[which].mean() >= MOST
    )


def _ranged(one: _Columns, raw: _Columns, which: np.ndarray) -> str:
    """To which range columns were scaled in one file, and not in the other; "" where they were not."""
    for name, ends in ENDS.items():
        far = 0.5 * (ends[1] - ends[0])
        if not (_within(one, ends)[which].mean() >= NEARLY and _reached(one, which, ends)):
            continue
        beyond = (raw.mean < ends[0] - far) | (raw.mean > ends[1] + far) | (raw.sd > ALL * one.sd)
        if beyond[which].mean() >= MOST:
            return name
        if ends[0] < 0 and _within(raw, (0.0, 1.0))[which].all() and _reached(raw, which, (0.0, 1.0)):
            return name
    return ""


def _within(one: _Columns, ends: tuple[float, float]) -> np.ndarray:
    return (one.low >= ends[0] - 0.001) & (one.high <= ends[1] + 0.001)


def _reached(one: _Columns, which: np.ndarray, ends: tuple[float, float]) -> bool:
    """Whether half of the columns come near both ends of a range."""
    near = 0.1 * (ends[1] - ends[0])
    return bool(((one.low <= ends[0] + near) & (one.high >= ends[1] - near))[which].mean() >= 0.5)


def _to_range(one: _Columns, two: _Columns, name: str, who: int) -> tuple[np.ndarray | None, float]:
    """Scale and offset of the other file's numbers, where all columns have one range in both."""
    if name not in ENDS:
        return None, 0.0
    ends = [(float(np.nanmin(each.low)), float(np.nanmax(each.high))) for each in (one, two)]
    ends[who] = ENDS[name]
    scale = (ends[0][1] - ends[0][0]) / (ends[1][1] - ends[1][0])
    if not _reached(one, one.low < one.high, ends[0]) or not _reached(two, two.low < two.high, ends[1]):
        return None, 0.0
    return np.full(len(one.low), scale), ends[0][0] - scale * ends[1][0]


# --- a factor of one column ------------------------------------------------------------------------------------------


def _of_each(one: _Columns, two: _Columns, names: Sequence[str], called: tuple[str, str]) -> Found | None:
    """Columns whose values keep their shape, and are all far from where they were."""
    told = one.varying & two.varying & (one.sized >= FEW) & (two.sized >= FEW)
    by = np.log(two.sizes / one.sizes)[1:-1]
    factor = np.median(by, axis=0)
    spread = [each.sizes[-2] - each.sizes[1] for each in (one, two)]
    shape = np.abs(by - factor).max(axis=0) <= np.log(SHAPE)
    shape &= np.abs(np.log(spread[1] / spread[0]) - factor) <= np.log(SHAPE)
    smaller, larger = (np.where(factor > 0, *pair) for pair in ((one.sizes, two.sizes), (two.sizes, one.sizes)))
    least = np.where(factor > 0, two.low, one.low)
    most = np.where(factor > 0, one.high, two.high)
    divided = (least >= most) & (least <= ABUT * most)
    apart = (larger[0] > smaller[-1]) & ~divided & (np.abs(one.zeros - two.zeros) <= 0.3)
    signs = (one.low < 0) == (two.low < 0)
    is_round = np.array([_round(float(by)) is not None for by in np.nan_to_num(factor)])
    large = np.abs(factor) >= np.where(is_round, np.log(EACH), np.log(ANY))
    which = np.flatnonzero(told & shape & apart & signs & large)
    if not len(which):
        return None
    which = which[np.argsort(-np.abs(factor[which]), kind="stable")]
    scale, words = np.ones(len(told)), []
    for k in which:
        exact = _round(float(factor[k]))
        scale[k] = np.nan if exact is None else _undone(exact, factor[k])
        times = _times(exact, factor[k])
        much = f"about {times} times as large" if factor[k] > 0 else f"about 1/{times} of it"
        if len(words) < 3:
            words.append(f"{_ranges(one, two, int(k), names, called)}, {much}")
    more = f"; and {len(which) - 3:,} more columns" if len(which) > 3 else ""
    what = "A column" if len(which) == 1 else f"{len(which):,} columns"
    return Found(
        f"{what} of {called[1]} may be in another unit than in {called[0]}: {'; '.join(words)}{more}. Give both files"
        " in one unit, that of the records that the target is asked about, or shadows learn little from them; if"
        " the records differ so, it may stay.",
        None if np.isnan(scale).any() else scale,
    )


# --- words -----------------------------------------------------------------------------------------------------------


def _widest(one: _Columns, which: np.ndarray) -> int:
    """The column with the widest range, of those."""
    return int(np.where(which, one.high - one.low, -1.0).argmax())


def _ranges(one: _Columns, two: _Columns, k: int, names: Sequence[str], called: tuple[str, str]) -> str:
    return naming.ranges(names[k], (one.low[k], one.high[k]), (two.low[k], two.high[k]), called)
