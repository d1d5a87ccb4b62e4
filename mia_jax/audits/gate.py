"""A release gate: conditions on a run's results under which it fails, as the script audit.py takes them.

    tpr@0.01>0.05                  more than 5 % of the members found at 1 % false alarms, by any attack
    lira:auc>0.6, epsilon>1        LiRA's area; the epsilon that any attack proves, its lower bound
    auc.low>0.5                    only where the 95 % interval says so: a leak that is no accident of this sample
    blind:auc>0.55                 records alone tell members from others: the split is confounded
    negative_control>0.6           an attack tells the same members of models that never saw the records

``epsilon`` without an attack is the largest of the audit, corrected for the number of attacks. Where members and others
are not as many, a condition on accuracy or precision says what guessing alone would give: ``balanced_accuracy`` does
not depend on it. Bounds that a measure can never pass, or always passes, are refused, and so is an empty gate: a shell
variable that is not set must not pass for one.

A gate **fails closed**: a measure that could not be had (too few records for the rate, an attack that did not run)
counts as exceeded, for it says nothing of the model's safety. So does everything where the results have ``doubts``:
labels, target and shadows seem not to belong together. So does a bound on epsilon above the largest epsilon that an
audit of this size can certify. Where nothing but such silence stands against a model, the gate is *undecided*, which
has an exit code of its own (6; exceeded: 3): the next move is a larger audit, and not a safer model. One exception: an
attack that calls nobody a member has no precision, and exceeds none.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from mia_jax.reports import measures
from mia_jax.reports.measures import EQUAL
from mia_jax.statistics import metrics
from mia_jax.types import InputError, MiaError

T = TypeVar("T")

PLAIN = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "median_precision",
    "recall",
    "epsilon",
    "negative_control",
)
BLIND = "blind"  # in the place of an attack: the baseline that never asks the target
AT = {  # measure@place -> (key of the block, places that are evaluated)
    "tpr": ("tpr_at_fpr", metrics.RATES),
    "ppv": ("ppv_at_prior", metrics.PRIORS),
}
NOT_OF_ALL = ("epsilon", "negative_control")  # measures that not every attack has
BY_SHARE = ("accuracy", "precision", "median_precision")  # what guessing gives depends on how many are members
NEEDS_CALLS = ("precision", "median_precision", "ppv")

NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
CONDITION = re.compile(rf"(?:(\w+):)?([a-z_]+)(?:@({NUMBER}))?(?:\.(low|high))? *(>=?) *(-?{NUMBER})")


class GateExceeded(MiaError, RuntimeError):
    """The results meet a condition that they must not meet."""

    exit_code = 3


class GateUndecided(GateExceeded):
    """No condition is known to be met, and of some it cannot be told; whoever catches ``GateExceeded`` gets both."""

    exit_code = 6


class Condition(NamedTuple):
    """A measure, and the number that it must not exceed."""

    text: str
    attack: str | None  # None: any
    measure: str
    at: float | None  # of tpr@..., ppv@...
    end: str  # value, low or high
    strict: bool  # > and not >=
    bound: float


class Verdict(NamedTuple):
    """The outcome of one condition for one attack."""

    condition: str
    attack: str
    value: float | None
    exceeded: bool
    reason: str = ""  # why there is no value
    note: str = ""  # what guessing would give

    @property
    def undecided(self) -> bool:
        """Whether it counts as exceeded because nothing is known."""
        return self.exceeded and self.value is None


def parse(text: str, *, attacks: Collection[str] | None = None) -> tuple[Condition, ...]:
    """Conditions of a gate, separated by commas: ``[attack:]measure[@rate][.low|.high]>number``.

    Args:
        text: as the user wrote it.
        attacks: those that may run, where that is known: others are refused before any work.

    Raises:
        InputError: naming the condition and what is possible instead.
    """
    if not text.strip():
        raise InputError("the gate is empty: give a condition such as tpr@0.01>0.05, or leave it out")
    return tuple(_condition(part.strip(), attacks) for part in text.split(","))


def _condition(text: str, attacks: Collection[str] | None) -> Condition:
    close = "".join(text.split())
    matched = CONDITION.fullmatch(close) or CONDITION.fullmatch(close.lower())
    if matched is None:
        below = " (so > or >=, and never <)" if "<" in text else ""
        raise InputError(
            f"gate: {text!r} is no condition. A gate states what fails the audit{below}, as in tpr@0.01>0.05 or"
            " lira:auc>0.6; a comma joins several"
        )
    attack, measure, at, end, sign, bound = matched.groups()
    if attack == BLIND and measure not in ("auc", "tpr"):
        raise InputError(f"gate: {text!r} asks of the blind baseline for {measure}; it has auc and tpr@...")
    attacks = None if attack == BLIND else attacks
    if attack is not None and attacks is not None and attack not in attacks and attack.lower() in attacks:
        attack = attack.lower()
    if attack is not None and attacks is not None and attack not in attacks:
        raise InputError(f"gate: {text!r} asks about {attack}, and the attacks of this audit are {', '.join(attacks)}")
    if measure in AT:
        places = [f"{place:g}" for place in AT[measure][1]]
        if at is None or f"{float(at):g}" not in places:
            hint = "" if at is None or float(at) < 1 else f"; {float(at):g} % is {float(at) / 100:g}"
            raise InputError(f"gate: {text!r} must say {measure}@ one of {', '.join(places)}{hint}")
    elif measure not in PLAIN or at is not None:
        known = ", ".join([*PLAIN, *(f"{name}@..." for name in AT)])
        raise InputError(f"gate: {text!r} has no measure that is known; there are {known}")
    return Condition(
        text,
        attack,
        measure,
        None if at is None else float(at),
        end or ("low" if measure == "epsilon" else "value"),  # an attack has a lower bound on epsilon, and no value
        sign == ">",
        _bound(text, measure, sign, float(bound)),
    )


def _bound(text: str, measure: str, sign: str, bound: float) -> float:
    """The number of a condition, if the measure can lie on either side of it."""
    can = "any number from 0 up" if measure == "epsilon" else "a number from 0 to 1"
    if not math.isfinite(bound) or bound < 0 or (bound > 1 and measure != "epsilon"):
        hint = f"; {bound:g} % is {bound / 100:g}" if 1 < bound <= 100 and measure != "epsilon" else ""
        raise InputError(f"gate: {text!r} can never be met or always is: {measure} is {can}{hint}")
    if bound == 1 and sign == ">" and measure != "epsilon":
        raise InputError(f"gate: {text!r} can never be met: {measure} is {can}; write >=1")
    if bound == 0 and sign == ">=":
        raise InputError(f"gate: {text!r} is always met: {measure} is {can}; write >0")
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
        blocks = results["attacks"]
        if condition.attack == BLIND:
            verdicts.append(_blind(condition, results))
            continue
        names = list(blocks) if condition.attack is None else [condition.attack]
        if condition.measure in NOT_OF_ALL and condition.attack is None:
            names = [name for name in names if condition.measure in blocks[name]]
        verdicts += [verdict(condition, name, blocks.get(name), results) for name in names]
        if not names:
            reason = "no attack has this measure"
            verdicts.append(Verdict(condition.text, "any attack", None, True, reason))
    return verdicts


def _blind(condition: Condition, results: Mapping[str, Any]) -> Verdict:
    """The outcome of a condition on the blind baseline, which holds where this library drew who is a member."""
    if measures.members_drawn(results):
        return Verdict(condition.text, BLIND, None, False, note="members were drawn at random here, so nothing is told")
    return verdict(condition, BLIND, results.get(BLIND), results)


def verdict(condition: Condition, name: str, block: Mapping[str, Any] | None, results: Mapping[str, Any]) -> Verdict:
    """The outcome of a condition, of measures as an attack's ``block`` of ``results`` has them; ``name``: whose."""
    if block is None:
        return Verdict(condition.text, name, None, True, "it did not run")
    measure = _measure(condition, block)
    value, certifiable = _number(measure, condition.end), math.inf
    if condition.measure == "epsilon" and isinstance(measure, Mapping) and value is not None:
        joint = "_joint" if condition.attack is None else ""
        value, certifiable = (measure.get(key + joint, measure.get(key, math.inf)) for key in ("low", "provable"))
    if value is None:
        if condition.measure in NEEDS_CALLS and _number(block.get("recall"), "value") == 0:
            return Verdict(condition.text, name, None, False, "no record was called a member")
        reason = measure.get("reason") if isinstance(measure, Mapping) else None
        missing = "it has no such measure" if measure is None else f"it has no {condition.end}"
        return Verdict(condition.text, name, None, True, (reason or missing) + _would_do(condition, block, results))
    exceeded = value > condition.bound if condition.strict else value >= condition.bound
    if not exceeded and certifiable <= condition.bound:
        reason = f"an audit of this size proves {certifiable:.3g} at most; one of more records can prove more"
        return Verdict(condition.text, name, None, True, reason)
    return Verdict(condition.text, name, value, exceeded, note=_guessing(condition.measure, block))


