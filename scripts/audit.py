"""Audit a way of training, or a model that is deployed, with what the field has learned since the first attack.

python scripts/audit.py --dataset=location --num_models=128              # models in pairs, each in turn the target
python scripts/audit.py --target=URL --data=mine.npz                     # somebody's model, behind an API
python scripts/audit.py --predictions=preds.npz                          # all answers were had elsewhere
python scripts/audit.py --dataset=location --canaries=1000               # one training run, its epsilon
python scripts/audit.py --dataset=location --fail_if='tpr@0.01>0.05'     # a release gate

Writes results.json, scores.npz and report.html to the workdir. Exit codes: 0 done, 2 bad input, 3 the gate is exceeded,
4 the workdir is held by another process, 5 the query budget is spent, 6 the gate cannot tell (too few records).
Interrupt it at any time: the same command goes on where it stopped.
"""

import signal

if __name__ == "__main__":  # the imports below take seconds, and Ctrl-C needs no traceback; cli.start has a handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from mia_jax import cli
from mia_jax.audits import config as configs
from mia_jax.audits import flags as audit_flags

read_config = audit_flags.define_flags(flags, configs.BalancedConfig, configs.DeployedConfig, configs.CanaryConfig)
FAIL_IF = flags.DEFINE_string(
    "fail_if", None, "conditions that must not hold, as in tpr@0.01>0.05,lira:auc>0.6; see mia_jax.audits.gate"
)
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
    from mia_jax.attacks import ATTACKS
    from mia_jax.audits import gate
    from mia_jax.audits.balanced.plan import attack_names

    if flags.FLAGS["canaries"].present:
        config, names = read_config(configs.CanaryConfig), ("canaries",)
    elif any(flags.FLAGS[name].present for name in ("target", "data", "predictions")):
        config, names = read_config(configs.DeployedConfig), (*ATTACKS,)
    else:
        config = read_config(configs.BalancedConfig)
        names = attack_names(config)
    conditions = () if FAIL_IF.value is None else gate.parse(FAIL_IF.value, attacks=names)
    results = audits.run(config, command=cli.command(), notify=cli.say, progress=progress.shown)
    cli.show_run(results, csv=CSV.value)
    if conditions:
        verdicts = gate.enforce(conditions, results)
        print("\n".join([f"The gate holds: {FAIL_IF.value}", *gate.notes(verdicts)]))


if __name__ == "__main__":
    cli.start(main, define_attack_flags)
