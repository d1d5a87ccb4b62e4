"""What an accusation is worth: precision, by how many of those asked about are members."""

from mia_jax.reports import measures
from mia_jax.reports.blocks import Block, Cell, Notes, Paragraphs, Report, Row, Table
from mia_jax.reports.measures import Results, Scores
from mia_jax.reports.sections.section import Section
from mia_jax.reports.words import percent


def _priors(results: Results) -> list[str]:
    """The shares of members for which precision was computed, largest first."""
    found = {prior for block in results["attacks"].values() for prior in block.get("ppv_at_prior", {})}
    return sorted(found, key=float, reverse=True)


def _shows(results: Results, scores: Scores) -> bool:
    return measures.plan(results) in ("balanced", "deployed") and measures.measured(results) and bool(_priors(results))


def _blocks(report: Report) -> list[Block]:
    results = report.results
    priors, notes = _priors(results), Notes()
    head = ["Attack", *(f"{percent(float(prior))} of those asked about are members" for prior in priors)]
    rows = []
    for name in measures.ranked(results):
        at = results["attacks"][name].get("ppv_at_prior", {})
        rows.append(Row(Cell(measures.short(results, name)), [notes.cell(at.get(prior)) for prior in priors]))
    caption = "Of the records called members, the share that are."
    return [Paragraphs([_why(results)]), Table(caption, head, rows, notes=notes.lines())]


def _why(results: Results) -> str:
    members, non_members = measures.shares(results)
    share = members / max(1, members + non_members)
    return (
        "An accusation is only worth something if most of the accused are members, and that depends on how many of the"
        f" records that an attacker asks about are members at all. In the evaluation it is {percent(share)} of"
        " them, and the accuracies and precisions above hold for that share; outside it may be one in a hundred. The"
        " table gives the share of members among those called members (precision, also called PPV), at each attack's"
        " own threshold."
    )


SECTION = Section("accusation", "What an accusation is worth", _shows, _blocks)
