"""A run's folder: its page and its figures written, its values taken with care."""

import contextlib
from collections.abc import Generator, Sequence

from mia_jax import sanitize
from mia_jax.reports import figures
from mia_jax.storage import places
from mia_jax.types import InputError, MiaError

# what values that no run writes end in
NOT_AS_LEFT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, StopIteration)


@contextlib.contextmanager
def believed(workdir: places.Place) -> Generator[None]:
    """Make a page of files that anybody may have changed: what is none of a run's values is an InputError."""
    try:
        yield
    except MiaError:
        raise
    except NOT_AS_LEFT as error:
        where = workdir / "results.json"
        raise InputError(
            f"{where} or scores.npz is not as a run leaves it ({type(error).__name__}: {sanitize.line(str(error))});"
            " the same command as before writes it again"
        ) from error


def write(workdir: places.Place, page: str, drawings: Sequence[figures.Rendered]) -> places.Place:
    """Write report.html and figures/*.png, each whole or not at all; the path of the page."""
    for drawing in drawings:
        name = f"figures/{drawing.name}.png"
        if drawing.png is None:
            places.remove(workdir, name)  # of an earlier report, which no longer holds
        else:
            with places.writing(workdir, name) as partial:
                partial.write_bytes(drawing.png)
    with places.writing(workdir, "report.html") as partial:
        partial.write_text(page, encoding="utf-8")
    return workdir / "report.html"