def _measure(condition: Condition, block: Mapping[str, Any]) -> Any:
    """What the condition asks about, in an attack's block; None where it has no such thing."""
    if condition.measure in AT:
        return block.get(AT[condition.measure][0], {}).get(f"{condition.at:g}")
    return block.get(condition.measure)


def _would_do(condition: Condition, block: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """How many non-members a TPR at this rate takes, and which rate the present ones do for; else empty."""
    if condition.measure != "tpr" or condition.at is None or (judged := _non_members(block, results)) is None:
        return ""
    if metrics.resolvable(judged, condition.at):  # then something else is the matter
        return ""
    needed = math.ceil(metrics.RESOLVABLE / condition.at)
    enough = [f"tpr@{rate:g}" for rate in metrics.RATES if metrics.resolvable(judged, rate)]
    instead = f"from {judged:,} {enough[-1]} can be told" if enough else f"from {judged:,} auc can be told, or auc.low"
    return f"; it takes {needed:,} non-members, and {instead}"


def _non_members(block: Mapping[str, Any], results: Mapping[str, Any]) -> int | None:
    """Non-members that an attack judged, over all targets; None where the results do not say."""
    if canaries := results.get("canaries"):
        return canaries["count"] - canaries["included"]
    counts = [row["non_members"] for row in block.get("per_class", [])]
    return sum(counts) if counts else None


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
        GateUndecided: the same, where no condition is known to be met.
    """
    verdicts = judge(conditions, results)
    against = [v for v in verdicts if v.exceeded]
    if not against:
        return verdicts
    lines = "; ".join(f"{condition}: {', '.join(parts)}" for condition, parts in _by_condition(against).items())
    if all(v.undecided for v in against):
        raise GateUndecided(f"the gate cannot tell; {lines}")
    raise GateExceeded(f"the gate is exceeded; {lines}")


def every(checks: Iterable[tuple[str, Callable[[], T]]]) -> list[T]:
    """What each check gives, if none fails.

    Args:
        checks: what is checked, or "" where there is no need to say it, and a function that may raise GateExceeded.

    Raises:
        GateExceeded: one line with all that failed.
        GateUndecided: the same, where none failed but for what is not known.
    """
    given, failed = [], []
    for name, check in checks:
        try:
            given.append(check())
        except GateExceeded as error:
            failed.append((f"{name}: {error}" if name else str(error), error))
    if failed:
        undecided = all(isinstance(error, GateUndecided) for _, error in failed)
        raise (GateUndecided if undecided else GateExceeded)("; ".join(line for line, _ in failed))
    return given


def _by_condition(against: Collection[Verdict]) -> dict[str, list[str]]:
    """What stands against a model, by condition; attacks that are silent for the same reason are named together."""
    parts: dict[str, list[str]] = {}
    for v in against:
        if not v.undecided:
            parts.setdefault(v.condition, []).append(f"{v.attack} {v.value:.4g}{f' ({v.note})' if v.note else ''}")
    silent: dict[tuple[str, str], list[str]] = {}
    for v in against:
        if v.undecided:
            silent.setdefault((v.condition, v.reason), []).append(v.attack)
    for (condition, reason), names in silent.items():
        parts.setdefault(condition, []).append(f"{', '.join(names)} cannot tell ({reason})")
    return parts
