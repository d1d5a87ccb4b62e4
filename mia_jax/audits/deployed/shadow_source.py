"""Where the shadows of somebody's deployed model come from: other data, synthesized records, or a half of the
non-members that is set aside before anything else. Never from a record under question.
"""

from typing import Any, NamedTuple

import numpy as np

from mia_jax import data
from mia_jax.audits import shadow_data
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import records
from mia_jax.audits.shadow_data import Adversary, ShadowData
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import Run
from mia_jax.checks.records import other_order, other_units
from mia_jax.data import by_path, duplicates, near_copies, near_twins, plain_features
from mia_jax.plans import splits
from mia_jax.storage import artifacts
from mia_jax.targets import estimators
from mia_jax.targets.black_box import record_keys
from mia_jax.types import InputError, Key, Records


class Given(NamedTuple):
    """Another data set that shadows are trained on."""

    pool: Records  # [N], without the records under question
    origin: str  # in words
    notes: list[str]  # how it seems to differ from the records under question, in sentences


def set_aside(config: DeployedConfig, root, question: records.Question) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the file that shadows may be made from, and rows that are asked about; no record is in both, copied."""
    n = len(question.records.y)
    given = config.shadow_data is not None and config.shadow_data not in ("noisy", "marginal")
    if given or (config.shadow_data == "marginal" and config.marginals):
        return np.zeros(0, np.int64), np.arange(n)
    if question.member is None:
        raise InputError(
            f"{config.data} does not say who is a member, so no non-members can be set aside for the shadows;"
            " give `shadow_data=other.npz` or `shadow_data=search`, or member in the file"
        )
    group = duplicates.groups(question.records.x)
    outside = np.flatnonzero(~question.member & ~np.isin(group, group[question.member]))  # no copies of members
    order, _ = splits.reserve(stage_key(root, "aside"), len(outside), len(outside))
    aside = _whole(group, outside[order], int(np.count_nonzero(~question.member)) // 2)
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


def queries_left(config: DeployedConfig, x: np.ndarray, m: int, classes: int, own: int = 0) -> int | None:
    """What ``max_queries`` leaves for the synthesis of shadow data; None: any number.

    Args:
        x: the records in question [n, *f]; each costs one query, however often it occurs.
        m: training records of a shadow.
        classes: of the target, as far as they are known.
        own: records of the adversary's own that are asked about at least, besides (``own_records``).

    Raises:
        InputError: too few queries; it says how many are needed.
    """
    if config.max_queries is None:
        return None
    question = len(set(record_keys(x)))
    synthesis = shadow_data.needed_queries(config, m, classes)
    if config.max_queries < question + synthesis + own:
        shares = f"{question:,} for the records in question" + (
            f" and {synthesis:,} or more for `shadow_data={config.shadow_data}`" if synthesis else ""
        )
        shares += f" and {own:,} for records of your own" if own else ""
        raise InputError(
            f"`max_queries={config.max_queries}` is too few: at least {question + synthesis + own:,} are needed,"
            f" {shares}; raise it, or ask about fewer records"
        )
    return config.max_queries - question


def obtain(
    run: Run[DeployedConfig],
    config: DeployedConfig,
    adversary: Adversary,
    asked: np.ndarray,
    other: Given | None = None,
) -> ShadowData:
    """What the shadows are trained on, and who of them on which.

    Args:
        run: told of what is left out, or too little.
        config: ``shadow_data`` and its options; of ``max_queries``, what is left for them.
        adversary: what there is to begin with; ``own`` has been set aside.
        asked: the records in question [n, *f].
        other: the data set that ``shadow_data`` names, where it names one.

    Raises:
        InputError: labels that the target has no classes for, or too few records.
        BudgetSpent: as ``shadow_data.obtain``.
    """
    key = stage_key(run.root, "shadows/split")
    if config.shadow_data in ("noisy", "marginal", "search"):
        if config.shadow_data == "noisy":
            adversary = adversary._replace(m=max(1, min(adversary.m, len(adversary.own.y) // 2)))
        return _without(run, config, shadow_data.obtain(run, config, key, adversary), asked, key)
    if config.shadow_data is None:
        pool, origin = adversary.own, "a half of the non-members, set aside"
    else:
        assert other is not None
        pool, origin = other.pool, other.origin
        if len(pool.y) and (most := int(pool.y.max())) >= adversary.schema.num_classes:
            raise InputError(
                f"{config.shadow_data} has the label {most}; the target has no such class: leave its records out"
            )
    wanted, m = adversary.m, min(adversary.m, len(pool.y) // 2)
    if m < 1:
        raise InputError(f"{len(pool.y)} records are too few to train shadows on; give `shadow_data=other.npz`")
    if m < wanted:
        run.notify(
            f"Shadows train on {m:,} records, for there are {len(pool.y):,}, and the target trained on {wanted:,}: more"
            " records, as non-members or in `shadow_data=other.npz`, would let them imitate it better"
        )
    return _planned(config, key, pool, m, origin, {})


def _planned(config: DeployedConfig, key: Key, pool: Records, m: int, origin: str, info: dict[str, Any]) -> ShadowData:
    plan = splits.shokri(key, len(pool.y), m, shadow_data.shadows(config))
    return ShadowData(pool, artifacts.array_digest(*map(np.asarray, pool)), plan, origin, info)


def given(run: Run[DeployedConfig], config: DeployedConfig, question: records.Question) -> Given | None:
    """The data set that ``shadow_data`` names, looked at before anything is asked; None where it names none.

    Args:
        run: told of what is made of its records, and how they seem to differ from those under question.
        config: ``shadow_data``, and how a table is read.
        question: the records under question.

    Raises:
        InputError: it cannot be used, or has records of another shape.
    """
    name, schema, asked = config.shadow_data, question.schema, np.asarray(question.records.x)
    if name is None or name in ("noisy", "marginal", "search"):
        return None
    table: dict[str, Any] = {}
    if by_path.is_table(name):
        table = {
            "label": config.label,
            "kinds": config.kinds,
            "like": schema if by_path.is_table(config.data) else None,
        }
    other, other_schema = data.load(name, data_dir=config.data_dir, notify=run.notify, **table)
    other, described = estimators.filled(config.target_kind, other, other_schema)
    for note in described.notes[len(other_schema.notes) :]:
        run.notify(note)
    if other_schema.shape != schema.shape:
        raise InputError(
            f"{name} has records {other_schema.shape}, and {config.data} {schema.shape}: shadows need the same features"
        )
    columns = plain_features.names(int(np.prod(schema.shape)), schema.fields)
    called, x = (config.data or "", name), np.asarray(other.x)
    order = other_order.of_columns(asked, x, columns, called)
    unlike = None if order else other_units.found(asked, x, columns, called)
    free = records.apart(other.x, asked)
    unit = (None, 0.0) if unlike is None else (unlike.scale, unlike.offset)
    near = near_copies.found(np.asarray(other.x)[free], asked, *unit)
    if near.any():
        run.notify(
            f"{int(near.sum()):,} records of {name} are records under question but for rounding"
            f"{'' if unit[0] is None else ', in another unit'}: no shadow is trained on them"
        )
    free[free] = ~near
    pool = Records(np.asarray(other.x)[free], np.asarray(other.y)[free])
    made = {"simulated": "SIMULATED ", "synthesised": "synthesized "}.get(other_schema.source, "")
    if order is None and unlike is None:
        order = other_order.of_classes((asked, np.asarray(question.records.y)), (x, np.asarray(other.y)), called)
    twins = None
    if order is None and unlike is None:
        move = "Shadows then know the records in question, and attacks find less: leave such records out."
        twins = near_twins.note(pool.x, asked, (name, "the records in question"), move)
    notes = [*filter(None, [order, unlike and unlike.note, twins])]
    for line in notes:
        run.notify(f"warning: {line}")
    return Given(pool, f"{made}{name}, without {int((~free).sum()):,} records under question", notes)


def _without(
    run: Run[DeployedConfig], config: DeployedConfig, made: ShadowData, asked: np.ndarray, key: Key
) -> ShadowData:
    """Synthesized records without those under question, which small domains hit upon."""
    free = records.apart(made.pool.x, asked)
    if free.all():
        return made
    pool = Records(np.asarray(made.pool.x)[free], np.asarray(made.pool.y)[free])
    m = min(made.plan.train.shape[1], len(pool.y) // 2)
    left_out = int((~free).sum())
    if m < 1:
        raise InputError(
            f"all but {len(pool.y)} of {len(free):,} synthesized records are under question: give more records with"
            " `shadow_records`, or other data with `shadow_data=other.npz`"
        )
    run.notify(f"{left_out:,} of the synthesized records are under question, and left out: shadows train on {m:,} each")
    return _planned(config, key, pool, m, made.origin, {**made.info, "under_question": left_out})
