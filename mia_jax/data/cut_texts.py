"""Texts that seem to be cut at a length: a NumPy array of a fixed width, a column of a database, a table's limit."""

import bisect
from collections.abc import Iterator
from typing import Any

import numpy as np

from mia_jax.data import columns, tables

LEAST = 10  # texts of exactly the greatest length
SHARE = 0.2  # of all texts, at least
LENGTHS = 2  # that occur, at least: codes have one
BELOW = 2  # texts of the greatest length for each of the commonest length below it, at least
LONG = 16  # characters; below, texts are codes and names, and not sentences
WITHIN = 0.25  # of the longest texts end in the beginning of a word, beyond how many of the shorter do
_MARKS = ".,;:!?()\"'`*"  # around words
SPACED = 0.5  # of the longest texts that have several words: no hashes, no numbers of accounts


def notes(x: Any) -> list[str]:
    """What is to be said of records, in sentences: that their texts pile up at the greatest length.

    Args:
        x: records [n, *f] of any kind; of data frames each column of texts is looked at.
    """
    for called, texts in _columns(x):
        if (found := _cut_at(texts)) is not None:
            length, count = found
            return [
                f"Texts{called} seem to be cut at {length} characters: {count:,} of {len(texts):,} have exactly so many"
                f" and none has more, and many of these end within a word or after a space{_width(x, length)}. If the"
                " model was trained on whole texts, it answers otherwise to these, and attacks are weaker for that:"
                " give them whole, as np.array(texts, dtype=object)."
            ]
    return []


def _width(x: Any, length: int) -> str:
    """That the array's type is what cuts, in words."""
    dtype = getattr(x, "dtype", None)
    fixed = isinstance(dtype, np.dtype) and dtype.kind in "US" and np.dtype(f"{dtype.kind}{length}") == dtype
    return f"; the array's type, {dtype.kind}{length}, keeps no more" if fixed else ""


def _columns(x: Any) -> Iterator[tuple[str, list[str]]]:
    """The texts of each column that holds nothing else, and what it is called after "Texts"."""
    if x is None or 0 in np.shape(x):
        return
    if hasattr(x, "columns"):
        for name in x.columns:
            if np.ndim(x[name]) == 1 and (texts := _texts(np.asarray(x[name]))):
                yield f" in the column {name}", texts
        return
    array = tables.plain(x)
    if array.dtype.kind not in "USO" or array.ndim not in (1, 2):
        return
    whole = array.reshape(len(array), -1)
    for k in range(whole.shape[1]):
        if texts := _texts(whole[:, k]):
            yield "" if whole.shape[1] == 1 else f" in column {k} of x", texts


def _texts(values: np.ndarray) -> list[str]:
    """The texts among values [n] that hold nothing else but gaps; empty where others are there."""
    if values.dtype.kind not in "USO":
        return []
    there = values[~columns.missing(values)] if values.dtype.kind == "O" else values
    if not all(isinstance(value, str | bytes) for value in there[:LEAST].tolist()):
        return []
    texts = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in there.tolist()]
    return texts if all(isinstance(text, str) for text in texts) else []


def _cut_at(texts: list[str]) -> tuple[int, int] | None:
    """The greatest length and how many texts have it, where so many do that they were cut there; or None."""
    lengths, counts = np.unique([len(text) for text in texts], return_counts=True)
    if lengths[-1] < LONG or len(lengths) < LENGTHS or counts[-1] < max(LEAST, SHARE * len(texts)):
        return None
    if counts[-1] < BELOW * counts[:-1].max():
        return None
    longest = [text for text in texts if len(text) == lengths[-1]]
    if len(set(longest)) < LEAST or np.mean([" " in text.strip() for text in longest]) < SPACED:
        return None
    shorter = [text for text in texts if len(text) < lengths[-1]]
    inner = sorted({word.strip(_MARKS) for text in texts for word in text.split()[:-1]})
    if _torn(longest, inner) < _torn(shorter, inner) + WITHIN:
        return None
    return int(lengths[-1]), int(counts[-1])


def _torn(texts: list[str], inner: list[str]) -> float:
    """The share of texts that end in the beginning of one of the sorted words ``inner``, or in one space."""
    last = [text.split()[-1].strip(_MARKS) for text in texts if text.strip() and not text[-1].isspace()]
    follows = [(word, inner[at]) for word in last if (at := bisect.bisect_left(inner, word)) < len(inner)]
    spaced = sum(text[-1:].isspace() and not text[-2:-1].isspace() for text in texts)  # cut after a word; not padded
    return (spaced + sum(word != known and known.startswith(word) for word, known in follows)) / max(1, len(texts))
