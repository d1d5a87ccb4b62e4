"""Shadow data for an adversary without data (Shokri et al. 2017, section V-C): three Samplers.

``noisy``: records of the population, with errors. ``marginal``: attributes drawn from their marginals. ``search``:
Algorithm 1, which needs the target's answers alone.

    sample = synthesis.sampler("search", target, schema)
    records, info = sample(key, 10_000)

Their factories are given a target, a schema and perhaps records of the adversary's own; none of them ever sees what the
target was trained on.
"""

from collections.abc import Callable

from mia_jax.synthesis import marginal, noisy, search
from mia_jax.types import InputError, Records, Sampler, Schema, Target

__all__ = ["SAMPLERS", "sampler"]

Factory = Callable[..., Sampler]  # (target, schema, records or None, **options) -> Sampler


def _noisy(target: Target | None, schema: Schema, records: Records | None, *, noise: float = 0.1) -> Sampler:
    del target
    if records is None:
        raise InputError("noisy records are real ones with errors, and there are none; use marginal or search")
    return noisy.sampler(records, schema, noise)


def _marginal(
    target: Target,
    schema: Schema,
    records: Records | None,
    *,
    marginals: marginal.Marginals | None = None,
    batch: int = 1024,
) -> Sampler:
    if marginals is None:
        if records is None:
            raise InputError("there are neither marginals nor records to count them in; give a table, or use search")
        marginals = marginal.marginals(records, schema)
    return marginal.sampler(target, schema, marginals, batch=batch)


def _search(target: Target, schema: Schema, records: Records | None = None, **options) -> Sampler:
    del records
    return search.sampler(target, schema, **options)


SAMPLERS: dict[str, Factory] = {"noisy": _noisy, "marginal": _marginal, "search": _search}


def sampler(name: str, target: Target | None, schema: Schema, records: Records | None = None, **options) -> Sampler:
    """A Sampler by its name.

    Args:
        name: noisy (needs records; ``noise``), marginal (needs records or ``marginals``) or search (options of
            ``search.sampler``).
        target: the black box; noisy asks it nothing.
        schema: what the adversary knows of a record.
        records: the adversary's own.
        options: of the factory.

    Raises:
        InputError: there is no such method, or it lacks what it needs.
    """
    if name not in SAMPLERS:
        raise InputError(f"there is no synthesis {name!r}; use {', '.join(SAMPLERS)}")
    return SAMPLERS[name](target, schema, records, **options)
