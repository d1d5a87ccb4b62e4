"""Lower bounds on epsilon, for a reader who never heard of differential privacy."""

import math
from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Paragraphs, Report
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section

IF_SPLIT = "if a random split decided who is a member"


def meaning(block: Mapping[str, Any]) -> str:
    """What epsilon is, with the block's delta."""
    return (
        "Epsilon is how much a trained model may tell of a single record. Training is (epsilon, delta)-differentially"
        " private if adding or removing one record makes no outcome more than e^epsilon times as likely, but for"
        f" chances of delta (here {block['delta']:g}). Epsilon 0 means that the record makes no difference; at 1 its"
        f" owner's risk may grow by a factor of {math.e:.1f}, at 5 by one of {math.exp(5):.0f}. Training without"
        " noise has no finite epsilon at all; for training with noise (DP-SGD, `dp_noise_multiplier`) a privacy"
        " accountant computes one from above. An attack that works proves one from below: no claim of a smaller"
        " epsilon can be true."
    )


def below_table(results: Results) -> str:
    """A line below the terminal's table; empty in runs without bounds."""
    block = measures.epsilon_block(results)
    if block is None:
        return ""
    given = f", {IF_SPLIT}" if not measures.members_drawn(results) else ""
    best = measures.largest_epsilon(results)
    together = ""
    if best is not None and block.get("attacks", 1) > 1:
        together = f"; the largest, corrected for {block['attacks']} attacks: {best[1]:.2f}"
    loose = "".join(f". {text}" for text in [measures.loose_delta(results)] if text)
    return (
        f"epsilon >= x: the attack proves that training is not (epsilon, {block['delta']:g})-differentially private for"
        f" an epsilon below x{given} ({block['confidence']:.0%}, each attack by itself{together}); 0: it proves"
        f" nothing{loose}"
    )


def _shows(results: Results, scores: Scores) -> bool:
    return (
        not measures.by_canaries(results) and measures.epsilon_block(results) is not None
    )  # canaries' stands in the result


def _blocks(report: Report) -> list[Block]:
    results = report.results
    block = measures.epsilon_block(results) or {}
    texts = [
        meaning(block),
        _how(results),
        "A bound of 0 proves nothing, in neither direction: a better attack, or more records, may prove more. With"
        f" {block['confidence']:.0%} confidence means that of twenty audits one may prove too much; in the table that"
        f" holds for each attack by itself.{_together(results, block)}",
    ]
    if loose := measures.loose_delta(results):
        texts.insert(1, loose)
    if (certifiable := block.get("provable")) is not None:
        texts.append(
            f"An audit of this size proves an epsilon of {certifiable:.2f} at most, even if every guess is right."
        )
    return [Paragraphs(texts)]


def _together(results: Results, block: Mapping[str, Any]) -> str:
    """What may be said of the largest of the bounds."""
    best, number = measures.largest_epsilon(results), block.get("attacks", 1)
    if best is None or number < 2:
        return ""
    each = (1 - block["confidence"]) / number
    return (
        f" The largest of {number} such bounds would be too high more often. So every attack was bounded once more,"
        f" with {1 - each:.2%} confidence: these all hold together with {block['confidence']:.0%}, and the largest of"
        f" them, {best[1]:.2f} by {measures.short(results, best[0])}, is what this audit proves."
    )


def _how(results: Results) -> str:
    how = (
        "How it was bounded: one model was trained on all of its records together, so they are no independent trials."
        " Members were matched with others at random, one to one. Shown a pair but not which of the two is the member,"
        " an attacker can only toss a coin, unless the model tells. The attack guessed, for the pairs about which it"
        " was surest, that the record with the higher score is the member; how many pairs are guessed was fixed"
        " beforehand, and four such numbers are corrected for. So many right guesses are too many for a smaller epsilon"
        " (Steinke et al. 2023; the two records of a pair are two differences, which is allowed for)."
    )
    if measures.targets_in_turn(results):
        targets = measures.num_targets(results)
        over = "" if targets == 1 else f" Of the {many(targets, 'target', 'targets')} the middle one's bound is shown."
        return (
            f"{how}{over} It holds without further assumptions, for who was in the training data was drawn at random."
        )
    return (
        f"{how} This rests on an assumption that cannot be checked here: that who of the records in question is a"
        " member was decided at random, as by a random split into training and test data. Where members differ from"
        " the others in another way (age, origin, duplicates removed), the number may show that difference and no leak."
    )


SECTION = Section("epsilon", "What it proves of epsilon", _shows, _blocks)
