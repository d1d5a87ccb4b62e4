"""What a run leaves, beside its report, for whoever decides on a release: a policy's verdict, evidence, PDFs."""

import functools
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from mia_jax import attacks, evidence
from mia_jax.audits import gate, policy_verdict
from mia_jax.audits import policy as policies
from mia_jax.audits.balanced import plan
from mia_jax.audits.config import AuditConfig, BalancedConfig, CanaryConfig, Config, DeployedConfig
from mia_jax.audits.policy import Policy
from mia_jax.evidence.manifest import Print
from mia_jax.reports import pdf as pdfs
from mia_jax.reports.results import printable
from mia_jax.storage.artifacts import Workdir
from mia_jax.storage.files import replacing

POLICY = "policy.toml"  # in the workdir: the text by which the run was judged
FILES = (POLICY, "report.pdf", evidence.FOLDER)  # in the workdir


class Release(NamedTuple):
    """What is asked for."""

    policy: Policy | None = None
    evidence: bool = False
    pdf: Print | None = None  # makes PDFs


NOTHING = Release()


def asked(
    config: AuditConfig,
    *,
    policy: str | os.PathLike | None = None,
    evidence: bool | None = None,
    pdf: bool = False,
) -> Release:
    """What is asked for, checked before any work.

    Args:
        config: of the audit, which says which attacks may run.
        policy: path of a policy.
        evidence: whether to write the folder of evidence; None: where there is a policy.
        pdf: whether to make PDFs.

    Raises:
        InputError: the policy cannot be used or asks for other attacks, or nothing here makes a PDF.
    """
    read = None if policy is None else policies.read(policy, attacks=attack_names(config))
    return Release(read, read is not None if evidence is None else evidence, pdfs.printer() if pdf else None)


def attack_names(config: AuditConfig) -> tuple[str, ...]:
    """The attacks that may run, as far as that is known before any work: those that a gate or a policy may name.

    Raises:
        InputError: one that was asked for is unknown.
    """
    match config:
        case CanaryConfig():
            return ("canaries",)
        case BalancedConfig():
            return plan.attack_names(config)
        case Config() | DeployedConfig():
            named = attacks.named(config.attacks)
            return (*attacks.ATTACKS,) if attacks.wants_all(config.attacks) else (*named,)
    raise TypeError(f"{type(config).__name__} is no kind of audit")


def judged(release: Release, results: Any) -> Any:
    """The results with what the policy says of them, where there is one."""
    if release.policy is None:
        return results
    return {**results, "policy": printable(policy_verdict.judge(release.policy, results))}


def keep_policy(release: Release, workdir: pathlib.Path) -> None:
    """Leave the policy's text beside the results; that of an earlier run does not hold any more."""
    if release.policy is None:
        (workdir / POLICY).unlink(missing_ok=True)
        return
    with replacing(workdir / POLICY) as partial:
        partial.write_bytes(release.policy.text)


def write(release: Release, workdir: Workdir, results: Mapping[str, Any]) -> None:
    """Write the evidence and the PDFs of a finished run, whose report is there."""
    (workdir.path / "report.pdf").unlink(missing_ok=True)  # of an earlier report, which no longer holds
    if release.pdf is not None:
        release.pdf(workdir.path / "report.html", workdir.path / "report.pdf")
    if release.evidence:
        evidence.write(workdir.path, results, workdir.checksums(), pdf=release.pdf)


def enforce(
    release: Release, audits: Mapping[str, Mapping[str, Any]], conditions: Collection[gate.Condition] = ()
) -> list[gate.Verdict]:
    """The verdicts of a gate's conditions, where these and the policy are met by each of one or several models.

    Args:
        release: whose policy the results were judged by.
        audits: results by the name of the model; "" where there is one.
        conditions: of ``gate.parse``.

    Raises:
        GateExceeded: one line with all that is exceeded, not met or undecided, and by which model.
        GateUndecided: the same, where nothing is known to be exceeded or not met.
    """
    checks: list[tuple[str, Callable[[], Any]]] = []
    for name, results in audits.items():
        if conditions:
            checks.append((name, functools.partial(gate.enforce, conditions, results)))
        if release.policy is not None:
            checks.append((name, functools.partial(policy_verdict.enforce, results)))
    return [verdict for found in gate.every(checks) for verdict in found or ()]
