"""How much a file may take when it is unpacked: what the memory holds, and no more than files of numbers are packed.

Sizes are those that headers announce, looked at before anything is read. A few megabytes of zeros can announce
gigabytes: what is packed 500 times is no data.
"""

import math
import os
import pathlib

RATIO = 500  # unpacked bytes for each packed one, at most; one-hot numbers of eight bytes come to about 200
TEXT_RATIO = 200  # the same of archives of text and images; that of Texas comes to about 70
SMALL = 2**28  # bytes that are unpacked whatever the ratio
SHARE = 0.5  # of the memory that is free: what is read is copied at least once


class TooLarge(ValueError):
    """What a file announces is more than is read; the reason says what to do."""


def check(size: int, packed: int | None, what: str) -> None:
    """Refuse ``size`` bytes, ``packed`` of them in the file, before they are read.

    Raises:
        TooLarge: it says what, and why.
    """
    if packed is not None and size > max(SMALL, RATIO * packed):
        raise TooLarge(f"{what} takes {amount(size)}, packed into {amount(packed)}: that is no data; give another file")
    if size > SHARE * (free := free_memory()):
        raise TooLarge(f"{what} takes {amount(size)}, and {amount(int(free))} of memory are free; give fewer records")


def most(packed: int) -> int:
    """Bytes that a packed file may be unpacked to, where no header tells how many there are."""
    return int(min(max(SMALL, TEXT_RATIO * packed), SHARE * free_memory()))


def free_memory() -> float:
    """Bytes that this process may still take, as far as the system tells; infinity where it does not."""
    return min(_available(), _left_in_group())


def _available() -> float:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))  # macOS: all there is
    except (AttributeError, ValueError, OSError):
        return math.inf


def _left_in_group() -> float:
    """What the memory limit of a container leaves (cgroup v2, then v1)."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        numbers = _read(limit).strip(), _read(used).strip()
        if all(text.isdigit() for text in numbers):
            return max(0.0, float(numbers[0]) - float(numbers[1]))
    return math.inf


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def amount(size: float) -> str:
    """Bytes for people, as in 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size} bytes"
        size /= 1000
    return f"{size:,.0f} TB"
