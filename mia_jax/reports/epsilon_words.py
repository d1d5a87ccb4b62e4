"""What a lower bound on epsilon means, in sentences for a reader who never heard of differential privacy."""

import math
from collections.abc import Mapping
from typing import Any

from mia_jax.reports import figures
from mia_jax.reports.figures import Results, many

IF_SPLIT = "if a random split decided who is a member"


def low(measure: Any) -> float | None:
    """The bound in an attack's ``epsilon`` block; None where there is none."""
    return measure.get("low") if isinstance(measure, Mapping) else None


def joint(measure: Any) -> float | None:
    """The same, corrected for the number of attacks: the largest of an audit holds, too."""
    return measure.get("low_joint", measure.get("low")) if isinstance(measure, Mapping) else None


def largest(results: Results) -> tuple[str, float] | None:
    """The attack that proves most and what holds of it although it was picked; None where none has a bound."""
    bounds = {n: v for n, b in results["attacks"].items() if (v := joint(b.get("epsilon"))) is not None}
    if not bounds:
        return None
    name = max(bounds, key=bounds.__getitem__)
    return name, bounds[name]


def told(results: Results) -> Mapping[str, Any] | None:
    """An ``epsilon`` block of the run; they differ in their numbers only. None in runs without one."""
    return next((block["epsilon"] for block in results["attacks"].values() if "epsilon" in block), None)


def short(results: Results) -> str:
    """A line below the terminal's table."""
    block = told(results)
    if block is None:
        return ""
    given = f", {IF_SPLIT}" if results["plan"] == "deployed" else ""
    best = largest(results)
    together = (
        f"; the largest, corrected for {block['attacks']} attacks: {best[1]:.2f}" if _several(block, best) else ""
    )
    return (
        f"epsilon >= x: the attack proves that training is not (epsilon, {block['delta']:g})-differentially private for"
        f" an epsilon below x{given} ({block['confidence']:.0%}, each attack by itself{together}); 0: it proves nothing"
    )


def _several(block: Mapping[str, Any], best: tuple[str, float] | None) -> bool:
    return best is not None and block.get("attacks", 1) > 1


def meaning(results: Results) -> list[str]:
    """Paragraphs: what epsilon is, how it was bounded, and what the bound rests on."""
    block = told(results)
    if block is None:
        return ["This run has no bounds on epsilon."]
    texts = [
        what(block),
        _how(results, block),
        "A bound of 0 proves nothing, in neither direction: a better attack, or more records, may prove more. With"
        f" {block['confidence']:.0%} confidence means that of twenty audits one may prove too much; in the table that"
        f" holds for each attack by itself.{_together(results, block)}",
    ]
    if (most := block.get("provable")) is not None:
        texts.append(f"An audit of this size proves an epsilon of {most:.2f} at most, even if every guess is right.")
    return texts


def _together(results: Results, block: Mapping[str, Any]) -> str:
    """What may be said of the largest of the bounds."""
    best = largest(results)
    if not _several(block, best):
        return ""
    number, each = block["attacks"], (1 - block["confidence"]) / block["attacks"]
    return (
        f" The largest of {number} such bounds would be too high more often. So every attack was bounded once more,"
        f" with {1 - each:.2%} confidence: these all hold together with {block['confidence']:.0%}, and the largest of"
        f" them, {best[1]:.2f} by {figures.short(best[0])}, is what this audit proves."
    )


def what(block: Mapping[str, Any]) -> str:
    """What epsilon is, with the block's delta."""
    return (
        "Epsilon is how much a trained model may tell of a single record. Training is (epsilon, delta)-differentially"
        " private if adding or removing one record makes no outcome more than e^epsilon times as likely, but for"
        f" chances of delta (here {block['delta']:g}). Epsilon 0 means that the record makes no difference; at 1 its"
        f" owner's risk may grow by a factor of {math.e:.1f}, at 5 by one of {math.exp(5):.0f}. Training without"
        " noise promises no epsilon at all; training with noise (DP-SGD, --dp_noise_multiplier) promises one from"
        " above. An attack that works proves one from below: no promise of a smaller epsilon can be true."
    )


def _how(results: Results, block: Mapping[str, Any]) -> str:
    how = (
        "How it was bounded: one model was trained on all of its records together, so they are no independent trials."
        " Members were matched with others at random, one to one. Told a pair but not which of the two is the member,"
        " an attacker can only toss a coin, unless the model tells. The attack guessed, for the pairs about which it"
        " was surest, that the record with the higher score is the member; how many pairs are guessed was fixed"
        " beforehand, and four such numbers are corrected for. So many right guesses are too many for a smaller epsilon"
        " (Steinke et al. 2023; the two records of a pair are two differences, which is allowed for)."
    )
    targets = max(b.get("targets", 1) for b in results["attacks"].values())
    if results["plan"] == "balanced":
        over = "" if targets == 1 else f" Of the {many(targets, 'target', 'targets')} the middle one's bound is told."
        return (
            f"{how}{over} It holds without further assumptions, for who was in the training data was drawn at random."
        )
    return (
        f"{how} This rests on an assumption that cannot be checked here: that who of the records in question is a"
        " member was decided at random, as by a random split into training and test data. Where members differ from"
        " the others in another way (age, origin, duplicates removed), the number may show that difference and no leak."
    )
