"""Numbers that are missing (NaN), filled in for models that cannot do without."""

import numpy as np

from mia_jax.storage import artifacts
from mia_jax.types import Records, Schema

MARK = "are filled in with the median of their column"


def lacking(records: Records) -> bool:
    """Whether features are missing (NaN), as models such as histogram boosting take them."""
    return records.x.dtype.kind == "f" and bool(np.isnan(records.x).any())


def filled(records: Records, schema: Schema, who: str) -> tuple[Records, Schema]:
    """Records without missing numbers: the median of the column over all records, 0 where it has no value at all.

    Which records train a model plays no part, so what is filled in tells nothing of members.

    Args:
        records: x [n, *f].
        schema: of the records.
        who: cannot learn from missing numbers, in words, for the note.

    Returns:
        Records and their schema, with a note; as they are where nothing is missing.
    """
    if not lacking(records):
        return records, schema
    x = np.array(records.x)
    flat = x.reshape(len(x), -1)
    wrong = np.isnan(flat)
    columns = np.flatnonzero(wrong.any(axis=0))
    for column in columns:
        there = flat[~wrong[:, column], column]
        flat[wrong[:, column], column] = np.median(there) if len(there) else 0
    names = [
        f.name if f.stop - f.start == 1 else f"{f.name}[{k}]" for f in schema.fields for k in range(f.stop - f.start)
    ]
    counts = [f"{names[k]} {wrong[:, k].sum():,}" for k in columns[:8]] + ["..."] * (len(columns) > 8)
    note = f"Missing numbers {MARK}, for {who} cannot learn without: {', '.join(counts)}."
    digest = artifacts.array_digest(x, np.asarray(records.y))
    return Records(x, records.y), schema._replace(digest=digest, notes=(*schema.notes, note))
