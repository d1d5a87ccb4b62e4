"""Files of saved answers that hold something else than a target's and shadows' probabilities, and which a file is.

np.savez("preds.npz", labels=y, target=p, member=member)                                       # no shadows
np.savez("preds.npz", signal=s, shadow_signal=t, shadow_member=member_of_shadows, member=m)    # a number per record
"""

import os
import pathlib
import zipfile
from typing import Literal, NamedTuple

import numpy as np

from mia_jax.audits.deployed import given_answers, numbers
from mia_jax.data import npz
from mia_jax.types import InputError

Kind = Literal["answers", "target", "numbers"]


class Numbers(NamedTuple):
    """One number per record, larger where the model fits it better: a log-likelihood, or minus a loss."""

    signal: np.ndarray  # float64 [n], of the target
    shadow_signal: np.ndarray  # float64 [S, n]
    shadow_member: np.ndarray  # bool [S, n]
    member: np.ndarray | None  # bool [n], who trained the target, where it is known


def names(path: str | os.PathLike) -> set[str]:
    """The names of an archive's arrays; none of what is no archive, which is for who reads it to say."""
    try:
        with zipfile.ZipFile(pathlib.Path(path).expanduser()) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return set()


def kind(path: str | os.PathLike) -> Kind:
    """What a file of predictions holds, told by the names of its arrays: "answers", where nothing else is certain.

    Raises:
        InputError: it holds both answers and numbers.
    """
    there = names(path)
    of_numbers, of_answers = {"signal", "shadow_signal"} & there, {"target", "shadows"} & there
    if of_numbers and of_answers:
        both = ", ".join([*sorted(of_numbers), *sorted(of_answers)])
        raise InputError(
            f"{path} holds {both}: give probabilities, or a number for each record, and leave the others out"
        )
    if of_numbers:
        return "numbers"
    return "target" if "target" in there and not {"shadows", "shadow_member"} & there else "answers"


def load_numbers(path: str | os.PathLike) -> Numbers:
    """Read signal [n], shadow_signal [S, n], shadow_member [S, n] and perhaps member [n].

    Raises:
        InputError: naming the file, the array, what is wrong and what to do.
    """
    path = pathlib.Path(path).expanduser()
    needed = ("signal", "shadow_signal", "shadow_member")
    write = "np.savez(path, signal=s, shadow_signal=t, shadow_member=trained, member=m)"
    arrays = npz.read_own(path, (*needed, "member"), write, needed=needed)
    try:
        given = numbers.checked(*(arrays[name] for name in needed))
        member = None if "member" not in arrays else given_answers.truth(arrays["member"], len(given.target))
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    if member is not None and (member.all() or not member.any()):
        raise InputError(f"{path}: member is {bool(member[0])} everywhere, and an evaluation needs both")
    return Numbers(given.target, given.shadows, given.trained, member)
