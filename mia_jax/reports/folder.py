"""A run's folder: its page and its figures written, its values taken with care."""

import contextlib
import pathlib
from collections.abc import Generator, Sequence

from mia_jax import sanitize
from mia_jax.reports import figures
from mia_jax.storage.files import replacing
from mia_jax.types import InputError, MiaError

# what values that no run writes end in
NOT_AS_LEFT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, StopIteration)


@contextlib.contextmanager
def believed(workdir: str | pathlib.Path) -> Generator[None]:
    """Make a page of files that anybody may have changed: what is none of a run's values is an InputError."""
    try:
        yield
    except MiaError:
        raise
    except NOT_AS_LEFT as error:
        where = pathlib.Path(workdir) / "results.json"
        raise InputError(
            f"{where} or scores.npz is not as a run leaves it ({type(error).__name__}: {sanitize.line(str(error))});"
            " the same command as before writes it again"
        ) from error


def write(workdir: pathlib.Path, page: str, drawings: Sequence[figures.Rendered]) -> pathlib.Path:
    """Write report.html and figures/*.png, each whole or not at all; the path of the page."""
    (workdir / "figures").mkdir(exist_ok=True)
    for drawing in drawings:
        path = workdir / "figures" / f"{drawing.name}.png"
        if drawing.png is None:
            path.unlink(missing_ok=True)  # of an earlier report, which no longer holds
        else:
            with replacing(path) as partial:
                partial.write_bytes(drawing.png)
    report = workdir / "report.html"
    with replacing(report) as partial:
        partial.write_text(page, encoding="utf-8")
    return report
