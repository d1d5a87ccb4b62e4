"""What a reader of results.json asks of its numbers: is there one, with which interval, which attack is the best.

A *measure* is ``{"value", "low", "high", "reason"}`` as ``statistics.metrics.Measure`` writes it, or a plain number; a
*block* is what ``results["attacks"]`` holds of one attack. NumPy and SciPy only.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from mia_jax import command_line
from mia_jax.statistics import metrics

Results = Mapping[str, Any]  # results.json, schema 1
Scores = Mapping[str, np.ndarray]  # scores.npz

# Of results.json that do not say how an attack is called; new attacks say it themselves.
SHORT = {
    "shokri": "Shokri et al.",
    "confidence": "confidence threshold",
    "majority": "majority guess",
    "attack_p": "Attack-P",
    "attack_r": "Attack-R",
    "lira": "LiRA",
    "lira_offline": "offline LiRA",
    "lira_fixed": "fixed LiRA",
    "lira_offline_fixed": "offline fixed LiRA",
    "rmia": "RMIA",
    "rmia_offline": "offline RMIA",
    "base": "BASE",
    "base_offline": "offline BASE",
    "bavaria": "BaVarIA",
    "bavaria_offline": "offline BaVarIA",
}
EQUAL = 0.51  # a larger share of either side, and accuracies are shown with both sides weighted alike


def plan(results: Results) -> str:
    """Which plan a run followed: "shokri" (the paper's), "balanced", "deployed" or "canaries"."""
    return results.get("plan", "shokri")


def program(results: Results, command: str) -> str:
    """How another command is called, in the way in which the one was that made this run."""
    return command_line.another(command, results.get("command") or "")


def members_drawn(results: Results) -> bool:
    """Whether this library drew who is a member; of somebody's own records and model it is not known how they came."""
    return plan(results) != "deployed"


def targets_in_turn(results: Results) -> bool:
    """Whether models played the target in turn: scores have an axis of targets, and measures are means over it."""
    return plan(results) == "balanced"


def by_canaries(results: Results) -> bool:
    """Whether it is one training run that was audited, by canaries."""
    return plan(results) == "canaries"


# --- one measure -----------------------------------------------------------------------------------------------------


def value(measure: Any) -> float | None:
    """The number of a measure; None where there is none."""
    if isinstance(measure, Mapping):
        measure = measure.get("value")
    return None if measure is None or math.isnan(measure) else float(measure)


def reason(measure: Any, absent: str | None = None) -> str:
    """Why a measure has no number."""
    given = measure.get("reason") if isinstance(measure, Mapping) else None
    return given or absent or "not measured"


def has_interval(measure: Any) -> bool:
    """Whether both ends of its 95 % interval are known."""
    return isinstance(measure, Mapping) and all(value(measure.get(end)) is not None for end in ("low", "high"))


def ends(measure: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of a measure that has one, within [0, 1], which Student's t over few targets may leave."""
    return max(measure["low"], 0.0), min(measure["high"], 1.0)


def above_guessing(measure: Any, guess: float, attacks: int) -> bool:
    """Whether an interval lies above what guessing gives, though its attack was picked as the best of several.

    The interval is widened from 95 % to 1 - 5 % / attacks, as if it were Gaussian.
    """
    number, low = value(measure), value(measure.get("low")) if isinstance(measure, dict) else None
    if number is None or low is None:
        return number is not None and number > guess * (1 + 1e-9)
    wider = float(stats.norm.isf(metrics.TAIL / attacks)) / metrics.Z
    return number - wider * (number - low) > guess


# --- the attacks of a run --------------------------------------------------------------------------------------------


def measured(results: Results) -> bool:
    """Whether it is known who is a member, so that there is anything but scores."""
    return any("auc" in block for block in results["attacks"].values())


def short(results: Results, attack: str) -> str:
    """An attack's name, short enough for a legend."""
    block = results.get("attacks", {}).get(attack)
    given = block.get("short") if isinstance(block, Mapping) else None
    return given if isinstance(given, str) and given else SHORT.get(attack, attack.replace("_", " "))


def main_attack(results: Results) -> str:
    """The attack that the report of the paper's run is about: the paper's, or the first of the run."""
    return "shokri" if "shokri" in results["attacks"] else next(iter(results["attacks"]))


def tpr(block: Mapping[str, Any], rate: str) -> Any:
    """An attack's TPR at a false-positive rate, as results.json names it ("0.01"); None where it has none."""
    return block.get("tpr_at_fpr", {}).get(rate)


def ranked(results: Results) -> list[str]:
    """The attacks, best first: by the members found at 1 % false alarms; those not measured there last, by AUC."""

    def strength(name: str) -> tuple[bool, float, float]:
        block = results["attacks"][name]
        found, auc = value(tpr(block, "0.01")), value(block.get("auc"))
        return found is None, -(found or 0), -(auc or 0)

    return sorted(results["attacks"], key=strength)


def strongest(results: Results, rate: str) -> tuple[str, Any] | None:
    """The attack that finds most at a false-positive rate, and its measure; None where none can be measured."""
    at = {name: tpr(block, rate) for name, block in results["attacks"].items()}
    numbers = {name: number for name, measure in at.items() if (number := value(measure)) is not None}
    if not numbers:
        return None
    name = max(numbers, key=numbers.__getitem__)
    return name, at[name]


def rates(results: Results) -> list[str]:
    """The false-positive rates to show, largest first; those below .001 where an attack could be measured there."""
    at = [pair for block in results["attacks"].values() for pair in block.get("tpr_at_fpr", {}).items()]
    shown = {rate for rate, measure in at if float(rate) >= 0.001 or value(measure) is not None}
    return sorted(shown, key=float, reverse=True)


def lowest_rate(results: Results) -> str | None:
    """The lowest false-positive rate at which this run can count members."""
    return next((rate for rate in reversed(rates(results)) if strongest(results, rate)), None)


def num_targets(results: Results) -> int:
    """The models that were attacked."""
    return max((block.get("targets", 1) for block in results["attacks"].values()), default=1)


# --- whether members are told without the target ---------------------------------------------------------------------


def confounded(results: Results) -> bool:
    """Whether records alone tell members from others, so that what attacks find need be no memory."""
    return bool((results.get("blind") or {}).get("told"))


def remembered(results: Results, name: str) -> bool:
    """Whether an attack tells members of the target, and not of models that never saw these records.

    Both are judged with intervals, and where the control has no number, or tells more than a little, the answer is no.
    """
    block = results["attacks"][name]
    control = block.get("negative_control")
    if not has_interval(control):
        return False
    own = block.get("auc")
    return control["high"] < (ends(own)[0] if has_interval(own) else 0.5) and control["low"] <= 0.5


# --- how many are members --------------------------------------------------------------------------------------------


def shares(results: Results) -> tuple[int, int]:
    """Members and non-members that were judged, over all targets, by the attack that judged most."""
    counts = [
        [sum(row[side] for row in block.get("per_class", [])) for side in ("members", "non_members")]
        for block in results["attacks"].values()
    ]
    members, non_members = max(counts, key=sum, default=(0, 0))
    return members, non_members


def judged(results: Results) -> tuple[int, int]:
    """Members and non-members that were judged of a target, a mean over the targets; of canaries, those in and out."""
    if canaries := results.get("canaries"):
        return canaries["included"], canaries["count"] - canaries["included"]
    members, non_members = shares(results)
    return members // num_targets(results), non_members // num_targets(results)


def guessing(results: Results) -> float:
    """The accuracy of whoever calls all records what most of them are."""
    members, non_members = shares(results)
    return max(members, non_members) / (members + non_members) if members + non_members else 0.5


def equal(results: Results) -> bool:
    """Whether about as many members as non-members were judged, so that guessing is right half of the time."""
    return guessing(results) < EQUAL


# --- bounds on epsilon -----------------------------------------------------------------------------------------------


def epsilon_low(block: Any) -> float | None:
    """The lower bound in an attack's ``epsilon`` block; None where there is none."""
    return block.get("low") if isinstance(block, Mapping) else None


def epsilon_low_joint(block: Any) -> float | None:
    """The same, corrected for the number of attacks: the largest of an audit holds, too."""
    return block.get("low_joint", block.get("low")) if isinstance(block, Mapping) else None


def largest_epsilon(results: Results) -> tuple[str, float] | None:
    """The attack with the largest lower bound, and what holds of it although it was picked; None where none has one."""
    bounds = {n: v for n, b in results["attacks"].items() if (v := epsilon_low_joint(b.get("epsilon"))) is not None}
    if not bounds:
        return None
    name = max(bounds, key=bounds.__getitem__)
    return name, bounds[name]


def epsilon_block(results: Results) -> Mapping[str, Any] | None:
    """An ``epsilon`` block of the run, or None; blocks of several attacks differ in their numbers only."""
    return next((block["epsilon"] for block in results["attacks"].values() if "epsilon" in block), None)


def proves(block: Any) -> bool:
    """Whether an ``epsilon`` block proves more than nothing, at the two decimals that are shown."""
    return (epsilon_low(block) or 0.0) >= 0.005


def loose_delta(results: Results) -> str:
    """A sentence where the run's delta is above 1 / n, of n training records; else empty."""
    target, block = results["target"], epsilon_block(results) or results["target"].get("epsilon")
    n, delta = target.get("train_records") or 0, block.get("delta", 0) if isinstance(block, Mapping) else 0
    if n < 2 or delta * n <= 1:
        return ""
    return (
        f"Delta {delta:g} is above 1/{n:,}, one over the number of training records: who publishes one of them in whole"
        " keeps such a promise, whatever epsilon is, so it protects no single record. Take a smaller one"
        f" (`dp_delta={10.0 ** math.floor(-math.log10(n)):g}` at most)."
    )
