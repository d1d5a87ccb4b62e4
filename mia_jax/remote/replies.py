"""What a service answers: vectors of probabilities, labels, scores by class name, one probability of the second class.

A protocol leaves that open. ``learn`` finds out from the reply to a probe, ``read`` then reads every reply that way.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax.targets import TargetError, one_hot, recognise
from mia_jax.types import Answers, InputError

Reply = Sequence[Any]  # one element per record: a list of numbers, a label, a number, or {class name: score}


class Reading(NamedTuple):
    """What a service's replies mean."""

    form: Literal["vectors", "labels", "scores", "positive"]
    answers: Answers
    names: tuple[str, ...] | None  # the classes' names, in order; None: they are called 0, 1, ...


# --- elements ---


def elements(value: Any) -> Reply:
    """One element per record from the JSON forms in use: ``{"predictions": [...]}``, or the bare list."""
    if isinstance(value, dict):
        value = value["predictions"]
    if not isinstance(value, list):
        raise ValueError("the reply holds no list of predictions")
    if value and isinstance(value[0], list) and len(value[0]) > 1:  # vectors, as most services answer
        return value
    return [_element(element) for element in value]


def _element(element: Any) -> Any:
    if isinstance(element, dict):
        scores = next((element[k] for k in ("probabilities", "scores", "score", "predict_proba") if k in element), None)
        labels = next((element[k] for k in ("classes", "labels", "displayNames") if k in element), None)
        if scores is None:
            return element.get("predicted_label", element)
        return dict(zip(map(str, labels), scores, strict=True)) if labels is not None else scores
    return element[0] if isinstance(element, list) and len(element) == 1 else element


# --- what replies mean -----------------------------------------------------------------------------------------------


def learn(reply: Reply, classes: int | None = None, names: Sequence[str] | None = None) -> Reading:
    """Find out what a service answers.

    Args:
        reply: to some sixteen records; with fewer, rounding and top-k may pass for something else.
        classes: their number; needed where answers do not show it (labels, the k best).
        names: the classes' names in order, where a service answers with names.

    Raises:
        InputError: the reply leaves open what only the caller can know.
        TargetError: it is no reply.
    """
    if len(reply) == 0:
        raise TargetError("the service answered with no prediction at all")
    names = None if names is None else tuple(map(str, names))
    classes = len(names) if names is not None else classes
    first = reply[0]
    if isinstance(first, dict):
        form, told = "scores", len(first)
        if classes is None:
            if names is None and any({*map(str, range(told))} != {*map(str, row)} for row in reply):
                raise InputError(
                    f"the service answers with scores of classes called {', '.join(map(repr, list(first)[:4]))}, ...:"
                    " give the names of all classes in order (--class_names=a,b,c; names= of connect), or their number"
                    " where they are called 0, 1, ... (--num_classes)"
                )
            classes = told
    elif isinstance(first, (list, np.ndarray)):
        form, told = "vectors", len(first)
        if classes not in (None, told):
            raise InputError(
                f"the service answers with {told} probabilities, and you said {classes} classes (--num_classes,"
                " --class_names): leave that out, or mend it"
            )
        classes = told
    elif not all(_is_label(value) for value in reply):
        form, told, classes = "positive", 2, 2
    else:
        form, told = "labels", 0
        if classes is None:
            raise InputError(
                f"the service answers with labels ({first!r}): give the number of classes (--num_classes), or their"
                " names in order (--class_names=a,b,c; names= of connect)"
            )
    reading = Reading(form, Answers(classes), names)
    if form == "labels":
        return reading._replace(answers=Answers(classes, "labels"))
    p = read(reply, len(reply), reading)
    answers = recognise(np.nan_to_num(p))
    if form == "scores" and any(len(row) < classes for row in reply):
        answers = answers._replace(kind="top_k")
    return reading._replace(answers=answers)


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())


def read(reply: Reply, b: int, reading: Reading) -> np.ndarray:
    """The reply to b records as probabilities float64 [b, c]; whether they are any is for ``targets.faults`` to say.

    Raises:
        TargetError: rows are missing, or not what the service answered before.
    """
    if len(reply) != b:
        raise TargetError(f"{b} records were asked about and {len(reply)} answered")
    classes = reading.answers.classes
    try:
        match reading.form:
            case "vectors":
                p = np.asarray(reply, np.float64)
                if p.shape != (b, classes):
                    raise TargetError(f"the answer has shape {p.shape}, expected ({b}, {classes})")
                return p
            case "positive":
                p = np.asarray(reply, np.float64)
                return np.stack([1 - p, p], axis=1)
            case "labels":
                return one_hot(np.array([_column(label, reading) for label in reply]), classes).astype(np.float64)
            case _:
                p = np.zeros((b, classes))
                for row, scores in zip(p, reply, strict=True):
                    for label, score in scores.items():
                        row[_column(label, reading)] = float(score)
                return p
    except (ValueError, TypeError, AttributeError):
        raise TargetError(f"the answer is not of the form it had before ({reading.form})") from None


def _column(label: Any, reading: Reading) -> int:
    if reading.names is not None:
        if str(label) in reading.names:
            return reading.names.index(str(label))
        raise TargetError(
            f"the service answered with the class {str(label)!r}, which is not among the names given: name every class"
        )
    column = int(float(label))
    if column != float(label) or not 0 <= column < reading.answers.classes:
        raise TargetError(f"the service answered with the class {label!r}, and there are {reading.answers.classes}")
    return column
