"""What the files of a run hold: every column of scores.npz."""

from mia_jax.reports.blocks import Block, Cell, Paragraphs, Report, Row, Table
from mia_jax.reports.columns import meaning, shape
from mia_jax.reports.sections.section import Section

FILES = (
    "results.json has every number of this page with its interval; scores.npz has what every attack says of every"
    " record. The same command with `--csv` also writes scores.csv, a line for each record, for a spreadsheet."
)
READ = 'In Python: scores = numpy.load("scores.npz"), then scores["member"] and so on.'


def _blocks(report: Report) -> list[Block]:
    scores = report.scores
    rows = [Row(Cell(n, kind="name"), [Cell(shape(n, scores)), Cell(meaning(n, report.results))]) for n in scores]
    table = Table("The columns of scores.npz.", ["Column", "Of", "What it is"], rows, css="columns")
    return [Paragraphs([FILES, READ]), table]


SECTION = Section("files", "The files of this run", lambda results, scores: True, _blocks)
