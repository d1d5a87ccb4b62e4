"""Whether a run meets a policy (``audits/policy.py``), rule by rule: met, not met, or undecided.

Limits are decided by ``gate.judge``, as conditions of ``fail_if`` are. What is required of an audit (attacks, records,
shadows, the blind baseline, the negative control) is met or leaves it undecided: the next move is another audit, and
not another model. Whoever enforces a policy fails on both, with different exit codes (3 not met, 6 undecided).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mia_jax.audits import gate
from mia_jax.audits.policy import CONFIDENCE, Limit, Policy
from mia_jax.reports import measures
from mia_jax.reports.results import PolicyBlock, PolicyRule

MET, NOT_MET, UNDECIDED = "met", "not met", "undecided"
NAMED = 5  # attacks, or groups, that a line names
ENDS = {"high": "upper end of the 95 % interval", "low": "lower end of the 95 % interval", "value": "estimate"}

Results = Mapping[str, Any]


def judge(policy: Policy, results: Results) -> PolicyBlock:
    """The ``policy`` block of results.json.

    Args:
        policy: of ``policy.read``.
        results: what results.json holds besides.
    """
    rules = [REQUIRED[name](value, results) for name, value in policy.required.items()]
    rules += [_limit(limit, results) for limit in policy.limits]
    rules += [_in_subgroups(limit, results) for limit in policy.subgroups]
    found = {rule["status"] for rule in rules}
    return {
        "file": policy.file,
        "sha256": policy.sha256,
        "title": policy.title,
        "status": NOT_MET if NOT_MET in found else UNDECIDED if UNDECIDED in found else MET,
        "end": policy.end,
        "confidence": CONFIDENCE,
        "rules": rules,
    }


def enforce(results: Results) -> None:
    """Do nothing where the policy that the results were judged by is met.

    Raises:
        GateExceeded: a limit is exceeded; one line with every rule that is not met, and what was found.
        GateUndecided: none is known to be exceeded, and of a rule it cannot be told.
    """
    block = results["policy"]
    if block["status"] == MET:
        return
    against = [rule for rule in block["rules"] if rule["status"] != MET]
    lines = "; ".join(f"{rule['rule']}: {rule['found']}" for rule in against)
    if block["status"] == UNDECIDED:
        raise gate.GateUndecided(f"the policy {block['file']} cannot be decided; {lines}")
    raise gate.GateExceeded(f"the policy {block['file']} is not met; {lines}")


def _rule(rule: str, asks: str, status: str, found: str) -> PolicyRule:
    return {"rule": rule, "asks": asks, "status": status, "found": found}


# --- what is required ------------------------------------------------------------------------------------------------


def _attacks(names: Sequence[str], results: Results) -> PolicyRule:
    """Each of these attacks has run, and could be measured."""
    lacking = {name: why for name in names if (why := _not_measured(name, results))}
    found = "; ".join(f"{name}: {why}" for name, why in lacking.items()) or "they ran, and are measured"
    asks = f"attacks that ran and could be measured: {', '.join(names)}"
    return _rule("required.attacks", asks, UNDECIDED if lacking else MET, found)


def _not_measured(name: str, results: Results) -> str:
    block = results["attacks"].get(name)
    if block is None:
        return "it did not run"
    return (
        "" if measures.value(block.get("auc")) is not None else measures.reason(block.get("auc"), block.get("reason"))
    )


def _records(side: int) -> Callable[[int, Results], PolicyRule]:
    key, word = (("members", "members"), ("non_members", "non-members"))[side]

    def rule(least: int, results: Results) -> PolicyRule:
        judged = measures.judged(results)[side]
        of = " of each target" if measures.num_targets(results) > 1 else ""
        found = f"{judged:,} were judged{of}" if judged else "none was judged, as far as is known"
        return _rule(f"required.{key}", f"{least:,} {word} at least", MET if judged >= least else UNDECIDED, found)

    return rule


def _shadows(least: int, results: Results) -> PolicyRule:
    count = results["shadows"]["count"]
    asks = f"{least:,} shadow models at least"
    return _rule("required.shadows", asks, MET if count >= least else UNDECIDED, f"there were {count:,}")


DRAWN = "who is a member was drawn at random here"


def _blind_baseline(asked: bool, results: Results) -> PolicyRule:
    """Members and others do not differ before the target is asked; else what attacks find need be no memory."""
    del asked
    rule, asks = "required.blind_baseline", "the records alone do not tell members from others"
    block = results.get("blind")
    if measures.members_drawn(results):
        return _rule(rule, asks, MET, DRAWN)
    if block is None or block["told"] is None:
        reason = measures.reason(block and block["auc"], "this run has no blind baseline")
        return _rule(rule, asks, UNDECIDED, reason)
    found = f"a classifier that never asks the target has AUC {measures.value(block['auc']):.3f}"
    if block["told"]:
        return _rule(rule, asks, UNDECIDED, f"{found}: the split is confounded, and the numbers are not the target's")
    return _rule(rule, asks, MET, f"{found}, no more than chance")


def _negative_control(asked: bool, results: Results) -> PolicyRule:
    """The same attacks do not tell the same members of models that never saw the records."""
    del asked
    rule, asks = "required.negative_control", "attacks find nothing in models that did not train on the records"
    if measures.members_drawn(results):
        return _rule(rule, asks, MET, DRAWN)
    controls = {name: block.get("negative_control") for name, block in results["attacks"].items()}
    known = {name: control for name, control in controls.items() if measures.value(control) is not None}
    if not known:
        return _rule(rule, asks, UNDECIDED, "this run has no negative control: it takes shadow models")
    told = [name for name, control in known.items() if measures.above_guessing(control, 0.5, len(known))]
    if told:
        found = f"{_names(told)} tell them of models that never saw them: the split is confounded"
        return _rule(rule, asks, UNDECIDED, found)
    name = max(known, key=lambda name: measures.value(known[name]) or 0.0)
    return _rule(rule, asks, MET, f"the largest AUC is {measures.value(known[name]):.3f} ({name}), no more than chance")


REQUIRED: Mapping[str, Callable[[Any, Results], PolicyRule]] = {
    "attacks": _attacks,
    "members": _records(0),
    "non_members": _records(1),
    "shadows": _shadows,
    "blind_baseline": _blind_baseline,
    "negative_control": _negative_control,
}


# --- limits ----------------------------------------------------------------------------------------------------------


def _limit(limit: Limit, results: Results) -> PolicyRule:
    """A limit, of all attacks that it is on."""
    verdicts = gate.judge([limit.condition], results)
    status, found = _outcome(verdicts)
    rule = _rule(limit.rule, _asks(limit), status, found)
    rule["limit"] = limit.limit
    known = [v for v in verdicts if v.value is not None]
    if known:
        worst = max(known, key=lambda v: v.value or 0.0)
        rule["value"], rule["attack"] = worst.value or 0.0, worst.attack
    return rule


def _asks(limit: Limit, group: str = "") -> str:
    """A limit in words."""
    condition = limit.condition
    at = "" if condition.at is None else f" at {'FPR' if condition.measure == 'tpr' else 'a prior of'} {condition.at:g}"
    name = {"tpr": "TPR", "auc": "AUC", "ppv": "PPV"}.get(condition.measure, condition.measure.replace("_", " "))
    whose = (condition.attack or "any attack") + (f" in {group}" if group else "")
    end = "its lower bound" if condition.measure == "epsilon" else ENDS[condition.end]
    return f"{name}{at} of {whose} at most {limit.limit:g} ({end})"


def _outcome(verdicts: Iterable[gate.Verdict]) -> tuple[str, str]:
    """The status of a rule by the verdicts on it, and what was found, in words."""
    verdicts = list(verdicts)
    over = sorted((v for v in verdicts if v.exceeded and not v.undecided), key=lambda v: -(v.value or 0.0))
    if over:
        more = f" and {len(over) - NAMED} more" if len(over) > NAMED else ""
        return NOT_MET, ", ".join(f"{v.attack} {_number(v.value)}" for v in over[:NAMED]) + more
    silent: dict[str, list[str]] = {}
    for v in verdicts:
        if v.undecided:
            silent.setdefault(v.reason, []).append(v.attack)
    if silent:
        return UNDECIDED, "; ".join(f"{_names(names)}: {reason}" for reason, names in silent.items())
    known = [v for v in verdicts if v.value is not None]
    if not known:
        return MET, "; ".join(dict.fromkeys(v.reason for v in verdicts))
    worst = max(known, key=lambda v: v.value or 0.0)
    return MET, f"{worst.attack} {_number(worst.value)}" + (" is the largest" if len(known) > 1 else "")


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None and value < 1 else f"{value:.4g}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _in_subgroups(limit: Limit, results: Results) -> PolicyRule:
    """A limit, of every group of records: each is judged as an attack is."""
    groups = {
        f"{column['by']} {group['group']}": _measured(group, limit)
        for column in results.get("subgroups") or ()
        for group in column["groups"]
    }
    asks = _asks(limit, "any group")
    if not groups:
        return _rule(limit.rule, asks, UNDECIDED, "this run has no groups of records")
    verdicts = gate.judge([limit.condition], {**results, "attacks": groups})
    status, found = _outcome(verdicts)
    rule = _rule(limit.rule, asks, status, found)
    rule["limit"] = limit.limit
    return rule


def _measured(group: Mapping[str, Any], limit: Limit) -> Mapping[str, Any]:
    """A group's block, in which a group that is too small says so in place of the measure."""
    if "reason" not in group:
        return group
    absent = {"value": None, "reason": group["reason"]}
    return {"auc": absent, "tpr_at_fpr": {f"{limit.condition.at or 0:g}": absent}}
