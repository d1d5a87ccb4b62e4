"""Whatever answers in this process: a function, a fitted estimator, a ``Target``, or the answers themselves.

``answers`` asks it and gives what it answered, bit by bit, as probabilities [n, c]. What is no distribution is refused
in one line that says what the numbers look like and what to return instead.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from mia_jax.data import columns, tables
from mia_jax.targets import (
    answer_format,
    answer_kinds,
    asked_again,
    class_columns,
    defenses,
    labels_alone,
    other_numbers,
    unchanged,
)
from mia_jax.targets.answer_kinds import Kind
from mia_jax.types import Answers, Array, InputError, Target

FORMAT_RECORDS = 4096  # of a training set, at most, that tell what a model's answers look like
INSTEAD = {  # what rows of numbers are -> what to return instead
    "sigmoids": "p[:, k] with y[:, k], one label at a time, or p / p.sum(axis=1, keepdims=True), if each record has one"
    " class",
    other_numbers.OVER_RECORDS: "the softmax of the logits over the last axis (dim=-1): columns sum to 1 here",
}


INSIDE = ("logits", "probabilities", "probs", "scores")  # what answers are called in what holds them
LABELS = "its answers are labels, with no probability"  # a note


class Answered(NamedTuple):
    """What was answered about n records."""

    p: np.ndarray  # probabilities [n, c], as they were answered
    note: str = ""  # how they were read, where they were none
    kind: Kind | None = None  # what they were, of a function or an estimator
    in_place: bool = False  # the records were changed, of which the model had a copy


class NoNumber(InputError):
    """An answer that is not finite, as of a model whose training diverged.

    Args:
        called: whose it is.
        record: its number in the question.
        reason: what is wrong with it.
    """

    def __init__(self, called: str, record: int, reason: str):
        super().__init__(f"{called}, record {record}: {reason}")
        self.record, self.reason = record, reason


@dataclasses.dataclass(frozen=True)
class Asked:
    """``Target.ask`` of a model that answers in this process; ``answered`` has what it answers, bit by bit."""

    model: Any
    format: Answers
    called: str  # in messages
    kind: Kind | None = None  # what it answers, seen of all of its training records: a few rows may look like another
    changed: bool = False  # what trained it changed the records in place that it was given

    def answered(self, x: Any, names: Sequence[str] = ()) -> Answered:
        """What it answers about records [b, *f]; by the names of the classes, where there are such."""
        return answers(self.model, x, self.format.classes, called=self.called, kind=self.kind, names=names)

    def __call__(self, x: Array) -> np.ndarray:
        """Records [b, *f] -> log-probabilities [b, c]."""
        try:
            p = self.answered(x).p
        except NoNumber as wrong:
            raise answer_format.WrongAnswer(wrong.record, wrong.reason) from None
        answer_format.check(p, self.format, len(x))
        return answer_format.log_probabilities(p, self.format)


def format_rows(records: int) -> np.ndarray:
    """int [b]: of so many training records those that tell what a model's answers look like."""
    return np.unique(np.linspace(0, records - 1, FORMAT_RECORDS).astype(int))


def as_target(
    model: Any, x: Any, classes: int, *, called: str, records: int | None = None, changed: bool = False
) -> Target:
    """A Target of what answers in this process; its format is that of its answers about some of the records x [n, *f].

    Where no digits are certain, a zero is what was not met among n records: a format guessed from one model's answers
    would differ from the next one's, zero for zero.

    Args:
        model: as of ``answers``.
        x: records that it was trained on [n, *f].
        classes: c.
        called: what it is called in messages.
        records: how many it was trained on, where x are some of them.
        changed: what trained it changed its records in place.

    Raises:
        InputError: as ``answers``.
    """
    if isinstance(model, Target):
        return model
    try:
        first = answers(model, tables.take(x, format_rows(len(x))), classes, called=called)
        known, kind = shared_format(first.p, len(x) if records is None else records), first.kind
    except NoNumber:  # said where it is asked for
        known, kind = Answers(classes), None
    return Target(Asked(model, known, called, kind, changed), known, traced=False)


