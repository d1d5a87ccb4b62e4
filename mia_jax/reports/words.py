"""Words that several sections share, for a reader who has never heard of membership inference."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mia_jax.reports import measures
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results
from mia_jax.statistics import metrics, over_targets, per_record

MEASURES = {  # key: (name, what it means, what guessing gives)
    "accuracy": ("Accuracy", "records judged rightly; guessing: 50%"),
    "precision": ("Precision", "of the records called members, those that are; guessing: 50%"),
    "recall": ("Recall", "of the members, those that were found"),
    "auc": ("AUC", "chance that a member scores above a non-member; guessing: 0.500"),
}
OFTEN = {  # a false-positive rate in words
    "0.1": "one false alarm in ten",
    "0.01": "one false alarm in a hundred",
    "0.001": "one false alarm in a thousand",
    "0.0001": "one false alarm in ten thousand",
}


PROOF = (
    "Proof that a certain record was used for training. Membership inference without random canaries cannot give it"
    " (Zhang, Das, Kamath and Tramèr 2025, arXiv 2409.19798): nobody can say how often a model that was not trained on"
    " the record would have answered as this one does. The numbers say what a model leaks of records on average; they"
    " accuse nobody of having used one."
)
PROOF_BY_CANARIES = (
    "Proof that any other record was used for training. Canaries were put in by coin tosses, so what is said of them"
    " is sound; of other records membership inference cannot prove it (Zhang, Das, Kamath and Tramèr 2025, arXiv"
    " 2409.19798)."
)

# --- small pieces ----------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """A share as a percentage, with as many digits as a thousandth needs: 87.2%, 0.1%, 100%; below, one: 0.01%."""
    text = f"{100 * share:.1g}" if 0 < share < 0.0005 else f"{100 * share:.1f}"
    return text.removesuffix(".0") + "%"


def listed(classes: Sequence[int]) -> str:
    """Ten classes at most."""
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")


def title(data: Mapping[str, Any]) -> str:
    """The name of a data set, for people."""
    return data.get("title") or data["name"]


def marked_title(data: Mapping[str, Any]) -> str:
    """The same, for the terminal: it says of simulated records that they are."""
    return ("SIMULATED " if data["source"] == "simulated" else "") + title(data)


def answers(form: Mapping[str, Any]) -> str:
    """What a target's answers look like, to follow "answers with"; ``form`` is ``types.Answers`` as JSON."""
    if form["kind"] == "labels":
        return "labels"
    thresholded = form["kind"] == "thresholded"
    text = f"the {form.get('k') or ''} best probabilities" if form["kind"] == "top_k" else "probabilities"
    text = f"those {text} alone that are at least {form['least']:.3g}" if thresholded else text
    if digits := form.get("digits"):
        return f"{text}, rounded to {digits} decimal digit{'s' if digits > 1 else ''}"
    if steps := form.get("steps"):
        return f"{text} that are multiples of 1/{steps}, as of {steps} trees or votes"
    least = None if thresholded else form.get("least")
    return f"{text}, none of them between 0 and {least:.3g}" if least else text


def chance(separation: float) -> str:
    """In how many cases a record of this separation is recognized at 1 % false alarms."""
    share = per_record.recognized(separation)
    return f"{share:.0%}" if share < 0.995 else "over 99%"


def the_model(results: Results) -> str:
    """The model that an audit of a deployed one is about."""
    target = results["target"]
    if target.get("url"):
        return f"{target['kind']} at {target['url']}"
    kinds = {"saved predictions": "known by saved predictions alone", "a model in this process": "one in this process"}
    return kinds.get(target["kind"], target["kind"])


def with_interval(measure: Any, number: Callable[[float], str] = "{:.3f}".format) -> str:
    """A measure that has a value, with its interval where it has one: 0.731 [0.712, 0.750]."""
    value = number(measures.value(measure) or 0.0)
    if not measures.has_interval(measure):
        return value
    return f"{value} [{', '.join(number(end) for end in measures.ends(measure))}]"


# --- sentences -------------------------------------------------------------------------------------------------------


def cause(target: Mapping[str, Any], leak: bool) -> str:
    """What the target's accuracies say about the leak; empty where they are not known."""
    train, test = measures.value(target.get("train_accuracy")), measures.value(target.get("test_accuracy"))
    if train is None or test is None:
        return ""
    both = (
        f"the model is right on {percent(train)} of the records that it was trained on and on {percent(test)} of others"
    )
    if train - test > 0.05:
        if leak:
            return f"The likely cause is overfitting: {both}, so it answers differently about what it has seen."
        return f"The model does overfit, so a stronger attack may find more: {both}."
    return f"There is little overfitting to {'explain it' if leak else 'exploit'}: {both}."


def diverged(results: Results) -> str:
    """Which models came to nothing and play no part: sentences with a space before them, or nothing."""
    shadows = results["shadows"]
    if not (lost := shadows.get("diverged")):
        return ""
    more = len(lost) - 1
    text = f" {many(len(lost), 'more model was', 'more models were')} trained and {'plays' if not more else 'play'} no"
    text += f" part: number {lost[0]['model']} {lost[0]['what']}{f', and so did {more} others' if more else ''}."
    partners = shadows.get("unused", 0)
    return text + (
        f" {many(partners, 'partner', 'partners')} of such models had to be left out with them." * bool(partners)
    )


