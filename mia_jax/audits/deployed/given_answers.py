"""Saved answers that somebody gives ``infer``, checked: each refusal names the array and what it should be."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from mia_jax.checks.labels import largest_of_two
from mia_jax.data import class_labels, files, tables, truths
from mia_jax.targets import answer_format, answer_kinds, class_columns, labels_alone, other_numbers
from mia_jax.types import Array, InputError


class Answered(NamedTuple):
    """Records of which only the answers are left: labels [m], target [m, c], shadows [S, m, c]."""

    labels: Array
    target: Array
    shadows: Array


def refuse_masked(**given: Any) -> None:
    """Refuse NumPy masked arrays in which something is masked: what lies under a mask is no answer.

    Args:
        given: arrays by name, or mappings and tuples of such.

    Raises:
        InputError: naming the array and the place.
    """
    for name, value in given.items():
        if isinstance(value, Mapping):
            refuse_masked(**{f"{name}[{key!r}]": one for key, one in value.items()})
        elif isinstance(value, (list, tuple)):
            refuse_masked(**{f"{name}[{k}]": one for k, one in enumerate(value) if not np.isscalar(one)})
        elif np.ma.is_masked(value):
            where = np.argwhere(np.ma.getmaskarray(value))[0]
            raise InputError(
                f"{name} is a masked array, masked at {where.tolist()} and {int(np.ma.count_masked(value)) - 1:,} other"
                " places: leave such records out of all arrays, or ask again; nothing is known of what is masked"
            )


def in_order(labels: Any, target: Any, shadows: Any, population: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Answers as arrays; of data frames with named columns in the order of the classes.

    Args:
        labels: of any kind, [n].
        target: [n, c], an array, a list or a data frame.
        shadows: [S, n, c], an array or a list of what ``target`` may be.
        population: as of ``of_population``, or None.

    Raises:
        InputError: as ``class_columns.in_order``.
    """
    names = class_columns.names_of(labels, target)
    own = tables.plain(class_columns.in_order(target, names, "target"))
    each = tables.plain(class_columns.of_models(shadows, names))
    group = () if population is None else population
    group = group if isinstance(group, Mapping) else dict(zip(Answered._fields, group, strict=False))
    if group.keys() == {*Answered._fields}:
        more = class_columns.in_order(group["target"], names, 'population["target"]')
        others = class_columns.of_models(group["shadows"], names, 'population["shadows"]')
        population = {**group, "target": tables.plain(more), "shadows": tables.plain(others)}
    return own, each, population


def as_probabilities(asked: Answered, population: Any) -> tuple[Answered, Any, str]:
    """Answers that are logits, log-probabilities or one number for each record, as probabilities.

    Args:
        asked: labels [n], target [n, c] or [n], shadows [S, n, c] or [S, n].
        population: as of ``of_population``, by the same models, so of the same kind; or None.

    Returns:
        Both as probabilities, and what was made of them in a sentence; as they are, and "", where the target's answers
        are probabilities, or nothing that can be told.

    Raises:
        InputError: target and shadows answer in several kinds.
    """
    target, shadows = np.asarray(asked.target), np.asarray(asked.shadows)
    if (target.ndim, shadows.ndim) == (1, 3) and shadows.shape[2] == 1:  # one number for each record, written both ways
        shadows = shadows[..., 0]
    elif (target.ndim, shadows.ndim) == (2, 2) and target.shape[1] == 1:
        target = target[:, 0]
    if (target.ndim, shadows.ndim) == (1, 2) and (hint := tables.turned("shadows", shadows.shape, (None, len(target)))):
        raise InputError(f"shadows are [S, {len(target)}], as target; they have shape {shadows.shape}{hint}")
    if labels_alone.are_labels(target):
        return _of_labels(asked, target, shadows, population)
    if target.dtype.kind != "f" or target.ndim not in (1, 2) or 0 in target.shape or shadows.shape[1:] != target.shape:
        return asked, population, ""
    try:
        kind = answer_kinds.kind_of(target, "target")
        if kind == "probabilities":
            return asked, population, ""
        read = answer_kinds.of_models(target, shadows)
    except answer_kinds.Faulty as error:
        if target.ndim == 2 and target.shape[1] > 1 and error.row is not None:
            return asked, population, ""  # of which ``checked`` says more
        raise InputError(str(error)) from None
    if population is not None:
        names = tuple(population) if isinstance(population, Mapping) else Answered._fields
        group = dict(population) if isinstance(population, Mapping) else dict(zip(names, population, strict=False))
        for name in ("target", "shadows"):
            if name in group:
                values = np.asarray(group[name])
                column = values.shape[-1:] == (1,) and values.ndim > (name == "shadows") + 1
                group[name] = answer_kinds.probabilities(values[..., 0] if column else values, kind)
        population = group
    return Answered(asked.labels, cast(np.ndarray, read.target), read.shadows), population, read.note


