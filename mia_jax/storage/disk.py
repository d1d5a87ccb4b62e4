"""Files that outlive a process: opened without following links, locked by one process at a time, and in words what the
operating system said when that failed. On POSIX and on Windows.
"""

import errno
import os
import pathlib
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

KEPT = "run the same command again: what was finished is kept"
FAR = 2**40  # Windows: where the locked byte lies, behind whatever others read; it need not be there


def open_own(path: pathlib.Path, *, create: bool = False) -> int:
    """Open a file of ours to read and write, without truncating it; returns its descriptor.

    Raises:
        OSError: also where ``path`` is a symbolic link (ELOOP) or no file: a write would land somewhere else.
    """
    if path.is_symlink():  # O_NOFOLLOW is not everywhere
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file; closing it, or the end of the process however it comes, unlocks it.

    Args:
        descriptor: of the file.
        wait: until whoever has the lock lets go.

    Returns:
        Whether the lock was had; never False with ``wait``.
    """
    while True:
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            else:
                _lock_byte(descriptor)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
                raise
            if not wait:
                return False
            time.sleep(0.05)


def _lock_byte(descriptor: int) -> None:
    """Windows locks what lies behind the position, against readers too: so not the bytes that tell who has it."""
    import msvcrt

    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # ty: ignore[missing-attribute]  (there on Windows only)
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


def write_at(descriptor: int, content: bytes, at: int) -> None:
    """Write all of ``content`` at a position."""
    os.lseek(descriptor, at, os.SEEK_SET)
    while content:
        content = content[os.write(descriptor, content) :]


def in_words(error: OSError) -> str:
    """What failed, why, and the next move: one line."""
    reason = error.strerror or str(error) or type(error).__name__
    where = f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"{where}; make room and {KEPT}"
    if error.errno == errno.EFBIG:
        return f"{where}; raise the limit on the size of files (ulimit -f) and {KEPT}"
    if error.errno == errno.ENOMEM:
        return f"{where}; use smaller batches, a smaller network or fewer records; what was finished is kept"
    return f"{where}; mend that and {KEPT}"
