"""What the numbers of an audit by many attacks mean, in sentences for a reader who never read a paper."""

from collections.abc import Mapping
from typing import Any

from scipy import stats

from mia_jax.reports import answer_words, figures, words
from mia_jax.reports.figures import Results, short, value
from mia_jax.statistics import metrics, over_targets, per_record

OFTEN = {  # a false-positive rate in words
    "0.1": "one false alarm in ten",
    "0.01": "one false alarm in a hundred",
    "0.001": "one false alarm in a thousand",
    "0.0001": "one false alarm in ten thousand",
}


def ranked(results: Results) -> list[str]:
    """The attacks, best first: by the members found at 1 % false alarms; those not measured there last, by AUC."""

    def strength(name: str) -> tuple[bool, float, float]:
        block = results["attacks"][name]
        found, auc = value(block.get("tpr_at_fpr", {}).get("0.01")), value(block.get("auc"))
        return found is None, -(found or 0), -(auc or 0)

    return sorted(results["attacks"], key=strength)


def measured(results: Results) -> bool:
    """Whether the truth is known, so that there is anything but scores."""
    return any("auc" in block for block in results["attacks"].values())


def strongest(results: Results, rate: str) -> tuple[str, Any] | None:
    """The attack that finds most at a false-positive rate, and its measure; None where none can be measured."""
    at = {name: block.get("tpr_at_fpr", {}).get(rate) for name, block in results["attacks"].items()}
    at = {name: measure for name, measure in at.items() if value(measure) is not None}
    if not at:
        return None
    name = max(at, key=lambda name: value(at[name]))
    return name, at[name]


def lowest_rate(results: Results) -> str | None:
    """The lowest false-positive rate at which this run can count members."""
    return next((rate for rate in reversed(words.rates(results)) if strongest(results, rate)), None)


def caveat(results: Results) -> str:
    """What the numbers rest on where nobody here decided who is a member; short, for a table. Else empty."""
    if results["plan"] != "deployed":
        return ""
    return (
        "These numbers tell members from others; what the model remembers they tell only if a random split decided who"
        " is a member (members that are merely easier, or older, score apart too)"
    )


def base_rate(results: Results) -> str:
    """What guessing gives where members and others are not as many; short, for a table. Else empty."""
    if words.equal(results):
        return ""
    members, others = words.shares(results)
    share = members / (members + others)
    return (
        f"{words.percent(share)} of the records are members, so guessing alone has an accuracy of"
        f" {words.percent(words.guessing(results))} and a precision of {words.percent(share)}; balanced accuracy"
        " weighs both sides alike, guessing has 50%"
    )


def read(results: Results) -> str:
    """At which rates all targets share a threshold; short, for a table. Empty where each has its own."""
    at = {
        rate
        for rate in words.rates(results)
        for block in results["attacks"].values()
        if (block.get("tpr_at_fpr", {}).get(rate) or {}).get("read") == over_targets.POOLED
    }
    if not at:
        return ""
    told = " and ".join(words.percent(float(rate)) for rate in sorted(at, key=float, reverse=True))
    return (
        f"At {told} false alarms one threshold serves all targets, as each alone has fewer than {metrics.RESOLVABLE} of"
        " them; elsewhere each target has its own"
    )


def verdict(results: Results) -> str:
    """What was asked; how many members are found at one false alarm in a thousand, and how sure that is."""
    data, target, shadows = results["dataset"], results["target"], results["shadows"]
    told = [
        *([doubt_line(results)] if results.get("doubts") else []),
        "Can somebody who may only put questions to a trained model find out whether a certain record was among its"
        " training data?",
    ]
    if data["source"] == "simulated":
        told.insert(
            0, "The records are SIMULATED, made to resemble the real data set: nothing here is about real people."
        )
    attacks = figures.many(len(results["attacks"]), "attack", "attacks")
    if results["plan"] == "balanced":
        told.append(
            f"Here {shadows['models']:,} models were trained, each on {target['train_records']:,} records of"
            f" {words.title(data)}, and {figures.many(_targets(results), 'of them was', 'of them were')} attacked by"
            f" {attacks}."
        )
    else:
        told.append(
            f"Here the model is {_what(results)}; {attacks} judged {target['train_records']:,} records that it was"
            f" trained on and {words.shares(results)[1]:,} others."
        )
    rate = lowest_rate(results)
    if rate is None:
        told.append("How many members can be identified cannot be told here: too few non-members were judged.")
        return " ".join(told)
    if float(rate) > 0.001:
        told.append(
            "How many members can be identified at one false alarm in a thousand cannot be told here: too few"
            " non-members were judged."
        )
    name, measure = strongest(results, rate)
    found = value(measure)
    low = value(measure.get("low")) if isinstance(measure, dict) else None
    interval = ""
    if low is not None:
        low, high = max(0.0, low), min(1.0, measure["high"])
        interval = f" (95% interval: {words.percent(low)} to {words.percent(high)})"
    told.append(
        f"At {OFTEN.get(rate, f'a false-alarm rate of {rate}')} the strongest attack, {short(name)}, identifies"
        f" {words.percent(found)} of the members{interval}, where guessing identifies {words.percent(float(rate))}."
    )
    auc = results["attacks"][name].get("auc", {})
    count = len(results["attacks"])
    apart, leak = surely(auc, 0.5, count), surely(measure, float(rate), count)
    told.append(_meaning(found, float(rate), leak, apart))
    told.append(words.cause(target, leak or apart))
    return " ".join(told).strip()


