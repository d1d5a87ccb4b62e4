"""What a user's records look like that they should not: an index or the labels among the features, channels first."""

import re
from collections.abc import Container, Mapping, Sequence

import numpy as np

MISSING = (-999.0, -9999.0, -99999.0, -1e6)  # numbers that stand for none, as a rule
CODES = tuple(sign * float("9" * k) for k in range(2, 8) for sign in (1, -1))  # 99, 999, ..., and below 0
CODED_OFTEN = 3  # records that have one, at least
CHANNELS = (1, 3, 4)  # of images
SOME = 200  # records that are looked at first; fewer tell no code of the label
MANY = 100  # records of which none shares a whole number with another by accident; and most classes of a coded label
ALL_WHOLE = 2.0**24  # from where on every float32 is a whole number
CODED = 5  # records by which columns exclude each other, and none does both by chance
MEANS = 5  # values that are no whole numbers, at least, and means of labels
OF_ALL = 0.9  # of a column's values, that are such means
FEW = 2  # such columns, at most, that are rather identifiers than measured
_ID = re.compile(r"(?i:^|[_ .-])(?i:id|uid|uuid|nr|no|key)$|[a-z]I[dD]$|^(?i:id)[_ .-]")  # id, customer_id, userId


def channels_first(shape: Sequence[int]) -> bool:
    """Whether records of a shape *f look like images with their channels first."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS and min(shape[1:]) > 4


def notes(
    x: np.ndarray, y: np.ndarray, names: Sequence[str] = (), said_of: Container[str] = (), label: str = ""
) -> tuple[str, ...]:
    """What is to be said of it, in sentences.

    Args:
        x: numbers [n, *f].
        y: int [n].
        names: of the columns of x [n, f], where they have some.
        said_of: the names of columns of which it is known that they say the label.
        label: the name of the column that y is, where it has one.
    """

    def column(k: int) -> tuple[str, str]:
        """A column in words, and what leaves it out."""
        if names:
            return f"Column {names[k]}", f"`kinds={names[k]}:drop`"
        return f"Column {k} of x", f"np.delete(x, {k}, axis=1)"

    said = []
    if channels_first(x.shape[1:]):
        said.append(
            f"Records have shape {x.shape[1:]}, as images with their channels first; here channels are the last axis,"
            " and a network with convolutions would take columns for channels: np.moveaxis(x, 1, -1)."
        )
    if x.ndim != 2 or len(x) < 10:
        return tuple(said)
    counts = [k for k in _counting(x[:SOME]).tolist() if len(_counting(x[:, k : k + 1]))]
    if counts:
        which, move = column(counts[0])
        said.append(
            f"{which} counts the rows, as the index of a table does: it tells the order of the file,"
            f" which often tells members; {move} leaves it out."
        )
    for k in (k for k in _of_their_own(x, names) if k not in counts):
        which, move = column(k)
        said.append(
            f"{which} has a value of its own in each record, as identifiers have, by which models can learn records"
            f" by heart; {move} leaves it out."
        )
    own = [k for k in _codes_of_labels(x, y) if not names or names[k] not in said_of]
    for k in own[:1]:
        which, move = column(k)
        what = "is y itself" if (x[:, k] == y).all() else "has one number for each class and no other"
        said.append(f"{which} {what}: models need to learn nothing; {move} leaves it out.")
    means = _means_of_labels(x, y)
    if means:
        which, move = column(means[0])
        said.append(
            f"{which} is, for each of its values, the mean of y over the records that have it: a category encoded by"
            " the labels of all records, those that do not train a model among them, which then know their own label."
            f" Encode it inside the training, from its records alone; {move} leaves it out."
        )
    said += _telling(x, y, names, label, {*own} | {k for k, name in enumerate(names) if name in said_of})
    before = len(said)
    for number in MISSING if x.dtype.kind in "if" else ():
        if (share := (x == number).mean(axis=0)).max() > 1e-3 and not ((x < 0) & (x != number)).any():
            said.append(
                f"{number:g} is in {int((share > 0).sum())} of {x.shape[1]} columns, whose other values are none below"
                " 0: as a rule it stands for what is missing; fill it in, or write np.nan for a model that takes such."
            )
    if len(said) == before and x.dtype.kind in "if":
        said += _codes(x, names)
    return tuple(said)


def _codes_of_labels(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Columns of numbers [n, f] that are y, or else, of many records, have one value for each class and no other."""
    same = (x == y[:, None]).all(axis=0)
    classes, rows = np.unique(y, return_index=True)
    if len(x) < SOME or not 1 < len(classes) <= MANY:
        return np.flatnonzero(same).tolist()
    one = x[rows]  # of each class a record
    ordered = np.sort(one, axis=0)
    differ = (ordered[1:] != ordered[:-1]).all(axis=0)
    coded = differ & (x == one[np.searchsorted(classes, y)]).all(axis=0)
    return [*np.flatnonzero(same), *np.flatnonzero(coded & ~same)]


