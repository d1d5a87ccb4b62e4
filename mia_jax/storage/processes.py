"""Who a process is, in words and for others to find out whether it is still there. Of several machines, or containers.

A *place* is where numbers of processes mean the same: one boot of one machine, and one namespace in it (containers on
one machine number theirs alike, and so do the machines of a cluster). Whether a process of the same place is there is
asked of the operating system; of another place it is told by how long ago it gave a sign.
"""

import functools
import hashlib
import os
import pathlib
import re
import socket
from typing import NamedTuple

# What schedulers call a job; the first that is set is told.
JOBS = {
    "SLURM_ARRAY_JOB_ID": "SLURM job {SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}",
    "SLURM_JOB_ID": "SLURM job {SLURM_JOB_ID}",
    "PBS_JOBID": "PBS job {PBS_JOBID}",
    "JOB_COMPLETION_INDEX": "index {JOB_COMPLETION_INDEX} of a Kubernetes job",
    "RAY_JOB_ID": "Ray job {RAY_JOB_ID}",
}


class Process(NamedTuple):
    """A process, as it says itself who it is."""

    host: str
    place: str  # 8 hexadecimal digits
    pid: int
    started: str  # when, in the place's own terms; "": the place cannot tell
    job: str  # of a scheduler, in words; "": of none

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" ({self.job})" if self.job else "")


@functools.cache
def _here(pid: int) -> Process:
    job = next((words.format_map(_Shown(os.environ)) for name, words in JOBS.items() if name in os.environ), "")
    return Process(socket.gethostname(), place(), pid, started(pid) or "", job)


class _Shown(dict):
    def __missing__(self, key: str) -> str:
        return "?"


def this() -> Process:
    """This process."""
    return _here(os.getpid())  # a fork is another


@functools.cache
def place() -> str:
    """Where this process is: 8 hexadecimal digits."""
    parts = [socket.gethostname()]
    try:
        parts.append(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass  # not Linux: the name must do
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def started(pid: int) -> str | None:
    """When a process of this place started, in ticks since the boot; None: there is none; "": it cannot be told."""
    if not os.path.exists("/proc/self/stat"):
        return ""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # before it is the name, which may have anything
    return None if state in "ZX" else fields[18]  # killed, and its parent has not asked for it yet


def is_gone(process: Process) -> bool | None:
    """Whether a process has ended; None: it cannot be told from here."""
    if process.place != place():
        return None
    if process.started:
        return started(process.pid) != process.started
    if os.name == "posix":  # as macOS; elsewhere signal 0 is Ctrl-C
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it is another user's
    return None  # there is one of its number, perhaps another by now


# --- files that are being written ------------------------------------------------------------------------------------


def partial_name(name: str) -> str:
    """What a file is called while this process writes it: a name that no other process uses."""
    return f".{name}.{os.getpid()}-{place()}.partial"


def writer_is_gone(name: str) -> bool | None:
    """Whether the process has ended that left a partial file of this name; None: it cannot be told from here."""
    found = re.fullmatch(r"\..*\.(\d+)-([0-9a-f]{8})\.partial", name)
    if not found or found[2] != place() or started(int(found[1])) == "":
        return None
    return started(int(found[1])) is None
