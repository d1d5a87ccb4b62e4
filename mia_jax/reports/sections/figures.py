"""The figures of a run."""

from mia_jax.reports.blocks import Block, Figures, Paragraphs, Report
from mia_jax.reports.sections.section import Section

PNG = "The same figures lie beside this page as PNG files, in the folder figures."


def _blocks(report: Report) -> list[Block]:
    drawings = [drawing for drawing in report.drawings if drawing.name != "exposed_records"]  # with the records
    return [Paragraphs([PNG]), Figures(drawings)]


SECTION = Section("figures", "Figures", lambda results, scores: True, _blocks)