def _of_labels(asked: Answered, target: np.ndarray, shadows: np.ndarray, population: Any) -> tuple[Answered, Any, str]:
    """``as_probabilities`` of a target's labels alone [n]. Raises InputError."""
    try:
        known = class_labels.beside(asked.labels)
    except ValueError:  # of which ``numbered`` says more
        return asked, population, ""
    try:
        found = labels_alone.of_models(target, shadows, known.names)
    except answer_kinds.Faulty as error:
        raise InputError(str(error)) from None
    if found is None or population is not None:
        return asked, population, ""
    own, each = found.probabilities(int(known.y.max()) + 1)
    return Answered(known.y, cast(np.ndarray, own), each), None, found.note


def refuse_turned(labels: Any, target: np.ndarray) -> None:
    """Refuse answers of the target [c, n], or several of each record [n, k, c], for the n records that have labels.

    Raises:
        InputError: they are such; with what turns them.
    """
    n = len(labels)
    several = target.ndim == 3 and len(target) == n
    if (several or (target.ndim == 2 and len(target) != n)) and (
        hint := tables.turned_answers("target", target.shape, (n, None))
    ):
        raise InputError(f"target holds probabilities [{n}, c], as there are labels; it has shape {target.shape}{hint}")


def of_population(
    population: Mapping[str, Array] | tuple[Array, Array, Array], num_shadows: int, classes: int
) -> Answered:
    """Answers about m records that trained no model, by the same shadows.

    Args:
        population: labels [m], target [m, c] and shadows [S, m, c], by these names or in this order.
        num_shadows: S.
        classes: c.

    Raises:
        InputError: something is missing, or has another shape.
        WrongAnswer: a row is no distribution.
    """
    names = tuple(population) if isinstance(population, Mapping) else Answered._fields[: len(population)]
    if set(names) != set(Answered._fields):
        raise InputError(f"population has {', '.join(Answered._fields)}; what was given has {', '.join(names)}")
    group = Answered(**population) if isinstance(population, Mapping) else Answered(*population)
    if np.ndim(group.shadows) != 3 or len(group.shadows) != num_shadows:
        raise InputError(f"population: shadows are probabilities [{num_shadows}, m, {classes}], by the same shadows")
    return checked(group, classes, "population: ")


def classes(target: Array) -> int:
    """How many classes the target's answers [n, c] have.

    Raises:
        InputError: they have another shape.
    """
    if np.ndim(target) != 2 or np.shape(target)[0] < 1 or np.shape(target)[1] < 2:
        hint = tables.turned("target", np.shape(target), (None, None))
        if np.ndim(target) == 1 and np.asarray(target).dtype.kind in "biu":
            hint = "; of labels give np.eye(c)[target] and np.eye(c)[shadows], over c classes"
        raise InputError(
            f"target holds probabilities [n, c] of two classes or more; it has shape {np.shape(target)}{hint}"
        )
    return np.shape(target)[1]


def of_shadows(shadow_member: Any) -> np.ndarray:
    """Who trained the shadows, as an array of whatever type and shape.

    Raises:
        InputError: rows of different lengths, as lists of record numbers are.
    """
    try:
        return tables.plain(shadow_member)
    except InputError:
        raise InputError(
            "shadow_member has rows of different lengths, as lists of record numbers have: give bools [S, n],"
            " np.stack([np.isin(np.arange(n), rows) for rows in shadow_member])"
        ) from None


def membership(shadow_member: Array, asked: Answered) -> np.ndarray:
    """Which records trained each shadow, bool [S, n].

    Raises:
        InputError: they are no such thing, or the shadows' answers are of another shape.
    """
    member, shape = of_shadows(shadow_member), np.shape(asked.shadows)
    expected = (*shape[:1], *np.shape(asked.target))
    if len(shape) != 3 or shape != expected or shape[0] < 1:
        raise InputError(
            f"shadows hold probabilities [S, n, c], one shadow at least, of the {expected[-2]} records and"
            f" {expected[-1]} classes of target; they have shape {shape}{_other_shadows(shape, member, asked)}"
        )
    if member.shape != shape[:2]:
        raise InputError(
            f"shadow_member is {list(shape[:2])}, [S, n], true where the record trained the shadow; it has shape"
            f" {member.shape}{truths.turned('shadow_member', member, shape[:2])}"
        )
    if not truths.only(member):
        raise InputError(
            "shadow_member holds something else than true and false (1 and 0)"
            + truths.untrue(_array("shadow_member", shadow_member), member)
        )
    return member.astype(bool)


