"""The annex: one page that says what an audit shows in the terms of four texts, and what it does not show.

The texts, and how far they were read for this (2026-11-27):

* OWASP AISVS 1.0, requirement C11.2.5: read in the standard's repository (OWASP/AISVS, 1.0/en, locked), and quoted.
* SATRE 2.0.1, requirements 3.3.06, 3.3.07 and 3.3.09: read in its repository (sa-tre/satre-specification, tag v2.0.1).
* EDPB Opinion 28/2024: the executive summary was read in a copy; paragraph 55 only as others quote it.
* NIST AI 100-2: the contents of the 2023 edition were read; the number NISTAML.033 of the 2025 edition only as others
  quote it.
* Zhang, Das, Kamath and Tramèr, "Membership Inference Attacks Cannot Prove that a Model Was Trained On Your Data"
  (arXiv 2409.19798, version 2): abstract and introduction were read.

What could not be read in the original has a (?) on the page. Nothing is quoted that was not seen.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2

from mia_jax import sanitize
from mia_jax.reports import measures, render, verdict
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results
from mia_jax.reports.words import PROOF, PROOF_BY_CANARIES, confounded, doubts, percent, title, with_interval

GUESSING = 0.5
LONGEST = 350  # characters of a command, and of doubts, for all is on one page


class Text(NamedTuple):
    """A text that asks for something, and what this audit says to it."""

    name: str
    asks: str
    shows: str
    shows_not: str


def page(results: Results, about: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """The annex of a run, as HTML that needs no other file.

    Args:
        results: what results.json holds.
        about: what the manifest says of the run, ``manifest.describe``.
        digests: SHA-256 of the run's files, by name.
    """
    simulated = results["dataset"]["source"] == "simulated"
    return (
        _environment()
        .get_template("annex.html")
        .render(
            mark="SIMULATED" if simulated else "",
            title=title(results["dataset"]),
            simulated=verdict.SIMULATED if simulated else "",
            doubts=sanitize.line(f"{confounded(results)} {doubts(results)}", LONGEST),
            facts=_facts(results, about),
            policy=results.get("policy"),
            against=[_in_short(rule) for rule in results.get("policy", {}).get("rules", []) if rule["status"] != "met"],
            texts=[_aisvs(results), _edpb(results), _nist(results), _satre(results)],
            proof=PROOF_BY_CANARIES if measures.by_canaries(results) else PROOF,
            digests=digests,
            about=about,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    """As that of the reports' pages, with the template of this room."""
    return render.environment().overlay(loader=jinja2.PackageLoader("mia_jax.evidence"))


def _in_short(rule: Mapping[str, Any]) -> str:
    """A rule that is not met or undecided, with the largest number against it."""
    if rule["status"] == "not met" and "value" in rule:
        return f"{rule['rule']} = {rule['limit']:g} not met ({rule['attack']}: {rule['value']:.3g})"
    return f"{rule['rule']} {rule['status']} ({sanitize.line(rule['found'], 100)})"


# --- the run in short ------------------------------------------------------------------------------------------------


