"""results.json, schema 1: what a run was and what it found, as plain JSON values. NumPy only."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import sanitize
from mia_jax.reports import paper
from mia_jax.statistics import metrics
from mia_jax.types import Schema

SCHEMA = 1
PACKAGES = ("mia-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "tensorflow-datasets")


def printable(value: Any) -> Any:
    """JSON values, every text in them ``sanitize.harmless``: names of files may hold anything, not UTF-8 alone."""
    if isinstance(value, str):
        return sanitize.harmless(value)
    if isinstance(value, Mapping):
        return {printable(name): printable(each) for name, each in value.items()}
    return [printable(each) for each in value] if isinstance(value, list | tuple) else value


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """The machine in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def dataset(schema: Schema, title: str, records: int, class_counts: np.ndarray) -> dict[str, Any]:
    """The ``dataset`` block. ``class_counts`` [c]: training records of the target per class."""
    return {
        "name": printable(schema.name),
        "title": printable(title),
        "source": schema.source,
        "digest": schema.digest,
        "records": int(records),
        "features": int(np.prod(schema.shape)),
        "classes": int(schema.num_classes),
        "class_counts": [int(count) for count in class_counts],
        "notes": list(schema.notes),
    }


def curves(loss: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """Learning curves over models: mean, lowest and highest of [S, epochs] at each epoch."""

    def band(values: np.ndarray) -> dict[str, list[float]]:
        return {
            name: [float(v) for v in f(values, axis=0)]
            for name, f in (("mean", np.mean), ("low", np.min), ("high", np.max))
        }

    return {"epoch": list(range(1, loss.shape[1] + 1)), "loss": band(loss), "accuracy": band(accuracy)}


def attack(
    scores: np.ndarray,
    member: np.ndarray,
    label: np.ndarray,
    num_classes: int,
    title: str,
    *,
    no_boundary: str | None = None,
) -> dict[str, Any]:
    """One attack's block. Records without a score (NaN: their class had no shadow rows) are counted, not guessed.

    Args:
        no_boundary: why 0 is no boundary of these scores; what depends on one has no value then, and this reason.
    """
    scored = ~np.isnan(scores)
    block = metrics.evaluate(scores[scored], member[scored], label[scored], num_classes)
    if no_boundary:
        block = _without_boundary(block, metrics.Measure(None, reason=no_boundary).json())
    return {"title": title, **block, "unscored": int((~scored).sum())}


def _without_boundary(block: Mapping[str, Any], absent: dict[str, Any]) -> dict[str, Any]:
    at: dict[str, Any] = dict.fromkeys(("accuracy", "balanced_accuracy", "precision", "recall"), absent)
    at |= {"median_precision": absent, "ppv_at_prior": dict.fromkeys(block["ppv_at_prior"], absent)}
    at["per_class"] = [{**row, "precision": absent, "recall": absent} for row in block["per_class"]]
    return {**block, **at}


def paper_rows(name: str) -> list[dict[str, Any]]:
    """The paper's numbers for a data set."""
    return [row._asdict() for row in paper.rows(name)]


def summarize_shadows(
    count: int, train_records: int, train: Sequence[float], test: Sequence[float], **more: Any
) -> Mapping[str, Any]:
    """The ``shadows`` block: mean accuracies over the shadows."""
    return {
        "count": count,
        "train_records": train_records,
        "train_accuracy": float(np.mean(train)),
        "test_accuracy": float(np.mean(test)),
        **more,
    }
