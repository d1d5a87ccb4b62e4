"""Membership inference attacks, one paper per file.

``ATTACKS``: name -> ``Entry``; an entry is called as its factory is, (num_classes, **options) -> Attack. Registering an
attack is testing it (the contract tests run over this table), and all that it takes for its options to become flags:
an attack with an option is a file that declares it and a line here. One of your own, which lies elsewhere, is
registered by ``register``, or among the attacks of a run: ``attacks="lira,mymodule:entry"``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mia_jax import user_code
from mia_jax.attacks import (
    attack_p,
    attack_r,
    base,
    bavaria,
    boundary,
    calibrated_loss,
    cmia,
    gap,
    glira,
    imia,
    imia_adaptive,
    imitation,
    informia,
    label_only,
    lira,
    pmia,
    quantile,
    rmia,
    shokri,
    thresholds,
    trajectory,
)
from mia_jax.attacks.entries import BOTH, OUT, Entry, Option, checked
from mia_jax.types import Attack, InputError

ATTACKS: dict[str, Entry] = {
    "shokri": Entry(
        shokri.shokri,
        "Shadow models, one attack network per class",
        "Shokri et al. 2017",
        "Shokri et al.",
        shokri.OPTIONS,
        parts=shokri.num_parts,
        needs=BOTH,
    ),
    "gap": Entry(gap.gap, "Gap: right answers are members", "Yeom et al. 2018", needs=frozenset()),
    "loss": Entry(thresholds.loss, "Loss threshold", "Yeom et al. 2018", options=thresholds.OPTIONS, needs=BOTH),
    "confidence": Entry(
        thresholds.confidence,
        "Confidence threshold",
        "Yeom et al. 2018; Song & Mittal 2021",
        "confidence threshold",
        thresholds.OPTIONS,
        needs=BOTH,
    ),
    "entropy": Entry(
        thresholds.entropy,
        "Entropy threshold",
        "Shokri et al. 2017; Song & Mittal 2021",
        options=thresholds.OPTIONS,
        needs=BOTH,
    ),
    "modified_entropy": Entry(
        thresholds.modified_entropy,
        "Modified entropy, a threshold per class",
        "Song & Mittal 2021",
        options=thresholds.OPTIONS,
        needs=BOTH,
    ),
    "calibrated_loss": Entry(
        calibrated_loss.calibrated_loss, "Loss, calibrated by OUT models", "Watson et al. 2022", needs=OUT
    ),
    "attack_p": Entry(
        attack_p.attack_p, "Attack-P: loss among the population's", "Ye et al. 2022", "Attack-P", needs=BOTH
    ),
    "attack_r": Entry(
        attack_r.attack_r,
        "Attack-R: loss among the OUT models'",
        "Ye et al. 2022",
        "Attack-R",
        attack_r.OPTIONS,
        needs=OUT,
    ),
    "lira": Entry(lira.lira, "LiRA", "Carlini et al. 2022", "LiRA", lira.OPTIONS, needs=BOTH),
    "lira_offline": Entry(
        lira.lira_offline, "LiRA, offline", "Carlini et al. 2022", "offline LiRA", lira.OPTIONS, needs=OUT
    ),
    "lira_fixed": Entry(
        lira.lira_fixed, "LiRA, fixed variance", "Carlini et al. 2022", "fixed LiRA", lira.OPTIONS, needs=BOTH
    ),
    "lira_offline_fixed": Entry(
        lira.lira_offline_fixed,
        "LiRA, offline, fixed variance",
        "Carlini et al. 2022",
        "offline fixed LiRA",
        lira.OPTIONS,
        needs=OUT,
    ),
    "rmia": Entry(rmia.rmia, "RMIA", "Zarifzadeh et al. 2024", "RMIA", rmia.OPTIONS, needs=BOTH),
    "rmia_offline": Entry(
        rmia.rmia_offline, "RMIA, offline", "Zarifzadeh et al. 2024", "offline RMIA", rmia.OFFLINE_OPTIONS, needs=OUT
    ),
    "base": Entry(base.base, "BASE", "Lassila et al. 2025", "BASE", needs=frozenset()),
    "base_offline": Entry(
        base.base_offline, "BASE, offline", "Lassila et al. 2025", "offline BASE", base.OFFLINE_OPTIONS, needs=OUT
    ),
    "bavaria": Entry(bavaria.bavaria, "BaVarIA", "Brännvall 2026", "BaVarIA", bavaria.OPTIONS, needs=BOTH),
    "bavaria_offline": Entry(
        bavaria.bavaria_offline, "BaVarIA, offline", "Brännvall 2026", "offline BaVarIA", bavaria.OPTIONS, needs=OUT
    ),
    "quantile": Entry(
        quantile.quantile,
        "Quantile regression on the population",
        "Bertran et al. 2023",
        options=quantile.OPTIONS,
        needs=quantile.NEEDS,
    ),
    "label_only": Entry(
        label_only.label_only,
        "Label only: agreement under perturbation",
        "Choquette-Choo et al. 2021",
        options=label_only.OPTIONS,
        needs=label_only.NEEDS,
    ),
    "boundary": Entry(
        boundary.boundary,
        "Label only: distance to the decision boundary",
        "Choquette-Choo et al. 2021",
        options=boundary.OPTIONS,
        needs=boundary.NEEDS,
    ),
    "trajectory": Entry(
        trajectory.trajectory,
        "Loss trajectory",
        "Liu et al. 2022",
        options=trajectory.OPTIONS,
        needs=trajectory.NEEDS,
    ),
    "majority": Entry(
        thresholds.majority, "Majority guess: everybody the same", "baseline", "majority guess", needs=frozenset()
    ),
    # New ones come last: an attack's place in this table is part of its random key.
    "pmia": Entry(pmia.pmia, "PMIA: proxies of the same class", "Du et al. 2026", "PMIA", pmia.OPTIONS, needs=OUT),
    "informia": Entry(informia.informia, "InfoRMIA", "Tao & Shokri 2026", "InfoRMIA", needs=BOTH),
    "informia_offline": Entry(
        informia.informia_offline,
        "InfoRMIA, offline",
        "Tao & Shokri 2026",
        "offline InfoRMIA",
        informia.OFFLINE_OPTIONS,
        needs=OUT,
    ),
    "glira": Entry(
        glira.glira,
        "GLiRA: offline LiRA by networks that imitate the target",
        "Galichin et al. 2025",
        "GLiRA",
        imitation.OPTIONS,
        needs=imitation.NEEDS,
        imitates=True,
    ),
    "imia": Entry(
        imia.imia,
        "IMIA: networks that imitate the target, and twins with pivots",
        "Du et al. 2026",
        "IMIA",
        imia.OPTIONS,
        needs=imitation.NEEDS,
        imitates=True,
    ),
    "cmia": Entry(
        cmia.cmia,
        "CMIA: sure calls condition further shadows",
        "Du et al. 2026",
        "CMIA",
        cmia.OPTIONS,
        needs=cmia.NEEDS,
        by_name=True,
    ),
    "imia_adaptive": Entry(
        imia_adaptive.imia_adaptive,
        "IMIA, adaptive: imitators that train on halves of the records",
        "Du et al. 2026",
        "adaptive IMIA",
        imia_adaptive.OPTIONS,
        needs=imia_adaptive.NEEDS,
        by_name=True,
    ),
}


def flags() -> dict[str, Option]:
    """The options of all registered attacks that have a flag: flag -> option."""
    return {flag: option for entry in ATTACKS.values() for flag, option in entry.flags().items()}


def with_flag(flag: str) -> list[str]:
    """The attacks of which an option has this flag."""
    return [name for name, entry in ATTACKS.items() if flag in entry.flags()]


def register(name: str, entry: Entry) -> None:
    """Put an attack of your own into ``ATTACKS``; the same one twice is once.

    Raises:
        InputError: another attack has this name, or its flag for something else, or its options are not the parameters
            of its factory.
    """
    if name in ATTACKS and ATTACKS[name] != entry:
        raise InputError(f"there is an attack named {name} already: give yours another name")
    known = flags()
    if taken := [flag for flag, option in entry.flags().items() if known.get(flag, option) != option]:
        raise InputError(
            f"the attack {name} has an option with the flag {taken[0]}, which is {with_flag(taken[0])[0]}'s: give"
            " yours another flag"
        )
    if fault := entry.mismatch():
        raise InputError(f"the attack {name}: {fault}")
    ATTACKS[name] = entry


def build(
    name: str, num_classes: int, settings: Mapping[str, Any] | None = None, run: Mapping[str, Any] | None = None
) -> Attack:
    """An attack with every option that it declares and that has a value here; the others have its factory's defaults.

    Args:
        name: of ``ATTACKS``.
        num_classes: c.
        settings: values of options by their flags; those of other attacks are not looked at.
        run: what a run has, by ``Option.source``: "schema", "population", "model", "remember", the settings of its
            configuration.

    Raises:
        InputError: there is no such attack, it lacks something, or an option has a value that cannot be.
    """
    if name not in ATTACKS:
        raise InputError(f'there is no attack "{name}"; there are {", ".join(ATTACKS)}')
    entry, run = ATTACKS[name], run or {}
    if lacking := entry.lacks(run):
        raise InputError(f"{name} needs {' and '.join(lacking)}, which this run does not have")
    return entry(num_classes, **entry.arguments(settings or {}, run))


def quick_first(names: Iterable[str], num_classes: int, settings: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Attack -> how many parts its work has; those of many parts are last, so that no other waits for them.

    Args:
        names: of ``ATTACKS``.
        num_classes: c.
        settings: values of options by their flags.
    """
    counts, long = {}, {}
    for name in names:
        entry = ATTACKS[name]
        if entry.parts is None:
            counts[name] = 1
        else:
            long[name] = entry.parts(num_classes, **entry.arguments(settings or {}, {}))
    return counts | dict(sorted(long.items(), key=lambda item: item[1]))