def shared_format(p: np.ndarray, records: int) -> Answers:
    """The format of answers p [b, c] of a model that was trained on so many records, as all such models have it."""
    known = answer_format.recognize(p)
    if known.kind == "labels" or known.digits is not None:
        return known
    zeros = bool((p == 0).any())
    return Answers(known.classes, least=min(1 / records, float(p[p > 0].min())) if zeros and p.any() else None)


def answers(
    model: Any,
    x: Any,
    classes: int | None = None,
    *,
    called: str = "predict",
    kind: Kind | None = None,
    names: Sequence[str] = (),
) -> Answered:
    """What a model answers about records.

    Args:
        model: a function of records [n, *f] that gives probabilities [n, c], logits or log-probabilities [n, c], the
            probability or the logit of class 1 [n] or [n, 1], or labels (integers [n]); an estimator with
            ``predict_proba``; a Target; or answers themselves.
        x: the records [n, *f], in whatever type the model takes.
        classes: c, where it is known; labels need it.
        called: what the model is called in messages.
        kind: of its answers, where they were seen before.
        names: of the classes in their order, by which labels that are text are read, and columns that have names.

    Raises:
        InputError: it raises, or its answers are none; it says what they look like. ``NoNumber``: one is not finite.
    """
    if isinstance(model, Target):
        if isinstance(model.ask, Asked):
            return model.ask.answered(x, names)._replace(note="")
        asked = x if tables.is_frame(x) and not model.traced else tables.plain(x)
        return Answered(np.asarray(defenses.probabilities(model.ask(asked), model.answers)))
    in_place = False
    if _is_saved(model):
        _refuse_outputs(model, called)
        given = class_columns.in_order(model, names, called)
    else:
        predict = _function(model, called)
        given, in_place = unchanged.ask(predict, x, called)
        _refuse_wrapped(given, called)
        _refuse_outputs(given, called)
        given = class_columns.in_order(given, names, called)
    read = _probabilities(_named(tables.plain(given), names, called), len(x), classes, called, kind)
    return read._replace(in_place=in_place)


def again(model: Any, x: Any, first: Answered, *, names: Sequence[str] = ()) -> asked_again.Again | None:
    """What a model answered about some records, and what it answers now; None of answers that were saved.

    Args:
        model, x, names: as of ``answers``.
        first: what it answered about x.
    """
    if isinstance(model, Target):
        if not isinstance(model.ask, Asked):
            return None
    elif _is_saved(model):
        return None

    def ask(some: Any) -> np.ndarray:
        return answers(model, some, first.p.shape[1], kind=first.kind, names=names).p

    return asked_again.ask(ask, x, first.p)


def _is_saved(model: Any) -> bool:
    """Whether these are answers that were saved: an array, a tensor, a data frame or series, lists of numbers."""
    if isinstance(model, np.ndarray | list | tuple) or hasattr(model, "detach"):
        return not callable(model)
    return hasattr(model, "__array__") and not callable(model) and not hasattr(model, "predict")


def _named(p: np.ndarray, names: Sequence[str], called: str) -> np.ndarray:
    """Answers; of labels [n] that are text the numbers of their classes. Raises InputError for one that is none."""
    if not names or p.dtype.kind not in "OUS" or not labels_alone.are_labels(p):
        return p
    try:
        read = labels_alone.of_models(p, p[:0], names)
    except answer_kinds.Faulty as error:
        raise InputError(f"{called}: {error.reason.removeprefix('target ')}") from None
    assert read is not None
    return np.asarray(read.target)


ONE_TASK = (
    "where y was one-hot, of one task, these are its classes:"
    " np.stack([p[:, 1] for p in model.predict_proba(x)], axis=1)"
)


