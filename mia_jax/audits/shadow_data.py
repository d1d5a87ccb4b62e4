"""What the shadows are trained on: ``--shadow_data``, four ways to come by it (Shokri et al. 2017, section V-C)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.audits.config import SEARCH, Config
from mia_jax.plans import splits
from mia_jax.progress import Progress
from mia_jax.storage import artifacts
from mia_jax.synthesis import marginal, noisy, resume
from mia_jax.synthesis import search as algorithm
from mia_jax.targets.black_box import BudgetSpent
from mia_jax.types import InputError, Key, Records, Schema, Target


class ShadowData(NamedTuple):
    pool: Records  # [N]
    digest: str  # of the pool
    plan: splits.Plan  # rows of the pool
    origin: str  # real, simulated, noisy, marginal or search
    story: dict[str, Any]  # JSON values for results.json


def needed_records(config: Config, m: int) -> int:
    """Records of the population that the adversary must have for shadows with m + m records."""
    return 2 * m if config.shadow_data in ("real", "noisy") else 0


def needed_queries(config: Config, m: int, num_classes: int) -> int:
    """Queries without which there are too few synthesized records for a shadow with m + m; 0: the target is not asked.

    A record costs one at least, and a search many more.
    """
    match config.shadow_data:
        case "marginal" | "search":
            return _prior_queries(config) + min(2 * m, _fewest(num_classes))
        case _:
            return 0


def obtain(
    workdir: artifacts.Workdir,
    config: Config,
    key: Key,
    m: int,
    own: Records,
    schema: Schema,
    target: Callable[[], Target],
    about_target: artifacts.Description,
    *,
    notify: Callable[[str], None],
    progress: Progress,
) -> ShadowData:
    """The adversary's records, and who of the shadows trains on which.

    Args:
        workdir: keeps an interrupted search.
        config: ``shadow_data`` and its options.
        key: of everything random here.
        m: training records of a shadow; as many test it.
        own: records of the population that are not the target's.
        schema: of the records.
        target: gives the black box, where it is needed, just before: nothing of the target's data passes through here.
        about_target: JSON values that tell the target and what it does to its answers.
        notify, progress: told how it goes.

    Raises:
        InputError: there are too few records, or the marginals do not fit.
        BudgetSpent: ``max_queries`` ended before there were records enough for a shadow.
    """
    key_plan, key_data = jax.random.split(key)
    count = config.shadow_records or 4 * m
    story: dict[str, Any] = {}
    match config.shadow_data:
        case "real":
            pool, digest = own, artifacts.array_digest(*own)
        case "noisy":
            pool, told = noisy.noisy(key_data, own, schema, config.noise)
            story, digest = told._asdict(), artifacts.array_digest(*pool)
        case "marginal":
            if config.marginals:
                table = marginal.load_marginals(config.marginals, schema)
            else:
                table = marginal.marginals(own, schema)
            count = count if config.max_queries is None else min(count, config.max_queries)
            notify(f"Drawing {count:,} records from marginals, and asking the target for their labels")
            pool, told = marginal.sampler(target(), schema, table)(key_data, count)
            story, digest = {"queries": count}, artifacts.array_digest(*pool)
        case "search":
            pool, told = _search(workdir, config, key_data, count, schema, target(), about_target, notify, progress)
            story, digest = _search_story(told, _prior_queries(config)), artifacts.array_digest(*pool)
    if len(pool.y) < 2 * m and config.shadow_data in ("marginal", "search"):
        if len(pool.y) < _fewest(schema.num_classes):
            raise BudgetSpent(
                f"{len(pool.y):,} records were synthesized, too few to train a shadow on; raise --max_queries"
            )
        m = len(pool.y) // 2
        notify(f"Only {len(pool.y):,} records were synthesized: shadows train on {m:,} each")
    origin = "simulated" if config.shadow_data == "real" and schema.source == "simulated" else config.shadow_data
    return ShadowData(pool, digest, splits.shokri(key_plan, len(pool.y), m, config.num_shadows), origin, story)


def _search(workdir, config, key, count, schema, target, about_target, notify, progress):
    key_search, key_prior = jax.random.split(key)
    # No flag for give_up: iter_max and max_queries bound what a class costs of which nothing can be found.
    options = {name: getattr(config, name) for name in (*SEARCH._fields, "redraw") if name != "give_up"}
    spent = _prior_queries(config)
    budget = None if config.max_queries is None else config.max_queries - spent
    if spent:
        options["class_prior"] = algorithm.answered(key_prior, target, schema, spent)
    notify(f"Synthesizing {count:,} records by querying the target (Algorithm 1)")
    pool, story = resume.search(
        workdir,
        about_target,
        key_search,
        target,
        schema,
        count,
        max_queries=budget,
        progress=progress,
        **options,
    )
    if len(pool.y):
        notify(f"{story.queries_per_record:,.0f} queries per record (the paper needed 156 on Purchase)")
    if story.given_up:
        names = ", ".join(map(str, story.given_up[:8])) + (", ..." if len(story.given_up) > 8 else "")
        notify(f"warning: no record of class {names} could be found; other classes got theirs")
    return pool, story


def _fewest(num_classes: int) -> int:
    """Synthesized records that a smaller shadow can be made of."""
    return max(2, num_classes)


def _prior_queries(config: Config) -> int:
    """Queries that the shares of the classes cost, before the search."""
    wanted = config.shadow_data == "search" and config.class_prior == "target"
    return algorithm.PRIOR_QUERIES if wanted else 0


def _search_story(story: algorithm.Story, prior_queries: int) -> dict[str, Any]:
    return {
        "queries": int(story.queries) + prior_queries,
        "queries_per_record": float(story.queries_per_record) if np.isfinite(story.queries_per_record) else None,
        "accepted": [int(n) for n in story.accepted],
        "failed": [int(n) for n in story.failed],
        "given_up": list(story.given_up),
        "exhausted": bool(story.exhausted),
    }


def check_budget(config: Config, m: int, num_classes: int) -> None:
    """Refuse a ``max_queries`` with which no shadow can be trained, before the target is.

    Raises:
        InputError: it says how many are needed.
    """
    needed = needed_queries(config, m, num_classes)
    if config.max_queries is not None and config.max_queries < needed:
        prior = _prior_queries(config)
        share, way_out = (
            (f", {prior:,} of them for --class_prior=target", " or leave --class_prior out") if prior else ("", "")
        )
        raise InputError(
            f"--max_queries={config.max_queries} is too few: --shadow_data={config.shadow_data} needs {needed:,} at"
            f" least{share}; raise it{way_out}"
        )


def check(config: Config, schema: Schema) -> None:
    """Refuse options and tables that cannot work, before any long work.

    Raises:
        InputError: naming the flag.
    """
    if config.shadow_data == "noisy" and not 0 <= config.noise <= 1:
        raise InputError(f"--noise={config.noise} must be from 0 to 1")
    if config.shadow_data == "search" and (config.k_min > config.k_max or not config.conf_min < 1):
        raise InputError(
            f"--k_min={config.k_min} must not be above --k_max={config.k_max}, and --conf_min={config.conf_min} must be"
            " below 1"
        )
    if config.shadow_data == "marginal" and config.marginals:
        marginal.load_marginals(config.marginals, schema)
