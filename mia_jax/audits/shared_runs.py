"""A run that several processes share, from the command line: a share of it, or all of it with an engine's help."""

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import NamedTuple

from mia_jax import command_line
from mia_jax.audits import engines, pipeline
from mia_jax.audits.config import AuditConfig
from mia_jax.audits.flags import Sharing, as_sbatch, of_share
from mia_jax.audits.release import NOTHING, Release
from mia_jax.audits.types import Notify
from mia_jax.plans import shards
from mia_jax.plans.shards import Given
from mia_jax.progress import Progress
from mia_jax.reports.results import Results


class Part(NamedTuple):
    """Which part of a run is this process's."""

    sharing: Sharing  # as it was given
    given: Given | None  # its shard; None: all of the run

    @property
    def meets(self) -> bool:
        """Whether it is one of the processes of ``jax.distributed``, which meet when their shares are made."""
        return self.sharing.coordinator is not None


def part(sharing: Sharing) -> Part:
    """Which part of the run is this process's; to be asked before anything is computed.

    Raises:
        InputError: the shard is none, or the other processes are not found.
    """
    if sharing.engine != "local":
        return Part(sharing, None)
    own = shards.parse(sharing.shard, _environment(sharing))
    if sharing.coordinator is None:
        return Part(sharing, own)
    return Part(sharing, Given(engines.connect(sharing.coordinator, own and own.shard), "jax.distributed"))


def _environment(sharing: Sharing) -> Mapping[str, str]:
    """Where a scheduler tells which task this is; with a coordinator a task may be several processes, so nowhere."""
    return os.environ if sharing.coordinator is None else {}


def predict(config: AuditConfig, sharing: Sharing, *, notify: Notify, progress: Progress) -> str:
    """What a run will take, for people; nothing is trained and nothing written.

    Raises:
        MiaError: as ``pipeline.predict``.
    """
    count = sharing.shards
    if sharing.engine == "local":
        count = shards.count(sharing.shard, _environment(sharing))
    return "\n".join(pipeline.predict(config, count, notify=notify, progress=progress).lines())


def run(
    config: AuditConfig,
    mine: Part,
    *,
    command: str,
    notify: Notify,
    progress: Progress,
    release: Release = NOTHING,
) -> Results | None:
    """Do this process's part of a run.

    Args:
        config: of the kind of audit.
        mine: of ``part``.
        command: how to repeat the run, for the report.
        notify: told a line at each step.
        progress: shows how far the long steps are.
        release: as of ``pipeline.run``.

    Returns:
        What results.json holds; None: a share was made, and the run is another process's to end.

    Raises:
        EngineError: a scheduler refuses the job, or a share failed wherever it was started.
        MiaError: as ``pipeline.run``.
    """
    if mine.sharing.engine != "local":
        _elsewhere(config, mine.sharing, notify, progress)
    by_scheduler = mine.given is not None and mine.given.by != "" and not mine.meets
    if mine.given is not None and (pipeline.has_shares(config) or not by_scheduler):
        _share(config, mine.given, mine.meets, notify, progress)
        if not mine.meets or mine.given.shard.index:
            return None
    return pipeline.run(config, command=command, notify=notify, progress=progress, release=release)


def _share(config: AuditConfig, given: Given, meets: bool, notify: Notify, progress: Progress) -> None:
    """Make a share; and wait until all others have made theirs, if they are to meet."""
    shard, by = given
    if by:
        notify(f"Shard {shard} of the models, by {by}" + ("" if meets else "; `shard=off` makes all of them here"))
    share = pipeline.run_share(config, shard, notify=notify, progress=progress)
    goes_on = "the first process goes on" if meets else "the same command with `shard=off` goes on"
    notify(f"Shard {shard} is done: {share}; {goes_on}")
    if meets:
        engines.wait_for_all()


def _elsewhere(config: AuditConfig, sharing: Sharing, notify: Notify, progress: Progress) -> None:
    """Have all shares made by the engine."""
    workdir, (name, given), count = pipeline.place(config), command_line.typed(), sharing.shards
    commands = [[sys.executable, "-m", "mia_jax", name, *of_share(given, f"{i}/{count}")] for i in range(count)]
    if sharing.engine == "ray":
        start = engines.RayCluster(commands, sharing.ray).start
    else:
        seen_by_all = pathlib.Path("runs") / f"{workdir.name}.slurm"  # nodes start where this process is
        folder = workdir / ".slurm" if isinstance(workdir, pathlib.Path) else seen_by_all
        start = engines.Slurm(commands, folder, sharing.slurm, notify).start
        share = [*command_line.program(name), *of_share(given, f"/{count}")]
        notify(f"This stands for: {as_sbatch(share, sharing)}")
    pipeline.claim(config)
    engines.finish(start, count, notify, progress)
