"""Write the page of a finished run again, and show its table.

mia-jax report --workdir=runs/location-1a2b3c4d

Reads results.json and scores.npz of the workdir, of any kind of run, and writes report.html and its figures; --csv
writes the scores as text, too. Nothing is computed anew.
"""

from collections.abc import Callable

from absl import flags

from mia_jax import cli

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    del argv
    flags.DEFINE_string("workdir", None, "folder of a finished run, or its address, as s3://bucket/run", required=True)
    flags.DEFINE_bool("csv", False, cli.CSV)
    return _report


def _report() -> None:
    from mia_jax.reports import report, results

    report.write_report(FLAGS.workdir)
    cli.show_run(results.read(FLAGS.workdir).results, workdir=FLAGS.workdir, csv=FLAGS.csv)
