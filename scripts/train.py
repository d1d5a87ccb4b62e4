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
from mia_jax.audits import flags as audit_flags

read_config = audit_flags.define_flags(flags, configs.Config)
CSV = flags.DEFINE_bool("csv", False, "write the scores as text, too: scores.csv, a line for each record")
flags.adopt_module_key_flags(audit_flags)


def define_attack_flags(argv: list[str]) -> None:
    if any(":" in word for word in argv):  # your own attacks: their options become flags
        cli.use_every_core()
        audit_flags.define_attack_flags(flags, argv)
        flags.adopt_module_key_flags(audit_flags)


def main() -> None:
    cli.use_every_core()
    from mia_jax import audits, progress

    config = read_config(configs.Config)
    results = audits.run(config, command=cli.command(), notify=cli.say, progress=progress.shown)
    cli.show_run(results, csv=CSV.value)


if __name__ == "__main__":
    cli.start(main, define_attack_flags)
