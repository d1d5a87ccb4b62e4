"""Pages, figures, and what numbers mean in words. Never imports jax."""

from mia_jax.reports.report import terminal_table, write_report
from mia_jax.reports.roc import draw_roc

__all__ = ["draw_roc", "terminal_table", "write_report"]
