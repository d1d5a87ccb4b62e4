"""How a run was done, with its own numbers."""

from collections.abc import Mapping
from typing import Any

from mia_jax.reports import answer_words, measures
from mia_jax.reports.blocks import Block, Items, Report
from mia_jax.reports.figures import many
from mia_jax.reports.measures import Results
from mia_jax.reports.sections import canary_kinds
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import diverged, percent, the_model


def steps(results: Results) -> list[str]:
    """What was done, in order: a paragraph each."""
    match measures.plan(results):
        case "shokri":
            return _shokri_method(results)
        case "balanced":
            return _of_many_models(results)
        case "canaries":
            return _canaries_method(results)
    return _of_a_deployed_model(results)


def _blocks(report: Report) -> list[Block]:
    return [Items(steps(report.results), numbered=True)]


def _shokri_method(results: Results) -> list[str]:
    target, shadows, data = results["target"], results["shadows"], results["dataset"]
    count = shadows["count"]
    models = f"{count} shadow models were" if count != 1 else "One shadow model was"
    origin = {"real": "other records of the same data set", "simulated": "other simulated records"}.get(
        shadows.get("data", "real"), f"other records ({shadows.get('data')})"
    )
    train, test = measures.value(shadows.get("train_accuracy")), measures.value(shadows.get("test_accuracy"))
    similar = ""
    if train is not None and test is not None:
        similar = (
            f" On average they are right on {percent(train)} of their own training records and {percent(test)} of"
            " others."
        )
    return [
        f"The target, the model under attack, was trained on {target['train_records']:,} records. From here on it"
        f" only answers questions: a record in, a probability for each of the {data['classes']} classes out.",
        f"{models} trained in the same way on {origin}, {shadows.get('train_records', target['train_records']):,} each;"
        f" the attacker made them, and so knows what each was trained on.{similar}{diverged(results)}",
        "The shadow models were asked about records that they were trained on and about others. From the answers, a"
        f" small network for each class learned to tell the two kinds apart{_strength(results)}.",
        "The target was asked about all of its training records and as many others, and these networks said who is a"
        " member.",
    ]


def _strength(results: Results) -> str:
    """What kept the attack networks from learning their rows by heart."""
    l2 = results["attacks"].get("shokri", {}).get("l2")
    if l2 is None:
        return ""
    given = results["config"].get("attack_l2") is not None
    return f", with an L2 of {l2:g}" + ("" if given else " that was chosen on answers held out from them")


def _of_many_models(results: Results) -> list[str]:
    target, shadows, data = results["target"], results["shadows"], results["dataset"]
    return [
        f"{shadows['models']:,} models were trained in complementary pairs: the records were split at random, one"
        f" model learned from the one half and its partner from the other. So every model was trained on"
        f" {target['train_records']:,} records, and every record trained half of the models."
        f"{diverged(results)}",
        f"{measures.num_targets(results):,} of the models played the target, one after the other. A target only answers"
        f" questions: a record in, a probability for each of the {data['classes']} classes out. The attacker knows of"
        " the others, the shadow models, who trained on what. The target's own partner plays no part: it would give"
        " the answer away.",
        "Each attack learned from the shadow models how answers about members differ from answers about others, and"
        " then gave every record a score for having trained the target. Attacks that need many questions for each"
        " record were tried on fewer records.",
        "Only then the truth was looked up, and the scores were counted against it.",
    ]


def _of_a_deployed_model(results: Results) -> list[str]:
    target, shadows, data = results["target"], results["shadows"], results["dataset"]
    truth = "The user says which records are members in truth; the scores were counted against that."
    out = f"a probability for each of the {data['classes']} classes"
    first = (
        f"The model under attack is {the_model(results)}. It only answered questions: a record in,"
        f" {_number(target) if target.get('signal') else out} out."
        + answer_words.earlier(target)
        + answer_words.unsteady(target)
        + answer_words.format_of(target)
    )
    if not shadows["count"]:
        return [first, _without_shadows(results), *([truth] if measures.measured(results) else [])]
    return [
        first,
        f"{many(shadows['count'], 'shadow model imitates', 'shadow models imitate')} it, and the attacker knows"
        f" what was in their training data: {shadows.get('data', 'not told')}.{_sizes(results)}"
        f"{diverged(results)}",
        "Each attack learned from the shadow models how answers about members differ from answers about others, and"
        f" then gave every record in question a score for having trained the model.{answer_words.shadows(results)}",
        *([truth] if measures.measured(results) else []),
    ]


def _number(target: Mapping[str, Any]) -> str:
    """What a model that predicts no class tells of a record."""
    train, test = measures.value(target.get("train_signal")), measures.value(target.get("test_signal"))
    means = "" if train is None or test is None else f" (on average {train:.4g} for members and {test:.4g} for others)"
    return f"a prediction, of which one number was taken: {target['signal']}{means}"


def _without_shadows(results: Results) -> str:
    text = "No shadow model imitates it: each attack gave every record a score from the model's own answer alone."
    if measures.measured(results):
        text += (
            " Where an attack has a threshold, it was chosen on the true membership of half of the records, drawn at"
            " random, and is judged on the other half; an attack with a threshold for each class has no score for the"
            " first half."
        )
    return text


def _sizes(results: Results) -> str:
    """On how many records shadows and target were trained, where both are known."""
    m, wanted = results["shadows"].get("train_records"), results["target"].get("train_records")
    return f" Each was trained on {m:,} records, the target on {wanted:,}." if m and wanted else ""


def _canaries_method(results: Results) -> list[str]:
    canaries, block = results["canaries"], results["attacks"]["canaries"]["epsilon"]
    if canaries["kind"] == "mislabelled":
        kind = (
            "records with a label drawn from the classes that are not theirs. Nothing else teaches a model that label,"
            " so one that finds it likelier than other wrong labels has seen the canary"
        )
    elif canaries["kind"] == "plain":
        kind = "plain records; a model that is surer of their label has rather seen them"
    else:
        of_kinds = f" of {len(canary_kinds.names(results))} kinds" if "," in canaries["kind"] else ""
        kind = (
            f"records{of_kinds}: {canary_kinds.listed(results)}. A model that is surer of their label than of"
            " those that they might have had has rather seen them"
        )
    return [
        f"{canaries['count']:,} canaries are {kind}. A coin was tossed for each of them, and"
        f" {canaries['included']:,} came to be among the {results['target']['train_records']:,} records on which one"
        " model was trained. The model then only answered questions.",
        "The canaries with the highest scores were guessed to be in, as many with the lowest to be out. How many are"
        " guessed was fixed beforehand; where several numbers are tried, the bound is corrected for that. As every coin"
        " was fair and tossed for itself, the bound needs no second model and no assumption about the data. The second"
        " bound is higher and assumes that the training hides a record as Gaussian noise does, which DP-SGD does in"
        " good approximation and training without noise does not.",
        f"So many canaries prove an epsilon of {block['provable']:.2f} at most, even if every guess is right. Canaries"
        " that are harder to hide, or more of them, may prove more.",
    ]


SECTION = Section("method", "How it was done", lambda results, scores: True, _blocks)