def sizes(results: Results) -> str:
    """On how many records shadows and target were trained, where that differs; else empty."""
    m, wanted = results["shadows"].get("train_records"), results["target"].get("train_records")
    if not m or not wanted or abs(m - wanted) <= 0.05 * wanted:
        return ""
    remember = "fewer records remember each better" if m < wanted else "more records remember each less"
    return (
        f"Each shadow model was trained on {m:,} records and the target on {wanted:,}: models of {remember}, so shadows"
        " of as many records would imitate the target better, and attacks may then find more"
    )


def doubts(results: Results) -> str:
    """What comes before all numbers where labels, target and shadows seem not to belong together; else empty."""
    return " ".join(["The numbers below are in doubt.", *results["doubts"]]) if results.get("doubts") else ""


def confounded(results: Results) -> str:
    """What comes before all numbers where records alone tell who is a member; else empty."""
    if not measures.confounded(results):
        return ""
    found = results["blind"]
    telling = [f"{one['column']} (alone {one['auc']:.2f})" for one in found.get("columns", ())[:3] if one["auc"] > 0.55]
    by = f" Most is told by {', '.join(telling)}." if telling else ""
    return (
        "Members and non-members differ even without the model: a classifier that never asks it tells them apart with"
        f" an AUC of {with_interval(found['auc'])}, where a random split would leave 0.500.{by} So the numbers below do"
        " not say what the model remembers: an attack may find that difference instead. What to do: judge members and"
        " non-members that one random draw has divided, or of the same time, place and kind; where one draw did divide"
        " them, see whether their columns were encoded alike."
    )


def without_key(results: Results, key: str) -> str:
    """The attacks whose blocks have no ``key``, and why: a sentence with a space before it, or nothing."""
    names = [
        measures.short(results, name) for name in measures.ranked(results) if not results["attacks"][name].get(key)
    ]
    if not names:
        return ""
    return (
        f" Not here: {', '.join(names)}, for what learns from a sample of the shadow models' records asks no shadow"
        " model about all the records that a target is judged on."
    )


# --- what a reader of the table of attacks must know, a line each ----------------------------------------------------


def table_notes(results: Results) -> list[str]:
    """Lines for the caption of the table of attacks, and for the terminal; each without its full stop."""
    lines = (random_split(results), base_rate(results), pooled(results), worse_than_guessing(results), sizes(results))
    return [line for line in lines if line]


def random_split(results: Results) -> str:
    """What the numbers rest on where nobody here decided who is a member; else empty."""
    if measures.members_drawn(results) or measures.confounded(results):
        return ""
    blind = (results.get("blind") or {}).get("auc") or {}
    ran = measures.has_interval(blind)
    alone = f"; without the model, records alone tell no difference: AUC {with_interval(blind)}" if ran else ""
    return (
        "These numbers tell members from others; what the model remembers they tell only if a random split decided who"
        f" is a member (members that are merely easier, or older, score apart too){alone}"
    )


def base_rate(results: Results) -> str:
    """What guessing gives where members and non-members are not as many; else empty."""
    if measures.equal(results):
        return ""
    members, non_members = measures.shares(results)
    share = members / (members + non_members)
    return (
        f"{percent(share)} of the records are members, so guessing alone has an accuracy of"
        f" {percent(measures.guessing(results))} and a precision of {percent(share)}; balanced accuracy"
        " weighs both sides alike, guessing has 50%"
    )


def pooled(results: Results) -> str:
    """At which rates all targets share a threshold; empty where each has its own."""
    at = {
        rate
        for rate in measures.rates(results)
        for block in results["attacks"].values()
        if (measures.tpr(block, rate) or {}).get("read") == over_targets.POOLED
    }
    if not at:
        return ""
    shown = " and ".join(percent(float(rate)) for rate in sorted(at, key=float, reverse=True))
    return (
        f"At {shown} false alarms one threshold serves all targets, as each alone has fewer than"
        f" {metrics.RESOLVABLE} of them; elsewhere each target has its own"
    )


def worse_than_guessing(results: Results) -> str:
    """The attacks whose AUC lies below guessing with its whole interval; else empty."""
    areas = {name: results["attacks"][name].get("auc") for name in measures.ranked(results)}
    below = [
        measures.short(results, n)
        for n, auc in areas.items()
        if isinstance(auc, Mapping) and (auc.get("high") or 1.0) < 0.5
    ]
    if not below:
        return ""
    if measures.targets_in_turn(results):
        why = "the shadows do not imitate the target"
    else:
        shadows = bool(results.get("shadows", {}).get("count"))
        why = f"something is inverted (member{', shadow_member' if shadows else ''})"
        why += "" if "signal" in results["target"] else ", labels are in another order than the answers' columns"
        why += (
            ", or the shadows do not imitate the target" if shadows else ", or the records are not those that it says"
        )
    return (
        f"Worse than guessing, for the whole interval of the AUC lies below .5: {', '.join(below)}; {why}; by chance"
        " one interval in forty does so"
    )
