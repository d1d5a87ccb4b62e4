"""The heading and the verdict of a page: what was asked, what an attacker achieves against guessing, what it means."""

from collections.abc import Mapping

from mia_jax.reports import measures
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results
from mia_jax.reports.words import OFTEN, cause, confounded, doubts, percent, the_model, title

QUESTION = (
    "Can somebody who may only put questions to a trained model find out whether a certain record was among its"
    " training data?"
)
SIMULATED = "The records are SIMULATED, made to resemble the real data set: nothing here is about real people."


def heading(results: Results) -> str:
    """The title of the page."""
    name = title(results["dataset"])
    match measures.plan(results):
        case "shokri":
            return f"Membership inference on {name}"
        case "canaries":
            return f"What does training tell of a single record? {name}, audited"
    return f"Who was in the training data? {name}, audited"


def verdict(results: Results) -> str:
    """One paragraph, below the title and below the terminal's table of an audit by canaries."""
    match measures.plan(results):
        case "shokri":
            sentences = _shokri_verdict(results)
        case "canaries":
            sentences = [canaries(results)]
        case _ if not measures.measured(results):
            sentences = [QUESTION, _unknown(results)]
        case _:
            sentences = _audit_verdict(results)
    simulated = [SIMULATED] if results["dataset"]["source"] == "simulated" else []
    return " ".join(sentence for sentence in (*simulated, doubts(results), confounded(results), *sentences) if sentence)


# --- the paper's run -------------------------------------------------------------------------------------------------


def _shokri_verdict(results: Results) -> list[str]:
    target = results["target"]
    block = results["attacks"][measures.main_attack(results)]
    accuracy = block.get("accuracy")
    sentences = [
        f"{QUESTION} Here the model learned from {target['train_records']:,} records of"
        f" {title(results['dataset'])}, and the attack judged those and as many others."
    ]
    right = measures.value(accuracy)
    if right is None:
        reason = accuracy.get("reason") if isinstance(accuracy, Mapping) else ""
        return [*sentences, f"The attack has no accuracy to report{f': {reason}' if reason else ''}."]
    low = measures.value(accuracy.get("low")) if isinstance(accuracy, Mapping) else None
    sentences.append(f"It was right for {percent(right)} of them, where guessing is right for 50%.")
    if (precision := measures.value(block.get("precision"))) is not None and (
        recall := measures.value(block.get("recall"))
    ) is not None:
        sentences.append(
            f"It found {percent(recall)} of the members; of the records that it called members, {percent(precision)}"
            " were."
        )
    if results.get("doubts"):
        return sentences
    leak = (right if low is None else low) > 0.5
    return [*sentences, _accuracy_means(right, leak), cause(target, leak)]


def _accuracy_means(accuracy: float, leak: bool) -> str:
    """The thresholds are ours: words, not statistics."""
    if not leak:
        return (
            "That cannot be told from guessing: this attack found no leak. It does not prove that there is none, for"
            " other attacks look at more."
        )
    if accuracy < 0.6:
        return "That is a weak leak: better than chance, yet far from certainty about any one record."
    if accuracy < 0.8:
        return "That is a clear leak: the model's answers are evidence about which records it was trained on."
    return "That is a severe leak: who may query this model can mostly tell which records it was trained on."


# --- audits by many attacks ------------------------------------------------------------------------------------------


def _audit_verdict(results: Results) -> list[str]:
    sentences = [QUESTION, _what_was_attacked(results)]
    rate = measures.lowest_rate(results)
    if rate is None or (best := measures.strongest(results, rate)) is None:
        return [
            *sentences,
            "How many members can be identified cannot be told here: too few non-members were judged.",
        ]
    if float(rate) > 0.001:
        sentences.append(
            f"How many members can be identified at {OFTEN['0.001']} cannot be told here: too few non-members were"
            " judged."
        )
    name, measure = best
    found = measures.value(measure) or 0.0
    low = measures.value(measure.get("low")) if isinstance(measure, dict) else None
    interval = ""
    if low is not None:
        low, high = max(0.0, low), min(1.0, measure["high"])
        interval = f" (95% interval: {percent(low)} to {percent(high)})"
    sentences.append(
        f"At {OFTEN.get(rate, f'a false-alarm rate of {rate}')} the strongest attack, {measures.short(results, name)},"
        f" identifies {percent(found)} of the members{interval}, where guessing identifies {percent(float(rate))}."
    )
    if results.get("doubts"):  # no number means much, whether it says leak or none
        return sentences
    if measures.confounded(results):
        return [*sentences, _beyond_the_split(results)]
    attacks = results["attacks"]
    apart = measures.above_guessing(attacks[name].get("auc", {}), 0.5, len(attacks))
    leak = measures.above_guessing(measure, float(rate), len(attacks))
    return [*sentences, _rate_means(found, float(rate), leak, apart), cause(results["target"], leak or apart)]


