"""What a service answers: vectors of probabilities, labels, scores by class name, one probability of the second class.

A protocol leaves that open. ``elements`` finds the records in a JSON value, ``learn`` finds out from the reply to a
probe what they are, ``read`` then reads every reply that way.
"""

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax import sanitize
from mia_jax.targets.answer_format import TargetError, faults, one_hot, recognize
from mia_jax.targets.remote import answer_keys, class_names, errors, no_probabilities
from mia_jax.targets.remote.errors import Unknown
from mia_jax.types import Answers, InputError

# One element per record: a list of numbers, a label, a number, {class name: score}, or Scored; or an array [b, c].
Reply = Sequence[Any] | np.ndarray


class Scored(NamedTuple):
    """A label and one number, which is a score of that label, or of the second of two classes: ``learn`` decides."""

    label: Any
    score: Any
    own: bool  # as a rule the label's own, where the service says nothing else


Form = Literal["vectors", "labels", "scores", "positive"]


class Reading(NamedTuple):
    """What a service's replies mean."""

    form: Form
    answers: Answers
    names: tuple[str, ...] | None  # the classes' names, in order; None: they are called 0, 1, ...


NAMES = "(`class_names`)"
MANY = 20  # above it, whole numbers may well be percentages, and labels only of as many classes


class OtherForm(TargetError):
    """A reply that is not of the form that was learned."""


# --- elements --------------------------------------------------------------------------------------------------------

_SCORES = ("probabilities", "scores", "predict_proba", "confidences", "score", "confidence", "probability")
_ROWS = ("probabilities", "predict_proba", "scores", "prediction", "outputs", "output", "results", "result")  # of all
_LABELS = answer_keys.LABELS


def elements(value: Any, b: int) -> Reply:
    """One element for each of b records from the JSON forms in use: ``{"predictions": [...]}``, or the bare list.

    A list of b under another usual name is read, too, where it is the only one; of labels and probabilities side by
    side the latter, with a note (``answer_keys.Noted``).

    Raises:
        Unknown: it is of another form; its outline is told.
        InputError: two keys hold probabilities, and they differ.
    """
    value = _without_percent_signs(_from_text(value))
    if picked := answer_keys.pick(value, b):
        read = elements(picked.rows, b)
        if isinstance(value, dict) and (called := class_names.of_columns(value, read)):
            read = [None if row is None else dict(zip(called, row, strict=True)) for row in read]
        return answer_keys.Noted(read, picked.said) if picked.said else read
    rows = _rows(value, b) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise _unknown(value)
    if len(rows) == 1 != b and isinstance(rows[0], list) and len(rows[0]) == b:  # all in a list of their own
        rows = rows[0]
    elif b == 1 < len(rows) and all(isinstance(one, dict) and _scored(one) for one in rows):
        rows = [rows]  # all classes of the one record
    if rows and isinstance(rows[0], list) and len(rows[0]) > 1 and isinstance(rows[0][0], (int, float)):
        return rows  # vectors, as most services answer
    try:
        return [_element(row) for row in rows]
    except ValueError:
        raise _unknown(value) from None


