"""A release gate: conditions on a run's results that a model must not meet, as ``--fail_if`` writes them.

    tpr@0.01>0.05                  more than 5 % of the members found at 1 % false alarms, by any attack
    lira:auc>0.6, epsilon>1        LiRA's area; the epsilon that any attack proves, its lower bound
    auc.low>0.5                    only where the 95 % interval says so: a leak that is no accident of this sample

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

from mia_jax import metrics
from mia_jax.types import InputError, MiaError

PLAIN = ("auc", "accuracy", "balanced_accuracy", "precision", "median_precision", "recall", "epsilon")
AT = {  # measure@place -> (key of the block, places that are evaluated)
    "tpr": ("tpr_at_fpr", metrics.RATES),
    "ppv": ("ppv_at_prior", metrics.PRIORS),
}
NEEDS_CALLS = ("precision", "median_precision", "ppv")

NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
CONDITION = re.compile(rf"(?:(\w+):)?([a-z_]+)(?:@({NUMBER}))?(?:\.(low|high))? *(>=?) *({NUMBER})")


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


def parse(text: str, *, attacks: Collection[str] | None = None) -> tuple[Condition, ...]:
    """Conditions of ``--fail_if``, separated by commas: ``[attack:]measure[@rate][.low|.high]>number``.

    Args:
        text: as the user wrote it.
        attacks: those that may run, where that is known: others are refused before any work.

    Raises:
        InputError: naming the condition and what is possible instead.
    """
    return tuple(_condition(part.strip(), attacks) for part in text.split(","))


def _condition(text: str, attacks: Collection[str] | None) -> Condition:
    told = CONDITION.fullmatch(text)
    if told is None:
        raise InputError(f"--fail_if: {text!r} is no condition; one is written tpr@0.01>0.05, or lira:auc>0.6")
    attack, measure, at, end, sign, bound = told.groups()
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
        float(bound),
    )


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
    value = _number(measure, condition.end)
    if value is None:
        if condition.measure in NEEDS_CALLS and _number(block.get("recall"), "value") == 0:
            return Verdict(condition.text, name, None, False, "no record was called a member")
        reason = measure.get("reason") if isinstance(measure, Mapping) else None
        missing = "it has no such measure" if measure is None else f"it has no {condition.end}"
        return Verdict(condition.text, name, None, True, reason or missing)
    exceeded = value > condition.bound if condition.strict else value >= condition.bound
    if condition.measure == "epsilon" and not exceeded and measure.get("provable", math.inf) <= condition.bound:
        most = f"an audit of this size proves {measure['provable']:.3g} at most"
        return Verdict(condition.text, name, None, True, most)
    return Verdict(condition.text, name, value, exceeded)


def _number(measure: Any, end: str) -> float | None:
    if isinstance(measure, Mapping):
        measure = measure.get(end)
    elif end != "value":
        measure = None
    return None if measure is None or math.isnan(measure) else float(measure)


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
            met.setdefault(v.condition, []).append(f"{v.attack} {v.value:.4g}")
        elif v.exceeded:
            silent.setdefault((v.condition, v.reason), []).append(v.attack)
    for (condition, reason), names in silent.items():
        met.setdefault(condition, []).append(f"{', '.join(names)} cannot tell ({reason})")
    if met:
        lines = [f"{condition}: {', '.join(told)}" for condition, told in met.items()]
        raise GateExceeded(f"the gate is exceeded; {'; '.join(lines)}")
    return verdicts
