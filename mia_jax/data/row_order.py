"""Whether what pandas holds beside records has its rows in another order: a Series of groups, who trained, answers.

Or an index whose labels repeat, by which records of one table were taken for those of another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.data import tables
from mia_jax.types import InputError

SOME = 8  # labels that repeat, whose rows are members together: of records drawn one by one, one chance in 256
MOST = 512  # rows that are compared


def refuse_values(values: Any, called: str, beside: Mapping[str, Any]) -> None:
    """Refuse values [n], as groups, whose index pairs them otherwise than their order does, or has more than theirs.

    Args:
        values: one for each record, of any kind.
        called: what they are called.
        beside: what has a row for each record, by what it is called.

    Raises:
        InputError: the indexes differ, and share labels; but a numbering from 0 that is no other order of the records'
            own index is what pandas gives to any list.
    """
    for first, held in beside.items():
        if not (hasattr(held, "iloc") and hasattr(values, "iloc")):
            continue
        if len(held) != len(values) and held.index.isin(values.index).all() and values.index.is_unique:
            raise InputError(
                f"{called} has {len(values):,} values, and there are {len(held):,} records, whose index its own"
                f" contains: {called}.loc[{first}.index] takes theirs"
            )
        if not _numbered(values.index) or held.index.isin(values.index).all():
            tables.refuse_unaligned(held, values, called, first)


def refuse_answers(answers: Any, called: str, beside: Mapping[str, Any]) -> None:
    """Refuse answers in a data frame [n, c], or several in a list, whose index is another order of the records' own.

    Args:
        answers: of any kind.
        called: what they are called.
        beside: what has a row for each record, by what it is called.

    Raises:
        InputError: the indexes differ, and share labels; a numbering from 0 says nothing, for a frame that is made of
            ``predict_proba(x)`` has one.
    """
    if isinstance(answers, list | tuple):
        for k, each in enumerate(answers):
            refuse_answers(each, f"{called}[{k}]", beside)
    elif hasattr(answers, "iloc") and not _numbered(answers.index):
        for first, held in beside.items():
            tables.refuse_unaligned(held, answers, called, first)


def refuse_shadow_member(shadow_member: Any, beside: Mapping[str, Any]) -> None:
    """Refuse a data frame [S, n] whose columns are the records' index in another order.

    Args:
        shadow_member: of any kind.
        beside: what has a row for each record, by what it is called.

    Raises:
        InputError: they are; columns that number the records from 0 say nothing, as of an array's frame.
    """
    if not hasattr(shadow_member, "iloc") or getattr(shadow_member, "ndim", 0) != 2:
        return
    names = shadow_member.columns
    for first, held in beside.items():
        if not hasattr(held, "iloc") or len(held) != len(names) or _numbered(names) or held.index.equals(names):
            continue
        if held.index.isin(names).all() and names.is_unique and held.index.is_unique:
            raise InputError(
                f"the columns of shadow_member have the same labels as {first}'s index in another order:"
                f" shadow_member[{first}.index] aligns them"
            )


def repeated(member: np.ndarray, beside: Mapping[str, Any]) -> tuple[str, ...]:
    """What is to be said of an index in which tables stand one below the other, where ``member`` goes by its labels.

    Args:
        member: bool [n], who trained the target.
        beside: what has a row for each record, by what it is called.
    """
    for first, held in beside.items():
        if not hasattr(held, "iloc") or held.index.is_unique or len(held) != len(member):
            continue
        again = np.flatnonzero(held.index.duplicated(keep=False))
        _, label = np.unique(held.index[again].map(str), return_inverse=True)
        count, trained = np.bincount(label), np.bincount(label, weights=member[again])
        if len(count) < SOME or ((trained > 0) & (trained < count)).any() or not trained.any():
            continue
        some = np.flatnonzero(label < max(1, np.searchsorted(np.cumsum(count), MOST)))[:MOST]  # labels with all rows
        rows = np.asarray(held.iloc[again[some]], object).reshape(len(some), -1)
        different = {(k, *map(str, row)) for k, row in zip(label[some].tolist(), rows, strict=True)}
        if len(different) == len({*label[some].tolist()}):
            continue  # records that stand there several times
        return (
            f"The index of {first} has {len(count):,} labels more than once, of different records, and those of one"
            f" label are all members, or none: {first}.index.isin(train.index) marks test records, too, whose label a"
            " training record has (pandas.concat without ignore_index=True). Mark rows by their place, unless a label"
            " is that of a group, as a person, which was drawn as a whole.",
        )
    return ()


def _numbered(index: Any) -> bool:
    """Whether pandas numbered the rows itself."""
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1