def _listed(wanted: str) -> list[str]:
    """What a list of attacks has between its commas."""
    return [name.strip() for name in wanted.split(",") if name.strip()]


def wants_all(wanted: str) -> bool:
    """Whether a list of attacks has "all" in it: all that can run, beside those that must."""
    return any(name.lower() == "all" for name in _listed(wanted))


def split(wanted: str) -> list[str]:
    """The names in a list as a configuration has it, separated by commas, without "all"; nothing is imported.

    They are as in ``ATTACKS``, where they are there; one of your own is called as in its module, or if it is just
    "entry" there, as the module: "mine" of "mine:entry", "power" of "mine:power".
    """
    names = [_name(name) if ":" in name else name for name in _listed(wanted) if name.lower() != "all"]
    return [name if name in ATTACKS else name.lower() if name.lower() in ATTACKS else name for name in names]


def _name(path: str) -> str:
    """What an attack given as module:entry is called."""
    module, _, name = path.rpartition(":")
    return module.rpartition(".")[2] if name == "entry" else name


def load(wanted: str) -> None:
    """Register the attacks of the user's own that a list names as module:entry; modules of the current folder, too.

    Raises:
        InputError: one cannot be imported, or is no ``Entry``.
    """
    for path in (name for name in _listed(wanted) if ":" in name):
        entry = user_code.load(path, f"attacks={path}")
        if not isinstance(entry, Entry):
            raise InputError(f"attacks={path} is {type(entry).__name__}, no Entry: register it as in mia_jax.attacks")
        register(_name(path), entry)


