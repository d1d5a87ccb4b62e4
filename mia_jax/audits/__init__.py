"""Whole runs, from data to report: ``run``, and a configuration for each kind of audit.

>>> from mia_jax import audits
>>> results = audits.run(audits.Config(dataset="location", num_shadows=10))  # doctest: +SKIP
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mia_jax.audits.config import BalancedConfig, CanaryConfig, Config, DeployedConfig
from mia_jax.progress import Progress, silent

if TYPE_CHECKING:
    from mia_jax.reports.results import Results

__all__ = ["BalancedConfig", "CanaryConfig", "Config", "DeployedConfig", "run"]


def run(
    config: Config | BalancedConfig | DeployedConfig | CanaryConfig,
    *,
    command: str = "",
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
    policy: str | os.PathLike | None = None,
    evidence: bool | None = None,
) -> "Results":
    """Do what a configuration says, from data to report, in its workdir: whole runs of mia-jax train and audit.

    The kind of the configuration is the plan: ``Config`` (the paper's attack), ``BalancedConfig`` (models in
    complementary pairs, each in turn the target), ``DeployedConfig`` (somebody's model), ``CanaryConfig`` (one training
    run). Interrupted, the same call goes on where it stopped, to the same bytes.

    Args:
        config: what the run is; ``None`` in it stands for the data set's preset.
        command: how to repeat the run, for the report.
        notify: told a line at each step.
        progress: shows how far the long steps are, as ``mia_jax.progress.shown``.
        policy: path of a policy (docs/policy.md) that the results are judged by: ``results["policy"]["status"]``.
        evidence: write the folder of evidence into the workdir; None: where there is a policy.

    Returns:
        What results.json holds (docs/results-schema.md). The workdir, ``config["workdir"]`` of it, has results.json,
        scores.npz, report.html and the figures.

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir, and the audit is of a service or of answers.
        MiaError: training diverged, a service refuses, a budget is spent: ``exit_code`` says which. The same call goes
            on.

    >>> import pathlib, tempfile, numpy as np, mia_jax as mia
    >>> folder, rng = pathlib.Path(tempfile.mkdtemp()), np.random.default_rng(0)
    >>> labels, trained = rng.integers(2, size=100), rng.random((5, 100)) < 0.5  # who trained the target and 4 shadows
    >>> p = rng.beta(2 + 3 * trained, 2)  # of the true class
    >>> p = np.where(np.eye(2, dtype=bool)[labels], p[..., None], 1 - p[..., None])
    >>> saved = dict(labels=labels, target=p[0], member=trained[0], shadows=p[1:], shadow_member=trained[1:])
    >>> np.savez(folder / "p.npz", **saved)
    >>> config = mia.DeployedConfig(predictions=str(folder / "p.npz"), attacks="loss,rmia", workdir=str(folder / "run"))
    >>> results = mia.run(config)
    >>> sorted(results["attacks"]), mia.write_report(folder / "run").name
    (['loss', 'rmia'], 'report.html')
    """
    from mia_jax.audits import pipeline, release

    asked = release.asked(config, policy=policy, evidence=evidence)
    return pipeline.run(config, command=command, notify=notify, progress=progress, release=asked)