def _from_text(value: Any) -> Any:
    """A JSON value that was written as text into JSON, as a scoring script of Azure ML does that returns json.dumps."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _rows(value: Mapping[str, Any], b: int) -> Any:
    """The answers to b records in an object; None where none are, or several lists might be."""
    if "predictions" in value:
        return value["predictions"]
    usual = [value[name] for name in _ROWS if name in value]
    return usual[0] if len(usual) == 1 and isinstance(usual[0], list) and len(usual[0]) == b else None


_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,20})?)\s*%\s*")


def _without_percent_signs(value: Any, depth: int = 6) -> Any:
    """A JSON value in which "97.3%" is .973."""
    match value if depth else None:
        case str() if "%" in value and (percent := _PERCENT.fullmatch(value)):
            return float(f"{percent[1]}e-2")
        case list() if not (value and isinstance(value[0], (int, float))):
            return [_without_percent_signs(one, depth - 1) for one in value]
        case dict():
            return {key: _without_percent_signs(one, depth - 1) for key, one in value.items()}
    return value


def _unknown(value: Any) -> Unknown:
    return Unknown(
        f"its answer is of a form that is not known, {sanitize.outline(value)}; what is known: a list of probabilities,"
        ' a label or {"label": ..., "score": ...} for each record, in {"predictions": [...]}'
    )


def _scored(element: Mapping[str, Any]) -> Scored | None:
    """A label with one score, if the element holds that."""
    label, score = (next(((k, element[k]) for k in keys if k in element), None) for keys in (_LABELS, _SCORES))
    if label is None or score is None or not all(_is_plain(value) for _, value in (label, score)):
        return None
    # Amazon's linear learner tells the label beside the score of class 1; elsewhere a score is that of its label.
    return Scored(label[1], score[1], own=label[0] != "predicted_label")


def _element(element: Any) -> Any:
    """One record's answer. Raises ValueError where it is none."""
    match element:
        case dict():
            return _from_object(element)
        case [only]:
            return _element(only)
        case [dict(), *_]:  # every class with its score
            scored = [one for each in element if isinstance(each, dict) and (one := _scored(each)) is not None]
            by_label = {str(one.label): one.score for one in scored}
            if len(by_label) < len(element):  # one has no score, or two have a label in common
                raise ValueError
            return by_label
        case list():
            if not all(_is_plain(value) or value is None for value in element) or not element:
                raise ValueError
            return element
        case str():
            if element.lstrip()[:1] in ("{", "["):  # JSON in a string
                raise ValueError
            with contextlib.suppress(ValueError):
                if not (number := float(element)).is_integer():
                    return number
            with contextlib.suppress(ValueError):
                if "," in element and any("." in part for part in element.split(",")):  # a line of CSV
                    return [float(part) for part in element.split(",")]
            return element
        case None | int() | float():
            return element
    raise ValueError


def _from_object(element: dict[str, Any]) -> Any:
    scores = next((element[k] for k in _SCORES if k in element), None)
    labels = next((element[k] for k in _LABELS if k in element), None)
    if scored := _scored(element):
        return scored
    match scores, labels:
        case list(), list():
            if len(scores) != len(labels) or len({*map(str, labels)}) < len(labels):
                raise ValueError
            return dict(zip(map(str, labels), scores, strict=True))
        case ((list() | dict()), _):
            return _element(scores) if isinstance(scores, list) else _by_name(scores)
        case None, None:
            return _by_name(element)
        case None, _ if _is_plain(labels):
            return labels
        case _, None if _is_plain(scores):
            return scores
    raise ValueError


def _by_name(scores: dict[str, Any]) -> dict[str, Any]:
    if not scores or not all(_is_number(score) for score in scores.values()):
        raise ValueError
    return scores


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _is_number(value: Any) -> bool:
    """A number, NaN and null among them: what is wrong with a score is for ``answer_format.faults`` to say."""
    if value is None or isinstance(value, (int, float)):
        return True
    try:
        return isinstance(value, str) and bool(math.isfinite(float(value)))
    except ValueError:
        return False


# --- what replies mean -----------------------------------------------------------------------------------------------


