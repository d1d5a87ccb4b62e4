"""Attack a model with shadow models, from data to report.

python scripts/train.py --dataset=purchase --num_shadows=50

Trains a target and shadow models on a data set, learns from the shadows to tell members from non-members, attacks the
target, and writes results.json, scores.npz and report.html to the workdir. Interrupt it at any time: the same command
goes on where it stopped.
"""

import signal

if __name__ == "__main__":  # the imports below take seconds, and Ctrl-C needs no traceback; cli.start has a handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from mia_jax import cli
from mia_jax.audits import config as configs
from mia_jax.audits import flags as given

read_config = given.define_flags(flags, configs.Config)
flags.adopt_module_key_flags(given)


def main() -> None:
    cli.use_every_core()
    from mia_jax import audits, progress
    from mia_jax.reports import report

    config = read_config(configs.Config)
    results = audits.run(config, command=cli.command(), notify=cli.say, progress=progress.shown)
    workdir = results["config"]["workdir"]
    cli.show(report.terminal_table(results))
    print(f"\nReport: {workdir}/report.html    data: {workdir}/results.json, {workdir}/scores.npz")


if __name__ == "__main__":
    cli.start(main)