def doubt_line(results: Results) -> str:
    """What comes before all numbers where labels, target and shadows seem not to belong together."""
    return " ".join(["The numbers below are in doubt.", *results["doubts"]])


def worse(results: Results) -> str:
    """The attacks whose AUC lies below guessing with its whole interval; short, for a table. Else empty."""
    areas = {name: results["attacks"][name].get("auc") for name in ranked(results)}
    below = [short(n) for n, auc in areas.items() if isinstance(auc, Mapping) and (auc.get("high") or 1.0) < 0.5]
    if not below:
        return ""
    if results["plan"] == "balanced":
        cause = "the shadows do not imitate the target"
    else:
        cause = "something is inverted (member, shadow_member), or the shadows do not imitate the target"
    return (
        f"Worse than guessing, for the whole interval of the AUC lies below .5: {', '.join(below)}; {cause}; by chance"
        " one interval in forty does so"
    )


def surely(measure: Any, guess: float, attacks: int) -> bool:
    """Whether an interval lies above what guessing gives, though its attack was picked as the best of several.

    The interval is widened from 95 % to 1 - 5 % / attacks, as if it were Gaussian.
    """
    found, low = value(measure), value(measure.get("low")) if isinstance(measure, dict) else None
    if found is None or low is None:
        return found is not None and found > guess * (1 + 1e-9)
    wider = float(stats.norm.isf(metrics.TAIL / attacks)) / metrics.Z
    return found - wider * (found - low) > guess


def _meaning(found: float, rate: float, leak: bool, apart: bool) -> str:
    """The thresholds are ours: words, not statistics."""
    if not leak and apart:
        return (
            "The interval reaches down to guessing, so this number alone proves nothing; yet over all records, members"
            " can be told from others better than by chance. More targets or more records would say how well."
        )
    if not leak:
        return "That cannot be told from guessing: no leak was found. It does not prove that there is none."
    if found < 3 * rate:
        return "That is a weak leak: better than chance, yet few single records are at risk."
    if rate > 0.01:
        return "That is a clear leak, though at this rate too many others are accused for any one to be sure."
    accused = f"of those accused at this rate, where half are members, {words.percent(found / (found + rate))} are"
    if found < 0.1:
        return f"That is a clear leak: some records are exposed; {accused}."
    return f"That is a severe leak: many records are exposed; {accused}."


def reading(results: Results) -> list[str]:
    """Paragraphs below the table of attacks."""
    if results["plan"] == "balanced" and (t := _targets(results)) > 1:
        sure = (
            f"An interval (95%, Student's t) covers what {t} other models and as many other records of the same kind"
            " would change; it does not cover another way of training."
        )
        if t < 5:
            sure += f" From {t} targets it is wide; give more with --num_targets."
    else:
        sure = (
            "An interval (95%) covers what another draw of as many records would change; it does not cover another"
            " model, or another seed."
        )
    several = (
        " The strongest of several attacks was picked after the fact, which flatters it a little; whether it finds more"
        " than guessing is judged with an interval that allows for that."
        if len(results["attacks"]) > 1
        else ""
    )
    first = (
        "that finds most members at 1% false alarms"
        if strongest(results, "0.01")
        else "of the highest AUC, for at 1% false alarms members cannot be counted here"
    )
    return [
        "A member is a record that the model under attack was trained on. A false alarm is a non-member that is called"
        " a member. Each attack gives every record a score; the columns on false alarms ask which share of the members"
        " an attacker finds who raises the bar until only so many false alarms are left: that is what matters to each"
        " person whose record it is. AUC is the chance that a member scores above a non-member; guessing has 0.500."
        f" {'Accuracy' if words.equal(results) else 'Balanced accuracy'}, precision and recall are at the threshold"
        " that the attack itself chose before it saw the target.",
        f"The table begins with the attack {first}. {sure}{several}",
        *([" ".join(notes)] if (notes := results["shadows"].get("notes")) else []),
    ]


