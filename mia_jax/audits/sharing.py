"""Work that several processes share: who makes which models, and what a process does that has made its share.

Each model is locked while it is made, so that no other process makes it, too (``Workdir.take``). A process that wants
all models makes those that nobody makes, and waits for the others; one that has a share ends when its share is there.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mia_jax.audits.types import Run
from mia_jax.storage.artifacts import LONGEST_PAUSE
from mia_jax.storage.processes import Process


class Share(NamedTuple):
    """What a process has made of its share of a run's models."""

    title: str  # what they are, for people, in the plural
    mine: int  # models of the share
    made: int  # of them, by this process
    total: int  # models of the run
    missing: int  # of them, those that no process has made so far

    def __str__(self) -> str:
        found = self.mine - self.made
        parts = [f"{self.made} of {self.mine} {self.title} made here", *([f"{found} found"] if found else [])]
        rest = f"{self.missing} of {self.total} are missing" if self.missing else f"all {self.total} are there"
        return f"{', '.join(parts)}; {rest}"


class ShareIsMade(Exception):
    """The models of a shard are there, and the run ends here, for what comes next needs all of them."""

    def __init__(self, share: Share):
        super().__init__(str(share))
        self.share = share


def batches(
    run: Run,
    stage: str,
    todo: Sequence[int],
    descriptions: Sequence[Mapping[str, Any]],
    found: Callable[[int], bool],
    at_once: Callable[[], int],
) -> Iterator[list[int]]:
    """The models that this process is to make, some at a time, until all of ``todo`` are there.

    Args:
        run: its workdir may be shared.
        stage: that makes them.
        todo: models that were not there.
        descriptions: of all models.
        found: whether a model is there by now, and loaded.
        at_once: models that are locked and made together.
    """
    left, pause = list(todo), 0.1
    while left:
        batch = []
        for k in list(left):
            if len(batch) >= at_once():
                break
            if (process := run.workdir.take(stage, descriptions[k])) is not None:
                waiting(run)(process)
            elif found(k):
                run.workdir.free(stage, descriptions[k])
                left.remove(k)
            else:
                batch.append(k)
        if batch:
            pause = 0.1
            try:
                yield batch
            finally:
                for k in batch:
                    run.workdir.free(stage, descriptions[k])
            left = [k for k in left if k not in batch]
        elif left:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            left = [k for k in left if not found(k)]


def waiting(run: Run) -> Callable[[Process], None]:
    """Tells, once, which process is waited for."""
    return lambda process: run.notify(f"{process} works in the same workdir: what it makes is not made twice")
