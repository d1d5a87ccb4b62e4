"""Which figures a run of each plan has, in order."""

from mia_jax.reports import audit_figures, canary_figures, measures, paper_run_figures
from mia_jax.reports.figures import Plot
from mia_jax.reports.measures import Results


def of(results: Results) -> tuple[Plot, ...]:
    """The figures of a run; without knowing who is a member, attacks can only be compared with each other."""
    if measures.measured(results) and results["target"].get("signal"):  # no classes to be sure of
        return audit_figures.roc, audit_figures.agreement
    return PLOTS[measures.plan(results)] if measures.measured(results) else (audit_figures.agreement,)


PLOTS: dict[str, tuple[Plot, ...]] = {
    "shokri": (
        paper_run_figures.roc,
        paper_run_figures.per_class_cdf,
        paper_run_figures.precision_by_size,
        paper_run_figures.confidence,
        paper_run_figures.entropy,
        paper_run_figures.learning_curves,
    ),
    "balanced": (
        audit_figures.roc,
        audit_figures.by_shadows,
        audit_figures.separation,
        audit_figures.exposed_classes,
        audit_figures.exposed_records,
        audit_figures.agreement,
    ),
    "deployed": (
        audit_figures.roc,
        audit_figures.agreement,
        paper_run_figures.confidence,
        paper_run_figures.entropy,
    ),
    "canaries": (canary_figures.suspicion,),
}
