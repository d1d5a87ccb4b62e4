"""Pipelines that know their columns by name, on records of a table: they are given a data frame of its columns again.

A table's records are numbers [n, f], a column for each category; ``ColumnTransformer`` with names wants the columns as
they were in the file.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mia_jax.data.columns import MISSING
from mia_jax.targets.trainers import Platform
from mia_jax.types import Array, Field, InputError, Records, Schema, Target


def wants(estimator: Any) -> bool:
    """Whether a classifier of scikit-learn's kind picks columns by their names, itself or a part of it."""
    if any(_by_name(part[-1]) for part in getattr(estimator, "transformers", None) or ()):
        return True
    parts = [
        part[1] for part in getattr(estimator, "steps", None) or getattr(estimator, "transformer_list", None) or ()
    ]
    inner = getattr(estimator, "estimator", None)
    return any(wants(part) for part in [*parts, *([inner] if hasattr(inner, "fit") else [])])


def _by_name(columns: Any) -> bool:
    return isinstance(columns, str) or callable(columns) or (isinstance(columns, list) and str in map(type, columns))


def frame(x: Array, fields: Sequence[Field]) -> Any:
    """Records x [n, *f] as a data frame of pandas: numbers, 0 and 1, text; what is missing is NaN."""
    import pandas

    flat = np.asarray(x).reshape(len(x), -1)
    columns: dict[str, Any] = {}
    for field in fields:
        part = flat[:, field.start : field.stop]
        if field.kind == "categorical":
            texts = np.array([np.nan if name == MISSING else name for name in field.categories], object)
            columns[field.name] = texts[part.argmax(axis=1)]
        elif part.shape[1] == 1:
            columns[field.name] = part[:, 0].astype(np.int64) if field.kind == "binary" else part[:, 0]
        else:
            columns |= {f"{field.name}[{k}]": part[:, k] for k in range(part.shape[1])}
    return pandas.DataFrame(columns)


def with_names(platform: Platform, schema: Schema) -> Platform:
    """The platform, given records of this schema as data frames.

    Raises:
        InputError: pandas is not installed.
    """
    if importlib.util.find_spec("pandas") is None:
        raise InputError(f"{platform.title} picks columns by name, which needs a data frame: pip install pandas")

    def asked(target: Target) -> Target:
        return target._replace(ask=lambda x: target.ask(frame(x, schema.fields)))

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        return asked(platform.fit(frame(x, schema.fields), y, seed=seed))

    def fit_many(pool: Records, index: Array, *, seeds: Sequence[int]) -> Iterator[Target]:
        whole = Records(frame(pool.x, schema.fields), pool.y)
        return map(asked, platform.fit_many(whole, index, seeds=seeds))

    return platform._replace(fit=fit, fit_many=fit_many)
