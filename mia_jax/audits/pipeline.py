"""One audit, from its configuration to its page: ``run`` reads from top to bottom.

What differs between kinds of audit is a value, an ``AuditPlan`` (``audits/types.py``); ``audits/plans/`` has them.
Every step leaves artifacts named by what made them (``storage/artifacts.py``): an interrupted run goes on where it
stopped and ends with the same bytes, and a run with more models trains only those that are missing.
"""

import contextlib
import datetime
import functools
import shlex
import time
from collections.abc import Generator
from typing import Any

import jax

from mia_jax.audits import config as configs
from mia_jax.audits import cost, divergence, groupings, outlines, sharing
from mia_jax.audits import release as releases
from mia_jax.audits.config import AuditConfig, BalancedConfig, CanaryConfig, Config
from mia_jax.audits.cost import Prediction
from mia_jax.audits.options import recipe_settings
from mia_jax.audits.plans import plan_of
from mia_jax.audits.release import NOTHING, Release
from mia_jax.audits.sharing import Share, ShareIsMade
from mia_jax.audits.stages import timed
from mia_jax.audits.types import AuditPlan, Notify, Run, Summary, Trained
from mia_jax.plans.shards import Shard
from mia_jax.progress import Progress, silent
from mia_jax.reports import report, results
from mia_jax.reports.results import Results
from mia_jax.statistics import false_discoveries, overlap, screens, subgroups
from mia_jax.storage import artifacts
from mia_jax.storage.places import Place
from mia_jax.types import InputError

PAGE = ("figures", "report.html")


def run(
    config: AuditConfig,
    *,
    command: str = "",
    notify: Notify = lambda line: None,
    progress: Progress = silent,
    page: bool = True,
    release: Release = NOTHING,
) -> Results:
    """Do what ``config`` says in its workdir; write results.json, scores.npz, report.html and its figures there.

    Args:
        config: of the kind of audit; ``None`` in it stands for presets.
        command: how to repeat the run, for the report.
        notify: told a line at each step.
        progress: shows how far the long steps are.
        page: write report.html and its figures, too.
        release: a policy that the results are judged by, and whether evidence and PDFs are written; they need the page.

    Returns:
        What results.json holds (schema 1).

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir, and the audit is of a service or of answers.
        Diverged: training ended in numbers that are not finite, and too few models are left.
        TargetError, BudgetSpent: of a service; every answer that arrived is kept and every question counted, and the
            same command goes on.
    """
    with _opened(config, notify, progress) as (plan, run):
        seen = _observed(plan, run)
        with run.workdir.taking_turns("results", {}, sharing.waiting(run)):
            made = _finished(plan, run, *seen, command, release)
            if page:
                report.write_report(run.workdir.path)
                releases.write(release, run.workdir, made)
            run.workdir.publish(["scores.npz", *(PAGE if page else ()), *releases.FILES, "results.json"])
        return made


def run_share(
    config: AuditConfig, shard: Shard, *, notify: Notify = lambda line: None, progress: Progress = silent
) -> Share:
    """Train and observe one share of the models of a run into its workdir, beside other processes that do so.

    ``run`` takes what is there, and makes what is missing.

    Args:
        config: of an audit whose models are trained here: ``Config`` or ``BalancedConfig``.
        shard: which share.
        notify: told a line at each step.
        progress: shows how far the training is.

    Returns:
        What was made, and what is missing.

    Raises:
        InputError: as ``run``; or there is nothing to share.
    """
    _refuse_single(config)
    with _opened(config, notify, progress, shard) as (plan, run):
        try:
            _observed(plan, run)
        except ShareIsMade as done:
            return done.share
    raise AssertionError("models were observed that a shard does not have")


def predict(
    config: AuditConfig, shards: int = 1, *, notify: Notify = lambda line: None, progress: Progress = silent
) -> Prediction:
    """What a run will take: seconds, memory, disk, less what its workdir has already; by timing a few of its steps.

    Args:
        config: of an audit whose models are trained here: ``Config`` or ``BalancedConfig``.
        shards: that make the models.
        notify: told a line at each step.
        progress: shows nothing so far.

    Raises:
        InputError: as ``run``; or what the run takes is not known before.
    """
    if not has_shares(config):
        raise InputError("`plan_only` is for audits that train many models, which this one does not: leave it out")
    with _opened(config, notify, progress) as (plan, run):
        return cost.predict(run, outlines.outline(run, plan.prepare(run)), shards)


