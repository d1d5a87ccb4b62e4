"""Audit a way of training, or a model that is deployed, with what the field has learned since the first attack.

mia-jax audit --dataset=location --num_models=128              # models in pairs, each in turn the target
mia-jax audit --target=URL --data=mine.npz                     # somebody's model, behind an API
mia-jax audit --predictions=preds.npz                          # all answers were obtained elsewhere
mia-jax audit --predictions=a.npz,b.npz,c.npz                  # variants of one model, side by side
mia-jax audit --dataset=location --canaries=1000               # one training run, its epsilon
mia-jax audit --dataset=location --canaries=900 --canary_kind=clean,mislabelled,ood --num_models=32
mia-jax audit --dataset=location --fail_if='tpr@0.01>0.05'     # a release gate
mia-jax audit --dataset=location --policy=policy.toml          # the same by a policy, with a folder of evidence

Writes results.json, scores.npz and report.html to the workdir. Exit codes: 0 done, 2 bad input, 3 the gate is exceeded
or the policy not met, 4 another process audits a service, or saved answers, in this workdir, 5 the query budget is
spent, 6 the gate, or the policy, cannot tell (too few records).
Interrupt it at any time: the same command goes on where it stopped.
"""

import functools
from collections.abc import Callable
from typing import Any

from absl import flags

from mia_jax import cli, command_line

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags, with those of the user's own attacks in ``argv``; returns what to do once they are read."""
    from mia_jax.audits import config as configs
    from mia_jax.audits import flags as audit_flags

    kinds = (configs.CanaryConfig, configs.BalancedConfig, configs.DeployedConfig)  # what the last says is shown
    read_config = audit_flags.define_flags(flags, *kinds)
    flags.DEFINE_string(
        "fail_if", None, "conditions that must not hold, as in tpr@0.01>0.05,lira:auc>0.6; see mia_jax.audits.gate"
    )
    flags.DEFINE_bool("csv", False, cli.CSV)
    flags.DEFINE_bool("plan_only", False, cli.PLAN_ONLY)
    read_release = cli.define_release_flags(flags)
    read_sharing = audit_flags.define_sharing_flags(flags)
    cli.define_attack_flags(argv)
    for module in (audit_flags, cli):
        flags.adopt_module_key_flags(module)
    return functools.partial(_audit, read_config, read_release, read_sharing)


def _audit(read_config: Callable, read_release: Callable, read_sharing: Callable) -> None:
    cli.use_every_core()
    from mia_jax import progress
    from mia_jax.audits import comparison, gate, shared_runs
    from mia_jax.audits import release as releases

    sharing = read_sharing()
    if FLAGS.plan_only:
        cli.show(shared_runs.predict(_config(read_config), sharing, notify=cli.say, progress=progress.shown))
        return
    part = shared_runs.part(sharing)
    config = _config(read_config)
    conditions = () if FLAGS.fail_if is None else gate.parse(FLAGS.fail_if, attacks=releases.attack_names(config))
    release = read_release(config)
    if len(comparison.files(FLAGS.predictions)) > 1:
        _compare(config, conditions, release)
        return
    results = shared_runs.run(
        config, part, command=command_line.here(), notify=cli.say, progress=progress.shown, release=release
    )
    if results is None:  # a share of the models was made
        return
    cli.show_run(results, csv=FLAGS.csv)
    cli.enforce(release, {"": results}, conditions)


def _compare(config: Any, conditions: tuple, release: Any) -> None:
    """Several models side by side; each has to pass the gate."""
    from mia_jax import progress
    from mia_jax.audits import comparison
    from mia_jax.reports import columns, terminal
    from mia_jax.reports import comparison as words

    folder, compared, audits = comparison.compare(
        config, command=command_line.here(), notify=cli.say, progress=progress.shown, release=release
    )
    cli.show(terminal.comparison_table(compared, audits))
    cli.show(
        "\n".join([*words.verdicts(compared), f"\nReport: {folder}/comparison.html    data: {folder}/comparison.json"])
    )
    if FLAGS.csv:
        for results in audits.values():
            cli.show(f"Scores as text: {columns.write_csv(results['config']['workdir'])}")
    for results in audits.values():
        cli.show_release(results["config"]["workdir"])
    cli.enforce(release, audits, conditions)


def _config(read_config: Callable) -> Any:
    """The configuration of the kind of audit that the flags ask for."""
    from mia_jax import audits

    if FLAGS["canaries"].present:
        return read_config(audits.CanaryConfig)
    if any(FLAGS[name].present for name in ("target", "data", "predictions")):
        return read_config(audits.DeployedConfig)
    return read_config(audits.BalancedConfig)
