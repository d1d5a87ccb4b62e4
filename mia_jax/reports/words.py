"""What a run's numbers mean, in sentences for a reader who has never heard of membership inference."""

from collections.abc import Mapping, Sequence
from typing import Any

from mia_jax.reports.figures import Results, many, short, value

PAPER = (
    "The attack is that of R. Shokri, M. Stronati, C. Song and V. Shmatikov, Membership Inference Attacks Against"
    " Machine Learning Models (IEEE Symposium on Security and Privacy, 2017), called the paper below."
)
EQUAL = 0.51  # a larger share of either side, and accuracies are told with both sides weighted alike
PLATFORMS = {  # how a row of the paper begins: what that target was
    "Google": "a prediction service, closed since, which told nobody what kind of model it trained",
    "Amazon": "a logistic regression that a prediction service trained",
    "local": "a small network that the authors trained themselves",
    "CNN": "a convolutional network that the authors trained themselves, on more or other records than ours",
}


def main_attack(results: Results) -> str:
    """The attack that a report is about: the paper's, or the first of the run."""
    return "shokri" if "shokri" in results["attacks"] else next(iter(results["attacks"]))


def shares(results: Results) -> tuple[int, int]:
    """Members and others that were judged, over all targets, by the attack that judged most."""
    counts = [
        [sum(row[side] for row in block.get("per_class", [])) for side in ("members", "non_members")]
        for block in results["attacks"].values()
    ]
    members, others = max(counts, key=sum, default=(0, 0))
    return members, others


def guessing(results: Results) -> float:
    """The accuracy of whoever calls all records what most of them are."""
    members, others = shares(results)
    return max(members, others) / (members + others) if members + others else 0.5


def equal(results: Results) -> bool:
    """Whether about as many members as others were judged, so that guessing is right half of the time."""
    return guessing(results) < EQUAL


def rates(results: Results) -> list[str]:
    """The false-positive rates to show, largest first; those below .001 where an attack could be measured there."""
    at = [pair for block in results["attacks"].values() for pair in block.get("tpr_at_fpr", {}).items()]
    shown = {rate for rate, measure in at if float(rate) >= 0.001 or value(measure) is not None}
    return sorted(shown, key=float, reverse=True)


def percent(share: float) -> str:
    """A share as a percentage, with as many digits as a thousandth needs: 87.2%, 0.1%, 100%; below, one: 0.01%."""
    text = f"{100 * share:.1g}" if 0 < share < 0.0005 else f"{100 * share:.1f}"
    return text.removesuffix(".0") + "%"


def answers(told: Mapping[str, Any]) -> str:
    """What a target's answers look like, to follow "answers with"; ``told`` is ``types.Answers`` as JSON."""
    if told["kind"] == "labels":
        return "labels"
    text = "probabilities" if told["kind"] == "probabilities" else f"the {told.get('k') or ''} best probabilities"
    if digits := told.get("digits"):
        return f"{text}, rounded to {digits} decimal digit{'s' if digits > 1 else ''}"
    return f"{text}, none of them between 0 and {least:.3g}" if (least := told.get("least")) else text


def verdict(results: Results) -> str:
    """One paragraph: what was asked, what an attacker achieves against guessing, what that means."""
    data, target = results["dataset"], results["target"]
    name = main_attack(results)
    block = results["attacks"][name]
    accuracy = block.get("accuracy")
    told = [
        "Can somebody who may only put questions to a trained model find out whether a certain record was among its"
        f" training data? Here the model learned from {target['train_records']:,} records of {title(data)}, and the"
        " attack judged those and as many others."
    ]
    if data["source"] == "simulated":
        told.insert(
            0, "The records are SIMULATED, made to resemble the real data set: nothing here is about real people."
        )
    if value(accuracy) is None:
        reason = accuracy.get("reason") if isinstance(accuracy, Mapping) else ""
        return " ".join([*told, f"The attack has no accuracy to report{f': {reason}' if reason else ''}."])
    right = value(accuracy)
    low = value(accuracy.get("low")) if isinstance(accuracy, Mapping) else None
    told.append(f"It was right for {percent(right)} of them, where guessing is right for 50%.")
    if (precision := value(block.get("precision"))) is not None and (recall := value(block.get("recall"))) is not None:
        told.append(
            f"It found {percent(recall)} of the members; of the records that it called members, {percent(precision)}"
            " were."
        )
    leak = (right if low is None else low) > 0.5
    told.append(_meaning(right, leak))
    return " ".join([*told, cause(target, leak)])


def _meaning(accuracy: float, leak: bool) -> str:
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


def cause(target: Mapping[str, Any], leak: bool) -> str:
    """What the target's accuracies say about the leak; empty where they are not known."""
    train, test = value(target.get("train_accuracy")), value(target.get("test_accuracy"))
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