def _beyond_the_split(results: Results) -> str:
    """What the numbers still say of memory where records alone tell members, by the negative control."""
    memory = [measures.short(results, name) for name in measures.ranked(results) if measures.remembered(results, name)]
    if not memory:
        return "Whether any of that is memory, and so a leak, cannot be told from these members and non-members."
    some = ", ".join(memory[:3]) + (f" and {len(memory) - 3} more" if len(memory) > 3 else "")
    return (
        f"That alone is no leak. Yet {some} {'tells' if len(memory) == 1 else 'tell'} these members from others of this"
        " model, and not of models that never saw them (negative control): so much is memory."
    )


def _what_was_attacked(results: Results) -> str:
    target, shadows = results["target"], results["shadows"]
    attacks = many(len(results["attacks"]), "attack", "attacks")
    if measures.targets_in_turn(results):
        targets = many(measures.num_targets(results), "of them was", "of them were")
        return (
            f"Here {shadows['models']:,} models were trained, each on {target['train_records']:,} records of"
            f" {title(results['dataset'])}, and {targets} attacked by {attacks}."
        )
    others = target.get("test_records", measures.shares(results)[1])
    return (
        f"Here the model is {the_model(results)}; {attacks} judged {target['train_records']:,} records that it was"
        f" trained on and {others:,} others."
    )


def _rate_means(found: float, rate: float, leak: bool, apart: bool) -> str:
    """The thresholds are ours: words, not statistics. ``apart``: whether the AUC is surely above guessing."""
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
    accused = f"of those accused at this rate, where half are members, {percent(found / (found + rate))} are"
    if found < 0.1:
        return f"That is a clear leak: some records are exposed; {accused}."
    return f"That is a severe leak: many records are exposed; {accused}."


def _unknown(results: Results) -> str:
    return (
        f"Here the model is {the_model(results)}, and"
        f" {many(len(results['attacks']), 'attack', 'attacks')} scored"
        f" {results['dataset']['records']:,} records. The data do not say who is a member, so how well the attacks do"
        " cannot be measured: there are scores only."
    )


# --- audits by canaries ----------------------------------------------------------------------------------------------


def canaries(results: Results) -> str:
    """The lower bound on epsilon, beside what the privacy accountant computes from above."""
    block, accountant = results["attacks"]["canaries"]["epsilon"], results["target"].get("epsilon")
    at, low = f"delta {block['delta']:g}, {block['confidence']:.0%} confidence", measures.epsilon_low(block)
    loose = " ".join(["", *filter(None, [measures.loose_delta(results)])])
    if not measures.proves(block):
        lower = f"These canaries prove nothing of epsilon ({at}){_told_apart(results)}"
    else:
        lower = f"This training is not differentially private for an epsilon below {low:.2f} ({at})."
    upper = measures.value(accountant)
    if upper is None:
        return f"{lower} It promises no epsilon: only noise does (DP-SGD, `dp_noise_multiplier`).{loose}"
    promise = f"DP-SGD promises, by the privacy accountant, that epsilon is at most {upper:.2f}"
    if low and measures.proves(block) and low > upper:
        broken = "the promise does not hold, or this is the one audit in twenty that proves too much."
        return f"{lower} {promise}: {broken}{loose}"
    return f"{lower} {promise}: nothing here contradicts it, and what lies between the two is not known.{loose}"


def _told_apart(results: Results) -> str:
    """Whether canaries that prove no epsilon are told from those left out all the same."""
    by = {"the model's answers tell": results["attacks"]["canaries"]["auc"]}
    if "lira" in results.get("canaries", {}):
        by["LiRA, which compares several models, tells"] = results["canaries"]["lira"]["auc"]
    for who_tells, auc in by.items():
        if (auc.get("low") or 0.0) > 0.5:
            return (
                f"; yet {who_tells} canaries in training from those left out better than by chance (AUC"
                f" {auc['value']:.3f}, 95% interval {auc['low']:.3f} to {auc['high']:.3f}):"
                " there is a leak, though none that proves an epsilon."
            )
    return ": no leak was found. It does not prove that there is none."
