"""Which of the models of a run a process makes, where several share the work."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mia_jax.types import InputError

# Models that are dealt together where there are enough: a program's lanes, and a pair of complementary halves.
TOGETHER = 2


class Shard(NamedTuple):
    """One of ``count`` shares of a run's models, counted from 0 as schedulers count their tasks."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def dealt(shard: Shard | None, total: int) -> np.ndarray:
    """The models of a shard, int [k] of ``total``; all of them without a shard.

    They are dealt in turn, two by two where there are two for every shard; of a single model only the first has one.
    """
    every = np.arange(total)
    if shard is None:
        return every
    together = TOGETHER if total >= TOGETHER * shard.count else 1
    return every[every // together % shard.count == shard.index]


# --- which one a process has -----------------------------------------------------------------------------------------


class Given(NamedTuple):
    """A shard, and who gave it."""

    shard: Shard
    by: str  # a variable of the environment, or ""


def parse(text: str | None, environ: Mapping[str, str]) -> Given | None:
    """The shard of this process: as it was given, or as the scheduler numbers its tasks; None: it makes all models.

    Args:
        text: "i/n", counted from 0; "/n": the scheduler's number, of n; "off": no shard; None: the scheduler's number
            and count, where it tells both.
        environ: of a task of a SLURM array (a range, with a step or without), an indexed job of Kubernetes (whose
            number of completions the job must put into JOB_COMPLETIONS) or a PBS array.

    Raises:
        InputError: it is no shard, or out of range, or the scheduler does not say of how many.
    """
    if text == "off":
        return None
    if text is None:
        return _of_scheduler(environ, None)
    found = re.fullmatch(r"(\d*)/(\d+)", text.strip())
    if not found:
        raise InputError(f"`shard={text}` must be like 0/8, or off")
    count = int(found[2])
    if not found[1]:
        given = _of_scheduler(environ, count)
        if given is None:
            raise InputError(
                f"`shard={text}` wants the number of a scheduler's task, and there is none: give 0/{count}"
            )
        return given
    return Given(_checked(int(found[1]), count, f"`shard={text}`"), "")


def count(text: str | None, environ: Mapping[str, str]) -> int:
    """Of how many shards this process would make one, arguments as of ``parse``; 1: it makes all models.

    Raises:
        InputError: as ``parse``, but that /n needs no scheduler's task: of n it is, whichever.
    """
    if of := re.fullmatch(r"/(\d+)", (text or "").strip()):
        return _checked(0, int(of[1]), f"`shard={text}`").count
    given = parse(text, environ)
    return 1 if given is None else given.shard.count


def _of_scheduler(environ: Mapping[str, str], count: int | None) -> Given | None:
    name, index, own_count = _task(environ)
    if not name:
        return None
    if count is None and own_count == 1:
        return None  # a task that is alone
    count = own_count if count is None else count
    if count is None:
        raise InputError(
            f"{name}={index} says which task this is and not of how many: give `shard=/n` for n tasks, or `shard=off`"
        )
    return Given(_checked(index, count, f"{name}={index}"), name)


def _task(environ: Mapping[str, str]) -> tuple[str, int, int | None]:
    """The variable that tells the number of this task, the number, and the count where that is known."""
    for name, total in (
        ("SLURM_ARRAY_TASK_ID", ""),
        ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
        ("PBS_ARRAY_INDEX", ""),
    ):
        if not environ.get(name, "").isdigit():
            continue
        index = int(environ[name])
        if name.startswith("SLURM"):
            return _slurm(environ, index)
        return name, index, int(environ[total]) if environ.get(total, "").isdigit() else None
    return "", 0, None


def _slurm(environ: Mapping[str, str], task: int) -> tuple[str, int, int | None]:
    """A task of an array: of a range, whose first and last number and count SLURM tells."""
    name, about = "SLURM_ARRAY_TASK_ID", {}
    for what in ("COUNT", "MIN", "MAX"):
        about[what] = environ.get(f"SLURM_ARRAY_TASK_{what}", "")
        if not about[what].isdigit():
            return name, task, None
    count, least, most = (int(value) for value in about.values())
    step, left = divmod(most - least, max(1, count - 1))
    if count > 1 and (left or (task - least) % step):
        raise InputError(
            f"the tasks of this SLURM array are no range ({count} of {least} to {most}): give `shard=i/n`, or"
            " `shard=off`"
        )
    return name, (task - least) // max(1, step), count


def _checked(index: int, count: int, given: str) -> Shard:
    if not 0 <= index < count:
        shown = f"they are 0/{count} to {count - 1}/{count}" if count else "there must be one at least"
        raise InputError(f"{given} is no shard of {count}: {shown}")
    return Shard(index, count)