def place(config: AuditConfig) -> Place:
    """The workdir of a run whose shares others are to make.

    Raises:
        InputError: the configuration cannot be used, or there is nothing to share.
    """
    _refuse_single(config)
    return configs.workdir(plan_of(config).resolve(config))


def claim(config: AuditConfig) -> None:
    """Claim the workdir of a run for its configuration, before others are sent to work there.

    Raises:
        InputError: the configuration or the workdir cannot be used.
    """
    with _opened(config, lambda line: None, silent) as (_, run):
        run.workdir.claim()


def has_shares(config: AuditConfig) -> bool:
    """Whether an audit trains models that several processes can share."""
    return isinstance(config, Config | BalancedConfig)


def _refuse_single(config: AuditConfig) -> None:
    if not has_shares(config):
        raise InputError("shares are of audits that train many models, which this one does not: leave `shard` out")


@contextlib.contextmanager
def _opened(
    config: AuditConfig, notify: Notify, progress: Progress, shard: Shard | None = None
) -> Generator[tuple[AuditPlan, Run]]:
    """The plan of a configuration, and the run in its workdir. Several processes may share one in which all is trained.

    Whoever asks a service counts the questions, so only one process does.
    """
    plan, given = plan_of(config), config
    config = plan.resolve(config)
    shared = isinstance(config, Config | BalancedConfig | CanaryConfig)
    with artifacts.open_workdir(configs.workdir(config), configs.workdir_identity(config), shared=shared) as workdir:
        root = jax.random.key(config.seed)
        yield plan, Run(config, given, workdir, root, once(notify), progress, {}, shard)


def _observed(plan: AuditPlan, run: Run) -> tuple[Any, Trained, Any, float]:
    """The setting, the models, what is seen of them, and the seconds that this took."""
    with timed(run.seconds, "data"):
        setting = plan.prepare(run)
    trained = plan.train(run, setting)
    began = time.perf_counter()
    trained, observed = divergence.without_diverged(run, trained, functools.partial(plan.observe, run, setting))
    return setting, trained, observed, time.perf_counter() - began - trained.models.spent()


def _finished(
    plan: AuditPlan,
    run: Run,
    setting: Any,
    trained: Trained,
    observed: Any,
    observing: float,
    command: str,
    release: Release,
) -> Results:
    """Attacks, measures, the policy's verdict, results.json and scores.npz."""
    began = time.perf_counter()
    scored = plan.attack(run, setting, observed)
    run.seconds.setdefault("attack", time.perf_counter() - began + observing)

    with timed(run.seconds, "evaluation"):
        summary = plan.summarize(run, setting, trained, observed, scored)
    listed, columns = {}, {}
    if not isinstance(run.config, CanaryConfig):
        listed, columns = false_discoveries.block(summary.scores, seed=run.config.seed)
    made = releases.judged(release, _results(plan.name, run, summary, listed, command))
    results.write(run.workdir, made, {**summary.scores, **columns})
    releases.keep_policy(release, run.workdir.path)
    return made


# --- what all audits have --------------------------------------------------------------------------------------------


def once(notify: Notify) -> Notify:
    """Tells each line once: target and shadows are trained alike, and what is said of both need not be said twice."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            notify(line)

    return tell


def _results(plan: str | None, run: Run, summary: Summary, listed: dict[str, Any], command: str) -> Results:
    """What results.json says: how the run was made, on what and when, and what it came to."""
    trained = recipe_settings(run.config) if "optimizer" in summary.settings else {}
    settings = {**summary.settings, **trained, "workdir": str(run.workdir)}
    by = groupings.of_run(summary)
    more: dict[str, Any] = {"subgroups": subgroups.block(summary.scores, summary.blocks["attacks"], by)}
    more |= {"screens": screens.block(summary.scores), "overlap": overlap.block(summary.scores), "discoveries": listed}
    return {
        "schema": results.SCHEMA,
        **({"plan": plan} if plan else {}),
        "command": results.printable(_shown(command, run)),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": results.machine(),
        "config": results.printable(settings),
        "versions": results.versions(),
        "devices": [f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.local_devices()],
        **summary.blocks,
        **{name: block for name, block in more.items() if block},
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
    }


def _shown(command: str, run: Run) -> str:
    """The command without what the configuration does not show: the query of a target's URL, which may hold a key."""
    given, shown = (getattr(config, "target", None) for config in (run.given, run.config))
    if given == shown or given is None or shown is None:
        return command
    return shlex.join(part.replace(given, shown) for part in shlex.split(command))
