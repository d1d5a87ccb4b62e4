"""Attack a model with shadow models, from data to report.

mia-jax train --dataset=purchase --num_shadows=50

Trains a target and shadow models on a data set, learns from the shadows to tell members from non-members, attacks the
target, and writes results.json, scores.npz and report.html to the workdir. Interrupt it at any time: the same command
goes on where it stopped. Exit codes: 0 done, 2 bad input, 3 a policy is not met, 6 it cannot be decided.
"""

import functools
from collections.abc import Callable

from absl import flags

from mia_jax import cli, command_line


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags, with those of the user's own attacks in ``argv``; returns what to do once they are read."""
    from mia_jax.audits import config as configs
    from mia_jax.audits import flags as audit_flags

    read_config = audit_flags.define_flags(flags, configs.Config)
    flags.DEFINE_bool("csv", False, cli.CSV)
    flags.DEFINE_bool("plan_only", False, cli.PLAN_ONLY)
    read_release = cli.define_release_flags(flags)
    read_sharing = audit_flags.define_sharing_flags(flags)
    cli.define_attack_flags(argv)
    for module in (audit_flags, cli):
        flags.adopt_module_key_flags(module)
    return functools.partial(_train, read_config, read_release, read_sharing)


def _train(read_config: Callable, read_release: Callable, read_sharing: Callable) -> None:
    cli.use_every_core()
    from mia_jax import audits, progress
    from mia_jax.audits import shared_runs

    sharing = read_sharing()
    if flags.FLAGS.plan_only:
        config = read_config(audits.Config)
        cli.show(shared_runs.predict(config, sharing, notify=cli.say, progress=progress.shown))
        return
    part = shared_runs.part(sharing)
    config = read_config(audits.Config)
    release = read_release(config)
    results = shared_runs.run(
        config, part, command=command_line.here(), notify=cli.say, progress=progress.shown, release=release
    )
    if results is None:  # a share of the models was made
        return
    cli.show_run(results, csv=flags.FLAGS.csv)
    cli.enforce(release, {"": results})
