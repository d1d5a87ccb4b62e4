"""Where the shares of a run are made: here, on SLURM, on Ray, or by processes that ``jax.distributed`` knows of.

There is no scheduler of our own. An engine starts one command for each share, the user's own with ``shard=i/n``, and
starts those again whose node died; all write to one workdir, from which the run then goes on here.
"""

import datetime
import getpass
import importlib
import math
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mia_jax.audits.types import Notify
from mia_jax.plans.shards import Shard
from mia_jax.progress import Progress
from mia_jax.types import InputError, MiaError

TRIES = 4  # of each share, before its failure is everybody's
EVERY = 2.0  # seconds between two looks at the tasks
LOST = 15.0  # seconds after which a job that is in no queue and has left no result has ended
REACHED = 10.0  # seconds in which the head of a cluster answers
A_WEEK = 7 * 24 * 3600


class EngineError(MiaError, RuntimeError):
    """A scheduler refuses the job, or a share of it fails wherever it is started."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None  # its exit code; None: it was not to end so, a node died
    line: str  # the last one that it wrote to standard error


class Task(Protocol):
    """A command that was started somewhere."""

    def poll(self) -> Ended | None:
        """How it ended; None: it has not."""
        ...


def run_command(command: Sequence[str], folder: str) -> Ended:
    """Run a command in a folder, and show what it writes: what each engine does with each share."""
    last = ""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
    return Ended(process.returncode, last)


def finish(
    start: Callable[[Sequence[int]], Mapping[int, Task]], count: int, notify: Notify, progress: Progress
) -> None:
    """Start ``count`` shares and wait for them; those that fail are started again.

    Args:
        start: starts these shares.
        count: of all shares.
        notify: told of each that failed.
        progress: of shares.

    Raises:
        EngineError: one has failed ``TRIES`` times, or ended with what its user must mend.
    """
    tries = dict.fromkeys(range(count), 1)
    running = dict(start(range(count)))
    with progress("shards", count) as advance:
        while running:
            failed = []
            for i in list(running):
                ended = running[i].poll()
                if ended is None:
                    continue
                del running[i]
                if ended.code == 0:
                    advance(1)
                elif ended.code == MiaError.exit_code or tries[i] >= TRIES:
                    reason = ended.line.removeprefix("error:").strip() or f"exit code {ended.code}"
                    raise EngineError(f"shard {Shard(i, count)} failed: {reason}")
                else:
                    failed.append(i)
                    notify(f"Shard {Shard(i, count)} failed ({ended.line or f'exit code {ended.code}'}): again")
            for i in failed:
                tries[i] += 1
            running.update(start(failed) if failed else {})
            if running:
                time.sleep(EVERY)


def needed(package: str, engine: str) -> Any:
    """The package of an engine.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"`engine={engine}` needs {package}, which is not installed ({error}): pip install 'mia-jax[{engine}]'"
        ) from None


# --- SLURM -----------------------------------------------------------------------------------------------------------


class Slurm:
    """Starts shares as tasks of SLURM arrays, by submitit.

    Args:
        commands: of all shares.
        folder: that all nodes see; scripts, logs and results of the tasks go there.
        options: of sbatch, as partition, gres and time.
        notify: told what was submitted.

    Raises:
        InputError: submitit is not installed, or there is no sbatch.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], folder: pathlib.Path, options: Mapping[str, str], notify: Notify
    ):
        self.commands, self.notify = commands, notify
        submitit = needed("submitit", "slurm")
        try:
            self.executor = submitit.SlurmExecutor(folder=folder, python=sys.executable)
        except RuntimeError as error:
            raise InputError(
                f"there is no SLURM here ({error}): run this where sbatch is, or leave `engine` out"
            ) from None
        known = self.executor._valid_parameters()
        own = {name: int(value) if value.isdigit() else value for name, value in options.items() if name in known}
        rest = {name: value for name, value in options.items() if name not in known}
        own |= {"time": minutes(options.get("time")), "array_parallelism": len(commands)}
        self.executor.update_parameters(**{"job_name": "mia_jax", "additional_parameters": rest, **own})
        self._queue: frozenset[str] = frozenset()
        self._asked = -EVERY

    def start(self, which: Sequence[int]) -> dict[int, Task]:
        """Submit these shares.

        Raises:
            EngineError: SLURM refuses them.
        """
        here = os.getcwd()
        try:
            jobs = self.executor.map_array(run_command, [self.commands[i] for i in which], [here] * len(which))
        except Exception as error:  # submitit's, and those of what it calls
            reason = " ".join(str(getattr(error, "stderr", "") or error).split())
            raise EngineError(
                f"SLURM refuses the job: {reason[-300:]}; change `slurm`, or ask those who run it"
            ) from None
        ids = {job.job_id.partition("_")[0] for job in jobs}
        self.notify(f"SLURM job {', '.join(sorted(ids))} has {len(jobs)} tasks (scancel ends them)")
        return {i: _SlurmTask(self, job) for i, job in zip(which, jobs, strict=True)}

    def queue(self) -> frozenset[str]:
        """The user's jobs that SLURM has not done with; as it was asked last, where it does not answer."""
        if time.monotonic() - self._asked >= EVERY:
            self._asked = time.monotonic()
            squeue = ["squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i"]
            asked = subprocess.run(squeue, capture_output=True, text=True)
            if asked.returncode == 0:
                self._queue = frozenset(asked.stdout.split())
            else:
                self._queue |= {"?"}
        return self._queue


