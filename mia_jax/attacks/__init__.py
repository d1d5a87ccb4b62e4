"""Membership inference attacks, one paper per file.

``ATTACKS``: name -> ``Entry``; an entry is called as its factory is, (num_classes, **options) -> Attack. Registering an
attack is testing it: the contract tests run over this table.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mia_jax import user_code
from mia_jax.attacks import (
    attack_p,
    attack_r,
    base,
    bavaria,
    boundary,
    calibrated_loss,
    gap,
    label_only,
    lira,
    quantile,
    rmia,
    shokri,
    thresholds,
    trajectory,
)
from mia_jax.types import Attack, InputError


class Entry(NamedTuple):
    """A registered attack."""

    factory: Callable[..., Attack]
    title: str  # for tables and legends
    reference: str
    options: tuple[str, ...] = ()  # options of the factory that have no default
    beyond: frozenset[str] = frozenset()  # of "features", "queries", "trainer": what answers alone do not give
    parts: Callable[..., int] | None = None  # of long work, by (num_classes, **options); the factory has ``remember``

    def __call__(self, num_classes: int, **options) -> Attack:
        return self.factory(num_classes, **options)


ATTACKS: dict[str, Entry] = {
    "shokri": Entry(
        shokri.shokri, "Shadow models, one attack network per class", "Shokri et al. 2017", parts=shokri.num_parts
    ),
    "gap": Entry(gap.gap, "Gap: right answers are members", "Yeom et al. 2018"),
    "loss": Entry(thresholds.loss, "Loss threshold", "Yeom et al. 2018"),
    "confidence": Entry(thresholds.confidence, "Confidence threshold", "Yeom et al. 2018; Song & Mittal 2021"),
    "entropy": Entry(thresholds.entropy, "Entropy threshold", "Shokri et al. 2017; Song & Mittal 2021"),
    "modified_entropy": Entry(
        thresholds.modified_entropy, "Modified entropy, a threshold per class", "Song & Mittal 2021"
    ),
    "calibrated_loss": Entry(calibrated_loss.calibrated_loss, "Loss, calibrated by OUT models", "Watson et al. 2022"),
    "attack_p": Entry(attack_p.attack_p, "Attack-P: loss among the population's", "Ye et al. 2022"),
    "attack_r": Entry(attack_r.attack_r, "Attack-R: loss among the OUT models'", "Ye et al. 2022"),
    "lira": Entry(lira.lira, "LiRA", "Carlini et al. 2022"),
    "lira_offline": Entry(lira.lira_offline, "LiRA, offline", "Carlini et al. 2022"),
    "lira_fixed": Entry(lira.lira_fixed, "LiRA, fixed variance", "Carlini et al. 2022"),
    "lira_offline_fixed": Entry(lira.lira_offline_fixed, "LiRA, offline, fixed variance", "Carlini et al. 2022"),
    "rmia": Entry(rmia.rmia, "RMIA", "Zarifzadeh et al. 2024"),
    "rmia_offline": Entry(rmia.rmia_offline, "RMIA, offline", "Zarifzadeh et al. 2024"),
    "base": Entry(base.base, "BASE", "Lassila et al. 2025"),
    "base_offline": Entry(base.base_offline, "BASE, offline", "Lassila et al. 2025"),
    "bavaria": Entry(bavaria.bavaria, "BaVarIA", "Brännvall 2026"),
    "bavaria_offline": Entry(bavaria.bavaria_offline, "BaVarIA, offline", "Brännvall 2026"),
    "quantile": Entry(
        quantile.quantile,
        "Quantile regression on the population",
        "Bertran et al. 2023",
        beyond=frozenset({"features"}),
    ),
    "label_only": Entry(
        label_only.label_only,
        "Label only: agreement under perturbation",
        "Choquette-Choo et al. 2021",
        options=("schema",),
        beyond=frozenset({"queries"}),
    ),
    "boundary": Entry(
        boundary.boundary,
        "Label only: distance to the decision boundary",
        "Choquette-Choo et al. 2021",
        options=("schema",),
        beyond=frozenset({"queries"}),
    ),
    "trajectory": Entry(
        trajectory.trajectory,
        "Loss trajectory",
        "Liu et al. 2022",
        options=("population", "model"),
        beyond=frozenset({"queries", "trainer"}),
    ),
    "majority": Entry(thresholds.majority, "Majority guess: everybody the same", "baseline"),
}


def quick_first(
    names: Iterable[str], num_classes: int, options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, int]:
    """The attacks, with the parts that the work of each has; those of many parts last: no other waits for them.

    Args:
        names: of ``ATTACKS``.
        num_classes: c.
        options: of their factories, by name.
    """
    each = {name: (options or {}).get(name, {}) for name in names}
    parts = {name: ATTACKS[name].parts for name in each}
    counts = {name: 1 if parts[name] is None else parts[name](num_classes, **given) for name, given in each.items()}
    return dict(sorted(counts.items(), key=lambda item: (parts[item[0]] is not None, item[1])))


def named(wanted: str) -> list[str]:
    """The attacks that a list names, as ``--attacks`` takes it: separated by commas.

    Raises:
        InputError: one is unknown, or there is none.
    """
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    names = [name if name in ATTACKS else name.lower() for name in names]
    if unknown := [name for name in names if name not in ATTACKS]:
        raise InputError(f"--attacks: there is no attack {unknown[0]!r}; there are {', '.join(ATTACKS)}, or all")
    if not names:
        raise InputError(f"--attacks names no attack; there are {', '.join(ATTACKS)}, or all")
    return names


def sources(names: Iterable[str]) -> dict[str, str]:
    """Attack -> SHA-256 of its source and of all that this imports, a user's or ours: it names what the attack made."""
    return {name: user_code.describe(ATTACKS[name].factory, library=True) if name in ATTACKS else "" for name in names}


__all__ = ["ATTACKS", "Entry", "named", "quick_first", "sources"]
