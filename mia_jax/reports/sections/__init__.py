"""The sections of the page, in order: a section a file, with its words.

To add one, write a ``Section`` in a file of its own and name it here.
"""

from mia_jax.reports.sections import (
    accusation,
    beside_paper,
    blind,
    canary_kinds,
    classes,
    epsilon,
    figures,
    files,
    limits,
    method,
    mitigations,
    overlap,
    policy,
    records,
    repeat,
    result,
    screens,
    subgroups,
    thresholds,
    unknown,
)
from mia_jax.reports.sections.section import Section

SECTIONS: tuple[Section, ...] = (
    policy.SECTION,
    result.SECTION,
    unknown.SECTION,
    blind.SECTION,
    canary_kinds.SECTION,
    mitigations.SECTION,
    limits.SECTION,
    records.SECTION,
    method.SECTION,
    beside_paper.SECTION,
    epsilon.SECTION,
    thresholds.SECTION,
    overlap.SECTION,
    screens.SECTION,
    accusation.SECTION,
    figures.SECTION,
    subgroups.SECTION,
    classes.SECTION,
    files.SECTION,
    repeat.SECTION,
)