def learn(
    reply: Reply, classes: int | None = None, names: Sequence[str] | None = None, beside: Sequence[str] = ()
) -> Reading:
    """Find out what a service answers.

    Args:
        reply: to some sixteen records; with fewer, rounding and top-k may pass for something else.
        classes: their number; needed where answers do not show it (labels, the k best).
        names: the classes' names in order, where a service answers with names.
        beside: the names, in order, of the labels beside the records: those of the classes where a service's are these.

    Raises:
        InputError: the reply leaves open what only the caller can know.
        TargetError: it is no reply.
    """
    if len(reply) == 0:
        raise TargetError("the service answered with no prediction at all")
    names = None if names is None else tuple(map(str, names))
    classes = len(names) if names is not None else classes
    answered = reply
    if any(element is None for element in reply) and not (answered := [one for one in reply if one is not None]):
        raise Unknown("its answer to every record is null: see whether it takes the records as they are sent")
    if names is None and classes in (None, len(beside)) and class_names.are_called(answered, beside):
        names, classes = tuple(beside), len(beside)
    form, classes = _form(answered, classes, names)
    reading = Reading(form, Answers(classes), names)
    if form == "labels":
        return reading._replace(answers=Answers(classes, "labels"))
    try:
        p = read(answered, len(answered), reading)
    except OtherForm:
        other = next((one for one in answered if type(one) is not type(answered[0])), None)
        first = sanitize.outline(answered[0]) + ("" if other is None else f", and another {sanitize.outline(other)}")
        raise Unknown(f"its answers are of a form that is not known, or not all of one; the first is {first}") from None
    answers = recognize(np.nan_to_num(p), few=True)
    if form == "scores" and classes > 2 and any(len(_by_class(row)) < classes for row in answered):
        answers = answers._replace(kind="top_k", k=max(len(_by_class(row)) for row in answered), least=None)
    finite = p[np.isfinite(p).all(axis=1)]
    if 1 < len(finite) <= 2 * len(faults(finite, answers)):  # most of them are none: no accident
        raise Unknown(no_probabilities.told(finite if form != "positive" else finite[:, 1:]))
    return reading._replace(answers=answers)


def _form(reply: Reply, classes: int | None, names: tuple[str, ...] | None) -> tuple[Form, int]:
    first = reply[0]
    give = "give the number of classes (`num_classes`), or their names in order (`class_names`)"
    if isinstance(first, Scored):
        if first.own and classes is None:
            raise InputError(
                "the service answers with its best label and that label's score"
                f" ({sanitize.quoted(first.label)}): {give}"
            )
        return ("positive", 2) if _is_of_second_class(reply, classes, names) else ("scores", classes or 2)
    if isinstance(first, dict):
        named = len(first)
        numbered = all({*map(str, range(named))} == {str(name).removeprefix("LABEL_") for name in row} for row in reply)
        if classes is None and (named < 2 or (names is None and not numbered)):
            called = ", ".join(sanitize.quoted(name) for name in list(first)[:4])
            raise InputError(
                f"the service answers with scores of classes called {called}, ...: give the names of all classes in"
                f" order {NAMES}, or their number where they are called 0, 1, ... (`num_classes`)"
            )
        return "scores", classes or named
    if isinstance(first, (list, np.ndarray)):
        shape = np.shape(first)
        if len(shape) != 1:
            raise Unknown(f"its answer to a record has shape {list(shape)}; needed: one probability for each class")
        if classes not in (None, shape[0]):
            raise InputError(
                f"the service answers with {shape[0]} probabilities, and you said {classes} classes (`num_classes`,"
                " `class_names`): leave that out, or mend it"
            )
        return "vectors", shape[0]
    if not all(_is_label(value) for value in reply):
        if classes not in (None, 2):
            raise InputError(
                f"the service answers with one number for each record ({sanitize.quoted(first)}), which could be the"
                f" probability of the second of two classes, and you said {classes}: serve a probability for each class"
            )
        return "positive", 2
    if classes is None:
        numbers = [value for value in reply if isinstance(value, (int, float))]
        many = len(numbers) == len(reply) and max(numbers) > MANY and min(numbers) >= 0
        scores = "; where they are percentages, or another score, of the second of two classes, serve probabilities"
        raise InputError(f"the service answers with labels ({sanitize.quoted(first)}): {give}{scores * many}")
    return "labels", classes


