"""How long work tells how far it is: a bar with the time left on a terminal, now and then a plain line elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator

Advance = Callable[..., None]  # (steps: float, note: str = "") -> None
Progress = Callable[[str, float], contextlib.AbstractContextManager[Advance]]  # (title, total steps)
PATIENCE = 60.0  # seconds that a library may be silent for


@contextlib.contextmanager
def silent(title: str, total: float) -> Generator[Advance]:
    """Progress for libraries and tests: nothing is shown."""
    del title, total
    yield lambda steps, note="": None


@contextlib.contextmanager
def shown(title: str, total: float) -> Generator[Advance]:
    """Progress on standard error: a rich bar on a terminal, a line every ten seconds otherwise."""
    with (_bar if sys.stderr.isatty() else _lines)(title, total) as advance:
        yield advance


@contextlib.contextmanager
def patient(title: str, total: float) -> Generator[Advance]:
    """Progress where none is expected: silent for a minute, then a line on standard error every ten seconds."""
    with _lines(title, total, after=PATIENCE) as advance:
        yield advance


def within(advance: Advance, steps: float, note: str) -> Progress:
    """Progress of work that is ``steps`` of a larger whole, whose bar or lines tell of it."""

    @contextlib.contextmanager
    def piece(title: str, total: float) -> Generator[Advance]:
        del title
        yield lambda done, _="": advance(done * steps / total, note)

    return piece


@contextlib.contextmanager
def _bar(title: str, total: float) -> Generator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda steps, note="": progress.update(task, advance=steps, note=note)


@contextlib.contextmanager
def _lines(title: str, total: float, every: float = 10.0, after: float = 0.0) -> Generator[Advance]:
    start = last = time.monotonic()
    done, first, printed = 0.0, None, after == 0

    def advance(steps: float, note: str = "") -> None:
        nonlocal done, last, first, printed
        done += steps
        now = time.monotonic()
        first = first or (now, done)  # what came before is compilation, too, and tells no rate
        if now - last >= every and now - start >= after and 0 < done < total:
            last, printed = now, True
            rate = (done - first[1]) / max(now - first[0], 1e-9)
            left = [f"{(total - done) / rate:,.0f} s left"] if rate > 0 else []
            print(
                f"{title}: {', '.join([f'{done / total:.0%}', *left, *filter(None, [note])])}",
                file=sys.stderr,
                flush=True,
            )

    yield advance
    if printed:
        print(f"{title}: done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