def minutes(time_limit: str | None) -> int:
    """A time limit as SLURM takes it: minutes[:seconds], hours:minutes:seconds or days-hours[:minutes[:seconds]].

    Raises:
        InputError: it is none, or was not given: submitit's five minutes are too few, and its own is no cluster's.
    """
    days, dash, rest = (time_limit or "").rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in (*parts, *([days] if dash else []))) or len(parts) > 3:
        raise InputError(
            "`slurm` needs the time that a share takes at most, in minutes or as hours:minutes:seconds: time=60"
        )
    first = "hours" if dash or len(parts) == 3 else "minutes"
    units = ("hours", "minutes", "seconds")[("hours", "minutes").index(first) :]
    limit = datetime.timedelta(days=int(days or 0), **dict(zip(units, map(int, parts), strict=False)))
    return max(1, math.ceil(limit.total_seconds() / 60))


class _SlurmTask:
    """A task of an array. It has ended when its result is there, or when no queue has it: sacct may not be set up."""

    def __init__(self, slurm: Slurm, job: Any):
        self.slurm, self.job = slurm, job
        self._seen = time.monotonic()

    def poll(self) -> Ended | None:
        if self.job.paths.result_pickle.exists():
            try:
                return Ended(*self.job.result())
            except Exception as error:  # what was thrown on the node, or its result cannot be read
                return Ended(None, (str(error).strip().splitlines() or [type(error).__name__])[-1])
        if {self.job.job_id, "?"} & self.slurm.queue():
            self._seen = time.monotonic()
        if time.monotonic() - self._seen < LOST:
            return None
        return Ended(None, f"SLURM job {self.job.job_id} has left the queue and no result")


# --- Ray -------------------------------------------------------------------------------------------------------------


class RayCluster:
    """Starts shares as tasks of Ray, which tries them elsewhere when a node dies.

    Args:
        commands: of all shares.
        options: "address" of the cluster, else that of RAY_ADDRESS, else one on this machine; and what a task takes, as
            num_cpus and num_gpus.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, commands: Sequence[Sequence[str]], options: Mapping[str, str]):
        self.commands, self.ray = commands, needed("ray", "ray")
        options = dict(options)
        address = options.pop("address", None)
        try:
            takes = {name: float(value) for name, value in options.items()}
            self.task = self.ray.remote(max_retries=TRIES - 1, **takes)(run_command)
        except (ValueError, TypeError) as error:
            raise InputError(f"`ray`: {str(error).strip().splitlines()[0]}; give as in num_cpus=4,num_gpus=1") from None
        try:
            if found := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or ""):  # Ray itself tries for minutes
                socket.create_connection((found[1], int(found[2])), timeout=REACHED).close()
            self.ray.init(address=address, logging_level="ERROR", log_to_driver=False, ignore_reinit_error=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"`ray`: no cluster at {address or 'RAY_ADDRESS'} ({reason}); start one, or mend it"
            ) from None

    def start(self, which: Sequence[int]) -> dict[int, Task]:
        """Submit these shares."""
        here = os.getcwd()
        return {i: _RayTask(self.ray, self.task.remote(list(self.commands[i]), here)) for i in which}


class _RayTask:
    def __init__(self, ray: Any, result: Any):
        self.ray, self.result = ray, result

    def poll(self) -> Ended | None:
        if not self.ray.wait([self.result], timeout=0)[0]:
            return None
        try:
            return Ended(*self.ray.get(self.result))
        except Exception as error:  # Ray's: a worker or a node died, too often
            return Ended(None, (str(error).strip().splitlines() or [type(error).__name__])[0])


# --- jax.distributed -------------------------------------------------------------------------------------------------


def connect(coordinator: str, shard: Shard | None) -> Shard:
    """Make this process one of several that ``jax.distributed`` knows; its share is that of its number.

    Args:
        coordinator: "host:port" of the first process, whose number and how many there are ``shard`` says; or "auto",
            for what jax finds in the environment (SLURM, Open MPI, Kubernetes, TPU pods).
        shard: its number, of how many.

    Raises:
        InputError: nothing is found, or the coordinator does not answer.
    """
    import jax

    if coordinator != "auto" and shard is None:
        raise InputError(f"`coordinator={coordinator}` needs `shard=i/n`: which of how many processes this is")
    address = None if coordinator == "auto" else coordinator
    number, count = (None, None) if shard is None else shard
    try:
        jax.distributed.initialize(address, count, number, shutdown_timeout_seconds=A_WEEK)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"`coordinator={coordinator}`: {reason}; give host:port and `shard=i/n`") from None
    return Shard(jax.process_index(), jax.process_count())


def wait_for_all() -> None:
    """Wait until all processes of ``jax.distributed`` have come here; from then on each is on its own."""
    import jax

    jax.distributed.shutdown()
