"""How a deployed model and its shadow models answered, in sentences of a report, each with a space before it."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import measures, words
from mia_jax.reports.figures import Results


def format_of(target: Mapping[str, Any]) -> str:
    """What its answers look like, where that is less than all it could tell."""
    text = words.answers(target.get("answers") or {"kind": "probabilities"})
    assumed = f" ({target['assumed']})" if target.get("assumed") else ""
    return "" if text == "probabilities" else f" It answers with {text}{assumed}."


def shadows(results: Results) -> str:
    """How the shadow models answered, where they do not simply answer in full: sentences with a space before them."""
    answers, read_as = results["shadows"].get("answers", {}), results["target"].get("read_as")
    text = ""
    if read_as:
        text = (
            f" The shadow models' answers are coarser than its own, which were read as if it had: {', '.join(read_as)}."
        )
    if not answers.get("defences"):
        return text
    defenses = ", ".join(map(_plain, answers["defences"]))
    if answers["from"].removeprefix("--") == "defenses":  # with dashes until 2026-11-27
        return f"{text} The shadow models answered through {defenses}, as `defenses` says."
    blocks = {name: block.get("shadows", {}).get("answer") for name, block in results["attacks"].items()}
    full = [measures.short(results, name) for name, answer in blocks.items() if answer == "in full"]
    labels = [measures.short(results, name) for name, answer in blocks.items() if answer == "as labels"]
    rest = "all attacks" if not full + labels else "the other attacks"
    text += f" Shadow models answered in the same format ({defenses}) whenever they played the target, and for"
    text += f" {rest} always"
    if full:
        text += f"; for {', '.join(full)} they answered in full otherwise, which did better on shadow models"
    if labels:
        text += f"; {', '.join(labels)} read labels alone, theirs and the target's, which did better on shadow models"
    return f"{text}."


def _plain(defense: str) -> str:
    """A defense's name, with words where it says little: at_least(0.05)."""
    least = defense.removeprefix("at_least(").removesuffix(")")
    return f"what is below {least} is told as 0, {defense}" if defense.startswith("at_least(") else defense


def unsteady(target: Mapping[str, Any]) -> str:
    """That a service does not answer the same record in one way, where that is so."""
    if target.get("unsteady") is None:
        return ""
    return (
        " The service does not answer in one way: a few records were asked about again, alone or among others, and a"
        f" probability differed by up to {target['unsteady']:.2g}; the scores hold that noise."
    )


def earlier(target: Mapping[str, Any]) -> str:
    """What of a service's answers is how old."""
    stored = target.get("answers_of_earlier_runs")
    if not stored:
        return ""
    first, last = (stored[name][:10] for name in ("oldest", "newest"))
    when = f"on {first}" if first == last else f"from {first} to {last}"
    same = "had not changed" if target.get("unsteady") is None else "differed as they do each time"
    again = f"some were asked for again, and {same}" if stored["rechecked"] else "they were trusted unseen"
    return f" Of its answers {stored['records']:,} were had by earlier runs, {when}; {again}."