def _is_of_second_class(reply: Reply, classes: int | None, names: tuple[str, ...] | None) -> bool:
    """Whether scores beside labels are those of the second of two classes, whatever the label.

    The best of two labels has a score of a half or more. So where the first class's have that they are their own, and
    where all of them are below they are the other's; in between, what is usual where they stand decides.
    """
    scored = [row for row in reply if isinstance(row, Scored)]
    reading = Reading("scores", Answers(classes or 2), names)
    with contextlib.suppress(TargetError, ValueError, TypeError, OverflowError):  # a third class, or no class at all
        column = [_column(row.label, reading) for row in scored]
        first = [float(row.score) for row, c in zip(scored, column, strict=True) if c == 0]
        second = [float(row.score) for row, c in zip(scored, column, strict=True) if c == 1]
        if classes in (None, 2) and first and min(first) >= 0.5:
            return False
        if classes in (None, 2) and first and max(first) < 0.5 <= min(second, default=1.0):
            return True
        return classes in (None, 2) and not scored[0].own
    return False


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())


def read(reply: Reply, b: int, reading: Reading) -> np.ndarray:
    """The reply to b records as probabilities float64 [b, c]; ``answer_format.faults`` says whether they are any.

    Raises:
        Unknown: an answer has another shape than those before.
        TargetError: rows are missing, or not what the service answered before.
    """
    if len(reply) != b:
        raise TargetError(errors.numbers(b, len(reply)))
    classes = reading.answers.classes
    try:
        if isinstance(reply, list) and any(
            element is None for element in reply
        ):  # where a service abstains; ``faults`` then says so
            p = np.full((b, classes), np.nan)
            answered = [i for i, element in enumerate(reply) if element is not None]
            if answered:
                p[answered] = read([reply[i] for i in answered], len(answered), reading)
            return p
        match reading.form:
            case "vectors":
                p = np.asarray(reply, np.float64)
                if p.shape != (b, classes):
                    raise Unknown(f"its answer has shape {p.shape}, expected ({b}, {classes})")
                return p
            case "positive":
                p = np.array([row.score if isinstance(row, Scored) else row for row in reply], np.float64)
                if p.shape != (b,):
                    raise Unknown(f"its answer has shape {p.shape}, expected ({b},)")
                return np.stack([1 - p, p], axis=1)
            case "labels":
                return one_hot(np.array([_column(label, reading) for label in reply]), classes).astype(np.float64)
            case _:
                p = np.zeros((b, classes))
                for row, scores in zip(p, map(_by_class, reply), strict=True):
                    for label, score in scores.items():
                        row[_column(label, reading)] = np.nan if score is None else float(score)
                    if classes == 2 and len(scores) == 1:  # the other class has the rest
                        row[1 - _column(label, reading)] = 1 - row[_column(label, reading)]
                return p
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise OtherForm(f"the answer is not of the form it had before ({reading.form})") from None


def _by_class(element: Any) -> Mapping[str, Any]:
    return {element.label: element.score} if isinstance(element, Scored) else element


def _column(label: Any, reading: Reading) -> int:
    """The class that a label means: by its name, or its number (``LABEL_3`` is Hugging Face's name for 3)."""
    if reading.names is not None:
        if str(label) in reading.names:
            return reading.names.index(str(label))
        raise TargetError(
            f"the service answered with the class {sanitize.quoted(label)}, which is not among the names given: name"
            " every class"
        )
    if numbered := re.fullmatch(r"LABEL_(\d{1,9})", label) if isinstance(label, str) else None:
        label = int(numbered[1])
    try:
        column = int(float(label))
        known = column == float(label) and 0 <= column < reading.answers.classes
    except (ValueError, OverflowError):
        raise TargetError(
            f"the service answered with the class {sanitize.quoted(label)}: give the names of all classes in order"
            f" {NAMES}"
        ) from None
    if not known:
        raise TargetError(
            f"the service answered with the class {sanitize.quoted(label)}, and there are"
            f" {reading.answers.classes}, from 0"
        )
    return column
