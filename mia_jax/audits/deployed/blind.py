"""The blind baseline of an audit whose members somebody else chose: the block "blind" of results.json."""

from typing import Any, cast

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mia_jax.audits.deployed.records import Predictions
from mia_jax.checks.records import other_records
from mia_jax.data import duplicates, neighbors, plain_features
from mia_jax.reports.results import Blind
from mia_jax.statistics import blind_baseline, metrics
from mia_jax.types import Field, InputError

NO_RECORDS = (
    "the records are not there, only answers about them: add x [n, ...], the records, to the file of predictions"
)


def block(
    x: Any | None,
    fields: tuple[Field, ...],
    label: np.ndarray | None,
    member: np.ndarray,
    seed: int,
    together: np.ndarray | None = None,
) -> Blind:
    """How well members are told without the target; or why that is not known.

    Args:
        x: the records [n, *f], whatever holds them; None: they are not there.
        fields: what columns of flattened records mean, where it is known.
        label: int [n], their classes; None: there are none.
        member: bool [n].
        seed: of the folds.
        together: int [n], rows that were drawn together, which are in one fold as copies are; None: none.
    """
    if x is None:
        return absent(NO_RECORDS)
    try:
        features = plain_features.of_records(x, fields)
    except (InputError, TypeError, ValueError) as error:
        return absent(f"the records cannot be read as numbers: {error}")
    copies = duplicates.groups(features.x)
    copies = copies if together is None else _joined(copies, together)
    found = blind_baseline.blind(features.x, features.names, label, member, copies=copies, seed=seed)
    told = {
        "auc": found.auc.json(),
        "tpr_at_fpr": {rate: measure.json() for rate, measure in found.tpr_at_fpr.items()},
        "told": found.told if found.auc.value is not None else None,
        "records": int((~np.isnan(found.score)).sum()),
        "features": features.x.shape[1],
        "columns": [{"column": name, "auc": round(area, 4)} for name, area in found.columns],
    }
    return cast(Blind, told)


def beside(x: Any, saved: Predictions) -> list[str]:
    """What is to be said of records x [n, *f] beside answers that were saved, in sentences.

    Args:
        x: the records, whatever holds them; None: they are not there.
        saved: the answers.
    """
    if x is None:
        return []
    try:
        features = plain_features.of_records(x).x
    except (InputError, TypeError, ValueError):  # which ``block`` says
        return []
    answers, who = (saved.target, *saved.shadows), (saved.member, *saved.shadow_member)
    return other_records.notes(features, saved.labels, answers, who) or neighbors.notes(x, saved.labels, saved.member)


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groups int [n] of rows that share one of either kind, or are linked by such."""
    one, other = (np.unique(groups, return_inverse=True)[1] for groups in (one, other))
    nodes, link = one.max() + other.max() + 2, other + one.max() + 1
    return csgraph.connected_components(sparse.coo_array((np.ones(len(one)), (one, link)), (nodes, nodes)))[1][one]


def absent(reason: str) -> Blind:
    """The block where the baseline could not run."""
    nothing = metrics.Measure(None, reason=reason).json()
    rates = {f"{rate:g}": nothing for rate in metrics.RATES}
    return cast(Blind, {"auc": nothing, "tpr_at_fpr": rates, "told": None})
