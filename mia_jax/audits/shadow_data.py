"""What the shadows are trained on: ``shadow_data``, four ways to come by it (Shokri et al. 2017, section V-C)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.audits.config import SEARCH, Shadows
from mia_jax.audits.types import Run
from mia_jax.plans import splits
from mia_jax.storage import artifacts
from mia_jax.synthesis import marginal, noisy, resume
from mia_jax.synthesis import search as algorithm
from mia_jax.targets.black_box import BudgetSpent
from mia_jax.types import InputError, Key, Records, Schema, Target, few_of


class ShadowData(NamedTuple):
    """What shadows are trained on."""

    pool: Records  # [N]
    digest: str  # of the pool
    plan: splits.Plan  # rows of the pool
    origin: str  # in words: real, simulated, noisy, marginal or search, or another data set
    info: dict[str, Any]  # SynthesisInfo as JSON values for results.json; empty where nothing was synthesized


class Adversary(NamedTuple):
    """What an adversary has to come by shadow data."""

    own: Records  # of the population, none of them the target's
    schema: Schema
    m: int  # training records of a shadow; as many test it
    target: Callable[[], Target]  # gives the black box where it is needed, and not before
    about_target: artifacts.Description  # JSON values that tell the target, and what it does to its answers


def needed_records(config: Shadows, m: int) -> int:
    """Records of the population that the adversary must have for shadows with m + m records."""
    return 2 * m if config.shadow_data in ("real", "noisy") else 0


def needed_queries(config: Shadows, m: int, num_classes: int) -> int:
    """Queries without which there are too few synthesized records for a shadow with m + m; 0: the target is not asked.

    A record costs one at least, and a search many more.
    """
    match config.shadow_data:
        case "marginal" | "search":
            return _prior_queries(config) + min(2 * m, _fewest(num_classes))
        case _:
            return 0


def obtain(run: Run, config: Shadows, key: Key, adversary: Adversary) -> ShadowData:
    """The adversary's records, and who of the shadows trains on which.

    Args:
        run: its workdir keeps an interrupted search.
        config: ``shadow_data`` and its options.
        key: of everything random here.
        adversary: what there is to begin with.

    Raises:
        InputError: there are too few records, or the marginals do not fit.
        BudgetSpent: ``max_queries`` ended before there were records enough for a shadow.
    """
    key_plan, key_data = jax.random.split(key)
    own, schema, m = adversary.own, adversary.schema, adversary.m
    method, info = config.shadow_data or "real", {}
    match method:
        case "real":
            pool = own
        case "noisy":
            pool, changed = noisy.noisy(key_data, own, schema, config.noise)
            info = changed._asdict()
        case "marginal":
            pool, info = _from_marginals(run, config, key_data, adversary)
        case _:
            pool, info = _search(run, config, key_data, adversary)
    if len(pool.y) < 2 * m and method in ("marginal", "search"):
        if len(pool.y) < _fewest(schema.num_classes):
            raise BudgetSpent(
                f"{len(pool.y):,} records were synthesized, too few to train a shadow on; raise `max_queries`"
            )
        m = len(pool.y) // 2
        run.notify(f"Only {len(pool.y):,} records were synthesized: shadows train on {m:,} each")
    origin = "simulated" if method == "real" and schema.source == "simulated" else method
    digest = artifacts.array_digest(*map(np.asarray, pool))
    return ShadowData(pool, digest, splits.shokri(key_plan, len(pool.y), m, shadows(config)), origin, info)


def shadows(config: Shadows) -> int:
    """How many there are to be, which a resolved configuration says."""
    assert config.num_shadows is not None
    return config.num_shadows


def _wanted(config: Shadows, m: int) -> int:
    """Records to be synthesized, for all shadows to draw from."""
    return config.shadow_records or 4 * m


def _from_marginals(run: Run, config: Shadows, key: Key, adversary: Adversary) -> tuple[Records, dict[str, Any]]:
    """Attributes drawn one by one, labeled by the target."""
    schema, count = adversary.schema, _wanted(config, adversary.m)
    if config.marginals:
        table = marginal.load_marginals(config.marginals, schema)
    else:
        table = marginal.marginals(adversary.own, schema)
    count = count if config.max_queries is None else min(count, config.max_queries)
    run.notify(f"Drawing {count:,} records from marginals, and asking the target for their labels")
    pool, _ = marginal.sampler(adversary.target(), schema, table)(key, count)
    return pool, {"queries": count}


def _search(run: Run, config: Shadows, key: Key, adversary: Adversary) -> tuple[Records, dict[str, Any]]:
    """Algorithm 1: records that the target is sure of."""
    key_search, key_prior = jax.random.split(key)
    schema, count, target = adversary.schema, _wanted(config, adversary.m), adversary.target()
    # No flag for give_up: iter_max and max_queries bound what a class costs of which nothing can be found.
    options = {name: getattr(config, name) for name in (*SEARCH._fields, "redraw") if name != "give_up"}
    spent = _prior_queries(config)
    budget = None if config.max_queries is None else config.max_queries - spent
    if spent:
        options["class_prior"] = algorithm.answered(key_prior, target, schema, spent)
    run.notify(f"Synthesizing {count:,} records by querying the target (Algorithm 1)")
    pool, info = resume.search(
        run.workdir,
        adversary.about_target,
        key_search,
        target,
        schema,
        count,
        max_queries=budget,
        progress=run.progress,
        **options,
    )
    if len(pool.y):
        run.notify(f"{info.queries_per_record:,.0f} queries per record (the paper needed 156 on Purchase)")
    if info.given_up:
        run.notify(f"warning: no record of class {few_of(info.given_up)} could be found; other classes got theirs")
    return pool, _search_block(info, spent)


def _fewest(num_classes: int) -> int:
    """Synthesized records that a smaller shadow can be made of."""
    return max(2, num_classes)


def _prior_queries(config: Shadows) -> int:
    """Queries that the shares of the classes cost, before the search."""
    wanted = config.shadow_data == "search" and config.class_prior == "target"
    return algorithm.PRIOR_QUERIES if wanted else 0


def _search_block(info: algorithm.SynthesisInfo, prior_queries: int) -> dict[str, Any]:
    return {
        "queries": int(info.queries) + prior_queries,
        "queries_per_record": float(info.queries_per_record) if np.isfinite(info.queries_per_record) else None,
        "accepted": [int(n) for n in info.accepted],
        "failed": [int(n) for n in info.failed],
        "given_up": list(info.given_up),
        "exhausted": bool(info.exhausted),
    }


def check_budget(config: Shadows, m: int, num_classes: int) -> None:
    """Refuse a ``max_queries`` with which no shadow can be trained, before the target is.

    Raises:
        InputError: it says how many are needed.
    """
    needed = needed_queries(config, m, num_classes)
    if config.max_queries is not None and config.max_queries < needed:
        prior = _prior_queries(config)
        share, way_out = (
            (f", {prior:,} of them for `class_prior=target`", " or leave `class_prior` out") if prior else ("", "")
        )
        raise InputError(
            f"`max_queries={config.max_queries}` is too few: `shadow_data={config.shadow_data}` needs {needed:,} at"
            f" least{share}; raise it{way_out}"
        )


def check(config: Shadows, schema: Schema) -> None:
    """Refuse options and tables that cannot work, before any long work.

    Raises:
        InputError: naming the setting.
    """
    if config.shadow_data == "noisy" and not 0 <= config.noise <= 1:
        raise InputError(f"`noise={config.noise}` must be from 0 to 1")
    if config.shadow_data == "search" and (config.k_min > config.k_max or not config.conf_min < 1):
        raise InputError(
            f"`k_min={config.k_min}` must not be above `k_max={config.k_max}`, and `conf_min={config.conf_min}` must be"
            " below 1"
        )
    if config.shadow_data == "marginal" and config.marginals:
        marginal.load_marginals(config.marginals, schema)
