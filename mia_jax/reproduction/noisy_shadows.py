"""Shadow data with errors (Shokri et al. 2017, section VI, effect of the shadow training data).

    python scripts/reproduce.py --experiment=noisy_shadows --scale=cpu

Expected (paper, Location, Google): precision over all classes .678 with real shadow data, .666 with 10 % of the
features flipped, .613 with 20 %. Ours attacks our own network, which overfits more: another program, following the same
protocol on the real file, found precision .865-.877 with 60 shadows on real data.
Duration on 2 cores: 71 s, after the experiments that it shares models with (docs/REPRODUCTION.md).
"""

from typing import Any

from mia_jax.audits.config import Config
from mia_jax.reports import paper
from mia_jax.reproduction import settings, shadow_kinds
from mia_jax.reproduction.base import Experiment, Finding, Row, Runs, Scale

DATA = "location"
CHANGES: dict[str, dict[str, Any]] = {
    "real": {},
    "noise 10 %": dict(shadow_data="noisy", noise=0.1),
    "noise 20 %": dict(shadow_data="noisy", noise=0.2),
}
ORDER = tuple(CHANGES)  # from the most precise to the least, in the paper


def runs(scale: Scale) -> dict[str, Config]:
    return {kind: settings.ours(DATA, scale, **change) for kind, change in CHANGES.items()}


def table(runs: Runs) -> list[Row]:
    return shadow_kinds.table(runs, DATA, ORDER, paper.SHADOW_DATA[DATA])


def figure(runs: Runs) -> Any:
    return shadow_kinds.figure(runs, DATA, ORDER, paper.SHADOW_DATA[DATA])


def finding(runs: Runs) -> Finding:
    return shadow_kinds.finding(runs, DATA, ORDER)


EXPERIMENT = Experiment(
    "noisy_shadows",
    "Shadow data with errors",
    "section VI, effect of the shadow training data",
    "Errors in the shadow data cost some precision, and the attack still works: real, 10 % noise, 20 % noise.",
    runs,
    table,
    figure,
    finding,
)
