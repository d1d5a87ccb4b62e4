"""Repeat the tables and figures of Shokri et al. 2017, the paper's numbers beside ours.

mia-jax reproduce --list
mia-jax reproduce --experiment=noisy_shadows
mia-jax reproduce --all --scale=paper

Each experiment writes data.json, table.md and figure.png to a folder of its own below --root, and says whether the
paper's finding was found. Experiments share runs; interrupt at any time: the same command goes on where it stopped.
"""

import shlex
from collections.abc import Callable, Iterable

from absl import flags

from mia_jax import cli, command_line

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    del argv
    flags.DEFINE_string("experiment", None, "one of those that --list shows; several are separated by commas")
    flags.DEFINE_bool("all", False, "every experiment")
    flags.DEFINE_bool("list", False, "show the experiments")
    flags.DEFINE_enum(
        "scale",
        "quick",
        ["quick", "cpu", "paper"],
        "quick: small runs; cpu: the largest that 2 cores finish in about two hours; paper: the paper's sizes",
    )
    flags.DEFINE_string("root", None, "folder of the runs and the results (default: runs/reproduce-<scale>)")
    flags.DEFINE_string("data_dir", None, "folder of official files (default: $MIA_JAX_DATA_DIR)")
    return _reproduce


def _reproduce() -> None:
    from mia_jax.audits import flags as audit_flags

    audit_flags.refuse_idle(audit_flags.REPRODUCE, audit_flags.present(flags), FLAGS)
    cli.use_every_core()
    from mia_jax import progress, reproduction
    from mia_jax.reproduction import run

    known = reproduction.EXPERIMENTS
    if FLAGS.list:
        for name, experiment in known.items():
            print(f"{name:<18} {experiment.title} ({experiment.section})")
        return
    done: dict = {}
    for name in _wanted(known):
        outcome = run.execute(
            known[name],
            FLAGS.scale,
            FLAGS.root or f"runs/reproduce-{FLAGS.scale}",
            data_dir=FLAGS.data_dir,
            command=command(name),
            notify=cli.say,
            progress=progress.shown,
            known=done,
        )
        print(outcome.table)
        print(f"{outcome.folder}/figure.png    {outcome.folder}/data.json    {outcome.folder}/table.md\n", flush=True)


def _wanted(known: Iterable[str]) -> list[str]:
    """The experiments that were asked for. Raises InputError."""
    from mia_jax.types import InputError

    names = [*known] if FLAGS.all else [name.strip() for name in (FLAGS.experiment or "").split(",") if name.strip()]
    if not names:
        raise InputError("say which: --experiment=NAME, or --all; --list shows the names")
    if stray := [name for name in names if name not in known]:
        raise InputError(f"--experiment={stray[0]} is not one of {', '.join(known)}")
    return names


def command(name: str) -> str:
    """How to repeat one experiment of those that were asked for."""
    values = {"experiment": name, "scale": FLAGS.scale, "root": FLAGS.root, "data_dir": FLAGS.data_dir}
    given = [f"--{flag}={value}" for flag, value in values.items() if value is not None]
    return shlex.join([*command_line.program("reproduce"), *given])
