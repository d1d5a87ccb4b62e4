"""The ``shadows`` of ``mia_jax.audit``: what trains them, or what saved ones answered, checked against the records."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax.audits.deployed import collect, given_answers
from mia_jax.audits.plans import in_process
from mia_jax.data import npz, tables
from mia_jax.targets import answer_kinds, class_columns, labels_alone, platforms
from mia_jax.targets.trainers import Platform
from mia_jax.types import InputError


def parts(shadows: Any) -> tuple[Any, Any]:
    """What trains shadows, and what shadows answered: one of them, or neither.

    Args:
        shadows: as of ``mia_jax.audit``.

    Raises:
        InputError: it trains nothing, or holds no answers.
    """
    if shadows is None:
        return None, None
    if isinstance(shadows, Mapping):
        return None, shadows
    if isinstance(shadows, os.PathLike) or (isinstance(shadows, str) and shadows.endswith(".npz")):
        needed = ("shadows", "shadow_member")
        write = "np.savez(path, shadows=q, shadow_member=s)"
        return None, npz.read_own(pathlib.Path(shadows), needed, write, needed=needed)
    if isinstance(shadows, tuple | list):
        if len(shadows) != 2:
            raise InputError("shadows that were asked before are (shadows [S, n, c], shadow_member [S, n])")
        return None, dict(zip(("shadows", "shadow_member"), shadows, strict=True))
    if shadows not in in_process.NETWORKS if isinstance(shadows, str) else not isinstance(shadows, Platform):
        platforms.as_platform(shadows, 2, called="shadows")  # to refuse what trains nothing before any work
    return shadows, None


def predictions(saved: Mapping[str, Any], records: int) -> tuple[np.ndarray, np.ndarray]:
    """What shadows predicted [S, n, ...], where a signal is taken of it, and who trained them, bool [S, n].

    Args:
        saved: shadows and shadow_member, by these names.
        records: n.

    Raises:
        InputError: one is missing, or has another shape.
    """
    if lacking := [name for name in ("shadows", "shadow_member") if name not in saved]:
        raise InputError(f"shadows: {lacking[0]} is missing: give predictions [S, n, ...], and shadow_member [S, n]")
    predicted = collect.loaded(saved["shadows"])
    if predicted.ndim < 2 or predicted.shape[1] != records or 0 in predicted.shape:
        hint = tables.turned("shadows", predicted.shape, (None, records, None)[: max(predicted.ndim, 2)])
        raise InputError(f"shadows hold predictions [S, {records}, ...]; they have shape {predicted.shape}{hint}")
    return predicted, _who(saved, predicted.reshape(*predicted.shape[:2], -1), records)


def answers(saved: Mapping[str, Any], records: int, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, str]:
    """What shadows answered [S, n, c], who trained them [S, n], and what was made of it.

    Labels alone stay numbers of classes, int [S, n]: how many classes there are, the target tells.

    Args:
        saved: shadows and shadow_member, by these names.
        records: n.
        names: of the classes in their order; () where they have none.

    Raises:
        InputError: one is missing, has another shape, or holds no answers.
    """
    if lacking := [name for name in ("shadows", "shadow_member") if name not in saved]:
        raise InputError(f"shadows: {lacking[0]} is missing: give shadows [S, n, c] and shadow_member [S, n]")
    p = collect.loaded(class_columns.of_models(saved["shadows"], names))
    if p.ndim not in (2, 3) or p.shape[1] != records or 0 in p.shape:
        one = p.ndim == 2 and len(p) == records and np.shape(saved["shadow_member"]) == (records,)
        hint = tables.turned("shadows", p.shape, (None, records, None)[: max(p.ndim, 2)])
        hint = "; of one shadow give shadows[None] and shadow_member[None]" if one else hint
        raise InputError(
            f"shadows hold probabilities [S, {records}, c], of the records in x (of two classes [S, {records}]); they"
            f" have shape {p.shape}{hint}"
        )
    try:
        if labels := labels_alone.of_models(None, p, names):
            return labels.shadows, _who(saved, labels.probabilities(2)[1], records), labels.note
        _, p, note = answer_kinds.of_models(None, p)
    except answer_kinds.Faulty as error:
        raise InputError(str(error)) from None
    return p, _who(saved, p, records), note


def _who(saved: Mapping[str, Any], answers: np.ndarray, records: int) -> np.ndarray:
    """Who trained the shadows that gave these answers [S, n, k], bool [S, n]. Raises InputError."""
    who = saved["shadow_member"]
    who = collect.loaded(who) if isinstance(who, str | os.PathLike) else who  # lists are for ``membership`` to read
    return given_answers.membership(who, given_answers.Answered(np.zeros(records), answers[0], answers))
