"""Models of other libraries, trained by several processes, each one at a time: to the same bits, in the same order.

The processes are joblib's. What a process is sent is the name of the platform, a training set and a seed, and what
comes back is the model, which its library must be able to pickle; nothing of that is kept.
"""

import concurrent.futures
import functools
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from mia_jax.data import tables
from mia_jax.targets import platforms
from mia_jax.targets.trainers import Platform
from mia_jax.types import Array, InputError, Records, Target

T = TypeVar("T")


def side_by_side(kind: str, num_classes: int, jobs: int) -> Platform:
    """A platform by its name, whose ``fit_many`` trains so many models at once.

    Args:
        kind: ``sklearn:<import path>`` or ``module:fit``; others train several at once in this process.
        num_classes: c.
        jobs: processes; with 1 it is ``platforms.platform``.

    Raises:
        InputError: there is no such platform, or it needs no processes; of ``fit_many``, a model cannot be sent.
    """
    chosen = platforms.platform(kind, num_classes)
    if jobs == 1:
        return chosen
    if ":" not in kind:
        raise InputError(f"`jobs={jobs}`: {kind} trains several models at once in this process: leave it out")

    def fit_many(pool: Records, index: Array, *, seeds: Sequence[int]) -> Iterator[Target]:
        y = np.asarray(pool.y)
        tasks = (
            (os.getcwd(), kind, num_classes, tables.take(pool.x, rows), y[rows], int(seed))
            for rows, seed in zip(np.asarray(index), seeds, strict=True)
        )
        return each(_fitted, tasks, min(jobs, len(seeds)), called=f"a model of {kind}", in_order=True)

    return chosen._replace(fit_many=fit_many)


def each(
    work: Callable[..., T], tasks: Iterable[tuple[Any, ...]], jobs: int, *, called: str, in_order: bool = False
) -> Iterator[T]:
    """What ``work`` makes of each task: in turn, or in so many processes, which know functions typed into a notebook.

    Args:
        work: of the arguments that a task is.
        tasks: arguments.
        jobs: processes; 1: this one.
        called: what is made, in a message.
        in_order: of the tasks; else as they are done.

    Raises:
        InputError: what is made, or makes it, cannot be sent from one process to another, or a process has died.
    """
    if jobs == 1:
        yield from (work(*task) for task in tasks)
        return
    from joblib import Parallel, delayed

    how = "generator" if in_order else "generator_unordered"
    try:
        yield from Parallel(n_jobs=jobs, return_as=how)(delayed(work)(*task) for task in tasks)
    except (pickle.PicklingError, TypeError, AttributeError) as error:  # what a user's code raises is InputErrors
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"`jobs={jobs}`: {called} cannot leave its process ({reason}): leave it out") from None
    except concurrent.futures.BrokenExecutor:
        raise InputError(
            f"`jobs={jobs}`: a process that trained has ended, as for want of memory: give fewer; what was finished is"
            " kept"
        ) from None


@functools.cache
def _platform(kind: str, num_classes: int) -> Platform:
    return platforms.platform(kind, num_classes)


def _fitted(folder: str, kind: str, num_classes: int, x: Any, y: np.ndarray, seed: int) -> Target:
    """One model, in a process of its own: records x [m, *f], labels y [m]. A user's module may be in the folder."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return _platform(kind, num_classes).fit(x, y, seed=seed)
