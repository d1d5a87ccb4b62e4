"""Processes that take the same locks, one number after the other, and are killed now and then."""

import os
import pathlib
import subprocess
import sys
import time

from mia_jax.storage import artifacts

# Takes the lock of each number in turn, and says so in a folder while it has it.
WORKER = """
import os, pathlib, random, signal, sys, time
from mia_jax.storage import locks, objects, places
folder, rng, url = pathlib.Path(sys.argv[1]), random.Random(int(sys.argv[2])), sys.argv[3]
numbers, deaths, work, pause = int(sys.argv[4]), *map(float, sys.argv[5:])
slots = locks.Objects(objects.open_store(places.place(url))) if url else folder / "locks"
mine = locks.Locks(slots)
for number in range(numbers):
    made = folder / f"made-{number}"
    while not made.exists():
        if mine.take(str(number)) is not None:
            time.sleep(pause)
            continue
        if not made.exists():
            try:
                os.close(os.open(folder / f"at-work-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                (folder / "twice").write_text(str(number))
            dies = rng.random() < deaths
            time.sleep(rng.random() * work)
            os.unlink(folder / f"at-work-{number}")
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            made.write_text("")
        mine.free(str(number))
mine.close()
"""


def check_that_one_is_at_work(
    folder: pathlib.Path, url: str = "", *, numbers: int, at_once: int, most: int, deaths: float, seconds: float
) -> None:
    """Never two at work on the same, and all is made in the end, whoever dies with whatever lock.

    Args:
        folder: where they say what they do, and keep their locks where there is no ``url``.
        url: of the object store of the locks.
        numbers: that are made.
        at_once: processes.
        most: processes in all, those that die among them.
        deaths: share of the numbers at which a process dies.
        seconds: that a number takes at most; half of it is waited for a lock.
    """
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(artifacts.__file__).parents[2])}
    settings = [str(value) for value in (numbers, deaths, seconds, seconds / 2)]
    last, seed, running, killed = folder / f"made-{numbers - 1}", 0, [], 0
    while running or (seed < most and not last.exists()):
        while len(running) < at_once and seed < most and not last.exists():
            argv = [sys.executable, "-c", WORKER, str(folder), str(seed), url, *settings]
            running.append(subprocess.Popen(argv, env=environment))
            seed += 1
        for process in [process for process in running if process.poll() is not None]:
            running.remove(process)
            killed += process.returncode == -9
            assert process.returncode in (0, -9)
        time.sleep(0.05)
    assert not (folder / "twice").exists()
    assert len(list(folder.glob("made-*"))) == numbers and not list(folder.glob("at-work-*")) and killed
