"""Where the shadows of somebody's deployed model come from: other data, synthesized records, or a half of the
non-members that is set aside before anything else. Never from a record under question.
"""

from collections.abc import Callable

import numpy as np

from mia_jax import data
from mia_jax.audits import shadow_data
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import records
from mia_jax.audits.stages import stage_key
from mia_jax.data import duplicates
from mia_jax.plans import splits
from mia_jax.targets.black_box import record_keys
from mia_jax.types import InputError, Records, Schema, Target


def set_aside(config: DeployedConfig, root, question: records.Question) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the file that shadows may be made from, and rows that are asked about; no record is in both, copied."""
    n = len(question.records.y)
    given = config.shadow_data is not None and config.shadow_data not in ("noisy", "marginal")
    if given or (config.shadow_data == "marginal" and config.marginals):
        return np.zeros(0, np.int64), np.arange(n)
    if question.member is None:
        raise InputError(
            f"{config.data} does not say who is a member, so no non-members can be set aside for the shadows;"
            " give --shadow_data=other.npz or search, or member in the file"
        )
    group = duplicates.groups(question.records.x)
    outside = np.flatnonzero(~question.member & ~np.isin(group, group[question.member]))  # no copies of members
    order, _ = splits.reserve(stage_key(root, "aside"), len(outside), len(outside))
    aside = _whole(group, outside[order], np.count_nonzero(~question.member) // 2)
    return aside, np.setdiff1d(np.arange(n), aside)


def _whole(group: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The first of ``rows``, ``count`` at most, such that copies of a record are all among them or none is."""
    copies_of: dict[int, list[int]] = {}
    for row in rows:
        copies_of.setdefault(int(group[row]), []).append(int(row))
    taken: list[int] = []
    for each in copies_of.values():
        if len(taken) + len(each) <= count:
            taken += each
    return np.sort(np.array(taken, int))


def queries_left(config: DeployedConfig, x: np.ndarray, m: int, classes: int) -> int | None:
    """What ``--max_queries`` leaves for the synthesis of shadow data; None: any number.

    Args:
        x: the records in question [n, *f]; each costs one query, however often it occurs.
        m: training records of a shadow.
        classes: of the target, as far as they are known.

    Raises:
        InputError: too few queries; it says how many are needed.
    """
    if config.max_queries is None:
        return None
    question = len(set(record_keys(x)))
    synthesis = shadow_data.needed_queries(config, m, classes)
    if config.max_queries < question + synthesis:
        shares = f"{question:,} for the records in question" + (
            f" and {synthesis:,} or more for --shadow_data={config.shadow_data}" if synthesis else ""
        )
        raise InputError(
            f"--max_queries={config.max_queries} is too few: at least {question + synthesis:,} are needed, {shares};"
            " raise it, or ask about fewer records"
        )
    return config.max_queries - question


def obtain(
    config, workdir, root, own, schema: Schema, asked: np.ndarray, target: Callable[[], Target], m, notify, progress
):
    """Pool, plan, origin and story of the shadow data."""
    key = stage_key(root, "shadows/split")
    if config.shadow_data in ("noisy", "marginal", "search"):
        some = max(1, min(m, len(own.y) // 2)) if config.shadow_data == "noisy" else m
        about = {"target": config.target, "data": schema.digest}
        told = shadow_data.obtain(
            workdir, config, key, some, own, schema, target, about, notify=notify, progress=progress
        )
        return _without(config, told, asked, key, notify)
    if config.shadow_data is None:
        pool, origin = own, "a half of the non-members, set aside"
    else:
        other, other_schema = data.load(config.shadow_data, data_dir=config.data_dir, notify=notify)
        if other_schema.shape != schema.shape:
            raise InputError(f"{config.shadow_data} has records {other_schema.shape}, and {config.data} {schema.shape}")
        free = records.apart(other.x, asked)
        pool = Records(np.asarray(other.x)[free], np.asarray(other.y)[free])
        made = {"simulated": "SIMULATED ", "synthesised": "synthesized "}.get(other_schema.source, "")
        origin = f"{made}{config.shadow_data}, without {int((~free).sum()):,} records under question"
        if len(pool.y) and int(pool.y.max()) >= schema.num_classes:
            raise InputError(f"{config.shadow_data} has the label {int(pool.y.max())}; the target has no such class")
    wanted, m = m, min(m, len(pool.y) // 2)
    if m < 1:
        raise InputError(f"{len(pool.y)} records are too few to train shadows on; give --shadow_data=other.npz")
    if m < wanted:
        notify(
            f"Shadows train on {m:,} records, for there are {len(pool.y):,}, and the target trained on {wanted:,}: more"
            " records, as non-members or in --shadow_data=other.npz, would let them imitate it better"
        )
    return pool, splits.shokri(key, len(pool.y), m, config.num_shadows), origin, {}


def _without(config: DeployedConfig, told: shadow_data.ShadowData, asked: np.ndarray, key, notify):
    """Synthesized records without those under question, which small domains hit upon: pool, plan, origin and story."""
    free = records.apart(told.pool.x, asked)
    if free.all():
        return told.pool, told.plan, told.origin, told.story
    pool = Records(np.asarray(told.pool.x)[free], np.asarray(told.pool.y)[free])
    m = min(told.plan.train.shape[1], len(pool.y) // 2)
    left_out = int((~free).sum())
    if m < 1:
        raise InputError(
            f"all but {len(pool.y)} of {len(free):,} synthesized records are under question: give more records with"
            " --shadow_records, or other data with --shadow_data=other.npz"
        )
    notify(f"{left_out:,} of the synthesized records are under question, and left out: shadows train on {m:,} each")
    plan = splits.shokri(key, len(pool.y), m, config.num_shadows)
    return pool, plan, told.origin, {**told.story, "under_question": left_out}
