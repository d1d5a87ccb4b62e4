"""A release gate: conditions on a run's results that a model must not meet, as ``--fail_if`` writes them.

    tpr@0.01>0.05                  more than 5 % of the members found at 1 % false alarms, by any attack
    lira:auc>0.6, epsilon>1        LiRA's area; the epsilon that any attack proves, its lower bound
    auc.low>0.5                    only where the 95 % interval says so: a leak that is no accident of this sample

``epsilon`` without an attack is the largest of the audit, corrected for the number of attacks. Where members and others
are not as many, a condition on accuracy or precision says what guessing alone would give: ``balanced_accuracy`` does
not depend on it. Bounds that a measure can never pass, or always passes, are refused, and so is an empty gate: a shell
variable that is not set must not pass for one.

A gate **fails closed**: a measure that could not be had (too few records for the rate, an attack that did not run)
counts as exceeded, for it says nothing of the model's safety. So does everything where the results have ``doubts``:
labels, target and shadows seem not to belong together. So does an epsilon beyond what an audit of this size
could prove if every guess were right. One exception: an attack that calls nobody a member has no precision, and exceeds
none.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mia_jax.reports.words import EQUAL
from mia_jax.statistics import metrics
from mia_jax.types import InputError, MiaError

PLAIN = ("auc", "accuracy", "balanced_accuracy", "precision", "median_precision", "recall", "epsilon")
AT = {  # measure@place -> (key of the block, places that are evaluated)
    "tpr": ("tpr_at_fpr", metrics.RATES),
    "ppv": ("ppv_at_prior", metrics.PRIORS),
}
BY_SHARE = ("accuracy", "precision", "median_precision")  # what guessing gives depends on how many are members
NEEDS_CALLS = ("precision", "median_precision", "ppv")

NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
CONDITION = re.compile(rf"(?:(\w+):)?([a-z_]+)(?:@({NUMBER}))?(?:\.(low|high))? *(>=?) *(-?{NUMBER})")


class GateExceeded(MiaError, RuntimeError):
    """The results meet a condition that they must not meet."""

    exit_code = 3


class Condition(NamedTuple):
    text: str
    attack: str | None  # None: any
    measure: str
    at: float | None  # of tpr@..., ppv@...
    end: str  # value, low or high
    strict: bool  # > and not >=
    bound: float


class Verdict(NamedTuple):
    """What one condition is of one attack."""

    condition: str
    attack: str
    value: float | None
    exceeded: bool
    reason: str = ""  # why there is no value
    note: str = ""  # what guessing would give


def parse(text: str, *, attacks: Collection[str] | None = None) -> tuple[Condition, ...]:
    """Conditions of ``--fail_if``, separated by commas: ``[attack:]measure[@rate][.low|.high]>number``.

    Args:
        text: as the user wrote it.
        attacks: those that may run, where that is known: others are refused before any work.

    Raises:
        InputError: naming the condition and what is possible instead.
    """
    if not text.strip():
        raise InputError("--fail_if is empty: give a condition such as tpr@0.01>0.05, or leave the flag out")
    return tuple(_condition(part.strip(), attacks) for part in text.split(","))


def _condition(text: str, attacks: Collection[str] | None) -> Condition:
    close = "".join(text.split())
    told = CONDITION.fullmatch(close) or CONDITION.fullmatch(close.lower())
    if told is None:
        raise InputError(f"--fail_if: {text!r} is no condition; one is written tpr@0.01>0.05, or lira:auc>0.6")
    attack, measure, at, end, sign, bound = told.groups()
    if attack is not None and attacks is not None and attack not in attacks and attack.lower() in attacks:
        attack = attack.lower()
    if attack is not None and attacks is not None and attack not in attacks:
        raise InputError(
            f"--fail_if: {text!r} asks about {attack}, and the attacks of this audit are {', '.join(attacks)}"
        )
    if measure in AT:
        places = [f"{place:g}" for place in AT[measure][1]]
        if at is None or f"{float(at):g}" not in places:
            raise InputError(f"--fail_if: {text!r} must say {measure}@ one of {', '.join(places)}")
    elif measure not in PLAIN or at is not None:
        known = ", ".join([*PLAIN, *(f"{name}@..." for name in AT)])
        raise InputError(f"--fail_if: {text!r} has no measure that is known; there are {known}")
    return Condition(
        text,
        attack,
        measure,
        None if at is None else float(at),
        end or ("low" if measure == "epsilon" else "value"),  # an attack proves a lower bound, and no value
        sign == ">",
        _bound(text, measure, sign, float(bound)),
    )


def _bound(text: str, measure: str, sign: str, bound: float) -> float:
    """The number of a condition, if the measure can lie on either side of it."""
    can = "any number from 0 up" if measure == "epsilon" else "a number from 0 to 1"
    if not math.isfinite(bound) or bound < 0 or (bound > 1 and measure != "epsilon"):
        hint = f"; {bound:g} % is {bound / 100:g}" if 1 < bound <= 100 and measure != "epsilon" else ""
        raise InputError(f"--fail_if: {text!r} can never be met or always is: {measure} is {can}{hint}")
    if bound == 1 and sign == ">" and measure != "epsilon":
        raise InputError(f"--fail_if: {text!r} can never be met: {measure} is {can}; write >=1")
    if bound == 0 and sign == ">=":
        raise InputError(f"--fail_if: {text!r} is always met: {measure} is {can}; write >0")
    return bound


def judge(conditions: Collection[Condition], results: Mapping[str, Any]) -> list[Verdict]:
    """Each condition, of each attack that it asks about.

    Args:
        conditions: of ``parse``.
        results: what results.json holds.
    """
    if doubts := results.get("doubts"):  # labels, target and shadows seem not to belong together: no number means much
        return [Verdict(condition.text, "any attack", None, True, " ".join(doubts)) for condition in conditions]
    verdicts = []
    for condition in conditions:
        found = results["attacks"]
        names = list(found) if condition.attack is None else [condition.attack]
        if condition.measure == "epsilon" and condition.attack is None:  # not every attack proves a bound
            names = [name for name in names if "epsilon" in found[name]]
        verdicts += [_verdict(condition, name, found.get(name)) for name in names]
        if not names:
            reason = "no attack has this measure"
            verdicts.append(Verdict(condition.text, "any attack", None, True, reason))
    return verdicts


def _verdict(condition: Condition, name: str, block: Mapping[str, Any] | None) -> Verdict:
    if block is None:
        return Verdict(condition.text, name, None, True, "it did not run")
    measure = block.get(condition.measure)
    if condition.measure in AT:
        measure = block.get(AT[condition.measure][0], {}).get(f"{condition.at:g}")
    value, most = _number(measure, condition.end), math.inf
    if condition.measure == "epsilon" and value is not None:
        largest = "_joint" if condition.attack is None else ""
        value, most = (measure.get(k + largest, measure.get(k, math.inf)) for k in ("low", "provable"))
    if value is None:
        if condition.measure in NEEDS_CALLS and _number(block.get("recall"), "value") == 0:
            return Verdict(condition.text, name, None, False, "no record was called a member")
        reason = measure.get("reason") if isinstance(measure, Mapping) else None
        missing = "it has no such measure" if measure is None else f"it has no {condition.end}"
        return Verdict(condition.text, name, None, True, reason or missing)
    exceeded = value > condition.bound if condition.strict else value >= condition.bound
    if not exceeded and most <= condition.bound:
        return Verdict(condition.text, name, None, True, f"an audit of this size proves {most:.3g} at most")
    return Verdict(condition.text, name, value, exceeded, note=_guessing(condition.measure, block))


def _guessing(measure: str, block: Mapping[str, Any]) -> str:
    """What guessing gives of a measure that depends on how many are members; empty where that is a half."""
    if measure not in BY_SHARE:
        return ""
    members, others = (sum(row[side] for row in block.get("per_class", [])) for side in ("members", "non_members"))
    if members + others == 0 or max(members, others) < EQUAL * (members + others):
        return ""
    gives = max(members, others) if measure == "accuracy" else members
    note = f"guessing has {gives / (members + others):.3g}, as {members:,} of {members + others:,} are members"
    return f"{note}; balanced_accuracy does not depend on it"


def _number(measure: Any, end: str) -> float | None:
    if isinstance(measure, Mapping):
        measure = measure.get(end)
    elif end != "value":
        measure = None
    return None if measure is None or math.isnan(measure) else float(measure)


def notes(verdicts: Collection[Verdict]) -> list[str]:
    """What a gate that holds leaves to be said, a line each: conditions that guessing alone would nearly meet."""
    return list(dict.fromkeys(f"{v.condition}: {v.note}" for v in verdicts if v.note))


def enforce(conditions: Collection[Condition], results: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts, if no condition is met.

    Raises:
        GateExceeded: one line with every condition that is met, by which attack, and its value or why there is none.
    """
    verdicts = judge(conditions, results)
    met: dict[str, list[str]] = {}
    silent: dict[tuple[str, str], list[str]] = {}  # often all attacks for the same reason, which is then said once
    for v in verdicts:
        if v.exceeded and v.value is not None:
            met.setdefault(v.condition, []).append(f"{v.attack} {v.value:.4g}{f' ({v.note})' if v.note else ''}")
        elif v.exceeded:
            silent.setdefault((v.condition, v.reason), []).append(v.attack)
    for (condition, reason), names in silent.items():
        met.setdefault(condition, []).append(f"{', '.join(names)} cannot tell ({reason})")
    if met:
        lines = [f"{condition}: {', '.join(told)}" for condition, told in met.items()]
        sure = any(v.exceeded and v.value is not None for v in verdicts)
        raise GateExceeded(f"the gate {'is exceeded' if sure else 'cannot tell'}; {'; '.join(lines)}")
    return verdicts
