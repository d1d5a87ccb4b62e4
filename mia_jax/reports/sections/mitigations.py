"""What to do about a leak: which mitigation, what it does and what it costs."""

import re
import shlex
from collections.abc import Mapping

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Commands, Paragraphs, Report, Row, Table
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.mitigations import MEASURED, SOURCES, Measured
from mia_jax.reports.sections.section import Section

ORDER = (
    "In this order, as measured below. First train so that the model remembers less: more records, weight decay,"
    " stopping early; on the data sets below moderate weight decay took the most from the attack and cost no accuracy."
    " Then answer with less: one digit, or labels alone, which cost no accuracy, but those who need probabilities, and"
    " hide nothing from attacks that ask often about one record. Only noise in training (DP-SGD) promises anything of"
    " attacks that nobody knows yet; at an epsilon of about 2 it cost half of the accuracy on a small data set (2,254"
    " records, 30 classes)."
)
VALUE = r"(?:'[^']*'|\S)+"
NOT_AGAIN = re.compile(rf"\s--(?:workdir|fail_if|csv)(?:={VALUE})?")
OTHERS = "Numbers of other models and data, as examples of what to expect: measure your own before you decide."


def _shows(results: Results, scores: Scores) -> bool:
    return measures.measured(results)


def leaks(results: Results) -> bool:
    """Whether the run found more than guessing does."""
    attacks = results["attacks"]
    if measures.by_canaries(results):
        return measures.proves(attacks["canaries"]["epsilon"])
    if measures.plan(results) == "shokri":
        return measures.above_guessing(attacks[measures.main_attack(results)].get("accuracy"), 0.5, 1)
    return any(measures.above_guessing(block.get("auc"), 0.5, len(attacks)) for block in attacks.values())


def _blocks(report: Report) -> list[Block]:
    results = report.results
    head = ["Mitigation", "Data", "Accuracy of the model on unseen records", "What the attack finds"]
    rows = [_row(one) for one in MEASURED]
    sources = tuple(f"({k}) {source}." for k, source in enumerate(SOURCES, 1))
    caption = f"Mitigations: what they cost and what they take from the attack, without and with. {OTHERS}"
    return [
        Paragraphs([_first(results), ORDER]),
        Table(caption, head, rows, notes=sources),
        Commands(_commands(results)),
    ]


def _row(one: Measured) -> Row:
    cost, effect = (f"{a:.3f} to {b:.3f}" for a, b in (one.test_accuracy, one.found))
    return Row(
        Cell(one.mitigation, one.how), [Cell(one.data), Cell(cost), Cell(effect, f"{one.attack} ({one.source})")]
    )


def _first(results: Results) -> str:
    if measures.by_canaries(results):
        return (
            "Compare both epsilons with the one that you want to promise. Where the lower bound is above it, the"
            " promise would be false: train with more noise, fewer epochs or more records, and audit again. Where the"
            " accountant's is below it, the training keeps the promise, whatever an attack may do."
        )
    if results.get("doubts"):
        return (
            "The numbers of this run are in doubt (see above), and what they say of a leak is no guide: mend what is"
            " named there, and audit again."
        )
    if not leaks(results):
        return (
            "This run found no leak, so there is nothing that it tells you to mend. Keep it as a gate before each"
            f" release (`fail_if` of {measures.program(results, 'audit')}), and look at the section on what it does not"
            " show."
        )
    return (
        "This run found a leak. Whether it matters depends on what membership would tell of a person: that somebody was"
        " a patient of a clinic tells much, that somebody bought something, little. Where it matters, do not release"
        " the model as it is."
    )


def _commands(results: Results) -> list[tuple[str, str]]:
    """What to run next to know what a mitigation is worth here."""
    if results["target"].get("url"):
        own = f"{measures.program(results, 'audit')} --dataset=mine.npz --num_models=32 --l2=1e-3"
        return [
            (
                own,
                "The service trains its model itself. To see what a mitigation in training would do, train such models"
                " from your own data:",
            )
        ]
    if results["target"].get("signal"):  # defenses change probabilities
        return []
    answers = [
        (repeated(results, "--defenses=label_only"), "To see what is left when the model answers with labels alone:"),
        (repeated(results, "--defenses=round_to(1)"), "To see what is left with one decimal digit:"),
    ]
    if not measures.members_drawn(results):
        return answers
    training = [(repeated(results, "--l2=1e-3"), "To see what weight decay does to the model and to the attacks:")]
    if not isinstance(results["target"].get("epsilon"), Mapping):
        training.append((repeated(results, "--dp_noise_multiplier=4.4"), "To train with noise:"))
    return training if measures.by_canaries(results) else training + answers


def repeated(results: Results, flag: str) -> str:
    """The run's own command with one more flag, in a workdir of its own."""
    command = NOT_AGAIN.sub("", results["command"] or "mia-jax audit ...")
    name, _, setting = flag.partition("=")
    if command.startswith("mia_jax.audit("):  # called in Python
        without = re.sub(rf", {name.removeprefix('--')}='[^']*'", "", command)
        return f"{without.removesuffix(')')}, {name.removeprefix('--')}={setting!r})"
    without = re.sub(rf"\s{name}={VALUE}", "", command)
    return f"{without} {shlex.quote(flag)}"


SECTION = Section("what-to-do", "What to do", _shows, _blocks)
