"""The attacks of the paper's plan: those that learn from answers about any records, as its shadows give them."""

from mia_jax.attacks import ATTACKS, build, named, wants_all
from mia_jax.audits import config as configs
from mia_jax.audits.config import Config
from mia_jax.types import Attack, InputError, Remember, Schema


def attack_names(config: Config, schema: Schema) -> list[str]:
    """The attacks that ``attacks`` names: by default the paper's and the baselines.

    Raises:
        InputError: one is unknown, or cannot run: shadows are asked about records of their own only, and nothing is had
            of them but answers.
    """
    names = named(config.attacks)
    every = ATTACKS if wants_all(config.attacks) else ()
    reasons = {name: _cannot_run(config, schema, name) for name in dict.fromkeys([*every, *names])}
    if refused := [reasons[name] for name in names if reasons[name]]:
        raise InputError(f"`attacks`: {refused[0]}; the balanced audit (mia-jax audit with `dataset`) has it")
    return [name for name, reason in reasons.items() if reason is None]


def _cannot_run(config: Config, schema: Schema, name: str) -> str | None:
    """Why an attack cannot run on this plan, in words; None if it can."""
    entry, run = ATTACKS[name], configs.attack_run(config, schema=schema)
    if lacking := sorted(entry.needed() - {"in", "out"}) or entry.lacks((*run, "remember")):
        return f"{name} needs {' and '.join(lacking)}, which this plan does not have"
    if build(name, schema.num_classes, configs.attack_settings(config), run).per_example:
        return f"{name} needs shadows that were asked about the target's own records"
    return None


def build_attacks(config: Config, schema: Schema, remember: Remember) -> dict[str, Attack]:
    """The attacks of ``attack_names``; ``remember`` keeps parts of their long work."""
    run = configs.attack_run(config, schema=schema, remember=remember)
    settings = configs.attack_settings(config)
    return {name: build(name, schema.num_classes, settings, run) for name in attack_names(config, schema)}