def _array(name: str, given: Any) -> str:
    """What an argument is called where it is compared with a value: a list has to become an array."""
    return f"np.array({name})" if isinstance(given, list | tuple) else name


def _other_shadows(shape: tuple[int, ...], member: np.ndarray, asked: Answered) -> str:
    """What to do with shadows of another shape than [S, *target's], in a clause; or ""."""
    n, c = np.shape(asked.target)
    if len(shape) == 3 and shape[1] == n and shape[0] == len(member) and shape[2] < c:
        return "; who never saw a class answers 0 for it: give a column for each"
    if shape == (n, c):
        return "; of one shadow give shadows[None] and shadow_member[None]"
    models = len(member) if member.ndim == 2 and member.shape[1] == n else None
    return tables.turned_answers("shadows", shape, (models, n, c))


def truth(member: Array, n: int) -> np.ndarray:
    """Which records trained the target, bool [n].

    Raises:
        InputError: they are no such thing.
    """
    called, member = _array("member", member), tables.plain(member)
    if member.shape != (n,) or not truths.only(member):
        move = truths.untrue(called, member) if member.shape == (n,) else truths.turned("member", member, (n,))
        raise InputError(
            f"member is bool [{n}], true where the record trained the target; it is {member.dtype} {member.shape}{move}"
        )
    return member.astype(bool)


def numbered(asked: Answered, population: Any) -> tuple[Answered, Any, str]:
    """Labels of any kind as classes 0, 1, ..., those of a population by the same names, and what was made of them.

    Args:
        asked: labels [n] and answers [n, c].
        population: as of ``of_population``, or None.

    Raises:
        InputError: as ``checked``.
    """
    if np.ndim(asked.target) != 2 or np.shape(asked.shadows)[1:] != np.shape(asked.target):
        return asked, population, ""  # of which ``membership`` says more
    n, c = np.shape(asked.target)[0], classes(asked.target)
    found = _classes(asked.labels, n, c, "")
    if isinstance(population, Mapping) and "labels" in population and found.names:
        others = _classes(population["labels"], len(population["labels"]), c, "population: ", found.names)
        population = {**population, "labels": others.y}
    return asked._replace(labels=found.y), population, found.note


def _classes(labels: Any, n: int, c: int, whose: str, names: tuple[str, ...] = ()) -> class_labels.Classes:
    """The classes of n labels beside answers over c. Raises InputError."""
    shape = np.shape(labels)
    if shape[:1] != (n,) or len(shape) > 2:
        raise InputError(f"{whose}labels are classes [{n}], one for each record; they have shape {shape}")
    try:
        return class_labels.beside(labels, names=names, classes=c)
    except files.Unlabeled:
        raise InputError(f"{whose}labels: {files.UNLABELED}") from None
    except ValueError as error:
        raise InputError(f"{whose}labels cannot be used: {error}") from None


def checked(asked: Answered, classes: int, whose: str) -> Answered:
    """The same as arrays.

    Args:
        asked: labels and answers.
        classes: c.
        whose: in words, for errors.

    Raises:
        InputError: a shape or a label that cannot be.
        WrongAnswer: a row is no distribution.
    """
    n = len(asked.target)

    def probabilities(p: Array, who: str, array: str) -> np.ndarray:
        p = np.asarray(p)
        if p.shape == (n, classes) and (advice := other_numbers.of_another_type(array, p)):
            raise InputError(f"{whose}{advice}")
        if p.shape != (n, classes) or p.dtype.kind != "f":
            raise InputError(f"{whose}{who} holds probabilities [{n}, {classes}]; it is {p.dtype} {p.shape}")
        wrong = answer_format.faults(p, answer_format.recognize(np.nan_to_num(p), few=True))
        if 1 < n <= 2 * len(wrong) and np.isfinite(p).all() and (advice := other_numbers.advice(array, p)):
            raise InputError(f"{whose}{advice}")
        try:
            answer_format.check(p, answer_format.recognize(p, few=True), n)
        except answer_format.WrongAnswer as wrong:
            move = other_numbers.mended(p, wrong.record, array)
            raise answer_format.WrongAnswer(wrong.record, f"{whose}{who}: {wrong.reason}; {move}") from None
        return p

    y = _classes(asked.labels, n, classes, whose).y
    target = probabilities(asked.target, "target", "target")
    shadows = np.stack([probabilities(p, f"shadow {k}", "shadows") for k, p in enumerate(asked.shadows)])
    largest_of_two.refuse(y, [target, *shadows])
    return Answered(y, target, shadows)