def _refuse_outputs(given: Any, called: str) -> None:
    """Refuse a list of arrays [n, c], which a model of several outputs answers. Raises InputError."""
    if isinstance(given, list) and given and all(getattr(part, "ndim", 0) == 2 and len(part) > 1 for part in given):
        raise InputError(
            f"{called} gives a list of {len(given)} arrays [n, c], as a model of several outputs does: audit one at a"
            f" time, as lambda x: model.predict_proba(x)[0], with its y; {ONE_TASK}"
        )


def _refuse_wrapped(given: Any, called: str) -> None:
    """Refuse what has answers inside, as the output of Hugging Face does. Raises InputError."""
    if given is None:
        raise InputError(f"{called} returns None: return probabilities [n, c]; is there a return at its end?")
    inside = [name for name in INSIDE if hasattr(given, name)]
    if not hasattr(given, "shape") and inside:
        raise InputError(f"{called} returns {type(given).__name__}: return its .{inside[0]}")
    if isinstance(given, Mapping) and (named := [name for name in INSIDE if name in given]):
        raise InputError(f'{called} returns a dict of {", ".join(map(str, given))}: return its ["{named[0]}"]')
    if isinstance(given, Mapping) and given:
        raise InputError(
            f"{called} returns a dict of {', '.join(map(str, given))}: return one of them, its answers [n, c]"
        )
    scores = [k for k, part in enumerate(given) if _are_dicts(part)] if isinstance(given, list | tuple) else []
    if len(scores) == 1 < len(given):
        raise InputError(
            f"{called} returns {len(given)} parts, as the session of an ONNX model does, of which p[{scores[0]}] has"
            f" the scores, a dict for each record: return pandas.DataFrame(p[{scores[0]}]), or convert the model with"
            " zipmap=False"
        )
    if _are_dicts(given) and "score" not in given[0]:
        keys = ", ".join(map(str, given[0]))
        raise InputError(
            f"{called} returns a list of dicts of {keys}: return pandas.DataFrame(p), whose columns are read by their"
            " names, in whatever order each record has them"
        )
    parts = given if isinstance(given, tuple) else ()
    if len({getattr(part, "shape", None) for part in parts}) > 1 and any(getattr(part, "ndim", 0) for part in parts):
        raise InputError(f"{called} returns a tuple of {len(parts)}: return the part that has its answers [n, c]")


def _are_dicts(part: Any) -> bool:
    return isinstance(part, list) and bool(part) and isinstance(part[0], Mapping)


def _function(model: Any, called: str) -> Callable[[Any], Any]:
    if hasattr(model, "predict_proba") and not isinstance(model, type):
        return model.predict_proba
    bases = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if {"keras", "torch"} <= bases:  # Keras on PyTorch, whose models are modules, too
        return functools.partial(model.predict, verbose=0)
    if any(kind.__module__.startswith("torch.nn") for kind in type(model).__mro__):
        raise InputError(
            f"{called} is a PyTorch module, which gives tensors: give mia_jax.platforms.torch_predictor(it)"
        )
    if callable(model) and not isinstance(model, type):
        return model
    kind = model.__name__ if isinstance(model, type) else type(model).__name__
    if kind == "Booster" and not isinstance(model, type):  # of XGBoost or LightGBM
        move = "lambda x: booster.predict(xgboost.DMatrix(x))" if "xgboost" in bases else "booster.predict"
        raise InputError(f"{called} is a Booster of {'XGBoost' if 'xgboost' in bases else 'LightGBM'}: give {move}")
    scores = hasattr(model, "decision_function") and not isinstance(model, type)  # LinearSVC
    raise InputError(
        f"{called} is {'the class ' if isinstance(model, type) else ''}{kind}, which answers nothing: give a function"
        " of records [n, ...] that returns probabilities [n, c], such as model.predict_proba"
        + (", or its decisions as logits, model.decision_function" if scores else "")
    )


