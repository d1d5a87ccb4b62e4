"""From a finished run's folder to one self-contained page and its figures.

The reader of the page has never read a paper: every number stands beside what guessing would give, and every
figure says how to read it. A run on simulated records says SIMULATED in every title and caption. Nothing here computes
with JAX. The page is made of ``sections``; each knows whether a run has something for it to show.
"""

import os

from mia_jax.reports import figures, folder, measures, plots, render
from mia_jax.reports.blocks import Report
from mia_jax.reports.results import read
from mia_jax.reports.terminal import terminal_table
from mia_jax.storage import places
from mia_jax.types import InputError

__all__ = ["terminal_table", "write_report"]


def write_report(workdir: str | os.PathLike | places.Address) -> places.Place:
    """Write report.html and figures/*.png into a run's folder, from its results.json and scores.npz.

    Each file is written whole or not at all, and the same input gives the same bytes.

    Args:
        workdir: a folder, or an address as s3://bucket/run; holds results.json (schema 1) and scores.npz, of any plan.

    Returns:
        The path of report.html, which needs no other file.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema or of an unknown plan.

    >>> import mia_jax as mia
    >>> mia.write_report("runs/location-fae8fb78")  # doctest: +SKIP
    """
    path = places.place(workdir)
    with folder.believed(path):
        results, scores, digest = read(path)
        if measures.plan(results) not in plots.PLOTS:
            raise InputError(
                f"{path / 'results.json'} is of the plan {measures.plan(results)!r}, which is not known here:"
                " the version that ran it shows it"
            )
        drawings = figures.draw(results, scores, plots.of(results))
        page = render.page(Report(results, scores, digest, drawings))
        return folder.write(path, page, drawings)
