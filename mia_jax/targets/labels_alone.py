"""Saved answers that are labels alone, as ``predict`` gives them: 1 for the answered class, 0 for the others.

Whole numbers of an integer type, or text, one for each record: [n] of a target, [S, n] of shadows. Of two classes 0 and
1 mean the same, whether they are taken for labels or for the probability of class 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.data import columns
from mia_jax.targets import answer_format, answer_kinds

VARIOUS, FULL, LOW = 8, 250, -100  # different numbers, at least, and the ends of what fills a byte


def are_labels(values: np.ndarray) -> bool:
    """Whether answers are labels alone: whole numbers of such a type, or text that is no number, one for each record.

    Args:
        values: of one model, [n] or [n, 1].
    """
    if values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)) or not len(values):
        return False
    if values.dtype.kind in "OUS":
        return (
            all(isinstance(value, str | bytes) for value in values.flat)
            and columns.plain_numbers(values.reshape(-1)) is None
        )
    return values.dtype.kind in "biu"


def of_bytes(values: np.ndarray) -> str | None:
    """What whole numbers [n] are that fill a byte, as the one output of a quantized model, and what to save; or None.

    Labels of 250 classes and more are hardly ever stored so.
    """
    if values.dtype not in (np.uint8, np.int8) or len(np.unique(values)) < VARIOUS:
        return None
    turned = "a quantized probability of class 1? save"
    if values.dtype == np.int8 and values.min() <= LOW:
        return f"bytes from {values.min()} to {values.max()}, no labels: {turned} (p + 128.0) / 255"
    if values.dtype == np.uint8 and values.max() >= FULL:
        return f"bytes up to {values.max()}, no labels: {turned} p / 255; of labels p.astype(int)"
    return None


def probabilities(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels [...] as 1 for the answered class and 0 for the others, [..., c], over so many classes at least."""
    classes = max(classes, int(labels.max(initial=0)) + 1)
    return answer_format.one_hot(labels.reshape(-1), classes).reshape(*labels.shape, classes)


class Labels(NamedTuple):
    """Answers of a target and of shadows that are labels alone, by the numbers of their classes."""

    target: np.ndarray | None  # int [n]
    shadows: np.ndarray  # int [S, n]
    names: tuple[str, ...]  # of the classes 0, 1, ..., where labels are text
    note: str  # what was made of them, in a sentence

    def probabilities(self, classes: int) -> tuple[np.ndarray | None, np.ndarray]:
        """1 for the answered class and 0 for the others, [n, c] and [S, n, c], over so many classes at least."""
        given = [self.shadows, *([] if self.target is None else [self.target])]
        classes = max(classes, 2, len(self.names), *(int(labels.max()) + 1 for labels in given if labels.size))
        return None if self.target is None else probabilities(self.target, classes), probabilities(
            self.shadows, classes
        )


def of_models(target: np.ndarray | None, shadows: np.ndarray, names: Sequence[str] = ()) -> Labels | None:
    """Answers that are labels alone; None where they are not.

    Args:
        target: what it answers [n, ...]; None: of the shadows alone.
        shadows: the same of S shadows, [S, n, ...]; beside a target, S may be 0.
        names: of the classes 0, 1, ..., where the records' own labels are text.

    Raises:
        Faulty: a label below 0, or one that is no class of these; it names the array.
    """
    arrays = {f"shadows[{k}]": p for k, p in enumerate(shadows)} | ({} if target is None else {"target": target})
    if not arrays or not all(map(are_labels, arrays.values())):
        return None
    given = arrays
    if text := [name for name, values in arrays.items() if values.dtype.kind in "OUS"]:
        if len(text) < len(arrays):
            other = next(name for name in arrays if name not in text)
            raise answer_kinds.Faulty(f"{text[0]} holds labels as text and {other} as numbers: save the same of all")
        known = {name: k for k, name in enumerate(names)}
        arrays = {name: columns.as_text(values.reshape(-1)) for name, values in arrays.items()}
        if not known:
            raise answer_kinds.Faulty(
                f"{text[0]} holds labels as text ({arrays[text[0]][0]}): give the records' own so, too"
            )
        for name, values in arrays.items():
            if odd := sorted({*values.tolist()} - known.keys()):
                raise answer_kinds.Faulty(
                    f"{name} holds the label {odd[0]}, and the records' are {columns.listed(list(known))}"
                )
        arrays = {name: np.array([known[v] for v in values.tolist()]) for name, values in arrays.items()}
    arrays = {name: values.reshape(-1).astype(int) for name, values in arrays.items()}
    for name, values in arrays.items():
        if said := of_bytes(np.asarray(given[name])):
            raise answer_kinds.Faulty(f"{name} holds {said}")
        if values.min() < 0:
            raise answer_kinds.Faulty(
                f"{name} holds the label {values.min()}: number the classes from 0, as the records' labels"
            )
    own = arrays.pop("target", None)
    whose = "the shadows" if own is None else "target and shadows" if arrays else "the target"
    each = np.stack([*arrays.values()]) if arrays else np.zeros((0, len(own if own is not None else ())), int)
    return Labels(own, each, tuple(names) if text else (), f"Answers of {whose} are labels, with no probability.")
