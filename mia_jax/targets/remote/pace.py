"""When the next request may start."""

import contextlib
import email.utils
import threading
import time


class Pace:
    """One clock for all threads.

    Args:
        rate: requests a second, at most; None for as many as there can be.
    """

    def __init__(self, rate: float | None):
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let nobody start for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def wait(self, stop: threading.Event) -> None:
        """Return when it is the caller's turn, or ``stop`` is set."""
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + self._interval if self._interval else self._next
        if (left := start - time.monotonic()) > 0:
            stop.wait(left)


def retry_after(text: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date; 0 where there is none that can be read."""
    if not text:
        return 0.0
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0