def _probabilities(p: np.ndarray, rows: int, classes: int | None, called: str, kind: Kind | None) -> Answered:
    """What was answered about so many records as probabilities [n, c]. Raises InputError."""
    if p.dtype.kind not in "biuf":
        if p.dtype == object:
            if (lacking := columns.missing(p).reshape(len(p), -1).any(axis=1)).any():
                class_columns.refuse_missing(np.flatnonzero(lacking).tolist(), called)
            if isinstance(p.flat[0], Mapping):
                raise InputError(f"{called} has a dict for each record: give pandas.DataFrame(list(p)), read by names")
            raise InputError(
                f"{called} returns Python objects: return numbers, p.astype(float), or np.stack(p) where each is"
                " an array"
            )
        if advice := other_numbers.of_another_type("p", p) if p.dtype.kind == "V" else None:
            raise InputError(f"{called}: {advice}")
        labels = ", or its labels as numbers of classes" if p.dtype.kind in "US" and p.ndim == 1 else ""
        raise InputError(
            f"{called} returns {p.dtype}, no numbers: return probabilities [n, c], as predict_proba does{labels}"
        )
    if p.shape[:1] != (rows,) or p.ndim not in (1, 2) or p.shape[1:] == (0,):
        raise InputError(
            f"{called} returns an array of shape {p.shape} for {rows:,} records: return probabilities [{rows}, c], a"
            f" row for each record{tables.turned('p', p.shape, (rows, classes))}"
        )
    if labels_alone.are_labels(p):
        p = p.reshape(rows)
        found = max(classes or 2, int(p.max()) + 1)
        if said := labels_alone.of_bytes(p):
            raise InputError(f"{called} returns {said}")
        if p.min() < 0:
            raise InputError(f"{called} returns the label {p.min()}: classes are numbered from 0")
        _check_classes(found, classes, called)
        return Answered(answer_format.one_hot(p.astype(int), found), LABELS)
    if p.ndim == 1 or p.shape[1] == 1:
        _check_two(p, classes, called)
    else:
        _check_classes(p.shape[1], classes, called)
    p = p if p.dtype.kind == "f" else p.astype(np.float32)
    try:
        found = answer_kinds.read(p, kind=kind)
    except answer_kinds.Faulty as error:
        _refuse(p, error, called)
    return Answered(found.p, found.note and f"its answers are {found.note}", found.kind)


def _check_classes(found: int, classes: int | None, called: str) -> None:
    if classes is not None and found != classes:
        raise InputError(
            f"{called} answers over {found} classes, and there are {classes}: return a column for each class, 0 where"
            " the model does not know it"
        )


def _check_two(p: np.ndarray, classes: int | None, called: str) -> None:
    if classes is not None and classes != 2:
        raise InputError(
            f"{called} returns one number for each record, and there are {classes} classes: return probabilities"
            f" [n, {classes}]"
        )


def _refuse(p: np.ndarray, error: answer_kinds.Faulty, called: str) -> NoReturn:
    """Raises InputError: what is wrong with answers p [n] or [n, c], and what to return instead."""
    if (no_answer := answer_kinds.unreadable(p)).any():
        wrong = {} if p.ndim == 1 else answer_format.faults(p, answer_format.recognize(np.nan_to_num(p)))
        row = int(np.argmax(no_answer))
        raise NoNumber(called, row, wrong.get(row, "it is not finite"))
    if error.row is None and p.ndim == 2 and p.shape[1] > 1 and (kind := other_numbers.mistaken_for(p)) != "logits":
        instead = INSTEAD.get(kind) or other_numbers.TURNED[kind].format("p")
        raise InputError(f"{called}: its rows look like {kind} ({other_numbers.beginning(p[0])}): return {instead}")
    if error.row is None:
        regression = "; of a regression give `signal=squared_error`" if p.ndim == 1 or p.shape[1] == 1 else ""
        raise InputError(f"{called}: {error.reason}{regression}")
    raise InputError(
        f"{called}, record {error.row}: {error.reason}; {other_numbers.mended(p, error.row, verb='return')}"
    )