def named(wanted: str) -> list[str]:
    """The attacks that a list names, as a configuration has it: separated by commas, your own as module:entry.

    "all" is no name (``wants_all``): beside it there may be none.

    Raises:
        InputError: one is unknown, or there is none.
    """
    load(wanted)
    names = split(wanted)
    if unknown := [name for name in names if name not in ATTACKS]:
        raise InputError(f"attacks: there is no attack {unknown[0]!r}; there are {', '.join(ATTACKS)}, or all")
    if not names and not wants_all(wanted):
        raise InputError(f"attacks names no attack; there are {', '.join(ATTACKS)}, or all")
    return names


def sources(names: Iterable[str]) -> dict[str, str]:
    """Attack -> SHA-256 of its source and of all that this imports, a user's or ours: it names what the attack made."""
    return {name: user_code.describe(ATTACKS[name].factory, library=True) if name in ATTACKS else "" for name in names}


def changed_options(names: Iterable[str], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of these attacks that are not at their defaults, as {"options": {flag: value}}; {} where all are.

    Args:
        names: of ``ATTACKS``, or of attacks that are not in it, which have none.
        settings: values of options by their flags; those of other attacks are not looked at.
    """
    declared = {flag: o for name in names if name in ATTACKS for flag, o in ATTACKS[name].flags().items()}
    changed = {flag: settings[flag] for flag, o in declared.items() if settings.get(flag, o.default) != o.default}
    return {"options": changed} if changed else {}


__all__ = [
    "ATTACKS",
    "Entry",
    "Option",
    "build",
    "changed_options",
    "checked",
    "flags",
    "load",
    "named",
    "quick_first",
    "register",
    "sources",
    "split",
    "wants_all",
    "with_flag",
]
