"""What a service is asked about beside the records in question: records of the adversary's own.

GLiRA's and IMIA's networks imitate the target on them, and with `shadow_labels=target` shadows train on records as the
target labels them. Each of these records costs a query, unless it was asked about before; they are counted, and refused
where the budget does not hold them, before the records in question are asked about.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS
from mia_jax.audits import config as configs
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import attack
from mia_jax.audits.deployed.calibration import NO_BOUNDARY
from mia_jax.audits.shadow_data import ShadowData
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import Run
from mia_jax.data import missing
from mia_jax.models import networks
from mia_jax.plans import splits
from mia_jax.storage import artifacts
from mia_jax.targets.black_box import Budget, record_keys
from mia_jax.types import Attack, InputError, Key, Model, Records, Schema, Target

ALONE = f"{NO_BOUNDARY}it imitates the target, and no shadow model in its place"


class Own(NamedTuple):
    """Records of the adversary's own that the target is asked about."""

    data: ShadowData  # what the shadows are trained on
    sent: np.ndarray  # [N, *f], its records as the target is asked about them
    imitated: np.ndarray  # int [k], rows on which the target is imitated; none where nobody asks for that
    labeled: np.ndarray  # int [k'], rows that shadows train on as the target labels them; or none


def imitators(names: Sequence[str]) -> list[str]:
    """Those of the attacks that ask the target about the adversary's own records."""
    return [name for name in names if ATTACKS[name].imitates]


def fewest(config: DeployedConfig, names: Sequence[str], m: int, aside: int) -> int:
    """How many records are asked about at least, as far as that is known before shadow data are there.

    Args:
        config: whether shadows are labeled, and what they are trained on.
        names: the attacks.
        m: training records of the target.
        aside: records that were set aside for the shadows.
    """
    if config.shadow_data is not None:
        return 0
    imitated = min(aside, 2 * m) if imitators(names) else 0
    return max(imitated, 2 * min(m, aside // 2) if config.shadow_labels != "own" else 0)


def wanted(run: Run[DeployedConfig], data: ShadowData, names: Sequence[str], m: int, like: np.ndarray) -> Own:
    """Which records are asked about.

    Args:
        run: its configuration says whether shadows are labeled.
        data: what the shadows are trained on.
        names: the attacks.
        m: training records of the target. An imitator trains on a half of the records, so 2m are asked about, where
            there are as many.
        like: records in question [n, *f], as they are sent.

    Raises:
        InputError: records lack values.
    """
    some = np.zeros(0, int)
    imitated, labeled, count = some, some, len(data.pool.y)
    if imitators(names):
        if missing.lacking(data.pool):
            raise InputError(f"{imitators(names)[0]} computes with features, and some are missing (NaN): fill them in")
        imitated = np.sort(splits.reserve(stage_key(run.root, "imitated"), count, min(count, 2 * m))[0])
    if run.config.shadow_labels != "own":
        labeled = np.unique(np.concatenate([np.ravel(data.plan.train), np.ravel(data.plan.test)]))
    return Own(data, sent_as(np.asarray(data.pool.x), like), imitated, labeled)


def sent_as(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Records x [N, *f] in the type and shape of those that are sent [n, *g], where that changes no number."""
    if x[0].size != like[0].size or (x.dtype == like.dtype and x.shape[1:] == like.shape[1:]):
        return x
    cast = x.reshape(len(x), *like.shape[1:]).astype(like.dtype)
    return cast if np.array_equal(cast.reshape(x.shape).astype(x.dtype), x) else x


def check_budget(budget: Budget, answered: Callable[[np.ndarray], np.ndarray], question: np.ndarray, own: Own) -> None:
    """Refuse what ``max_queries`` does not hold, before anything of it is asked; reserve the adversary's share of it.

    Args:
        budget: what is spent, and what may be.
        answered: records [n, *f] -> bool [n], those that the target has answered.
        question: the records in question [n, *f].
        own: the adversary's.

    Raises:
        InputError: it says how many queries are needed, and for what.
    """
    beside = own.sent[np.union1d(own.imitated, own.labeled)]
    if not len(beside):
        return
    asked = set(record_keys(question[~answered(question)]))
    more = set(record_keys(beside[~answered(beside)])) - asked
    needed = budget.spent + len(asked) + len(more)
    budget.reserved = len(more)
    if more and needed > budget.max_queries:
        why = " and ".join(
            ["attacks that imitate the target"] * bool(len(own.imitated))
            + ["labels of shadows (`shadow_labels`)"] * bool(len(own.labeled))
        )
        spent = f"{budget.spent:,} that are spent, " if budget.spent else ""
        raise InputError(
            f"`max_queries={int(budget.max_queries)}` is too few: {needed:,} are needed, {spent}{len(asked):,} for the"
            f" records in question and {len(more):,} of your own for {why}; raise it, or leave these out"
        )


def relabeled(own: Own, target: Target) -> ShadowData:
    """The shadows' data with the classes that the target gives their records."""
    if not len(own.labeled):
        return own.data
    y = np.array(own.data.pool.y, np.int32)
    y[own.labeled] = np.asarray(target.ask(own.sent[own.labeled])).argmax(axis=1)
    return _with_labels(own, y, f"{own.data.origin}, labeled by the target")


def with_probabilities(own: Own, target: Target) -> ShadowData:
    """The shadows' data with all that the target answers about their records as labels, float32 [N, c]."""
    y = np.zeros((len(own.data.pool.y), target.answers.classes), np.float32)
    y[own.labeled] = np.exp(np.asarray(target.ask(own.sent[own.labeled])))
    return _with_labels(own, y, own.data.origin)


def _with_labels(own: Own, y: np.ndarray, origin: str) -> ShadowData:
    pool = Records(own.data.pool.x, y)
    return own.data._replace(pool=pool, digest=artifacts.array_digest(*map(np.asarray, pool)), origin=origin)


# --- attacks that imitate the target ---------------------------------------------------------------------------------


def run_of(config: DeployedConfig, schema: Schema, own: Own) -> dict[str, Any]:
    """What the imitating attacks take of the run: the records on which the target is imitated, and the network."""
    if not len(own.imitated):
        return {}
    model: Model = networks.build(configs.network(config), schema, hidden=config.hidden)
    return {"population": Records(*(np.asarray(leaf)[own.imitated] for leaf in own.data.pool)), "model": model}


def imitate(key: Key, one: Attack, asked: attack.Asked, own: Own) -> np.ndarray:
    """The scores [n] of an attack that imitates the target; without a boundary, for no shadow is imitated.

    Args:
        key: of the imitators.
        one: the attack.
        asked: the target, and the records in question.
        own: the adversary's records.
    """
    target = _by_records(
        asked.target, [(np.asarray(own.data.pool.x), own.sent), (np.asarray(asked.records.x), np.asarray(asked.sent.x))]
    )
    seen = one.observe(key, target, asked.records)
    nobody = jax.tree.map(lambda leaf: np.zeros((0, *np.shape(leaf)), np.float32), seen)
    state = one.fit(key, nobody, np.zeros((0, len(asked.records.y)), bool), None)
    return np.asarray(one.score(state, seen), np.float64)


def _by_records(target: Target, forms: Sequence[tuple[np.ndarray, np.ndarray]]) -> Target:
    """The target, asked about records as models are trained on them: what is sent are the same in their other form."""
    sent = {key: row for x, other in forms for key, row in zip(record_keys(x), other, strict=True)}
    return target._replace(ask=lambda x: target.ask(np.stack([sent[key] for key in record_keys(np.asarray(x))])))