def _means_of_labels(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Columns of which each value is the mean of y, or the share of a class, over the records that have the value."""
    found, classes = [], np.unique(y)
    shares = [y == c for c in classes[1 if len(classes) == 2 else 0 :]] if len(classes) <= MANY else []
    for k in np.flatnonzero((x[:SOME] % 1 != 0).any(axis=0)).tolist() if x.dtype.kind == "f" else []:
        value, of, count = np.unique(x[:, k], return_inverse=True, return_counts=True)
        if len(value) * 2 > len(x) or (value % 1 != 0).sum() < MEANS:
            continue
        means = (np.bincount(of, each) / count for each in (y, *shares))
        if any((np.abs(mean - value) < 1e-5 * (1 + np.abs(value))).mean() >= OF_ALL for mean in means):
            found.append(k)
    return found


def _codes(x: np.ndarray, names: Sequence[str]) -> list[str]:
    """That a number of nines recurs in columns of x [n, f], far beyond what else is there; a sentence, or none."""
    found = []
    for end, other in ((x.max(axis=0), np.max), (x.min(axis=0), np.min)):
        for k in np.flatnonzero(np.isin(end, CODES)).tolist():
            coded = x[:, k] == end[k]
            rest = x[~coded, k]
            if CODED_OFTEN <= coded.sum() < len(x) and abs(float(end[k]) - float(other(rest))) > np.ptp(rest):
                found.append((k, float(end[k]), int(coded.sum()), rest))
    if not found:
        return []
    k, code, count, rest = found[0]
    more = f" (so have {len(found) - 1} other columns)" if len(found) > 1 else ""
    return [
        f"{f'Column {names[k]}' if names else f'Column {k} of x'} has {code:.0f} in {count:,} records, and else numbers"
        f" from {rest.min():g} to {rest.max():g}{more}: as a rule it stands for what is missing; leave it empty,"
        " fill it in, or write np.nan for a model that takes such."
    ]


def _counting(x: np.ndarray) -> np.ndarray:
    """The columns of numbers [n, f] that rise, or fall, by one from row to row."""
    steps = np.diff(x.astype(np.float64) if x.dtype.kind in "bu" else x, axis=0)
    return np.flatnonzero((np.abs(steps) == 1).all(axis=0) & (steps == steps[0]).all(axis=0))


def _telling(x: np.ndarray, y: np.ndarray, names: Sequence[str], label: str, known: set[int]) -> list[str]:
    """That columns of 0 and 1 tell the label, as the rest of a one-hot code of it does; a sentence, or none.

    Args:
        x, y, names, label: as of ``notes``.
        known: columns of which it is said elsewhere.
    """
    bits = [int(k) for k in np.flatnonzero((x.min(axis=0) == 0) & (x.max(axis=0) == 1)) if k not in known]
    bits = [k for k in bits if not names or [*names].count(names[k]) == 1]  # a column of words is no such code
    bits = [k for k in bits if x.dtype.kind in "bui" or np.isin(x[:, k], (0, 1)).all()]
    single = [k for k in bits if ((x[:, k] == 1) == (y == y[int(x[:, k].argmax())])).all() and x[:, k].sum() >= CODED]
    if single and len(np.unique(y)) > 2:
        return [_leak(single, names, "each is 1 for one class and 0 for the others, which tells the label")]
    if sorted({*y.tolist()}) != [0, 1]:
        return []
    code = [k for k in bits if not x[y == 1, k].any()]
    stem = re.match(r".*[_ .-]", label)
    alike = [k for k in code if names and stem and names[k].startswith(stem[0])]
    for columns in filter(None, (code, alike)):
        ones = x[:, columns].sum(axis=1)
        by_chance = ones.mean() * y.mean() * len(y)  # records with both, if one did not exclude the other
        if (ones == 1 - y).all() or (columns is alike and (ones <= 1).all() and by_chance >= CODED):
            how = "and the label a record has one 1 at most, as of a one-hot code: they tell the label"
            return [_leak(columns, names, how)]
    return []


def _leak(columns: Sequence[int], names: Sequence[str], how: str) -> str:
    called = [names[k] if names else str(k) for k in columns]
    drop = f"`kinds={','.join(f'{name}:drop' for name in called)}`" if names else f"np.delete(x, {columns}, axis=1)"
    return f"Of the columns {', '.join(called)} {how}; {drop} leaves them out."


def _of_their_own(x: np.ndarray, names: Sequence[str]) -> list[int]:
    """The columns of numbers [n, f] that have another whole number in each record: those that are called as identifiers
    are, and of many records any; not where several have, as counts of something may."""
    some = x[:SOME]
    different = (np.diff(np.sort(some, axis=0), axis=0) != 0).all(axis=0)
    likely = np.flatnonzero(different & (some == np.trunc(some)).all(axis=0))
    found = [int(k) for k in likely if len(np.unique(x[:, k])) == len(x) and (x[:, k] == np.trunc(x[:, k])).all()]
    called = [k for k in found if names and _ID.search(names[k])]
    others = [k for k in found if k not in called and np.abs(x[:, k]).max() < ALL_WHOLE]
    return sorted([*called, *(others if len(x) >= MANY and len(others) <= FEW else [])])


def names_of_labels(texts: Mapping[str, np.ndarray], y: np.ndarray) -> dict[str, str]:
    """What is to be said of columns of words that say the label, one word for each class: a sentence, by their names.

    Args:
        texts: values [n] of each column of words, by its name.
        y: int [n].
    """
    classes = len(np.unique(y))
    said = {}
    for name, values in texts.items():
        words, code = np.unique(values, return_inverse=True)
        if len(y) >= 10 and 1 < classes == len(words) == len(np.unique(np.stack([code, y]), axis=1).T):
            said[name] = (
                f"Column {name} has one value for each class and no other, as the names of the classes: models need to"
                f" learn nothing; `kinds={name}:drop` leaves it out."
            )
    return said
