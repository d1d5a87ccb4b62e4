"""Whether models mean the same classes by their columns: two columns of a model, or of all shadows, exchanged.

A column is about the class whose column of the other models it goes with, record by record: that shows where labels and
right answers tell nothing yet, for most classes are right, or the class is rare. Columns of networks that have hardly
begun to learn go with any others by chance: with the columns back in place, models must agree on these classes. NumPy
and SciPy; never imports jax.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from mia_jax.checks import naming, samples
from mia_jax.types import Array

CLIP = 1e-7  # probabilities below it are taken for this
ROWS, COLUMNS = 4096, 64  # rows that are looked at, and columns that are compared with each other
LEAST = 40  # rows without which nothing is said
COMPARED = 32  # shadows that are looked at one by one
FITS = 0.3  # correlation with another class's column, at least, and by so much more than with the own
SURE = 8.0  # standard errors between both
AGREE = 0.4  # correlation of columns with the others' of their class, above which models do not guess
SHOWN = 5  # classes of a sentence


class _Moved(NamedTuple):
    """Columns that go with others: column ``columns[i]`` of a model is about class ``classes[i]``."""

    classes: np.ndarray  # int [k]
    columns: np.ndarray  # int [k]


def of_answers(labels: Array, target: Array, shadows: Array | Sequence[Array]) -> tuple[str, ...]:
    """Why columns of the target, or of shadows, may be exchanged, in a sentence; () where they seem to be in one order.

    Args:
        labels: int [n].
        target: probabilities [n, c], c > 2; of two classes an exchange turns every answer.
        shadows: probabilities [S, n, c].
    """
    n, classes = np.shape(target)
    if classes < 3 or n < LEAST or not len(shadows):
        return ()
    some = samples.rows(n, ROWS)
    few = np.arange(len(shadows))[samples.every(len(shadows), COMPARED)]
    labels = np.asarray(labels)[some]
    own = _columns(np.asarray(target)[some])
    each = [_columns(np.asarray(shadows[k])[some]) for k in few]
    whole = np.sum(each, axis=0)
    moved = _moved(own, _scaled(whole))
    if moved is not None and _agree([own, *each], {0: moved}):
        if _share(labels, own, moved) <= _share(labels, _scaled(whole), moved):
            return (
                f"The target's columns are about other classes than the shadows': class {_pairs(moved)}. Save all"
                " models' answers in one order of the classes.",
            )
        back = _moved(_scaled(whole), own)
        return (
            f"The shadows' columns are about other classes than the target's: class {_pairs(back or moved)}. Save all"
            " models' answers in one order of the classes.",
        )
    odd: dict[int, _Moved] = {}  # by places among the models that are looked at
    for k, one in enumerate(each, 1):
        found = _moved(one, own)  # of many like it, the others' mean tells less; of one, more
        found = _moved(one, _scaled(own + whole - one)) if found is None and len(each) > 1 else found
        if found is not None:
            odd[k] = found
    odd = {k: odd[k] for k in _agree([own, *each], odd)}
    if not odd:
        return ()
    names = few[np.array(list(odd)) - 1]
    return (
        f"The columns of {naming.shadows(names)} are about other classes than the target's and the"
        f" other shadows': class {_pairs(next(iter(odd.values())))}. Save all models' answers in one"
        " order of the classes.",
    )


def _columns(p: np.ndarray) -> np.ndarray:
    """Columns [n, c] of log-probabilities beside the row's mean, each of mean 0 and length 1; constant ones are 0."""
    log_p = np.log(np.maximum(p.astype(np.float64), CLIP))
    return _scaled(log_p - log_p.mean(axis=1, keepdims=True))


def _scaled(columns: np.ndarray) -> np.ndarray:
    columns = columns - columns.mean(axis=0)
    length = np.sqrt((columns**2).sum(axis=0))
    return np.divide(columns, length, out=np.zeros_like(columns), where=length > 1e-9)


def _moved(model: np.ndarray, others: np.ndarray) -> _Moved | None:
    """The columns of a model that go with other classes' columns of others far better than with their own; or None."""
    own = (model * others).sum(axis=0)
    which = np.sort(np.argsort(own, kind="stable")[:COLUMNS])
    fits = model[:, which].T @ others[:, which]  # of a model's column, and others' class
    columns, classes = optimize.linear_sum_assignment(fits, maximize=True)
    best, usual = fits[columns, classes], np.diag(fits)
    z = (np.arctanh(np.clip(best, -0.999, 0.999)) - np.arctanh(np.clip(usual, -0.999, 0.999))) * np.sqrt(len(model) / 2)
    clear = (columns != classes) & (best > FITS) & (best > usual + FITS) & (z > SURE)
    # A column that was moved leaves its place to another, in whole cycles; else it is a class that was not learned.
    closed = clear & np.isin(columns, classes[clear]) & np.isin(classes, columns[clear])
    if closed.sum() < 2:
        return None
    order = np.argsort(classes[closed])
    return _Moved(which[classes[closed][order]], which[columns[closed][order]])


def _agree(models: list[np.ndarray], moved: dict[int, _Moved]) -> list[int]:
    """Of the models [K] whose columns were moved, those that go with the others, and these with each other, once all
    columns are back.

    Args:
        models: columns [n, c] of each, as of ``_columns``.
        moved: by places among the models.
    """
    back = dict(enumerate(models))
    for k, found in moved.items():
        back[k] = models[k].copy()
        back[k][:, found.classes] = models[k][:, found.columns]
    kept = []
    for k, found in moved.items():
        own = np.stack([one[:, found.classes] for one in back.values()])  # [K, n, classes]
        fits = np.stack(
            [(one * _scaled(rest)).sum(axis=0) for one, rest in zip(own, own.sum(axis=0) - own, strict=True)]
        )
        usual = np.median(fits, axis=0)
        if min(usual.min(), fits[k].min()) > AGREE and (fits[k] > usual / 2).all():
            kept.append(k)
    return kept


def _share(labels: np.ndarray, columns: np.ndarray, moved: _Moved) -> float:
    """How well the columns that are in question tell their classes: the mean of their AUCs."""
    areas = []
    for k in moved.classes:
        is_class = labels == k
        count = int(is_class.sum())
        if 0 < count < len(labels):
            ranks = stats.rankdata(columns[:, k])[is_class]
            areas.append((ranks.mean() - (count + 1) / 2) / (len(labels) - count))
    return float(np.mean(areas)) if areas else 0.5


def _pairs(moved: _Moved) -> str:
    each = [f"{k} is column {column}" for k, column in zip(moved.classes[:SHOWN], moved.columns[:SHOWN], strict=True)]
    return ", ".join([*each, *(["..."] if len(moved.classes) > SHOWN else [])])