def _facts(results: Results, about: Mapping[str, Any]) -> dict[str, str]:
    """What was audited and what was found: name -> words."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    members, others = measures.judged(results)
    plans = {
        "shokri": "one model, shadow models on other records",
        "balanced": "models in complementary pairs, each in turn the target",
        "deployed": "a model that was trained elsewhere",
        "canaries": "one training run, canaries put into it by coin tosses",
    }
    kind = {"nn": "a network that was trained for the audit"}.get(target["kind"], target["kind"])
    facts = {
        "Records": f"{title(data)}, {data['source']}: {data['records']:,} records, {data['classes']} classes",
        "Target": f"{kind}; {plans[measures.plan(results)]}",
        "Judged": f"{members:,} members and {others:,} others"
        + (f" of each of {many(measures.num_targets(results), 'target', 'targets')}" if _several(results) else ""),
        "By": f"{many(len(results['attacks']), 'attack', 'attacks')},"
        f" {many(shadows['count'], 'shadow model', 'shadow models')}",
        "Found": _found(results),
        "Made": f"{about['date']}, by mia-jax {about['code']['version']}:"
        f" {sanitize.line(about['command'] or 'called from Python', LONGEST)}",
    }
    if not measures.measured(results):
        del facts["Judged"]
    return facts


def _several(results: Results) -> bool:
    return measures.num_targets(results) > 1


def _found(results: Results) -> str:
    """The strongest numbers of a run."""
    if not measures.measured(results):
        return "nothing can be counted: it is not known who is a member"
    parts = []
    rate = measures.lowest_rate(results)
    if rate and (best := measures.strongest(results, rate)):
        parts.append(
            f"{measures.short(results, best[0])} finds {with_interval(best[1], percent)} of the members at a"
            f" false-positive rate of {percent(float(rate))}, where guessing finds {percent(float(rate))}"
        )
    if area := _largest(results, "auc"):
        parts.append(f"the largest AUC is {with_interval(area[1])} ({measures.short(results, area[0])}; guessing: 0.5)")
    if (bound := measures.largest_epsilon(results)) is not None:
        shown = f"epsilon is at least {bound[1]:.2f}, as proven by the attacks"
        loose = measures.loose_delta(results).rstrip(".")
        parts.append(f"{shown} ({loose[0].lower()}{loose[1:]})" if loose else shown)
    return "; ".join(parts) or "too few records were judged to count anything"


def _largest(results: Results, key: str) -> tuple[str, Any] | None:
    """The attack with the largest value of a measure, and the measure."""
    known = {
        name: block[key] for name, block in results["attacks"].items() if measures.value(block.get(key)) is not None
    }
    if not known:
        return None
    name = max(known, key=lambda name: measures.value(known[name]) or 0.0)
    return name, known[name]


# --- the texts -------------------------------------------------------------------------------------------------------


def _aisvs(results: Results) -> Text:
    attacks = results["attacks"]
    keys = ("balanced_accuracy", "auc")
    above = [
        name
        for name, block in attacks.items()
        if any(measures.above_guessing(block.get(key) or {}, GUESSING, len(attacks)) for key in keys)
    ]
    tried = many(len(attacks), "attack was", "attacks were")
    area = _largest(results, "auc")
    if not measures.measured(results) or area is None:
        shows = f"Nothing: {tried} run, and no accuracy could be measured."
    elif above:
        names = ", ".join(measures.short(results, name) for name in above[:3])
        shows = (
            f"Attacks that exceed guessing, so it is not met: of {tried} simulated,"
            f" {many(len(above), 'is', 'are')} better than guessing beyond chance"
            f" ({names}{', ...' if len(above) > 3 else ''}; AUC up to {with_interval(area[1])})."
        )
    else:
        shows = (
            f"No attack that exceeds guessing as far as this audit can tell: {tried} simulated; AUC up to"
            f" {with_interval(area[1])}."
        )
    return Text(
        "OWASP AISVS 1.0, C11.2.5 (Level 3)",
        "“Verify that membership-inference attack simulations demonstrate that attack accuracy does not exceed random"
        " guessing on evaluated data.”",
        shows,
        "What other attacks, or more records, would find. No sample shows that accuracy equals guessing: it shows how"
        " far above it can be, by the upper end of the interval.",
    )


def _edpb(results: Results) -> Text:
    del results
    return Text(
        "EDPB Opinion 28/2024 (17 December 2024)",
        "Whether a model is anonymous is assessed case by case: extracting personal data, and obtaining them by"
        " queries, must be insignificantly likely. Tests of resistance to attacks such as membership inference are"
        " looked at (paragraph 55 (?)).",
        "One such test, documented: which attacks were run, on how many records, what they found and how sure that is.",
        "That the model is anonymous. Extraction, regurgitation, inversion and attribute inference were not tested.",
    )


def _nist(results: Results) -> Text:
    asked = "by queries alone" if measures.plan(results) == "deployed" else "by its answers, with shadow models"
    if measures.by_canaries(results):
        asked = "by an audit of one training run with canaries"
    return Text(
        "NIST AI 100-2 (E2023, 2.4.2; NISTAML.033 in E2025 (?))",
        "A taxonomy: membership inference is one of the attacks on privacy, beside data reconstruction, property"
        " inference and model extraction.",
        f"Membership inference against the target, {asked}.",
        "The other attacks on privacy, attackers who see parameters or poison the training, and any other goal.",
    )


def _satre(results: Results) -> Text:
    policy = "the policy, " if results.get("policy") else ""
    return Text(
        "SATRE 2.0.1, Output Management, 3.3.06, 3.3.07, 3.3.09",
        "A statistical basis for an output checker's decisions; a policy for outputs that cannot be checked by hand,"
        " as trained models; a machine-readable record of the criteria applied.",
        f"Such a basis for the risk of membership disclosure, with intervals; {policy}results.json and manifest.json"
        " are such a record, with settings and versions.",
        "Whether the model may leave: that is decided by whoever checks outputs. Other disclosure by the model or its"
        " files.",
    )
