"""A finished run, opened again: its target as a black box, to serve it or to synthesize records by asking it."""

import json
import os
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.audits import common, stages
from mia_jax.audits import config as configs
from mia_jax.audits.config import Config
from mia_jax.audits.plans import shokri
from mia_jax.audits.types import Run
from mia_jax.progress import Progress, silent
from mia_jax.storage import artifacts, places
from mia_jax.types import InputError, Records, Schema, Target


class Opened(NamedTuple):
    """A finished run of the paper's plan."""

    target: Target  # behind the run's defenses
    schema: Schema
    others: Records  # of the population, none of them the target's: an adversary may have these
    about: dict[str, Any]  # JSON values that tell the target
    workdir: artifacts.Workdir  # no longer held; what is saved there is found again by its description
    asked: Records  # [2m], those that the run's attack was judged on
    member: np.ndarray  # bool [2m], the target's training records among them: the first m
    config: Config


def open_target(
    path: str | os.PathLike | places.Address,
    *,
    data_dir: str | os.PathLike | None = None,
    progress: Progress = silent,
) -> Opened:
    """The target of a run of ``mia-jax train``, from the parameters that its workdir holds.

    The data set is loaded as the run loaded it. A target that another library trained is trained again: the same seed
    and records give the same model.

    Raises:
        InputError: there is no finished run, or its data are no longer to be had.
    """
    place = places.place(path)
    none = InputError(f"{place} holds no finished run; run mia-jax train with `workdir={place}` to its end")
    try:
        made, results = (places.read(place, name) for name in ("config.json", "results.json"))
    except OSError:
        raise none from None
    try:
        identity, there = json.loads(made.decode()), json.loads(results.decode())["dataset"]
        digest, source = there["digest"], there["source"]
        config = configs.resolve(configs.of_identity(configs.Config, identity, workdir=str(place), data_dir=data_dir))
    except (ValueError, KeyError, TypeError):
        raise none from None
    pool, schema = common.read_records(config)
    if schema.digest != digest:
        raise InputError(
            f"the records of {config.dataset} ({schema.source}) are not those of the run in {place} ({source}); give"
            " its `data_dir`, or run it again"
        )
    with artifacts.open_workdir(place, identity, shared=True) as workdir:
        run = Run(config, config, workdir, jax.random.key(config.seed), lambda line: None, progress, {})
        setting = shokri.set_up(config, pool, schema)
        target = shokri.train_target(run, setting)
        x, y = np.asarray(pool.x), np.asarray(pool.y)
        others = Records(x[setting.rest], y[setting.rest])
        black_box = stages.defended(target.target(0), setting.defenses)
        rows = np.concatenate([setting.plan.train[0], setting.plan.test[0]])
        asked, member = Records(x[rows], y[rows]), np.arange(len(rows)) < setting.m
        about = shokri.about_target(target, setting)
        return Opened(black_box, schema, others, about, workdir, asked, member, config)
