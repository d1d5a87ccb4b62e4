"""What a policy asks for, and what this run says to each of its rules."""

from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section

ORDER = ("not met", "undecided", "met")
VERDICTS = {
    "met": "Every rule is met.",
    "not met": "It is not met: a limit is exceeded. What lowers the numbers stands under “What to do”.",
    "undecided": (
        "It cannot be decided, which counts as a failure: no limit is known to be exceeded, and of some rules this"
        " audit cannot tell. The next move is another audit (more records, more attacks), and not another model."
    ),
}
KINDS = {"met": "text", "not met": "number", "undecided": "number"}  # those in bold that matter
MEANS = (
    "Limits hold for every attack that ran. “At most” is of the end of the interval that the rule names; with the upper"
    " end, a number that is too uncertain exceeds a limit, too. A lower bound on epsilon within its limit is no proof"
    " that the training keeps that epsilon."
)


def _shows(results: Results, scores: Scores) -> bool:
    return bool(results.get("policy"))


def _blocks(report: Report) -> list[Block]:
    policy = report.results["policy"]
    name = f"{policy['title']} ({policy['file']})" if policy["title"] else policy["file"]
    rules = sorted(policy["rules"], key=lambda rule: ORDER.index(rule["status"]))
    rows = [
        Row(Cell(rule["asks"], rule["rule"]), [Cell(rule["status"], kind=KINDS[rule["status"]]), Cell(rule["found"])])
        for rule in rules
    ]
    texts = [
        f"This run was judged by the policy {name}. {VERDICTS[policy['status']]}",
        MEANS,
        f"SHA-256 of the policy's text, which is policy.toml beside this page: {policy['sha256']}",
    ]
    return [Paragraphs(texts), Table("The rules of the policy.", ["Rule", "It is", "Found"], rows, css="rules")]


SECTION = Section("policy", "Policy", _shows, _blocks)
