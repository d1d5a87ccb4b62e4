"""What the numbers of a run do not show."""

from mia_jax.reports import answer_words, measures
from mia_jax.reports.blocks import Block, Items, Report
from mia_jax.reports.measures import Results
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import OFTEN, PROOF, PROOF_BY_CANARIES, sizes

ATTACKS = (
    "Other attackers. The numbers are what these attacks achieve; one that is not known here, or that knows more of the"
    " training, may find more. Little found is no proof of safety: only an epsilon from above (DP-SGD and its"
    " accountant) is one."
)
OTHER_LEAKS = (
    "Other leaks. The question is whether a record was in the training data. Whether records can be rebuilt from the"
    " model, or what it tells of people who are in no data set, is another question; so is what somebody sees who holds"
    " the model's parameters."
)
PEOPLE = (
    "People with several records. Each record is judged by itself; a person of whom ten were trained on is easier to"
    " find than the numbers say."
)


def _blocks(report: Report) -> list[Block]:
    results = report.results
    texts = [ATTACKS, PROOF_BY_CANARIES if measures.by_canaries(results) else PROOF, *_by_plan(results)]
    if (
        measures.measured(results)
        and not measures.by_canaries(results)
        and (rate := measures.lowest_rate(results)) not in ("0.001", "0.0001")
    ):
        until = f"at {OFTEN.get(rate, rate)}" if rate else "at one false alarm in ten"
        texts.append(
            f"The surest accusations. So few non-members were judged that nothing rarer than {until[3:]} can be"
            " counted; a few records may be recognized far more surely than that."
        )
    if results["dataset"]["source"] == "simulated":
        texts.insert(0, "Anything about real people. The records are SIMULATED: real ones may leak more, or less.")
    return [Items([*texts, OTHER_LEAKS, PEOPLE])]


def _by_plan(results: Results) -> list[str]:
    match measures.plan(results):
        case "shokri":
            return [
                "Later attacks. This is the attack of 2017, at its own threshold; attacks since then find more members"
                f" at few false alarms ({measures.program(results, 'audit')} with the same `dataset` runs them).",
                "Another model. One target was attacked: another seed, or another draw of the training data, gives"
                " other numbers, and the intervals do not cover that.",
            ]
        case "balanced":
            return [
                "A certain model. It is a way of training that was audited, by many models of it: the model that you"
                " ship is one more of them, and a change of data, size or settings is another way of training.",
                "An attacker who knows less. The shadow models were trained exactly as the targets, on records of the"
                " same kind; with worse shadow models attacks find less.",
            ]
        case "canaries":
            return [
                f"What happens to {'your' if 'plain' in results['canaries']['kind'] else 'plain'} records. Canaries are"
                " made to be remembered; the bound holds for the training as a whole, and says of no single record of"
                " yours how well it is hidden.",
                "An epsilon from above. What lies between the bound and the accountant's epsilon is not known.",
            ]
    return _of_a_deployed_model(results)


def _of_a_deployed_model(results: Results) -> list[str]:
    texts = []
    if measures.measured(results):
        texts.append(
            "Memory, unless a random split decided who is a member. Members that differ from the others in age, origin"
            " or difficulty score apart from them in a model that remembers nothing, too."
        )
    if not results["shadows"]["count"]:
        texts.append(
            "What attacks with shadow models would find. None was there to compare a record's answer with what models"
            " say of it that did not see it; attacks that do so (LiRA, RMIA, BaVarIA) often find much more."
        )
    if results["target"].get("url"):
        texts.append(
            "What shadow models of these very records would find. No shadow model was trained on a record in question,"
            " so attacks that compare a record with models that were (LiRA, RMIA, BASE, BaVarIA) run in their offline"
            " form. Who can train such models, and audits the same model by saved `predictions`, often finds much more."
        )
    if differ := sizes(results):
        texts.append(f"What better shadow models would find. {differ}.")
    if form := answer_words.format_of(results["target"]).strip():
        texts.append(f"What fuller answers would tell. {form}")
    return texts


SECTION = Section("limits", "What this does not show", lambda results, scores: True, _blocks)