def steps(results: Results) -> list[str]:
    """How the audit works, with this run's numbers."""
    target, shadows, data = results["target"], results["shadows"], results["dataset"]
    if results["plan"] == "balanced":
        t = _targets(results)
        return [
            f"{shadows['models']:,} models were trained in complementary pairs: the records were split at random, one"
            f" model learned from the one half and its partner from the other. So every model was trained on"
            f" {target['train_records']:,} records, and every record trained half of the models."
            f"{words.diverged(results)}",
            f"{t:,} of the models played the target, one after the other. A target only answers questions: a record"
            f" in, a probability for each of the {data['classes']} classes out. The attacker knows of the others, the"
            " shadow models, who trained on what. The target's own partner plays no part: it would give the answer"
            " away.",
            "Each attack learned from the shadow models how answers about members differ from answers about others, and"
            " then gave every record a score for having trained the target. Attacks that need many questions for each"
            " record were tried on fewer records.",
            "Only then the truth was looked up, and the scores were counted against it.",
        ]
    return [
        f"The model under attack is {_what(results)}. It only answered questions: a record in, a probability for each"
        f" of the {data['classes']} classes out."
        + answer_words.earlier(target)
        + answer_words.unsteady(target)
        + answer_words.format_of(target),
        f"{figures.many(shadows['count'], 'shadow model imitates', 'shadow models imitate')} it, and the attacker knows"
        f" what was in their training data: {shadows.get('data', 'not told')}.{_sizes(results)}"
        f"{words.diverged(results)}",
        "Each attack learned from the shadow models how answers about members differ from answers about others, and"
        f" then gave every record in question a score for having trained the model.{answer_words.shadows(results)}",
        "The user's file says which records are members in truth; the scores were counted against that.",
    ]


def chance(separation: float) -> str:
    """In how many cases a record of this exposure is recognized at 1 % false alarms."""
    share = per_record.recognized(separation)
    return f"{share:.0%}" if share < 0.995 else "over 99%"


def thresholds(results: Results) -> str:
    """What choosing a threshold on shadows is."""
    return (
        "An attacker has to fix the threshold beforehand, without knowing who the target's members are. So one shadow"
        " model played the target, and the threshold was set on it for the share of false alarms in the head of the"
        " column. The table says what it then did to the real target: the members it found and, below, the false alarms"
        " that it raised. Where the two shares of false alarms differ much, the attack promises what it cannot keep."
        f"{not_aligned(results, 'chosen_threshold')}"
    )


def not_aligned(results: Results, key: str) -> str:
    """The attacks whose blocks have no ``key``, and why: a sentence with a space before it, or nothing."""
    names = [short(name) for name in ranked(results) if not results["attacks"][name].get(key)]
    if not names:
        return ""
    return (
        f" Not here: {', '.join(names)}. They learn from a sample of the shadow models' records, so no shadow model was"
        " asked about all the records that a target is judged on."
    )


def priors(results: Results) -> str:
    """Why the share of members among those asked about matters."""
    rows = max((block.get("per_class", []) for block in results["attacks"].values()), key=len)
    members = sum(row["members"] for row in rows)
    share = members / max(1, members + sum(row["non_members"] for row in rows))
    return (
        "An accusation is only worth something if most of the accused are members, and that depends on how many of the"
        f" records that an attacker asks about are members at all. In the evaluation it is {words.percent(share)} of"
        " them, and the accuracies and precisions above hold for that share; outside it may be one in a hundred. The"
        " table gives the share of members among those called members (precision, also called PPV), at each attack's"
        " own threshold."
    )


def exposed(results: Results, shown: int) -> str:
    """How to read the list of records, and how far to trust it."""
    models = results["shadows"]["models"]
    give = 1.96 * 2 / models**0.5
    text = (
        f"The {shown} records that the models remember most. Exposure compares the models that were trained on a record"
        f" ({models // 2} of the {models}) with those that were not: the difference of their mean answers about it, in"
        " standard deviations (of the logit of its true class). The last number is the chance that an attacker who"
        " knows both distributions recognizes the record in a model's training data at one false alarm in a hundred,"
        " if the answers are normally distributed. Records are numbered by their row in the data set, from 0."
        f" From {models} models an exposure is known to about plus or minus {give:.1f}, and less well where it is"
        " large; the top of a list of estimates is in part luck."
    )
    if models < 32:
        text += " Take the order for a hint: it needs more models (--num_models)."
    return text


def unknown(results: Results) -> str:
    """What there is where nobody said who is a member."""
    return (
        "The data do not say who is a member, so how well the attacks do cannot be measured: there are scores only."
        " Larger means more likely a member, and above 0 is called one."
    )


def _sizes(results: Results) -> str:
    """On how many records shadows and target were trained, where both are known."""
    m, wanted = results["shadows"].get("train_records"), results["target"].get("train_records")
    if not m or not wanted:
        return ""
    text = f" Each was trained on {m:,} records, the target on {wanted:,}."
    if abs(m - wanted) > 0.05 * wanted:
        text += " Models of fewer records remember each of them better: as many would imitate it better."
    return text


def _targets(results: Results) -> int:
    return max(block.get("targets", 1) for block in results["attacks"].values())


def _what(results: Results) -> str:
    target = results["target"]
    if target.get("url"):
        return f"{target['kind']} at {target['url']}"
    return f"known by {target['kind']} alone" if target["kind"] == "saved predictions" else target["kind"]
