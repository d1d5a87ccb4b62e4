"""One audit, from its configuration to its page: ``run`` reads from top to bottom.

What differs between kinds of audit is a value, an ``AuditPlan`` (``audits/types.py``); ``audits/plans/`` has them.
Every step leaves artifacts named by what made them (``storage/artifacts.py``): an interrupted run goes on where it
stopped and ends with the same bytes, and a run with more models trains only those that are missing.
"""

import datetime
import functools
import shlex
import time

import jax

from mia_jax.audits import config as configs
from mia_jax.audits import divergence
from mia_jax.audits.config import AuditConfig
from mia_jax.audits.options import recipe_settings
from mia_jax.audits.plans import plan_of
from mia_jax.audits.stages import timed
from mia_jax.audits.types import AuditPlan, Notify, Run, Summary
from mia_jax.progress import Progress, silent
from mia_jax.reports import report, results
from mia_jax.reports.results import Results
from mia_jax.statistics import coverage, screens
from mia_jax.storage import artifacts


def run(
    config: AuditConfig,
    *,
    command: str = "",
    notify: Notify = lambda line: None,
    progress: Progress = silent,
    page: bool = True,
) -> Results:
    """Do what ``config`` says in its workdir; write results.json, scores.npz, report.html and its figures there.

    Args:
        config: of the kind of audit; ``None`` in it stands for presets.
        command: how to repeat the run, for the report.
        notify: told a line at each step.
        progress: shows how far the long steps are.
        page: write report.html and its figures, too.

    Returns:
        What results.json holds (schema 1).

    Raises:
        InputError: the configuration, the data or the workdir cannot be used; before any long work.
        WorkdirHeld: another process works in the same workdir.
        Diverged: training ended in numbers that are not finite, and too few models are left.
        TargetError, BudgetSpent: of a service; every answer that arrived is kept and every question counted, and the
            same command goes on.
    """
    plan, given = plan_of(config), config
    config = plan.resolve(config)
    with artifacts.open_workdir(configs.workdir(config), configs.identity(config)) as workdir:
        root = jax.random.key(config.seed)
        made = _run(plan, Run(config, given, workdir, root, once(notify), progress, {}), command)
        if page:
            report.write_report(workdir.path)
        return made


def _run(plan: AuditPlan, run: Run, command: str) -> Results:
    with timed(run.seconds, "data"):
        setting = plan.prepare(run)
    trained = plan.train(run, setting)

    began = time.perf_counter()
    trained, observed = divergence.without_diverged(run, trained, functools.partial(plan.observe, run, setting))
    scored = plan.attack(run, setting, observed)
    run.seconds.setdefault("attack", time.perf_counter() - began - trained.models.spent())

    with timed(run.seconds, "evaluation"):
        summary = plan.summarize(run, setting, trained, observed, scored)
    made = _results(plan.name, run, summary, command)
    results.write(run.workdir, made, summary.scores)
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


def _results(plan: str | None, run: Run, summary: Summary, command: str) -> Results:
    """What results.json says: how the run was made, on what and when, and what it came to."""
    trained = recipe_settings(run.config) if "optimizer" in summary.settings else {}
    settings = {**summary.settings, **trained, "workdir": str(run.workdir.path)}
    more = {"screens": screens.block(summary.scores), "coverage": coverage.block(summary.scores)}
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