def reading(results: Results) -> list[str]:
    """Paragraphs below the table of attacks."""
    name = main_attack(results)
    columns = "; ".join(
        f"{short(n)}: {block['title']}" for n, block in results["attacks"].items() if block.get("title")
    )
    texts = [f"The attacks. {columns}."] if columns else []
    texts += [
        "A member is a record that the target was trained on. Half of the judged records are members, so whoever"
        " guesses is right half of the time. Accuracy, precision and recall are at the threshold that the attack"
        " chose itself, on its shadow models, before it saw the target. The rows on false alarms ask how many members"
        " are found by an attacker who must hardly ever accuse wrongly, which is what matters to each person whose"
        " record it is. An interval covers what another draw of as many records would change; it does not cover"
        " another target, or another seed."
    ]
    others = [n for n in results["attacks"] if n not in (name, "majority")]
    ours = value(results["attacks"][name].get("accuracy"))
    found = [
        f"{short(n)} {percent(v)}" for n in others if (v := value(results["attacks"][n].get("accuracy"))) is not None
    ]
    if found and ours is not None:
        texts.append(
            f"Accuracy of {short(name)}: {percent(ours)}; beside it, {', '.join(found)}. That is at one threshold for"
            " each; AUC and the rows on false alarms compare the attacks at others, and may order them otherwise."
        )
    without = results.get("classes_without_rows", [])
    unscored = results["attacks"][name].get("unscored", 0)
    if without:
        texts.append(
            f"The shadow models lacked members or others of class {listed(without)}: nothing could be learned there."
            f" The {unscored:,} records of such classes got no score and are in none of its numbers."
        )
    return texts


def listed(classes: Sequence[int]) -> str:
    """Ten classes at most."""
    return ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")


def steps(results: Results) -> list[str]:
    """How the attack works, with this run's numbers."""
    target, shadows, data = results["target"], results["shadows"], results["dataset"]
    count = shadows["count"]
    many = f"{count} shadow models were" if count != 1 else "One shadow model was"
    origin = {"real": "other records of the same data set", "simulated": "other simulated records"}.get(
        shadows.get("data", "real"), f"other records ({shadows.get('data')})"
    )
    learned = value(shadows.get("train_accuracy")), value(shadows.get("test_accuracy"))
    similar = (
        f" On average they are right on {percent(learned[0])} of their own training records and {percent(learned[1])}"
        " of others."
        if None not in learned
        else ""
    )
    return [
        f"The target, the model under attack, was trained on {target['train_records']:,} records. From here on it"
        f" only answers questions: a record in, a probability for each of the {data['classes']} classes out.",
        f"{many} trained in the same way on {origin}; the attacker made them, and so knows what each was trained"
        f" on.{similar}{diverged(results)}",
        "The shadow models were asked about records that they were trained on and about others. From the answers, a"
        f" small network for each class learned to tell the two kinds apart{_strength(results)}.",
        "The target was asked about all of its training records and as many others, and these networks said who is a"
        " member.",
    ]


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


def _strength(results: Results) -> str:
    """What kept the attack networks from learning their rows by heart."""
    l2 = results["attacks"].get("shokri", {}).get("l2")
    if l2 is None:
        return ""
    given = results["config"].get("attack_l2") is not None
    return f", with an L2 of {l2:g}" + ("" if given else " that was chosen on answers held out from them")


def comparison(results: Results) -> list[str]:
    """What the paper's rows are, and why ours differ."""
    rows = results.get("paper", {}).get("rows", [])
    if not rows:
        return ["Shokri et al. (2017) report nothing for this data set, so there is no row to put beside this run's."]
    said = []
    for row in rows:
        for start, what in PLATFORMS.items():
            if row["setting"].startswith(start) and (what := f"{row['setting']}, {what}") not in said:
                said.append(what)
    texts = [f"The paper attacked {'other targets' if len(rows) > 1 else 'another target'}: {'; '.join(said)}."]
    if not said:
        texts = ["The paper attacked another target."]
    texts.append(
        f"Ours is {our_target(results)}. The model, its training and the records drawn differ, and so does how much"
        " the target overfits: expect the same direction, not the same numbers."
    )
    if results["dataset"]["source"] == "simulated":
        texts.append(
            "The records of this run are SIMULATED: where the numbers are alike, the method works alike, and no more is"
            " shown."
        )
    return texts


def our_target(results: Results) -> str:
    """The run's own target in a few words."""
    target = results["target"]
    kind = {"nn": "a neural network"}.get(target["kind"], target["kind"])
    model = f" ({target['model']})" if target.get("model") else ""
    return f"{kind}{model} trained on {target['train_records']:,} records"


def title(data: Mapping[str, Any]) -> str:
    """The name of a data set, for people."""
    return data.get("title") or data["name"]


def marked_title(data: Mapping[str, Any]) -> str:
    """The same, for the terminal: it says of simulated records that they are."""
    return ("SIMULATED " if data["source"] == "simulated" else "") + title(data)
