"""Shadow data without data: marginals, and Algorithm 1 (Shokri et al. 2017, section VI, effect of the shadow data).

    python scripts/reproduce.py --experiment=synthetic_shadows --scale=cpu

Expected (paper, Purchase-100, Google): precision over all classes .935 with real shadow data, .896 with records that
Algorithm 1 synthesized (156 queries each), .795 with records from marginals; below .1 on some classes, of which the
target has few training records. Ours attacks our own network.
Duration on 2 cores: 135 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

from mia_jax.audits.config import Config
from mia_jax.reports import paper
from mia_jax.reproduction import settings, shadow_kinds
from mia_jax.reproduction.base import Experiment, Finding, Row, Runs, Scale

DATA = "purchase100"
ORDER = ("real", "search", "marginal")  # from the most precise to the least, in the paper


def runs(scale: Scale) -> dict[str, Config]:
    return {kind: settings.ours(DATA, scale, shadow_data=kind) for kind in ORDER}


def table(runs: Runs) -> list[Row]:
    rows = shadow_kinds.table(runs, DATA, ORDER, paper.SHADOW_DATA[DATA])
    for row in rows:
        kind = row["shadow data"]
        info = runs[kind].results["shadows"].get("synthesis", {}) if kind in runs else {}
        row["queries per record"] = info.get("queries_per_record")
        row["paper: queries per record"] = paper.QUERIES_PER_RECORD if kind == "search" else None
    return rows


def figure(runs: Runs) -> Any:
    return shadow_kinds.figure(runs, DATA, ORDER, paper.SHADOW_DATA[DATA])


def finding(runs: Runs) -> Finding:
    return shadow_kinds.finding(runs, DATA, ORDER)


EXPERIMENT = Experiment(
    "synthetic_shadows",
    "Shadow data without data",
    "section VI, effect of the shadow training data",
    "The attack works without any data, best with real records, then synthesized ones, then marginals.",
    runs,
    table,
    figure,
    finding,
)
